//! Several scorers at once, as in the scoring phase of the Kubernetes scheduling framework: the weighted sum counts.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{PlacementPolicy, Policy, SCORE_MAX, Scorer};
use crate::placement::{Card, Seat};

/// One part of a weighted policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WeightedPolicy {
    /// What it scores by.
    pub policy: PlacementPolicy,
    /// How much that counts.
    pub weight: u16,
}

/// The weighted mean of several scores. The device for a part is chosen by the scorer that counts most.
#[derive(Clone, Debug)]
pub struct Weighted {
    parts: Vec<(u16, Arc<dyn Scorer>)>,
}

impl Weighted {
    /// The stock policies with their weights.
    #[must_use]
    pub fn of(parts: &[WeightedPolicy]) -> Self {
        Self::new(parts.iter().map(|part| (part.weight, Policy::of(&part.policy).scorer)).collect())
    }

    /// Scorers with their weights.
    #[must_use]
    pub fn new(parts: Vec<(u16, Arc<dyn Scorer>)>) -> Self {
        Weighted { parts }
    }

    fn sum(&self, seat: &Seat<'_>) -> u64 {
        self.parts
            .iter()
            .map(|(weight, scorer)| u64::from(*weight) * u64::from(scorer.score(seat).min(SCORE_MAX)))
            .sum()
    }

    fn weight(&self) -> u64 {
        self.parts.iter().map(|(weight, _)| u64::from(*weight)).sum()
    }
}

impl Scorer for Weighted {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        let mean = self.sum(seat).checked_div(self.weight()).unwrap_or(0);
        u32::try_from(mean).unwrap_or(SCORE_MAX)
    }

    fn key(&self, seat: &Seat<'_>) -> u64 {
        self.weight() * u64::from(SCORE_MAX) - self.sum(seat)
    }

    fn card(&self, seat: &Seat<'_>) -> Option<Card> {
        let heaviest = self.parts.iter().rev().max_by_key(|(weight, _)| *weight);
        heaviest.map_or_else(|| seat.fullest_card(), |(_, scorer)| scorer.card(seat))
    }

    fn salted(&self, salt: u64) -> Option<Arc<dyn Scorer>> {
        if self.parts.iter().all(|(_, scorer)| scorer.salted(salt).is_none()) {
            return None;
        }
        let salted = |scorer: &Arc<dyn Scorer>| scorer.salted(salt).unwrap_or_else(|| scorer.clone());
        Some(Arc::new(Weighted {
            parts: self.parts.iter().map(|(weight, scorer)| (*weight, salted(scorer))).collect(),
        }))
    }
}
