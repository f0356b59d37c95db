//! What the driver's `Store` trait alone promises: also the store in memory keeps to it.

use hai_core::backend::{Batch, Committed, Digest, Fence, Snapshot, Store};
use hai_core::engine::{Engine, EngineConfig};
use hai_core::model::TaskId;

use crate::place::Place;
use crate::{batch, full_batch, record};

pub(super) async fn in_a_database(place: &mut Place) {
    of_any_store(async || place.open().await).await;
}

/// `opened` opens what is always the same store.
pub(super) async fn of_any_store<S: Store>(opened: impl AsyncFn() -> S) {
    let mut first = opened().await;
    let saved = first.open().await.expect("the lease");
    assert!(saved.snapshot.is_none() && saved.records.is_empty() && saved.last_event == 0);
    let old = saved.fence;
    for number in 1..=2 {
        assert_eq!(first.commit(&full_batch(old, number)).await.expect("a commit"), Committed::Done);
    }
    assert_eq!(first.program(TaskId(2)).await.expect("an answer"), Some(full_batch(old, 2).programs[0].1.clone()));
    assert_eq!(first.program(TaskId(3)).await.expect("an answer"), None);

    // Another takes over: it finds all, and the first writes nothing more, whatever it tries.
    let mut second = opened().await;
    let saved = second.open().await.expect("the lease");
    assert!(saved.fence > old, "{saved:?}");
    assert_eq!((saved.records, saved.last_event), (vec![record(1), record(2)], 2));
    for fence in [old, Fence(saved.fence.0 + 1), Fence(0)] {
        assert_eq!(first.commit(&full_batch(fence, 3)).await.expect("an answer"), Committed::Fenced);
    }
    assert_eq!(second.program(TaskId(3)).await.expect("an answer"), None);
    assert_eq!(second.commit(&full_batch(saved.fence, 3)).await.expect("a commit"), Committed::Done);

    // A snapshot takes the place of the records that it contains, and the last one counts.
    let state = Engine::new(EngineConfig::default()).snapshot();
    for seq in [4, 6] {
        let snapshot = Snapshot { seq: seq - 1, digest: Digest([seq as u8; 32]), state: state.clone() };
        let records = vec![record(seq), record(seq + 1)];
        let batch = Batch { records, snapshot: Some(snapshot), ..batch(saved.fence) };
        assert_eq!(second.commit(&batch).await.expect("a commit"), Committed::Done);
    }
    // The one that was fenced out can take the lease again.
    let saved = first.open().await.expect("the lease");
    let snapshot = saved.snapshot.expect("a snapshot");
    assert_eq!((snapshot.seq, snapshot.digest), (5, Digest([6; 32])));
    assert_eq!(snapshot.state, state);
    assert_eq!((saved.records, saved.last_event), (vec![record(6), record(7)], 3));
    assert_eq!(second.commit(&batch(saved.fence)).await.expect("an answer"), Committed::Done);
    assert_eq!(second.commit(&batch(old)).await.expect("an answer"), Committed::Fenced);
}
