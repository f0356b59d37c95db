//! An unfinished task there as a task here: what it executes, on how many nodes, and what of it has no place.

use std::collections::BTreeMap;

use hai_core::backend::Submitted;
use hai_core::model::{GroupName, Priority, Program, Span, TaskSpec, UserName, WorkerRequest};
use serde_json::{Map, Value};

use super::report::Remark;
use super::rows::{Row, plain, quoted};

/// The variable in which a task keeps the chain that it was there, by which it is known again.
pub(super) const CHAIN: &str = "HAI_PLATFORM_CHAIN_ID";

/// A task that is to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// What tells it from others, there and here.
    pub chain: String,
    /// Its place there: smaller is earlier.
    pub(super) rank: f64,
    pub(super) first: i64,
    /// What is to be submitted.
    pub submitted: Submitted,
}

/// Options that hai has no word for, as long as they say something.
const LEFT_OUT: [&str; 7] =
    ["py_venv", "watchdog_time", "sidecar", "assigned_nodes", "override_node_resource", "profile", "tags"];
/// Characters that mean nothing to a shell.
const PLAIN: &str = "-_./=:,@%+";

/// What a row asks for.
pub(super) enum Read {
    /// A task, and what was changed about it.
    Task(Box<Wanted>, Vec<Remark>),
    /// Work that hai has no place for.
    LeftOut(Remark),
}

/// Reads a row. `images` are the names that images have there, `ranks` what was said of chains' places in the queue.
pub(super) fn read(
    row: &Row,
    images: &BTreeMap<String, String>,
    ranks: &BTreeMap<String, f64>,
) -> Result<Read, Remark> {
    let kind = row.some_text("task_type")?.unwrap_or("training");
    if kind != "training" {
        return Ok(Read::LeftOut(row.remark("task_type", left_out_kind(kind))));
    }
    let chain = row.text("chain_id")?.to_owned();
    let first = match row.some_integer("first_id")? {
        Some(first) => first,
        None => row.integer("id")?,
    };
    let name = row.text("nb_name")?;
    let user = row.text("user_name")?;
    let user = UserName::new(user).map_err(|error| row.remark("user_name", error.to_string()))?;
    let group = GroupName::new(row.text("group")?).map_err(|error| row.remark("group", error.to_string()))?;
    let nodes = row.integer("nodes")?;
    let workers =
        u32::try_from(nodes).map_err(|_| row.remark("nodes", format!("{nodes} can not be a number of nodes")))?;
    let level = row.some_integer("priority")?.unwrap_or(0);
    let priority = Priority::from_number(level).ok_or_else(|| {
        row.remark("priority", format!("{level} is no priority; the levels are 50, 40, 30, 20, 10, 8, 5, 0 and -1"))
    })?;
    let schema = row.object("config_json")?;
    let part = |name: &str| part(row, &schema, name);
    let (spec, resource, options) = (part("spec")?, part("resource")?, part("options")?);
    if let Some(version) = schema.get("version").filter(|version| version.as_i64() != Some(2)) {
        return Err(
            row.remark("config_json.version", format!("{} is not known; it should be 2", quoted(&version.to_string())))
        );
    }

    let mut changed = Vec::new();
    let program = program(row, &spec, &resource, images, &chain, &mut changed)?;
    let mut asked = TaskSpec { workers, ..TaskSpec::new(name, user, group, priority, WorkerRequest::whole_node()) };
    if let Some(timeout) = options.get("timeout").filter(|timeout| !is_nothing(timeout)) {
        let seconds = timeout.as_u64().filter(|seconds| (1..=u64::MAX / 1000).contains(seconds));
        let seconds = seconds.ok_or_else(|| row.remark("config_json.options.timeout", "it is no number of seconds"))?;
        asked.limit = Some(Span::from_secs(seconds));
    }
    asked.check().map_err(|error| row.remark(column_of(error.field), error.to_string()))?;
    program.check().map_err(|error| row.remark("config_json.spec", error.to_string()))?;

    for name in LEFT_OUT {
        if let Some(value) = options.get(name).filter(|value| !is_nothing(value)) {
            let column = format!("config_json.options.{name}");
            changed.push(
                row.remark(&column, format!("left out, since hai has nothing like it: {}", quoted(&value.to_string()))),
            );
        }
    }
    if schema.get("services").is_some_and(|services| !is_nothing(services)) {
        changed.push(row.remark("config_json.services", "left out: hai opens no ports for tasks"));
    }
    if let Some(zone) = schema.get("schedule_zone").and_then(Value::as_str).filter(|zone| !zone.is_empty()) {
        let reason = format!("zone {} was asked for; say so here with a constraint if it matters", quoted(zone));
        changed.push(row.remark("config_json.schedule_zone", reason));
    }
    if row.some_integer("whole_life_state")?.is_some_and(|state| state != 0) {
        let reason = "it begins at 0 here; its checkpoints have to say where it was";
        changed.push(row.remark("whole_life_state", reason));
    }
    if row.some_text("queue_status")? == Some("scheduled") {
        let reason = "it runs there, and waits here: stop it there before the daemon here begins";
        changed.push(row.remark("queue_status", reason));
    }
    #[expect(clippy::cast_precision_loss, reason = "2^53 tasks are out of reach")]
    let rank = ranks.get(&chain).copied().unwrap_or(first as f64);
    let submitted = Submitted { spec: asked, program };
    Ok(Read::Task(Box::new(Wanted { chain, rank, first, submitted }), changed))
}

