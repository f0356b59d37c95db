//! What kind of work a task is, and what happens when it fails.

use hai_core::model::{self, Span};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::text;

/// What kind of work a task is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[schema(as = Kind)]
pub enum KindWord {
    /// It runs until it is done.
    #[default]
    Training,
    /// Somebody sits before it: it keeps its place for a lease, and is then stopped.
    Interactive,
    /// It takes what nobody else wants: it needs no right, and yields to all other work.
    Background,
}

/// How often a failed task is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Retries {
    /// At most so many times.
    pub limit: u32,
    /// How long it waits after the first failure; doubles with each.
    #[serde(with = "text::span", default = "Retries::default_back_off")]
    #[schema(value_type = String, default = "10s")]
    pub back_off: Span,
    /// The nodes where it failed are left aside as long as there are others that will do.
    #[serde(default = "Retries::default_avoid_nodes")]
    #[schema(default = true)]
    pub avoid_nodes: bool,
}

impl KindWord {
    /// Whether it is the default.
    #[must_use]
    pub fn is_training(&self) -> bool {
        *self == KindWord::Training
    }
}

impl Retries {
    pub(crate) const fn default_back_off() -> Span {
        Span::from_secs(10)
    }

    const fn default_avoid_nodes() -> bool {
        true
    }
}

impl From<model::TaskKind> for KindWord {
    fn from(kind: model::TaskKind) -> Self {
        match kind {
            model::TaskKind::Training => KindWord::Training,
            model::TaskKind::Interactive { .. } => KindWord::Interactive,
            model::TaskKind::Background => KindWord::Background,
        }
    }
}

impl From<model::Retries> for Retries {
    fn from(retries: model::Retries) -> Self {
        Retries { limit: retries.limit, back_off: retries.back_off, avoid_nodes: retries.avoid_nodes }
    }
}

impl From<Retries> for model::Retries {
    fn from(retries: Retries) -> Self {
        model::Retries { limit: retries.limit, back_off: retries.back_off, avoid_nodes: retries.avoid_nodes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_of_retries_is_what_the_model_has() {
        let model: model::Retries = serde_json::from_str("{\"limit\": 3}").expect("retries");
        assert_eq!(serde_json::from_str::<Retries>("{\"limit\": 3}").expect("retries"), Retries::from(model));
    }
}
