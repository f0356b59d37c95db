//! What an operator may set about scheduling.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{Amount, ModelName, Priority, Span};
use crate::placement::PlacementPolicy;
use crate::queue::order::{Aging, OrderPolicy};

/// How the engine decides. Every field has a default that suits a laboratory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct EngineConfig {
    /// The rule set.
    pub policy: Policy,
    /// In which order tasks of one level are tried (`hai` only).
    #[serde(skip_serializing_if = "is_default")]
    pub order: OrderPolicy,
    /// Whether, and how, a task that waits long is tried before those of better levels (`hai` only). It displaces
    /// nobody more for that; but a run that started so counts as of that level until its first slice is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aging: Option<Aging>,
    /// Whether work beyond a user's right may run on idle capacity (`hai` only). It yields to all entitled work.
    pub borrow: bool,
    /// Time-sharing, unless [`EngineConfig::levels`] says otherwise for a level.
    pub timing: Timing,
    /// Time-sharing of single levels.
    pub levels: BTreeMap<Priority, Timing>,
    /// What a device of a model counts as in rights; a part of one counts as the same part of that. 1 for all others.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<ModelName, Amount>,
    /// What starting a run again costs, counted for each of its devices when victims are compared.
    pub restart_cost: Span,
    /// How long a task waits after a node refused its start; doubles with every refusal in a row.
    pub back_off: Span,
    /// The longest such wait.
    pub back_off_max: Span,
    /// How long a node gets no new work after it refused a start for a reason of its own, as when a stranger took what was
    /// thought free; doubles with every such refusal in a row.
    pub cool_down: Span,
    /// The longest such time.
    pub cool_down_max: Span,
    /// How long work that is beyond its right, since that was cut, may stay. A notice tells it so.
    pub cut_grace: Span,
    /// Which of the nodes that will do a task gets.
    #[serde(skip_serializing_if = "is_default")]
    pub placement: PlacementPolicy,
    /// How many runs may have workers in several zones at a time. `None` for any number.
    pub cross_zone_tasks: Option<u32>,
    /// Nodes are kept for a task that has waited for room so long. `None`: never.
    pub reserve_after: Option<Span>,
    /// For so many tasks of one group at a time.
    pub reservations: u32,
    /// A slice lasts at least so many times what saving and starting again took the task last. 0 for no such bound.
    pub slice_swaps: u32,
    /// How often a task may be suspended for others.
    pub churn: Option<Churn>,
}

/// A bound on how often one task is suspended for others: once every so much of its own running. Nobody, not even a better
/// priority, suspends it before it has run that long since its last resume.
///
/// What a task loses to suspensions is then at most the cost of one in every such time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Churn {
    /// Suspensions that are free, counted over the task's life.
    pub free: u32,
    /// What a task must run between two of the others.
    pub every: Span,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// A rule set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// Time-sharing that fills every hole; see `ARCHITECTURE.md`, "The `hai` policy".
    #[default]
    Hai,
    /// The rules of the open-source HAI platform, mended: strict order in each group.
    HaiFifo,
}

/// The time-sharing of one level (`hai` only).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Timing {
    /// A run is not suspended for a better priority before it has run this long.
    pub protected: Span,
    /// A run is not suspended for another user's task of its own priority before it has run this long.
    pub slice: Span,
    /// An `ABOVE_NORMAL` task counts as `NORMAL` once it has run this long in all.
    pub demote_after: Span,
}

impl Default for EngineConfig {
    fn default() -> Self {
        EngineConfig {
            policy: Policy::default(),
            order: OrderPolicy::default(),
            aging: None,
            borrow: false,
            timing: Timing::default(),
            levels: BTreeMap::new(),
            weights: BTreeMap::new(),
            restart_cost: Span::from_secs(60),
            back_off: Span::from_secs(1),
            back_off_max: Span::from_mins(5),
            cool_down: Span::from_secs(10),
            cool_down_max: Span::from_mins(10),
            cut_grace: Span::ZERO,
            placement: PlacementPolicy::default(),
            cross_zone_tasks: None,
            reserve_after: Some(Span::from_mins(30)),
            reservations: 4,
            slice_swaps: 10,
            churn: None,
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Timing { protected: Span::ZERO, slice: Span::from_mins(4 * 60), demote_after: Span::from_mins(30) }
    }
}

impl EngineConfig {
    /// The time-sharing of a level.
    #[must_use]
    pub fn timing(&self, level: Priority) -> Timing {
        self.levels.get(&level).copied().unwrap_or(self.timing)
    }
}