fn left_out_kind(kind: &str) -> String {
    match kind {
        "jupyter" => {
            "interactive work of its own image and ports; start it anew with `hai submit --interactive`".to_owned()
        }
        "background" => "a service on nodes of its own; background work here is what yields to all other".to_owned(),
        "virtual" | "validation" | "upgrade" => "the platform's own bookkeeping".to_owned(),
        other => format!("{} is no kind of work that is known", quoted(other)),
    }
}

/// The column that says what a field of ours was made of.
fn column_of(field: &str) -> &'static str {
    match field {
        "name" => "nb_name",
        "workers" => "nodes",
        _ => "config_json",
    }
}

/// An object in the schema of a task; nothing is an empty one.
fn part(row: &Row, schema: &Map<String, Value>, name: &str) -> Result<Map<String, Value>, Remark> {
    match schema.get(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object.clone()),
        Some(_) => Err(row.remark(&format!("config_json.{name}"), "it is no object of JSON")),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::Bool(true) => false,
    }
}

fn program(
    row: &Row,
    spec: &Map<String, Value>,
    resource: &Map<String, Value>,
    images: &BTreeMap<String, String>,
    chain: &str,
    changed: &mut Vec<Remark>,
) -> Result<Program, Remark> {
    let entry = match spec.get("entrypoint").and_then(Value::as_str).filter(|entry| !entry.is_empty()) {
        Some(entry) => entry,
        None => row.some_text("code_file")?.unwrap_or_default(),
    };
    if entry.is_empty() {
        return Err(
            row.remark("config_json.spec.entrypoint", "it is empty, and so is code_file: there is nothing to execute")
        );
    }
    let command = command(entry, spec.get("parameters"))
        .ok_or_else(|| row.remark("config_json.spec.parameters", "it is neither a text nor a list of texts"))?;
    let workspace = match spec.get("workspace").and_then(Value::as_str) {
        Some(workspace) => workspace,
        None => row.some_text("workspace")?.unwrap_or_default(),
    };
    let workdir = workspace.starts_with('/').then(|| workspace.to_owned());
    if workdir.is_none() {
        let reason =
            format!("{} is no directory that begins with /, so it starts in a directory of its own", quoted(workspace));
        changed.push(row.remark("config_json.spec.workspace", reason));
    }
    let mut env = BTreeMap::new();
    match spec.get("environments") {
        None | Some(Value::Null) => {}
        Some(Value::Object(given)) => {
            for (name, value) in given {
                let value = match value {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    Value::Number(_) | Value::Bool(_) => value.to_string(),
                    _ => {
                        return Err(
                            row.remark(&format!("config_json.spec.environments.{}", plain(name)), "it is no text")
                        );
                    }
                };
                env.insert(name.clone(), value);
            }
        }
        Some(_) => return Err(row.remark("config_json.spec.environments", "it is no object of JSON")),
    }
    env.insert(CHAIN.to_owned(), chain.to_owned());
    let image = match resource.get("image") {
        None | Some(Value::Null) => None,
        Some(Value::String(name)) if name.is_empty() || name == "default" => None,
        Some(Value::String(name)) => Some(images.get(name).unwrap_or(name).clone()),
        Some(_) => return Err(row.remark("config_json.resource.image", "it is no text")),
    };
    Ok(Program { command, env, workdir, image, notes: BTreeMap::new() })
}

/// What is executed: by the interpreter that belongs to the file, and by a shell where the parameters need one.
fn command(entry: &str, parameters: Option<&Value>) -> Option<Vec<String>> {
    let mut command: Vec<String> = match entry.rsplit_once('.') {
        Some((_, "py")) => vec!["python3".to_owned(), "-u".to_owned(), entry.to_owned()],
        Some((_, "sh")) => vec!["bash".to_owned(), entry.to_owned()],
        _ if entry.contains('/') => vec![entry.to_owned()],
        _ => vec![format!("./{entry}")],
    };
    match parameters {
        None | Some(Value::Null) => {}
        Some(Value::Array(list)) => {
            for word in list {
                command.push(word.as_str()?.to_owned());
            }
        }
        Some(Value::String(text)) => {
            let plain = |c: char| c.is_alphanumeric() || c == ' ' || PLAIN.contains(c);
            if text.chars().all(plain) {
                command.extend(text.split_whitespace().map(str::to_owned));
            } else {
                let script = format!("exec \"$@\" {text}");
                command.splice(0..0, ["/bin/sh".to_owned(), "-c".to_owned(), script, "sh".to_owned()]);
            }
        }
        Some(_) => return None,
    }
    Some(command)
}
