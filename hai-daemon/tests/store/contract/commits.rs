//! A commit is whole or nothing, and only the holder of the lease makes one.

use std::collections::BTreeSet;
use std::future::{Future as _, poll_fn};
use std::task::Poll;

use crate::place::Place;
use hai_core::backend::{Batch, Committed, Digest, Fence, Record, Snapshot, Store};
use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::{RunId, TaskId, Time};
use hai_daemon::store::Role;

use crate::{batch, commit, event, everything, full_batch, record, run, task, user};

pub(super) async fn of_snapshots_some_are_kept(place: &mut Place) {
    let (mut store, fence) = place.opened().await;
    let state = Engine::new(EngineConfig::default()).snapshot();
    let reader = store.reader();
    assert!(reader.snapshot().await.expect("an answer").is_none());
    for seq in 1..=40 {
        let snapshot = Snapshot { seq, digest: Digest([seq as u8; 32]), state: state.clone() };
        let at = Time::from_ms(seq as i64 * 10);
        let records = vec![Record { at, ..record(seq) }];
        commit(&mut store, &Batch { records, snapshot: Some(snapshot), ..batch(fence) }).await;
    }
    assert_eq!(reader.snapshot().await.expect("an answer").expect("a snapshot").seq, 40);
    assert_eq!(reader.log_after(0, 100).await.expect("the log").len(), 40, "history stays");
    let at = async |ms, before| {
        let found = reader.snapshot_at(Time::from_ms(ms), before).await.expect("an answer");
        found.map(|snapshot| (snapshot.seq, snapshot.digest))
    };
    for (ms, before, seq) in [(i64::MAX, u64::MAX, 40), (400, 100, 40), (399, 100, 39), (400, 39, 38)] {
        assert_eq!(at(ms, before).await, Some((seq, Digest([seq as u8; 32]))), "{ms}, before {before}");
    }
    assert_eq!(at(9, 100).await, None);
    assert_eq!(at(400, 1).await, None);
    let mut kept = BTreeSet::new();
    for seq in 1..=40 {
        kept.extend(at(seq * 10, u64::MAX).await.map(|(seq, _)| seq));
    }
    assert!((5..15).contains(&kept.len()), "the older, the fewer: {kept:?}");
}

pub(super) async fn old_takers_still_look_and_guessing_does_not_help(place: &mut Place) {
    let (first, second) = tokio::join!(place.opened(), place.opened());
    let ((mut old, old_fence), (mut new, new_fence)) =
        if first.1 < second.1 { (first, second) } else { (second, first) };
    assert!(old_fence < new_fence);
    let before = everything(&new.reader(), 2).await;
    assert_eq!(old.commit(&full_batch(old_fence, 1)).await.expect("an answer"), Committed::Fenced);
    // Nor by guessing.
    assert_eq!(old.commit(&full_batch(Fence(new_fence.0 + 1), 1)).await.expect("an answer"), Committed::Fenced);
    assert_eq!(everything(&new.reader(), 2).await, before);
    commit(&mut new, &full_batch(new_fence, 1)).await;
    assert_ne!(everything(&old.reader(), 2).await, before, "the old one may still look");
    // The same store can be driven again.
    let fence = Store::open(&mut old).await.expect("the lease").fence;
    commit(&mut old, &full_batch(fence, 2)).await;
    assert_eq!(new.commit(&full_batch(new_fence, 3)).await.expect("an answer"), Committed::Fenced);
}

