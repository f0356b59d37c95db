//! The driver over this store: it must keep exactly what the reference store in memory keeps.

use std::future::{Future as _, poll_fn};
use std::task::Poll;

use crate::place::Place;
use hai_core::backend::{Batch, Command, Committed, Driver, MemoryCluster, MemoryStore, Saved, Store, Submitted};
use hai_core::engine::EngineConfig;
use hai_core::model::{
    Allowance, DeviceId, DeviceSpec, Fact, ModelName, NodeName, NodeSpec, Priority, Program, RightKey, RightRow,
    TaskId, TaskSpec, Time, WorkerExit, WorkerRequest,
};
use hai_daemon::store::{AnyStore, Reader, StoreError, check};

use crate::{group, user};

/// All of it as text. Of a state only what is written counts: the rest is worked out anew from that.
fn told(saved: &Saved) -> String {
    let Saved { fence, snapshot, records, last_event } = saved;
    let snapshot = serde_json::to_string(snapshot).expect("plain data");
    format!("{fence:?} {snapshot} {records:?} {last_event}")
}

/// Writes to both and answers only if both answer the same.
struct Both {
    database: AnyStore,
    memory: MemoryStore,
}

impl Store for Both {
    type Error = StoreError;

    async fn open(&mut self) -> Result<Saved, StoreError> {
        let saved = Store::open(&mut self.database).await?;
        let reference = self.memory.open().await.expect("memory does not fail");
        assert_eq!(told(&saved), told(&reference));
        Ok(saved)
    }

    async fn commit(&mut self, batch: &Batch) -> Result<Committed, StoreError> {
        let committed = self.database.commit(batch).await?;
        assert_eq!(self.memory.commit(batch).await.expect("memory does not fail"), committed);
        Ok(committed)
    }

    async fn program(&mut self, task: TaskId) -> Result<Option<Program>, StoreError> {
        let program = Store::program(&mut self.database, task).await?;
        assert_eq!(self.memory.program(task).await.expect("memory does not fail"), program);
        Ok(program)
    }
}

pub(crate) fn node() -> NodeSpec {
    let device = |index| {
        let id = DeviceId::new(format!("GPU-{index}")).expect("a device id");
        DeviceSpec::new(id, ModelName::new("RTX 3070").expect("a model"), 8192)
    };
    NodeSpec {
        devices: (0..2).map(device).collect(),
        ..NodeSpec::new(NodeName::new("n1").expect("a node name"), group("lab"), 8000, 32_768)
    }
}

pub(super) fn submit(number: usize) -> Command {
    let priority = [Priority::Low, Priority::Normal, Priority::High][number % 3];
    let who = user(if number.is_multiple_of(2) { "ann" } else { "bob" });
    let request = WorkerRequest::devices(1 + number as u32 % 2);
    let spec = TaskSpec::new(format!("task {number}"), who, group("lab"), priority, request);
    let program = Program { command: vec!["true".into(), number.to_string()], ..Program::default() };
    Command::Submit(Box::new(Submitted { spec, program }))
}

/// Lets the driver hear all that the cluster has to say by now.
pub(super) async fn settle<S: Store>(driver: &mut Driver<S, MemoryCluster>, now: Time) {
    loop {
        let next = {
            let mut next = Box::pin(driver.next());
            poll_fn(|context| match next.as_mut().poll(context) {
                Poll::Ready(command) => Poll::Ready(Some(command)),
                Poll::Pending => Poll::Ready(None),
            })
            .await
        };
        let Some(command) = next else { return };
        // The cluster may repeat itself; that is an answer, not a failure.
        let _ = driver.step(now, vec![command]).await.expect("a step");
    }
}

async fn compare(reader: &Reader, memory: &MemoryStore) {
    let kept = memory.kept();
    assert_eq!(reader.log_after(0, u32::MAX).await.expect("the log"), kept.records);
    assert_eq!(reader.events_after(0, None, u32::MAX).await.expect("the events"), kept.events);
    assert_eq!(reader.rights().await.expect("the rights"), kept.rights);
    for (id, task) in &kept.tasks {
        assert_eq!(reader.task(*id).await.expect("a task").as_ref(), Some(task));
    }
    for (id, run) in &kept.runs {
        assert_eq!(reader.run(run.task, *id).await.expect("a run").as_ref(), Some(run));
    }
    let counted: u64 = reader.counts().await.expect("the counts").states.values().sum();
    assert_eq!(counted, kept.tasks.len() as u64);
}

