//! `hai ls`, `show`, `stop`, `suspend`, `resume`, `renew`, `priority` and `why`.

use chrono::Utc;
use hai_core::model::{Priority, TaskId};
use ureq::http::Method;

use super::args::ListArgs;
use super::client::Client;
use super::error::CliError;
use super::output::{Printer, Table, Tone, ago, clean, clock, humane, length, memory};
use super::submit::rank;
use crate::api::wire::{
    KindWord, OutcomeWord, PriorityRequest, Run, RunEnd, RunPhase, Task, TaskDetail, TaskPage, TaskQuery, TaskState,
    Why, WhyQuery,
};

/// `hai ls`
///
/// # Errors
/// [`CliError`].
pub(super) fn list(args: &ListArgs, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let unfinished = !args.all && args.outcome.is_none();
    let query = TaskQuery {
        user: args.user.clone(),
        group: args.group.clone(),
        state: args.state.clone().or_else(|| unfinished.then(|| "unfinished".to_owned())),
        outcome: args.outcome,
        name: args.name.clone(),
        priority: args.priority,
        limit: Some(args.limit),
        before: args.before,
        ..TaskQuery::default()
    };
    let answer = client.get("/v1/tasks", &query)?;
    if printer.json {
        return printer.answer(&answer);
    }
    let page: TaskPage = answer.parse()?;
    let mut table =
        Table::new(&["TASK", "NAME", "USER", "GROUP", "PRIORITY", "STATE", "NEEDS", "RUNS", "SUBMITTED", "RAN"]);
    for task in &page.tasks {
        let (state, tone) = state(task);
        table.row([
            (task.id.to_string(), Tone::Strong),
            (task.name.clone(), Tone::Plain),
            (task.user.to_string(), Tone::Plain),
            (task.group.to_string(), Tone::Plain),
            (task.priority.to_string(), Tone::Plain),
            (state.to_owned(), tone),
            (task.asks(), Tone::Plain),
            (task.runs.to_string(), Tone::Plain),
            (ago(task.submitted_at), Tone::Dim),
            (ran(task), Tone::Plain),
        ]);
    }
    if page.tasks.is_empty() && printer.terminal {
        printer.remark(if unfinished {
            "no unfinished tasks; `hai ls --all` lists the others"
        } else {
            "no such tasks"
        });
        return Ok(());
    }
    table.print(printer)?;
    if let Some(next) = page.next {
        printer.remark(format!("there are more: add --before {next}"));
    }
    Ok(())
}

/// What it does or how it ended, in a word.
fn state(task: &Task) -> (&'static str, Tone) {
    match (task.outcome, task.state) {
        (Some(OutcomeWord::Succeeded), _) => ("succeeded", Tone::Good),
        (Some(OutcomeWord::Failed), _) => ("failed", Tone::Bad),
        (Some(OutcomeWord::Stopped), _) => ("stopped", Tone::Dim),
        (None, state) => (
            state.word(),
            match state {
                TaskState::Running | TaskState::Starting => Tone::Busy,
                TaskState::Held | TaskState::Finished => Tone::Dim,
                _ => Tone::Waiting,
            },
        ),
    }
}

fn ran(task: &Task) -> String {
    match i64::try_from(task.ran.as_ms() / 1000) {
        Ok(0) | Err(_) if task.runs == 0 => String::new(),
        seconds => length(seconds.unwrap_or(i64::MAX)),
    }
}

