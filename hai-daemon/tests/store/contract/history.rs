//! What is over: put away, read back, and pruned by whole months.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hai_core::backend::{Batch, Command, Driver, Follower, MemoryCluster};
use hai_core::engine::{EngineConfig, Policies};
use hai_core::model::{
    Allowance, Fact, Outcome, RightKey, RightRow, RunId, RunPhase, Span, TaskId, TaskState, TaskView, Time, WorkerExit,
    WorkerState,
};
use hai_daemon::store::{AnyStore, Gone, History, Page, TaskFilter, check};

use super::driver::{node, settle, submit};
use crate::place::Place;
use crate::{batch, commit, event, full_batch, run, task, worker};

const TABLES: [&str; 4] = [
    "SELECT count(*) FROM tasks",
    "SELECT count(*) FROM programs",
    "SELECT count(*) FROM runs",
    "SELECT count(*) FROM workers",
];

fn finished(id: u64, at: Time) -> TaskView {
    TaskView { state: TaskState::Finished, outcome: Some(Outcome::Succeeded), ended_at: Some(at), ..task(id) }
}

pub(super) async fn what_ended_is_put_away_and_reads_back_and_may_change_after_all(place: &mut Place) {
    let (mut store, fence) = place.opened().await;
    let reader = store.reader();
    for number in 1..=4 {
        commit(&mut store, &full_batch(fence, number)).await;
    }
    let workers = vec![worker("n1", WorkerState::Reserved), worker("n2", WorkerState::Reserved)];
    let mut second = run(7, 2, workers.clone());
    second.phase = RunPhase::Ended;
    commit(&mut store, &Batch { runs: vec![second.clone()], ..batch(fence) }).await;
    let runs = reader.runs(TaskId(2)).await.expect("runs");
    let program = reader.program(TaskId(2)).await.expect("a program");
    assert_eq!((runs.len(), &runs[1]), (2, &second));

    let over = finished(2, Time::from_ms(50));
    commit(&mut store, &Batch { tasks: vec![over.clone()], ..batch(fence) }).await;
    for table in TABLES {
        assert_eq!(place.number(table).await, 3, "{table}");
    }
    assert_eq!(place.number("SELECT count(*) FROM ended").await, 1);
    assert_eq!(reader.task(TaskId(2)).await.expect("a task").as_ref(), Some(&over));
    assert_eq!(reader.runs(TaskId(2)).await.expect("runs"), runs);
    assert_eq!(reader.run(TaskId(2), RunId(7)).await.expect("a run").as_ref(), Some(&second));
    assert_eq!(reader.run(TaskId(3), RunId(7)).await.expect("no run"), None);
    assert_eq!(reader.program(TaskId(2)).await.expect("a program"), program);
    assert!(program.is_some());

    // Nobody does that; should it happen, nothing is there twice.
    let third = run(8, 2, workers);
    commit(&mut store, &Batch { runs: vec![third.clone()], ..batch(fence) }).await;
    assert_eq!(reader.runs(TaskId(2)).await.expect("runs"), [&runs[..], &[third]].concat());
    assert_eq!(place.number("SELECT count(*) FROM ended").await, 1);
    assert_eq!(place.number(TABLES[0]).await, 3);
    let failed = TaskView { outcome: Some(Outcome::Failed { reason: "late".into() }), ..over };
    commit(&mut store, &Batch { tasks: vec![failed.clone()], ..batch(fence) }).await;
    let counts = reader.counts().await.expect("counts");
    assert_eq!(counts.outcomes.into_iter().collect::<Vec<_>>(), [("failed".to_owned(), 1)]);
    commit(&mut store, &Batch { tasks: vec![task(2)], ..batch(fence) }).await;
    let counts = reader.counts().await.expect("counts");
    assert_eq!(
        (counts.states.into_iter().collect::<Vec<_>>(), counts.outcomes.len()),
        (vec![(TaskState::Waiting, 4)], 0)
    );
    assert_eq!((place.number(TABLES[0]).await, place.number(TABLES[2]).await), (4, 6));
    let page = reader.tasks(&TaskFilter::default(), Page::default()).await.expect("a page");
    assert_eq!(page.tasks.iter().map(|task| task.id.0).collect::<Vec<_>>(), [4, 3, 2, 1]);
}

/// Noon of the tenth day of a month of 2024, or of the years after.
pub(crate) fn month(number: u32) -> Time {
    let date = chrono::NaiveDate::from_ymd_opt(2024 + (number as i32 - 1) / 12, (number - 1) % 12 + 1, 10);
    Time::from(date.and_then(|date| date.and_hms_opt(12, 0, 0)).expect("a time").and_utc())
}

fn begin(number: u32) -> Time {
    Time::from_ms(month(number).as_ms() - (9 * 24 + 12) * 3_600_000)
}

