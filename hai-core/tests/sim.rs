//! Simulation on a clock of its own: exact times of small scenarios, and what must hold of any.

mod support;

use std::ops::ControlFlow;
use std::sync::Arc;

use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::Priority::*;
use hai_core::model::*;
use hai_core::sim::*;
use proptest::prelude::*;
use support::{Lab, NodeBuilder, TaskBuilder, node, secs};

/// A task of user `u` at `NORMAL` for one device.
fn task(name: &str) -> TaskBuilder {
    support::task(name).prio(Normal).devices(1)
}

fn at(second: u64) -> Time {
    Time::ZERO + secs(second)
}

fn engine(config: EngineConfig, nodes: impl IntoIterator<Item = NodeBuilder>) -> Engine {
    let mut engine = Engine::new(config);
    let right = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
    engine.observe(Time::ZERO, &Fact::RightSet { right }).unwrap();
    for node in nodes {
        engine.observe(Time::ZERO, &Fact::NodeSet { node: node.spec() }).unwrap();
    }
    engine
}

fn slot() -> Engine {
    engine(EngineConfig::default(), [node("n0").devices(1)])
}

fn submit(second: u64, task: TaskBuilder, needs: u64) -> Input {
    Input::submit(at(second), Arc::new(task.spec()), Work::of(secs(needs)))
}

/// Two seconds to leave, five to load.
fn slow() -> Conduct {
    Conduct { leave: secs(2), restart: Some(secs(5)), ..Conduct::default() }
}

fn play(engine: Engine, conduct: Conduct, inputs: Vec<Input>) -> Vec<Record> {
    let mut records = Vec::new();
    let mut sim = Sim::new(engine, conduct, inputs);
    assert_eq!(sim.run(Limits { events: 1_000_000, ..Limits::NONE }, &mut records), Halt::NothingLeft);
    assert_eq!(sim.unfinished().count(), 0);
    records.sort_by_key(|record| record.task);
    records
}

/// Second of start and of end.
fn times(record: &Record) -> (u64, u64) {
    let second = |time: Option<Time>| time.unwrap().since(Time::ZERO).as_ms() / 1000;
    (second(record.started_at), second(record.ended_at))
}

#[test]
fn three_tasks_follow_each_other_on_one_device() {
    let tasks = vec![submit(10, task("a"), 100), submit(20, task("b"), 50), submit(30, task("c"), 7)];
    let records = play(slot(), Conduct::default(), tasks);
    assert_eq!(records.iter().map(times).collect::<Vec<_>>(), [(10, 110), (110, 160), (160, 167)]);
    assert_eq!(records.iter().map(|record| record.ran).collect::<Vec<_>>(), [secs(100), secs(50), secs(7)]);
    assert!(records.iter().all(|record| record.lost == Span::ZERO && record.outcome == Some(Outcome::Succeeded)));
}

#[test]
fn starting_takes_its_time_before_anything_is_done() {
    let conduct = Conduct { start: secs(3), ..Conduct::default() };
    let records = play(slot(), conduct, vec![submit(0, task("a"), 10), submit(0, task("b"), 10)]);
    assert_eq!(records.iter().map(times).collect::<Vec<_>>(), [(3, 13), (16, 26)]);
    assert_eq!(records[0].device_ms, 13_000);
}

#[test]
fn who_is_suspended_saves_leaves_and_loads() {
    let tasks = vec![submit(0, task("low"), 100), submit(30, task("high").prio(High), 10)];
    let records = play(slot(), slow(), tasks);
    // 30 s done and 2 to leave; from 42 on 5 to load and 70 to do.
    assert_eq!(times(&records[1]), (32, 42));
    assert_eq!(times(&records[0]), (0, 117));
    assert_eq!((records[0].suspensions, records[0].lost, records[0].loading), (1, Span::ZERO, secs(5)));
    assert_eq!((records[0].ran, records[0].device_ms), (secs(32 + 75), 107_000));
}

#[test]
fn leaving_takes_no_longer_than_the_grace() {
    let conduct = Conduct { leave: secs(60), ..slow() };
    let tasks = vec![submit(0, task("low").grace(1, 2), 100), submit(30, task("high").prio(High), 10)];
    assert_eq!(times(&play(slot(), conduct, tasks)[1]), (33, 43));
}