/// `hai show`
///
/// # Errors
/// [`CliError`].
pub(super) fn show(task: TaskId, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let answer = client.get(&format!("/v1/tasks/{task}"), &())?;
    if printer.json {
        return printer.answer(&answer);
    }
    let detail: TaskDetail = answer.parse()?;
    let task = &detail.task;
    let (state, tone) = state(task);
    let mut fields =
        vec![("task", format!("{} {}", task.id, clean(&task.name))), ("state", printer.toned(state, tone))];
    if let Some(reason) = &task.reason {
        fields.push(("reason", printer.toned(&clean(reason), Tone::Bad)));
    }
    if let Some(why) = &detail.why {
        fields.push(("why", humane(&clean(&why.sentence), Utc::now())));
    }
    fields.push(("user", task.user.to_string()));
    fields.push(("group", task.group.to_string()));
    fields.push(("priority", priority(task)));
    fields.push(("needs", all_needs(task)));
    fields.extend(life(task));
    fields.push(("grace", format!("{} to answer, {} to finish", task.grace.answer, task.grace.finish)));
    fields.push(("command", clean(&words(&detail.command))));
    if let Some(dir) = &detail.workdir {
        fields.push(("directory", clean(dir)));
    }
    if let Some(image) = &detail.image {
        fields.push(("image", clean(image)));
    }
    for (name, value) in &detail.env {
        fields.push(("variable", clean(&format!("{name}={value}"))));
    }
    fields.push(("submitted", format!("{} ({})", clock(task.submitted_at), ago(task.submitted_at))));
    if let Some(ended) = task.ended_at {
        fields.push(("ended", format!("{} ({})", clock(ended), ago(ended))));
    }
    if task.whole_life_state != 0 {
        fields.push(("saved state", task.whole_life_state.to_string()));
    }
    for (name, value) in fields {
        printer.line(format!("{} {value}", printer.toned(&format!("{name:<11}"), Tone::Dim)))?;
    }
    if detail.history.is_empty() {
        return Ok(());
    }
    printer.line("")?;
    history(&detail.history).print(printer)
}

fn priority(task: &Task) -> String {
    match task.level.filter(|level| *level != task.priority) {
        Some(level) => format!("{} (counts as {level})", task.priority),
        None => task.priority.to_string(),
    }
}

/// What was asked about its life, as far as something was.
fn life(task: &Task) -> Vec<(&'static str, String)> {
    let mut fields = Vec::new();
    match task.kind {
        KindWord::Training => {}
        KindWord::Background => fields.push(("kind", "background".to_owned())),
        KindWord::Interactive => {
            let lease = task.lease.map(|lease| format!(", for {lease}")).unwrap_or_default();
            let idle = task.idle_after.map(|idle| format!(", suspended once idle for {idle}")).unwrap_or_default();
            fields.push(("kind", format!("interactive{lease}{idle}")));
        }
    }
    if !task.suspendable {
        fields.push(("suspend", "it can not be suspended".to_owned()));
    }
    let spans = [
        ("expected", task.expected),
        ("limit", task.limit),
        ("restart", task.restart_cost),
        ("saves every", task.checkpoint_every),
    ];
    fields.extend(spans.into_iter().filter_map(|(name, span)| Some((name, span?.to_string()))));
    let times = [("not before", task.not_before), ("deadline", task.deadline)];
    fields.extend(times.into_iter().filter_map(|(name, time)| Some((name, clock(time?)))));
    let tasks = |tasks: &[TaskId]| tasks.iter().map(TaskId::to_string).collect::<Vec<_>>().join(", ");
    if !task.after.is_empty() {
        fields.push(("after", format!("{} succeeded", tasks(&task.after))));
    }
    if !task.after_any.is_empty() {
        fields.push(("after", format!("{} ended", tasks(&task.after_any))));
    }
    if let Some(retries) = &task.retries {
        let where_to = if retries.avoid_nodes { ", elsewhere if that can be" } else { "" };
        fields.push(("retries", format!("{}, after {} at first{where_to}", retries.limit, retries.back_off)));
    }
    fields
}

