//! What a log adds up to, by hand and against books of the test's own.

use hai_core::backend::{Entry, Follower, Record};
use hai_core::engine::{EngineConfig, Policies};
use hai_core::log::{Audit, AuditEntry, Auditor, Claimed, Happening, Sums, Window};
use hai_core::model::*;

use super::stories::{config, records};
use crate::sim::{Sim, submit};
use crate::support::{node, secs, task, user};

const ALWAYS: Window = Window { since: Time::ZERO, until: Time::MAX };

fn audit(config: EngineConfig, records: &[Record], window: Window, now: Time) -> (Vec<AuditEntry>, Audit) {
    let mut auditor = Auditor::new(Follower::new(config, Policies::default()), window);
    let mut entries = Vec::new();
    for record in records {
        auditor.take(record, |entry| entries.push(entry)).unwrap();
    }
    (entries, auditor.close(now))
}

fn sums_of(audit: &Audit, name: &str) -> Sums {
    audit.users.iter().find(|row| row.user == user(name)).map(|row| row.sums).unwrap_or_default()
}

fn leaves(sim: &Sim, run: u64) {
    let exit = WorkerExit::of(WorkerFate::Killed { signal: 15 }).after_signal();
    sim.cluster.end(RunId(run), 0, exit);
}

/// Ann has both devices for 100 s, saves after 60 s, and gives way to Bob's better task, which runs for 50 s.
fn two_people() -> Sim {
    let mut sim = Sim::calm(2);
    sim.step(vec![submit(task("long").user("ann").prio(Priority::Normal).devices(2).spec()).by(user("ann"))]).unwrap();
    sim.settle();
    sim.now += secs(60);
    sim.cluster.checkpoint(RunId(1), 7);
    sim.settle();
    sim.now += secs(40);
    sim.step(vec![submit(task("short").user("bob").prio(Priority::High).devices(2).spec()).by(user("root"))]).unwrap();
    sim.now += secs(5);
    leaves(&sim, 1);
    sim.settle();
    sim.now += secs(50);
    sim.cluster.end(RunId(2), 0, WorkerExit::exited(0));
    sim.settle();
    sim.now += secs(10);
    sim
}

#[test]
fn what_was_held_lost_and_due_is_added_up() {
    let sim = two_people();
    let records = sim.store.inner.kept().records;
    let (_, audit) = audit(EngineConfig::default(), &records, ALWAYS, sim.now);
    let (ann, bob) = (sums_of(&audit, "ann"), sums_of(&audit, "bob"));
    assert_eq!(audit.window, Window { since: records[0].at, until: sim.now });
    // Ann: 2 devices for 100 s, and for the 5 s of leaving; then again for 10 s. Since her last save: 45 s.
    assert_eq!(ann.right_device_ms, 2 * 115_000);
    assert_eq!((ann.lost_device_ms, ann.starts, ann.suspensions), (2 * 45_000, 2, 1));
    assert_eq!((bob.right_device_ms, bob.lost_device_ms, bob.starts, bob.suspensions), (2 * 50_000, 0, 1, 0));
    // Alone for 100 s all was Ann's; then each wanted both, for 55 s; then it was all hers again.
    assert_eq!(ann.share_due_device_ms, 2 * 110_000 + 55_000);
    assert_eq!(bob.share_due_device_ms, 55_000);
    assert_eq!((ann.share_got_device_ms, bob.share_got_device_ms), (230_000, 100_000));
    assert_eq!(audit.total.share_got_device_ms, 330_000);
    assert_eq!((audit.total.starts, audit.total.suspensions), (3, 1));
}

#[test]
fn entries_say_who_what_and_why() {
    let sim = two_people();
    let records = sim.store.inner.kept().records;
    let (entries, _) = audit(EngineConfig::default(), &records, ALWAYS, sim.now);
    let said: Vec<String> = entries.iter().map(ToString::to_string).collect();
    let expected = [
        "the scheduler started",
        "the right of every user is unlimited nodes and unlimited devices",
        "task 1 of ann: submitted as \"long\" (by ann)",
        "task 1 of ann: started on n0, within its right at NORMAL",
        "task 2 of bob: submitted as \"short\" (by root)",
        "task 1 of ann: suspended: task 2 has a better right to its place",
        "task 1 of ann: run 1 has left, 90 device-seconds of work lost",
        "task 2 of bob: started on n0, within its right at HIGH, in the place of task 1",
        "task 2 of bob: run 2 is complete",
        "task 2 of bob: succeeded",
        "task 1 of ann: started again (attempt 2) on n0, within its right at NORMAL",
    ];
    assert_eq!(said.len(), expected.len(), "{said:#?}");
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.contains(expected), "{said:?} does not say {expected:?}");
    }
    assert!(entries.windows(2).all(|pair| pair[0].seq <= pair[1].seq));
}

#[test]
fn a_window_cuts_what_is_held() {
    let sim = two_people();
    let records = sim.store.inner.kept().records;
    let start = records[0].at;
    let window = Window { since: start + secs(90), until: start + secs(110) };
    let (entries, audit) = audit(EngineConfig::default(), &records, window, sim.now);
    assert_eq!(audit.window, window);
    // Ann until 105 s, then Bob.
    assert_eq!(sums_of(&audit, "ann").right_device_ms, 2 * 15_000);
    assert_eq!(sums_of(&audit, "bob").right_device_ms, 2 * 5_000);
    assert_eq!(sums_of(&audit, "ann").lost_device_ms, 2 * 45_000);
    assert_eq!((sums_of(&audit, "ann").starts, sums_of(&audit, "bob").starts), (0, 1));
    assert!(entries.iter().all(|entry| entry.at >= window.since && entry.at < window.until));
}

