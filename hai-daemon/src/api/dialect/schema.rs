//! The task schema, version 2: read as leniently as there, checked in the same order, and turned into a submission.

use std::collections::BTreeMap;

use hai_core::model::{GroupName, PlaceName, Priority, Span};
use serde_json::{Map, Value};

use crate::api::problem::{ApiError, Kind};
use crate::api::wire::{KindWord, SubmitRequest};

/// Under which name the schema is kept with the task, as it was submitted.
pub(super) const SCHEMA_NOTE: &str = "hai-platform.schema";

/// Where the modules lie that code written for hai-platform imports.
const MODULES: &str =
    "if [ -n \"${HAI_PYTHON:-}\" ]; then export PYTHONPATH=\"${PYTHONPATH:+$PYTHONPATH:}$HAI_PYTHON\"; fi";
/// Executes the command in a process group of its own. There nothing is told by SIGTERM, and launchers such as torchrun end their
/// workers at once when it comes: only the shell gets it, and waits for what was told by the flag, or by force.
const ALONE: &str = "trap : TERM\nset -m\n{ COMMAND\n} &\nset +m\nwait $!; code=$?\n\
                     while [ $code -gt 128 ] && kill -0 $! 2>/dev/null; do wait $!; code=$?; done\nexit $code";
const WORKSPACE_MAX: usize = 255;
const CODE_FILE_MAX: usize = 2047;

/// What a schema says, with its defaults.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Schema {
    pub(super) name: String,
    task_type: String,
    priority: Priority,
    pub(super) workspace: String,
    entrypoint: String,
    /// Text for a shell, as it is.
    parameters: String,
    executable: bool,
    /// Values are text for a shell, as they are.
    pub(super) environments: BTreeMap<String, String>,
    image: Option<String>,
    /// As it was written, zone included.
    pub(super) client_group: String,
    group: Option<String>,
    pub(super) zone: Option<String>,
    nodes: u32,
    pub(super) whole_life_state: i64,
    timeout: Option<u64>,
    pub(super) tags: Vec<String>,
}

impl Schema {
    /// Reads a schema; what is not known in it is nobody's business.
    ///
    /// # Errors
    /// The first thing that is wrong, by its path.
    pub(super) fn read(schema: &Value) -> Result<Self, ApiError> {
        let root = Part::of(schema, "")?;
        let name = root.text("name")?.ok_or_else(|| root.missing("name"))?;
        if name.contains(['(', ')']) {
            return Err(root.wrong("name", "must not have parentheses in it"));
        }
        match root.integer("version")? {
            Some(2) => {}
            Some(other) => return Err(root.wrong("version", format!("is {other}; only version 2 is understood"))),
            None => return Err(root.missing("version")),
        }
        let task_type = root.text("task_type")?.unwrap_or_else(|| "training".to_owned());
        match task_type.as_str() {
            "training" | "background" => {}
            "jupyter" => return Err(root.wrong("task_type", "notebooks are not offered through this interface")),
            "virtual" | "validation" | "upgrade" => {
                return Err(root.wrong(
                    "task_type",
                    format!("`{task_type}` is the platform's own business, and not offered here"),
                ));
            }
            other => return Err(root.wrong("task_type", format!("there is no type `{other}`"))),
        }
        let priority = root.integer("priority")?.unwrap_or(-1);
        let priority = Priority::from_number(priority).ok_or_else(|| {
            root.wrong("priority", format!("is {priority}; the levels are 50, 40, 30, 20, 10, 8, 5, 0 and -1"))
        })?;
        let spec = root.part("spec")?.ok_or_else(|| root.missing("spec"))?;
        let resource = root.part("resource")?.ok_or_else(|| root.missing("resource"))?;
        let options = root.part("options")?;
        let workspace = spec.text("workspace")?.unwrap_or_default();
        if workspace.chars().count() > WORKSPACE_MAX {
            return Err(spec.wrong("workspace", format!("is longer than {WORKSPACE_MAX} characters")));
        }
        if workspace.contains(char::is_whitespace) {
            return Err(spec.wrong("workspace", "must not have a space in it"));
        }
        if !workspace.is_empty() && (!workspace.starts_with('/') || workspace.split('/').any(|part| part == "..")) {
            return Err(spec.wrong("workspace", "must be an absolute path without `..`"));
        }
        let nodes = resource.integer("node_count")?.unwrap_or(1);
        let nodes = u32::try_from(nodes).ok().filter(|nodes| *nodes > 0);
        let nodes = nodes.ok_or_else(|| resource.wrong("node_count", "must be a number above 0, e.g. `-n 1`"))?;
        for field in ["git_remote_repo", "git_target_revision"] {
            if spec.text(field)?.is_some_and(|text| !text.is_empty()) {
                return Err(spec.wrong(field, "code is not fetched from git here; clone it in the script"));
            }
        }
        let (group, zone, client_group) = group(&resource)?;
        let environments = environments(&spec)?;
        let (whole_life_state, timeout, tags) = match &options {
            Some(options) => self::options(options)?,
            None => (0, None, Vec::new()),
        };
        if root.fields.get("services").and_then(Value::as_array).is_some_and(|services| !services.is_empty()) {
            return Err(root.wrong("services", "services of a task are not offered here"));
        }
        let read = Schema {
            name,
            task_type,
            priority,
            workspace,
            entrypoint: spec
                .text("entrypoint")?
                .filter(|text| !text.is_empty())
                .ok_or_else(|| spec.missing("entrypoint"))?,
            parameters: spec.text("parameters")?.unwrap_or_default(),
            executable: spec.switch("entrypoint_executable")?.unwrap_or(false),
            environments,
            image: resource.text("image")?.filter(|image| !image.is_empty() && image != "default"),
            client_group,
            group,
            zone,
            nodes,
            whole_life_state,
            timeout,
            tags,
        };
        if read.code_file().chars().count() > CODE_FILE_MAX {
            return Err(spec
                .wrong("parameters", format!("with the entrypoint they are longer than {CODE_FILE_MAX} characters")));
        }
        Ok(read)
    }

