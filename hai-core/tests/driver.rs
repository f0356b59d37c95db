//! The driver over a store and a cluster that fail and a process that dies: nothing is lost, done twice or forgotten.

#[path = "driver/sim.rs"]
mod sim;
mod support;
#[path = "driver/world.rs"]
mod world;
#[path = "driver/wrap.rs"]
mod wrap;

use hai_core::backend::*;
use hai_core::engine::EngineConfig;
use hai_core::explain::what_if;
use hai_core::model::*;

use sim::{Count, Sim, comparable, simulate, submit};
use support::{node, secs, task};
use world::Fault;
use wrap::Damage;

fn one_device(name: &str) -> Command {
    submit(task(name).devices(1).spec())
}

/// One device, and task 1 on it as run 1.
fn running() -> Sim {
    let mut sim = Sim::calm(1);
    sim.step(vec![one_device("t1")]).unwrap();
    sim.settle();
    assert_eq!(sim.driver().engine().run(RunId(1)).unwrap().phase, RunPhase::Running);
    sim
}

fn kill() -> WorkerExit {
    WorkerExit::of(WorkerFate::Killed { signal: 15 }).after_signal()
}

fn present(sim: &mut Sim) -> Vec<(RunId, bool)> {
    sim.cluster.inner.executing().into_iter().map(|(order, told)| (order.run, told)).collect()
}

// --- random loads

#[track_caller]
fn was_wild(count: &Count, seeds: u64) {
    println!("{count:?}");
    let seen = [count.crashes, count.failures, count.fenced, count.suspended, count.failed, count.stopped];
    assert!(seen.iter().all(|seen| *seen > seeds / 4), "{count:?}");
    assert!(count.succeeded > seeds && count.runs > count.succeeded, "{count:?}");
}

#[test]
fn many_short_bad_days() {
    was_wild(&simulate(0..150, 60), 150);
}

#[test]
fn some_long_bad_days() {
    was_wild(&simulate(1000..1020, 250), 20);
}

// --- crashes, one by one

/// A gang that needs the place of another task: the start, the suspension, its end and the start behind it, with a crash
/// at every await point that there is on this way, and a second one soon after.
#[test]
fn a_crash_at_every_single_point_does_no_harm() {
    for second in [0, 3, 7, u64::MAX] {
        let mut crashed = true;
        let mut point = 0;
        while crashed {
            let mut sim = Sim::new(EngineConfig::default(), [node("n0").devices(1), node("n1").devices(1)], point);
            sim.step(vec![sim::anything_goes()]).unwrap();
            sim.world.crash_in(point);
            sim.step(vec![submit(task("low").prio(Priority::Low).devices(1).spec())]);
            let reports = sim.reports(9);
            sim.step(reports);
            sim.step(vec![submit(task("high").prio(Priority::High).workers(2).devices(1).spec())]);
            let reports = sim.reports(9);
            sim.step(reports);
            crashed = sim.count.crashes > 0;
            sim.world.crash_in(second);
            for (run, told) in present(&mut sim) {
                if told {
                    sim.cluster.end(run, 0, kill());
                }
            }
            let reports = sim.reports(9);
            sim.step(reports);
            let reports = sim.reports(9);
            sim.step(reports);
            sim.finish();
            point += 1;
        }
        assert!(point > 10, "only {point} points");
    }
}

#[test]
fn a_failed_commit_lets_no_order_out() {
    let mut sim = Sim::calm(1);
    sim.world.arm(Fault::CommitLost);
    let (world, now) = (sim.world.clone(), sim.now);
    let answer = world.run(sim.driver().step(now, vec![one_device("t1")])).unwrap();
    assert!(matches!(answer, Err(DriverError::Store(_))), "{answer:?}");
    assert_eq!(world.state().orders, 0);
    sim.reopen(false);
    assert_eq!(sim.driver().engine().tasks().count(), 0);
}

#[test]
fn a_commit_whose_answer_was_lost_is_carried_out_by_the_next_driver() {
    let mut sim = Sim::calm(1);
    sim.world.arm(Fault::CommitUnanswered);
    assert_eq!(sim.step(vec![one_device("t1")]), None);
    assert_eq!(present(&mut sim), [(RunId(1), false)]);
    sim.finish();
}

// --- orders that the cluster would not take

