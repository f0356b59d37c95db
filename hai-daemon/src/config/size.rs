//! Amounts of memory and of processors, as people write them.

use toml::de::DeValue;

use super::value::{Raw, Setting, quoted};

const SIZES: [(&str, u64); 5] = [("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads `64MiB` and the like, in bytes.
pub(crate) fn parse_bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (amount, unit) = (&text[..digits], text[digits..].trim());
    let wrong = || format!("`{text}` is not a size; write a whole number with a unit, e.g. `512MiB` or `8GiB`");
    let amount: u64 = amount.parse().map_err(|_| wrong())?;
    let Some((_, bytes)) = SIZES.iter().find(|(name, _)| *name == unit) else {
        let letter = unit.chars().next().map(|c| c.to_ascii_uppercase());
        let known = SIZES.iter().find(|(name, _)| !unit.is_empty() && name.chars().next() == letter);
        return Err(match known {
            Some((name, _)) => format!("`{unit}` is not a unit of size; did you mean `{amount}{name}`?"),
            None => wrong(),
        });
    };
    amount.checked_mul(*bytes).ok_or_else(|| format!("`{text}` is more than can be counted"))
}

fn show_bytes(bytes: u64) -> String {
    for (unit, size) in SIZES {
        if bytes >= size && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    "0B".to_owned()
}

/// An amount of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bytes(pub u64);

impl Setting for Bytes {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match raw {
            Raw::Toml(DeValue::Integer(_)) if raw.whole().is_some() => Ok(Bytes(raw.whole().unwrap_or_default())),
            _ => parse_bytes(raw.text("a size in quotes, e.g. \"64MiB\", or a number of bytes")?).map(Bytes),
        }
    }
    fn show(&self) -> String {
        quoted(&show_bytes(self.0))
    }
}

/// Memory in MiB: a plain number is in MiB, a text has its unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Mib(pub(crate) u64);

impl Setting for Mib {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let mib = match raw {
            Raw::Toml(DeValue::Integer(_)) if raw.whole().is_some() => raw.whole().unwrap_or_default(),
            _ => {
                let bytes = parse_bytes(raw.text("a size in quotes, e.g. \"16GiB\", or a number of MiB")?)?;
                if !bytes.is_multiple_of(1 << 20) {
                    return Err(format!("{} is not a whole number of MiB", show_bytes(bytes)));
                }
                bytes >> 20
            }
        };
        // The largest amount that can be written in bytes again.
        match mib {
            0 => Err("the memory is zero".to_owned()),
            mib if mib > u64::MAX >> 20 => Err(format!("{mib} MiB is more than can be counted")),
            mib => Ok(Mib(mib)),
        }
    }
    fn show(&self) -> String {
        quoted(&show_bytes(self.0 << 20))
    }
}

/// Processors in thousandths of a core; written in cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cores(pub(crate) u32);

impl Cores {
    /// Reads `8` or `0.5`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let cores: f64 =
            text.trim().parse().map_err(|_| format!("`{text}` is not a number of cores, e.g. 8 or 0.5"))?;
        let milli = (cores * 1000.0).round();
        if !(1.0..=f64::from(u32::MAX)).contains(&milli) {
            return Err(format!("`{text}` is impossible: cores go from 0.001 to {}", u32::MAX / 1000));
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range was checked just now")]
        Ok(Cores(milli as u32))
    }
}

impl Setting for Cores {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match raw {
            Raw::Toml(DeValue::Integer(number)) if number.radix() == 10 => Self::parse(number.as_str()),
            Raw::Toml(DeValue::Float(number)) => Self::parse(number.as_str()),
            Raw::Text(text) => Self::parse(text),
            Raw::Toml(_) => raw.unexpected("a number of cores, e.g. 8 or 0.5"),
        }
    }
    fn show(&self) -> String {
        if self.0.is_multiple_of(1000) {
            (self.0 / 1000).to_string()
        } else {
            let text = format!("{}.{:03}", self.0 / 1000, self.0 % 1000);
            text.trim_end_matches('0').to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_bytes("16GiB"), Ok(16 << 30));
        assert_eq!(parse_bytes(" 3 KiB "), Ok(3 << 10));
        assert_eq!(parse_bytes("8GB").unwrap_err(), "`GB` is not a unit of size; did you mean `8GiB`?");
        for bad in ["", "GiB", "-1GiB", "1.5GiB", "8", "99999999999TiB", "8é"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
        assert_eq!(Bytes(1 << 20).show(), "\"1MiB\"");
        assert_eq!(Bytes((1 << 20) + 1).show(), "\"1048577B\"");
    }

    #[test]
    fn cores_are_kept_in_thousandths() {
        for (text, milli) in [("8", 8000), ("0.5", 500), ("1.25", 1250), ("0.001", 1)] {
            let cores = Cores::parse(text).expect("a number of cores");
            assert_eq!((cores.0, cores.show().as_str()), (milli, text));
        }
        for bad in ["0", "-1", "nan", "inf", "1e99", "x"] {
            assert!(Cores::parse(bad).is_err(), "{bad}");
        }
    }
}
