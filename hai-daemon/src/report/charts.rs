//! The charts of a page, each wide and narrow, with the numbers behind them.

use hai_core::sim::study::Chart;

use super::Column;
use super::svg::{Line, Marks, Plot, Scale, tick};

/// Points of a line over time; more can not be seen.
const POINTS_MAX: usize = 160;
/// Rows of the table behind a chart.
const ROWS: usize = 13;

/// A chart.
pub(super) struct Drawn {
    /// For a file, e.g. `completion`.
    pub(super) name: String,
    pub(super) part: &'static str,
    pub(super) caption: String,
    pub(super) wide: String,
    pub(super) narrow: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// Charts under one heading.
pub(super) struct Part {
    pub(super) heading: &'static str,
    pub(super) charts: Vec<Drawn>,
}

/// Puts charts under their headings.
pub(super) fn parts(drawn: Vec<Drawn>) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for chart in drawn {
        match parts.iter_mut().find(|part| part.heading == chart.part) {
            Some(part) => part.charts.push(chart),
            None => parts.push(Part { heading: chart.part, charts: vec![chart] }),
        }
    }
    parts
}

/// All charts.
pub(super) fn all(columns: &[Column<'_>]) -> Vec<Drawn> {
    let mut drawn = Vec::new();
    let quantiles = |name: &str, what: &str, of: &dyn Fn(&Column<'_>) -> Vec<f64>| cdf(columns, name, what, of);
    let outcome = |column: &Column<'_>| column.study.of(column.policy).next().map(|run| &run.outcome).cloned();
    let outcomes: Vec<_> = columns.iter().map(outcome).collect();
    let of = |column: &Column<'_>, get: &dyn Fn(&hai_core::sim::study::Outcome) -> Vec<f64>| {
        let at = columns.iter().position(|other| std::ptr::eq(other, column));
        at.and_then(|at| outcomes[at].as_ref()).map(get).unwrap_or_default()
    };
    drawn.extend(quantiles("completion", "completion time", &|column| of(column, &|o| o.jct_quantiles.clone())));
    drawn.extend(quantiles("waiting", "waiting time", &|column| of(column, &|o| o.waiting_quantiles.clone())));
    let over_time = OverTime::of(columns);
    for (name, by) in [("devices_by_user", "user"), ("devices_by_priority", "priority")] {
        let most = columns.iter().filter_map(|column| chart(column, name)).map(stack_most).fold(0.0, f64::max);
        for (at, column) in columns.iter().enumerate() {
            drawn.extend(chart(column, name).map(|chart| over_time.stack(chart, at, &column.name, by, most)));
        }
    }
    let lines = |name: &str, series: &str, file: &str, part: &'static str, caption: &str, up: &str| {
        over_time.lines(columns, name, series, file, part, caption, up)
    };
    drawn.extend(lines("queue", "tasks that wait", "queue", "The queue", "Tasks that wait", "tasks"));
    drawn.extend(lines(
        "queue",
        "devices that they ask for",
        "queue-devices",
        "The queue",
        "Devices that waiting tasks ask for",
        "devices",
    ));
    drawn.extend(lines(
        "fragments",
        "fragments",
        "fragments",
        "Who uses the devices",
        "Idle devices that a kind of work could not use, the mean over the expected kinds",
        "devices",
    ));
    drawn.extend(lines(
        "suspensions",
        "suspensions",
        "suspensions",
        "What suspending costs",
        "Suspensions so far",
        "suspensions",
    ));
    drawn.extend(lines("lost", "work lost", "lost", "What suspending costs", "Work lost so far", "device-hours"));
    drawn.extend(lines(
        "lost",
        "loading",
        "loading",
        "What suspending costs",
        "Time spent on loading so far",
        "device-hours",
    ));
    drawn
}

fn chart<'a>(column: &'a Column<'_>, name: &str) -> Option<&'a Chart> {
    column.study.of(column.policy).next()?.outcome.series.iter().find(|chart| chart.name == name)
}