#[test]
fn who_does_not_save_when_told_goes_back_to_its_checkpoint() {
    let conduct = Conduct { saves: false, ..slow() };
    let saving = task("low").with(|spec| spec.checkpoint_every = Some(secs(20)));
    let records = play(slot(), conduct, vec![submit(0, saving, 100), submit(35, task("high").prio(High), 10)]);
    assert_eq!((records[0].lost, times(&records[0])), (secs(15), (0, 35 + 2 + 10 + 5 + 80)));
    // Without one it begins anew.
    let records = play(slot(), conduct, vec![submit(0, task("low"), 100), submit(35, task("high").prio(High), 10)]);
    assert_eq!((records[0].lost, times(&records[0])), (secs(35), (0, 35 + 2 + 10 + 5 + 100)));
}

#[test]
fn the_engine_hears_of_checkpoints() {
    let saving = task("low").with(|spec| spec.checkpoint_every = Some(secs(20)));
    let mut sim = Sim::new(slot(), Conduct::default(), vec![submit(0, saving, 100)]);
    assert_eq!(sim.run(Limits { until: at(50), ..Limits::NONE }, &mut ()), Halt::Time);
    assert_eq!(sim.now(), at(50));
    let run = sim.engine().runs().next().unwrap();
    assert_eq!(run.checkpointed_at, Some(at(40)));
    assert_eq!(sim.engine().task(TaskId(1)).unwrap().whole_life_state, 40_000);
}

#[test]
fn a_lost_node_takes_what_was_not_saved() {
    let saving = task("a").with(|spec| spec.checkpoint_every = Some(secs(20)));
    let lost = Input::Fact { at: at(35), fact: Fact::NodeSet { node: node("n0").devices(1).not_ready().spec() } };
    let back = Input::Fact { at: at(60), fact: Fact::NodeSet { node: node("n0").devices(1).spec() } };
    let records = play(slot(), slow(), vec![submit(0, saving, 100), lost, back]);
    assert_eq!((records[0].lost, times(&records[0])), (secs(15), (0, 60 + 5 + 80)));
    assert_eq!(records[0].ran, secs(35 + 85));
}

#[test]
fn fewer_workers_take_longer_in_proportion() {
    let gang = task("gang").workers(4).with(|spec| spec.workers_min = Some(1));
    let nodes = [node("n0").devices(3)];
    let records = play(engine(EngineConfig::default(), nodes), Conduct::default(), vec![submit(0, gang, 30)]);
    assert_eq!(times(&records[0]), (0, 40));
    assert_eq!(records[0].device_ms, 3 * 40_000);
}

#[test]
fn limits_stops_and_failures_end_tasks() {
    let retried = task("f").retries(2, secs(10));
    let fails = Work { needs: secs(5), ends: Ending::Failure };
    let nodes = [node("n0").devices(4)];
    let inputs = vec![
        submit(0, task("limited").limit(secs(30)), 100),
        submit(0, task("stopped"), 100),
        Input::submit(at(0), Arc::new(retried.spec()), fails),
        Input::submit(at(0), Arc::new(task("endless").spec()), Work::of(Span::MAX)),
        submit(1, task("follower").after(&[TaskId(3)]), 1),
        Input::Fact { at: at(40), fact: Fact::Cancelled { task: TaskId(2) } },
        Input::Fact { at: at(50), fact: Fact::Cancelled { task: TaskId(4) } },
    ];
    let records = play(engine(EngineConfig::default(), nodes), slow(), inputs);
    let ends: Vec<_> = records.iter().map(|record| record.ended_at.unwrap().since(Time::ZERO).as_ms() / 1000).collect();
    // The third: 5 to fail, 10 to wait, 5 to load and 5 to fail, 20 to wait, the same again.
    assert_eq!(ends, [32, 42, 55, 52, 55]);
    assert!(matches!(records[0].outcome, Some(Outcome::Failed { .. })));
    assert_eq!(records[1].outcome, Some(Outcome::Stopped));
    assert!(matches!(records[2].outcome, Some(Outcome::Failed { .. })));
    assert_eq!((records[4].started_at, records[4].ran), (None, Span::ZERO));
}

#[test]
fn a_live_engine_goes_on_in_a_copy() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.submit(task("a"));
    lab.submit(task("b"));
    lab.submit(task("c").prio(Low));
    lab.settle();
    lab.pass(secs(100));
    let asked = std::cell::RefCell::new(Vec::new());
    let mut records: Vec<Record> = Vec::new();
    let mut sim = Sim::resume(lab.engine.clone(), lab.now, Conduct::default(), [], |view, run| {
        asked.borrow_mut().push((view.id.0, run.is_some()));
        Work::of(secs(30))
    });
    assert_eq!(*asked.borrow(), [(1, true), (2, false), (3, false)]);
    assert_eq!(sim.run(Limits::NONE, &mut records), Halt::NothingLeft);
    assert_eq!(records.iter().map(times).collect::<Vec<_>>(), [(0, 130), (130, 160), (160, 190)]);
    assert_eq!(records[0].ran, secs(130));
    // The live one has not moved.
    assert_eq!(lab.engine.tasks().count(), 3);
}

