//! The stores against real files and a real server: what is committed reads back, whatever happens in between.

mod contract;
mod files;
mod moving;
mod old;
mod place;
#[path = "../support/postgres.rs"]
mod postgres;
mod server;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use hai_core::backend::{Batch, Committed, Entry, Event, Fence, Record, Store};
use hai_core::model::{
    Allowance, DeviceId, Fact, GroupName, NodeName, Priority, Program, RightKey, RightRow, RunId, RunPhase, RunView,
    Span, TaskId, TaskSpec, TaskState, TaskView, Time, UserName, WorkerPlacement, WorkerRequest, WorkerState,
    WorkerView,
};
use hai_daemon::store::{Reader, SqliteStore};

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
        spec: Arc::new(spec),
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
        whole_life_state: None,
        end: None,
        workers,
    }
}

fn worker(node: &str, state: WorkerState) -> WorkerView {
    let place = WorkerPlacement {
        node: NodeName::new(node).expect("a node name"),
        whole_node: false,
        devices: [DeviceId::new("GPU-1").expect("a device id")].into_iter().collect(),
        part: None,
        cpu_milli: 500,
        memory_mib: 1024,
    };
    WorkerView { place, state }
}

fn record(seq: u64) -> Record {
    let entry = Entry::Fact(Fact::Cancelled { task: TaskId(seq) });
    Record { seq, at: Time::from_ms(5), by: None, entry, digest: None }
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
        rights: Some(vec![RightRow::new(RightKey::default(), Allowance::nodes(number as u32))]),
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

async fn commit<S: Store>(store: &mut S, batch: &Batch) {
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

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}
