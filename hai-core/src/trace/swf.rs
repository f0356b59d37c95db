//! Logs in the Standard Workload Format of the Parallel Workloads Archive (Chapin et al., JSSPP 1999): 18 columns parted by
//! blanks, and lines of remarks that begin with a semicolon.

use std::io::{BufRead, BufReader, Read};

use super::TraceError;

/// The columns, by the names they have in mistakes.
const COLUMNS: [&str; 18] = [
    "job",
    "submit",
    "wait",
    "run",
    "procs allocated",
    "cpu time",
    "memory",
    "procs requested",
    "time requested",
    "memory requested",
    "status",
    "user",
    "group",
    "application",
    "queue",
    "partition",
    "previous job",
    "think time",
];

/// A job of a log. What is unknown is -1 in the log and `None` here.
#[derive(Clone, Debug, PartialEq)]
pub struct SwfJob {
    /// Its number.
    pub number: u64,
    /// When it was submitted, in seconds since the log began.
    pub submit: f64,
    /// How long it waited, in seconds.
    pub wait: Option<f64>,
    /// How long it ran, in seconds.
    pub run: Option<f64>,
    /// How many processors it had.
    pub allocated: Option<u32>,
    /// How many processors it asked for.
    pub requested: Option<u32>,
    /// How long it was said to run at most, in seconds.
    pub estimate: Option<f64>,
    /// How it ended: 1 well, 0 not, 5 cancelled, 2 to 4 parts of a job.
    pub status: Option<u32>,
    /// Its user.
    pub user: Option<u32>,
    /// Its queue.
    pub queue: Option<u32>,
}

/// A log, one job after the other. What stands in its remarks is known as far as it was read.
#[derive(Debug)]
pub struct SwfTrace<R> {
    read: BufReader<R>,
    line: u64,
    buffer: Vec<u8>,
    processors: Option<u32>,
    begin: Option<i64>,
    broken: bool,
}

/// Longer lines are no jobs.
const LINE_BYTES_MAX: u64 = 1 << 16;

impl<R: Read> SwfTrace<R> {
    /// Begins to read.
    pub fn new(read: R) -> Self {
        SwfTrace {
            read: BufReader::new(read),
            line: 0,
            buffer: Vec::new(),
            processors: None,
            begin: None,
            broken: false,
        }
    }

    /// The line that was read last, counted from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// How many processors the machine has: the remark `MaxProcs`, or `MaxNodes` where there is no other.
    pub fn processors(&self) -> Option<u32> {
        self.processors
    }

    /// When the log began, in seconds since 1970: the remark `UnixStartTime`.
    pub fn begin(&self) -> Option<i64> {
        self.begin
    }

    fn remark(&mut self, text: &str) {
        let Some((name, value)) = text.trim_start_matches([';', ' ', '\t']).split_once(':') else { return };
        match name.trim() {
            "MaxProcs" => self.processors = value.trim().parse().ok().or(self.processors),
            "MaxNodes" if self.processors.is_none() => self.processors = value.trim().parse().ok(),
            "UnixStartTime" => self.begin = value.trim().parse().ok().or(self.begin),
            _ => {}
        }
    }
}

impl<R: Read> Iterator for SwfTrace<R> {
    type Item = Result<SwfJob, TraceError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.broken {
            self.buffer.clear();
            self.line += 1;
            match (&mut self.read).take(LINE_BYTES_MAX).read_until(b'\n', &mut self.buffer) {
                Ok(0) => return None,
                Ok(read) if read as u64 == LINE_BYTES_MAX && !self.buffer.ends_with(b"\n") => {
                    self.broken = true;
                    let what = format!("it is longer than {LINE_BYTES_MAX} bytes; nothing behind it is read");
                    return Some(Err(TraceError::line(self.line, what)));
                }
                Ok(_) => {}
                // Nothing more can be expected from a file that can not be read.
                Err(error) => {
                    self.broken = true;
                    return Some(Err(TraceError::line(self.line, error.to_string())));
                }
            }
            let Ok(text) = std::str::from_utf8(&self.buffer) else {
                return Some(Err(TraceError::line(self.line, "it is not UTF-8")));
            };
            let text = text.trim();
            if text.starts_with(';') {
                let text = text.to_owned();
                self.remark(&text);
            } else if !text.is_empty() {
                return Some(job(text, self.line));
            }
        }
        None
    }
}