fn stack_most(chart: &Chart) -> f64 {
    let levels = &chart.series.levels;
    let capacity = levels.iter().find(|(name, _)| name == "capacity").map_or(&[][..], |(_, values)| values);
    capacity.iter().copied().fold(0.0, f64::max)
}

/// A chart, wide for screens and narrow for phones.
fn both(
    name: String,
    part: &'static str,
    caption: String,
    plot: &Plot,
    head: Vec<String>,
    rows: Vec<Vec<String>>,
) -> Drawn {
    Drawn { name, part, caption, wide: plot.draw(760.0, 280.0), narrow: plot.draw(360.0, 250.0), head, rows }
}

fn cdf(columns: &[Column<'_>], name: &str, what: &str, of: &dyn Fn(&Column<'_>) -> Vec<f64>) -> Option<Drawn> {
    let all: Vec<(String, Vec<f64>)> = columns.iter().map(|column| (column.name.clone(), of(column))).collect();
    let most = all.iter().filter_map(|(_, values)| values.last()).copied().fold(0.0, f64::max);
    if most <= 0.0 {
        return None;
    }
    let most = most.max(10.0);
    let lines = all.iter().map(|(name, values)| Line {
        name: name.clone(),
        points: values.iter().enumerate().map(|(part, &value)| (value.max(1.0), part as f64)).collect(),
    });
    let plot = Plot {
        title: format!("Share of tasks by {what}, one line for each policy"),
        across: format!("{what}; what is below 1 s stands at 1 s"),
        up: "% of tasks".into(),
        x: Scale::Log(1.0, most),
        y_max: 100.0,
        marks: Marks::Lines(lines.collect()),
        bound: None,
    };
    let head =
        std::iter::once("% of tasks".to_owned()).chain(all.iter().map(|(name, _)| format!("{name}, s"))).collect();
    let rows = [1, 5, 10, 25, 50, 75, 90, 95, 99, 100].into_iter().map(|part: usize| {
        let value = |values: &Vec<f64>| {
            values.get(part).map(|value| crate::cli::simulate::tables::number(*value)).unwrap_or_default()
        };
        std::iter::once(part.to_string()).chain(all.iter().map(|(_, values)| value(values))).collect()
    });
    let caption = format!("How many tasks had at most this {what}");
    let rows = rows.collect();
    Some(both(name.to_owned(), "How long tasks take", caption, &plot, head, rows))
}

/// A time axis that all charts share.
struct OverTime {
    unit: &'static str,
    unit_ms: f64,
    most_ms: f64,
}

impl OverTime {
    fn of(columns: &[Column<'_>]) -> Self {
        let end = |column: &Column<'_>| {
            let chart = chart(column, "queue")?;
            let spans = chart.series.levels.iter().map(|(_, values)| values.len()).max()?;
            Some(spans as f64 * chart.series.width.as_ms() as f64)
        };
        let most_ms = columns.iter().filter_map(end).fold(1.0, f64::max);
        let (unit, unit_ms) = match most_ms {
            most if most > 3.0 * 86_400_000.0 => ("days", 86_400_000.0),
            most if most > 3.0 * 3_600_000.0 => ("hours", 3_600_000.0),
            most if most > 180_000.0 => ("minutes", 60_000.0),
            _ => ("seconds", 1000.0),
        };
        OverTime { unit, unit_ms, most_ms }
    }

    /// The middle of each span, and the mean in it, of as many spans as can be seen.
    fn points(&self, values: &[f64], width_ms: f64, sum: bool) -> Vec<(f64, f64)> {
        let each = values.len().div_ceil(POINTS_MAX).max(1);
        let mut so_far = 0.0;
        let mut points = Vec::new();
        for (at, some) in values.chunks(each).enumerate() {
            let total: f64 = some.iter().sum();
            so_far += total;
            let begin = at as f64 * each as f64 * width_ms;
            if sum {
                points.push(((begin + some.len() as f64 * width_ms) / self.unit_ms, so_far));
            } else {
                points.push(((begin + some.len() as f64 * width_ms / 2.0) / self.unit_ms, total / some.len() as f64));
            }
        }
        points
    }

