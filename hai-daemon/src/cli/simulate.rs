//! `hai simulate`: plays a trace on a cluster under several policies and seeds. Needs no daemon.

mod compare;
pub(crate) mod given;
mod inputs;
mod live;
mod stop;
mod study;
pub(crate) mod tables;
mod write;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueHint};
use hai_core::model::Span;
use hai_core::sim::study::{PEER_WORDS, PEERS, WORDS};
use hai_core::trace::Format;

pub use study::{Run, Study};

use super::client::Client;
use super::error::CliError;
use super::output::{Printer, Table, Tone};

/// The shipped example.
const EXAMPLE: [(&str, &str); 2] = [
    ("cluster.toml", include_str!("../../../examples/simulate/cluster.toml")),
    ("trace.csv", include_str!("../../../examples/simulate/trace.csv")),
];

/// What to play, and what to write.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    hai simulate --example demo          writes demo/cluster.toml and demo/trace.csv; then\n  \
    hai simulate --cluster demo/cluster.toml --trace demo/trace.csv --policy hai,hai+las,hai-fifo --report demo.html\n  \
    hai simulate --cluster helios:vc_config.csv --trace philly_jobs.csv.gz --warm-up 3d --csv out\n  \
    hai simulate --cluster demo/cluster.toml --synthetic 5000 --seeds 10 --load 1.5\n  \
    hai simulate --cluster daemon --size 2 --synthetic 5000             if there were twice as many nodes\n  \
    hai log export > hai.log && hai simulate --trace hai.log --policy log,hai+borrow\n  \
    hai simulate … --json > a.json; hai simulate … --json > b.json; hai simulate --compare a.json b.json\n\n\
    Policies: hai or hai-fifo, each with more words after a + (--words says what they mean): fifo, fair, las, \
    sjf, srtf, edf; aging, borrow, churn, rigid, short, young, learned, oracle, no-reserve; first-fit, best-fit, \
    worst-fit, random, dot-product, packing, clustering, fgd, cutting-stock. Or the TOML file of a daemon; or `log`, as an event log was decided. \
    Or a published scheduler by its own rules: fifo, sjf, qssf, srtf, srtf-helios, tiresias; tiresias-l, srtf-muri, srsf; fcfs, \
    easy, easy-sjbf, conservative, batsim-easy, batsim-conservative, each with words of its own (--words).\n\n\
    A trace is hai's own task file (CSV: submit,duration,devices and, if you like, id, user, group, priority, workers, \
    share, models, expected, checkpoint_every, …; or the same as JSON lines), hai's event log, or a public format; plain \
    or gzip. Every mistake is told with its line and column.\n\n\
    Exit status: 0 done; 1 a file can not be used, or it was broken off; 2 wrong usage.")]
pub struct SimulateArgs {
    /// The cluster: a TOML or JSON file, openb:FILE (a node list), helios:FILE (a vc_config), or `daemon` for the nodes and
    /// rights of the daemon that --server, --data or `hai init` names
    #[arg(long, value_name = "FILE")]
    pub cluster: Option<String>,
    /// Who asks for what when, and how long it truly runs
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub trace: Option<PathBuf>,
    /// The trace's format, if it can not be found out
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Leave out lines that can not be read, and count them
    #[arg(long)]
    pub skip_bad_lines: bool,
    /// Make up so many tasks by lot, after the pattern of the trace, or without one of a laboratory
    #[arg(long, value_name = "TASKS")]
    pub synthetic: Option<usize>,
    /// What decides; several with commas, or the flag several times
    #[arg(long, value_name = "POLICY", value_delimiter = ',', default_value = "hai")]
    pub policy: Vec<String>,
    /// Say what the words of a policy mean, and play nothing
    #[arg(long)]
    pub words: bool,
    /// How many seeds are played: for faults, made-up work, --jitter and random places
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    pub seeds: u64,
    /// The first seed
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub seed: u64,
    /// Play, but do not count, what is submitted in this time after the first task
    #[arg(long, value_name = "SPAN", default_value = "0s")]
    pub warm_up: Span,
    /// Only tasks submitted from then on, counted from the first one
    #[arg(long, value_name = "SPAN", default_value = "0s")]
    pub from: Span,
    /// Only tasks submitted before then
    #[arg(long, value_name = "SPAN")]
    pub until: Option<Span>,
    /// End the simulation after this time, whoever still waits
    #[arg(long, value_name = "SPAN")]
    pub end_after: Option<Span>,
    /// So many times as many submissions in the same time
    #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = factor)]
    pub load: u32,
    /// So many times as many nodes
    #[arg(long, value_name = "FACTOR", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub size: u32,
    /// Put every submission off by a random time below this
    #[arg(long, value_name = "SPAN")]
    pub jitter: Option<Span>,
    /// Put all nodes and all tasks into one group
    #[arg(long)]
    pub one_group: bool,
    /// As if every task were of a user of its own: for traces that do not say whose a task is, since nobody's own work makes
    /// room for the same user's
    #[arg(long)]
    pub strangers: bool,
    /// Ask for so many of the tasks that have to wait when they will start, and tell how often that held. Takes time; peers
    /// are not asked
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub forecasts: Option<u32>,
    /// As if everybody had said truly how long the work runs (for sjf and srtf)
    #[arg(long)]
    pub oracle: bool,
    /// On so many threads; else one for each processor. The result is the same on any number
    #[arg(long, value_name = "COUNT")]
    pub threads: Option<usize>,
    /// Write tasks.csv, users.csv, series.csv and summary.csv into this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub csv: Option<PathBuf>,
    /// Write a page to look at, which needs no network
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub report: Option<PathBuf>,
    /// Write the charts as SVG files into this directory
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub svg: Option<PathBuf>,
    /// Lay two results (of --json) side by side instead
    #[arg(long, value_names = ["A.json", "B.json"], num_args = 2, conflicts_with_all = ["cluster", "trace", "synthetic", "csv"])]
    pub compare: Option<Vec<PathBuf>>,
    /// Write an example of a cluster and a trace into this directory instead
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, conflicts_with_all = ["cluster", "trace", "synthetic", "compare"])]
    pub example: Option<PathBuf>,
}