#[test]
fn work_done_before_the_copy_was_taken_can_be_lost_too() {
    let mut lab = Lab::hai(|_| {}).with_devices(1);
    lab.submit(task("a"));
    lab.settle();
    lab.pass(secs(100));
    let lost = Input::Fact { at: at(110), fact: Fact::NodeSet { node: node("n0").devices(1).not_ready().spec() } };
    let back = Input::Fact { at: at(120), fact: Fact::NodeSet { node: node("n0").devices(1).spec() } };
    let mut records: Vec<Record> = Vec::new();
    let mut sim = Sim::resume(lab.engine, lab.now, slow(), [lost, back], |_, _| Work::of(secs(30)));
    assert_eq!(sim.run(Limits::NONE, &mut records), Halt::NothingLeft);
    assert_eq!((records[0].lost, times(&records[0])), (secs(110), (0, 120 + 5 + 130)));
}

#[test]
fn what_is_refused_is_told_and_changes_nothing() {
    #[derive(Default)]
    struct Refused(Vec<String>);
    impl Watch for Refused {
        fn refused(&mut self, _: &Input, why: &hai_core::engine::FactError) -> ControlFlow<()> {
            self.0.push(why.to_string());
            ControlFlow::Continue(())
        }
    }
    let bad = Input::Fact { at: at(5), fact: Fact::Cancelled { task: TaskId(9) } };
    let mut watch = Refused::default();
    let mut sim = Sim::new(slot(), Conduct::default(), vec![submit(0, task("a"), 10), bad]);
    assert_eq!(sim.run(Limits::NONE, &mut watch), Halt::NothingLeft);
    assert_eq!(watch.0.len(), 1);
    assert_eq!(sim.now(), at(10));
}