    /// What is executed, as it is shown.
    pub(super) fn code_file(&self) -> String {
        let place = if self.workspace.is_empty() {
            String::new()
        } else {
            format!("{}/", self.workspace.trim_end_matches('/'))
        };
        let file = format!("{place}{}", self.entrypoint);
        if self.parameters.is_empty() { file } else { format!("{file} {}", self.parameters) }
    }

    /// The submission that this is.
    pub(super) fn request(&self, raw: &Map<String, Value>) -> Result<SubmitRequest, ApiError> {
        let wrong = |field: &str, error: &dyn std::fmt::Display| {
            ApiError::new(Kind::InvalidValue, format!("resource.{field}: {error}")).at(format!("resource.{field}"))
        };
        let group = self.group.as_ref().map(|group| GroupName::new(group).map_err(|error| wrong("group", &error)));
        let zone = self.zone.as_ref().map(|zone| PlaceName::new(zone).map_err(|error| wrong("group", &error)));
        // As JSON it came, so as JSON it goes.
        let schema = serde_json::to_string(raw).unwrap_or_default();
        Ok(SubmitRequest {
            command: vec!["bash".to_owned(), "-c".to_owned(), self.script()],
            name: Some(self.name.clone()),
            workdir: Some(self.workspace.clone()).filter(|dir| !dir.is_empty()),
            image: self.image.clone(),
            group: group.transpose()?,
            zones: zone.transpose()?.into_iter().collect(),
            priority: Some(self.priority),
            kind: if self.task_type == "background" { KindWord::Background } else { KindWord::Training },
            workers: Some(self.nodes),
            whole_node: true,
            limit: self.timeout.map(Span::from_secs),
            notes: BTreeMap::from([(SCHEMA_NOTE.to_owned(), schema)]),
            ..SubmitRequest::default()
        })
    }

    /// What the shell of every worker is told. Parameters and values were quoted by the client.
    fn script(&self) -> String {
        let mut lines = vec![MODULES.to_owned()];
        if self.whole_life_state != 0 {
            // Until a run has said a number of its own.
            lines.push(format!(
                "if [ \"${{HAI_WHOLE_LIFE_STATE:-0}}\" = 0 ]; then export HAI_WHOLE_LIFE_STATE={0} MARSV2_WHOLE_LIFE_STATE={0}; fi",
                self.whole_life_state
            ));
        }
        lines.extend(self.environments.iter().map(|(name, value)| format!("export {name}={value}")));
        let file = quoted(&self.entrypoint);
        let with = if self.executable {
            // As a shell finds it: a plain name would be looked for elsewhere.
            if self.entrypoint.contains('/') { file } else { format!("./{file}") }
        } else if self.entrypoint.ends_with(".py") {
            format!("python3 -u {file}")
        } else {
            format!("bash {file}")
        };
        lines.push(ALONE.replace("COMMAND", format!("{with} {}", self.parameters).trim_end()));
        lines.join("\n")
    }
}

