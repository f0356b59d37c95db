//! Writes a worker's output into segments; what can not be written is counted and never holds the worker up.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::LogBound;
use super::{Segment, WRITING};

/// The writing end of one worker's log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    dir: PathBuf,
    segment_bytes_max: u64,
    segments_max: usize,
    /// The offset of the next byte.
    end: u64,
    kept: VecDeque<Segment>,
    current: Option<File>,
    lost: Arc<AtomicU64>,
    /// Lost bytes that the log itself does not tell of yet, and why they were lost.
    untold: Option<(u64, io::Error)>,
}

impl LogWriter {
    /// A log in `dir`, which it creates. Never fails: what goes wrong shows as lost bytes, counted in `lost`.
    pub(crate) fn new(dir: &Path, bound: LogBound, lost: Arc<AtomicU64>) -> Self {
        let segments_max = bound.segments_max.max(1);
        let writer = LogWriter {
            dir: dir.to_owned(),
            segment_bytes_max: (bound.bytes_max / u64::from(segments_max)).max(1),
            segments_max: segments_max as usize,
            end: 0,
            kept: VecDeque::new(),
            current: None,
            lost,
            untold: None,
        };
        if let Err(error) = writer.create() {
            tracing::debug!(dir = %dir.display(), %error, "a log can not be created yet; tried again with each write");
        }
        writer
    }

    fn create(&self) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        File::create(self.dir.join(WRITING)).map(drop)
    }

    /// Keeps `bytes`, or as many of them as can be kept.
    pub(crate) fn write(&mut self, mut bytes: &[u8]) {
        self.tell_loss();
        while !bytes.is_empty() {
            match self.append(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return self.lose(bytes.len() as u64, error),
            }
        }
    }

    /// Tells of the last loss if there is one; the marker is taken away by [`super::close`].
    pub(crate) fn finish(mut self) {
        self.tell_loss();
    }

    fn lose(&mut self, count: u64, error: io::Error) {
        self.lost.fetch_add(count, Ordering::Relaxed);
        let before = self.untold.take().map_or(0, |(count, _)| count);
        self.untold = Some((before + count, error));
    }

    /// Writes down that bytes were lost, once that can be written: all of the line or nothing.
    fn tell_loss(&mut self) {
        let Some((count, error)) = &self.untold else { return };
        let line = format!("\n[hai: {count} bytes of output were lost here: {error}]\n");
        // Bounded segments too small for the line are for tests; it is then left out.
        if line.len() as u64 > self.segment_bytes_max {
            self.untold = None;
            return;
        }
        if self.room() < line.len() as u64 {
            self.current = None;
        }
        let before = self.end;
        match self.append(line.as_bytes()) {
            Ok(written) if written == line.len() => self.untold = None,
            Ok(written) => {
                // Half a line would be taken for the worker's.
                if self.current.as_ref().is_some_and(|file| file.set_len(before - self.start()).is_ok()) {
                    self.end -= written as u64;
                }
            }
            Err(_) => {}
        }
    }

    fn start(&self) -> u64 {
        self.kept.back().map_or(0, |segment| segment.start)
    }

    fn room(&self) -> u64 {
        match self.current {
            Some(_) => self.segment_bytes_max.saturating_sub(self.end - self.start()),
            None => 0,
        }
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.room() == 0 {
            self.roll()?;
        }
        let count = usize::try_from(self.room()).unwrap_or(usize::MAX).min(bytes.len());
        let Some(file) = &mut self.current else { return Err(io::ErrorKind::NotFound.into()) };
        let written = file.write(&bytes[..count])?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.end += written as u64;
        Ok(written)
    }

    fn roll(&mut self) -> io::Result<()> {
        self.current = None;
        // An empty segment, left by a write that failed at once, is used again.
        if self.kept.back().is_none_or(|segment| segment.start != self.end) {
            while self.kept.len() >= self.segments_max {
                let Some(oldest) = self.kept.front() else { break };
                match fs::remove_file(&oldest.path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => drop(self.kept.pop_front()),
                }
            }
        }
        let segment = Segment::new(&self.dir, self.end);
        let mut options = OpenOptions::new();
        let file = match options.create(true).append(true).open(&segment.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.create()?;
                options.open(&segment.path)?
            }
            file => file?,
        };
        if self.kept.back() != Some(&segment) {
            self.kept.push_back(segment);
        }
        self.current = Some(file);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::segments;
    use super::*;

    fn writer(dir: &Path, bytes_max: u64, segments_max: u32) -> (LogWriter, Arc<AtomicU64>) {
        let lost = Arc::new(AtomicU64::new(0));
        (LogWriter::new(dir, LogBound { bytes_max, segments_max }, lost.clone()), lost)
    }

    #[test]
    fn segments_are_bounded_and_named_by_their_offset() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let dir = temp.path().join("a/b");
        let (mut log, lost) = writer(&dir, 400, 4);
        for number in 0..100 {
            log.write(format!("{number:09}\n").as_bytes());
        }
        log.finish();
        let found = segments(&dir).expect("segments");
        assert_eq!(found.iter().map(|segment| segment.start).collect::<Vec<_>>(), [600, 700, 800, 900]);
        let first = fs::read_to_string(&found[0].path).expect("text");
        assert!(first.starts_with("000000060\n") && first.len() == 100, "{first}");
        assert_eq!(lost.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn what_can_not_be_written_is_counted_and_told_once_there_is_room() {
        let temp = tempfile::tempdir().expect("a temporary directory");
        let obstacle = temp.path().join("log");
        fs::write(&obstacle, b"not a directory").expect("written");
        let (mut log, lost) = writer(&obstacle, 4096, 2);
        log.write(b"gone ");
        log.write(b"too");
        assert_eq!(lost.load(Ordering::Relaxed), 8);
        fs::remove_file(&obstacle).expect("removed");
        log.write(b"kept\n");
        log.finish();
        let found = segments(&obstacle).expect("segments");
        let text = fs::read_to_string(&found[0].path).expect("text");
        assert!(text.starts_with("\n[hai: 8 bytes of output were lost here: "), "{text}");
        assert!(text.ends_with("]\nkept\n"), "{text}");
    }
}
