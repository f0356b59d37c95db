//! What is wrong with a configuration: every problem with its place and what to write instead.

use std::fmt;
use std::sync::Arc;

/// Where a value was set.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Origin {
    /// Nobody set it.
    #[default]
    Default,
    /// In the file.
    File(Place),
    /// By an environment variable of this name.
    Env(String),
    /// By a flag of this name, e.g. `--listen`.
    Flag(String),
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file's name as it was given.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// How many characters of that line belong to it.
    pub width: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Where.
    pub origin: Origin,
    /// What, and what would be right.
    pub message: String,
    /// The line of the file in which it is.
    pub line_text: Option<String>,
}

/// Everything that is wrong with a configuration, in the order of the file; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Problem>);

impl std::error::Error for ConfigErrors {}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File(place) => write!(f, "{}:{}:{}", place.file, place.line, place.column),
            Origin::Env(name) | Origin::Flag(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Default => f.write_str(&self.message)?,
            origin => write!(f, "{origin}: {}", self.message)?,
        }
        if let (Origin::File(place), Some(text)) = (&self.origin, &self.line_text) {
            let number = place.line.to_string();
            // A tab or a control character would shift the marks or play with the terminal.
            let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let indent = " ".repeat(place.column.saturating_sub(1));
            let marks = "^".repeat(place.width.max(1));
            write!(f, "\n{number:>5} | {text}\n      | {indent}{marks}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// The known word that somebody who wrote `word` most likely meant.
pub(crate) fn meant<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_ascii_lowercase().replace(['-', ' '], "_");
    let word = plain(word);
    // Longer garbage is near to nothing, and comparing it costs the square of its length.
    if word.len() > 64 {
        return None;
    }
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&word, &plain(known)), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).clamp(1, 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, known)| known)
}

/// `; did you mean …?`, or nothing.
pub(crate) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    meant(word, known).map(|known| format!("; did you mean `{known}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["listen", "body_bytes_max", "dir"];
        assert_eq!(meant("listn", known), Some("listen"));
        assert_eq!(meant("Body-Bytes-Max", known), Some("body_bytes_max"));
        assert_eq!(meant("colour", known), None);
        assert_eq!(meant(&"listen".repeat(1000), known), None);
    }
}
