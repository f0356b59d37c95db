//! A backup as a file: gzipped lines of JSON, a header first and a digest of all last.

use std::io::{self, BufRead as _, BufReader, Read, Write};

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use hai_core::backend::Digest;
use hai_core::engine::EngineState;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Header, Piece, Tally};

/// The longest line that is read, in bytes: more than a state of millions of tasks.
const LINE_BYTES_MAX: u64 = 1 << 32;
/// How much of what is read is kept before it is looked at, in bytes.
const BUFFER_BYTES: usize = 1 << 16;

/// Why a file is no backup, or not a whole one.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// It can not be read.
    #[error("it can not be read: {0}")]
    Read(#[from] io::Error),
    /// It does not begin as a backup does.
    #[error("it is no backup of hai: {0}")]
    NoBackup(String),
    /// A newer version of hai wrote it.
    #[error(
        "hai {hai} wrote it, in a form that this version does not know; restore it with that version, or a newer one"
    )]
    Newer {
        /// That version.
        hai: String,
    },
    /// It ends before its end.
    #[error("it is cut off after {lines} lines: the backup did not end, or was not copied to its end")]
    CutOff {
        /// How many lines are there.
        lines: u64,
    },
    /// A line is not what was written.
    #[error("line {line} is damaged: {problem}")]
    Damaged {
        /// The line, of what was unpacked.
        line: u64,
        /// What is wrong with it.
        problem: String,
    },
}

/// The last line.
#[derive(Serialize, Deserialize)]
struct Trailer {
    end: End,
}

#[derive(Serialize, Deserialize)]
struct End {
    /// What came between.
    pieces: Tally,
    /// SHA-256 of all lines before, as they were unpacked.
    sha256: Digest,
}

/// Writes a backup.
#[derive(Debug)]
pub struct BackupWriter<W: Write> {
    out: GzEncoder<W>,
    sum: Sha256,
    pieces: Tally,
    line: Vec<u8>,
}

impl<W: Write> BackupWriter<W> {
    /// Begins one.
    ///
    /// # Errors
    /// What writing says.
    pub fn new(out: W, header: &Header) -> io::Result<Self> {
        let out = GzEncoder::new(out, Compression::fast());
        let mut writer = BackupWriter { out, sum: Sha256::new(), pieces: Tally::default(), line: Vec::new() };
        writer.line(header)?;
        Ok(writer)
    }

    /// One more piece.
    ///
    /// # Errors
    /// What writing says.
    pub fn piece(&mut self, piece: &Piece) -> io::Result<()> {
        self.pieces.add(piece.kind());
        self.line(piece)
    }

    fn line(&mut self, value: &impl Serialize) -> io::Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, value)?;
        self.line.push(b'\n');
        self.sum.update(&self.line);
        self.out.write_all(&self.line)
    }

    /// Ends it; what it was written to is returned, and still has to be made durable.
    ///
    /// # Errors
    /// What writing says.
    pub fn finish(mut self) -> io::Result<(W, Tally)> {
        let sha256 = Digest(self.sum.clone().finalize().into());
        let pieces = self.pieces;
        self.line(&Trailer { end: End { pieces, sha256 } })?;
        Ok((self.out.finish()?, pieces))
    }
}

/// Reads a backup.
#[derive(Debug)]
pub struct BackupReader<R: Read> {
    lines: BufReader<MultiGzDecoder<R>>,
    sum: Sha256,
    header: Header,
    pieces: Tally,
    number: u64,
    line: Vec<u8>,
    ended: bool,
}

/// What stands in any first line, whatever the version.
#[derive(Deserialize)]
struct First {
    hai_backup: u32,
    hai: String,
    state_schema: u32,
}

impl<R: Read> BackupReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn new(file: R) -> Result<Self, BackupError> {
        let mut reader = BackupReader {
            lines: BufReader::with_capacity(BUFFER_BYTES, MultiGzDecoder::new(file)),
            sum: Sha256::new(),
            header: Header::new(hai_core::model::Time::from_ms(0), 0, Tally::default()),
            pieces: Tally::default(),
            number: 0,
            line: Vec::new(),
            ended: false,
        };
        let whole = match reader.read_line() {
            Ok(whole) => whole,
            Err(BackupError::Read(error)) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(BackupError::NoBackup("it is not gzipped".to_owned()));
            }
            Err(error) => return Err(error),
        };
        if !whole {
            return Err(BackupError::CutOff { lines: 0 });
        }
        let no_backup = |error: serde_json::Error| BackupError::NoBackup(error.to_string());
        let first: First = serde_json::from_slice(&reader.line).map_err(no_backup)?;
        if first.hai_backup > Header::FORMAT || first.state_schema > EngineState::SCHEMA {
            return Err(BackupError::Newer { hai: first.hai });
        }
        reader.header = serde_json::from_slice(&reader.line).map_err(no_backup)?;
        reader.sum.update(&reader.line);
        Ok(reader)
    }

    /// What stands in its first line.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// At most so many of the next pieces; none once the end was met, and it was the right one.
    ///
    /// # Errors
    /// [`BackupError`].
    pub fn next(&mut self, most: usize) -> Result<Vec<Piece>, BackupError> {
        let mut pieces = Vec::new();
        while pieces.len() < most && !self.ended {
            if !self.read_line()? {
                return Err(BackupError::CutOff { lines: self.number });
            }
            if self.line.starts_with(b"{\"end\":") {
                self.end()?;
                continue;
            }
            let piece: Piece = serde_json::from_slice(&self.line).map_err(|error| self.damaged(error.to_string()))?;
            self.sum.update(&self.line);
            self.pieces.add(piece.kind());
            pieces.push(piece);
        }
        Ok(pieces)
    }

    fn damaged(&self, problem: impl Into<String>) -> BackupError {
        BackupError::Damaged { line: self.number, problem: problem.into() }
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let Trailer { end } = serde_json::from_slice(&self.line).map_err(|error| self.damaged(error.to_string()))?;
        if end.sha256 != Digest(self.sum.clone().finalize().into()) {
            return Err(self.damaged("the digest of all lines before is another one"));
        }
        if end.pieces != self.pieces {
            return Err(self.damaged("the counts of what came before are others"));
        }
        if self.read_line()? {
            return Err(self.damaged("there is something behind the end"));
        }
        self.ended = true;
        Ok(())
    }

    /// The next line into `self.line`; false if there is none, or no whole one.
    fn read_line(&mut self) -> Result<bool, BackupError> {
        self.line.clear();
        let read = (&mut self.lines).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.line);
        match read {
            // Gzip says at its end how much there was, and notices that it is missing.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(BackupError::CutOff { lines: self.number });
            }
            Err(error) if self.number > 0 && error.kind() == io::ErrorKind::InvalidInput => {
                return Err(BackupError::Damaged { line: self.number + 1, problem: error.to_string() });
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(BackupError::Damaged { line: self.number + 1, problem: error.to_string() });
            }
            read => read?,
        };
        let whole = self.line.ends_with(b"\n");
        self.number += u64::from(whole);
        Ok(whole)
    }
}
