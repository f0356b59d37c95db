//! The SQLite store against real files: what is committed reads back, whatever happens in between.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::future::{Future, poll_fn};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use hai_core::backend::{Batch, Committed, Digest, Entry, Event, Fence, Record, Snapshot, Store};
use hai_core::engine::EngineState;
use hai_core::model::{
    Allowance, Decision, DeviceId, Fact, GroupName, Limit, NodeName, Outcome, Priority, Program, Rank, RightKey,
    RightRow, RunEnd, RunId, RunPhase, RunView, Span, TaskId, TaskSpec, TaskState, TaskView, Time, UserName,
    WorkerExit, WorkerFate, WorkerPlacement, WorkerRequest, WorkerState, WorkerView, YieldReason, Yielded,
};
use hai_daemon::store::{AccountError, Page, Reader, Role, SqliteError, SqliteStore, TaskFilter, TaskPage};
use proptest::collection::vec;
use proptest::prelude::*;
use sqlx::{Connection, SqliteConnection};
use tempfile::TempDir;

const STATES: [TaskState; 9] = [
    TaskState::Waiting,
    TaskState::Suspended,
    TaskState::Promised,
    TaskState::Starting,
    TaskState::Running,
    TaskState::Suspending,
    TaskState::Stopping,
    TaskState::Held,
    TaskState::Finished,
];

fn user(name: &str) -> UserName {
    UserName::new(name).expect("a user name")
}

fn group(name: &str) -> GroupName {
    GroupName::new(name).expect("a group name")
}

fn task(id: u64) -> TaskView {
    let spec =
        TaskSpec::new(format!("task {id}"), user("ann"), group("lab"), Priority::Normal, WorkerRequest::devices(1));
    TaskView {
        id: TaskId(id),
        spec,
        state: TaskState::Waiting,
        outcome: None,
        submitted_at: Time::from_ms(1),
        started_at: None,
        ended_at: None,
        runs: 0,
        run: None,
        whole_life_state: 0,
        ran: Span::ZERO,
        level: None,
        yielded: None,
    }
}

fn run(id: u64, task: u64, workers: Vec<WorkerView>) -> RunView {
    RunView {
        id: RunId(id),
        task: TaskId(task),
        attempt: 1,
        phase: RunPhase::Running,
        decided_at: Time::from_ms(2),
        started_at: None,
        ended_at: None,
        checkpointed_at: None,
        end: None,
        workers,
    }
}

fn worker(node: &str, state: WorkerState) -> WorkerView {
    let place = WorkerPlacement {
        node: NodeName::new(node).expect("a node name"),
        whole_node: false,
        devices: vec![DeviceId::new("GPU-1").expect("a device id")],
        cpu_milli: 500,
        memory_mib: 1024,
    };
    WorkerView { place, state }
}

fn record(seq: u64) -> Record {
    let entry = Entry::Fact(Fact::Cancelled { task: TaskId(seq) });
    Record { seq, at: Time::from_ms(5), entry, digest: None }
}

fn event(id: u64, task: &TaskView) -> Event {
    Event { id, at: Time::from_ms(7), user: task.spec.user.clone(), task: task.clone() }
}

fn batch(fence: Fence) -> Batch {
    Batch {
        fence,
        records: Vec::new(),
        programs: Vec::new(),
        tasks: Vec::new(),
        runs: Vec::new(),
        rights: None,
        events: Vec::new(),
        snapshot: None,
    }
}

/// A batch that touches every table.
fn full_batch(fence: Fence, number: u64) -> Batch {
    let view = task(number);
    Batch {
        records: vec![record(number)],
        programs: vec![(view.id, Program { command: vec!["true".into()], ..Program::default() })],
        runs: vec![run(number, number, vec![worker("n1", WorkerState::Reserved)])],
        rights: Some(vec![RightRow { key: RightKey::default(), allowance: Allowance::nodes(number as u32) }]),
        events: vec![event(number, &view)],
        tasks: vec![view],
        ..batch(fence)
    }
}

async fn opened(path: &Path) -> (SqliteStore, Fence) {
    let mut store = SqliteStore::open(path).await.expect("the store opens");
    let fence = Store::open(&mut store).await.expect("the lease").fence;
    (store, fence)
}

