//! Random batches and filters, against a model in plain maps.

use std::collections::{BTreeMap, btree_map};
use std::sync::Arc;

use hai_core::backend::{Batch, Digest, Entry, Event, Fence, Opening, Record, Store};
use hai_core::engine::EngineConfig;
use hai_core::model::{
    Allowance, Amount, Decision, Fact, Limit, Outcome, Priority, Program, Rank, RightKey, RightRow, RunEnd, RunId,
    RunView, Span, TaskId, TaskKind, TaskSpec, TaskState, TaskView, Time, WorkerExit, WorkerFate, WorkerRequest,
    WorkerState, WorkerView, YieldReason, Yielded,
};
use hai_daemon::store::{Page, Reader, TaskFilter, TaskPage};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use tokio::runtime::Handle;
use tokio::sync::Mutex;

use crate::place::Place;
use crate::{batch, commit, event, group, run, task, user, worker};

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
        prop::sample::select(vec![
            TaskKind::Training,
            TaskKind::Background,
            TaskKind::Interactive { lease: Span::from_mins(1), idle_after: None },
        ]),
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
        let (name, who, whither, priority, rank, kind) = spec;
        let mut view = task(id);
        let spec = TaskSpec::new(name, user(who), group(whither), priority, WorkerRequest::whole_node());
        view.spec = Arc::new(TaskSpec { custom_rank: rank.and_then(Rank::new), kind, ..spec });
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
    let right = (any::<Option<bool>>(), any::<Option<bool>>(), any::<u32>()).prop_map(|(who, whither, most)| {
        let key = RightKey {
            user: who.map(|ann| user(if ann { "ann" } else { "bob" })),
            group: whither.map(|_| group("lab")),
            priority: whither.map(|high| if high { Priority::High } else { Priority::Low }),
            ..RightKey::default()
        };
        let nodes = Limit::AtMost(Amount::from_milli(most.into()));
        RightRow::new(key, Allowance { nodes, devices: Limit::Unlimited })
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
            let config = EngineConfig { borrow: *at > 0, ..EngineConfig::default() };
            let (entry, digest) = match rank {
                Some(_) => (Entry::Fact(fact), None),
                None if at % 3 == 0 => (Entry::Opened(Box::new(Opening::new(config))), None),
                None => (Entry::Round(vec![withdraw]), Some(Digest([*at as u8; 32]))),
            };
            let by = (at % 2 == 0).then(|| user("ann"));
            batch.records.push(Record { seq, at: Time::from_ms(*at), by, entry, digest });
        }
        for view in &step.tasks {
            let env = [(view.spec.name.clone(), "\0'".into())].into();
            let program = Program { command: vec![view.spec.name.clone()], env, ..Program::default() };
            if let btree_map::Entry::Vacant(new) = self.programs.entry(view.id) {
                batch.programs.push((view.id, new.insert(program).clone()));
            }
            batch.tasks.push(view.clone());
            batch.events.push(event((self.events.len() + batch.events.len()) as u64 + 1, view));
        }
        self.tasks.extend(batch.tasks.iter().map(|view| (view.id, view.clone())));
        let known: Vec<TaskId> = self.tasks.keys().copied().collect();
        for (id, of, workers, reason) in &step.runs {
            // A run is of one task for ever.
            let of = self.runs.get(&RunId(*id)).map_or(*of.get(&known), |run| run.task);
            let mut view = run(*id, of.0, workers.clone());
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
        assert_eq!(reader.last_record().await.expect("the last"), self.records.len() as u64);
        assert_eq!(reader.events_after(0, None, u32::MAX).await.expect("the events"), self.events);
        assert_eq!(reader.last_event_id().await.expect("the last"), self.events.len() as u64);
        assert_eq!(reader.rights().await.expect("the rights"), self.rights);
        for (id, view) in &self.tasks {
            assert_eq!(reader.task(*id).await.expect("a task").as_ref(), Some(view));
            let runs: Vec<RunView> = self.runs.values().filter(|run| run.task == *id).cloned().collect();
            assert_eq!(reader.runs(*id).await.expect("runs"), runs);
        }
        for (id, view) in &self.runs {
            assert_eq!(reader.run(view.task, *id).await.expect("a run").as_ref(), Some(view));
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
                && (filter.kinds.is_empty() || filter.kinds.contains(&task.spec.kind.word()))
                && filter.name.as_ref().is_none_or(|name| task.spec.name == *name)
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
        assert_eq!(reader.count(filter).await.expect("a count"), expected.len() as u64, "{filter:?}");
        // The same with the whole name of one that is there, which also is a part of itself.
        let Some(name) = expected.first().map(|task| task.spec.name.clone()).filter(|_| filter.name.is_none()) else {
            return;
        };
        let named = TaskFilter { name: Some(name), ..filter.clone() };
        Box::pin(self.check_pages(reader, &named, limit)).await;
    }
}

fn any_filter() -> impl Strategy<Value = TaskFilter> {
    let words = prop::sample::select(vec!["succeeded", "failed", "stopped", "nonsense", "\0"]).prop_map(str::to_owned);
    let name =
        prop_oneof![Just("%".to_owned()), Just("_".to_owned()), Just("\0".to_owned()), Just(String::new()), any_text()];
    (
        any::<Option<bool>>(),
        any::<Option<bool>>(),
        vec(0..STATES.len(), 0..4),
        vec(words, 0..3),
        prop::option::weighted(0.3, name),
        any::<Option<bool>>(),
        prop::sample::subsequence(vec!["training", "interactive", "background"], 0..=3),
    )
        .prop_map(|(who, whither, states, outcomes, name_contains, priority, kinds)| TaskFilter {
            user: who.map(|ann| user(if ann { "ann" } else { "bob" })),
            group: whither.map(|lab| group(if lab { "lab" } else { "big" })),
            states: states.into_iter().map(|index| STATES[index]).collect(),
            outcomes,
            name: None,
            name_contains,
            kinds,
            priority: priority.map(|high| if high { Priority::High } else { Priority::Auto }),
        })
}

/// A place that empties itself costs most on a server.
fn runner(place: &Place) -> TestRunner {
    let cases = if matches!(place, Place::File(_)) { 48 } else { 16 };
    TestRunner::new(ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() })
}

