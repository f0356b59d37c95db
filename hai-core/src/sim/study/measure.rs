//! Adds up what a meter saw to figures, users and charts.

use crate::model::{Priority, Span, Time};
use crate::sim::Record;

use super::figures::{Chart, Figures, Outcome, SIZES, SizeFigures, TaskRow, UserFigures};
use super::foretell::Foreteller;
use super::load::Task;
use super::meter::{Meter, level};
use super::series::Series;
use super::stats::{Stats, jain, quantile};
use super::sums::Sums;
use super::trial::Options;

/// What a trial counted beside what was measured.
#[derive(Default)]
pub(super) struct Counted {
    /// It was ended before all was done.
    pub(super) cut: bool,
    /// What is known of tasks that are not over.
    pub(super) left: Vec<Record>,
    pub(super) starts: u64,
    pub(super) events: u64,
    pub(super) rounds: u64,
    /// It is known what was idle where, so that fragments were looked at.
    pub(super) places_known: bool,
}

const MS_PER_HOUR: f64 = 3_600_000.0;
/// Thousandths of a device times milliseconds in a device-hour.
const MILLI_MS_PER_HOUR: f64 = 1000.0 * MS_PER_HOUR;

fn percent(part: u128, whole: u128) -> f64 {
    if whole == 0 { 0.0 } else { 100.0 * part as f64 / whole as f64 }
}

fn seconds(span: Span) -> f64 {
    span.as_ms() as f64 / 1000.0
}

/// Completion time, waiting, slowdown and finish-time fairness of many tasks.
#[derive(Default)]
struct Lists {
    jct: Vec<f64>,
    waiting: Vec<f64>,
    slowdown: Vec<f64>,
    fairness: Vec<f64>,
}

impl Lists {
    fn push(&mut self, task: &Task, row: &TaskRow, ended: Time) {
        let jct = ended.since(task.submit);
        self.jct.push(seconds(jct));
        self.waiting.push(seconds(jct - row.ran));
        self.slowdown.push((seconds(jct) / seconds(task.work.needs).max(10.0)).max(1.0));
        self.fairness.push(row.fairness);
    }
}

/// What a trial comes to.
pub(super) fn measure(mut meter: Meter<'_>, counted: &Counted, options: &Options) -> Outcome {
    meter.shares.sample(meter.now);
    for record in &counted.left {
        if let Some(index) = usize::try_from(record.task.0).ok().and_then(|task| task.checked_sub(1)) {
            meter.row(index, record, None, "unfinished");
        }
    }
    meter.rows.sort_by_key(|row| row.index);
    let load = meter.load;
    let rows = std::mem::take(&mut meter.rows);
    let mut figures = Figures {
        refused: meter.refused,
        starts: counted.starts,
        events: counted.events,
        rounds: counted.rounds,
        partial: counted.cut,
        forecasts: meter.foreteller.as_ref().map(Foreteller::figures),
        makespan_s: seconds(meter.last_end.since(meter.meters.start())),
        ..Figures::default()
    };
    let mut all = Lists::default();
    let mut sizes: Vec<Lists> = SIZES.iter().map(|_| Lists::default()).collect();
    let mut users: Vec<(u64, Span, Span)> = vec![(0, Span::ZERO, Span::ZERO); meter.shares.accounts.len()];
    for row in &rows {
        let task = &load.tasks()[row.index];
        figures.tasks += 1;
        figures.suspensions += u64::from(row.suspensions);
        match row.outcome.as_str() {
            "succeeded" => figures.succeeded += 1,
            "failed" => figures.failed += 1,
            "stopped" => figures.stopped += 1,
            _ => figures.unfinished += 1,
        }
        figures.never_started += u64::from(row.started.is_none());
        let size = meter.asked(task);
        let milli = size as f64;
        figures.device_hours += row.device_ms as f64 / MS_PER_HOUR;
        figures.lost_device_hours += milli * row.lost.as_ms() as f64 / MILLI_MS_PER_HOUR;
        figures.loading_device_hours += milli * row.loading.as_ms() as f64 / MILLI_MS_PER_HOUR;
        let Some(ended) = row.ended else { continue };
        all.push(task, row, ended);
        if let Some(at) = SIZES.iter().position(|(_, most)| size <= *most) {
            sizes[at].push(task, row, ended);
        }
        let account = meter.shares.account(&task.spec.user, &task.spec.group);
        if let Some((tasks, jct, waiting)) = users.get_mut(account) {
            *tasks += 1;
            *jct = *jct + ended.since(task.submit);
            *waiting = *waiting + (ended.since(task.submit) - row.ran);
        }
    }
    figures.jct = Stats::of(&mut all.jct);
    figures.waiting = Stats::of(&mut all.waiting);
    figures.slowdown = Stats::of(&mut all.slowdown);
    figures.finish_time_fairness = Stats::of(&mut all.fairness);
    let worse = all.fairness.iter().filter(|&&ratio| ratio > 1.0).count();
    figures.served_worse = percent(worse as u128, all.fairness.len() as u128);
    figures.sizes = SIZES
        .iter()
        .zip(&mut sizes)
        .filter(|(_, lists)| !lists.jct.is_empty())
        .map(|((devices, _), lists)| SizeFigures {
            devices: (*devices).to_owned(),
            jct: Stats::of(&mut lists.jct),
            waiting: Stats::of(&mut lists.waiting),
            slowdown: Stats::of(&mut lists.slowdown),
        })
        .collect();
    let in_window = meter.measured.time > 0;
    let done = if meter.until_last_end.time > 0 && !counted.cut { meter.until_last_end } else { meter.whole };
    let sums: Sums = if in_window { meter.measured } else { done };
    figures.measured = if in_window {
        (meter.from, meter.last.min(meter.now))
    } else {
        (meter.meters.start(), if counted.cut { meter.now } else { meter.last_end })
    };
    figures.allocation = percent(sums.held, sums.capacity);
    figures.occupancy = percent(sums.executing, sums.capacity);
    figures.fragmentation = counted.places_known.then(|| percent(sums.fragments, sums.capacity));
    figures.allocation_while_waiting = percent(sums.busy_held, sums.busy_capacity);
    figures.time_waiting = percent(sums.busy_time, sums.time);
    figures.queue_mean = if sums.time == 0 { 0.0 } else { sums.waiting as f64 / sums.time as f64 };
    let user_figures = by_user(&meter, &users);
    let accounts = meter.shares.accounts.iter().filter(|account| account.asks_devices && account.due > 0);
    let shares: Vec<f64> = accounts.map(|account| account.held as f64 / account.due as f64).collect();
    figures.jain = jain(&shares);
    let quantiles = |sorted: &[f64]| -> Vec<f64> {
        if sorted.is_empty() { Vec::new() } else { (0..=100).map(|part| quantile(sorted, part, 100)).collect() }
    };
    Outcome {
        users: user_figures,
        series: charts(&meter, counted.places_known),
        jct_quantiles: quantiles(&all.jct),
        waiting_quantiles: quantiles(&all.waiting),
        gantt: meter.drawer.finish(meter.now, |task| {
            let known = usize::try_from(task).ok().and_then(|task| load.tasks().get(task.checked_sub(1)?));
            known.map_or_else(Default::default, |task| (task.name.to_string(), task.spec.user.to_string()))
        }),
        tasks: if options.tasks { rows } else { Vec::new() },
        figures,
    }
}