async fn commit(store: &mut SqliteStore, batch: &Batch) {
    assert_eq!(store.commit(batch).await.expect("a commit"), Committed::Done);
}

/// All that a reader sees of the numbers `1..=last`, to compare moments with each other.
async fn everything(reader: &Reader, last: u64) -> String {
    let mut seen = format!(
        "{:?} {:?} {:?} {:?}",
        reader.log_after(0, 1000).await.expect("the log"),
        reader.events_after(0, None, 1000).await.expect("the events"),
        reader.rights().await.expect("the rights"),
        reader.counts().await.expect("the counts"),
    );
    for id in 1..=last {
        let task = TaskId(id);
        seen += &format!(
            "{:?} {:?} {:?} {:?}",
            reader.task(task).await.expect("a task"),
            reader.program(task).await.expect("a program"),
            reader.runs(task).await.expect("runs"),
            reader.run(RunId(id)).await.expect("a run"),
        );
    }
    seen
}

/// Another program's hand on the file.
async fn meddle(path: &Path, sql: &'static str) {
    let mut connection = SqliteConnection::connect(&format!("sqlite:{}", path.display())).await.expect("SQLite");
    sqlx::raw_sql(sql).execute(&mut connection).await.expect("the statement");
    connection.close().await.expect("closing");
}

fn any_text() -> impl Strategy<Value = String> {
    vec(prop_oneof![any::<char>(), Just('\0'), Just('%'), Just('_'), Just('\''), Just('"'), Just('\\')], 0..8)
        .prop_map(String::from_iter)
}

fn any_time() -> impl Strategy<Value = Time> {
    prop_oneof![any::<i64>(), 0..100_i64].prop_map(Time::from_ms)
}

fn any_task() -> impl Strategy<Value = TaskView> {
    let spec = (
        any_text(),
        prop::sample::select(vec!["ann", "bob"]),
        prop::sample::select(vec!["lab", "big"]),
        prop::sample::select(vec![Priority::Low, Priority::High, Priority::Auto]),
        any::<Option<f64>>(),
    );
    let rest = (
        0..STATES.len(),
        prop_oneof![
            Just(Outcome::Succeeded),
            Just(Outcome::Stopped),
            any_text().prop_map(|reason| Outcome::Failed { reason })
        ],
        any_time(),
        prop::option::of(any_time()),
        any::<i64>(),
        any::<u64>(),
    );
    (1..30_u64, spec, rest).prop_map(|(id, spec, (state, outcome, submitted_at, started_at, left, ran))| {
        let (name, who, whither, priority, rank) = spec;
        let mut view = task(id);
        view.spec = TaskSpec::new(name, user(who), group(whither), priority, WorkerRequest::whole_node());
        view.spec.custom_rank = rank.and_then(Rank::new);
        view.state = STATES[state];
        view.outcome = (view.state == TaskState::Finished).then_some(outcome);
        view.submitted_at = submitted_at;
        view.started_at = started_at;
        view.ended_at = view.outcome.is_some().then_some(submitted_at);
        view.whole_life_state = left;
        view.ran = Span::from_ms(ran);
        view.level = Some(priority);
        view.yielded = started_at.map(|at| Yielded { at, reason: YieldReason::For { task: TaskId(left as u64) } });
        view
    })
}

fn any_worker() -> impl Strategy<Value = WorkerView> {
    let exit = (any_text(), any::<bool>())
        .prop_map(|(reason, signalled)| WorkerExit { signalled, ..WorkerExit::of(WorkerFate::Lost { reason }) });
    let state = prop_oneof![
        Just(WorkerState::Reserved),
        any_time().prop_map(|since| WorkerState::Executing { since }),
        (any_time(), exit).prop_map(|(at, exit)| WorkerState::Ended { at, exit }),
    ];
    (prop::sample::select(vec!["n1", "n2"]), state).prop_map(|(node, state)| worker(node, state))
}

/// A run's id, which of the known tasks it is of, its workers and why it ended.
type AnyRun = (u64, prop::sample::Index, Vec<WorkerView>, Option<String>);

