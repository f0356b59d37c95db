//! A task of a trace: who asked for what when, and how long it truly ran.

use crate::model::{Span, TaskSpec, Time};
use crate::sim::Work;

/// One row of a trace, whatever its format.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// Its line in the file, counted from 1.
    pub line: u64,
    /// When it was submitted. Traces that tell seconds since some beginning of their own have it at [`Time::ZERO`].
    pub submit: Time,
    /// What was asked; its name is the job's name in the trace.
    pub spec: TaskSpec,
    /// What was truly in it.
    pub work: Work,
}

/// Seconds in decimal digits, with at most a point among them, as a span; what is finer than a millisecond is rounded.
///
/// # Errors
/// What is wrong with the text.
pub fn seconds(text: &str) -> Result<Span, String> {
    let wrong = || format!("{text:?} is no number of seconds that will do; write e.g. 90 or 0.25");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let whole: u64 = whole.parse().map_err(|_| wrong())?;
    let digit = |at: usize| u64::from(part.as_bytes().get(at).map_or(0, |byte| byte - b'0'));
    let ms = digit(0) * 100 + digit(1) * 10 + digit(2) + u64::from(digit(3) >= 5);
    // Later times could not be told as dates, nor added up.
    let most = 1_u64 << 52;
    whole.checked_mul(1000).map(|span| span + ms).filter(|&span| span <= most).map(Span::from_ms).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_read_to_the_millisecond() {
        for (text, ms) in [("0", 0), ("90", 90_000), ("1.5", 1500), ("0.0005", 1), ("12.34567", 12_346), ("7.", 7000)] {
            assert_eq!(seconds(text).map(Span::as_ms), Ok(ms), "{text}");
        }
        for text in ["", ".5", "-1", "1e3", "1,5", "nan", "99999999999999999999", "9007199254740993"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
