//! hai's own task file, as comma-separated values or as one JSON object a line.
//!
//! | column | unit | meaning |
//! |---|---|---|
//! | `submit` | s, or RFC 3339 | when it is submitted; seconds count from a beginning of the file's own. Needed |
//! | `duration` | s | how long it truly runs with all its workers, loading aside. Needed |
//! | `devices` | count, or `node` | devices of each worker; 0 for processors alone, `node` for whole nodes. Needed, or `share` |
//! | `share` | thousandths | a part of one device, in the place of `devices` |
//! | `id` | text | the task's name; else its line |
//! | `user`, `group` | name | who asks, and of which nodes; else `somebody` and `default` |
//! | `priority` | level | `EXTREME_HIGH` … `LOW`, or `AUTO`; else `NORMAL` |
//! | `kind` | word | `training`, or `background` for work that needs no right and yields to all; else `training` |
//! | `workers` | count | how many workers start together; else 1 |
//! | `workers_min` | count | with how many it starts if need be; else all |
//! | `models` | names | device models that will do, the preferred first; with `\|` between them (JSON: a list) |
//! | `device_memory_mib` | MiB | the least memory of each device |
//! | `cpu` | cores | processors of each worker; else 0 |
//! | `memory_mib` | MiB | memory of each worker; else 0 |
//! | `expected` | s | how long its owner thinks that it runs |
//! | `limit` | s | after this much running it is stopped |
//! | `checkpoint_every` | s | how often it saves itself; else only when it is told to leave |
//! | `restart_cost` | s | how long it loads when it resumes |
//! | `suspendable` | `true`, `false` | whether it may be suspended; else `true` |
//! | `ending` | `success`, `failure` | how it ends by itself; else `success` |
//!
//! Rows come in the order of `submit`. A cell that is empty (JSON: missing or `null`) stands for the default. A column that
//! is not in this table is refused, since a slip of the pen would else go unnoticed.

use std::io::{BufRead, BufReader, Read};

use serde_json::{Map, Value};

use crate::model::{Devices, GroupName, ModelName, Priority, Span, TaskKind, TaskSpec, Time, UserName, WorkerRequest};
use crate::sim::{Ending, Work};

use super::job::seconds;
use super::{Job, Row, Table, TraceError};

/// All columns that there are.
pub const COLUMNS: [&str; 20] = [
    "submit",
    "duration",
    "devices",
    "share",
    "id",
    "user",
    "group",
    "priority",
    "kind",
    "workers",
    "workers_min",
    "models",
    "device_memory_mib",
    "cpu",
    "memory_mib",
    "expected",
    "limit",
    "checkpoint_every",
    "restart_cost",
    "suspendable",
];
const ENDING: &str = "ending";
/// The longest line of JSON, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 20;

fn is_column(name: &str) -> bool {
    COLUMNS.contains(&name) || name == ENDING
}

/// What stands in the columns of one row.
trait Cells {
    fn line(&self) -> u64;
    /// The text in a column; `None` where it is empty.
    ///
    /// # Errors
    /// It is something that no column holds.
    fn cell(&self, column: &str) -> Result<Option<String>, TraceError>;
}

impl Cells for Row<'_> {
    fn line(&self) -> u64 {
        Row::line(self)
    }

    fn cell(&self, column: &str) -> Result<Option<String>, TraceError> {
        Ok(Some(self.text(column)).filter(|text| !text.is_empty()).map(str::to_owned))
    }
}

/// One line of JSON.
struct Object {
    line: u64,
    map: Map<String, Value>,
}

impl Cells for Object {
    fn line(&self) -> u64 {
        self.line
    }