#[derive(Clone, Debug)]
struct Step {
    facts: Vec<(Option<f64>, i64)>,
    tasks: Vec<TaskView>,
    runs: Vec<AnyRun>,
    rights: Option<Vec<RightRow>>,
}

fn any_step() -> impl Strategy<Value = Step> {
    let right =
        (any::<Option<bool>>(), any::<Option<bool>>(), any::<u32>()).prop_map(|(who, whither, most)| RightRow {
            key: RightKey {
                user: who.map(|ann| user(if ann { "ann" } else { "bob" })),
                group: whither.map(|_| group("lab")),
                priority: whither.map(|high| if high { Priority::High } else { Priority::Low }),
            },
            allowance: Allowance { nodes: Limit::AtMost(most), devices: Limit::Unlimited },
        });
    // Enough workers, now and then, that one statement takes many rows.
    let workers = prop_oneof![4 => vec(any_worker(), 0..4), 1 => vec(any_worker(), 70..90)];
    let runs = vec((1..20_u64, any::<prop::sample::Index>(), workers, prop::option::of(any_text())), 0..4);
    (vec((any::<Option<f64>>(), any::<i64>()), 0..80), vec(any_task(), 1..12), runs, prop::option::of(vec(right, 0..5)))
        .prop_map(|(facts, tasks, runs, rights)| Step { facts, tasks, runs, rights })
}

/// What should be in the store.
#[derive(Default)]
struct Model {
    records: Vec<Record>,
    tasks: BTreeMap<TaskId, TaskView>,
    programs: BTreeMap<TaskId, Program>,
    runs: BTreeMap<RunId, RunView>,
    rights: Vec<RightRow>,
    events: Vec<Event>,
}

impl Model {
    fn take(&mut self, fence: Fence, step: &Step) -> Batch {
        let mut batch = batch(fence);
        for (rank, at) in &step.facts {
            let seq = (self.records.len() + batch.records.len()) as u64 + 1;
            let custom_rank = rank.and_then(Rank::new);
            let fact = Fact::Reprioritised { task: TaskId(seq), priority: Priority::Auto, custom_rank };
            let withdraw = Decision::Withdraw { task: TaskId(*at as u64) };
            let (entry, digest) = match rank {
                Some(_) => (Entry::Fact(fact), None),
                None => (Entry::Round(vec![withdraw]), Some(Digest([*at as u8; 32]))),
            };
            batch.records.push(Record { seq, at: Time::from_ms(*at), entry, digest });
        }
        for view in &step.tasks {
            let env = [(view.spec.name.clone(), "\0'".into())].into();
            let program = Program { command: vec![view.spec.name.clone()], env, workdir: None };
            if let btree_map::Entry::Vacant(new) = self.programs.entry(view.id) {
                batch.programs.push((view.id, new.insert(program).clone()));
            }
            batch.tasks.push(view.clone());
            batch.events.push(event((self.events.len() + batch.events.len()) as u64 + 1, view));
        }
        self.tasks.extend(batch.tasks.iter().map(|view| (view.id, view.clone())));
        let known: Vec<TaskId> = self.tasks.keys().copied().collect();
        for (id, of, workers, reason) in &step.runs {
            let mut view = run(*id, of.get(&known).0, workers.clone());
            view.end = reason.clone().map(|reason| RunEnd::Lost { reason });
            batch.runs.push(view.clone());
            self.runs.insert(view.id, view);
        }
        batch.rights = step.rights.clone();
        self.rights = step.rights.clone().unwrap_or(std::mem::take(&mut self.rights));
        self.records.extend(batch.records.iter().cloned());
        self.events.extend(batch.events.iter().cloned());
        batch
    }

