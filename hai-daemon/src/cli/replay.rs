//! `hai replay`: decides a log anew, or works out what a change would have made of its work. Needs no daemon.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, ValueHint};
use hai_core::engine::{EngineConfig, Policies, Policy};
use hai_core::log::{Change, Diff, Fate, LogReader, ReplayError, Replayed, Totals, Workload, replay};
use hai_core::model::{NodeSpec, RightRow, Span};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::CliError;
use super::history::hours;
use super::output::{Printer, Table, Tone};
use crate::api::wire::{Right, RightList};
use crate::config::Config;

/// Moments that are shown to people.
const ROUNDS_SHOWN: usize = 5;
/// Moments that are told to programs.
const ROUNDS_TOLD: usize = 1000;
/// Tasks that are shown to people.
const TASKS_SHOWN: usize = 30;
/// How often people are told how far it is.
const PROGRESS_EVERY: Duration = Duration::from_millis(500);

/// What to replay, and what is otherwise.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    hai log export > hai.log && hai replay hai.log     the same decisions again?\n  \
    hai replay hai.log --policy hai-fifo               what strict order would have made of the same work\n  \
    hai replay hai.log --config new.toml               … or another configuration of the daemon\n  \
    hai rights --json > rights.json; $EDITOR rights.json; hai replay hai.log --rights rights.json\n\n\
    Without a change every round is decided anew and compared, bit for bit; the first difference is named. With one the \
    work in the log (who asked for what when, and how long it truly ran) is simulated twice, as the log decides and with \
    the change, and what comes off otherwise is told by task and round.\n\n\
    Exit status: 0 no difference; 1 a difference, a broken chain or a file that can not be read; 2 wrong usage.")]
pub struct ReplayArgs {
    /// The log, as `hai log export` writes it; - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// Decide by other rules: hai or hai-fifo
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    pub policy: Option<Policy>,
    /// Decide as a daemon with this configuration (TOML) would
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
    /// With these rights in the place of all that the log tells of: what `hai rights --json` prints
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub rights: Option<PathBuf>,
    /// With these nodes in the place of all that the log tells of: a JSON list of nodes as they stand in a log
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub nodes: Option<PathBuf>,
}

fn policy(text: &str) -> Result<Policy, String> {
    let word = serde_json::Value::String(text.to_owned());
    serde_json::from_value(word).map_err(|_| "the policies are hai and hai-fifo".to_owned())
}

/// What a replay without a change comes to, for programs.
#[derive(Serialize)]
struct Outcome<'a> {
    same: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    replayed: Option<&'a Replayed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<&'a hai_core::log::Difference>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// `hai replay`