#[test]
fn a_simulation_stops_where_it_is_told_and_goes_on() {
    struct First(Option<(Time, TaskId)>);
    impl Watch for First {
        fn started(&mut self, at: Time, task: TaskId, _: RunId) -> ControlFlow<()> {
            if task == TaskId(2) {
                self.0 = Some((at, task));
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        }
    }
    let tasks = || vec![submit(0, task("a"), 10), submit(0, task("b"), 10), submit(0, task("c"), 10)];
    let mut watch = First(None);
    let mut sim = Sim::new(slot(), Conduct::default(), tasks());
    assert_eq!(sim.run(Limits::NONE, &mut watch), Halt::Watch);
    assert_eq!((watch.0, sim.now()), (Some((at(10), TaskId(2))), at(10)));
    assert_eq!(sim.run(Limits { events: 1, ..Limits::NONE }, &mut ()), Halt::Events);
    assert_eq!(sim.run(Limits::NONE, &mut ()), Halt::NothingLeft);
    let mut at_once = Sim::new(slot(), Conduct::default(), tasks());
    assert_eq!(at_once.run(Limits::NONE, &mut ()), Halt::NothingLeft);
    assert_eq!((sim.counts().events, sim.now()), (at_once.counts().events, at_once.now()));
}

/// A random load of two nodes: who, how urgent, how many devices, how long after the one before, how long.
fn loads() -> impl Strategy<Value = Vec<(u8, u8, u32, u64, u64)>> {
    prop::collection::vec((0..3_u8, 0..4_u8, 0..5_u32, 0..40_u64, 1..200_u64), 1..60)
}

fn inputs(load: &[(u8, u8, u32, u64, u64)]) -> Vec<Input> {
    let mut second = 0;
    let one = |&(who, level, devices, after, needs): &(u8, u8, u32, u64, u64)| {
        second += after;
        let level = [Low, Normal, AboveNormal, High][usize::from(level)];
        let who = ["a", "b", "c"][usize::from(who)];
        let every = (needs % 3 == 0).then_some(secs(7));
        let task = task("t").user(who).prio(level).devices(devices);
        submit(second, task.with(|spec| spec.checkpoint_every = every), needs)
    };
    load.iter().map(one).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(debug_assertions) { 200 } else { 1000 }))]

    /// What a task ran is what was in it, what it lost, and what it loaded: nothing is done twice or for nothing.
    #[test]
    fn time_adds_up(load in loads(), saves in any::<bool>(), restart in 0..9_u64, slice in 20..200_u64) {
        let mut config = EngineConfig::default();
        // Who loses all in every slice would never be done.
        config.timing.slice = if saves { secs(slice) } else { secs(14_400) };
        let nodes = || [node("n0").devices(4), node("n1").devices(2)];
        let conduct = Conduct { restart: Some(secs(restart)), saves, ..Conduct::default() };
        let records = play(engine(config.clone(), nodes()), conduct, inputs(&load));
        prop_assert_eq!(records.len(), load.len());
        let mut devices_ms = 0;
        for (record, &(_, _, devices, _, needs)) in records.iter().zip(&load) {
            prop_assert_eq!(&record.outcome, &Some(Outcome::Succeeded));
            prop_assert_eq!(record.ran, secs(needs) + record.lost + record.loading, "{:?}", record);
            prop_assert_eq!(record.device_ms, record.ran.as_ms() * u64::from(devices));
            prop_assert!(record.suspensions > 0 || record.loading == Span::ZERO);
            prop_assert!(!saves || record.lost == Span::ZERO);
            devices_ms += record.device_ms;
        }
        let end = records.iter().filter_map(|record| record.ended_at).max().unwrap();
        prop_assert!(devices_ms <= 6 * end.since(Time::ZERO).as_ms());
        // The same again is the same.
        prop_assert_eq!(play(engine(config, nodes()), conduct, inputs(&load)), records);
    }

    /// A copy that is taken in the middle, and told what is truly left, goes on as the original does.
    #[test]
    fn a_copy_goes_on_as_the_original(load in loads(), cut in 0..2000_u64) {
        let conduct = Conduct { restart: Some(Span::ZERO), ..Conduct::default() };
        let nodes = [node("n0").devices(4), node("n1").devices(2)];
        let all = inputs(&load);
        let whole = play(engine(EngineConfig::default(), nodes.clone()), conduct, all.clone());
        let mut records: Vec<Record> = Vec::new();
        let mut sim = Sim::new(engine(EngineConfig::default(), nodes), conduct, all.clone());
        let _ = sim.run(Limits { until: at(cut), ..Limits::NONE }, &mut records);
        let later: Vec<_> = all.iter().filter(|input| input.at() > sim.now()).cloned().collect();
        let now = sim.now();
        let mut copy = Sim::resume(sim.engine().clone(), sim.now(), conduct, later, |view, run| {
            let ran = view.ran + run.and_then(|run| run.started_at).map_or(Span::ZERO, |start| now.since(start));
            let needs = secs(load[usize::try_from(view.id.0).unwrap() - 1].4);
            Work::of(needs - ran)
        });
        let _ = copy.run(Limits::NONE, &mut records);
        records.sort_by_key(|record| record.task);
        let ends = |records: &[Record]| records.iter().map(|record| record.ended_at).collect::<Vec<_>>();
        prop_assert_eq!(ends(&records), ends(&whole));
    }
}

/// Nodes were kept for a task while the one before it of its shape ran; that one is suspended and comes first again.
#[test]
fn nodes_that_are_kept_for_one_do_not_stop_the_one_before_it() {
    let mut config = EngineConfig::default();
    config.timing.slice = secs(20);
    let load = [
        (0, 0, 3, 0, 67),
        (1, 0, 4, 0, 153),
        (0, 1, 3, 0, 99),
        (0, 2, 3, 0, 154),
        (2, 0, 4, 1, 132),
        (1, 1, 3, 0, 137),
        (0, 1, 4, 0, 59),
        (2, 0, 4, 0, 1),
        (0, 0, 3, 0, 33),
        (1, 2, 3, 18, 21),
        (1, 2, 3, 0, 125),
        (0, 1, 4, 0, 22),
        (0, 0, 4, 0, 111),
        (2, 0, 3, 0, 90),
        (2, 1, 3, 0, 57),
        (1, 1, 3, 0, 95),
        (0, 1, 3, 0, 118),
        (0, 3, 3, 8, 41),
    ];
    let conduct = Conduct { restart: Some(secs(5)), ..Conduct::default() };
    let records = play(engine(config, [node("n0").devices(4), node("n1").devices(2)]), conduct, inputs(&load));
    assert_eq!(records.len(), load.len());
}
