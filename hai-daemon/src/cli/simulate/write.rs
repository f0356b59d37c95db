//! Writes what was asked for: tables of values, the page, charts.

use std::fs;
use std::path::Path;

use hai_core::model::Time;
use hai_core::sim::study::Load;

use super::inputs::Inputs;
use super::tables::SHOWN;
use super::{SimulateArgs, Study};
use crate::cli::error::CliError;
use crate::report;

fn failed(path: &Path) -> impl Fn(std::io::Error) -> CliError + '_ {
    |source| CliError::File { what: path.display().to_string(), source }
}

/// Whether the page could be written, before anything is played for it.
pub(super) fn check(args: &SimulateArgs) -> Result<(), CliError> {
    let Some(path) = &args.report else { return Ok(()) };
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    match path.is_dir() {
        true => Err(CliError::Usage(format!("--report: {} is a directory; name a file", path.display()))),
        false => fs::metadata(dir).map(drop).map_err(failed(dir)),
    }
}

/// All files that the arguments name.
pub(super) fn files(args: &SimulateArgs, inputs: &Inputs, study: &Study) -> Result<(), CliError> {
    if let Some(dir) = &args.csv {
        csv(dir, args, inputs, study)?;
    }
    pages(args, &[(String::new(), study)])
}

/// The same for two studies that are compared.
pub(super) fn compared(args: &SimulateArgs, one: &Study, other: &Study) -> Result<(), CliError> {
    pages(args, &[("A".to_owned(), one), ("B".to_owned(), other)])
}

fn pages(args: &SimulateArgs, studies: &[(String, &Study)]) -> Result<(), CliError> {
    if let Some(path) = &args.report {
        let page = report::page(studies).map_err(|error| CliError::Usage(error.to_string()))?;
        fs::write(path, page).map_err(failed(path))?;
    }
    if let Some(dir) = &args.svg {
        fs::create_dir_all(dir).map_err(failed(dir))?;
        for (name, chart) in report::charts(studies) {
            let path = dir.join(format!("{name}.svg"));
            fs::write(&path, chart).map_err(failed(&path))?;
        }
    }
    Ok(())
}

/// A file of comma-separated values that is being written.
struct Sheet<'a> {
    path: &'a Path,
    rows: csv::Writer<fs::File>,
}

impl<'a> Sheet<'a> {
    fn new(path: &'a Path, head: &[&str]) -> Result<Self, CliError> {
        let file = fs::File::create(path).map_err(failed(path))?;
        let mut sheet = Sheet { path, rows: csv::Writer::from_writer(file) };
        sheet.row(head.iter().map(ToString::to_string))?;
        Ok(sheet)
    }

    fn row(&mut self, cells: impl IntoIterator<Item = String>) -> Result<(), CliError> {
        let written = self.rows.write_record(cells.into_iter().collect::<Vec<_>>());
        written.map_err(|error| failed(self.path)(error.into()))
    }

    fn end(mut self) -> Result<(), CliError> {
        self.rows.flush().map_err(failed(self.path))
    }
}

fn since(at: Time, start: Time) -> String {
    let ms = at.as_ms() - start.as_ms();
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn secs(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

fn csv(dir: &Path, args: &SimulateArgs, inputs: &Inputs, study: &Study) -> Result<(), CliError> {
    fs::create_dir_all(dir).map_err(failed(dir))?;
    summary(&dir.join("summary.csv"), study)?;
    let (users, series, tasks) = (dir.join("users.csv"), dir.join("series.csv"), dir.join("tasks.csv"));
    let mut users = Sheet::new(
        &users,
        &[
            "policy",
            "seed",
            "user",
            "group",
            "tasks",
            "jct_mean_s",
            "waiting_mean_s",
            "got_device_hours",
            "due_device_hours",
        ],
    )?;
    let mut series = Sheet::new(&series, &["policy", "seed", "chart", "unit", "series", "from_s", "span_s", "value"])?;
    #[rustfmt::skip]
    let mut tasks = Sheet::new(&tasks, &[
        "policy", "seed", "id", "line", "user", "group", "priority", "workers", "submit_s", "start_s", "end_s", "outcome",
        "duration_s", "jct_s", "waiting_s", "ran_s", "suspensions", "lost_s", "loading_s", "device_hours", "finish_time_fairness",
    ])?;
    for run in &study.runs {
        let (policy, seed) = (run.policy.clone(), run.seed.to_string());
        for user in &run.outcome.users {
            users.row([
                policy.clone(),
                seed.clone(),
                user.user.clone(),
                user.group.clone(),
                user.tasks.to_string(),
                format!("{:.3}", user.jct_mean),
                format!("{:.3}", user.waiting_mean),
                format!("{:.6}", user.got),
                format!("{:.6}", user.due),
            ])?;
        }
        for chart in &run.outcome.series {
            let width = chart.series.width.as_ms();
            for (name, values) in &chart.series.levels {
                for (at, value) in values.iter().enumerate() {
                    series.row([
                        policy.clone(),
                        seed.clone(),
                        chart.name.clone(),
                        chart.unit.clone(),
                        name.clone(),
                        secs(at as u64 * width),
                        secs(width),
                        format!("{value:.6}"),
                    ])?;
                }
            }
        }
        let load = inputs.load(args, run.seed)?;
        rows(&mut tasks, run, &load)?;
    }
    users.end()?;
    series.end()?;
    tasks.end()
}

fn rows(sheet: &mut Sheet<'_>, run: &super::Run, load: &Load) -> Result<(), CliError> {
    let start = load.first().unwrap_or(Time::ZERO);
    for row in &run.outcome.tasks {
        let task = &load.tasks()[row.index];
        let jct = row.ended.map(|ended| ended.since(task.submit));
        let time = |at: Option<Time>| at.map(|at| since(at, start)).unwrap_or_default();
        let span = |span: hai_core::model::Span| secs(span.as_ms());
        sheet.row([
            run.policy.clone(),
            run.seed.to_string(),
            task.name.to_string(),
            task.line.to_string(),
            task.spec.user.to_string(),
            task.spec.group.to_string(),
            task.spec.priority.name().to_owned(),
            task.spec.workers.to_string(),
            since(task.submit, start),
            time(row.started),
            time(row.ended),
            row.outcome.clone(),
            span(task.work.needs),
            jct.map(span).unwrap_or_default(),
            jct.map(|jct| span(jct - row.ran)).unwrap_or_default(),
            span(row.ran),
            row.suspensions.to_string(),
            span(row.lost),
            span(row.loading),
            format!("{:.6}", row.device_ms as f64 / 3_600_000.0),
            format!("{:.6}", row.fairness),
        ])?;
    }
    Ok(())
}

fn summary(path: &Path, study: &Study) -> Result<(), CliError> {
    let mut sheet = Sheet::new(path, &["policy", "seed", "figure", "unit", "value"])?;
    for run in &study.runs {
        for shown in &SHOWN {
            let value = (shown.of)(&run.outcome.figures).to_string();
            let cells = [run.policy.clone(), run.seed.to_string(), shown.name.to_owned(), shown.unit.to_owned(), value];
            sheet.row(cells)?;
        }
    }
    sheet.end()
}