/// The group, its zone, and both as they were written.
fn group(resource: &Part<'_>) -> Result<(Option<String>, Option<String>, String), ApiError> {
    let written = resource.text("group")?.unwrap_or_default();
    let (group, zone) = match written.split_once('#') {
        Some((group, zone)) => (group, Some(zone.to_owned()).filter(|zone| !zone.is_empty())),
        None => (written.as_str(), None),
    };
    let group = Some(group.to_owned()).filter(|group| !group.is_empty() && group != "default");
    Ok((group, zone, written))
}

fn environments(spec: &Part<'_>) -> Result<BTreeMap<String, String>, ApiError> {
    let Some(part) = spec.part("environments")? else { return Ok(BTreeMap::new()) };
    let mut all = BTreeMap::new();
    for name in part.fields.keys() {
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_name {
            return Err(part.wrong(name, "is no name that a shell takes for a variable"));
        }
        let value = part.text(name)?.ok_or_else(|| part.wrong(name, "must not be null"))?;
        all.insert(name.clone(), value);
    }
    Ok(all)
}

/// What the options say that counts here; an option that would change what runs and is not offered is refused.
fn options(options: &Part<'_>) -> Result<(i64, Option<u64>, Vec<String>), ApiError> {
    for (name, instead) in [
        ("py_venv", "environments of haienv are not activated here; do it in the script, and submit with --no_inherit"),
        ("assigned_nodes", "nodes are not chosen by hand here"),
        ("sidecar", "sidecars are not offered here"),
        ("profile", "profiling is not offered here"),
        ("record_git_revision", "revisions are not recorded here"),
    ] {
        let empty = match options.fields.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(all)) => all.is_empty(),
            Some(Value::Object(all)) => all.is_empty(),
            Some(_) => false,
        };
        if !empty {
            return Err(options.wrong(name, instead));
        }
    }
    let state = options.integer("whole_life_state")?.unwrap_or(0);
    let timeout = options.integer("timeout")?;
    let timeout = timeout.map(|seconds| u64::try_from(seconds).ok().filter(|seconds| *seconds > 0));
    let timeout = match timeout {
        Some(None) => return Err(options.wrong("timeout", "must be a number of seconds above 0")),
        other => other.flatten(),
    };
    let tags: Vec<String> = match options.fields.get("tags") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => {
            text.split(',').map(|tag| tag.trim().to_owned()).filter(|tag| !tag.is_empty()).collect()
        }
        Some(Value::Array(all)) => {
            let texts = all.iter().map(|tag| tag.as_str().map(str::to_owned));
            texts.collect::<Option<_>>().ok_or_else(|| options.wrong("tags", "must be texts"))?
        }
        Some(_) => return Err(options.wrong("tags", "must be a list, or a text with commas")),
    };
    if tags.iter().any(|tag| tag.starts_with('_')) {
        return Err(options.wrong("tags", "none may begin with `_`"));
    }
    Ok((state, timeout, tags))
}

/// One object of the schema, and where it stands.
struct Part<'a> {
    fields: &'a Map<String, Value>,
    path: String,
}

impl<'a> Part<'a> {
    fn of(value: &'a Value, path: &str) -> Result<Self, ApiError> {
        let fields = value.as_object().ok_or_else(|| {
            let what = if path.is_empty() { "the body" } else { path };
            ApiError::new(Kind::InvalidValue, format!("{what}: must be an object")).at(path)
        })?;
        Ok(Part { fields, path: path.to_owned() })
    }

    fn path_of(&self, field: &str) -> String {
        if self.path.is_empty() { field.to_owned() } else { format!("{}.{field}", self.path) }
    }

    fn wrong(&self, field: &str, problem: impl std::fmt::Display) -> ApiError {
        let path = self.path_of(field);
        ApiError::new(Kind::InvalidValue, format!("{path}: {problem}")).at(path)
    }

    fn missing(&self, field: &str) -> ApiError {
        self.wrong(field, "is missing")
    }

