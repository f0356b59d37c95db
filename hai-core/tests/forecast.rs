//! When a task will start: exact where all is known, the same for the same, bounded, and without a trace on the live engine.

mod support;

use std::sync::Arc;

use hai_core::engine::Engine;
use hai_core::explain::forecast::{Doubt, Forecast, Options, Sources, forecast, forecast_many};
use hai_core::explain::history::History;
use hai_core::model::Priority::*;
use hai_core::model::*;
use hai_core::sim::{Conduct, Input, Limits, Sim, Watch, Work};
use proptest::prelude::*;
use support::{Lab, TaskBuilder, node, secs};

/// A task of user `u` at `NORMAL` for one device, which takes so many seconds.
fn task(name: &str, expected: u64) -> TaskBuilder {
    support::task(name).prio(Normal).devices(1).with(|spec| spec.expected = Some(secs(expected)))
}

fn at(second: u64) -> Option<Time> {
    Some(Time::ZERO + secs(second))
}

fn ask(lab: &Lab, history: &History, id: u64) -> Forecast {
    forecast(&lab.engine, lab.now, history, TaskId(id), &Options::default()).expect("it is unfinished")
}

#[test]
fn on_one_device_tasks_follow_each_other() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    for (name, expected) in [("a", 100), ("b", 50), ("c", 7)] {
        lab.submit(task(name, expected));
    }
    lab.settle();
    lab.pass(secs(40));
    let history = History::default();
    let [running, b, c] = [1, 2, 3].map(|id| ask(&lab, &history, id));
    assert_eq!((running.running_since, running.p50, running.rollouts), (at(0), at(0), 0));
    assert_eq!((b.p50, b.p90, b.started_in), (at(100), at(100), 64));
    assert_eq!((c.p50, c.p90), (at(150), at(150)));
    assert_eq!(c.durations, Sources { given: 3, learned: 0, guessed: 0 });
    assert_eq!(c.doubts, [Doubt::ArrivalsUnknown, Doubt::Untried { scored: 0 }]);
    assert_eq!(
        c.to_string(),
        "probably by 1970-01-01T00:02:30.000Z, in nine of ten rollouts by 1970-01-01T00:02:30.000Z \
         (p50/p90 of 64 rollouts; durations: 3 given, 0 learned, 0 guessed)"
    );
    let later = b.clone().told_at(lab.now + secs(80));
    assert_eq!((later.p50, later.p90), (at(120), at(120)), "who waits at 120 did not start at 100");
    assert_eq!((c.clone().told_at(lab.now + secs(80)), running.clone().told_at(lab.now)), (c.clone(), running));
    // Together they share their rollouts, and are told the same.
    let many = forecast_many(&lab.engine, lab.now, &history, &[TaskId(3), TaskId(2), TaskId(9)], &Options::default());
    assert_eq!(many, [b, c]);
}

#[test]
fn limits_and_rights_and_those_before_count() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.submit(task("a", 1000).limit(secs(30)));
    lab.submit(task("b", 50));
    lab.submit(task("high", 5).prio(High));
    lab.submit(task("late", 5).prio(VeryHigh).not_before(500));
    lab.settle();
    // The highest has displaced the first by now.
    let history = History::default();
    let late = ask(&lab, &history, 4);
    assert_eq!((late.p50, late.p90), (at(500), at(500)));
    let b = ask(&lab, &history, 2);
    assert!(b.p50 >= at(35) && b.p50 <= at(110), "{b:?}");
}

#[test]
fn what_never_starts_is_told_with_its_reason() {
    let mut lab = Lab::hai(|_| {}).with_devices(2);
    lab.submit(task("large", 10).devices(3));
    lab.submit(task("held", 10));
    lab.hold("held");
    lab.submit(task("after", 10).after(&[TaskId(2)]));
    lab.settle();
    let history = History::default();
    let large = ask(&lab, &history, 1);
    assert!(matches!(large.never, Some(Verdict::NeverFits { .. })), "{large:?}");
    assert_eq!((large.p50, large.started_in, large.rollouts), (None, 0, 64));
    assert!(large.to_string().starts_with("never as things are: "));
    assert_eq!(ask(&lab, &history, 2).never, Some(Verdict::Held));
    let after = ask(&lab, &history, 3);
    assert_eq!((after.never, after.p50), (None, None));
    assert!(after.doubts.contains(&Doubt::BeyondHorizon { rollouts: 64 }));
    assert_eq!(forecast(&lab.engine, lab.now, &history, TaskId(9), &Options::default()), None);
}

