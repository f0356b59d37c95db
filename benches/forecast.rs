//! How good forecasts are: a trace is played, a sample of the tasks that have to wait is asked for at submission when they
//! will start, and what was said is compared with what came.
//!
//! Arguments: a folder with a trace (`venus_sept.csv.gz` and `vc_config.csv`, or `philly_jobs.csv.gz`) or a file of the first
//! form, e.g. `../shared/traces/helios-venus-sept`; without one, a cut of the first that lies here. Then, of how many tasks
//! one is asked for (1 by default), how many rollouts are made (64), and how many days are played (all).

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hai_core::engine::{Engine, EngineConfig};
use hai_core::explain::forecast::{Forecast, Options, forecast};
use hai_core::explain::history::History;
use hai_core::model::{
    Allowance, DeviceId, DeviceSpec, Fact, GroupName, ModelName, NodeName, NodeSpec, Priority, RightKey, RightRow,
    Round, RunId, Span, TaskId, TaskSpec, TaskState, TaskView, Time, UserName, WorkerRequest,
};
use hai_core::sim::{Conduct, Halt, Input, Limits, Record, Sim, Watch, Work};

const CUT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/helios-venus-sept-cut.csv");
/// Nodes of 8 GPUs by virtual cluster: of Helios Venus, and of Philly as the authors of Helios took them.
const VENUS: [(&str, u32); 15] = [
    ("vcEwI", 9),
    ("vcWoR", 5),
    ("vcHvQ", 8),
    ("vcvGl", 20),
    ("vc8Gr", 6),
    ("vcKeu", 12),
    ("vcKrE", 4),
    ("vcYVn", 11),
    ("vchbv", 4),
    ("vcLTP", 8),
    ("vchA3", 3),
    ("vcJsw", 32),
    ("vcefl", 10),
    ("vcvlY", 2),
    ("vcgkz", 1),
];
const PHILLY: [(&str, u32); 11] = [
    ("6214e9", 64),
    ("7f04ca", 32),
    ("11cb48", 16),
    ("b436b2", 64),
    ("ee9e8c", 64),
    ("e13805", 16),
    ("6c71a0", 32),
    ("2869ce", 16),
    ("ed69ec", 8),
    ("103959", 8),
    ("0e4a51", 32),
];
/// Nothing is asked before, so that something is known.
const WARM_UP: Span = Span::from_mins(3 * 24 * 60);

struct Job {
    at: Time,
    user: String,
    cluster: String,
    devices: u32,
    runs: Span,
}

fn text_of(path: &Path) -> String {
    if path.extension().is_some_and(|extension| extension == "gz") {
        let unpacked = Command::new("gzip").arg("-dc").arg(path).output().expect("gzip is there");
        assert!(unpacked.status.success(), "{} can not be unpacked", path.display());
        return String::from_utf8(unpacked.stdout).expect("a trace is text");
    }
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The jobs of a file with these columns, by name: who, where, how many devices, when, how long.
fn jobs(text: &str) -> Vec<Job> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().expect("a header").split(',').collect();
    let column = |names: [&str; 2]| header.iter().position(|name| names.contains(name));
    let need = |names: [&str; 2]| column(names).unwrap_or_else(|| panic!("no column {names:?}"));
    let (cluster, devices) = (need(["vc", "vc"]), need(["gpu_num", "num_gpus"]));
    let (at, runs, user) =
        (need(["submit_time", "submit_time"]), need(["duration", "duration"]), column(["user", "user"]));
    let seconds = |cell: &str| cell.parse::<f64>().expect("seconds") as u64;
    lines
        .map(|line| {
            let cells: Vec<&str> = line.split(',').collect();
            Job {
                at: Time::ZERO + Span::from_secs(seconds(cells[at])),
                user: user.map_or("somebody", |user| cells[user]).to_owned(),
                cluster: cells[cluster].to_owned(),
                devices: cells[devices].parse().expect("a count"),
                runs: Span::from_secs(seconds(cells[runs]).max(1)),
            }
        })
        .collect()
}