    fn part(&self, field: &str) -> Result<Option<Part<'a>>, ApiError> {
        match self.fields.get(field) {
            None => Ok(None),
            // Required parts may be null where they have no default; then they are missing.
            Some(Value::Null) if field == "spec" => Ok(None),
            Some(value) => Part::of(value, &self.path_of(field)).map(Some),
        }
    }

    /// A text; numbers and switches become one as in Python.
    fn text(&self, field: &str) -> Result<Option<String>, ApiError> {
        match self.fields.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Err(self.wrong(field, "has a zero byte in it")),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(Value::Bool(true)) => Ok(Some("True".to_owned())),
            Some(Value::Bool(false)) => Ok(Some("False".to_owned())),
            Some(Value::Null) => Err(self.wrong(field, "must not be null")),
            Some(_) => Err(self.wrong(field, "must be a text")),
        }
    }

    /// A whole number, also written as text; a fraction is cut off.
    fn integer(&self, field: &str) -> Result<Option<i64>, ApiError> {
        let wrong = |value: &Value| self.wrong(field, format!("is {value}, and must be a whole number"));
        match self.fields.get(field) {
            None => Ok(None),
            Some(Value::Null) => Err(self.wrong(field, "must not be null")),
            Some(value @ Value::String(text)) => text.trim().parse().map(Some).map_err(|_| wrong(value)),
            Some(Value::Bool(switch)) => Ok(Some(i64::from(*switch))),
            Some(value @ Value::Number(number)) => {
                let whole = number.as_i64().or_else(|| {
                    let cut = number.as_f64()?.trunc();
                    #[expect(clippy::cast_possible_truncation, reason = "a number of this size is exact")]
                    (cut.abs() < 9e15).then_some(cut as i64)
                });
                whole.map(Some).ok_or_else(|| wrong(value))
            }
            Some(value) => Err(wrong(value)),
        }
    }

    fn switch(&self, field: &str) -> Result<Option<bool>, ApiError> {
        match self.fields.get(field) {
            None => Ok(None),
            Some(Value::Bool(switch)) => Ok(Some(*switch)),
            Some(Value::Number(number)) => Ok(Some(number.as_i64() != Some(0))),
            Some(Value::String(text)) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" | "yes" | "on" => Ok(Some(true)),
                "false" | "0" | "no" | "off" => Ok(Some(false)),
                _ => Err(self.wrong(field, "must be true or false")),
            },
            Some(_) => Err(self.wrong(field, "must be true or false")),
        }
    }
}

