//! The page of a simulation: one HTML file that needs no network, with its charts as SVG inside.
//!
//! See [`page`] for the primary entry point. Names in a trace are anybody's: all text goes through `svg.rs`'s escaping or
//! the template's.

mod charts;
mod gantt;
mod svg;

use askama::Template;
use hai_core::sim::study::Interval;

use crate::cli::simulate::Study;
use crate::cli::simulate::tables::{Better, SHOWN, interval, number};
use charts::{Drawn, Part};
use gantt::GanttView;
use svg::Share;

/// Users in the tables.
const USERS_SHOWN: usize = 20;
/// Users in the charts of what was due and got.
const BARS_SHOWN: usize = 12;

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    studies: Vec<Asked<'a>>,
    seeds: usize,
    policies: Vec<String>,
    rows: Vec<SummaryRow>,
    sizes: Vec<SizeTable>,
    parts: Vec<Part>,
    users: Vec<UserTable>,
    gantts: Vec<GanttView>,
    chart_css: &'static str,
    broken_off: bool,
}

/// What was asked of one study.
struct Asked<'a> {
    label: &'a str,
    study: &'a Study,
    words: String,
}

/// A figure, by policy.
struct SummaryRow {
    name: &'static str,
    unit: &'static str,
    cells: Vec<Cell>,
}

struct Cell {
    text: String,
    best: bool,
}

/// Figures by size of the task.
struct SizeTable {
    policy: String,
    rows: Vec<[String; 8]>,
}

/// Users of a policy.
struct UserTable {
    policy: String,
    wide: String,
    narrow: String,
    rows: Vec<UserRow>,
    others: usize,
}

struct UserRow {
    user: String,
    group: String,
    tasks: u64,
    jct: String,
    waiting: String,
    got: String,
    due: String,
    ratio: String,
}

/// A policy of a study, under the name that it has on the page.
pub(crate) struct Column<'a> {
    pub(crate) name: String,
    pub(crate) study: &'a Study,
    pub(crate) policy: &'a str,
}

fn columns<'a>(studies: &[(String, &'a Study)]) -> Vec<Column<'a>> {
    let mut columns = Vec::new();
    for (label, study) in studies {
        for policy in study.policies() {
            let name = if label.is_empty() { policy.to_owned() } else { format!("{label}: {policy}") };
            columns.push(Column { name, study, policy });
        }
    }
    columns
}

/// The page of one study, or of several under their labels.
///
/// # Errors
/// The template fails, which it does not.
pub fn page(studies: &[(String, &Study)]) -> Result<String, askama::Error> {
    let columns = columns(studies);
    let seeds = columns.iter().map(|column| column.study.of(column.policy).count()).max().unwrap_or(0);
    let drawn: Vec<Drawn> = charts::all(&columns);
    let page = Page {
        title: title(studies),
        studies: studies.iter().map(|(label, study)| Asked { label, study, words: study.asked.join(" ") }).collect(),
        seeds,
        policies: columns.iter().map(|column| column.name.clone()).collect(),
        rows: summary(&columns),
        sizes: columns.iter().map(sizes).collect(),
        parts: charts::parts(drawn),
        users: columns.iter().map(users).collect(),
        gantts: columns.iter().filter_map(GanttView::of).collect(),
        chart_css: svg::STYLE,
        broken_off: studies.iter().any(|(_, study)| study.broken_off),
    };
    page.render()
}

/// The charts by name, each an SVG file of its own.
#[must_use]
pub fn charts(studies: &[(String, &Study)]) -> Vec<(String, String)> {
    charts::all(&columns(studies)).into_iter().map(|drawn| (drawn.name, svg::file(&drawn.wide))).collect()
}

/// A file without the folders that it lies in; a sentence as it is.
fn file_name(path: &str) -> &str {
    if path.contains(' ') { path } else { path.rsplit('/').next().unwrap_or(path) }
}

fn title(studies: &[(String, &Study)]) -> String {
    match studies {
        [(_, study)] => format!("{} on {}", file_name(&study.trace), file_name(&study.cluster)),
        _ => "Simulations side by side".to_owned(),
    }
}

/// Digits in groups of three, which narrow spaces part.
fn grouped(text: &str) -> String {
    let mut out = String::new();
    let mut digits = String::new();
    let mut behind_point = false;
    let flush = |digits: &mut String, out: &mut String, group: bool| {
        for (at, digit) in digits.chars().enumerate() {
            if group && at > 0 && digits.len() > 4 && (digits.len() - at).is_multiple_of(3) {
                out.push('\u{202f}');
            }
            out.push(digit);
        }
        digits.clear();
    };
    for c in text.chars() {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        flush(&mut digits, &mut out, !behind_point);
        behind_point = c == '.';
        out.push(c);
    }
    flush(&mut digits, &mut out, !behind_point);
    out
}

