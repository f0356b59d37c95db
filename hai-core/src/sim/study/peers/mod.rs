//! Published schedulers as policies of a study: played by their own rules, measured like the engine.
//!
//! A peer's simulator knows jobs of so many devices and no more. So a task counts with the devices of all its workers, a
//! group is a cluster of its own, and priorities, rights, processors and memory do not exist; what would have to be played
//! otherwise is refused ([`Peer::objection`]). Simulators of the Helios family step second by second: submissions and
//! durations are rounded up to whole seconds for them. What a peer makes of a published trace is for every job what
//! `hai reproduce` makes of it.

mod backfill;
mod ground;
mod helios;
mod muri;
mod names;
mod objection;
mod replay;

pub use names::{PEER_WORDS, PEERS};

use std::ops::ControlFlow;

use crate::model::Span;
use crate::published::backfill::BackfillRules;
use crate::published::helios::Rules;
use crate::published::muri::MuriPolicy;

use super::cluster::Cluster;
use super::figures::Outcome;
use super::load::Load;
use super::trial::{Options, Progress};

/// A published scheduler and its switches.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    name: String,
    rules: PeerRules,
    overhead: Restart,
    estimates: Estimates,
    /// Who runs longer than he said is stopped then.
    clip: bool,
}

/// Whose rules it plays by.
#[derive(Clone, Copy, Debug, PartialEq)]
enum PeerRules {
    Helios(Rules),
    Muri(MuriPolicy),
    Backfill(BackfillRules),
}

/// What a suspension costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Restart {
    /// What the published simulator takes.
    Published,
    /// What resuming costs in this study.
    Study,
    /// Nothing.
    Free,
}

/// How long a peer that needs to know it takes a task to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Estimates {
    /// As was said; where it ran longer, as long as it ran.
    Said,
    /// The truth.
    True,
    /// Twice what was said.
    Twice,
}

/// What resuming costs where the cluster says nothing: what the engine takes by default.
const RESTART: Span = Span::from_secs(60);

impl Peer {
    /// The name that it was asked for by, its switches included.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn suspends(&self) -> bool {
        match &self.rules {
            PeerRules::Helios(rules) => rules.preemption.is_some(),
            PeerRules::Muri(_) => true,
            PeerRules::Backfill(_) => false,
        }
    }

    /// Whether it looks at which node devices are on; otherwise it counts them.
    fn places(&self) -> bool {
        matches!(self.rules, PeerRules::Helios(_) | PeerRules::Muri(MuriPolicy::Shortest { .. }))
    }

    /// Whether it needs to be told how long tasks run.
    fn asks_for_estimates(&self) -> bool {
        let fills = |rules: &BackfillRules| rules.backfill != crate::published::backfill::Backfill::Nobody;
        matches!(&self.rules, PeerRules::Backfill(rules) if fills(rules)) && self.estimates != Estimates::True
    }

    /// Plays the load on the cluster, as [`play`](super::play) does; the seed plays no part. Rules are played to the end at
    /// once; `progress` hears of what is measured then. The caller asks for [`Peer::objection`] first: what it names is
    /// played here as if it were not there.
    #[must_use]
    pub fn play(
        &self,
        cluster: &Cluster,
        load: &Load,
        options: &Options,
        progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Outcome {
        let grounds = ground::grounds(cluster, load, self.clip);
        let restart = match self.overhead {
            Restart::Published => None,
            Restart::Study => Some(cluster.conduct.restart.unwrap_or(RESTART)),
            Restart::Free => Some(Span::ZERO),
        };
        let mut pieces = Vec::new();
        for (at, ground) in grounds.iter().enumerate() {
            pieces.extend(match self.rules {
                PeerRules::Helios(rules) => helios::play(ground, at, rules, restart, load),
                PeerRules::Muri(policy) => muri::play(ground, at, policy, restart),
                PeerRules::Backfill(rules) => backfill::play(ground, at, &rules, self.estimates),
            });
        }
        replay::replay(cluster, load, &grounds, &pieces, options, progress)
    }
}
