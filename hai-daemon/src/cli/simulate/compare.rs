//! Lays two studies side by side.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde::Serialize;

use super::tables::{Better, SHOWN, interval};
use super::{SimulateArgs, Study, write};
use crate::cli::error::CliError;
use crate::cli::output::{Printer, Table, Tone};

/// A figure in both.
#[derive(Serialize)]
struct Pair {
    policy: String,
    figure: &'static str,
    unit: &'static str,
    a: f64,
    b: f64,
    difference: f64,
    /// Half the width of its 95 % confidence interval, where there are several seeds.
    half_width: Option<f64>,
}

fn read(path: &Path) -> Result<Study, CliError> {
    let file = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|source| CliError::File { what: file.clone(), source })?;
    let study: Study = serde_json::from_str(&text).map_err(|error| CliError::BadFile {
        file: file.clone(),
        problem: format!("it is not what `hai simulate --json` prints: {error}"),
    })?;
    if study.hai_study != 1 {
        let problem = format!("its layout is {}, and only 1 is known", study.hai_study);
        return Err(CliError::BadFile { file, problem });
    }
    for run in &study.runs {
        let gantt = &run.outcome.gantt;
        if gantt.bars.iter().any(|bar| bar.node >= gantt.nodes.len()) {
            let problem = format!("a bar of {}, seed {}, is on a node that is not there", run.policy, run.seed);
            return Err(CliError::BadFile { file, problem });
        }
    }
    Ok(study)
}

/// `hai simulate --compare A B`
pub(super) fn run(files: &[PathBuf], args: &SimulateArgs, printer: &Printer) -> Result<ExitCode, CliError> {
    let [a, b] = files else { return Err(CliError::Usage("--compare takes two files".into())) };
    let (one, other) = (read(a)?, read(b)?);
    write::compared(args, &one, &other)?;
    // The same policy in both, or the only one of each.
    let mut pairs: Vec<(&str, &str)> =
        one.policies().into_iter().filter(|name| other.policies().contains(name)).map(|name| (name, name)).collect();
    if pairs.is_empty() {
        pairs.extend(one.policies().first().copied().zip(other.policies().first().copied()));
    }
    let shown = |name: &&str| !pairs.iter().any(|(first, second)| first == name || second == name);
    let left_out: Vec<&str> = one.policies().into_iter().chain(other.policies()).filter(shown).collect();
    if !left_out.is_empty() {
        printer.warn(format!("only one of the two has {}; that is left out", left_out.join(", ")));
    }
    if one.asked != other.asked {
        let words = |asked: &[String]| if asked.is_empty() { "nothing more".to_owned() } else { asked.join(" ") };
        printer.warn(format!("they were asked differently: A {}, B {}", words(&one.asked), words(&other.asked)));
    }
    let mut told = Vec::new();
    for (policy, opposite) in pairs {
        let title = if policy == opposite { policy.to_owned() } else { format!("{policy} and {opposite}") };
        let mut table = Table::new(&["FIGURE", "UNIT", "A", "B", "B - A", "%"]);
        for shown in &SHOWN {
            let (first, second) = (one.interval(policy, shown.of), other.interval(opposite, shown.of));
            if first.mean.is_nan() && second.mean.is_nan() {
                continue;
            }
            let between = one.difference(policy, &other, opposite, shown.of);
            let difference = between.mean;
            // Within the interval it may as well be none.
            let sure = between.half_width.is_none_or(|half| difference.abs() > half);
            let percent = if first.mean == 0.0 || !difference.is_finite() {
                String::new()
            } else {
                format!("{:+.1}", 100.0 * difference / first.mean)
            };
            let tone = match shown.better {
                _ if !sure => Tone::Plain,
                Some(Better::Less) if difference < 0.0 => Tone::Good,
                Some(Better::More) if difference > 0.0 => Tone::Good,
                Some(_) if difference != 0.0 && !difference.is_nan() => Tone::Bad,
                _ => Tone::Plain,
            };
            let cells = [
                (shown.name.to_owned(), Tone::Strong),
                (shown.unit.to_owned(), Tone::Dim),
                (interval(first), Tone::Plain),
                (interval(second), Tone::Plain),
                (interval(between), tone),
                (percent, tone),
            ];
            table.row(cells);
            told.push(Pair {
                policy: title.clone(),
                figure: shown.name,
                unit: shown.unit,
                a: first.mean,
                b: second.mean,
                difference,
                half_width: between.half_width,
            });
        }
        if !printer.json {
            printer.line(format!("{title}: A is {}, B is {}", a.display(), b.display()))?;
            table.print(printer)?;
            printer.line("")?;
        }
    }
    if printer.json {
        let text = serde_json::to_string_pretty(&told).map_err(|error| CliError::Usage(error.to_string()))?;
        printer.line(text)?;
    }
    Ok(ExitCode::SUCCESS)
}