#[test]
fn a_run_that_can_not_be_told_to_leave_keeps_its_place_and_is_told_again() {
    for (fault, fact) in
        [(Fault::Suspend, Fact::Held { task: TaskId(1) }), (Fault::Stop, Fact::Cancelled { task: TaskId(1) })]
    {
        let mut sim = running();
        sim.world.arm(fault);
        sim.step(vec![Command::Tell(fact), one_device("t2")]).unwrap();
        sim.settle();
        assert_eq!(present(&mut sim), [(RunId(1), false)], "{fault:?}");
        let again = sim.driver().next_deadline().unwrap();
        assert!(again > sim.now && again <= sim.now + secs(60), "{again}");
        sim.now = again;
        sim.step(vec![]).unwrap();
        assert_eq!(present(&mut sim), [(RunId(1), true)], "{fault:?}");
        assert_eq!(sim.driver().next_deadline(), None);
        sim.cluster.end(RunId(1), 0, kill());
        sim.settle();
        assert_eq!(present(&mut sim), [(RunId(2), false)], "{fault:?}");
        sim.finish();
    }
}

#[test]
fn a_refused_start_is_tried_again_as_another_run() {
    let mut sim = Sim::calm(1);
    sim.world.arm(Fault::Start);
    sim.step(vec![one_device("t1")]).unwrap();
    sim.settle();
    let why = sim.driver().engine().verdict(TaskId(1)).unwrap();
    assert!(matches!(&why, Verdict::BackOff { reason, .. } if reason.contains("injected")), "{why:?}");
    sim.now = sim.driver().next_deadline().unwrap();
    sim.step(vec![]).unwrap();
    assert_eq!(present(&mut sim), [(RunId(2), false)]);
    sim.finish();
}

#[test]
fn a_run_that_was_to_stop_is_stopped_after_a_crash_and_not_only_suspended() {
    let mut sim = running();
    // The decision is stored; the order is not given any more.
    sim.world.arm(Fault::CommitUnanswered);
    assert_eq!(sim.step(vec![Command::Tell(Fact::Cancelled { task: TaskId(1) })]), None);
    // The cluster has checked that the order that came was a stop.
    assert_eq!(present(&mut sim), [(RunId(1), true)]);
    sim.finish();
}

// --- strays

#[test]
fn strays_are_stopped_and_forgotten() {
    let mut sim = Sim::calm(1);
    let place = WorkerPlacement {
        node: NodeName::new("n0").unwrap(),
        whole_node: false,
        devices: Default::default(),
        part: None,
        cpu_milli: 0,
        memory_mib: 0,
    };
    let run = RunId(77);
    let order = StartOrder {
        run,
        task: TaskId(55),
        attempt: 1,
        name: "stray".into(),
        user: support::user("u"),
        group: support::group("g"),
        program: Program { command: vec!["job".into()], ..Program::default() },
        placement: Placement { workers: [place.clone(), place].into_iter().collect() },
        grace: Grace::default(),
        whole_life_state: 0,
    };
    sim.world.state().strays.insert(run);
    sim.world.begins(&order);
    let mut cluster = sim.cluster.inner.clone();
    let Ok(()) = sim.world.run(cluster.start(&order)).unwrap();
    sim.reopen(false);
    assert_eq!(present(&mut sim), [(run, true)]);
    for rank in 0..2 {
        sim.cluster.end(run, rank, kill());
        assert!(!sim.world.state().runs[&run].forgotten, "forgotten before all its workers have ended");
        for command in sim.reports(9) {
            let stray =
                matches!(command, Command::Tell(Fact::WorkerEnded { .. }) | Command::Seen(Fact::WorkerEnded { .. }));
            let replies = sim.step(vec![command]).unwrap();
            assert!(!stray || replies[0].is_err(), "the engine knows nothing of it");
        }
    }
    assert!(sim.world.state().runs[&run].forgotten);
    assert_eq!(sim.world.run(sim.cluster.list()).unwrap().unwrap().workers, []);
    sim.finish();
}

// --- the log

#[test]
fn closing_leaves_nothing_to_replay() {
    let mut sim = running();
    sim.close();
    assert_eq!(sim.driver().engine().run(RunId(1)).unwrap().phase, RunPhase::Running);
    assert_eq!(present(&mut sim), [(RunId(1), false)]);
    let records = sim.store.inner.kept().records.len();
    sim.close();
    assert_eq!(sim.store.inner.kept().records.len(), records, "closing again writes nothing");
    sim.check_log();
    sim.finish();
}