fn by_user(meter: &Meter<'_>, users: &[(u64, Span, Span)]) -> Vec<UserFigures> {
    let accounts = meter.shares.accounts.iter().zip(users);
    let mut list: Vec<UserFigures> = accounts
        .map(|(account, (tasks, jct, waiting))| {
            let mean = |sum: Span| if *tasks == 0 { 0.0 } else { seconds(sum) / *tasks as f64 };
            UserFigures {
                user: account.user.to_string(),
                group: meter.shares.group_names[account.group].to_string(),
                tasks: *tasks,
                jct_mean: mean(*jct),
                waiting_mean: mean(*waiting),
                got: account.held as f64 / MILLI_MS_PER_HOUR,
                due: account.due as f64 / MILLI_MS_PER_HOUR,
            }
        })
        .collect();
    list.sort_by(|one, other| {
        other.got.total_cmp(&one.got).then_with(|| (&one.user, &one.group).cmp(&(&other.user, &other.group)))
    });
    list
}

fn charts(meter: &Meter<'_>, places_known: bool) -> Vec<Chart> {
    let meters = &meter.meters;
    let devices = |level: usize| meters.means(level, 1000.0);
    let chart = |name: &str, unit: &str, levels: Vec<(String, Vec<f64>)>| Chart {
        name: name.to_owned(),
        unit: unit.to_owned(),
        series: Series { start: meters.start(), width: meters.width(), levels },
    };
    let capacity = ("capacity".to_owned(), devices(level::CAPACITY));
    let mut by_user: Vec<(String, Vec<f64>)> = Vec::new();
    for (at, user) in meter.users_shown.iter().enumerate() {
        by_user.push((user.clone(), devices(level::USERS + at)));
    }
    by_user.push(("all others".to_owned(), devices(level::USERS + meter.users_shown.len())));
    by_user.push(capacity.clone());
    let mut by_priority: Vec<(String, Vec<f64>)> = Vec::new();
    for (at, priority) in Priority::LEVELS.iter().enumerate() {
        let values = devices(level::PRIORITIES + at);
        if values.iter().any(|value| *value > 0.0) {
            by_priority.push((priority.name().to_owned(), values));
        }
    }
    by_priority.push(capacity);
    let queue = vec![
        ("tasks that wait".to_owned(), meters.means(level::WAITING, 1.0)),
        ("devices that they ask for".to_owned(), meters.means(level::WAITING_DEVICES, 1000.0)),
        ("tasks that run".to_owned(), meters.means(level::RUNNING, 1.0)),
    ];
    let fragments =
        vec![("fragments".to_owned(), devices(level::FRAGMENTS)), ("capacity".to_owned(), devices(level::CAPACITY))];
    let suspensions = vec![("suspensions".to_owned(), meters.sums(level::SUSPENSIONS, 1.0))];
    let lost = vec![
        ("work lost".to_owned(), meters.sums(level::LOST, MILLI_MS_PER_HOUR)),
        ("loading".to_owned(), meters.sums(level::LOADING, MILLI_MS_PER_HOUR)),
    ];
    let mut charts = vec![
        chart("devices_by_user", "devices", by_user),
        chart("devices_by_priority", "devices", by_priority),
        chart("queue", "tasks and devices", queue),
    ];
    charts.extend(places_known.then(|| chart("fragments", "devices", fragments)));
    charts.push(chart("suspensions", "per span of time", suspensions));
    charts.push(chart("lost", "device-hours per span of time", lost));
    charts
}
