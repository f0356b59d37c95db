//! Readers: odd numbers, parts of long answers, and the writer going on meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::place::Place;
use hai_core::backend::{Batch, Event};
use hai_core::model::{RunId, TaskId, Time, WorkerState};
use hai_daemon::store::{Page, TaskFilter};

use crate::{batch, commit, event, full_batch, run, task, user, worker};

pub(super) async fn numbers_beyond_all_that_is_stored_find_nothing_wrong(place: &mut Place) {
    let (mut store, fence) = place.opened().await;
    commit(&mut store, &full_batch(fence, 1)).await;
    let reader = store.reader();
    for id in [0, 2, i64::MAX as u64, u64::MAX] {
        assert_eq!(reader.task(TaskId(id)).await.expect("an answer"), None);
        assert_eq!(reader.program(TaskId(id)).await.expect("an answer"), None);
        assert_eq!(reader.runs(TaskId(id)).await.expect("an answer"), []);
        assert_eq!(reader.run(TaskId(id), RunId(id)).await.expect("an answer"), None);
    }
    assert_eq!(reader.events_after(u64::MAX, Some(&user("ann")), u32::MAX).await.expect("an answer"), []);
    assert_eq!(reader.log_after(u64::MAX, u32::MAX).await.expect("an answer"), []);
    for (before, limit, found) in [(u64::MAX, 0, 1), (u64::MAX, u32::MAX, 1), (1, 10, 0), (0, 10, 0)] {
        let page = Page { before: Some(TaskId(before)), limit };
        let page = reader.tasks(&TaskFilter::default(), page).await.expect("a page");
        assert_eq!((page.tasks.len(), page.next_before), (found, None));
    }
}

pub(super) async fn events_are_read_in_parts_and_by_user(place: &mut Place) {
    let (mut store, fence) = place.opened().await;
    let events: Vec<Event> = (1..=20)
        .map(|id| {
            let mut view = task(id);
            Arc::make_mut(&mut view.spec).user = user(if id % 3 == 0 { "bob" } else { "ann" });
            event(id, &view)
        })
        .collect();
    commit(&mut store, &Batch { events: events.clone(), ..batch(fence) }).await;
    let reader = store.reader();
    assert_eq!(reader.events_after(4, None, 3).await.expect("events"), events[4..7]);
    let bobs = reader.events_after(3, Some(&user("bob")), 2).await.expect("events");
    assert_eq!(bobs.iter().map(|event| event.id).collect::<Vec<_>>(), [6, 9]);
    assert_eq!(reader.last_event_id().await.expect("the last"), 20);
}

pub(super) async fn readers_see_whole_commits_while_the_writer_goes_on(place: &mut Place) {
    let (mut store, fence) = place.opened().await;
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..6)
        .map(|_| {
            let (reader, done) = (store.reader(), Arc::clone(&done));
            tokio::spawn(async move {
                let (mut seen, mut looks) = (0, 0_u64);
                // At least one look after the last commit.
                let mut last_look = false;
                while !last_look {
                    last_look = done.load(Ordering::Acquire);
                    let last = reader.last_event_id().await.expect("the last");
                    assert!(last >= seen, "what was committed went away");
                    seen = last;
                    assert!(reader.task(TaskId(last)).await.expect("an answer").is_some() || last == 0);
                    let run = reader.run(TaskId(1), RunId(1)).await.expect("an answer");
                    let states = run.iter().flat_map(|run| &run.workers).map(|worker| &worker.state);
                    let states: Vec<_> = states.collect();
                    assert!(states.windows(2).all(|two| two[0] == two[1]), "half a commit: {states:?}");
                    looks += 1;
                }
                (seen, looks)
            })
        })
        .collect();
    for number in 1..=200 {
        let since = Time::from_ms(number as i64);
        let workers = vec![worker("n1", WorkerState::Executing { since }); 20];
        let batch = Batch { runs: vec![run(1, 1, workers)], ..full_batch(fence, number) };
        commit(&mut store, &batch).await;
    }
    done.store(true, Ordering::Release);
    for reader in readers {
        let (seen, looks) = reader.await.expect("a reader");
        assert_eq!(seen, 200);
        assert!(looks > 1);
    }
}