#[test]
fn a_long_log_is_replayed_from_a_snapshot_to_the_same_state() {
    let mut sim = running();
    for state in 1..=1500 {
        sim.now += secs(1);
        sim.cluster.checkpoint(RunId(1), state);
        sim.settle();
    }
    sim.step(vec![one_device("t2")]).unwrap();
    let before = comparable(sim.driver().engine());
    sim.driver = None;
    let driver = sim.open().unwrap().unwrap();
    let replayed = *sim.store.replayed.lock().unwrap();
    assert!((1..1000).contains(&replayed), "{replayed} records were replayed");
    assert_eq!(comparable(driver.engine()), before);
    sim.driver = Some(driver);
    sim.check_log();
    sim.finish();
}

#[test]
fn a_long_queue_is_written_down_the_more_seldom_the_longer_it_is() {
    let mut sim = running();
    let mut snapshots = std::collections::BTreeSet::new();
    for number in 0..3000 {
        sim.step(vec![one_device("t2")]).unwrap();
        if number % 250 == 0 {
            snapshots.extend(sim.store.inner.kept().snapshot.map(|snapshot| snapshot.seq));
        }
    }
    // About 6000 records: after 1000, 2000 and 4000, each as far from the last as there are tasks by then.
    assert!((2..=3).contains(&snapshots.len()), "{snapshots:?}");
    let before = comparable(sim.driver().engine());
    sim.driver = None;
    let driver = sim.open().unwrap().unwrap();
    let replayed = *sim.store.replayed.lock().unwrap();
    assert!(replayed <= driver.engine().unfinished(), "{replayed} records were replayed");
    assert_eq!(comparable(driver.engine()), before);
    sim.driver = Some(driver);
    sim.check_log();
}

#[test]
fn a_clock_that_goes_back_does_not_spoil_the_log() {
    let mut sim = running();
    let before = sim.now;
    sim.now += secs(1000);
    // Nothing happens, so nothing is written; but the engine has seen the time.
    sim.step(vec![]).unwrap();
    sim.now = before;
    sim.step(vec![one_device("t2")]).unwrap();
    sim.check_log();
    let submitted = sim.driver().engine().task(TaskId(2)).unwrap().submitted_at;
    assert_eq!(submitted, before + secs(1000));
    sim.reopen(false);
    assert_eq!(sim.driver().engine().task(TaskId(2)).unwrap().submitted_at, submitted);
    sim.finish();
}

fn last_digest(saved: &mut Saved) -> &mut Option<Digest> {
    let digests = saved.records.iter_mut().map(|record| &mut record.digest);
    digests.rev().find(|digest| digest.is_some()).unwrap()
}

#[test]
fn a_damaged_record_is_named() {
    let records = running().store.inner.kept().records;
    let last_round = records.iter().rfind(|record| record.digest.is_some()).unwrap().seq;
    let first_round = records.iter().find(|record| record.digest.is_some()).unwrap().seq;
    let cases: [(&str, Damage, u64); 5] = [
        ("a digest", |saved| last_digest(saved).as_mut().unwrap().0[0] ^= 1, last_round),
        ("a missing digest", |saved| *last_digest(saved) = None, last_round),
        // Facts have no digest of their own; the next round's covers them.
        ("a time", |saved| saved.records[0].at += secs(1), first_round),
        ("a missing record", |saved| drop(saved.records.remove(1)), 3),
        ("a record twice", |saved| saved.records.insert(1, saved.records[0].clone()), 1),
    ];
    for (what, damage, expected) in cases {
        let mut sim = running();
        sim.driver = None;
        sim.store.damage = Some(damage);
        match sim.open().unwrap() {
            Err(DriverError::Log { seq, problem }) => assert_eq!(seq, expected, "{what}: {problem}"),
            other => panic!("{what} went unnoticed: {:?}", other.map(drop)),
        }
        // Nothing was acted upon, and the log itself is as sound as before.
        sim.store.damage = None;
        sim.reopen(false);
        sim.finish();
    }
}

/// A decision that no engine could have made, with a digest that fits.
#[test]
fn a_log_that_contradicts_itself_is_named() {
    let mut sim = running();
    sim.driver = None;
    sim.store.damage = Some(|saved| {
        let mut chain = Chain::default();
        let fact = Fact::Released { task: TaskId(9) };
        saved.records = vec![chain.fact(Time::ZERO, fact), chain.round(Time::ZERO, vec![])];
    });
    match sim.open().unwrap() {
        Err(DriverError::Log { seq: 1, problem }) => assert!(problem.contains("task 9"), "{problem}"),
        other => panic!("it went unnoticed: {:?}", other.map(drop)),
    }
}

