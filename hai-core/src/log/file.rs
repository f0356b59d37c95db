//! The format of a log file, version 1.
//!
//! One JSON object a line, UTF-8, lines ended by `\n`; empty lines are passed over. The first line is the [`Header`]:
//!
//! | field | holds |
//! |---|---|
//! | `format` | `"hai-log"` |
//! | `version` | `1`; a reader refuses versions that it does not know |
//! | `hai` | the version of hai that wrote the file |
//! | `config` | the engine's configuration at the first record, as far as no record says otherwise |
//! | `after` | `seq` and `digest` of the record before the first; 0 and 64 zeros at the beginning of a log |
//! | `pseudonyms` | `true` if names were replaced; the chain is then another than that of the log it was made from |
//! | `state` | the engine's state after that record; left out at the beginning of a log |
//!
//! Every other line is a [`Record`]: `seq` (without gaps), `at` (milliseconds since 1970 UTC), `by` (who caused it, if
//! somebody did), `entry` (`{"entry": "fact" | "round" | "opened", "body": …}`), and for rounds `digest`.
//!
//! **The chain.** A round's digest is SHA-256 over the digest of the round before it, followed by SHA-256 over all records
//! since then and itself, each without its digest and preceded by its length in bytes as 8 bytes, little-endian. A fact has
//! no digest of its own; the next round's covers it.
//!
//! **What a record means.** Facts were told to the engine at their time. A `round` is what the engine decided at that time
//! with all facts before it; one follows every batch of facts, even if nothing was decided. `opened` says that a scheduler
//! took over: its engine was restored from the state that the records before give, with the configuration named.

use std::fmt::Display;

use serde::{Deserialize, Serialize};

use crate::backend::{Chain, Digest, Record, Snapshot};
use crate::engine::{EngineConfig, EngineState};

const FORMAT: &str = "hai-log";
const VERSION: u32 = 1;

/// The first line of a log file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Header {
    format: String,
    version: u32,
    /// The version of hai that wrote the file.
    pub hai: String,
    /// How the engine decides at the first record, as far as no record says otherwise.
    pub config: EngineConfig,
    /// After which record the file begins.
    pub after: After,
    /// Names were replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pseudonyms: bool,
    /// The engine's state after that record; `None` at the beginning of a log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<EngineState>>,
}

/// A sealed record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct After {
    /// Its number, 0 for the beginning of the log.
    pub seq: u64,
    /// Its digest.
    pub digest: Digest,
}

impl Header {
    /// Of a log from its beginning, by an engine that decides so.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Header {
            format: FORMAT.to_owned(),
            version: VERSION,
            hai: env!("CARGO_PKG_VERSION").to_owned(),
            config,
            after: After::default(),
            pseudonyms: false,
            state: None,
        }
    }

    /// Of a log that goes on after a snapshot. `config` counts if the snapshot does not say with which it was taken.
    #[must_use]
    pub fn after(snapshot: Snapshot, config: EngineConfig) -> Self {
        let config = snapshot.state.config().cloned().unwrap_or(config);
        let after = After { seq: snapshot.seq, digest: snapshot.digest };
        Header { after, state: Some(Box::new(snapshot.state)), ..Header::new(config) }
    }

    /// The snapshot that the file begins with, if it does not begin where the log does.
    #[must_use]
    pub fn snapshot(&self) -> Option<Snapshot> {
        let state = EngineState::clone(self.state.as_ref()?);
        Some(Snapshot { seq: self.after.seq, digest: self.after.digest, state })
    }

    /// The chain that the first record follows.
    #[must_use]
    pub fn chain(&self) -> Chain {
        Chain::after(self.after.seq, self.after.digest)
    }
}

/// A header as a line, without the line's end.
///
/// # Panics
/// Never: a header has no keys but strings.
#[must_use]
pub fn header_line(header: &Header) -> String {
    serde_json::to_string(header).expect("a header has no keys but strings, and no failing serializer")
}

/// A record as a line, without the line's end.
///
/// # Panics
/// Never: a record has no keys but strings.
#[must_use]
pub fn record_line(record: &Record) -> String {
    serde_json::to_string(record).expect("a record has no keys but strings, and no failing serializer")
}

/// A record and the line it stood in, counted from 1.
#[derive(Clone, Debug, PartialEq)]
pub struct Numbered {
    /// The line.
    pub line: u64,
    /// What stood there.
    pub record: Record,
}