/// Months of work: in each ten tasks are submitted and those that got a place end; some go on into the next.
pub(crate) async fn months(place: &Place, cluster: &MemoryCluster, months: std::ops::RangeInclusive<u32>) {
    for number in months {
        let now = |second: i64| Time::from_ms(month(number).as_ms() + second * 1000);
        let store = place.open().await;
        // Some have a part of their own, some are in the rest.
        if number % 4 < 2 {
            store.history().make_ahead(now(0)).await.expect("parts");
        }
        let driver = Driver::open(EngineConfig::default(), store, cluster.clone(), now(0)).await;
        let mut driver: Driver<AnyStore, _> = driver.expect("a driver");
        let right = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
        drop(driver.step(now(1), vec![Command::Tell(Fact::RightSet { right })]).await.expect("a step"));
        for at in 0..10_i64 {
            let reply = driver.step(now(2 + at * 10), vec![submit(at as usize)]).await.expect("a step");
            assert!(matches!(reply[0], Ok(Some(_))), "{reply:?}");
            settle(&mut driver, now(3 + at * 10)).await;
            let executing = cluster.executing();
            if at % 2 == 1 {
                for (order, _) in executing {
                    cluster.end(order.run, 0, WorkerExit::exited(0));
                    settle(&mut driver, now(5 + at * 10)).await;
                }
            }
        }
        if number % 3 == 0 { driver.close().await.expect("closing") } else { drop(driver) }
    }
}

async fn ids(store: &AnyStore) -> BTreeSet<TaskId> {
    let page = Page { before: None, limit: Page::LIMIT_MAX };
    store.reader().tasks(&TaskFilter::default(), page).await.expect("a page").tasks.iter().map(|task| task.id).collect()
}

pub(super) async fn what_is_old_goes_by_whole_months_and_the_rest_hangs_together(place: &mut Place) {
    let cluster = MemoryCluster::new([node()]);
    months(place, &cluster, 1..=8).await;
    let store = place.open().await;
    let (reader, history) = (store.reader(), store.history());
    let sound = check(&reader).await.expect("an answer");
    assert_eq!((sound.problems.as_slice(), sound.pruned), (&[] as &[String], 0));
    let records = reader.log_after(0, u32::MAX).await.expect("the log");
    let events = reader.events_after(0, None, u32::MAX).await.expect("events");
    let counts = reader.counts().await.expect("counts");
    let page = Page { before: None, limit: Page::LIMIT_MAX };
    let before = reader.tasks(&TaskFilter::default(), page).await.expect("a page").tasks;
    let mut runs = Vec::new();
    for task in &before {
        runs.push(reader.runs(task.id).await.expect("runs").len());
    }

    let cut = History::cut(month(6), Span::from_secs(24 * 3600)).expect("a cut");
    assert_eq!(cut, begin(6));
    let old = |task: &&TaskView| task.ended_at.is_some_and(|at| at < cut);
    let would = history.would_go(cut).await.expect("an answer");
    assert_eq!(reader.log_after(0, u32::MAX).await.expect("the log").len(), records.len(), "only asked");
    let mut told = 0;
    let gone = history.prune(cut, Duration::ZERO, |_| told += 1).await.expect("pruned");
    assert!(told > 0);
    assert_eq!(Gone { bytes: 0, ..gone }, Gone { bytes: 0, ..would });
    assert!(gone.bytes > 0 && would.bytes > 0, "{gone:?} {would:?}");
    let gone_runs: usize = before.iter().zip(&runs).filter(|(task, _)| old(task)).map(|(_, runs)| runs).sum();
    assert_eq!((gone.tasks, gone.runs), (before.iter().filter(old).count() as u64, gone_runs as u64));
    assert!(gone.tasks >= 30 && gone.runs > gone.tasks, "{gone:?}");

    // Tasks, events and records from before are gone, no other.
    let kept: BTreeSet<TaskId> = before.iter().filter(|task| !old(task)).map(|task| task.id).collect();
    assert_eq!(ids(&store).await, kept);
    let left = reader.events_after(0, None, u32::MAX).await.expect("events");
    assert!(left.iter().eq(events.iter().filter(|event| event.at >= cut)) && left.len() < events.len());
    assert_eq!(reader.first_event_id().await.expect("the first"), left[0].id);
    let left = reader.log_after(0, u32::MAX).await.expect("the log");
    let first = reader.first_record().await.expect("the first");
    assert!(left.iter().eq(records.iter().skip(first as usize - 1)), "from {first} on");
    assert!(left[0].at >= Time::from_ms(cut.as_ms() - 3_600_000 * 24 * 31) && first > 100, "{first}");
    assert_eq!(records.len() - left.len(), gone.records as usize);
    assert_eq!(reader.counts().await.expect("counts"), counts, "these are all that ever were");
    assert_eq!(reader.pruned_before().await.expect("a time"), cut);

    // What is left can be followed to the end, from a snapshot just before it.
    let base = reader.first_snapshot().await.expect("an answer").expect("a snapshot");
    assert_eq!(base.seq + 1, first);
    let mut follower = Follower::after(base, EngineConfig::default(), Policies::default());
    for record in &left {
        follower.take(record).expect("it follows");
    }
    let sound = check(&reader).await.expect("an answer");
    assert_eq!((sound.problems.as_slice(), sound.pruned), (&[] as &[String], first - 1));
    assert_eq!(history.prune(cut, Duration::ZERO, |_| ()).await.expect("pruned"), Gone::default(), "nothing is left");
    assert_eq!(history.would_go(cut).await.expect("an answer"), Gone::default());

    // What is missing is still found.
    place
        .meddle(
            "DELETE FROM ended WHERE id = (SELECT max(id) FROM ended)",
            "DELETE FROM ended WHERE id = (SELECT max(id) FROM ended)",
        )
        .await;
    let found = check(&reader).await.expect("an answer").problems;
    assert!(found.iter().any(|problem| problem.contains("it is missing")), "{found:?}");

    // Work goes on, and so does pruning.
    months(place, &cluster, 9..=11).await;
    let gone = history.prune(begin(11), Duration::ZERO, |_| ()).await.expect("pruned");
    assert!(gone.tasks > 0 && gone.records > 0 && gone.events > 0, "{gone:?}");
    let base = reader.first_snapshot().await.expect("an answer").expect("a snapshot");
    assert_eq!(base.seq + 1, reader.first_record().await.expect("the first"));
}