pub(super) async fn a_commit_that_fails_half_way_leaves_nothing_and_the_next_one_works(place: &mut Place) {
    let (mut store, fence) = place.opened().await;
    commit(&mut store, &full_batch(fence, 1)).await;
    let before = everything(&store.reader(), 3).await;
    let good = full_batch(fence, 2);
    let bad: [(&str, Batch); 7] = [
        ("a repeated record", Batch { records: vec![record(2), record(2)], ..good.clone() }),
        ("an old record", Batch { records: vec![record(1)], ..good.clone() }),
        ("a gap", Batch { records: vec![record(3)], ..good.clone() }),
        ("a run of no task", Batch { runs: vec![run(2, 99, vec![])], ..good.clone() }),
        ("a second program", Batch { programs: full_batch(fence, 1).programs, ..good.clone() }),
        ("an old event", Batch { events: vec![event(1, &task(2))], ..good.clone() }),
        ("a number too great", Batch { events: vec![event(u64::MAX, &task(2))], ..good.clone() }),
    ];
    for (what, batch) in &bad {
        let error = store.commit(batch).await.expect_err(what);
        assert!(!error.to_string().is_empty() && !error.may_pass(), "{what}: {error}");
        assert_eq!(everything(&store.reader(), 3).await, before, "{what}");
    }
    // The database itself may give the whole transaction up, as it does when the disk is full.
    place
        .meddle(
            "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ROLLBACK, 'no space'); END",
            "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS \
             $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$; \
             CREATE TRIGGER full_disk BEFORE INSERT ON events EXECUTE FUNCTION full_disk()",
        )
        .await;
    let error = store.commit(&good).await.expect_err("the trigger");
    assert!(error.to_string().contains("no space"), "{error}");
    // SQLite's trigger can only pretend to be a broken rule.
    assert_eq!(error.may_pass(), matches!(place, Place::Server(_)), "{error}");
    assert_eq!(everything(&store.reader(), 3).await, before);
    place.meddle("DROP TRIGGER full", "DROP TRIGGER full_disk ON events").await;
    commit(&mut store, &good).await;
    store.accounts().add(&user("ann"), Role::User).await.expect("accounts still work");
}

pub(super) async fn a_commit_that_is_abandoned_is_whole_or_nothing(place: &mut Place) {
    let (mut store, fence) = place.opened().await;
    let (mut whole, mut nothing) = (0, 0);
    let mut number = 1;
    for polls in 0..40 {
        let batch = full_batch(fence, number);
        {
            let mut left = polls;
            let mut future = Box::pin(store.commit(&batch));
            poll_fn(|context| match future.as_mut().poll(context) {
                Poll::Ready(result) => {
                    assert_eq!(result.expect("a commit"), Committed::Done);
                    Poll::Ready(())
                }
                Poll::Pending if left == 0 => Poll::Ready(()),
                Poll::Pending => {
                    left -= 1;
                    Poll::Pending
                }
            })
            .await;
        }
        // The next commit waits for whatever became of the abandoned one.
        commit(&mut store, &crate::batch(fence)).await;
        let reader = store.reader();
        let there = reader.task(TaskId(number)).await.expect("an answer").is_some();
        assert_eq!(reader.log_after(number - 1, 10).await.expect("the log").len(), usize::from(there));
        assert_eq!(reader.last_event_id().await.expect("the last"), if there { number } else { number - 1 });
        assert_eq!(reader.run(TaskId(number), RunId(number)).await.expect("an answer").is_some(), there);
        number += u64::from(there);
        *(if there { &mut whole } else { &mut nothing }) += 1;
    }
    assert!(whole > 0 && nothing > 0, "{whole} commits were done, {nothing} were not: nothing was tested");
}

const DAMAGE: &str = "UPDATE tasks SET view = '{' WHERE id = 1; UPDATE log SET kind = 'dream' WHERE seq = 2";

pub(super) async fn a_damaged_row_is_named_and_does_not_hide_the_others(place: &mut Place) {
    let (mut store, fence) = place.opened().await;
    for number in 1..=2 {
        commit(&mut store, &full_batch(fence, number)).await;
    }
    place.meddle(DAMAGE, DAMAGE).await;
    let reader = store.reader();
    assert!(reader.task(TaskId(2)).await.expect("the other").is_some());
    let error = reader.task(TaskId(1)).await.expect_err("damaged");
    assert!(error.to_string().contains("tasks, row 1"), "{error}");
    let error = Store::open(&mut store).await.expect_err("damaged");
    assert!(error.to_string().contains("log, row 2"), "{error}");
}
