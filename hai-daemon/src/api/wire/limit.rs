//! An upper bound: a number, to a thousandth, or the word `unlimited`.

use std::fmt;

use hai_core::model::{self, Amount};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// An upper bound: a number, to a thousandth, or the word `unlimited`; the default is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limit(pub model::Limit);

const UNLIMITED: &str = "unlimited";
/// More is a slip of the pen.
const MOST: u32 = u32::MAX;

fn bounded(most: Amount) -> Option<Limit> {
    (most <= Amount::whole(MOST)).then_some(Limit(model::Limit::AtMost(most)))
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::str::FromStr for Limit {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == UNLIMITED {
            return Ok(Limit(model::Limit::Unlimited));
        }
        // As in JSON, so that both doors take the same numbers.
        let most = serde_json::from_str(text).ok().and_then(bounded);
        most.ok_or_else(|| format!("`{text}` is not a limit; write a number from 0 to {MOST}, or `{UNLIMITED}`"))
    }
}

impl Serialize for Limit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            model::Limit::AtMost(most) => most.serialize(serializer),
            model::Limit::Unlimited => serializer.serialize_str(UNLIMITED),
        }
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberOrWord;
        impl Visitor<'_> for NumberOrWord {
            type Value = Limit;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "a number from 0 to {MOST} with at most three decimals, or \"{UNLIMITED}\"")
            }

            fn visit_u64<E: de::Error>(self, most: u64) -> Result<Limit, E> {
                let amount = Amount::deserialize(de::value::U64Deserializer::<E>::new(most)).ok();
                amount.and_then(bounded).ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(most), &self))
            }

            fn visit_f64<E: de::Error>(self, most: f64) -> Result<Limit, E> {
                let amount = Amount::deserialize(de::value::F64Deserializer::<E>::new(most)).ok();
                amount.and_then(bounded).ok_or_else(|| E::invalid_value(de::Unexpected::Float(most), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Limit, E> {
                if text == UNLIMITED {
                    Ok(Limit(model::Limit::Unlimited))
                } else {
                    Err(E::invalid_value(de::Unexpected::Str(text), &self))
                }
            }
        }
        deserializer.deserialize_any(NumberOrWord)
    }
}

impl PartialSchema for Limit {
    fn schema() -> RefOr<Schema> {
        let number: Object =
            ObjectBuilder::new().schema_type(Type::Number).minimum(Some(0)).maximum(Some(MOST)).build();
        let word: Object = ObjectBuilder::new().schema_type(Type::String).enum_values(Some([UNLIMITED])).build();
        OneOfBuilder::new()
            .item(number)
            .item(word)
            .description(Some("An upper bound: a number or the word `unlimited`."))
            .into()
    }
}

impl ToSchema for Limit {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_word() {
        for (json, limit) in [
            ("3", model::Limit::at_most(3)),
            ("0.25", model::Limit::AtMost(Amount::from_milli(250))),
            ("\"unlimited\"", model::Limit::Unlimited),
        ] {
            assert_eq!(serde_json::from_str::<Limit>(json).expect("a limit"), Limit(limit));
            assert_eq!(serde_json::to_string(&Limit(limit)).expect("json"), json);
        }
        for json in ["-1", "4294967296", "\"many\"", "1.0005", "null"] {
            let error = serde_json::from_str::<Limit>(json).expect_err(json).to_string();
            assert!(error.contains("unlimited"), "{json}: {error}");
        }
        assert_eq!("7".parse(), Ok(Limit(model::Limit::at_most(7))));
        assert_eq!("0.5".parse(), Ok(Limit(model::Limit::AtMost(Amount::from_milli(500)))));
        assert!("4294967296".parse::<Limit>().is_err());
        assert!("-7".parse::<Limit>().is_err());
    }
}