pub(super) async fn of_what_is_pruned_while_others_commit_nothing_new_goes(place: &mut Place) {
    let cluster = MemoryCluster::new([node()]);
    months(place, &cluster, 1..=4).await;
    let (mut store, fence) = place.opened().await;
    let (reader, history) = (store.reader(), store.history());
    let (records, events) = (reader.last_record().await.expect("last"), reader.last_event_id().await.expect("last"));
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let pruning = {
        let done = Arc::clone(&done);
        tokio::spawn(async move {
            let mut all = Gone::default();
            for number in 2..=4 {
                history.make_ahead(month(number)).await.expect("parts");
                all += history.prune(begin(number), Duration::ZERO, |_| ()).await.expect("pruned");
            }
            done.store(true, std::sync::atomic::Ordering::Release);
            all
        })
    };
    let mut number = 1000;
    while !done.load(std::sync::atomic::Ordering::Acquire) || number < 1020 {
        number += 1;
        let seq = number - 1000;
        let mut new = full_batch(fence, number);
        new.records[0].seq = records + seq;
        new.records[0].at = month(30);
        new.events = vec![hai_core::backend::Event { at: month(30), ..event(events + seq, &task(number)) }];
        new.tasks.push(finished(number, month(30)));
        commit(&mut store, &new).await;
    }
    let gone = pruning.await.expect("no panic");
    assert!(gone.tasks > 0 && gone.records > 0 && gone.events > 0, "{gone:?}");
    for number in 1001..=number {
        assert!(reader.task(TaskId(number)).await.expect("an answer").is_some(), "{number}");
    }
    assert_eq!(reader.last_record().await.expect("last"), records + number - 1000);
    assert_eq!(reader.last_event_id().await.expect("last"), events + number - 1000);
}

pub(super) async fn something_stays_that_numbers_go_on_from(place: &mut Place) {
    let cluster = MemoryCluster::new([node()]);
    months(place, &cluster, 1..=3).await;
    let (store, _) = place.opened().await;
    let (reader, history) = (store.reader(), store.history());
    let (records, events) = (reader.last_record().await.expect("last"), reader.last_event_id().await.expect("last"));
    let unfinished = reader.counts().await.expect("counts").states.into_iter();
    let unfinished: u64 = unfinished.filter(|(state, _)| *state != TaskState::Finished).map(|(_, count)| count).sum();
    let gone = history.prune(begin(30), Duration::ZERO, |_| ()).await.expect("pruned");
    assert!(gone.tasks > 0 && gone.events > 0);
    assert_eq!(ids(&store).await.len() as u64, unfinished, "what has not ended stays, however old");
    assert_eq!(reader.last_record().await.expect("last"), records);
    assert_eq!(reader.last_event_id().await.expect("last"), events);
    drop(store);
    months(place, &cluster, 31..=31).await;
    assert!(reader.last_record().await.expect("last") > records);
    let sound = check(&reader).await.expect("an answer");
    assert_eq!(sound.problems, [] as [String; 0]);
}
