//! A commit is whole or nothing, and only the holder of the lease makes one.

use std::future::{Future as _, poll_fn};
use std::task::Poll;

use hai_core::backend::{Batch, Committed, Digest, Fence, Snapshot, Store};
use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::{RunId, TaskId};
use hai_daemon::store::Role;
use tempfile::TempDir;

use super::{batch, block_on, commit, event, everything, full_batch, meddle, opened, record, run, task, user};

#[test]
fn the_last_snapshot_comes_back_with_the_records_after_it() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let (mut store, fence) = opened(&dir.path().join("hai.sqlite")).await;
        let state = Engine::new(EngineConfig::default()).snapshot();
        for number in 1..=2 {
            let snapshot = Snapshot { seq: 2 * number - 1, digest: Digest([number as u8; 32]), state: state.clone() };
            let records = vec![record(2 * number - 1), record(2 * number)];
            commit(&mut store, &Batch { records, snapshot: Some(snapshot), ..batch(fence) }).await;
        }
        let saved = Store::open(&mut store).await.expect("the lease");
        let snapshot = saved.snapshot.expect("a snapshot");
        assert_eq!((snapshot.seq, snapshot.digest), (3, Digest([2; 32])));
        assert_eq!(snapshot.state, state);
        assert_eq!(saved.records, [record(4)]);
        assert_eq!(store.reader().log_after(0, 10).await.expect("the log").len(), 4, "history stays");
    });
}

#[test]
fn only_the_last_taker_of_the_lease_can_write() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        let (first, second) = tokio::join!(opened(&path), opened(&path));
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
    });
}

#[test]
fn a_commit_that_fails_half_way_leaves_nothing_and_the_next_one_works() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        let (mut store, fence) = opened(&path).await;
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
            assert!(!error.to_string().is_empty());
            assert_eq!(everything(&store.reader(), 3).await, before, "{what}");
        }
        // The database itself may give the whole transaction up, as it does when the disk is full.
        meddle(&path, "CREATE TRIGGER full BEFORE INSERT ON events BEGIN SELECT RAISE(ROLLBACK, 'no space'); END")
            .await;
        let error = store.commit(&good).await.expect_err("the trigger");
        assert!(error.to_string().contains("no space"), "{error}");
        assert_eq!(everything(&store.reader(), 3).await, before);
        meddle(&path, "DROP TRIGGER full").await;
        commit(&mut store, &good).await;
        store.accounts().add(&user("ann"), Role::User).await.expect("accounts still work");
    });
}

#[test]
fn a_commit_that_is_abandoned_is_whole_or_nothing() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let (mut store, fence) = opened(&dir.path().join("hai.sqlite")).await;
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
            commit(&mut store, &super::batch(fence)).await;
            let reader = store.reader();
            let there = reader.task(TaskId(number)).await.expect("an answer").is_some();
            assert_eq!(reader.log_after(number - 1, 10).await.expect("the log").len(), usize::from(there));
            assert_eq!(reader.last_event_id().await.expect("the last"), if there { number } else { number - 1 });
            assert_eq!(reader.run(RunId(number)).await.expect("an answer").is_some(), there);
            number += u64::from(there);
            *(if there { &mut whole } else { &mut nothing }) += 1;
        }
        assert!(whole > 0 && nothing > 0, "{whole} commits were done, {nothing} were not: nothing was tested");
    });
}
