//! Batsim's workloads (JSON), and the tables of jobs that it writes.

use std::collections::BTreeMap;
use std::io::Read;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::{Row, Table, TraceError};

/// A workload of Batsim: jobs on a machine of so many processors.
#[derive(Clone, Debug, PartialEq)]
pub struct BatsimWorkload {
    /// How many processors there are.
    pub processors: u32,
    /// The jobs, in the order of the file.
    pub jobs: Vec<BatsimJob>,
}

/// A job of Batsim.
#[derive(Clone, Debug, PartialEq)]
pub struct BatsimJob {
    /// What it is called.
    pub name: String,
    /// When it is submitted, in seconds.
    pub submit: f64,
    /// How many processors it takes. At least 1.
    pub size: u32,
    /// After how long it is ended, in seconds; above 0.
    pub walltime: f64,
    /// How long it runs, in seconds; above 0.
    pub delay: f64,
}

/// What Batsim says became of a job.
#[derive(Clone, Debug, PartialEq)]
pub struct BatsimExecution {
    /// What it is called.
    pub name: String,
    /// When it was submitted, in seconds.
    pub submit: f64,
    /// When it started, in seconds.
    pub start: f64,
    /// When it ended, in seconds.
    pub end: f64,
    /// On which processors it ran.
    pub processors: Vec<u32>,
}

/// How many processors with numbers there can be.
const MOST_PROCESSORS: u32 = 1 << 20;

#[derive(Deserialize)]
struct File {
    nb_res: u32,
    jobs: Vec<Job>,
    profiles: BTreeMap<String, Profile>,
}

#[derive(Deserialize)]
struct Job {
    id: Name,
    profile: String,
    #[serde(deserialize_with = "size")]
    res: u32,
    #[serde(deserialize_with = "moment")]
    subtime: f64,
    #[serde(deserialize_with = "walltime")]
    walltime: f64,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Name {
    Number(u64),
    Text(String),
}

#[derive(Deserialize)]
struct Profile {
    #[serde(rename = "type")]
    kind: String,
    delay: Option<f64>,
}

// Each is checked where it is read, so that a mistake has its line.

fn size<'de, D: Deserializer<'de>>(read: D) -> Result<u32, D::Error> {
    let res = u32::deserialize(read)?;
    if res == 0 { Err(D::Error::custom("a job takes no processors: `res` must be at least 1")) } else { Ok(res) }
}

fn moment<'de, D: Deserializer<'de>>(read: D) -> Result<f64, D::Error> {
    let time = f64::deserialize(read)?;
    let inside = (0.0..=1e12).contains(&time);
    if inside { Ok(time) } else { Err(D::Error::custom(format!("`subtime` is {time} s and not between 0 and 10^12"))) }
}

fn walltime<'de, D: Deserializer<'de>>(read: D) -> Result<f64, D::Error> {
    let time = f64::deserialize(read)?;
    let inside = time > 0.0 && time <= 1e12;
    if inside {
        Ok(time)
    } else {
        Err(D::Error::custom(format!("`walltime` is {time} s: backfilling needs one above 0")))
    }
}

impl BatsimWorkload {
    /// Reads a workload. Only profiles of type `delay` can be played.
    ///
    /// # Errors
    /// It is no such JSON, a number is out of range, or a job has a profile that is not there or of another type. The column
    /// is counted in bytes.
    pub fn read(read: impl Read) -> Result<Self, TraceError> {
        let file: File = serde_json::from_reader(read)
            .map_err(|error| TraceError::column(error.line() as u64, error.column().to_string(), plain(&error)))?;
        if file.nb_res > MOST_PROCESSORS {
            return Err(TraceError::line(0, format!("`nb_res` is {}, more than {MOST_PROCESSORS}", file.nb_res)));
        }
        let mut jobs = Vec::with_capacity(file.jobs.len());
        for job in file.jobs {
            let name = match job.id {
                Name::Number(number) => number.to_string(),
                Name::Text(text) => text,
            };
            let wrong = |what: String| TraceError::line(0, format!("job {name}: {what}"));
            let profile =
                file.profiles.get(&job.profile).ok_or_else(|| wrong(format!("there is no profile {}", job.profile)))?;
            let delay = match profile.delay {
                Some(delay) if profile.kind == "delay" && delay > 0.0 && delay <= 1e12 => delay,
                _ => return Err(wrong(format!("its profile {} is no delay of more than 0 s", job.profile))),
            };
            jobs.push(BatsimJob { name, submit: job.subtime, size: job.res, walltime: job.walltime, delay });
        }
        Ok(BatsimWorkload { processors: file.nb_res, jobs })
    }

    /// Takes the times of submission from a table of jobs, where they are rounded to microseconds. Jobs that are not in it
    /// keep theirs.
    pub fn submitted_as(&mut self, executions: &[BatsimExecution]) {
        let times: BTreeMap<&str, f64> = executions.iter().map(|job| (job.name.as_str(), job.submit)).collect();
        for job in &mut self.jobs {
            job.submit = times.get(job.name.as_str()).copied().unwrap_or(job.submit);
        }
    }
}

/// What is wrong, without the place, which is told apart.
fn plain(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.into())
}

