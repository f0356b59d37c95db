//! The `hai submit` that submits a task again.

use chrono::{DateTime, SecondsFormat, Utc};
use hai_core::model::{Program, Rank};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Grace, KindWord, Retries, Task};

/// The command that submits a task again, just as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TaskCommand {
    /// Word by word.
    #[schema(examples(json!(["hai", "submit", "--devices", "4", "--", "./train.sh"])))]
    pub argv: Vec<String>,
    /// As it is typed into a shell.
    #[schema(examples("hai submit --devices 4 -- ./train.sh"))]
    pub shell: String,
    /// What of the task no command can say, in words; empty if it says all.
    pub remarks: Vec<String>,
}

/// Words that are put together.
#[derive(Debug, Default)]
struct Words(Vec<String>);

impl Words {
    /// A flag that stands alone.
    fn flag(&mut self, flag: &str, given: bool) {
        if given {
            self.0.push(flag.to_owned());
        }
    }

    fn value(&mut self, flag: &str, value: impl ToString) {
        let value = value.to_string();
        // What looks like a flag, or like nothing, is not taken for the flag's value if it stands alone.
        if value.is_empty() || value.starts_with('-') {
            self.0.push(format!("{flag}={value}"));
        } else {
            self.0.extend([flag.to_owned(), value]);
        }
    }

    fn maybe(&mut self, flag: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.value(flag, value);
        }
    }

    fn each(&mut self, flag: &str, values: impl IntoIterator<Item = impl ToString>) {
        values.into_iter().for_each(|value| self.value(flag, value));
    }

    fn mib(&mut self, flag: &str, mib: u64) {
        if mib > 0 {
            self.value(flag, format!("{mib}MiB"));
        }
    }
}

impl TaskCommand {
    /// The command for a task that executes this program. Who asks submits for themselves unless it is `for_owner`, which only
    /// operators may, as they alone may choose places in the queue.
    #[must_use]
    pub fn of(task: &Task, program: &Program, operator: bool, for_owner: bool) -> Self {
        let mut words = Words(vec!["hai".to_owned(), "submit".to_owned()]);
        let mut remarks = Vec::new();
        words.value("--name", &task.name);
        words.value("--priority", task.priority);
        words.value("--group", &task.group);
        words.maybe("--user", for_owner.then_some(&task.user));
        match task.custom_rank {
            Some(rank) if operator => words.value("--custom-rank", Rank::value(rank)),
            Some(_) => remarks.push("only an operator can give it its place in the queue".to_owned()),
            None => {}
        }
        devices(&mut words, task);
        places(&mut words, task, &mut remarks);
        life(&mut words, task);
        for (name, value) in &program.env {
            words.value("--env", format!("{name}={value}"));
        }
        match &program.workdir {
            Some(dir) => words.value("--workdir", dir),
            None => {
                remarks.push("its workers start in a directory of the run's own, and those of the command here".into())
            }
        }
        words.maybe("--image", program.image.as_ref());
        if !program.notes.is_empty() {
            remarks.push("notes that are kept with it can only be given through the API".to_owned());
        }
        words.0.push("--".to_owned());
        words.0.extend(program.command.iter().cloned());
        let argv = words.0;
        let shell = argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
        TaskCommand { argv, shell, remarks }
    }
}

fn devices(words: &mut Words, task: &Task) {
    words.flag("--whole-node", task.whole_node);
    words.maybe("--devices", task.devices.filter(|devices| *devices != 1));
    words.maybe("--share", task.share);
    task.share_memory_mib.into_iter().for_each(|mib| words.mib("--share-memory", mib));
    words.maybe("--workers", (task.workers != 1).then_some(task.workers));
    words.maybe("--workers-min", task.workers_min);
    words.each("--model", &task.models);
    words.each("--not-model", &task.forbidden_models);
    words.flag("--same-model", task.same_model);
    words.mib("--device-memory", task.device_memory_mib);
    words.maybe("--mig", task.mig_profile.as_ref());
    words.maybe("--compute-capability", task.compute_capability);
    words.maybe("--cpu", (task.cpu > 0.0).then_some(task.cpu));
    words.mib("--memory", task.memory_mib);
}

fn places(words: &mut Words, task: &Task, remarks: &mut Vec<String>) {
    words.flag("--distinct-nodes", task.distinct_nodes);
    words.flag("--spread", task.spread);
    words.flag("--one-leaf", task.one_leaf);
    words.flag("--one-zone", task.one_zone);
    words.each("--zone", &task.zones);
    for (name, value) in &task.labels {
        if name.is_empty() || name.contains('=') {
            remarks.push(format!("the label {name:?} has a name that no command can say"));
        } else {
            words.value("--label", format!("{name}={value}"));
        }
    }
    words.each("--tolerate", &task.tolerates);
}

fn life(words: &mut Words, task: &Task) {
    match task.kind {
        KindWord::Training => {}
        KindWord::Interactive => words.value("--kind", "interactive"),
        KindWord::Background => words.value("--kind", "background"),
    }
    words.maybe("--lease", task.lease);
    words.maybe("--idle-after", task.idle_after);
    words.flag("--not-suspendable", !task.suspendable);
    words.maybe("--expected", task.expected);
    words.maybe("--limit", task.limit);
    words.maybe("--deadline", task.deadline.map(moment));
    words.maybe("--not-before", task.not_before.map(moment));
    for (flag, tasks) in [("--after", &task.after), ("--after-any", &task.after_any)] {
        let tasks: Vec<String> = tasks.iter().map(ToString::to_string).collect();
        words.maybe(flag, (!tasks.is_empty()).then(|| tasks.join(",")));
    }
    if let Some(Retries { limit, back_off, avoid_nodes }) = task.retries {
        words.value("--retries", limit);
        words.maybe("--retry-back-off", (back_off != Retries::default_back_off()).then_some(back_off));
        words.flag("--retry-anywhere", !avoid_nodes);
    }
    words.maybe("--restart-cost", task.restart_cost);
    words.maybe("--checkpoint-every", task.checkpoint_every);
    if task.grace != Grace::default() {
        words.value("--grace-answer", task.grace.answer);
        words.value("--grace-finish", task.grace.finish);
    }
}

fn moment(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::AutoSi, true)
}

/// A word as a shell reads it.
#[must_use]
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