#[test]
fn borrowed_and_background_work_and_refusals_are_told_apart() {
    let config = EngineConfig { borrow: true, ..EngineConfig::default() };
    let mut sim = Sim::new(config.clone(), [node("n0").devices(3)], 0);
    let right = RightRow::new(RightKey::default(), Allowance::devices(1));
    let set = hai_core::backend::Command::Tell(Fact::RightSet { right }).by(user("root"));
    sim.step(vec![set, submit(task("a").devices(1).spec()), submit(task("b").devices(1).spec())]).unwrap();
    let mut background = task("c").devices(1).spec();
    background.kind = TaskKind::Background;
    sim.step(vec![submit(background)]).unwrap();
    sim.settle();
    sim.now += secs(10);
    let reason = "a stranger is there".to_owned();
    let refused = WorkerExit::of(WorkerFate::Refused { reason, cause: RefusalCause::Node });
    sim.cluster.end(RunId(2), 0, refused);
    sim.settle();
    let records = sim.store.inner.kept().records;
    let (entries, audit) = audit(config, &records, ALWAYS, sim.now);
    let u = audit.total;
    assert_eq!((u.right_device_ms, u.borrowed_device_ms, u.background_device_ms), (10_000, 10_000, 10_000));
    assert_eq!(u.refusals, 1);
    let claims: Vec<Claimed> = entries
        .iter()
        .filter_map(|entry| if let Happening::Started { claimed, .. } = entry.what { Some(claimed) } else { None })
        .collect();
    assert_eq!(claims[..3], [Claimed::Right, Claimed::Borrowed, Claimed::Background]);
    let by_root = |entry: &&AuditEntry| matches!(entry.what, Happening::RightSet { .. });
    assert_eq!(entries.iter().find(by_root).unwrap().by, Some(user("root")));
    let refused = entries.iter().find(|entry| matches!(entry.what, Happening::Refused { .. })).unwrap();
    assert!(refused.to_string().contains("start refused by n0: a stranger is there"), "{refused}");
}

/// What was held, by another way: each run's workers from the decision to their ends.
#[test]
fn random_stories_add_up_to_what_their_runs_held() {
    let mut held = 0;
    for seed in 0..24 {
        let records = records(seed, 60);
        let now = records.last().unwrap().at;
        let (entries, audit) = audit(config(seed), &records, ALWAYS, now);
        let mut open = std::collections::BTreeMap::new();
        let (mut expected, mut starts, mut suspends) = (0_u64, 0, 0);
        for record in &records {
            match &record.entry {
                Entry::Round(decisions) => {
                    for decision in decisions {
                        match decision {
                            Decision::Start { run, placement, .. } => {
                                starts += 1;
                                for (rank, place) in (0..).zip(&placement.workers) {
                                    open.insert((*run, rank), (record.at, place.devices.len() as u64));
                                }
                            }
                            Decision::Suspend { .. } => suspends += 1,
                            _ => {}
                        }
                    }
                }
                Entry::Fact(Fact::WorkerEnded { run, rank, .. }) => {
                    if let Some((since, devices)) = open.remove(&(*run, *rank)) {
                        expected += devices * record.at.since(since).as_ms();
                    }
                }
                _ => {}
            }
        }
        assert!(open.is_empty(), "all came to its end");
        let total = audit.total;
        assert_eq!(total.share_got_device_ms, expected, "story {seed}");
        assert_eq!((total.starts, total.suspensions), (starts, suspends), "story {seed}");
        let started = entries.iter().filter(|entry| matches!(entry.what, Happening::Started { .. })).count() as u64;
        assert_eq!(started, starts);
        assert!(total.share_due_device_ms >= total.share_got_device_ms / 2, "story {seed}: {total:?}");
        held += expected;
    }
    assert!(held > 1_000_000, "{held}");
}

/// An audit that begins with a state, as one of a window does, adds up the same.
#[test]
fn an_audit_from_a_state_is_that_of_the_window() {
    for seed in 0..12 {
        let records = records(seed, 60);
        let now = records.last().unwrap().at;
        let mut follower = Follower::new(config(seed), Policies::default());
        let at = records.iter().rposition(|record| record.digest.is_some() && record.seq < 80).unwrap();
        records[..=at].iter().for_each(|record| follower.take(record).unwrap());
        let window = Window { since: records[at].at, until: Time::MAX };
        let state = Follower::after(follower.snapshot(), EngineConfig::default(), Policies::default());
        let mut auditor = Auditor::new(state, window);
        let mut entries = Vec::new();
        for record in &records[at + 1..] {
            auditor.take(record, |entry| entries.push(entry)).unwrap();
        }
        let (whole_entries, whole) = audit(config(seed), &records, window, now);
        // Who was suspended before it began is not in a state.
        let alike = |mut entry: AuditEntry| {
            if let Happening::Started { in_place_of, .. } = &mut entry.what {
                in_place_of.clear();
            }
            entry
        };
        let later = whole_entries.into_iter().filter(|entry| entry.seq > records[at].seq).map(alike);
        let entries = entries.into_iter().map(alike);
        assert!(entries.eq(later), "story {seed}");
        let cut = auditor.close(now);
        let held = |sums: &Sums| (sums.share_due_device_ms, sums.share_got_device_ms, sums.right_device_ms);
        assert_eq!(held(&cut.total), held(&whole.total), "story {seed}");
    }
}