    fn cell(&self, column: &str) -> Result<Option<String>, TraceError> {
        let text = match self.map.get(column) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::String(text)) => text.clone(),
            Some(Value::Bool(value)) => value.to_string(),
            Some(Value::Number(number)) => number.to_string(),
            Some(Value::Array(list)) => {
                let words: Option<Vec<&str>> = list.iter().map(Value::as_str).collect();
                let words = words.ok_or_else(|| TraceError::column(self.line, column, "is no list of texts"))?;
                words.join("|")
            }
            Some(Value::Object(_)) => return Err(TraceError::column(self.line, column, "is an object")),
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

/// The tasks of a file of comma-separated values.
#[derive(Debug)]
pub struct NativeCsv<R> {
    table: Table<R>,
}

impl<R: Read> NativeCsv<R> {
    /// Reads the column names.
    ///
    /// # Errors
    /// The file can not be read, a column is missing, or one is none of those that there are.
    pub fn open(read: R) -> Result<Self, TraceError> {
        let table = Table::open(read, &["submit", "duration"])?;
        if let Some(unknown) = table.columns().iter().find(|name| !is_column(name)) {
            return Err(TraceError::column(1, unknown, format!("there is none of this name, only {}", all_columns())));
        }
        if !table.columns().iter().any(|name| name == "devices" || name == "share") {
            return Err(TraceError::line(1, "the column devices is missing (or share, for parts of devices)"));
        }
        Ok(NativeCsv { table })
    }
}

fn all_columns() -> String {
    let mut names = COLUMNS.to_vec();
    names.push(ENDING);
    names.join(", ")
}

impl<R: Read> Iterator for NativeCsv<R> {
    type Item = Result<Job, TraceError>;
    fn next(&mut self) -> Option<Self::Item> {
        Some(self.table.next_row()?.and_then(|row| job(&row)))
    }
}

/// The tasks of a file of JSON lines. Empty lines are passed over.
#[derive(Debug)]
pub struct NativeLines<R> {
    read: BufReader<R>,
    line: u64,
    broken: bool,
}

impl<R: Read> NativeLines<R> {
    /// A reader of such a file.
    pub fn new(read: R) -> Self {
        NativeLines { read: BufReader::with_capacity(1 << 16, read), line: 0, broken: false }
    }
}

impl<R: Read> Iterator for NativeLines<R> {
    type Item = Result<Job, TraceError>;
    fn next(&mut self) -> Option<Self::Item> {
        let mut bytes = Vec::new();
        while !self.broken {
            bytes.clear();
            self.line += 1;
            match (&mut self.read).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes) {
                Ok(0) => return None,
                Ok(read) if read as u64 == LINE_BYTES_MAX && !bytes.ends_with(b"\n") => {
                    // What is behind that is no line of its own.
                    self.broken = true;
                    let what = format!("it is longer than {LINE_BYTES_MAX} bytes; nothing behind it is read");
                    return Some(Err(TraceError::line(self.line, what)));
                }
                Ok(_) if bytes.iter().all(u8::is_ascii_whitespace) => {}
                Ok(_) => return Some(object(self.line, &bytes).and_then(|object| job(&object))),
                // Nothing more can be expected from a file that can not be read.
                Err(error) => {
                    self.broken = true;
                    return Some(Err(TraceError::line(self.line, format!("it can not be read: {error}"))));
                }
            }
        }
        None
    }
}

fn object(line: u64, bytes: &[u8]) -> Result<Object, TraceError> {
    let map: Map<String, Value> = serde_json::from_slice(bytes)
        .map_err(|error| TraceError::line(line, format!("it is no JSON object, at character {}", error.column())))?;
    if let Some(unknown) = map.keys().find(|name| !is_column(name)) {
        return Err(TraceError::column(line, unknown, format!("there is none of this name, only {}", all_columns())));
    }
    Ok(Object { line, map })
}