/// One device, on which short and long tasks of the same name have run, and a queue.
fn learned() -> (Lab, History) {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    let mut history = History::default();
    let bare = |name: &str| support::task(name).prio(Normal).devices(1);
    for number in 0..60_u64 {
        let name = format!("t{number}");
        lab.submit(bare(&name));
        lab.settle();
        let view = lab.engine.task(TaskId(number + 1)).unwrap();
        history.observe(&view);
        let ran = secs(if number % 3 == 0 { 1000 } else { 100 });
        lab.pass(ran);
        lab.finish(&name);
        lab.settle();
        history.observe(&TaskView { state: TaskState::Finished, ended_at: Some(lab.now), ran, ..view });
    }
    lab.submit(bare("t61"));
    lab.submit(bare("t62"));
    lab.settle();
    (lab, history)
}

#[test]
fn durations_are_learned_and_depend_on_how_long_it_runs_already() {
    let (mut lab, history) = learned();
    let start = lab.now;
    let now = ask(&lab, &history, 62);
    assert_eq!((now.durations.learned, now.durations.guessed), (2, 0));
    let wait = |said: &Forecast, by: Option<Time>| by.unwrap().since(said.at).as_ms() / 1000;
    // Two of three take 100 s, so that half of them have ended by then, and nine of ten only by 1000 s.
    assert!((85..130).contains(&wait(&now, now.p50)), "{now:?}");
    assert!((850..1200).contains(&wait(&now, now.p90)), "{now:?}");
    lab.pass(secs(300));
    let later = ask(&lab, &history, 62);
    assert!((850..1200).contains(&(later.p50.unwrap().since(start).as_ms() / 1000)), "{later:?}");
}

#[test]
fn what_is_likely_to_be_submitted_counts() {
    let (mut lab, history) = learned();
    // Low work waits behind all that keeps coming above it.
    lab.submit(support::task("low").prio(Low).devices(1));
    lab.settle();
    let mut alone = History::default();
    alone.durations = history.durations.clone();
    let without = ask(&lab, &alone, 63);
    let with = ask(&lab, &history, 63);
    assert!(with.p50.is_none_or(|p50| p50 > without.p50.unwrap()), "{with:?} {without:?}");
    assert!(without.doubts.contains(&Doubt::ArrivalsUnknown) && !with.doubts.contains(&Doubt::ArrivalsUnknown));
}

#[test]
fn the_work_is_bounded() {
    let (lab, history) = learned();
    let options = Options { events: 60, ..Options::default() };
    let said = forecast(&lab.engine, lab.now, &history, TaskId(62), &options).unwrap();
    assert!(said.rollouts >= 1 && said.rollouts < 64, "{said:?}");
    assert!(said.doubts.contains(&Doubt::CutShort { wanted: 64 }));
    let options = Options { rollouts: 3, ..Options::default() };
    let few = forecast(&lab.engine, lab.now, &history, TaskId(62), &options).unwrap();
    assert_eq!((few.rollouts, few.started_in, few.p90), (3, 3, None));
    assert!(few.p50.is_some() && few.to_string().contains("more can not be told"), "{few}");
    let none = Options { events: 1, ..Options::default() };
    let said = forecast(&lab.engine, lab.now, &history, TaskId(62), &none).unwrap();
    assert_eq!((said.rollouts, said.p50, said.uncorrected), (0, None, None));
    assert!(!said.doubts.iter().any(|doubt| matches!(doubt, Doubt::BeyondHorizon { .. })), "{said:?}");
    assert!(said.to_string().contains("can not be told"), "{said}");
}