// --- what was shown, and other settings

#[test]
fn what_was_shown_is_done_or_refused() {
    let mut sim = running();
    let better = || vec![submit(task("high").prio(Priority::ExtremeHigh).user("v").devices(1).spec())];
    let change = [better()[0].change()];
    let now = sim.now;
    let shown = what_if(sim.driver().engine(), now, &change).unwrap();
    assert_eq!(shown.leaves.iter().map(|leave| leave.task).collect::<Vec<_>>(), [TaskId(1)]);
    // Somebody else's task ends meanwhile: nobody would have to leave any more.
    sim.step(vec![Command::Tell(Fact::Cancelled { task: TaskId(1) })]).unwrap();
    sim.settle();
    let (world, now) = (sim.world.clone(), sim.now);
    let kept = sim.store.inner.kept().records;
    let answer = world.run(sim.driver().step_if(now, better(), &shown.stamp)).unwrap().unwrap();
    let Err(Refused::Stale(fresh)) = answer else { panic!("{answer:?}") };
    assert_eq!(sim.store.inner.kept().records, kept, "nothing was written");
    let answer = world.run(sim.driver().step_if(now, better(), &fresh.stamp)).unwrap().unwrap();
    assert_eq!(answer, Ok(vec![Ok(Some(TaskId(2)))]));
    let gone = vec![Command::Tell(Fact::Cancelled { task: TaskId(77) })];
    let answer = world.run(sim.driver().step_if(now, gone, &fresh.stamp)).unwrap().unwrap();
    assert!(matches!(&answer, Err(Refused::Impossible(error)) if error.index == 0), "{answer:?}");
}

#[test]
fn another_configuration_in_the_middle_of_a_log_is_part_of_it() {
    let mut sim = running();
    let config = EngineConfig { borrow: true, ..EngineConfig::default() };
    sim.step(vec![Command::Configure(Box::new(config.clone())), one_device("t2")]).unwrap();
    assert_eq!(sim.driver().engine().config(), &config);
    sim.check_log();
    let opened = |sim: &Sim| -> Vec<EngineConfig> {
        let records = sim.store.inner.kept().records.into_iter();
        let config = |record: Record| match record.entry {
            Entry::Opened(opening) => Some(opening.config),
            _ => None,
        };
        records.filter_map(config).collect()
    };
    assert_eq!(opened(&sim), [EngineConfig::default(), config.clone()]);
    sim.step(vec![Command::Configure(Box::new(config))]).unwrap();
    assert_eq!(opened(&sim).len(), 2, "it has that already");
    sim.finish();
}

#[test]
fn what_a_cluster_sees_of_a_node_takes_no_operator_s_wish_back() {
    let mut sim = running();
    let plain = sim.driver().engine().nodes().next().unwrap().spec;
    let drained = hai_core::model::NodeSpec { draining: true, ..plain.clone() };
    let drains = |sim: &mut Sim| sim.driver().engine().node(&plain.name).unwrap().draining;
    sim.step(vec![Command::Tell(Fact::NodeSet { node: drained })]).unwrap();
    // Its memory grew, which is all that the cluster knows.
    let grown = hai_core::model::NodeSpec { memory_mib: plain.memory_mib + 1, ..plain.clone() };
    sim.step(vec![Command::Seen(Fact::NodeSet { node: grown.clone() })]).unwrap();
    assert!(drains(&mut sim));
    assert_eq!(sim.driver().engine().node(&plain.name).unwrap().memory_mib, grown.memory_mib);
    // Who drained it may take that back.
    sim.step(vec![Command::Tell(Fact::NodeSet { node: grown })]).unwrap();
    assert!(!drains(&mut sim));
}

/// Tells what the one node is there for.
fn duty(sim: &mut Sim, duty: Duty) -> NodeName {
    let node = sim.driver().engine().nodes().next().unwrap().spec.name;
    let told = Command::Tell(Fact::NodeDuty { node: node.clone(), duty }).by(UserName::new("root").unwrap());
    sim.step(vec![told]).unwrap();
    node
}