/// The task of one row.
fn job(cells: &impl Cells) -> Result<Job, TraceError> {
    let line = cells.line();
    let missing = |column: &str| TraceError::column(line, column, "nothing stands there");
    let submit = cells.cell("submit")?.ok_or_else(|| missing("submit"))?;
    let submit = time(&submit).map_err(|what| TraceError::column(line, "submit", what))?;
    let needs = span(cells, "duration")?.ok_or_else(|| missing("duration"))?;
    let user = cells.cell("user")?.unwrap_or_else(|| "somebody".into());
    let user = UserName::new(user).map_err(|error| TraceError::column(line, "user", error.to_string()))?;
    let group = cells.cell("group")?.unwrap_or_else(|| "default".into());
    let group = GroupName::new(group).map_err(|error| TraceError::column(line, "group", error.to_string()))?;
    let priority = parsed::<Priority>(cells, "priority")?.unwrap_or(Priority::Normal);
    let name = cells.cell("id")?.unwrap_or_else(|| format!("line {line}"));
    let mut spec = TaskSpec::new(name, user, group, priority, request(cells)?);
    spec.kind = match cells.cell("kind")?.as_deref() {
        None | Some("training") => TaskKind::Training,
        Some("background") => TaskKind::Background,
        Some(word) => {
            return Err(TraceError::column(line, "kind", format!("{word:?} is neither training nor background")));
        }
    };
    spec.workers = parsed(cells, "workers")?.unwrap_or(1);
    spec.workers_min = parsed(cells, "workers_min")?;
    spec.expected = span(cells, "expected")?;
    spec.limit = span(cells, "limit")?;
    spec.checkpoint_every = span(cells, "checkpoint_every")?;
    spec.restart_cost = span(cells, "restart_cost")?;
    spec.suspendable = parsed(cells, "suspendable")?.unwrap_or(true);
    let ends = match cells.cell(ENDING)?.as_deref() {
        None | Some("success") => Ending::Success,
        Some("failure") => Ending::Failure,
        Some(word) => {
            return Err(TraceError::column(line, ENDING, format!("{word:?} is neither success nor failure")));
        }
    };
    spec.check().map_err(|error| TraceError::column(line, error.field, error.problem))?;
    Ok(Job { line, submit, spec, work: Work { needs, ends } })
}

fn request(cells: &impl Cells) -> Result<WorkerRequest, TraceError> {
    let line = cells.line();
    let devices = match (cells.cell("devices")?, parsed::<u32>(cells, "share")?) {
        (Some(_), Some(_)) => {
            return Err(TraceError::column(line, "share", "devices says something too; leave one of them empty"));
        }
        (None, Some(milli)) => Devices::Share(milli),
        (Some(word), None) if word == "node" => Devices::WholeNode,
        (Some(count), None) => {
            let count = count.parse();
            Devices::Count(count.map_err(|_| TraceError::column(line, "devices", "it is neither a count nor `node`"))?)
        }
        (None, None) => return Err(TraceError::column(line, "devices", "nothing stands there")),
    };
    let mut request = WorkerRequest::of(devices);
    for name in cells.cell("models")?.iter().flat_map(|names| names.split('|')) {
        let model = ModelName::new(name.trim());
        request.models.push(model.map_err(|error| TraceError::column(line, "models", error.to_string()))?);
    }
    request.device_memory_mib = parsed(cells, "device_memory_mib")?.unwrap_or(0);
    request.memory_mib = parsed(cells, "memory_mib")?.unwrap_or(0);
    // A core has a thousand thousandths, as a second has.
    let cores = span(cells, "cpu")?.unwrap_or(Span::ZERO).as_ms();
    request.cpu_milli =
        u32::try_from(cores).map_err(|_| TraceError::column(line, "cpu", "it is more than any machine has"))?;
    Ok(request)
}

fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
    cells: &impl Cells,
    column: &str,
) -> Result<Option<T>, TraceError> {
    let Some(text) = cells.cell(column)? else { return Ok(None) };
    let read = text.parse().map_err(|error| TraceError::column(cells.line(), column, format!("{text:?}: {error}")));
    read.map(Some)
}

fn span(cells: &impl Cells, column: &str) -> Result<Option<Span>, TraceError> {
    let Some(text) = cells.cell(column)? else { return Ok(None) };
    seconds(&text).map(Some).map_err(|what| TraceError::column(cells.line(), column, what))
}