/// What is wrong with a log file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// The lines could not be read.
    #[error("line {line}: can not be read: {problem}")]
    Input {
        /// The line.
        line: u64,
        /// Why.
        problem: String,
    },
    /// There is no line at all.
    #[error("there is nothing in it: the first line of a log is its header")]
    Empty,
    /// The first line is not the header of a log.
    #[error("line {line}: this is not a hai log: {problem}")]
    NotALog {
        /// The line.
        line: u64,
        /// Why.
        problem: String,
    },
    /// A newer hai wrote it.
    #[error(
        "line {line}: the log has version {version}, this hai reads version {VERSION}; read it with the hai that wrote it ({hai})"
    )]
    Version {
        /// The line.
        line: u64,
        /// The file's version.
        version: u32,
        /// The hai that wrote it, as far as it says.
        hai: String,
    },
    /// A line is not a record.
    #[error("line {line}: {problem}")]
    NotARecord {
        /// The line.
        line: u64,
        /// Why, and at which column.
        problem: String,
    },
    /// A record's number does not follow.
    #[error("line {line}: record {found} stands where record {expected} must; lines were removed, added or moved")]
    Number {
        /// The line.
        line: u64,
        /// The number that had to come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// A digest does not follow from what was read.
    #[error("line {line}: the digest of record {seq} does not fit; one of the lines {first} to {line} was altered")]
    Digest {
        /// The line of the round.
        line: u64,
        /// The first line that the digest covers and the one before it does not.
        first: u64,
        /// The round.
        seq: u64,
    },
}

/// Reads a log from its lines, and checks its chain: an iterator over records.
///
/// Lines are texts without their ends, or the reason why they could not be read. After an error nothing more comes.
#[derive(Debug)]
pub struct LogReader<I> {
    lines: I,
    line: u64,
    header: Header,
    chain: Chain,
    /// The line of the last round.
    sealed: u64,
    over: bool,
}

/// What every version of the header has.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u32,
    #[serde(default)]
    hai: String,
}

impl<I, S, E> LogReader<I>
where
    I: Iterator<Item = Result<S, E>>,
    S: AsRef<str>,
    E: Display,
{
    /// Reads the header.
    ///
    /// # Errors
    /// [`FileError`] if there is none, or one of a version that is not known.
    pub fn open(mut lines: I) -> Result<Self, FileError> {
        let mut line = 0;
        let text = next_line(&mut lines, &mut line)?.ok_or(FileError::Empty)?;
        let text = text.as_ref();
        let not_a_log = |error: serde_json::Error| FileError::NotALog { line, problem: on_one_line(&error) };
        let kind: Kind = serde_json::from_str(text).map_err(not_a_log)?;
        if kind.format != FORMAT {
            let problem = format!("its format is {:?}, not {FORMAT:?}", kind.format);
            return Err(FileError::NotALog { line, problem });
        }
        if kind.version != VERSION {
            return Err(FileError::Version { line, version: kind.version, hai: kind.hai });
        }
        let header: Header = serde_json::from_str(text).map_err(not_a_log)?;
        if header.state.is_none() && header.after != After::default() {
            let problem = format!("it begins after record {} and has no state", header.after.seq);
            return Err(FileError::NotALog { line, problem });
        }
        if let Some(Err(error)) = header.state.as_ref().map(|state| state.check()) {
            let problem = format!("its state can not be: {error}");
            return Err(FileError::NotALog { line, problem });
        }
        let chain = header.chain();
        Ok(LogReader { lines, line, header, chain, sealed: line, over: false })
    }

    /// The first line.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The chain up to the last record that was read. If it has unsealed records at the end, the log was cut off there.
    pub fn chain_so_far(&self) -> &Chain {
        &self.chain
    }

    fn read(&mut self) -> Result<Option<Numbered>, FileError> {
        let Some(text) = next_line(&mut self.lines, &mut self.line)? else { return Ok(None) };
        let line = self.line;
        let record: Record = serde_json::from_str(text.as_ref())
            .map_err(|error| FileError::NotARecord { line, problem: on_one_line(&error) })?;
        // Numbers of a forged header may be the greatest there are.
        let expected = self.chain.seq().checked_add(1);
        if expected != Some(record.seq) {
            return Err(FileError::Number { line, expected: expected.unwrap_or(0), found: record.seq });
        }
        let mut chain = self.chain.clone();
        if !chain.verify(&record) {
            return Err(FileError::Digest { line, first: self.sealed + 1, seq: record.seq });
        }
        self.chain = chain;
        if record.digest.is_some() {
            self.sealed = line;
        }
        Ok(Some(Numbered { line, record }))
    }
}

impl<I, S, E> Iterator for LogReader<I>
where
    I: Iterator<Item = Result<S, E>>,
    S: AsRef<str>,
    E: Display,
{
    type Item = Result<Numbered, FileError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        let read = self.read();
        self.over = !matches!(read, Ok(Some(_)));
        read.transpose()
    }
}

/// The next line that has something in it.
fn next_line<S: AsRef<str>, E: Display>(
    lines: &mut impl Iterator<Item = Result<S, E>>,
    line: &mut u64,
) -> Result<Option<S>, FileError> {
    for text in lines {
        *line += 1;
        let text = text.map_err(|error| FileError::Input { line: *line, problem: error.to_string() })?;
        if !text.as_ref().trim().is_empty() {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// What serde says of a text of one line: its column counts, its line does not.
fn on_one_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let problem = text.rsplit_once(" at line ").map_or(text.as_str(), |(problem, _)| problem);
    format!("{problem} (column {})", error.column())
}