/// Reads the table of jobs that Batsim writes (`…_jobs.csv`).
///
/// # Errors
/// A column is missing, or a number is none.
pub fn batsim_executions(read: impl Read) -> Result<Vec<BatsimExecution>, TraceError> {
    let needed = ["job_id", "submission_time", "starting_time", "finish_time", "allocated_resources"];
    let mut table = Table::open(read, &needed)?;
    let mut executions = Vec::new();
    let mut left = MOST_TOLD;
    while let Some(row) = table.next_row() {
        let row = row?;
        executions.push(BatsimExecution {
            name: row.text("job_id").into(),
            submit: row.number("submission_time")?,
            start: row.number("starting_time")?,
            end: row.number("finish_time")?,
            processors: processors(&row, &mut left)?,
        });
    }
    Ok(executions)
}

/// So many processors may be named in a table, all its rows together.
const MOST_TOLD: usize = 1 << 24;

/// Numbers and ranges of them, e.g. `3-5 8`; so many are left to be named.
fn processors(row: &Row<'_>, left: &mut usize) -> Result<Vec<u32>, TraceError> {
    let text = row.text("allocated_resources");
    let wrong = |part: &str| row.wrong("allocated_resources", format!("{part:?} is neither a number nor a range"));
    let mut processors = Vec::new();
    for part in text.split_ascii_whitespace() {
        let (from, until) = part.split_once('-').unwrap_or((part, part));
        let (from, until): (u32, u32) = from.parse().ok().zip(until.parse().ok()).ok_or_else(|| wrong(part))?;
        if until < from || until - from > 1 << 20 {
            return Err(wrong(part));
        }
        let many = (until - from) as usize + 1;
        *left = left.checked_sub(many).ok_or_else(|| {
            row.wrong("allocated_resources", format!("with {part:?} the table names more than {MOST_TOLD} processors"))
        })?;
        processors.extend(from..=until);
    }
    Ok(processors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(jobs: &str) -> String {
        let text = format!(
            "{{\n\"nb_res\": 4,\n\"jobs\": [\n{jobs}\n],\n\"profiles\": {{\"d\": {{\"type\": \"delay\", \"delay\": 5}}, \
             \"c\": {{\"type\": \"cpu\", \"cpu\": 5}}}}}}"
        );
        BatsimWorkload::read(text.as_bytes()).map(|read| format!("{read:?}")).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn a_mistake_says_where_it_is() {
        let job = |rest: &str| error(&format!("{{\"id\": 7, \"subtime\": 1.5, {rest}}}"));
        assert!(job("\"res\": 2, \"walltime\": 9, \"profile\": \"d\"").contains("delay: 5.0"));
        let none = job("\"res\": 0, \"walltime\": 9, \"profile\": \"d\"");
        assert!(none.starts_with("line 4, column ") && none.ends_with("`res` must be at least 1"), "{none}");
        let none = job("\"res\": 1, \"walltime\": -1, \"profile\": \"d\"");
        assert!(none.ends_with("`walltime` is -1 s: backfilling needs one above 0"), "{none}");
        assert_eq!(job("\"res\": 1, \"walltime\": 9, \"profile\": \"e\""), "job 7: there is no profile e");
        let cpu = job("\"res\": 1, \"walltime\": 9, \"profile\": \"c\"");
        assert_eq!(cpu, "job 7: its profile c is no delay of more than 0 s");
        let cut = error("{\"id\": 7,");
        assert!(cut.starts_with("line 5, column "), "{cut}");
        assert!(BatsimWorkload::read("".as_bytes()).unwrap_err().to_string().starts_with("line 1, column 0: EOF"));
    }

    #[test]
    fn ranges_of_processors_are_read() {
        let head = "job_id,submission_time,starting_time,finish_time,allocated_resources\n";
        let read = |row: &str| batsim_executions(format!("{head}{row}").as_bytes());
        assert_eq!(read("w!1,0.5,1,2,0-2 5\n").unwrap()[0].processors, [0, 1, 2, 5]);
        let wrong = read("1,0.5,1,2,5-2\n").unwrap_err();
        assert_eq!(wrong.to_string(), "line 2, column allocated_resources: \"5-2\" is neither a number nor a range");
        assert!(read("1,0.5,1,2,0-4294967295\n").is_err());
        // Sixteen ranges are as many as may be named; the seventeenth is refused, in one row or in several.
        let range = "0-1048575";
        assert_eq!(read(&format!("1,0.5,1,2,{}\n", [range; 16].join(" "))).unwrap()[0].processors.len(), 1 << 24);
        for rows in [format!("1,0.5,1,2,{}\n", [range; 17].join(" ")), format!("1,0.5,1,2,{range}\n").repeat(17)] {
            let error = read(&rows).unwrap_err().to_string();
            assert!(error.ends_with("with \"0-1048575\" the table names more than 16777216 processors"), "{error}");
        }
    }
}
