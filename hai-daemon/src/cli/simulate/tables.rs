//! Prints a study as tables.

use std::ops::Range;

use hai_core::sim::study::{Calibrated, Figures, Interval, Stats};

use super::Study;
use crate::cli::error::CliError;
use crate::cli::output::{Printer, Table, Tone};

/// A figure that is shown.
pub(crate) struct Shown {
    /// Its name, in words.
    pub(crate) name: &'static str,
    /// Its heading in a table.
    pub(crate) head: &'static str,
    /// Its unit, empty for a ratio or a count.
    pub(crate) unit: &'static str,
    /// Where it stands.
    pub(crate) of: fn(&Figures) -> f64,
    /// Less is better, more is better, or neither.
    pub(crate) better: Option<Better>,
}

/// Which way is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Better {
    /// Less is.
    Less,
    /// More is.
    More,
}

const LESS: Option<Better> = Some(Better::Less);
const MORE: Option<Better> = Some(Better::More);

#[expect(clippy::cast_precision_loss, reason = "no simulation has 2^52 tasks")]
const fn count(number: u64) -> f64 {
    number as f64
}

/// A figure of some tasks; not a number where there is none.
fn of_some(stats: &Stats, value: f64) -> f64 {
    if stats.count == 0 { f64::NAN } else { value }
}

/// How good forecasts were; not a number where nobody was asked for.
fn held(figures: &Figures, of: fn(&Calibrated) -> f64) -> f64 {
    figures.forecasts.as_ref().filter(|forecasts| forecasts.started > 0).map_or(f64::NAN, of)
}

/// All figures that tables and the page show.
#[rustfmt::skip]
pub(crate) const SHOWN: [Shown; 23] = [
    Shown { name: "tasks", head: "TASKS", unit: "", of: |f| count(f.tasks), better: None },
    Shown { name: "unfinished", head: "LEFT", unit: "", of: |f| count(f.unfinished), better: LESS },
    Shown { name: "completion, mean", head: "JCT", unit: "s", of: |f| of_some(&f.jct, f.jct.mean), better: LESS },
    Shown { name: "completion, median", head: "P50", unit: "s", of: |f| of_some(&f.jct, f.jct.p50), better: LESS },
    Shown { name: "completion, p90", head: "P90", unit: "s", of: |f| of_some(&f.jct, f.jct.p90), better: LESS },
    Shown { name: "completion, p99", head: "P99", unit: "s", of: |f| of_some(&f.jct, f.jct.p99), better: LESS },
    Shown { name: "waiting, mean", head: "WAIT", unit: "s", of: |f| of_some(&f.waiting, f.waiting.mean), better: LESS },
    Shown { name: "waiting, p90", head: "P90", unit: "s", of: |f| of_some(&f.waiting, f.waiting.p90), better: LESS },
    Shown { name: "waiting, p99", head: "P99", unit: "s", of: |f| of_some(&f.waiting, f.waiting.p99), better: LESS },
    Shown { name: "bounded slowdown, mean", head: "SLOWDOWN", unit: "", of: |f| of_some(&f.slowdown, f.slowdown.mean), better: LESS },
    Shown { name: "bounded slowdown, p99", head: "P99", unit: "", of: |f| of_some(&f.slowdown, f.slowdown.p99), better: LESS },
    Shown { name: "makespan", head: "MAKESPAN", unit: "s", of: |f| of_some(&f.jct, f.makespan_s), better: LESS },
    Shown { name: "allocation", head: "ALLOCATED", unit: "%", of: |f| f.allocation, better: MORE },
    Shown { name: "occupancy", head: "OCCUPIED", unit: "%", of: |f| f.occupancy, better: MORE },
    Shown { name: "fragmentation", head: "FRAGMENTED", unit: "%", of: |f| f.fragmentation.unwrap_or(f64::NAN), better: LESS },
    Shown { name: "allocation while tasks wait", head: "WHILE WAITING", unit: "%", of: |f| f.allocation_while_waiting, better: MORE },
    Shown { name: "suspensions", head: "SUSPENDED", unit: "", of: |f| count(f.suspensions), better: LESS },
    Shown { name: "work lost", head: "LOST", unit: "device-hours", of: |f| f.lost_device_hours, better: LESS },
    Shown { name: "loading", head: "LOADING", unit: "device-hours", of: |f| f.loading_device_hours, better: LESS },
    Shown { name: "Jain's index of got by due", head: "JAIN", unit: "", of: |f| of_some(&f.jct, f.jain), better: MORE },
    Shown { name: "finish-time fairness, mean", head: "FTF", unit: "", of: |f| of_some(&f.finish_time_fairness, f.finish_time_fairness.mean), better: LESS },
    Shown { name: "starts by the forecast p50", head: "BY P50", unit: "%", of: |f| held(f, |forecasts| forecasts.p50_held), better: None },
    Shown { name: "starts by the forecast p90", head: "BY P90", unit: "%", of: |f| held(f, |forecasts| forecasts.p90_held), better: None },
];

