//! How single values are read from TOML or plain text, and written as TOML.

use std::path::PathBuf;

use hai_core::engine::Policy;
use hai_core::model::{DeviceId, GroupName, Limit, ModelName, NodeName, Priority, Span, UserName};
use toml::de::DeValue;

use super::error::did_you_mean;

/// A value before it is understood.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Raw<'a> {
    /// From the file.
    Toml(&'a DeValue<'a>),
    /// From a variable or a flag.
    Text(&'a str),
}

/// A type that a setting can have.
pub(crate) trait Setting: Sized {
    /// Understands a value, or says what was expected and what was found.
    fn read(raw: Raw<'_>) -> Result<Self, String>;
    /// The value as TOML that [`Setting::read`] understands.
    fn show(&self) -> String;
}

impl<'a> Raw<'a> {
    fn found(self) -> String {
        match self {
            Raw::Text(text) => format!("`{text}`"),
            Raw::Toml(DeValue::String(text)) => format!("the text {text:?}"),
            Raw::Toml(DeValue::Integer(number)) => format!("the number {number}"),
            Raw::Toml(DeValue::Float(number)) => format!("the number {number}"),
            Raw::Toml(DeValue::Boolean(truth)) => format!("`{truth}`"),
            Raw::Toml(DeValue::Datetime(_)) => "a date".to_owned(),
            Raw::Toml(DeValue::Array(_)) => "a list".to_owned(),
            Raw::Toml(DeValue::Table(_)) => "a table".to_owned(),
        }
    }

    fn unexpected<T>(self, expected: &str) -> Result<T, String> {
        Err(format!("expected {expected}, found {}", self.found()))
    }

    /// A text, whatever is in it.
    pub(crate) fn text(self, expected: &str) -> Result<&'a str, String> {
        match self {
            Raw::Text(text) => Ok(text),
            Raw::Toml(DeValue::String(text)) => Ok(text),
            Raw::Toml(_) => self.unexpected(expected),
        }
    }

    /// A whole number that is not negative, if it is a number at all.
    fn whole(self) -> Option<u64> {
        match self {
            Raw::Toml(DeValue::Integer(number)) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            Raw::Text(text) => text.trim().parse().ok(),
            Raw::Toml(_) => None,
        }
    }
}

/// Text as TOML.
pub(crate) fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

impl Setting for bool {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match raw {
            Raw::Toml(DeValue::Boolean(truth)) => Ok(*truth),
            Raw::Text("true" | "1" | "yes" | "on") => Ok(true),
            Raw::Text("false" | "0" | "no" | "off") => Ok(false),
            _ => raw.unexpected("`true` or `false`"),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for u32 {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match raw.whole().map(u32::try_from) {
            Some(Ok(number)) => Ok(number),
            _ => raw.unexpected(&format!("a whole number from 0 to {}", u32::MAX)),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Setting for String {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        raw.text("a text in quotes").map(str::to_owned)
    }
    fn show(&self) -> String {
        quoted(self)
    }
}

impl Setting for PathBuf {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match raw.text("a path in quotes")? {
            "" => Err("the path is empty".to_owned()),
            text if text.contains('\0') => Err("the path has a zero byte in it".to_owned()),
            text => Ok(PathBuf::from(text)),
        }
    }
    fn show(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Setting for Span {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let text = raw.text("a length of time in quotes, e.g. \"30m\" or \"4h\"")?;
        text.trim().parse().map_err(|error: hai_core::model::ParseSpanError| error.to_string())
    }
    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

/// Texts that their own type checks.
macro_rules! checked_text {
    ($($type:ty => $expected:literal),* $(,)?) => {$(
        impl Setting for $type {
            fn read(raw: Raw<'_>) -> Result<Self, String> {
                raw.text($expected)?.parse::<$type>().map_err(|error| error.to_string())
            }
            fn show(&self) -> String {
                quoted(self.as_str())
            }
        }
    )*};
}
checked_text! {
    UserName => "a user's name in quotes",
    GroupName => "a group's name in quotes",
    NodeName => "a node's name in quotes",
    DeviceId => "a device's UUID in quotes",
    ModelName => "a device model in quotes, e.g. \"RTX 3070\"",
}

impl Setting for Priority {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let text = raw.text("a priority in quotes, e.g. \"NORMAL\"")?;
        text.parse().map_err(|error: hai_core::model::ParsePriorityError| {
            let hint = did_you_mean(text, Priority::LEVELS.into_iter().chain([Priority::Auto]).map(Priority::name));
            if hint.is_empty() { error.to_string() } else { format!("`{text}` is not a priority{hint}") }
        })
    }
    fn show(&self) -> String {
        quoted(self.name())
    }
}

impl Setting for Limit {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match raw {
            Raw::Toml(DeValue::String(text)) if text == "unlimited" => Ok(Limit::Unlimited),
            Raw::Toml(DeValue::Integer(_)) if raw.whole().is_some_and(|most| u32::try_from(most).is_ok()) => {
                u32::read(raw).map(Limit::AtMost)
            }
            _ => raw.unexpected("a whole number that is not negative, or \"unlimited\""),
        }
    }
    fn show(&self) -> String {
        match self {
            Limit::AtMost(most) => most.to_string(),
            Limit::Unlimited => quoted("unlimited"),
        }
    }
}

/// Several texts.
#[derive(Debug)]
pub(crate) struct Texts(pub(crate) Vec<String>);

impl Setting for Texts {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let expected = "a list of texts, e.g. [\"slow\"]";
        let Raw::Toml(DeValue::Array(items)) = raw else { return raw.unexpected(expected) };
        items
            .iter()
            .map(|item| Raw::Toml(item.get_ref()).text(expected).map(str::to_owned))
            .collect::<Result<_, _>>()
            .map(Texts)
    }
    fn show(&self) -> String {
        let items: Vec<String> = self.0.iter().map(|text| quoted(text)).collect();
        format!("[{}]", items.join(", "))
    }
}

/// The words of a type whose values are a few words.
macro_rules! words {
    ($type:ty, $what:literal, $($word:literal => $value:path),* $(,)?) => {
        impl Setting for $type {
            fn read(raw: Raw<'_>) -> Result<Self, String> {
                const WORDS: &[&str] = &[$($word),*];
                let list = || WORDS.iter().map(|word| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
                match raw.text(&format!("{} in quotes: one of {}", $what, list()))? {
                    $($word => Ok($value),)*
                    other => Err(match super::error::meant(other, WORDS.iter().copied()) {
                        Some(word) => format!("`{other}` is not {}; did you mean `{word}`?", $what),
                        None => format!("`{other}` is not {}; write one of {}", $what, list()),
                    }),
                }
            }
            fn show(&self) -> String {
                quoted(match self { $($value => $word),* })
            }
        }
    };
}

words!(Policy, "a policy", "hai" => Policy::Hai, "hai-fifo" => Policy::HaiFifo);

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}
words!(LogFormat, "a log format", "text" => LogFormat::Text, "json" => LogFormat::Json);

/// The least important log lines that are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// What needs somebody's attention.
    Error,
    /// What may soon need it.
    Warn,
    /// What the daemon does.
    #[default]
    Info,
    /// Why it does it.
    Debug,
    /// Everything.
    Trace,
}
words!(
    LogLevel, "a log level",
    "error" => LogLevel::Error, "warn" => LogLevel::Warn, "info" => LogLevel::Info, "debug" => LogLevel::Debug,
    "trace" => LogLevel::Trace,
);