/// A word that a shell reads as just this text.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn recorded() -> Value {
        json!({"version": 2, "name": "job2", "priority": 30,
            "spec": {"workspace": "/home/ada/x", "entrypoint": "run.sh", "parameters": "a 'b c'", "environments": {"A": "1", "B": "'x y'"}},
            "resource": {"image": "default", "group": "training", "node_count": 2},
            "options": {"whole_life_state": 5}})
    }

    fn read(value: &Value) -> Result<(Schema, SubmitRequest), String> {
        let schema = Schema::read(value).map_err(|error| error.detail().to_owned())?;
        let request =
            schema.request(value.as_object().expect("an object")).map_err(|error| error.detail().to_owned())?;
        Ok((schema, request))
    }

    #[test]
    fn a_recorded_submission_becomes_one_of_ours() {
        let (schema, request) = read(&recorded()).expect("a schema");
        assert_eq!(schema.code_file(), "/home/ada/x/run.sh a 'b c'");
        assert_eq!(request.command[..2], ["bash", "-c"]);
        assert_eq!(
            request.command[2],
            format!(
                "{MODULES}\n\
                 if [ \"${{HAI_WHOLE_LIFE_STATE:-0}}\" = 0 ]; then export HAI_WHOLE_LIFE_STATE=5 MARSV2_WHOLE_LIFE_STATE=5; fi\n\
                 export A=1\nexport B='x y'\n{}",
                ALONE.replace("COMMAND", "bash run.sh a 'b c'")
            )
        );
        assert_eq!(
            (request.workdir.as_deref(), request.workers, request.whole_node),
            (Some("/home/ada/x"), Some(2), true)
        );
        assert_eq!((request.priority, request.image), (Some(Priority::High), None));
        assert_eq!(request.group.expect("one").as_str(), "training");
        let kept: Value = serde_json::from_str(&request.notes[SCHEMA_NOTE]).expect("JSON");
        assert_eq!(kept, recorded());
    }

    #[test]
    fn types_are_as_lenient_as_there() {
        let mut value = recorded();
        value["resource"]["node_count"] = json!("2");
        value["spec"]["environments"] = json!({"A": 1, "B": true});
        value["resource"]["group"] = json!("big#A");
        value["something"] = json!({"else": [1]});
        let (schema, request) = read(&value).expect("a schema");
        assert_eq!(schema.environments, BTreeMap::from([("A".into(), "1".into()), ("B".into(), "True".into())]));
        assert_eq!((schema.client_group.as_str(), request.zones.len()), ("big#A", 1));
        value["resource"]["node_count"] = json!(1.9);
        assert_eq!(read(&value).expect("a schema").1.workers, Some(1));
        value["resource"]["group"] = json!("default");
        value["spec"]["entrypoint"] = json!("a b.py");
        value["spec"]["parameters"] = json!("");
        let (_, request) = read(&value).expect("a schema");
        assert_eq!(request.group, None);
        assert!(request.command[2].contains("\n{ python3 -u 'a b.py'\n} &\n"), "{}", request.command[2]);
        value["spec"]["entrypoint_executable"] = json!(true);
        value["spec"]["entrypoint"] = json!("tool");
        assert!(read(&value).expect("a schema").1.command[2].contains("\n{ ./tool\n} &\n"));
    }

    #[test]
    fn what_can_not_be_is_refused_by_its_path() {
        let with = |path: &[&str], new: Value| {
            let mut value = recorded();
            let mut at = &mut value;
            for part in path {
                at = &mut at[*part];
            }
            *at = new;
            value
        };
        for (value, path) in [
            (json!([]), "the body"),
            (with(&["name"], json!("a(b)")), "name"),
            (with(&["version"], json!(1)), "version"),
            (with(&["version"], json!("two")), "version"),
            (with(&["task_type"], json!("jupyter")), "task_type"),
            (with(&["priority"], json!(31)), "priority"),
            (with(&["spec"], json!(null)), "spec"),
            (with(&["resource"], json!(null)), "resource"),
            (with(&["resource", "node_count"], json!("None")), "resource.node_count"),
            (with(&["resource", "node_count"], json!(0)), "resource.node_count"),
            (with(&["resource", "node_count"], json!(-3)), "resource.node_count"),
            (with(&["resource", "node_count"], json!(1e300)), "resource.node_count"),
            (with(&["resource", "group"], json!("a b")), "resource.group"),
            (with(&["spec", "workspace"], json!("/a b")), "spec.workspace"),
            (with(&["spec", "workspace"], json!("a")), "spec.workspace"),
            (with(&["spec", "workspace"], json!("/a/../../etc")), "spec.workspace"),
            (with(&["spec", "workspace"], json!(format!("/{}", "x".repeat(255)))), "spec.workspace"),
            (with(&["spec", "entrypoint"], json!("")), "spec.entrypoint"),
            (with(&["spec", "entrypoint"], json!("a\u{0}")), "spec.entrypoint"),
            (with(&["spec", "environments"], json!({"A": null})), "spec.environments.A"),
            (with(&["spec", "environments"], json!({"A;rm": "1"})), "spec.environments.A;rm"),
            (with(&["spec", "parameters"], json!("x".repeat(2048))), "spec.parameters"),
            (with(&["spec", "git_remote_repo"], json!("x")), "spec.git_remote_repo"),
            (with(&["options", "py_venv"], json!("202207[bob]")), "options.py_venv"),
            (with(&["options", "tags"], json!(["_x"])), "options.tags"),
            (with(&["options", "timeout"], json!(-1)), "options.timeout"),
            (with(&["services"], json!([{"name": "x"}])), "services"),
        ] {
            let problem = read(&value).expect_err(path);
            assert!(problem.starts_with(&format!("{path}: ")), "{problem}");
        }
    }

    #[test]
    fn words_are_quoted_where_a_shell_would_split_them() {
        for (word, text) in [("a", "a"), ("", "''"), ("a b", "'a b'"), ("it's", "'it'\\''s'"), ("$(x)", "'$(x)'")] {
            assert_eq!(quoted(word), text);
        }
    }
}