#[test]
fn other_groups_do_not_matter() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.node(node("other").group("h").devices(1));
    lab.submit(task("a", 100));
    lab.submit(task("b", 50));
    lab.submit(support::task("x").prio(Normal).devices(1).group("h"));
    lab.submit(support::task("y").prio(Normal).devices(1).group("h"));
    lab.settle();
    let b = ask(&lab, &History::default(), 2);
    assert_eq!((b.p50, b.durations.guessed), (at(100), 0));
}

#[test]
fn a_forecast_reads_back_as_it_was_written() {
    let (lab, history) = learned();
    let text = serde_json::to_string(&history).unwrap();
    let read: History = serde_json::from_str(&text).unwrap();
    assert_eq!(read, history);
    let said = ask(&lab, &read, 62);
    assert_eq!(said, ask(&lab, &history, 62));
    assert_eq!(serde_json::from_str::<Forecast>(&serde_json::to_string(&said).unwrap()).unwrap(), said);
    let options = Options { seed: Some(7), ..Options::default() };
    let other = forecast(&lab.engine, lab.now, &history, TaskId(62), &options).unwrap();
    assert_ne!(other, said, "another seed draws other lots");
}

struct Learn<'a>(&'a mut History);

impl Watch for Learn<'_> {
    fn ended(&mut self, task: &TaskView, _: hai_core::sim::Record) -> std::ops::ControlFlow<()> {
        self.0.observe(task);
        std::ops::ControlFlow::Continue(())
    }
}

/// A load in the middle of its life: who, how urgent, workers, devices each, seconds after the one before, how long.
type Load = Vec<(u8, u8, u32, u32, u64, u64)>;

fn middle(load: &Load, until: u64) -> (Engine, Time, History) {
    let mut engine = Engine::new(hai_core::engine::EngineConfig::default());
    let right = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
    engine.observe(Time::ZERO, &Fact::RightSet { right }).unwrap();
    for name in ["n0", "n1"] {
        engine.observe(Time::ZERO, &Fact::NodeSet { node: node(name).devices(3).spec() }).unwrap();
    }
    let mut second = 0;
    let inputs: Vec<Input> = load
        .iter()
        .map(|&(who, level, workers, devices, after, needs)| {
            second += after;
            let builder = support::task("t").user(["a", "b", "c"][usize::from(who)]).workers(workers).devices(devices);
            let builder = builder.prio([Low, Normal, AboveNormal, High][usize::from(level)]);
            let spec = builder.with(|spec| spec.expected = (needs % 2 == 0).then_some(secs(needs))).spec();
            Input::submit(Time::ZERO + secs(second), Arc::new(spec), Work::of(secs(needs)))
        })
        .collect();
    let mut history = History::default();
    let conduct = Conduct { start: secs(1), leave: secs(3), ..Conduct::default() };
    let mut sim = Sim::new(engine, conduct, inputs);
    let _ = sim.run(Limits { until: Time::ZERO + secs(until), ..Limits::NONE }, &mut Learn(&mut history));
    sim.engine().tasks().for_each(|view| history.observe(&view));
    (sim.engine().clone(), sim.now(), history)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// The engine checks its own books after every round of every rollout, and the live one is not touched.
    #[test]
    fn any_state_can_be_played_on(
        load in prop::collection::vec((0..3_u8, 0..4_u8, 1..3_u32, 0..4_u32, 0..60_u64, 1..5000_u64), 1..40),
        until in 1..20_000_u64,
    ) {
        let (engine, now, history) = middle(&load, until);
        let before = engine.snapshot();
        let ids: Vec<TaskId> = engine.tasks().map(|view| view.id).collect();
        let options = Options { rollouts: 4, events: 20_000, horizon: secs(86_400), ..Options::default() };
        let said = forecast_many(&engine, now, &history, &ids, &options);
        prop_assert_eq!(said.len(), ids.len());
        for one in &said {
            prop_assert!(one.started_in <= one.rollouts);
            prop_assert!(one.p50 <= one.p90 || one.p90.is_none(), "{:?}", one);
            prop_assert!(one.running_since.is_some() || one.p50.is_none_or(|p50| p50 >= now));
        }
        prop_assert_eq!(&forecast_many(&engine, now, &history, &ids, &options), &said);
        prop_assert_eq!(serde_json::to_value(engine.snapshot()).unwrap(), serde_json::to_value(before).unwrap());
    }
}