pub(super) async fn the_driver_finds_here_what_it_would_find_in_memory_however_it_was_left(place: &mut Place) {
    let (memory, cluster) = (MemoryStore::default(), MemoryCluster::new([node()]));
    let both = async || Both { database: place.open().await, memory: memory.clone() };
    let mut suspended = false;
    for round in 0..6_usize {
        let now = |second: usize| Time::from_ms((round * 1000 + second) as i64 * 1000);
        let mut driver =
            Driver::open(EngineConfig::default(), both().await, cluster.clone(), now(0)).await.expect("a driver");
        if round == 0 {
            let right = RightRow::new(RightKey::default(), Allowance::UNLIMITED);
            let set = Command::Tell(Fact::RightSet { right });
            assert!(driver.step(now(1), vec![set]).await.expect("a step")[0].is_ok());
        }
        for number in 0..5 {
            let reply = driver.step(now(2 + number), vec![submit(7 * round + number)]).await.expect("a step");
            assert!(matches!(reply[0], Ok(Some(_))), "{reply:?}");
            settle(&mut driver, now(2 + number)).await;
        }
        for (order, _) in cluster.executing() {
            let said: i64 = order.program.command[1].parse().expect("a number");
            cluster.checkpoint(order.run, said);
            settle(&mut driver, now(10)).await;
            cluster.end(order.run, 0, WorkerExit::exited(round as i32 % 2));
            settle(&mut driver, now(11)).await;
        }
        suspended |= memory.kept().tasks.values().any(|task| task.yielded.is_some());
        // Left by a kill or in good order, with a snapshot: the next round opens what is there.
        if round % 3 == 2 { driver.close().await.expect("closing") } else { drop(driver) }
    }
    let store = both().await;
    compare(&store.database.reader(), &memory).await;
    let kept = memory.kept();
    assert!(suspended && kept.snapshot.is_some() && kept.tasks.len() == 30, "too little happened");
    assert!(kept.tasks.values().any(|task| task.outcome.is_some()), "too little happened");

    let reader = store.database.reader();
    let sound = check(&reader).await.expect("an answer");
    assert_eq!((sound.problems.as_slice(), sound.tasks, sound.moved), (&[] as &[String], 30, false));
    assert_eq!((sound.records, sound.runs), (kept.records.len() as u64, kept.runs.len() as u64));
    let over = place.number("SELECT min(id) FROM ended").await;
    let (task_told, program_told) =
        (format!("tasks, row {over}: it is not"), format!("programs, row {over}: it is missing"));
    for (harm, told) in [
        ("UPDATE tasks SET view = replace(view, 'task 1\"', 'task 2\"') WHERE id = 2", "tasks, row 2: it is not"),
        (
            "UPDATE ended SET view = replace(view, '\"state\":\"finished\"', '\"state\":\"held\"') \
             WHERE id = (SELECT min(id) FROM ended)",
            &*task_told,
        ),
        ("UPDATE ended SET runs = replace(runs, '\"phase\":\"ended\"', '\"phase\":\"running\"')", "runs, row"),
        ("UPDATE ended SET program = NULL WHERE id = (SELECT min(id) FROM ended)", &*program_told),
        ("DELETE FROM programs WHERE task = 2", "programs, row 2: it is missing"),
        ("UPDATE totals SET tasks = tasks + 1", "totals: "),
        ("DELETE FROM rights", "rights: they are not"),
        ("UPDATE log SET at = at + 1 WHERE seq = 20", "nothing after it was looked at"),
    ] {
        place.meddle(harm, harm).await;
        let found = check(&reader).await.expect("an answer");
        assert!(found.problems.iter().any(|problem| problem.contains(told)), "{harm}: {:?}", found.problems);
    }
}
