//! `hai reproduce`: plays published experiments of others, and tells ours beside theirs. Needs no daemon.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueHint};
use flate2::read::MultiGzDecoder;
use hai_core::published::{Choice, Curve, Experiment, ExperimentError, Figure, Files, Knob, Measure, Outcome};
use serde::Serialize;

use super::error::CliError;
use super::output::{Printer, Table, Tone};

/// What a gzip file begins with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Which experiment, and what is otherwise.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    hai reproduce list                                   what there is\n  \
    hai reproduce openb-fgd --traces ../shared/traces    ours beside theirs, figure by figure\n  \
    hai reproduce all\n  \
    hai reproduce openb-fgd --variant gpuspec33 --seed 47 --policy fgd --json   … with the whole curves\n\n\
    Traces are not a part of hai; a file may also lie there compressed (FILE.gz). Where nothing was published for what is \
    chosen, ours is told alone.\n\n\
    Exit status: 0 all figures are met; 1 one is not, or a file can not be read; 2 wrong usage.")]
pub struct ReproduceArgs {
    /// The experiment, `all`, or `list`
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The folder of traces
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath, default_value = "../shared/traces", env = "HAI_TRACES")]
    pub traces: PathBuf,
    /// Another workload of the same authors, by their name for it
    #[arg(long, value_name = "NAME")]
    pub variant: Option<String>,
    /// Start the draws from this seed; may be given several times, or several with commas
    #[arg(long = "seed", value_name = "SEED", value_delimiter = ',', allow_negative_numbers = true)]
    pub seeds: Vec<i64>,
    /// Only this policy, by its name in the experiment; may be given several times, or several with commas
    #[arg(long = "policy", value_name = "POLICY", value_delimiter = ',')]
    pub policies: Vec<String>,
    /// How much work arrives, relative to the cluster
    #[arg(long, value_name = "RATIO")]
    pub tune: Option<f64>,
}

/// An experiment, for programs that ask what there is.
#[derive(Serialize)]
struct Listed {
    name: &'static str,
    about: &'static str,
    paper: &'static str,
    files: &'static [&'static str],
    flags: Vec<&'static str>,
}

/// What came out of one experiment, for programs.
#[derive(Serialize)]
struct Told<'a> {
    name: &'a str,
    met: bool,
    figures: Vec<Compared<'a>>,
    measures: &'a [Measure],
    curves: &'a [Curve],
}

/// A figure with what follows from it.
#[derive(Serialize)]
struct Compared<'a> {
    #[serde(flatten)]
    figure: &'a Figure,
    difference: f64,
    met: bool,
}

/// Files in a folder, compressed or not.
struct Folder<'a>(&'a Path);

impl Files for Folder<'_> {
    fn open(&mut self, path: &str) -> io::Result<Box<dyn Read>> {
        let plain = self.0.join(path);
        let mut file = File::open(&plain).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => File::open(self.0.join(format!("{path}.gz"))).map_err(|_| error),
            _ => Err(error),
        })?;
        let mut start = Vec::new();
        (&mut file).take(GZIP.len() as u64).read_to_end(&mut start)?;
        file.seek(SeekFrom::Start(0))?;
        let file = BufReader::with_capacity(1 << 16, file);
        Ok(if start == GZIP { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) })
    }
}

