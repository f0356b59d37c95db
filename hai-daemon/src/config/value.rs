//! How single values are read from TOML or plain text, and written as TOML.

use std::collections::{BTreeMap, BTreeSet};
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

/// Text as a key, which unlike a value may not be written in the way for several lines.
pub(crate) fn quoted_key(text: &str) -> String {
    let mut key = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => key.extend(['\\', c]),
            c if c.is_control() => key += &format!("\\u{:04X}", u32::from(c)),
            c => key.push(c),
        }
    }
    key + "\""
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

/// Whole numbers that are not negative.
macro_rules! whole_numbers {
    ($($type:ty),*) => {$(
        impl Setting for $type {
            fn read(raw: Raw<'_>) -> Result<Self, String> {
                match raw.whole().map(<$type>::try_from) {
                    Some(Ok(number)) => Ok(number),
                    _ => raw.unexpected(&format!("a whole number from 0 to {}", <$type>::MAX)),
                }
            }
            fn show(&self) -> String {
                self.to_string()
            }
        }
    )*};
}
whole_numbers!(u8, u16, u32, u64);

/// A number, or any number.
impl Setting for Option<u32> {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match (raw, raw.whole().map(u32::try_from)) {
            (Raw::Toml(DeValue::String(text)), _) if text == "unlimited" => Ok(None),
            (Raw::Text("unlimited"), _) => Ok(None),
            (_, Some(Ok(number))) => Ok(Some(number)),
            _ => raw.unexpected(&format!("a whole number from 0 to {}, or \"unlimited\"", u32::MAX)),
        }
    }
    fn show(&self) -> String {
        self.map_or_else(|| quoted("unlimited"), |number| number.show())
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

/// Names, in any order.
impl Setting for BTreeSet<String> {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match raw {
            Raw::Toml(DeValue::Array(names)) => {
                let name = |name: &toml::Spanned<DeValue<'_>>| {
                    Raw::Toml(name.get_ref()).text("a name in quotes").map(str::to_owned)
                };
                names.iter().map(name).collect()
            }
            // A variable has no brackets.
            Raw::Text(text) => {
                let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
                Ok(names.map(str::to_owned).collect())
            }
            raw => raw.unexpected("a list of names in quotes, e.g. [\"Xorg\"]"),
        }
    }
    fn show(&self) -> String {
        format!("[{}]", self.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", "))
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

/// A length of time, or no end of it.
impl Setting for Option<Span> {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        let text = raw.text("a length of time in quotes, e.g. \"30m\" or \"4h\", or \"never\"")?.trim();
        if text == "never" {
            return Ok(None);
        }
        let wrong = |error: hai_core::model::ParseSpanError| match did_you_mean(text, ["never"]) {
            hint if hint.is_empty() => format!("{error}, or `never`"),
            hint => format!("`{text}` is not a length of time{hint}"),
        };
        text.parse().map(Some).map_err(wrong)
    }
    fn show(&self) -> String {
        self.map_or_else(|| quoted("never"), |span| span.show())
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
            raw => match amount(raw) {
                Some(most) => Ok(Limit::AtMost(most)),
                None => raw.unexpected("a number that is not negative, to a thousandth, or \"unlimited\""),
            },
        }
    }
    fn show(&self) -> String {
        match self {
            Limit::AtMost(most) => most.to_string(),
            Limit::Unlimited => quoted("unlimited"),
        }
    }
}

impl Setting for Amount {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match amount(raw) {
            Some(amount) => Ok(amount),
            None => raw.unexpected("a number that is not negative, to a thousandth"),
        }
    }
    fn show(&self) -> String {
        self.to_string()
    }
}

/// A number of the file, if it is one to a thousandth.
fn amount(raw: Raw<'_>) -> Option<Amount> {
    match raw {
        Raw::Toml(DeValue::Integer(_)) => u32::try_from(raw.whole()?).ok().map(Amount::whole),
        // With decimals as JSON takes it.
        Raw::Toml(DeValue::Float(number)) => {
            let amount: Amount = serde_json::from_str(number.as_str()).ok()?;
            (amount <= Amount::whole(u32::MAX)).then_some(amount)
        }
        _ => None,
    }
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

/// Several of one kind; in a variable, with commas between them.
impl<T: Setting> Setting for Vec<T> {
    fn read(raw: Raw<'_>) -> Result<Self, String> {
        match raw {
            Raw::Toml(DeValue::Array(items)) => items.iter().map(|item| T::read(Raw::Toml(item.get_ref()))).collect(),
            Raw::Text(text) => {
                let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
                items.map(|item| T::read(Raw::Text(item))).collect()
            }
            Raw::Toml(_) => raw.unexpected("a list in brackets"),
        }
    }
    fn show(&self) -> String {
        format!("[{}]", self.iter().map(T::show).collect::<Vec<_>>().join(", "))
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
            self.0.iter().map(|(name, text)| format!("{} = {}", quoted_key(name), quoted(text))).collect();
        format!("{{ {} }}", items.join(", "))
    }
}

/// What the word among `words` stands for.
pub(crate) fn one_of<T: Clone>(raw: Raw<'_>, what: &str, words: &[(&str, T)]) -> Result<T, String> {
    let list = || words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(", ");
    let text = raw.text(&format!("{what} in quotes: one of {}", list()))?;
    if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
        return Ok(value.clone());
    }
    Err(match super::error::meant(text, words.iter().map(|(word, _)| *word)) {
        Some(word) => format!("`{text}` is not {what}; did you mean `{word}`?"),
        None => format!("`{text}` is not {what}; write one of {}", list()),
    })
}

/// The words of a type whose values are a few words.
macro_rules! words {
    ($type:ty, $what:literal, $($word:literal => $value:path),* $(,)?) => {
        impl Setting for $type {
            fn read(raw: Raw<'_>) -> Result<Self, String> {
                one_of(raw, $what, &[$(($word, $value)),*])
            }
            fn show(&self) -> String {
                quoted(match self { $($value => $word),* })
            }
        }
    };
}

pub(crate) use words;

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