fn all_needs(task: &Task) -> String {
    let mut parts = vec![task.asks()];
    if !task.forbidden_models.is_empty() {
        let models: Vec<&str> = task.forbidden_models.iter().map(|model| model.as_str()).collect();
        parts.push(format!("no {}", models.join(", no ")));
    }
    if task.same_model {
        parts.push("all of one model".to_owned());
    }
    if let Some(profile) = &task.mig_profile {
        parts.push(format!("slices {profile}"));
    }
    if let Some(least) = task.compute_capability {
        parts.push(format!("compute capability {least}"));
    }
    if task.device_memory_mib > 0 {
        parts.push(format!("{} per device", memory(task.device_memory_mib)));
    }
    if task.cpu > 0.0 && task.devices != Some(0) {
        parts.push(format!("{} cpu", task.cpu));
    }
    if task.memory_mib > 0 {
        parts.push(format!("{} memory", memory(task.memory_mib)));
    }
    let where_to = [
        (task.distinct_nodes, "distinct nodes"),
        (task.spread, "spread"),
        (task.one_leaf, "one leaf"),
        (task.one_zone, "one zone"),
    ];
    parts.extend(where_to.into_iter().filter(|(asked, _)| *asked).map(|(_, words)| words.to_owned()));
    if !task.zones.is_empty() {
        let zones: Vec<&str> = task.zones.iter().map(|zone| zone.as_str()).collect();
        parts.push(format!("in {}", zones.join(" or ")));
    }
    parts.extend(task.labels.iter().map(|(name, value)| format!("{name}={value}")));
    if !task.tolerates.is_empty() {
        parts.push(format!("tolerates {}", task.tolerates.iter().cloned().collect::<Vec<_>>().join(", ")));
    }
    clean(&parts.join(", "))
}

/// The command as a shell would take it.
fn words(command: &[String]) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=:,@%+".contains(c);
    let word = |word: &String| {
        if !word.is_empty() && word.chars().all(plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', "'\\''"))
        }
    };
    command.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn history(runs: &[Run]) -> Table {
    let mut table = Table::new(&["RUN", "ATTEMPT", "STATE", "STARTED", "LENGTH", "WHERE", "EXIT"]);
    for run in runs {
        let (state, tone) = match (run.end, run.phase) {
            (Some(RunEnd::Completed), _) => ("completed", Tone::Good),
            (Some(RunEnd::Failed), _) => ("failed", Tone::Bad),
            (Some(RunEnd::Suspended), _) => ("suspended", Tone::Waiting),
            (Some(RunEnd::Stopped), _) => ("stopped", Tone::Dim),
            (Some(RunEnd::Lost), _) => ("lost", Tone::Bad),
            (None, RunPhase::Starting) => ("starting", Tone::Busy),
            (None, RunPhase::Running) => ("running", Tone::Busy),
            (None, RunPhase::Vacating) => ("leaving", Tone::Waiting),
            (None, RunPhase::Ended) => ("ended", Tone::Plain),
        };
        let end = run.ended_at.unwrap_or_else(Utc::now);
        let took = run.started_at.map(|start| length((end - start).num_seconds())).unwrap_or_default();
        let places: Vec<String> = run
            .workers
            .iter()
            .map(|worker| match worker.devices.len() {
                _ if worker.whole_node => worker.node.to_string(),
                0 => worker.node.to_string(),
                1 if let Some(share) = worker.share => format!("{}:{share}", worker.node),
                devices => format!("{}:{devices}", worker.node),
            })
            .collect();
        let exits = run.workers.iter().filter_map(|worker| Some((worker.rank, worker.exit.as_ref()?)));
        let exits: Vec<String> = if run.workers.len() == 1 {
            exits.map(|(_, exit)| exit.sentence.clone()).collect()
        } else {
            exits.map(|(rank, exit)| format!("{rank}: {}", exit.sentence)).collect()
        };
        table.row([
            (run.id.to_string(), Tone::Strong),
            (run.attempt.to_string(), Tone::Plain),
            (state.to_owned(), tone),
            (run.started_at.map(clock).unwrap_or_default(), Tone::Plain),
            (took, Tone::Plain),
            (shortened(&places), Tone::Plain),
            (run.reason.clone().unwrap_or_else(|| shortened(&exits)), Tone::Plain),
        ]);
    }
    table
}