impl LogLevel {
    /// The level in one word, as log filters take it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            LogLevel::Error => "error",
            LogLevel::Warn => "warn",
            LogLevel::Info => "info",
            LogLevel::Debug => "debug",
            LogLevel::Trace => "trace",
        }
    }
}

/// Where to listen: a host or address, and a port (0 for any that is free).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen(String);

impl Listen {
    /// The default: this machine alone.
    pub const DEFAULT: &'static str = "127.0.0.1:8420";

    /// As `host:port`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Listen {
    fn default() -> Self {
        Listen(Self::DEFAULT.to_owned())
    }
}

impl Setting for Listen {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let text = raw.text("an address with a port in quotes, e.g. \"127.0.0.1:8420\"")?;
        if text.parse::<std::net::SocketAddr>().is_ok() {
            return Ok(Listen(text.to_owned()));
        }
        if text.parse::<std::net::Ipv6Addr>().is_ok() {
            return Err(format!("`{text}` has no port; write e.g. `[{text}]:8420`"));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            let host = if text.is_empty() { "127.0.0.1" } else { text };
            return Err(format!("`{text}` has no port; write e.g. `{host}:8420`"));
        };
        if port.is_empty() || !port.bytes().all(|c| c.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return Err(format!("`{port}` is not a port; ports are numbers from 0 to 65535"));
        }
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if host.is_empty() || !host.chars().all(named) {
            return Err(format!("`{host}` is not an address or a host's name; write e.g. `127.0.0.1:{port}`"));
        }
        Ok(Listen(text.to_owned()))
    }
    fn show(&self) -> String {
        quoted(&self.0)
    }
}

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

    fn listen(text: &str) -> Result<String, String> {
        Listen::read(Raw::Text(text)).map(|listen| listen.0)
    }

    #[test]
    fn an_address_needs_a_host_and_a_port() {
        for good in ["127.0.0.1:0", "[::1]:8420", "localhost:80", "gpu-1.lab:8420", "0.0.0.0:65535"] {
            assert_eq!(listen(good), Ok(good.to_owned()));
        }
        assert_eq!(listen("127.0.0.1").unwrap_err(), "`127.0.0.1` has no port; write e.g. `127.0.0.1:8420`");
        assert_eq!(listen("::1").unwrap_err(), "`::1` has no port; write e.g. `[::1]:8420`");
        assert_eq!(listen("host:99999").unwrap_err(), "`99999` is not a port; ports are numbers from 0 to 65535");
        assert_eq!(listen("host:+80").unwrap_err(), "`+80` is not a port; ports are numbers from 0 to 65535");
        assert!(listen(":80").is_err() && listen("").is_err() && listen("a b:1").is_err());
    }

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