fn engine(clusters: &[(&str, u32)]) -> Engine {
    let mut engine = Engine::new(EngineConfig::default());
    let mut tell = |fact| engine.observe(Time::ZERO, &fact).expect("a good fact");
    tell(Fact::RightSet { right: RightRow::new(RightKey::default(), Allowance::UNLIMITED) });
    for (cluster, nodes) in clusters {
        for number in 0..*nodes {
            let name = NodeName::new(format!("{cluster}-{number}")).expect("plain");
            let mut node = NodeSpec::new(name, GroupName::new(*cluster).expect("plain"), 96_000, 512 * 1024);
            let device = |index| {
                let id = DeviceId::new(format!("{cluster}-{number}-{index}")).expect("printable");
                DeviceSpec::new(id, ModelName::new("V100").expect("printable"), 32 * 1024)
            };
            node.devices = (0..8).map(device).collect();
            tell(Fact::NodeSet { node });
        }
    }
    engine
}

fn input(job: &Job) -> Input {
    let each = [8, 4, 2].into_iter().find(|each| job.devices.is_multiple_of(*each)).unwrap_or(1).min(job.devices);
    let each = if job.devices < 8 { job.devices } else { each };
    let user = UserName::new(&job.user).expect("plain");
    let group = GroupName::new(&job.cluster).expect("plain");
    let mut spec = TaskSpec::new("job", user, group, Priority::Normal, WorkerRequest::devices(each));
    spec.workers = job.devices / each;
    Input::submit(job.at, Arc::new(spec), Work::of(job.runs))
}

/// Asks, and compares.
struct Asker {
    history: History,
    options: Options,
    every: u64,
    from: Time,
    newest: TaskId,
    asked: BTreeMap<TaskId, Forecast>,
    answers: Vec<(Forecast, Time)>,
    waited: u64,
    took: Duration,
}

impl Watch for Asker {
    fn started(&mut self, at: Time, task: TaskId, _: RunId) -> ControlFlow<()> {
        self.history.calibration.started(task, at);
        if let Some(forecast) = self.asked.remove(&task) {
            self.answers.push((forecast, at));
        }
        ControlFlow::Continue(())
    }

    fn ended(&mut self, task: &TaskView, _: Record) -> ControlFlow<()> {
        self.history.observe(task);
        ControlFlow::Continue(())
    }

    fn round(&mut self, engine: &Engine, round: &Round) -> ControlFlow<()> {
        let next = engine.next_task_id();
        for number in self.newest.0 + 1..next.0 {
            let Some(view) = engine.task(TaskId(number)) else { continue };
            self.history.observe(&view);
            if view.state != TaskState::Waiting || round.at < self.from {
                continue;
            }
            self.waited += 1;
            if !self.waited.is_multiple_of(self.every) {
                continue;
            }
            let since = Instant::now();
            let said = forecast(engine, round.at, &self.history, view.id, &self.options).expect("it waits");
            self.took += since.elapsed();
            if let Some((p50, p90)) = said.uncorrected {
                self.history.calibration.said(view.id, round.at, p50.since(round.at), p90.since(round.at));
            }
            self.asked.insert(view.id, said);
        }
        self.newest = TaskId(next.0 - 1);
        ControlFlow::Continue(())
    }
}

fn percent(part: usize, all: usize) -> f64 {
    100.0 * part as f64 / all.max(1) as f64
}

fn hours(span: Span) -> f64 {
    span.as_ms() as f64 / 3_600_000.0
}

