//! How single values are read from TOML or plain text, and written as TOML.

use std::collections::BTreeMap;
use std::path::PathBuf;

use hai_core::engine::Policy;
use hai_core::model::{
    Amount, ComputeCapability, DeviceId, GroupName, Limit, MigProfile, ModelName, NodeName, PlaceName, Priority, Span,
    TeamName, Time, UserName,
};
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

    pub(crate) fn unexpected<T>(self, expected: &str) -> Result<T, String> {
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
    pub(crate) fn whole(self) -> Option<u64> {
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
    MigProfile => "a MIG profile in quotes, e.g. \"1g.5gb\"",
    TeamName => "a team's name in quotes",
    PlaceName => "the name of a switch or a zone in quotes",
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
                u32::read(raw).map(Limit::at_most)
            }
            Raw::Toml(DeValue::Float(number)) if let Some(most) = thousandths(number.as_str()) => {
                Ok(Limit::AtMost(most))
            }
            _ => raw.unexpected("a number that is not negative, to a thousandth, or \"unlimited\""),
        }
    }
    fn show(&self) -> String {
        match self {
            Limit::AtMost(most) => most.to_string(),
            Limit::Unlimited => quoted("unlimited"),
        }
    }
}

/// A number with decimals, as JSON takes it.
fn thousandths(text: &str) -> Option<Amount> {
    let amount: Amount = serde_json::from_str(text).ok()?;
    (amount <= Amount::whole(u32::MAX)).then_some(amount)
}

impl Setting for ComputeCapability {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        raw.text("a compute capability in quotes, e.g. \"8.6\"")?
            .parse()
            .map_err(|error: hai_core::model::ParseCapabilityError| error.to_string())
    }
    fn show(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Setting for Time {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let expected = "a date with a time and its zone, e.g. 2027-01-31T18:00:00Z";
        let text = match raw {
            Raw::Toml(DeValue::Datetime(date)) => date.to_string(),
            raw => raw.text(expected)?.to_owned(),
        };
        let date = chrono::DateTime::parse_from_rfc3339(&text);
        date.map(|date| date.to_utc().into()).map_err(|_| format!("expected {expected}, found `{text}`"))
    }
    fn show(&self) -> String {
        quoted(&self.to_string())
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

/// Texts under names.
#[derive(Debug)]
pub(crate) struct Labels(pub(crate) BTreeMap<String, String>);

impl Setting for Labels {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let expected = "texts under names, e.g. { disk = \"fast\" }";
        let Raw::Toml(DeValue::Table(items)) = raw else { return raw.unexpected(expected) };
        let one = |item: &DeValue<'_>| Raw::Toml(item).text(expected).map(str::to_owned);
        let labels = items.iter().map(|(name, item)| Ok((name.get_ref().to_string(), one(item.get_ref())?)));
        labels.collect::<Result<_, _>>().map(Labels)
    }
    fn show(&self) -> String {
        let items: Vec<String> =
            self.0.iter().map(|(name, text)| format!("{} = {}", quoted(name), quoted(text))).collect();
        format!("{{ {} }}", items.join(", "))
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
}
