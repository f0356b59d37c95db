//! Amounts of nodes and devices, in whole thousandths.

use std::fmt;
use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// So many nodes or devices, in thousandths. Never negative; sums stop at the greatest amount instead of overflowing.
///
/// In JSON it is a number: `2`, or `0.75`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Amount = Amount(0);
    /// More than there can be.
    pub const MAX: Amount = Amount(u64::MAX);

    /// So many thousandths.
    #[must_use]
    pub const fn from_milli(milli: u64) -> Self {
        Amount(milli)
    }

    /// So many whole ones.
    #[must_use]
    pub const fn whole(count: u32) -> Self {
        Amount(count as u64 * 1000)
    }

    /// In thousandths.
    #[must_use]
    pub const fn as_milli(self) -> u64 {
        self.0
    }

    /// Nothing at all.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// What is left if `other` is taken away; nothing if that is more.
    #[must_use]
    pub const fn minus(self, other: Amount) -> Self {
        Amount(self.0.saturating_sub(other.0))
    }

    /// `count` times as much.
    #[must_use]
    pub const fn times(self, count: u64) -> Self {
        Amount(self.0.saturating_mul(count))
    }
}

impl Add for Amount {
    type Output = Amount;
    fn add(self, other: Amount) -> Amount {
        Amount(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Amount) {
        *self = *self + other;
    }
}

impl Sum for Amount {
    fn sum<I: Iterator<Item = Amount>>(amounts: I) -> Amount {
        amounts.fold(Amount::ZERO, Add::add)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1000, self.0 % 1000);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:03}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_multiple_of(1000) {
            return serializer.serialize_u64(self.0 / 1000);
        }
        #[expect(clippy::cast_precision_loss, reason = "2^53 thousandths of a device are out of reach")]
        let number = self.0 as f64 / 1000.0;
        serializer.serialize_f64(number)
    }
}

impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;
        impl Visitor<'_> for Number {
            type Value = Amount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number that is not negative, with at most three decimals")
            }

            fn visit_u64<E: de::Error>(self, whole: u64) -> Result<Amount, E> {
                whole
                    .checked_mul(1000)
                    .map(Amount)
                    .ok_or_else(|| E::invalid_value(de::Unexpected::Unsigned(whole), &self))
            }

            fn visit_i64<E: de::Error>(self, whole: i64) -> Result<Amount, E> {
                match u64::try_from(whole) {
                    Ok(whole) => self.visit_u64(whole),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(whole), &self)),
                }
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Amount, E> {
                let milli = number * 1000.0;
                let nearest = milli.round();
                if !(0.0..=9.0e15).contains(&nearest) || (milli - nearest).abs() > 1e-6 * nearest.max(1.0) {
                    return Err(E::invalid_value(de::Unexpected::Float(number), &self));
                }
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "its range was just checked"
                )]
                Ok(Amount(nearest as u64))
            }
        }
        deserializer.deserialize_any(Number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_and_print_in_whole_and_parts() {
        for (json, milli, text) in [("2", 2000, "2"), ("0.75", 750, "0.75"), ("0.001", 1, "0.001"), ("0", 0, "0")] {
            let amount: Amount = serde_json::from_str(json).expect("an amount");
            assert_eq!((amount.as_milli(), amount.to_string().as_str()), (milli, text));
            assert_eq!(serde_json::to_string(&amount).expect("a number"), json);
        }
        for json in ["-1", "0.0001", "1e300", "\"1\"", "18446744073709551615"] {
            assert!(serde_json::from_str::<Amount>(json).is_err(), "{json}");
        }
    }

    #[test]
    fn amounts_never_overflow() {
        assert_eq!(Amount::MAX + Amount::whole(1), Amount::MAX);
        assert_eq!(Amount::ZERO.minus(Amount::whole(1)), Amount::ZERO);
    }
}
