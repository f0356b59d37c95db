//! Reads a worker's output by absolute offset while it is being written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hai_core::model::{RunId, TaskId};

use super::{Segment, WRITING, log_dir_of, segments};

/// How often a follower looks for more; people do not notice less.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);
/// How often a read begins anew because the segment it wanted was just dropped.
const ATTEMPTS_MAX: u32 = 16;

/// The reading end of one worker's log.
#[derive(Clone, Debug)]
pub struct LogReader {
    dir: PathBuf,
}

/// Some bytes of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogChunk {
    /// The offset of the first byte; later than asked for if that part was dropped, earlier if it is not there yet.
    pub offset: u64,
    /// The bytes; may end within a character.
    pub bytes: Vec<u8>,
    /// Where to read on.
    pub next: u64,
    /// The offset of the oldest byte that is kept.
    pub first_available: u64,
    /// The offset after the newest byte, e.g. for reading the last few.
    pub end: u64,
    /// Nothing follows `next`, and nothing will.
    pub complete: bool,
}

impl LogReader {
    /// The log of one worker under `log_dir`. There need not be one (yet): it then reads as empty and not complete, so
    /// a caller who knows that the run ended must not wait for more.
    #[must_use]
    pub fn open(log_dir: &Path, task: TaskId, run: RunId, rank: u32) -> Self {
        LogReader { dir: log_dir_of(log_dir, task, run, rank) }
    }

    /// Reads up to `bytes_max` bytes from `offset` on; fewer at the end. Blocks on the file system.
    ///
    /// # Errors
    /// What the file system says.
    pub fn read(&self, offset: u64, bytes_max: usize) -> io::Result<LogChunk> {
        let mut attempt = 1;
        loop {
            match self.try_read(offset, bytes_max) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && attempt < ATTEMPTS_MAX => attempt += 1,
                result => return result,
            }
        }
    }

    /// As [`LogReader::read`], but waits until there is at least one byte, or nothing more will come. Looks ten times
    /// a second; dropping the future stops that. Must be called within a Tokio runtime.
    ///
    /// # Errors
    /// What the file system says.
    pub async fn follow(&self, offset: u64, bytes_max: usize) -> io::Result<LogChunk> {
        loop {
            let reader = self.clone();
            let read = tokio::task::spawn_blocking(move || reader.read(offset, bytes_max));
            let chunk = read.await.map_err(io::Error::other)??;
            if !chunk.bytes.is_empty() || chunk.complete {
                return Ok(chunk);
            }
            tokio::time::sleep(FOLLOW_INTERVAL).await;
        }
    }

    fn try_read(&self, offset: u64, bytes_max: usize) -> io::Result<LogChunk> {
        // Looked at before the bytes: what is written after this look is then not taken for complete.
        let closed = self.dir.exists() && !self.dir.join(WRITING).exists();
        let segments = segments(&self.dir)?;
        let first_available = segments.first().map_or(0, |segment| segment.start);
        let end = match segments.last() {
            Some(last) => last.start + last.path.metadata()?.len(),
            None => 0,
        };
        let offset = offset.clamp(first_available, end);
        let mut bytes = Vec::new();
        let begin = segments.partition_point(|segment| segment.start <= offset).saturating_sub(1);
        for segment in segments.get(begin..).unwrap_or_default() {
            let wanted = bytes_max - bytes.len();
            let position = offset + bytes.len() as u64;
            if wanted == 0 {
                break;
            }
            match read_segment(segment, position, wanted, &mut bytes) {
                // Dropped while this read was under way; what was read before it is whole.
                Err(error) if error.kind() == io::ErrorKind::NotFound && !bytes.is_empty() => break,
                result => result?,
            }
        }
        let next = offset + bytes.len() as u64;
        Ok(LogChunk { offset, bytes, next, first_available, end: end.max(next), complete: closed && next >= end })
    }
}

fn read_segment(segment: &Segment, position: u64, wanted: usize, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut file = File::open(&segment.path)?;
    file.seek(SeekFrom::Start(position.saturating_sub(segment.start)))?;
    file.take(wanted as u64).read_to_end(bytes).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::LogBound;
    use super::super::{LogWriter, close};
    use super::*;

    fn fixture() -> (tempfile::TempDir, LogReader, LogWriter) {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let reader = LogReader::open(temp.path(), TaskId(1), RunId(2), 3);
        let bound = LogBound { bytes_max: 400, segments_max: 4 };
        let writer = LogWriter::new(&reader.dir, bound, std::sync::Arc::default());
        (temp, reader, writer)
    }

    #[test]
    fn reads_across_segments_from_any_offset() {
        let (_temp, reader, mut writer) = fixture();
        let text: Vec<u8> = (0..100).flat_map(|number| format!("{number:09}\n").into_bytes()).collect();
        writer.write(&text);
        let chunk = reader.read(655, 200).expect("readable");
        assert_eq!((chunk.offset, chunk.next, chunk.first_available, chunk.end), (655, 855, 600, 1000));
        assert_eq!(chunk.bytes, text[655..855]);
        let chunk = reader.read(0, 10).expect("readable");
        assert_eq!((chunk.offset, chunk.bytes.as_slice()), (600, &text[600..610]));
        let chunk = reader.read(u64::MAX, 10).expect("readable");
        assert_eq!((chunk.offset, chunk.next, chunk.complete), (1000, 1000, false));
        close(&reader.dir);
        assert!(!reader.read(990, 9).expect("readable").complete);
        assert!(reader.read(990, 10).expect("readable").complete);
    }

    #[test]
    fn a_log_that_is_not_there_is_empty_and_not_complete() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let reader = LogReader::open(temp.path(), TaskId(1), RunId(2), 3);
        let chunk = reader.read(10, 10).expect("readable");
        assert_eq!((chunk.offset, chunk.end, chunk.complete, chunk.bytes.len()), (0, 0, false, 0));
    }

    #[tokio::test]
    async fn a_follower_wakes_for_more_and_for_the_end() {
        let (_temp, reader, mut writer) = fixture();
        let follower = tokio::spawn({
            let reader = reader.clone();
            async move {
                let mut text = Vec::new();
                let mut offset = 0;
                loop {
                    let chunk = reader.follow(offset, 7).await.expect("readable");
                    text.extend_from_slice(&chunk.bytes);
                    offset = chunk.next;
                    if chunk.complete {
                        return text;
                    }
                }
            }
        });
        for line in ["first\n", "second\n", "third\n"] {
            writer.write(line.as_bytes());
            tokio::task::yield_now().await;
        }
        writer.finish();
        close(&reader.dir);
        assert_eq!(follower.await.expect("no panic"), b"first\nsecond\nthird\n");
    }
}