    async fn check(&self, reader: &Reader) {
        assert_eq!(reader.log_after(0, u32::MAX).await.expect("the log"), self.records);
        assert_eq!(reader.events_after(0, None, u32::MAX).await.expect("the events"), self.events);
        assert_eq!(reader.last_event_id().await.expect("the last"), self.events.len() as u64);
        assert_eq!(reader.rights().await.expect("the rights"), self.rights);
        for (id, view) in &self.tasks {
            assert_eq!(reader.task(*id).await.expect("a task").as_ref(), Some(view));
            let runs: Vec<RunView> = self.runs.values().filter(|run| run.task == *id).cloned().collect();
            assert_eq!(reader.runs(*id).await.expect("runs"), runs);
        }
        for (id, view) in &self.runs {
            assert_eq!(reader.run(*id).await.expect("a run").as_ref(), Some(view));
        }
        let counts = reader.counts().await.expect("the counts");
        for state in STATES {
            let count = self.tasks.values().filter(|task| task.state == state).count() as u64;
            assert_eq!(counts.states.get(&state).copied().unwrap_or(0), count, "{state:?}");
        }
        for word in ["succeeded", "failed", "stopped"] {
            let ended = |task: &&TaskView| task.outcome.as_ref().is_some_and(|outcome| outcome.word() == word);
            let count = self.tasks.values().filter(ended).count() as u64;
            assert_eq!(counts.outcomes.get(word).copied().unwrap_or(0), count, "{word}");
        }
    }

    /// All pages of `filter`, and that they are the pages they should be.
    async fn check_pages(&self, reader: &Reader, filter: &TaskFilter, limit: u32) {
        let wanted = |task: &&TaskView| {
            let word = task.outcome.as_ref().map(Outcome::word);
            filter.user.as_ref().is_none_or(|user| *user == task.spec.user)
                && filter.group.as_ref().is_none_or(|group| *group == task.spec.group)
                && (filter.states.is_empty() || filter.states.contains(&task.state))
                && (filter.outcomes.is_empty() || word.is_some_and(|word| filter.outcomes.iter().any(|o| o == word)))
                && filter.name_contains.as_ref().is_none_or(|part| task.spec.name.contains(part))
                && filter.priority.is_none_or(|priority| priority == task.spec.priority)
        };
        let expected: Vec<TaskView> = self.tasks.values().rev().filter(wanted).cloned().collect();
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let TaskPage { tasks, next_before } = reader.tasks(filter, Page { before, limit }).await.expect("a page");
            assert!(tasks.len() <= limit as usize);
            assert!(next_before.is_none() || tasks.len() == limit as usize);
            found.extend(tasks);
            before = next_before;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found, expected, "{filter:?}");
    }
}

fn any_filter() -> impl Strategy<Value = TaskFilter> {
    let words = prop::sample::select(vec!["succeeded", "failed", "stopped", "nonsense"]).prop_map(str::to_owned);
    let name =
        prop_oneof![Just("%".to_owned()), Just("_".to_owned()), Just("\0".to_owned()), Just(String::new()), any_text()];
    (
        any::<Option<bool>>(),
        any::<Option<bool>>(),
        vec(0..STATES.len(), 0..4),
        vec(words, 0..3),
        prop::option::weighted(0.3, name),
        any::<Option<bool>>(),
    )
        .prop_map(|(who, whither, states, outcomes, name_contains, priority)| TaskFilter {
            user: who.map(|ann| user(if ann { "ann" } else { "bob" })),
            group: whither.map(|lab| group(if lab { "lab" } else { "big" })),
            states: states.into_iter().map(|index| STATES[index]).collect(),
            outcomes,
            name_contains,
            priority: priority.map(|high| if high { Priority::High } else { Priority::Auto }),
        })
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_committed_reads_back_equal_even_after_the_store_is_dropped(steps in vec(any_step(), 1..5)) {
        block_on(async {
            let dir = TempDir::new().expect("a directory");
            let path = dir.path().join("data/hai.sqlite");
            let mut model = Model::default();
            for step in &steps {
                let mut store = SqliteStore::open(&path).await.expect("the store opens");
                let saved = Store::open(&mut store).await.expect("the lease");
                assert_eq!(saved.records, model.records);
                let batch = model.take(saved.fence, step);
                commit(&mut store, &batch).await;
                model.check(&store.reader()).await;
            }
            let mut store = SqliteStore::open(&path).await.expect("the store opens");
            model.check(&store.reader()).await;
            for (id, program) in &model.programs {
                assert_eq!(Store::program(&mut store, *id).await.expect("a program").as_ref(), Some(program));
            }
        });
    }

    #[test]
    fn pages_hold_what_the_filter_wants_newest_first(
        step in any_step(),
        filters in vec(any_filter(), 12),
        limit in 1..5_u32,
    ) {
        block_on(async {
            let dir = TempDir::new().expect("a directory");
            let (mut store, fence) = opened(&dir.path().join("hai.sqlite")).await;
            let mut model = Model::default();
            let batch = model.take(fence, &step);
            commit(&mut store, &batch).await;
            for filter in filters.iter().chain([&TaskFilter::default()]) {
                model.check_pages(&store.reader(), filter, limit).await;
            }
        });
    }
}

