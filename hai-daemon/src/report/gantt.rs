//! Who was on which devices when, as rectangles that a little script makes wider, and as a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use hai_core::model::{Span, Time};
use hai_core::sim::study::{Bar, Gantt, Outcome};

use super::Column;
use super::svg::{COLOURS, escape};
use crate::cli::output::length;

/// Rows of the table.
const ROWS: usize = 200;
/// Units that a device is high.
const LANE: usize = 6;
/// Units between two nodes.
const GAP: usize = 6;
/// Units that the drawing is wide.
const WIDTH: f64 = 100_000.0;

/// A Gantt chart for the template.
pub(super) struct GanttView {
    pub(super) policy: String,
    pub(super) svg: String,
    pub(super) height: usize,
    pub(super) labels: Vec<Label>,
    pub(super) from_s: f64,
    pub(super) span_s: f64,
    pub(super) note: String,
    pub(super) rows: Vec<[String; 7]>,
    pub(super) more: usize,
}

/// A node's name beside its lanes.
pub(super) struct Label {
    pub(super) name: String,
    pub(super) top: usize,
}

impl GanttView {
    /// Of the first seed of a policy; `None` if there is nothing to show.
    pub(super) fn of(column: &Column<'_>) -> Option<Self> {
        let run = column.study.of(column.policy).next()?;
        let gantt = &run.outcome.gantt;
        if gantt.bars.is_empty() {
            return None;
        }
        let first = run.outcome.series.first().map_or(gantt.from, |chart| chart.series.start);
        let mut tops = Vec::new();
        let mut height = 0;
        for (_, devices) in &gantt.nodes {
            tops.push(height);
            height += *devices as usize * LANE + GAP;
        }
        let seconds = |span: Span| span.as_ms() as f64 / 1000.0;
        let since = |at: Time| length(i64::try_from(at.since(first).as_ms() / 1000).unwrap_or(i64::MAX));
        let more = gantt.bars.len().saturating_sub(ROWS);
        Some(GanttView {
            policy: column.name.clone(),
            svg: draw(&run.outcome, &tops, height, &since),
            height,
            labels: gantt
                .nodes
                .iter()
                .zip(&tops)
                .map(|((name, _), top)| Label { name: name.to_string(), top: *top })
                .collect(),
            from_s: seconds(gantt.from.since(first)),
            span_s: seconds(gantt.until.since(gantt.from)).max(0.001),
            note: note(gantt, &since),
            rows: gantt.bars.iter().take(ROWS).map(|bar| row(gantt, bar, &since)).collect(),
            more,
        })
    }
}

fn note(gantt: &Gantt, since: &dyn Fn(Time) -> String) -> String {
    let mut note = format!("{} of {} nodes", gantt.nodes.len(), gantt.nodes_in_all);
    if gantt.cut {
        let _ = write!(
            note,
            "; until {} after the first submission, as more than {} runs do not fit on a page",
            since(gantt.until),
            gantt.bars.len()
        );
    }
    note
}

fn row(gantt: &Gantt, bar: &Bar, since: &dyn Fn(Time) -> String) -> [String; 7] {
    let devices: Vec<String> = bar.devices.iter().map(ToString::to_string).collect();
    [
        gantt.nodes[bar.node].0.to_string(),
        devices.join(", "),
        bar.name.clone(),
        bar.user.clone(),
        since(bar.from),
        bar.began.clone(),
        format!("{}: {}", since(bar.until), bar.ended),
    ]
}

/// Users have the colours that they have in the chart of devices by user; all others share the last one.
fn colours(outcome: &Outcome) -> BTreeMap<&str, usize> {
    let chart = outcome.series.iter().find(|chart| chart.name == "devices_by_user");
    let names = chart
        .into_iter()
        .flat_map(|chart| &chart.series.levels)
        .filter(|(_, values)| values.iter().any(|value| *value > 0.0));
    names.map(|(name, _)| name.as_str()).take(COLOURS - 1).enumerate().map(|(at, name)| (name, at)).collect()
}

fn draw(outcome: &Outcome, tops: &[usize], height: usize, since: &dyn Fn(Time) -> String) -> String {
    let (gantt, colours) = (&outcome.gantt, colours(outcome));
    let span = gantt.until.since(gantt.from).as_ms().max(1) as f64;
    let x = |at: Time| WIDTH * at.since(gantt.from).as_ms() as f64 / span;
    let mut svg = String::new();
    for (at, (_, devices)) in gantt.nodes.iter().enumerate() {
        let _ = write!(
            svg,
            "<rect class=\"node\" x=\"0\" y=\"{}\" width=\"{WIDTH}\" height=\"{}\"/>",
            tops[at],
            *devices as usize * LANE
        );
    }
    for bar in &gantt.bars {
        let (from, until) = (x(bar.from), x(bar.until));
        let mut path = String::new();
        let mut lanes = bar.devices.iter().copied().map(usize::from).peekable();
        // Neighbouring devices are one rectangle.
        while let Some(first) = lanes.next() {
            let mut last = first;
            while let Some(next) = lanes.next_if(|next| *next <= last + 1) {
                last = next;
            }
            let top = tops[bar.node] + first * LANE;
            let _ = write!(path, "M{from:.1} {top}H{until:.1}V{}H{from:.1}z", top + (last + 1 - first) * LANE - 1);
        }
        if path.is_empty() {
            continue;
        }
        let told = format!(
            "task {} ({}) of {}\nfrom {} to {}\n{}\n{}",
            bar.task,
            bar.name,
            bar.user,
            since(bar.from),
            since(bar.until),
            bar.began,
            bar.ended
        );
        let ended = if bar.ended.starts_with("suspended") { " s" } else { "" };
        let lines: Vec<String> = told.lines().map(escape).collect();
        let _ = write!(
            svg,
            "<path class=\"b c{}{ended}\" d=\"{path}\"><title>{}</title></path>",
            colours.get(bar.user.as_str()).copied().unwrap_or(COLOURS - 1),
            lines.join("\n")
        );
    }
    format!(
        "<svg class=\"bars\" viewBox=\"0 0 {WIDTH} {height}\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"Runs by node and time; the table below tells the same\">{svg}</svg>"
    )
}