fn report(name: &str, answers: &[&(Forecast, Time)]) {
    let held = |by: &dyn Fn(&Forecast) -> Option<Time>| {
        percent(answers.iter().filter(|(said, at)| by(said).is_none_or(|by| *at <= by)).count(), answers.len())
    };
    let mut waits: Vec<f64> = answers.iter().map(|(said, at)| hours(at.since(said.at))).collect();
    let mut wide: Vec<f64> =
        answers.iter().map(|(said, _)| said.p90.map_or(f64::INFINITY, |p90| hours(p90.since(said.at)))).collect();
    waits.sort_unstable_by(f64::total_cmp);
    wide.sort_unstable_by(f64::total_cmp);
    let median = |sorted: &[f64]| sorted.get(sorted.len() / 2).copied().unwrap_or(0.0);
    println!(
        "{name:24} {:>5} asked; p50 held {:5.1} %, p90 held {:5.1} % (uncorrected {:5.1} and {:5.1} %); \
         median wait {:.2} h, median p90 {:.2} h",
        answers.len(),
        held(&|said| said.p50),
        held(&|said| said.p90),
        held(&|said| said.uncorrected.map(|(p50, _)| p50)),
        held(&|said| said.uncorrected.map(|(_, p90)| p90)),
        median(&waits),
        median(&wide),
    );
}

fn main() {
    let mut words = std::env::args().skip(1);
    let path = words.next().map_or_else(|| PathBuf::from(CUT), PathBuf::from);
    let mut numbers = words.filter_map(|word| word.parse::<u64>().ok());
    let (every, rollouts) = (numbers.next().unwrap_or(1).max(1), numbers.next().unwrap_or(64));
    let days = numbers.next().unwrap_or(u64::MAX);

    let philly = path.join("philly_jobs.csv.gz");
    let (file, clusters) = if philly.exists() {
        (philly, &PHILLY[..])
    } else if path.is_dir() {
        (path.join("venus_sept.csv.gz"), &VENUS[..])
    } else {
        (path, &VENUS[..])
    };
    let mut jobs = jobs(&text_of(&file));
    let first = jobs.first().expect("a trace has jobs").at;
    let sizes: BTreeMap<&str, u32> = clusters.iter().map(|&(name, nodes)| (name, nodes * 8)).collect();
    jobs.retain(|job| {
        let fits = sizes.get(job.cluster.as_str()).is_some_and(|devices| job.devices <= *devices);
        fits && job.at.since(first).as_ms() < days.saturating_mul(86_400_000)
    });
    println!("{}: {} jobs", file.display(), jobs.len());

    let conduct = Conduct { leave: Span::from_secs(5), ..Conduct::default() };
    let mut asker = Asker {
        history: History::default(),
        options: Options { rollouts: u32::try_from(rollouts).unwrap_or(64), conduct, ..Options::default() },
        every,
        from: first + WARM_UP,
        newest: TaskId(0),
        asked: BTreeMap::new(),
        answers: Vec::new(),
        waited: 0,
        took: Duration::ZERO,
    };
    let since = Instant::now();
    let mut sim = Sim::new(engine(clusters), conduct, jobs.iter().map(input));
    let halt = sim.run(Limits::NONE, &mut asker);
    assert_eq!(halt, Halt::NothingLeft);
    let counts = sim.counts();
    let asked = asker.answers.len();
    println!(
        "{} events, {} rounds, {} starts, {} suspensions, without forecasts {:.1?}; a forecast {:.0?} of one thread",
        counts.events,
        counts.rounds,
        counts.starts,
        counts.suspensions,
        since.elapsed().saturating_sub(asker.took),
        asker.took / u32::try_from(asked.max(1)).unwrap_or(1),
    );
    println!("{} had to wait, {} of those asked never started", asker.waited, asker.asked.len());
    let answers = &asker.answers;
    report("all", &answers.iter().collect::<Vec<_>>());
    let half = answers.iter().map(|(said, _)| said.at).nth(asked / 2).unwrap_or(first);
    report("first half", &answers.iter().filter(|(said, _)| said.at < half).collect::<Vec<_>>());
    report("second half", &answers.iter().filter(|(said, _)| said.at >= half).collect::<Vec<_>>());
    for (from, to) in [(0, 5), (5, 60), (60, 600), (600, u64::MAX / 100_000)] {
        let bounds = Span::from_mins(from)..Span::from_mins(to);
        let some: Vec<_> = answers.iter().filter(|(said, at)| bounds.contains(&at.since(said.at))).collect();
        report(&format!("waited {from} min and more"), &some);
    }
}
