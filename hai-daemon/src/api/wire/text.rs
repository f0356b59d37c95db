//! Text forms that serde needs spelled out: spans of time, and the words of a priority for the OpenAPI document.

use hai_core::model::Span;
use serde::{Deserialize, Deserializer, Serializer};
use utoipa::ToSchema;

/// `8 GiB` and the like.
#[must_use]
pub fn memory(mib: u64) -> String {
    if mib >= 1024 && mib.is_multiple_of(1024) { format!("{} GiB", mib / 1024) } else { format!("{mib} MiB") }
}

/// A priority, best first. Requests may also write it in lower case, with `-`, or as its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[schema(as = Priority)]
pub enum PriorityWord {
    /// 50
    ExtremeHigh,
    /// 40
    VeryHigh,
    /// 30
    High,
    /// 20; counts as `NORMAL` once the task has run for 30 minutes (a setting).
    AboveNormal,
    /// 10
    Normal,
    /// 8
    UnderNormal,
    /// 5
    BelowNormal,
    /// 0
    Low,
    /// The best level at which the user has a right left.
    Auto,
}

/// Spans of time as text with a unit.
pub(super) mod span {
    use super::{Deserialize, Deserializer, Serializer, Span};

    pub(in super::super) fn serialize<S: Serializer>(span: &Span, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(span)
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Span, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Spans of time that may be missing, as text with a unit or `null`.
pub(super) mod maybe_span {
    use super::{Deserialize, Deserializer, Serializer, Span};

    pub(in super::super) fn serialize<S: Serializer>(span: &Option<Span>, serializer: S) -> Result<S::Ok, S::Error> {
        match span {
            Some(span) => serializer.collect_str(span),
            None => serializer.serialize_none(),
        }
    }

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Span>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| text.parse().map_err(serde::de::Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use hai_core::model::Priority;

    use super::PriorityWord;

    #[test]
    fn the_documented_priorities_are_the_real_ones() {
        for level in Priority::LEVELS.into_iter().chain([Priority::Auto]) {
            let word: PriorityWord = serde_json::from_value(level.name().into()).expect("a documented word");
            assert_eq!(serde_json::to_value(word).expect("a word"), level.name());
        }
    }
}