#[test]
fn what_an_operator_says_of_a_node_is_logged_and_holds_whatever_the_cluster_sees_or_dies() {
    let mut sim = running();
    let node = duty(&mut sim, Duty::Cordoned);
    let last = sim.store.inner.kept().records.into_iter().rfind(|record| matches!(record.entry, Entry::Fact(_)));
    let last = last.unwrap();
    assert_eq!(last.by, Some(UserName::new("root").unwrap()));
    assert_eq!(last.entry, Entry::Fact(Fact::NodeDuty { node: node.clone(), duty: Duty::Cordoned }));
    sim.step(vec![one_device("t2")]).unwrap();
    assert!(sim.driver().engine().runs().all(|run| run.task == TaskId(1) && run.phase == RunPhase::Running));
    let seen = NodeSpec { memory_mib: 1 << 20, ..NodeSpec::clone(sim.driver().engine().node(&node).unwrap()) };
    let seen = NodeSpec { closed: false, ..seen };
    sim.step(vec![Command::Seen(Fact::NodeSet { node: seen })]).unwrap();
    assert_eq!(sim.driver().engine().node(&node).unwrap().duty(), Duty::Cordoned);
    sim.reopen(false);
    assert_eq!(sim.driver().engine().node(&node).unwrap().duty(), Duty::Cordoned);
    // A node that nobody cordons any more takes what waited.
    duty(&mut sim, Duty::Drained);
    assert!(sim.driver().engine().runs().all(|run| run.phase == RunPhase::Vacating));
    sim.cluster.end(RunId(1), 0, kill());
    sim.settle();
    assert_eq!(sim.driver().engine().runs().count(), 0);
    duty(&mut sim, Duty::Open);
    sim.settle();
    assert_eq!(sim.driver().engine().runs().map(|run| run.task).collect::<Vec<_>>(), [TaskId(1)]);
    sim.finish();
}

#[test]
fn a_cluster_is_told_who_takes_no_work_until_it_heard() {
    let mut sim = running();
    sim.world.arm(Fault::Cordon);
    let node = duty(&mut sim, Duty::Drained);
    assert_eq!(sim.cluster.inner.cordons().get(&node), None);
    // The process dies before it says so again.
    sim.reopen(false);
    assert_eq!(sim.cluster.inner.cordons().get(&node), Some(&true));
    sim.world.arm(Fault::Cordon);
    duty(&mut sim, Duty::Open);
    assert_eq!(sim.cluster.inner.cordons().get(&node), Some(&true));
    let again = sim.driver().next_deadline().expect("it is told again");
    sim.now = again;
    sim.step(Vec::new()).unwrap();
    assert_eq!(sim.cluster.inner.cordons().get(&node), Some(&false));
    sim.finish();
}

#[test]
fn a_node_that_is_drained_stays_so_when_the_driver_starts_anew() {
    let mut sim = running();
    let mut drained = sim.driver().engine().nodes().next().unwrap().spec;
    drained.draining = true;
    sim.step(vec![Command::Tell(Fact::NodeSet { node: drained })]).unwrap();
    sim.settle();
    sim.reopen(false);
    assert!(sim.driver().engine().nodes().all(|node| node.spec.draining));
    assert!(sim.driver().engine().runs().all(|run| run.phase == RunPhase::Vacating));
}

// --- the lease

#[test]
fn a_second_driver_fences_the_first() {
    let mut sim = running();
    let mut first = sim.driver.take().unwrap();
    first.take_events();
    let second = sim.open().unwrap().unwrap();
    let (kept, orders) = (sim.store.inner.kept(), sim.world.state().orders);
    let commands = vec![Command::Tell(Fact::Cancelled { task: TaskId(1) }), one_device("t2")];
    let answer = sim.world.run(first.step(sim.now, commands)).unwrap();
    assert!(matches!(answer, Err(DriverError::Fenced)), "{answer:?}");
    assert!(first.take_events().is_empty(), "nobody is told what is not stored");
    let closed = sim.world.run(first.close()).unwrap();
    assert!(matches!(closed, Err(DriverError::Fenced)), "{closed:?}");
    let after = sim.store.inner.kept();
    assert_eq!((after.records, after.tasks, after.programs), (kept.records, kept.tasks, kept.programs));
    assert!(after.snapshot.is_none());
    assert_eq!(sim.world.state().orders, orders);
    sim.driver = Some(second);
    sim.step(vec![one_device("t2")]).unwrap();
    sim.finish();
}