fn job(text: &str, line: u64) -> Result<SwfJob, TraceError> {
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    if fields.len() != COLUMNS.len() {
        return Err(TraceError::line(line, format!("it has {} columns and not {}", fields.len(), COLUMNS.len())));
    }
    let wrong = |at: usize, what: String| TraceError::column(line, COLUMNS[at], what);
    let number = |at: usize| match fields[at].parse::<f64>() {
        Ok(value) if value.is_finite() && value.abs() <= 1e12 => Ok(value),
        Ok(value) => Err(wrong(at, format!("{value} is out of range"))),
        Err(error) => Err(wrong(at, format!("{:?} is no number: {error}", fields[at]))),
    };
    let known = |at: usize| number(at).map(|value| Some(value).filter(|value| *value >= 0.0));
    let whole = |at: usize| match known(at)? {
        None => Ok(None),
        Some(value) if value.fract() == 0.0 && value <= f64::from(u32::MAX) => Ok(Some(value as u32)),
        Some(value) => Err(wrong(at, format!("{value} is no whole number up to {}", u32::MAX))),
    };
    for at in [5, 6, 9, 12, 13, 15, 16, 17] {
        number(at)?;
    }
    let submit = number(1)?;
    if submit < 0.0 {
        return Err(wrong(1, format!("{submit} s is before the log began")));
    }
    Ok(SwfJob {
        number: fields[0].parse().map_err(|error| wrong(0, format!("{:?} is no number: {error}", fields[0])))?,
        submit,
        wait: known(2)?,
        run: known(3)?,
        allocated: whole(4)?,
        requested: whole(7)?,
        estimate: known(8)?,
        status: whole(10)?,
        user: whole(11)?,
        queue: whole(14)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "; Version: 2.2\n; MaxNodes: 100\n;  MaxProcs: 128 \n; UnixStartTime: 843480031\n;\n\n\
         1 0 964980 97225 56 -1 -1 56 210000 -1 1 1 1 -1 3 -1 -1 -1\n2 5 x 9382 80 -1 -1 80 14400 -1 1 2 2 -1 -1 -1 -1 -1\n\
         3 6 1 2\n4 -7 0 9382 80 -1 -1 80 14400 -1 1 2 2 -1 -1 -1 -1 -1\n\
         5 7 0 10.5 -1 -1 -1 2.5 9 -1 1 2 2 -1 -1 -1 -1 -1\n6 8 0 10.5 -1 -1 -1 2 NaN -1 1 2 2 -1 -1 -1 -1 -1\n\
         7 8 0 10.5 -1 -1 -1 2 -1 -1 1 2 2 -1 -1 -1 -1 -1\n";

    #[test]
    fn a_broken_line_is_named_and_the_others_are_read() {
        let mut trace = SwfTrace::new(LOG.as_bytes());
        let read: Vec<_> = trace.by_ref().collect();
        assert_eq!((trace.processors(), trace.begin()), (Some(128), Some(843_480_031)));
        let wrong: Vec<_> = read.iter().filter_map(|job| job.as_ref().err().map(ToString::to_string)).collect();
        assert_eq!(
            wrong,
            [
                "line 8, column wait: \"x\" is no number: invalid float literal",
                "line 9: it has 4 columns and not 18",
                "line 10, column submit: -7 s is before the log began",
                "line 11, column procs requested: 2.5 is no whole number up to 4294967295",
                "line 12, column time requested: NaN is out of range",
            ]
        );
        let right: Vec<_> = read.into_iter().filter_map(Result::ok).collect();
        assert_eq!(right.len(), 2);
        assert_eq!((right[0].requested, right[0].estimate, right[0].queue), (Some(56), Some(210_000.0), Some(3)));
        assert_eq!((right[1].allocated, right[1].run, right[1].estimate), (None, Some(10.5), None));
    }

    #[test]
    fn what_is_no_text_is_named_by_its_line() {
        let read: Vec<_> = SwfTrace::new(&b";\n\xff\xfe\n"[..]).collect();
        assert_eq!(read.len(), 1);
        assert_eq!(read[0].as_ref().unwrap_err().to_string(), "line 2: it is not UTF-8");
    }
}