fn summary(columns: &[Column<'_>]) -> Vec<SummaryRow> {
    let row = |shown: &crate::cli::simulate::tables::Shown| {
        let intervals: Vec<Interval> =
            columns.iter().map(|column| column.study.interval(column.policy, shown.of)).collect();
        if intervals.iter().all(|interval| interval.mean.is_nan()) && shown.better.is_none() {
            return None;
        }
        let means = intervals.iter().map(|interval| interval.mean).filter(|mean| !mean.is_nan());
        let best = match shown.better {
            Some(Better::Less) => means.clone().min_by(f64::total_cmp),
            Some(Better::More) => means.clone().max_by(f64::total_cmp),
            None => None,
        };
        let best = best.and_then(|best| intervals.iter().find(|interval| interval.mean == best));
        let among: Vec<bool> =
            intervals.iter().map(|interval| best.is_some_and(|best| can_not_be_told_from(interval, best))).collect();
        // Where all are alike none is best.
        let alike = intervals.iter().zip(&among).all(|(interval, among)| *among || interval.mean.is_nan());
        let cell = |(of, among): (&Interval, &bool)| Cell { text: grouped(&interval(*of)), best: !alike && *among };
        Some(SummaryRow { name: shown.name, unit: shown.unit, cells: intervals.iter().zip(&among).map(cell).collect() })
    };
    SHOWN.iter().filter_map(row).collect()
}

/// Whether their confidence intervals meet.
fn can_not_be_told_from(one: &Interval, best: &Interval) -> bool {
    let room = one.half_width.unwrap_or(0.0) + best.half_width.unwrap_or(0.0);
    (one.mean - best.mean).abs() <= room
}

fn sizes(column: &Column<'_>) -> SizeTable {
    let first = column.study.of(column.policy).next();
    let rows = first.map_or(&[][..], |run| &run.outcome.figures.sizes).iter().map(|size| {
        [
            size.devices.clone(),
            size.jct.count.to_string(),
            grouped(&number(size.jct.mean)),
            grouped(&number(size.jct.p50)),
            grouped(&number(size.jct.p99)),
            grouped(&number(size.waiting.mean)),
            grouped(&number(size.waiting.p99)),
            grouped(&number(size.slowdown.mean)),
        ]
    });
    SizeTable { policy: column.name.clone(), rows: rows.collect() }
}

fn users(column: &Column<'_>) -> UserTable {
    let first = column.study.of(column.policy).next();
    let all = first.map_or(&[][..], |run| &run.outcome.users);
    let rows = all.iter().take(USERS_SHOWN).map(|user| UserRow {
        user: user.user.clone(),
        group: user.group.clone(),
        tasks: user.tasks,
        jct: grouped(&number(user.jct_mean)),
        waiting: grouped(&number(user.waiting_mean)),
        got: grouped(&number(user.got)),
        due: grouped(&number(user.due)),
        ratio: if user.due > 0.0 { number(user.got / user.due) } else { "–".to_owned() },
    });
    let shares: Vec<Share> = all
        .iter()
        .filter(|user| user.due > 0.0)
        .take(BARS_SHOWN)
        .map(|user| Share { name: user.user.clone(), got: user.got, due: user.due })
        .collect();
    let title = format!("What users got and were due, policy {}", column.name);
    let draw = |width| svg::shares(&title, "device-hours", &shares, width);
    UserTable {
        policy: column.name.clone(),
        wide: draw(760.0),
        narrow: draw(360.0),
        rows: rows.collect(),
        others: all.len().saturating_sub(USERS_SHOWN),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::simulate::Run;

    #[test]
    fn who_can_not_be_told_from_the_best_has_a_star_too() {
        let run = |policy: &str, seed: u64, wait: f64| {
            let mut run = Run { policy: policy.to_owned(), seed, outcome: Default::default() };
            run.outcome.figures.waiting.count = 1;
            run.outcome.figures.waiting.mean = wait;
            run
        };
        let stars = |waits: [(&str, [f64; 2]); 3]| -> Vec<bool> {
            let runs = waits.iter().flat_map(|(policy, [one, other])| [run(policy, 1, *one), run(policy, 2, *other)]);
            let study = Study { runs: runs.collect(), ..Study::default() };
            let rows = summary(&columns(&[(String::new(), &study)]));
            let row = rows.iter().find(|row| row.name == "waiting, mean").expect("a row");
            row.cells.iter().map(|cell| cell.best).collect()
        };
        // 100 ± 6, 103 ± 6, 150 ± 13.
        assert_eq!(stars([("a", [99.5, 100.5]), ("b", [102.5, 103.5]), ("c", [149.0, 151.0])]), [true, true, false]);
        assert_eq!(stars([("a", [100.0, 100.0]), ("b", [103.0, 103.0]), ("c", [150.0, 150.0])]), [true, false, false]);
        assert_eq!(stars([("a", [100.0, 180.0]), ("b", [103.0, 140.0]), ("c", [99.0, 150.0])]), [false; 3]);
    }

    #[test]
    fn long_numbers_are_grouped() {
        for (text, grouped_text) in [
            ("530940 ± 83304", "530\u{202f}940 ± 83\u{202f}304"),
            ("1072", "1072"),
            ("1234567.1234567", "1\u{202f}234\u{202f}567.1234567"),
            ("0.0006", "0.0006"),
        ] {
            assert_eq!(grouped(text), grouped_text);
        }
    }
}