/// Seconds, or a date.
fn time(text: &str) -> Result<Time, String> {
    if text.contains('T') {
        let date = chrono::DateTime::parse_from_rfc3339(text);
        return date.map(|date| Time::from(date.to_utc())).map_err(|error| format!("{text:?} is no time: {error}"));
    }
    seconds(text).map(|span| Time::ZERO + span)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let csv = "id,submit,duration,user,group,priority,workers,devices,share,models,cpu,expected,suspendable,ending\n\
            a,0,60.5,alice,lab,HIGH,2,4,,A100|V100,1.5,30,false,failure\n\
            ,90,5,,,,,,250,,,,,\n";
        let lines = "{\"id\":\"a\",\"submit\":0,\"duration\":60.5,\"user\":\"alice\",\"group\":\"lab\",\"priority\":\"HIGH\",\
            \"workers\":2,\"devices\":4,\"models\":[\"A100\",\"V100\"],\"cpu\":1.5,\"expected\":30,\"suspendable\":false,\
            \"ending\":\"failure\"}\n\n{\"id\":null,\"submit\":90,\"duration\":5,\"share\":250}\n";
        let from_csv: Vec<Job> = NativeCsv::open(csv.as_bytes()).unwrap().collect::<Result<_, _>>().unwrap();
        let from_lines: Vec<Job> = NativeLines::new(lines.as_bytes()).collect::<Result<_, _>>().unwrap();
        // The files differ in where the second task stands.
        assert_eq!(from_csv[0].spec, from_lines[0].spec);
        assert_eq!(from_csv[0].work, Work { needs: Span::from_ms(60_500), ends: Ending::Failure });
        assert_eq!(from_csv[0].spec.request.cpu_milli, 1500);
        assert_eq!((from_csv[1].line, from_csv[1].spec.name.as_str()), (3, "line 3"));
        assert_eq!(from_lines[1].line, 3);
        assert_eq!(from_csv[1].spec.request, WorkerRequest::share(250));
        assert_eq!(from_csv[1].submit, from_lines[1].submit);
    }

    #[test]
    fn every_mistake_names_its_line_and_column() {
        let of = |row: &str| {
            let text = format!("submit,duration,devices,share,user,priority,kind,models,limit\n{row}\n");
            let read: Result<Vec<Job>, _> = NativeCsv::open(text.as_bytes()).unwrap().collect();
            read.unwrap_err().to_string()
        };
        for (row, said) in [
            (",5,1,,,,,,", "line 2, column submit: nothing stands there"),
            ("x,5,1,,,,,,", "line 2, column submit: \"x\" is no number of seconds that will do; write e.g. 90 or 0.25"),
            (
                "2020-13-01T00:00:00Z,5,1,,,,,,",
                "line 2, column submit: \"2020-13-01T00:00:00Z\" is no time: input is out of range",
            ),
            ("1,,1,,,,,,", "line 2, column duration: nothing stands there"),
            ("1,5,,,,,,,", "line 2, column devices: nothing stands there"),
            ("1,5,two,,,,,,", "line 2, column devices: it is neither a count nor `node`"),
            ("1,5,1,500,,,,,", "line 2, column share: devices says something too; leave one of them empty"),
            ("1,5,,1500,,,,,", "line 2, column request.devices: "),
            ("1,5,1,,<script>,,,,", "line 2, column user: "),
            ("1,5,1,,,URGENT,,,", "line 2, column priority: \"URGENT\": `URGENT` is not a priority"),
            ("1,5,1,,,,fun,,", "line 2, column kind: \"fun\" is neither training nor background"),
            ("1,5,1,,,,,a||b,", "line 2, column models: "),
            ("1,5,1,,,,,,0", "line 2, column limit: "),
            ("1,5", "line 2: it has 2 fields, and the line of column names has 9"),
        ] {
            assert!(of(row).starts_with(said), "{row}: {}", of(row));
        }
        let lines =
            |text: &str| NativeLines::new(text.as_bytes()).collect::<Result<Vec<_>, _>>().unwrap_err().to_string();
        assert_eq!(lines("{\"submit\":1"), "line 1: it is no JSON object, at character 11");
        assert!(lines("\n{\"submt\":1}").starts_with("line 2, column submt: there is none of this name"));
        assert_eq!(lines("{\"submit\":1,\"duration\":{}}"), "line 1, column duration: is an object");
        let head = NativeCsv::open("submit,duration,device\n".as_bytes()).unwrap_err().to_string();
        assert!(head.starts_with("line 1, column device: there is none of this name"), "{head}");
    }
}