#[test]
fn the_last_snapshot_comes_back_with_the_records_after_it() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let (mut store, fence) = opened(&dir.path().join("hai.sqlite")).await;
        for number in 1..=2 {
            let snapshot = Snapshot { seq: 2 * number - 1, digest: Digest([number as u8; 32]), state: state() };
            let records = vec![record(2 * number - 1), record(2 * number)];
            commit(&mut store, &Batch { records, snapshot: Some(snapshot), ..batch(fence) }).await;
        }
        let saved = Store::open(&mut store).await.expect("the lease");
        let snapshot = saved.snapshot.expect("a snapshot");
        assert_eq!((snapshot.seq, snapshot.digest), (3, Digest([2; 32])));
        assert_eq!(serde_json::to_value(snapshot.state).ok(), serde_json::to_value(state()).ok());
        assert_eq!(saved.records, [record(4)]);
        assert_eq!(store.reader().log_after(0, 10).await.expect("the log").len(), 4, "history stays");
    });
}

fn state() -> EngineState {
    serde_json::from_str("{}").expect("a state")
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
                        Poll::Ready(drop(result.map(|committed| assert_eq!(committed, Committed::Done))))
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
            commit(&mut store, &self::batch(fence)).await;
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

#[test]
fn a_store_that_nobody_closed_opens_again() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        let (mut store, fence) = opened(&path).await;
        commit(&mut store, &full_batch(fence, 1)).await;
        let before = everything(&store.reader(), 1).await;
        // As after a kill: the file's companions stay behind and hold what was committed.
        let copy = dir.path().join("copy.sqlite");
        for end in ["", "-wal"] {
            let name = |path: &Path| format!("{}{end}", path.display());
            std::fs::copy(name(&path), name(&copy)).expect("copying");
        }
        let (copied, next) = opened(&copy).await;
        assert_eq!(everything(&copied.reader(), 1).await, before);
        assert!(next > fence);
        std::mem::forget(store);
        let (again, next) = opened(&path).await;
        assert_eq!(everything(&again.reader(), 1).await, before);
        assert!(next > fence);
    });
}

#[test]
fn a_file_that_can_not_be_ours_is_refused_and_left_alone() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        drop(opened(&path).await);
        meddle(&path, "UPDATE _sqlx_migrations SET version = version + 1000").await;
        let error = SqliteStore::open(&path).await.expect_err("a newer file");
        assert!(matches!(error, SqliteError::NewerSchema { found: 1001, known: 1, .. }), "{error}");
        assert!(error.to_string().contains("1001") && error.to_string().contains("hai.sqlite"), "{error}");
        meddle(&path, "UPDATE _sqlx_migrations SET version = version - 1000").await;
        drop(opened(&path).await);

        let text = dir.path().join("text");
        std::fs::write(&text, "not a database, but long enough to have a header of one".repeat(20)).expect("writing");
        let before = std::fs::read(&text).expect("reading");
        assert!(matches!(SqliteStore::open(&text).await.expect_err("a text"), SqliteError::Open { .. }));
        assert_eq!(std::fs::read(&text).expect("reading"), before);

        let error = SqliteStore::open(text.join("below/hai.sqlite")).await.expect_err("a file is no directory");
        assert!(matches!(error, SqliteError::Create { .. }), "{error}");
    });
}