    fn x(&self) -> Scale {
        Scale::Linear(self.most_ms / self.unit_ms)
    }

    fn across(&self) -> String {
        format!("{} since the first submission", self.unit)
    }

    fn stack(&self, chart: &Chart, at: usize, policy: &str, by: &str, most: f64) -> Drawn {
        let width = chart.series.width.as_ms() as f64;
        let line = |(name, values): &(String, Vec<f64>)| Line {
            name: name.clone(),
            points: self.points(values, width, false),
        };
        let (bounds, levels): (Vec<_>, Vec<_>) = chart.series.levels.iter().partition(|(name, _)| name == "capacity");
        let levels: Vec<_> = levels.into_iter().filter(|(_, values)| values.iter().any(|value| *value > 0.0)).collect();
        let lines: Vec<Line> = levels.into_iter().map(line).collect();
        let plot = Plot {
            title: format!("Devices in use over time by {by}, policy {policy}"),
            across: self.across(),
            up: "devices".into(),
            x: self.x(),
            y_max: most.max(1.0),
            marks: Marks::Stacked(lines.clone()),
            bound: bounds.first().map(|level| Line { name: "there are".into(), ..line(level) }),
        };
        let (head, rows) = self.table(&lines);
        let name = format!("devices-by-{by}-{}", at + 1);
        both(name, "Who uses the devices", format!("{policy}: devices in use by {by}"), &plot, head, rows)
    }

    #[expect(clippy::too_many_arguments, reason = "a chart has as many names")]
    fn lines(
        &self,
        columns: &[Column<'_>],
        name: &str,
        series: &str,
        file: &str,
        part: &'static str,
        caption: &str,
        up: &str,
    ) -> Option<Drawn> {
        let so_far = !matches!(name, "queue" | "fragments");
        let points = |column: &Column<'_>| {
            let chart = chart(column, name)?;
            let (_, values) = chart.series.levels.iter().find(|(name, _)| name == series)?;
            Some(self.points(values, chart.series.width.as_ms() as f64, so_far))
        };
        // Who knows nothing of it has a line without points, so that all keep their colours.
        let line = |column: &Column<'_>| Line { name: column.name.clone(), points: points(column).unwrap_or_default() };
        let lines: Vec<Line> = columns.iter().map(line).collect();
        let y_max = lines.iter().flat_map(|line| &line.points).map(|point| point.1).fold(0.0, f64::max);
        // A chart of nothing tells nothing.
        if y_max <= 0.0 {
            return None;
        }
        let (head, rows) = self.table(&lines);
        let plot = Plot {
            title: format!("{caption}, over time, one line for each policy"),
            across: self.across(),
            up: up.to_owned(),
            x: self.x(),
            y_max: y_max * 1.05,
            marks: Marks::Lines(lines),
            bound: None,
        };
        Some(both(file.to_owned(), part, caption.to_owned(), &plot, head, rows))
    }

    /// A few of the points as a table.
    fn table(&self, lines: &[Line]) -> (Vec<String>, Vec<Vec<String>>) {
        let head = std::iter::once(self.unit.to_owned()).chain(lines.iter().map(|line| line.name.clone())).collect();
        let longest = lines.iter().max_by_key(|line| line.points.len());
        let Some(longest) = longest.filter(|line| !line.points.is_empty()) else { return (head, Vec::new()) };
        let last = longest.points.len() - 1;
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut before = None;
        for row in 0..ROWS {
            let at = last * row / (ROWS - 1);
            if before.replace(at) == Some(at) {
                continue;
            }
            let value = |line: &Line| line.points.get(at).map(|point| tick(point.1)).unwrap_or_default();
            rows.push(std::iter::once(tick(longest.points[at].0)).chain(lines.iter().map(value)).collect());
        }
        (head, rows)
    }
}