/// The first few of many.
fn shortened(items: &[String]) -> String {
    const SHOWN: usize = 8;
    let shown = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(" ");
    match items.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} … and {more} more"),
    }
}

/// `hai stop`, `suspend`, `resume` and `renew`: `verb` is the path's last part, `done` what to say of each task.
///
/// # Errors
/// [`CliError::Some`] if it did not work for all; each failure was told by then.
pub(super) fn each(tasks: &[u64], verb: &str, done: &str, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let mut failed = 0;
    for task in tasks {
        match client.send(&Method::POST, &format!("/v1/tasks/{task}/{verb}"), None::<&()>) {
            Ok(answer) if printer.json => printer.answer(&answer)?,
            Ok(answer) => {
                let now: Task = answer.parse()?;
                printer.line(format!("task {task} {done}; it is {} now", state(&now).0))?;
            }
            // What holds for the daemon as a whole holds for the rest too.
            Err(error @ CliError::Refused(_)) if tasks.len() > 1 => {
                super::complain(&error);
                failed += 1;
            }
            Err(error) => return Err(error),
        }
    }
    if failed > 0 { Err(CliError::Some { failed, all: tasks.len() }) } else { Ok(()) }
}

/// `hai priority`
///
/// # Errors
/// [`CliError`].
pub(super) fn reprioritise(
    task: TaskId,
    priority: Priority,
    custom_rank: Option<f64>,
    client: &Client,
    printer: &Printer,
) -> Result<(), CliError> {
    let request = PriorityRequest { priority, custom_rank: rank(custom_rank)? };
    let answer = client.send(&Method::POST, &format!("/v1/tasks/{task}/priority"), Some(&request))?;
    if printer.json {
        return printer.answer(&answer);
    }
    let now: Task = answer.parse()?;
    printer.line(format!("task {task} has priority {} now; it is {}", now.priority, state(&now).0))
}

/// `hai why`: the dominant reason, then what is behind it and what would help, in short sections.
///
/// # Errors
/// [`CliError`].
pub(super) fn why(task: TaskId, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let answer = client.get(&format!("/v1/tasks/{task}/why"), &WhyQuery { help: true })?;
    if printer.json {
        return printer.answer(&answer);
    }
    let why: Why = answer.parse()?;
    let tone = if why.waits { Tone::Waiting } else { Tone::Plain };
    let state = printer.toned(why.state.word(), tone);
    let reason = why.reason.as_ref().unwrap_or(&why.sentence);
    let told = humane(&clean(reason), Utc::now());
    // "task 7 is held: it is held; …" says one thing twice.
    let twice = format!("it is {}", why.state.word());
    match told.strip_prefix("it ").filter(|_| told.starts_with(&twice)) {
        Some(rest) => printer.line(format!("task {task} {}", rest.replacen(why.state.word(), &state, 1)))?,
        None => printer.line(format!("task {task} is {state}: {told}"))?,
    }
    if let Some(yielded) = why.yielded.as_ref().filter(|yielded| !reason.contains(&yielded.sentence)) {
        printer.line(format!("it last had to give way {}: {}", ago(yielded.at), clean(&yielded.sentence)))?;
    }
    for section in &why.sections {
        printer.line(String::new())?;
        printer.line(printer.toned(&section.title, Tone::Strong))?;
        for line in &section.lines {
            printer.line(format!("  - {}", humane(&clean(line), Utc::now())))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_a_shell_would_take_it() {
        let command = ["python3", "a b.py", "--x=1", "it's", ""].map(str::to_owned);
        assert_eq!(words(&command), "python3 'a b.py' --x=1 'it'\\''s' ''");
    }

    #[test]
    fn long_lists_are_cut() {
        let many: Vec<String> = (0..10).map(|number| number.to_string()).collect();
        assert_eq!(shortened(&many), "0 1 2 3 4 5 6 7 … and 2 more");
        assert_eq!(shortened(&many[..2]), "0 1");
    }
}