#[test]
fn a_damaged_row_is_named_and_does_not_hide_the_others() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        let (mut store, fence) = opened(&path).await;
        for number in 1..=2 {
            commit(&mut store, &full_batch(fence, number)).await;
        }
        meddle(&path, "UPDATE tasks SET view = '{' WHERE id = 1; UPDATE log SET kind = 'dream' WHERE seq = 2").await;
        let reader = store.reader();
        assert!(reader.task(TaskId(2)).await.expect("the other").is_some());
        let error = reader.task(TaskId(1)).await.expect_err("damaged");
        assert!(error.to_string().contains("tasks, row 1"), "{error}");
        let error = Store::open(&mut store).await.expect_err("damaged");
        assert!(error.to_string().contains("log, row 2"), "{error}");
    });
}

#[test]
fn the_file_is_durable_and_closed_to_others() {
    use std::os::unix::fs::PermissionsExt as _;
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("some/where/hai.sqlite");
        let (mut store, fence) = opened(&path).await;
        commit(&mut store, &full_batch(fence, 1)).await;
        let mode = |path: &Path| std::fs::metadata(path).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o600);
        assert_eq!(mode(&dir.path().join("some/where/hai.sqlite-wal")), 0o600);
        assert_eq!(mode(path.parent().expect("a directory")), 0o700);
    });
}

#[test]
fn numbers_beyond_all_that_is_stored_find_nothing_wrong() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let (mut store, fence) = opened(&dir.path().join("hai.sqlite")).await;
        commit(&mut store, &full_batch(fence, 1)).await;
        let reader = store.reader();
        for id in [0, 2, i64::MAX as u64, u64::MAX] {
            assert_eq!(reader.task(TaskId(id)).await.expect("an answer"), None);
            assert_eq!(reader.program(TaskId(id)).await.expect("an answer"), None);
            assert_eq!(reader.runs(TaskId(id)).await.expect("an answer"), []);
            assert_eq!(reader.run(RunId(id)).await.expect("an answer"), None);
        }
        assert_eq!(reader.events_after(u64::MAX, Some(&user("ann")), u32::MAX).await.expect("an answer"), []);
        assert_eq!(reader.log_after(u64::MAX, u32::MAX).await.expect("an answer"), []);
        for (before, limit, found) in [(u64::MAX, 0, 1), (u64::MAX, u32::MAX, 1), (1, 10, 0), (0, 10, 0)] {
            let page = Page { before: Some(TaskId(before)), limit };
            let page = reader.tasks(&TaskFilter::default(), page).await.expect("a page");
            assert_eq!((page.tasks.len(), page.next_before), (found, None));
        }
    });
}

