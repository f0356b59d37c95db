//! The runs of a window of time.

use hai_core::backend::Batch;
use hai_core::model::{Outcome, RunEnd, RunPhase, RunView, TaskId, TaskState, TaskView, Time, WorkerState};
use hai_daemon::store::{Reader, Spans};

use crate::place::Place;
use crate::{batch, commit, run, task, user, worker};

fn ms(at: i64) -> Time {
    Time::from_ms(at)
}

fn window(from: i64, to: i64) -> Spans {
    Spans { from: ms(from), to: ms(to), user: None }
}

/// A run from one moment to another, if it has ended.
fn span(id: u64, of: u64, from: i64, to: Option<i64>) -> RunView {
    let state = || match to {
        Some(at) => WorkerState::Ended { at: ms(at), exit: hai_core::model::WorkerExit::exited(0) },
        None => WorkerState::Executing { since: ms(from) },
    };
    RunView {
        phase: if to.is_some() { RunPhase::Ended } else { RunPhase::Running },
        decided_at: ms(from),
        ended_at: to.map(ms),
        end: to.map(|_| RunEnd::Suspended),
        ..run(id, of, vec![worker("n1", state()), worker("n2", state())])
    }
}

/// A task from one moment to another, if it is over.
fn life(id: u64, from: i64, to: Option<i64>) -> TaskView {
    TaskView {
        submitted_at: ms(from),
        ended_at: to.map(ms),
        state: if to.is_some() { TaskState::Finished } else { TaskState::Running },
        outcome: to.map(|_| Outcome::Succeeded),
        ..task(id)
    }
}

/// The tasks of a window and their runs, by number.
async fn found(reader: &Reader, window: &Spans) -> Vec<(u64, Vec<u64>)> {
    let found = reader.spans(window, TaskId(u64::MAX), 1000).await.expect("an answer");
    found.iter().map(|(task, runs)| (task.id.0, runs.iter().map(|run| run.id.0).collect())).collect()
}

pub(super) async fn runs_of_a_window_are_found_with_the_one_before(place: &mut Place) {
    let (mut store, fence) = place.opened().await;
    // Task 1 ran twice and is over, task 2 runs, task 3 waited and was stopped, task 4 ran three times and waits.
    let runs = vec![
        span(1, 1, 100, Some(200)),
        span(2, 1, 300, Some(400)),
        span(3, 2, 250, None),
        span(4, 4, 500, Some(600)),
        span(5, 4, 700, Some(800)),
        span(6, 4, 900, Some(1000)),
    ];
    let tasks = vec![life(1, 50, Some(400)), life(2, 60, None), life(3, 70, Some(500)), life(4, 80, None)];
    commit(&mut store, &Batch { tasks, runs: runs.clone(), ..batch(fence) }).await;
    let reader = store.reader();
    assert_eq!(found(&reader, &window(0, 100)).await, []);
    assert_eq!(found(&reader, &window(0, 101)).await, [(1, vec![1])]);
    assert_eq!(found(&reader, &window(200, 250)).await, [(1, vec![1])], "until the very moment");
    assert_eq!(found(&reader, &window(201, 300)).await, [(2, vec![3])]);
    assert_eq!(found(&reader, &window(350, 450)).await, [(2, vec![3]), (1, vec![1, 2])]);
    assert_eq!(found(&reader, &window(850, 2000)).await, [(4, vec![5, 6]), (2, vec![3])]);
    assert_eq!(found(&reader, &window(5000, 6000)).await, [(2, vec![3])]);
    // All of each run is there, its workers by rank.
    let all = reader.spans(&window(350, 450), TaskId(u64::MAX), 1000).await.expect("an answer");
    assert_eq!(all[1].1, runs[..2]);
    let bob = Spans { user: Some(user("bob")), ..window(0, 2000) };
    assert_eq!(found(&reader, &bob).await, []);
    let ann = Spans { user: Some(task(1).spec.user.clone()), ..window(0, 2000) };
    assert_eq!(found(&reader, &ann).await, found(&reader, &window(0, 2000)).await);
}

pub(super) async fn pages_of_a_window_go_from_the_newest_task_to_the_oldest(place: &mut Place) {
    let (mut store, fence) = place.opened().await;
    let at = |id: u64| i64::try_from(id).expect("few") * 10;
    // Every other has ended.
    let end = |id: u64| id.is_multiple_of(2).then(|| at(id) + 100);
    let tasks = (1..=30).map(|id| life(id, at(id), end(id))).collect();
    let runs = (1..=30).map(|id| span(id, id, at(id), end(id))).collect();
    commit(&mut store, &Batch { tasks, runs, ..batch(fence) }).await;
    let reader = store.reader();
    let (mut seen, mut before) = (Vec::new(), TaskId(u64::MAX));
    loop {
        let page = reader.spans(&window(0, 251), before, 4).await.expect("a page");
        assert!(page.len() <= 4);
        let Some((last, _)) = page.last() else { break };
        before = last.id;
        seen.extend(page.iter().map(|(task, _)| task.id.0));
    }
    assert_eq!(seen, (1..=25).rev().collect::<Vec<u64>>());
    assert_eq!(reader.spans(&window(0, 251), TaskId(0), 4).await.expect("a page"), []);
}
