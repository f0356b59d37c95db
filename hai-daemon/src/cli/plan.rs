//! `hai plan`: one decision about a cluster that somebody else keeps, without a daemon.

use std::io::{BufRead, Read as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum, ValueHint};
use hai_core::engine::Policy;
use hai_core::plan::{Action, Answer, Document, plan};
use serde::Serialize;
use serde::de::Error as _;

use super::error::CliError;
use super::output::{Printer, Table, Tone, clean};

/// What to decide about.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    hai plan cluster.json                 who starts, who leaves, and why the others wait\n  \
    hai plan cluster.json --json          the same as JSON\n  \
    hai plan - --policy hai-fifo < x.json\n  \
    hai plan --lines - < many.jsonl       one document a line in, one answer a line out\n  \
    hai plan --example > cluster.json     a document to begin with\n\n\
    A document holds `now`, `config`, `nodes`, `teams`, `rights` and `tasks`; times and spans are in milliseconds. \
    `--schema` prints the JSON schema of the document or of the answer. No daemon is needed.")]
pub struct PlanArgs {
    /// The document; `-` for standard input
    #[arg(value_name = "FILE", value_hint = ValueHint::FilePath, required_unless_present_any = ["schema", "example"])]
    pub file: Option<PathBuf>,
    /// Decide by this rule set, whatever the document says: hai or hai-fifo
    #[arg(long, value_name = "POLICY", value_parser = policy)]
    pub policy: Option<Policy>,
    /// One document a line in, one answer a line out; a line that can not be is answered with what is wrong
    #[arg(long)]
    pub lines: bool,
    /// Print the JSON schema of the document, or of the answer
    #[arg(long, value_name = "WHICH", exclusive = true)]
    pub schema: Option<WhichSchema>,
    /// Print a document to begin with
    #[arg(long, exclusive = true)]
    pub example: bool,
}

/// Which schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhichSchema {
    /// What `hai plan` reads.
    Document,
    /// What it prints with `--json` or `--lines`.
    Answer,
}

/// A line that can not be answered.
#[derive(Serialize)]
struct Wrong {
    line: usize,
    error: String,
}

fn policy(text: &str) -> Result<Policy, String> {
    serde_json::from_value(serde_json::Value::from(text)).map_err(|_| "policies are hai and hai-fifo".to_owned())
}

/// A document to begin with.
const EXAMPLE: &str = include_str!("plan_example.json");

/// `hai plan`
///
/// # Errors
/// [`CliError::Usage`] with the line and the field that are wrong; [`CliError::Some`] if some lines were.
pub(super) fn run(args: &PlanArgs, printer: &Printer) -> Result<(), CliError> {
    if args.example {
        return printer.line(EXAMPLE.trim_end());
    }
    if let Some(which) = args.schema {
        return printer.line(schema(which));
    }
    let file = args.file.as_deref().unwrap_or(Path::new("-"));
    if args.lines {
        return lines(args, open(file)?, printer);
    }
    let mut text = String::new();
    open(file)?.read_to_string(&mut text).map_err(|source| unreadable(file, source))?;
    let answer = answer(&text, args).map_err(|problem| CliError::Usage(format!("{}: {problem}", file.display())))?;
    if printer.json {
        let json = serde_json::to_string(&answer).map_err(|error| CliError::Usage(error.to_string()))?;
        return printer.line(json);
    }
    show(&answer, printer)
}

/// The schema of a document or an answer, as it is committed.
#[must_use]
pub fn schema(which: WhichSchema) -> String {
    let schema = match which {
        WhichSchema::Document => schemars::schema_for!(Document),
        WhichSchema::Answer => schemars::schema_for!(Answer),
    };
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

fn open(file: &Path) -> Result<Box<dyn BufRead>, CliError> {
    if file == Path::new("-") {
        return Ok(Box::new(std::io::stdin().lock()));
    }
    let opened = std::fs::File::open(file).map_err(|source| unreadable(file, source))?;
    Ok(Box::new(std::io::BufReader::new(opened)))
}

fn unreadable(file: &Path, source: std::io::Error) -> CliError {
    CliError::File { what: format!("{} can not be read", file.display()), source }
}

fn answer(text: &str, args: &PlanArgs) -> Result<Answer, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read: Result<Document, _> = serde_path_to_error::deserialize(&mut deserializer);
    let mut document = read.map_err(|error| match error.path().to_string() {
        path if path == "." => error.into_inner().to_string(),
        path => format!("{path}: {}", error.into_inner()),
    })?;
    deserializer
        .end()
        .map_err(|error| serde_json::Error::custom(format!("after the document: {error}")).to_string())?;
    if let Some(policy) = args.policy {
        document.config.policy = policy;
    }
    plan(&document).map_err(|error| error.to_string())
}

fn lines(args: &PlanArgs, mut input: Box<dyn BufRead>, printer: &Printer) -> Result<(), CliError> {
    let (mut all, mut failed, mut number) = (0, 0, 0);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = input.read_until(b'\n', &mut line);
        if read.map_err(|source| CliError::File { what: "the documents can not be read".to_owned(), source })? == 0 {
            break;
        }
        number += 1;
        if line.trim_ascii().is_empty() {
            continue;
        }
        all += 1;
        let text = std::str::from_utf8(&line).map_err(|error| format!("it is not UTF-8: {error}"));
        let told = match text.and_then(|text| answer(text, args)) {
            Ok(answer) => serde_json::to_string(&answer),
            Err(error) => {
                failed += 1;
                serde_json::to_string(&Wrong { line: number, error })
            }
        };
        printer.line(told.map_err(|error| CliError::Usage(error.to_string()))?)?;
    }
    if failed > 0 { Err(CliError::Some { failed, all }) } else { Ok(()) }
}

fn show(answer: &Answer, printer: &Printer) -> Result<(), CliError> {
    let upstream = answer.tasks.iter().any(|task| task.assign_result.is_some());
    let mut head = vec!["TASK", "ACTION", "WHY"];
    if upstream {
        head.extend(["ASSIGN RESULT", "COUNTS AS"]);
    }
    let mut table = Table::new(&head);
    for task in &answer.tasks {
        let (word, tone) = match task.action {
            Action::Start => ("start", Tone::Good),
            Action::StartLater => ("start once others have left", Tone::Good),
            Action::Suspend => ("suspend", Tone::Bad),
            Action::Stop => ("stop", Tone::Bad),
            Action::Keep => ("keep", Tone::Plain),
            Action::Wait => ("wait", Tone::Waiting),
        };
        let sentence = clean(task.sentence.as_deref().unwrap_or_default());
        let mut row = vec![(task.task.to_string(), Tone::Strong), (word.to_owned(), tone), (sentence, Tone::Plain)];
        if upstream {
            let json = |value: Option<serde_json::Value>| value.and_then(|value| value.as_str().map(str::to_owned));
            let result = json(task.assign_result.and_then(|result| serde_json::to_value(result).ok()));
            row.push((result.unwrap_or_default(), Tone::Plain));
            row.push((task.effective_priority.map(|level| level.to_string()).unwrap_or_default(), Tone::Plain));
        }
        table.row(row);
    }
    table.print(printer)
}