///
/// # Errors
/// [`CliError`] if a file can not be used; a difference is no error, but the exit status 1.
pub(super) fn run(args: &ReplayArgs, printer: &Printer) -> Result<ExitCode, CliError> {
    let input: Box<dyn BufRead> = if args.file == Path::new("-") {
        Box::new(BufReader::new(io::stdin()))
    } else {
        let file = File::open(&args.file).map_err(|source| unreadable(&args.file, source))?;
        Box::new(BufReader::with_capacity(1 << 20, file))
    };
    let bad = |problem: String| bad_file(&args.file, &problem);
    let reader = LogReader::open(input.lines()).map_err(|error| bad(error.to_string()))?;
    let changed = args.policy.is_some() || args.config.is_some() || args.rights.is_some() || args.nodes.is_some();
    if changed {
        let workload = Workload::read(reader).map_err(|error| bad(error.to_string()))?;
        let change = change(args, &workload)?;
        let diff = workload.compare(&change, if printer.json { ROUNDS_TOLD } else { ROUNDS_SHOWN });
        print(&diff, printer)?;
        return Ok(status(diff.is_empty()));
    }
    let mut progress = Progress::new(printer);
    let outcome = replay(reader, Policies::default(), |done| progress.tell(done));
    progress.end();
    if printer.json {
        let told = match &outcome {
            Ok(done) => Outcome { same: true, replayed: Some(done), difference: None, problem: None },
            Err(ReplayError::Difference(difference)) => Outcome {
                same: false,
                replayed: None,
                difference: Some(difference),
                problem: Some(difference.to_string()),
            },
            Err(error) => Outcome { same: false, replayed: None, difference: None, problem: Some(error.to_string()) },
        };
        json(&told, printer)?;
        return Ok(status(outcome.is_ok()));
    }
    match outcome {
        Ok(done) => {
            printer.line(sentence(&done))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(ReplayError::Difference(difference)) => {
            printer.line(format!("decided otherwise: {difference}"))?;
            Ok(ExitCode::FAILURE)
        }
        Err(error) => Err(bad(error.to_string())),
    }
}

fn status(same: bool) -> ExitCode {
    if same { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn sentence(done: &Replayed) -> String {
    let span = match (done.since, done.until) {
        (Some(since), Some(until)) => format!(", {since} to {until}"),
        _ => String::new(),
    };
    let cut = match done.unsealed {
        0 => String::new(),
        facts => format!("\nthe log breaks off: {facts} facts at its end were never decided upon"),
    };
    format!(
        "no difference: {} rounds with {} decisions after {} facts{span}\ndigest {}{cut}",
        done.rounds, done.decisions, done.facts, done.digest
    )
}

fn unreadable(path: &Path, source: io::Error) -> CliError {
    CliError::File { what: path.display().to_string(), source }
}

fn bad_file(path: &Path, problem: &str) -> CliError {
    CliError::BadFile { file: path.display().to_string(), problem: problem.to_owned() }
}

fn change(args: &ReplayArgs, workload: &Workload) -> Result<Change, CliError> {
    let mut config: Option<EngineConfig> = None;
    if let Some(path) = &args.config {
        let text = std::fs::read_to_string(path).map_err(|source| unreadable(path, source))?;
        let read = Config::parse(&text, &path.display().to_string());
        config = Some(read.map_err(|errors| bad_file(path, &errors.to_string()))?.engine());
    }
    if let Some(policy) = args.policy {
        config.get_or_insert_with(|| workload.config().clone()).policy = policy;
    }
    let rights = args.rights.as_deref().map(rights).transpose()?;
    let nodes = args.nodes.as_deref().map(from_file::<Vec<NodeSpec>>).transpose()?;
    if let (Some(path), Some(nodes)) = (&args.nodes, &nodes) {
        nodes.iter().try_for_each(NodeSpec::check).map_err(|error| bad_file(path, &error.to_string()))?;
    }
    Ok(Change { config, rights, nodes })
}

/// What `hai rights --json` prints, or only the list in it.
fn rights(path: &Path) -> Result<Vec<RightRow>, CliError> {
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Rights {
        Answer(RightList),
        List(Vec<Right>),
    }
    let (Rights::Answer(RightList { rights }) | Rights::List(rights)) = from_file(path)?;
    Ok(rights.into_iter().map(RightRow::from).collect())
}

fn from_file<T: DeserializeOwned>(path: &Path) -> Result<T, CliError> {
    let text = std::fs::read_to_string(path).map_err(|source| unreadable(path, source))?;
    serde_json::from_str(&text).map_err(|error| bad_file(path, &error.to_string()))
}

fn json(value: &impl Serialize, printer: &Printer) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CliError::Usage(error.to_string()))?;
    printer.line(text)
}

fn print(diff: &Diff, printer: &Printer) -> Result<(), CliError> {
    if printer.json {
        return json(diff, printer);
    }
    if diff.is_empty() {
        return printer.line("no difference: everything is decided the same");
    }
    let mut table = Table::new(&["", "AS THE LOG", "CHANGED"]);
    let (one, other) = (&diff.before, &diff.after);
    let mut row = |name: &str, of: &dyn Fn(&Totals) -> String| {
        let cells = [(name.to_owned(), Tone::Strong), (of(one), Tone::Plain), (of(other), Tone::Plain)];
        table.row(cells);
    };
    row("tasks that ended", &|totals| format!("{} of {}", totals.ended, totals.tasks));
    row("waiting, in all", &|totals| round(totals.waited));
    row("lost and restarting", &|totals| round(totals.lost));
    row("suspensions", &|totals| totals.suspensions.to_string());
    row("device-hours", &|totals| hours(totals.device_ms));
    row("last end", &|totals| totals.last_end.map(|at| at.to_string()).unwrap_or_default());
    table.print(printer)?;
    let mut table = Table::new(&["TASK", "USER", "WAITED", "THEN", "LOST", "THEN", "SUSPENDED", "THEN", ""]);
    for task in diff.tasks.iter().take(TASKS_SHOWN) {
        let pair = |of: &dyn Fn(&Fate) -> String| [of(&task.before), of(&task.after)];
        let ([waits, waits_then], [lost, lost_then]) =
            (pair(&|fate| round(fate.waited)), pair(&|fate| round(fate.lost)));
        let [left, left_then] = pair(&|fate| fate.suspensions.to_string());
        let note = if task.censored { "not over when the log ends" } else { "" };
        let (id, user) = (task.task.to_string(), task.user.to_string());
        let cells = [id, user, waits, waits_then, lost, lost_then, left, left_then, note.to_owned()];
        table.row(cells.map(|text| (text, Tone::Plain)));
    }
    printer.line("")?;
    table.print(printer)?;
    if let Some(more) = diff.tasks.len().checked_sub(TASKS_SHOWN + 1) {
        printer.line(format!("… and {} more tasks; --json tells all", more + 1))?;
    }
    printer.line(format!("\ndecided otherwise at {} moments, first:", diff.rounds_differ))?;
    diff.rounds.iter().try_for_each(|round| printer.line(round))?;
    diff.refused.iter().try_for_each(|why| printer.line(format!("could not be taken over: {why}")))
}

/// A span in whole seconds.
fn round(span: Span) -> String {
    Span::from_secs(span.as_ms().saturating_add(500) / 1000).to_string()
}

/// Tells people on a terminal how far it is.
struct Progress {
    shown: bool,
    last: Instant,
    told: bool,
}

impl Progress {
    fn new(printer: &Printer) -> Self {
        Progress { shown: !printer.json && io::stderr().is_terminal(), last: Instant::now(), told: false }
    }

    fn tell(&mut self, done: &Replayed) {
        if !self.shown || self.last.elapsed() < PROGRESS_EVERY {
            return;
        }
        self.last = Instant::now();
        self.told = true;
        let at = done.until.map(|at| at.to_string()).unwrap_or_default();
        // Not being able to say it is no loss.
        let _ = write!(io::stderr().lock(), "\r{} rounds, {at}", done.rounds);
    }

    fn end(&self) {
        if self.told {
            let _ = writeln!(io::stderr().lock());
        }
    }
}