/// `hai reproduce`
///
/// # Errors
/// [`CliError`] if there is no such experiment or a file can not be used; a figure that is not met is no error, but the exit
/// status 1.
pub(super) fn run(args: &ReproduceArgs, printer: &Printer) -> Result<ExitCode, CliError> {
    let choice = Choice {
        variant: args.variant.clone(),
        seeds: args.seeds.clone(),
        policies: args.policies.clone(),
        tune: args.tune,
    };
    if args.name == "list" {
        list(printer)?;
        return Ok(ExitCode::SUCCESS);
    }
    let experiments: Vec<&Experiment> = match args.name.as_str() {
        "all" if choice != Choice::default() => {
            return Err(CliError::Usage(
                "all experiments are played as they were published; name one to change it".into(),
            ));
        }
        "all" => Experiment::all().iter().collect(),
        name => vec![Experiment::find(name).ok_or_else(|| {
            let names: Vec<&str> = Experiment::all().iter().map(|experiment| experiment.name).collect();
            CliError::Usage(format!("there is no experiment {name}; there are {}, and `all`", names.join(", ")))
        })?],
    };
    let (mut told, mut all_played) = (Vec::new(), true);
    let alone = experiments.len() == 1;
    for experiment in experiments {
        printer.remark(format!("{}: {}", experiment.name, experiment.paper));
        let outcome = match experiment.play(&mut Folder(&args.traces), &choice) {
            Ok(outcome) => outcome,
            Err(error) if alone => return Err(said(error, &args.traces)),
            // One that can not be played keeps no other from it.
            Err(error) => {
                super::complain(&said(error, &args.traces));
                all_played = false;
                continue;
            }
        };
        if !printer.json {
            if !alone {
                printer.line(printer.toned(&format!("\n{}: {}", experiment.name, experiment.about), Tone::Strong))?;
            }
            show(experiment, &outcome, printer)?;
        }
        told.push((experiment.name, outcome));
    }
    let met = all_played && told.iter().all(|(_, outcome)| outcome.is_met());
    if printer.json {
        let told: Vec<Told<'_>> = told.iter().map(|(name, outcome)| tell(name, outcome)).collect();
        json(&told, printer)?;
    }
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn said(error: ExperimentError, traces: &Path) -> CliError {
    match error {
        ExperimentError::File { file, source } => CliError::File {
            what: format!(
                "{} can not be opened (name the folder of traces with --traces)",
                traces.join(file).display()
            ),
            source,
        },
        ExperimentError::Trace { file, error } => {
            CliError::BadFile { file: traces.join(file).display().to_string(), problem: error.to_string() }
        }
        error => CliError::Usage(error.to_string()),
    }
}

fn list(printer: &Printer) -> Result<(), CliError> {
    if printer.json {
        let listed: Vec<Listed> = Experiment::all()
            .iter()
            .map(|experiment| Listed {
                name: experiment.name,
                about: experiment.about,
                paper: experiment.paper,
                files: experiment.files,
                flags: experiment.heeds.iter().copied().map(flag).collect(),
            })
            .collect();
        return json(&listed, printer);
    }
    let mut table = Table::new(&["NAME", "WHAT", "PAPER", "FILES", "FLAGS"]);
    for experiment in Experiment::all() {
        let flags: Vec<&str> = experiment.heeds.iter().copied().map(flag).collect();
        table.row([
            (experiment.name.to_owned(), Tone::Strong),
            (experiment.about.to_owned(), Tone::Plain),
            (experiment.paper.to_owned(), Tone::Dim),
            (experiment.files.join(", "), Tone::Dim),
            (flags.join(" "), Tone::Plain),
        ]);
    }
    table.print(printer)
}

fn flag(knob: Knob) -> &'static str {
    match knob {
        Knob::Variant => "--variant",
        Knob::Seeds => "--seed",
        Knob::Policies => "--policy",
        Knob::Tune => "--tune",
    }
}

fn show(experiment: &Experiment, outcome: &Outcome, printer: &Printer) -> Result<(), CliError> {
    let with_unit = |value: String, unit: &str| if unit.is_empty() { value } else { format!("{value} {unit}") };
    if !outcome.figures.is_empty() {
        let mut table = Table::new(&["FIGURE", "OURS", "THEIRS", "DIFFERENCE", ""]);
        for figure in &outcome.figures {
            let shown = |value: f64| with_unit(format!("{value:.*}", usize::from(figure.digits)), &figure.unit);
            let (mut verdict, tone) =
                if figure.is_met() { ("met".to_owned(), Tone::Good) } else { ("not met".to_owned(), Tone::Bad) };
            if figure.tolerance > 0.0 {
                verdict += &format!(", {} allowed", with_unit(figure.tolerance.to_string(), &figure.unit));
            }
            table.row([
                (figure.name.clone(), Tone::Plain),
                (shown(figure.ours), Tone::Plain),
                (shown(figure.theirs), Tone::Plain),
                (difference(figure), if figure.is_met() { Tone::Dim } else { Tone::Bad }),
                (verdict, tone),
            ]);
        }
        table.print(printer)?;
    }
    if !outcome.measures.is_empty() {
        let mut table = Table::new(&["FIGURE", "OURS"]);
        for measure in &outcome.measures {
            let value = with_unit(format!("{:.*}", usize::from(measure.digits), measure.value), &measure.unit);
            table.row([(measure.name.clone(), Tone::Plain), (value, Tone::Plain)]);
        }
        table.print(printer)?;
    }
    let met = outcome.figures.iter().filter(|figure| figure.is_met()).count();
    printer.remark(format!("{}: {met} of {} published figures met", experiment.name, outcome.figures.len()));
    Ok(())
}

/// Ours less theirs, without a sign where the printed digits are the same.
fn difference(figure: &Figure) -> String {
    let digits = usize::from(figure.digits);
    let text = format!("{:+.digits$}", figure.difference());
    if text.bytes().all(|byte| b"+-0.".contains(&byte)) { text[1..].to_owned() } else { text }
}

fn tell<'a>(name: &'a str, outcome: &'a Outcome) -> Told<'a> {
    let figures = outcome.figures.iter();
    let compared =
        figures.map(|figure| Compared { figure, difference: figure.difference(), met: figure.is_met() }).collect();
    let (measures, curves) = (&outcome.measures[..], &outcome.curves[..]);
    Told { name, met: outcome.is_met(), figures: compared, measures, curves }
}

fn json(value: &impl Serialize, printer: &Printer) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CliError::Usage(error.to_string()))?;
    printer.line(text)
}