/// A factor with at most three digits behind the point, in thousandths.
fn factor(text: &str) -> Result<u32, String> {
    let wrong = || format!("`{text}` is no factor from 0.001 to 1000 with at most three digits behind the point");
    let (whole, part) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || part.len() > 3 || !digits(whole) || !digits(part) {
        return Err(wrong());
    }
    let milli = format!("{whole}{part:0<3}").parse::<u32>().map_err(|_| wrong())?;
    if (1..=1_000_000).contains(&milli) { Ok(milli) } else { Err(wrong()) }
}

/// `hai simulate`
///
/// # Errors
/// [`CliError`] if something can not be read, played or written; `client` is asked only for a daemon's cluster. Being broken off is no error, but the exit status 1.
pub(super) fn run(
    args: &SimulateArgs,
    client: &dyn Fn() -> Result<Client, CliError>,
    printer: &Printer,
) -> Result<ExitCode, CliError> {
    if let Some(dir) = &args.example {
        return example(dir, printer);
    }
    if args.words {
        let words = |title: &str, words: &[(&str, &str)]| -> Result<(), CliError> {
            printer.line(title)?;
            let mut table = Table::new(&["WORD", "MEANING"]);
            for (word, meaning) in words {
                table.row([((*word).to_owned(), Tone::Strong), ((*meaning).to_owned(), Tone::Plain)]);
            }
            table.print(printer)
        };
        words("Behind hai or hai-fifo and a +:", &WORDS)?;
        words("\nPublished schedulers, by their own rules:", &PEERS)?;
        words("\nBehind one of those and a +:", &PEER_WORDS)?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(files) = &args.compare {
        return compare::run(files, args, printer);
    }
    write::check(args)?;
    let inputs = inputs::read(args, client, printer)?;
    let study = study::play(args, &inputs, printer)?;
    if printer.json {
        let text = serde_json::to_string_pretty(&study).map_err(|error| CliError::Usage(error.to_string()))?;
        printer.line(text)?;
    } else {
        tables::print(&study, printer)?;
    }
    // Last, so that a file that can not be written costs no more than itself.
    write::files(args, &inputs, &study)?;
    Ok(if study.broken_off { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn example(dir: &Path, printer: &Printer) -> Result<ExitCode, CliError> {
    fs::create_dir_all(dir).map_err(|source| CliError::File { what: dir.display().to_string(), source })?;
    for (name, text) in EXAMPLE {
        let path = dir.join(name);
        if fs::read_to_string(&path).is_ok_and(|there| there != text) {
            let path = path.display();
            return Err(CliError::Usage(format!("{path} is there and is not the example; name another directory")));
        }
        fs::write(&path, text).map_err(|source| CliError::File { what: path.display().to_string(), source })?;
    }
    let at = dir.display();
    printer.line(format!(
        "{at}/cluster.toml and {at}/trace.csv are there; now e.g.\n  hai simulate --cluster {at}/cluster.toml --trace \
         {at}/trace.csv --policy hai,hai+las,hai-fifo --report report.html"
    ))?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_exact() {
        for (text, milli) in [("1", 1000), ("1.5", 1500), ("0.25", 250), ("2.125", 2125), ("1000", 1_000_000)] {
            assert_eq!(factor(text), Ok(milli), "{text}");
        }
        for text in ["0", "", ".5", "-1", "1.2345", "1001", "x", "99999999999"] {
            assert!(factor(text).is_err(), "{text}");
        }
    }
}