#[test]
fn events_are_read_in_parts_and_by_user() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let (mut store, fence) = opened(&dir.path().join("hai.sqlite")).await;
        let events: Vec<Event> = (1..=20)
            .map(|id| {
                let mut view = task(id);
                view.spec.user = user(if id % 3 == 0 { "bob" } else { "ann" });
                event(id, &view)
            })
            .collect();
        commit(&mut store, &Batch { events: events.clone(), ..batch(fence) }).await;
        let reader = store.reader();
        assert_eq!(reader.events_after(4, None, 3).await.expect("events"), events[4..7]);
        let bobs = reader.events_after(3, Some(&user("bob")), 2).await.expect("events");
        assert_eq!(bobs.iter().map(|event| event.id).collect::<Vec<_>>(), [6, 9]);
        assert_eq!(reader.last_event_id().await.expect("the last"), 20);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_see_whole_commits_while_the_writer_goes_on() {
    let dir = TempDir::new().expect("a directory");
    let (mut store, fence) = opened(&dir.path().join("hai.sqlite")).await;
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
                    let run = reader.run(RunId(1)).await.expect("an answer");
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

#[test]
fn a_token_opens_until_it_is_replaced_or_taken_away() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let path = dir.path().join("hai.sqlite");
        let (store, _) = opened(&path).await;
        let accounts = store.accounts();
        let (ann, bob) = (user("ann"), user("bob"));
        let first = accounts.add(&ann, Role::User).await.expect("ann");
        assert!(matches!(accounts.add(&ann, Role::Operator).await, Err(AccountError::Exists { name }) if name == ann));
        let found = accounts.authenticate(first.as_str()).await.expect("an answer").expect("ann");
        assert_eq!((&found.name, found.role, found.disabled), (&ann, Role::User, false));

        let second = accounts.rotate(&ann).await.expect("a token");
        assert_eq!(accounts.authenticate(first.as_str()).await.expect("an answer"), None);
        let again = accounts.authenticate(second.as_str()).await.expect("an answer").expect("ann");
        assert_eq!(again, found, "only the token changed");
        for nonsense in ["", "hai_", "' OR 1=1 --", &"f".repeat(68), &format!("hai_{}", "0".repeat(64))] {
            assert_eq!(accounts.authenticate(nonsense).await.expect("an answer"), None, "{nonsense}");
        }

        for missing in [accounts.rotate(&bob).await.map(drop), accounts.remove(&bob).await] {
            assert!(matches!(missing, Err(AccountError::Unknown { name }) if name == bob));
        }
        accounts.remove(&ann).await.expect("removing");
        assert_eq!(accounts.authenticate(second.as_str()).await.expect("an answer"), None);
        assert!(matches!(accounts.rotate(&ann).await, Err(AccountError::Unknown { .. })));
        assert_eq!(accounts.list().await.expect("a list").len(), 1);
        let third = accounts.add(&ann, Role::Operator).await.expect("ann comes back");
        drop(store);

        let (store, _) = opened(&path).await;
        let accounts = store.accounts();
        let found = accounts.authenticate(third.as_str()).await.expect("an answer").expect("ann");
        assert_eq!(found.role, Role::Operator);
        accounts.add(&bob, Role::User).await.expect("bob");
        let names: Vec<UserName> = accounts.list().await.expect("a list").into_iter().map(|user| user.name).collect();
        assert_eq!(names, [ann, bob]);
        for file in std::fs::read_dir(dir.path()).expect("a directory") {
            let bytes = std::fs::read(file.expect("a file").path()).expect("reading");
            for token in [&first, &second, &third] {
                let secret = &token.as_str().as_bytes()[4..];
                assert!(!bytes.windows(secret.len()).any(|window| window == secret), "a token was written down");
            }
        }
    });
}

#[test]
fn there_is_an_operator_after_asking_for_one() {
    block_on(async {
        let dir = TempDir::new().expect("a directory");
        let (store, _) = opened(&dir.path().join("hai.sqlite")).await;
        let accounts = store.accounts();
        let root = user("root");
        let token = accounts.ensure_operator(&root).await.expect("an answer").expect("a token");
        let found = accounts.authenticate(token.as_str()).await.expect("an answer").expect("root");
        assert_eq!(found.role, Role::Operator);
        assert!(accounts.ensure_operator(&root).await.expect("an answer").is_none());
        assert!(accounts.authenticate(token.as_str()).await.expect("an answer").is_some(), "the token stays");
        accounts.remove(&root).await.expect("removing");
        let token = accounts.ensure_operator(&root).await.expect("an answer").expect("a new token");
        assert!(accounts.authenticate(token.as_str()).await.expect("an answer").is_some());

        let ann = user("ann");
        let old = accounts.add(&ann, Role::User).await.expect("ann");
        let new = accounts.ensure_operator(&ann).await.expect("an answer").expect("a new token");
        assert_eq!(accounts.authenticate(old.as_str()).await.expect("an answer"), None, "no token grows by itself");
        let found = accounts.authenticate(new.as_str()).await.expect("an answer").expect("ann");
        assert_eq!(found.role, Role::Operator);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_add_one_user_at_once_one_does() {
    let dir = TempDir::new().expect("a directory");
    let (mut store, fence) = opened(&dir.path().join("hai.sqlite")).await;
    // Spawned as doors do it: the futures may move between threads.
    let adding: Vec<_> = (0..8)
        .map(|_| {
            let accounts = store.accounts();
            tokio::spawn(async move { accounts.add(&user("ann"), Role::User).await.is_ok() })
        })
        .collect();
    commit(&mut store, &full_batch(fence, 1)).await;
    let mut added = 0;
    for one in adding {
        added += u32::from(one.await.expect("no panic"));
    }
    assert_eq!(added, 1);
}