/// The runner is not async; what it runs is. Only one case runs at a time.
fn run_cases<S: Strategy>(place: &mut Place, cases: &S, check: impl AsyncFn(&mut Place, S::Value)) {
    let mut runner = runner(place);
    let place = Mutex::new(place);
    let result = runner.run(cases, |case| {
        tokio::task::block_in_place(|| {
            Handle::current().block_on(async {
                let mut place = place.lock().await;
                place.empty().await;
                check(&mut place, case).await;
            });
        });
        Ok(())
    });
    if let Err(error) = result {
        panic!("{error}");
    }
}

pub(super) async fn what_is_committed_reads_back_equal_even_after_the_store_is_dropped(place: &mut Place) {
    run_cases(place, &vec(any_step(), 1..5), async |place, steps| {
        let mut model = Model::default();
        for step in &steps {
            let mut store = place.open().await;
            let saved = Store::open(&mut store).await.expect("the lease");
            assert_eq!(saved.records, model.records);
            let batch = model.take(saved.fence, step);
            commit(&mut store, &batch).await;
            model.check(&store.reader()).await;
        }
        let mut store = place.open().await;
        model.check(&store.reader()).await;
        for (id, program) in &model.programs {
            assert_eq!(Store::program(&mut store, *id).await.expect("a program").as_ref(), Some(program));
        }
    });
}

pub(super) async fn pages_hold_what_the_filter_wants_newest_first(place: &mut Place) {
    run_cases(place, &(any_step(), vec(any_filter(), 12), 1..5_u32), async |place, (step, filters, limit)| {
        let (mut store, fence) = place.opened().await;
        let mut model = Model::default();
        let batch = model.take(fence, &step);
        commit(&mut store, &batch).await;
        for filter in filters.iter().chain([&TaskFilter::default()]) {
            model.check_pages(&store.reader(), filter, limit).await;
        }
    });
}