/// Those that fit into a line of a terminal.
const IN_LINE: [&str; 10] = [
    "tasks",
    "unfinished",
    "completion, mean",
    "completion, p99",
    "waiting, mean",
    "bounded slowdown, mean",
    "occupancy",
    "suspensions",
    "work lost",
    "Jain's index of got by due",
];

/// A number as people read it: four digits that count, never in powers of ten.
pub(crate) fn number(value: f64) -> String {
    if value.is_nan() {
        return "–".to_owned();
    }
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e15 || size >= 1000.0 {
        format!("{value:.0}")
    } else if size >= 100.0 {
        format!("{value:.1}")
    } else if size >= 0.1 {
        format!("{value:.2}")
    } else {
        format!("{value:.4}")
    }
}

fn counted(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// A mean with its confidence interval, where there is one.
pub(crate) fn interval(interval: Interval) -> String {
    match interval.half_width {
        Some(half) if half > 0.0 => format!("{} ± {}", number(interval.mean), number(half)),
        _ => number(interval.mean),
    }
}

/// Which columns stand together so that none is wider than the terminal, each part behind a first column.
fn parts(first: usize, widths: &[usize], terminal: usize) -> Vec<Range<usize>> {
    // A column has a blank on either side.
    let mut parts: Vec<Range<usize>> = Vec::new();
    let mut used = 0;
    for (at, width) in widths.iter().enumerate() {
        used += width + 2;
        match parts.last_mut().filter(|_| first + 2 + used <= terminal) {
            Some(part) => part.end = at + 1,
            None => {
                parts.push(at..at + 1);
                used = width + 2;
            }
        }
    }
    parts
}

/// A line for each policy; where that is wider than the terminal, a line for each figure and the policies side by side, as
/// many as fit.
/// Also says whether it is turned: then each figure has its unit beside it.
fn tables(study: &Study, shown: &[&'static Shown], terminal: Option<usize>) -> (Vec<Table>, bool) {
    let policies = study.policies();
    let cell = |policy: &str, shown: &Shown| interval(study.interval(policy, shown.of));
    let width = |text: &str| text.chars().count();
    let widest = |texts: &mut dyn Iterator<Item = String>| texts.map(|text| width(&text)).max().unwrap_or(0);
    let column = |shown: &&'static Shown| {
        widest(&mut policies.iter().map(|policy| cell(policy, shown))).max(width(shown.head)) + 2
    };
    let names = widest(&mut policies.iter().map(ToString::to_string)).max("POLICY".len());
    let whole: usize = names + 2 + shown.iter().map(column).sum::<usize>();
    let Some(terminal) = terminal.filter(|terminal| whole > *terminal) else {
        let mut head = vec!["POLICY".to_owned()];
        head.extend(shown.iter().map(|shown| shown.head.to_owned()));
        let mut table = Table::named(head);
        for policy in policies {
            let figures = shown.iter().map(|shown| (cell(policy, shown), Tone::Plain));
            table.row(std::iter::once((policy.to_owned(), Tone::Strong)).chain(figures));
        }
        return (vec![table], false);
    };
    let named = |shown: &Shown| {
        if shown.unit.is_empty() { shown.name.to_owned() } else { format!("{}, {}", shown.name, shown.unit) }
    };
    let first = widest(&mut shown.iter().map(|shown| named(shown)));
    let widths: Vec<usize> = policies
        .iter()
        .map(|policy| widest(&mut shown.iter().map(|shown| cell(policy, shown))).max(width(policy)))
        .collect();
    let part = |range: Range<usize>| {
        let (policies, widths) = (&policies[range.clone()], &widths[range]);
        let mut head = vec!["FIGURE".to_owned()];
        head.extend(policies.iter().map(ToString::to_string));
        let mut table = Table::named(head);
        for shown in shown {
            // Figures of several kinds stand in one column, so they are brought to one width here.
            let figures = policies.iter().zip(widths).map(|(policy, width)| {
                let text = cell(policy, shown);
                (format!("{text:>width$}", width = *width), Tone::Plain)
            });
            table.row(std::iter::once((named(shown), Tone::Strong)).chain(figures));
        }
        table
    };
    (parts(first, &widths, terminal).into_iter().map(part).collect(), true)
}

/// Prints the tables.
pub(super) fn print(study: &Study, printer: &Printer) -> Result<(), CliError> {
    let shown: Vec<&Shown> = IN_LINE.iter().filter_map(|name| SHOWN.iter().find(|shown| shown.name == *name)).collect();
    let (tables, turned) = tables(study, &shown, printer.width());
    for (at, table) in tables.into_iter().enumerate() {
        if at > 0 {
            printer.line("")?;
        }
        table.print(printer)?;
    }
    let seeds = study.policies().first().map_or(0, |policy| study.of(policy).count());
    let mean = if seeds > 1 { format!("; means over {seeds} seeds ± 95 %") } else { String::new() };
    let units = if turned { "" } else { "; JCT and WAIT in s on average, OCCUPIED in %, LOST in device-hours" };
    printer.line(format!("\n{} on {}{units}{mean}", counted(study.devices, "device"), counted(study.nodes, "node")))?;
    for policy in study.policies() {
        let told: Vec<&Calibrated> =
            study.of(policy).filter_map(|run| run.outcome.figures.forecasts.as_ref()).collect();
        let sum = |of: fn(&Calibrated) -> u64| told.iter().map(|forecasts| of(forecasts)).sum::<u64>();
        if !told.is_empty() {
            let part = |of| interval(study.interval(policy, |figures| held(figures, of)));
            printer.line(format!(
                "{policy}: of {} tasks that had to wait it was asked when they would start; {} did start, {} % by the p50 \
                 that was told and {} % by the p90",
                sum(|forecasts| forecasts.asked),
                sum(|forecasts| forecasts.started),
                part(|forecasts| forecasts.p50_held),
                part(|forecasts| forecasts.p90_held),
            ))?;
        }
    }
    if study.bad_lines > 0 {
        printer.line(format!("{} bad lines of the trace were left out", study.bad_lines))?;
    }
    let refused = study.runs.iter().map(|run| run.outcome.figures.refused).max().unwrap_or(0);
    if refused > 0 {
        printer.line(format!("{refused} tasks were refused by the engine as impossible"))?;
    }
    let never = study.runs.iter().map(|run| run.outcome.figures.never_started).max().unwrap_or(0);
    if never > 0 && !study.broken_off {
        printer.line(format!(
            "{}{never} tasks never started; what is larger than its group or than its owner's right never can",
            if study.runs.len() > 1 { "up to " } else { "" }
        ))?;
    }
    if study.broken_off {
        printer.line("broken off: this is what came out until then, and not all policies and seeds may be in it")?;
    } else if study.runs.iter().any(|run| run.outcome.figures.partial) {
        printer.line("ended by --end-after: tasks that were not over then are counted as left")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::simulate::Run;

    #[test]
    fn columns_are_parted_where_the_terminal_ends() {
        assert_eq!(parts(10, &[5, 5, 5], 100).first(), Some(&(0..3)));
        // 12 + 7 + 7 is as wide as it is.
        assert_eq!(parts(10, &[5, 5, 5], 26), [0..2, 2..3]);
        assert_eq!(parts(10, &[5, 5, 5], 25), [0..1, 1..2, 2..3]);
        // What is too wide alone stands alone.
        assert_eq!(parts(10, &[90, 5, 5], 26), [0..1, 1..3]);
        assert!(parts(10, &[], 26).is_empty());
    }

    #[test]
    fn a_wide_table_is_turned_on_a_narrow_terminal() {
        let run = |policy: &str| Run { policy: policy.to_owned(), seed: 1, outcome: Default::default() };
        let names = ["hai+las+young+no-reserve", "hai+srtf+young+oracle+no-reserve", "tiresias"];
        let study = Study { runs: names.map(run).to_vec(), ..Study::default() };
        let shown: Vec<&Shown> = SHOWN.iter().collect();
        let wide = tables(&study, &shown, None).0;
        assert_eq!((wide.len(), wide[0].width()), (1, 24));
        let narrow = tables(&study, &shown, Some(80)).0;
        let columns: Vec<usize> = narrow.iter().map(Table::width).collect();
        assert_eq!(columns, [2, 3]);
        assert_eq!(tables(&study, &shown[..1], Some(80)).0.len(), 1);
    }
}
