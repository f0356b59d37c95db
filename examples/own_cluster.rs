//! A cluster of one's own: threads that count, each standing in for a machine's process, a virtual machine, a job.
//!
//! `cargo run -p hai-examples --example own_cluster`. The driver observes, decides, stores, and only then gives orders; the
//! cluster carries them out and reports. The loop below is all that a daemon's is: commands, reports and deadlines.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use hai_core::backend::{Cluster, Command, Driver, Listing, MemoryStore, StartOrder, WorkerReport};
use hai_core::engine::EngineConfig;
use hai_core::model::*;
use hai_examples::{all_rights, block_on, block_on_until, machine, submit};

type Error = Box<dyn std::error::Error>;

/// How far alice's task counts, in all its runs together.
const GOAL: i64 = 300;

/// One machine whose workers are threads.
#[derive(Clone)]
struct Threads {
    node: NodeSpec,
    shared: Arc<Mutex<Shared>>,
}

/// What the cluster and its workers share.
#[derive(Default)]
struct Shared {
    runs: BTreeMap<RunId, Counting>,
    facts: VecDeque<Fact>,
    waker: Option<Waker>,
}

/// A run that was started and not yet forgotten.
struct Counting {
    told_to_leave: Arc<AtomicBool>,
    counted: i64,
    exit: Option<WorkerExit>,
}

impl Threads {
    fn new(node: NodeSpec) -> Self {
        Threads { node, shared: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the thread of a run does: it counts on from where the last run was, saves its work now and then, and leaves
    /// when it is told to.
    fn count(&self, run: RunId, from: i64, to: i64, told_to_leave: &AtomicBool) {
        let mut counted = from;
        while counted < to && !told_to_leave.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(2));
            counted += 1;
            if counted % 10 == 0 {
                self.tell(Fact::Checkpointed { run, whole_life_state: counted });
            }
        }
        let exit = if counted < to { WorkerExit::exited(0).after_signal() } else { WorkerExit::exited(0) };
        self.tell(Fact::Checkpointed { run, whole_life_state: counted });
        self.tell(Fact::WorkerEnded { run, rank: 0, exit });
    }

    fn tell(&self, fact: Fact) {
        let mut shared = self.lock();
        match &fact {
            Fact::Checkpointed { run, whole_life_state } => {
                if let Some(counting) = shared.runs.get_mut(run) {
                    counting.counted = *whole_life_state;
                }
            }
            Fact::WorkerEnded { run, exit, .. } => {
                if let Some(counting) = shared.runs.get_mut(run) {
                    counting.exit = Some(exit.clone());
                }
            }
            _ => {}
        }
        shared.facts.push_back(fact);
        if let Some(waker) = shared.waker.take() {
            waker.wake();
        }
    }
}

impl Cluster for Threads {
    type Error = Infallible;

    async fn list(&mut self) -> Result<Listing, Infallible> {
        let shared = self.lock();
        let workers = shared.runs.iter().map(|(&run, counting)| WorkerReport {
            run,
            rank: 0,
            whole_life_state: Some(counting.counted),
            exit: counting.exit.clone(),
        });
        Ok(Listing { nodes: vec![self.node.clone()], workers: workers.collect() })
    }

    async fn start(&mut self, order: &StartOrder) -> Result<(), Infallible> {
        let (run, from) = (order.run, order.whole_life_state);
        let to = order.program.command.get(1).and_then(|goal| goal.parse().ok()).unwrap_or(0);
        let told_to_leave = Arc::new(AtomicBool::new(false));
        let counting = Counting { told_to_leave: Arc::clone(&told_to_leave), counted: from, exit: None };
        let mut shared = self.lock();
        // The same order may come again, and must not execute anything twice.
        if shared.runs.contains_key(&run) {
            return Ok(());
        }
        shared.runs.insert(run, counting);
        drop(shared);
        self.tell(Fact::WorkerStarted { run, rank: 0 });
        let cluster = self.clone();
        thread::spawn(move || cluster.count(run, from, to, &told_to_leave));
        Ok(())
    }

    async fn suspend(&mut self, run: RunId, _grace: Grace) -> Result<(), Infallible> {
        // These threads answer at once. A cluster whose workers may not has to force them out when the grace is over.
        if let Some(counting) = self.lock().runs.get(&run) {
            counting.told_to_leave.store(true, Ordering::Release);
        }
        Ok(())
    }

    async fn stop(&mut self, run: RunId, grace: Grace) -> Result<(), Infallible> {
        self.suspend(run, grace).await
    }

    async fn forget(&mut self, run: RunId) -> Result<(), Infallible> {
        self.lock().runs.remove(&run);
        Ok(())
    }

    async fn next(&mut self) -> Fact {
        poll_fn(|context| {
            let mut shared = self.lock();
            match shared.facts.pop_front() {
                Some(fact) => Poll::Ready(fact),
                None => {
                    shared.waker = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }
}

fn main() -> Result<(), Error> {
    for decision in share()? {
        println!("{decision:?}");
    }
    Ok(())
}

/// Lets alice count on the only device, lets bob come with a better priority once she has saved something, and
/// goes on until nothing is left to do.
fn share() -> Result<Vec<Decision>, Error> {
    let (store, cluster, clock) = (MemoryStore::default(), Threads::new(machine("lab-1", 1)?), Instant::now());
    // The clock is the embedder's: here it begins with the program.
    let now = || Time::ZERO + Span::from_ms(u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX));
    let mut driver = block_on(Driver::open(EngineConfig::default(), store.clone(), cluster, now()))?;
    let mut commands = vec![all_rights(), counting("long", "alice", Priority::Normal, GOAL)?];
    let mut later = Some(counting("short", "bob", Priority::High, 5)?);
    loop {
        for reply in block_on(driver.step(now(), std::mem::take(&mut commands)))? {
            reply?;
        }
        if driver.engine().tasks().next().is_none() {
            return Ok(store.decisions());
        }
        let wait = driver.next_deadline().map(|deadline| Duration::from_millis(deadline.since(now()).as_ms()));
        // Nothing came before the deadline: a step without commands.
        let Some(report) = block_on_until(driver.next(), wait.map(|wait| Instant::now() + wait)) else { continue };
        if matches!(report, Command::Seen(Fact::Checkpointed { .. })) {
            commands.extend(later.take());
        }
        commands.insert(0, report);
    }
}

fn counting(name: &str, user: &str, priority: Priority, to: i64) -> Result<Command, NameError> {
    let mut command = submit(name, user, priority, 1)?;
    if let Command::Submit(new) = &mut command {
        new.program.command = vec!["count".to_owned(), to.to_string()];
    }
    Ok(command)
}

#[test]
fn alice_makes_room_and_goes_on_where_she_was() {
    let decisions = share().expect("nothing fails in memory");
    let starts: Vec<(TaskId, i64)> = decisions
        .iter()
        .filter_map(|decision| match decision {
            Decision::Start { task, whole_life_state, .. } => Some((*task, *whole_life_state)),
            _ => None,
        })
        .collect();
    let [(TaskId(1), 0), (TaskId(2), 0), (TaskId(1), resumed)] = starts[..] else { panic!("{starts:?}") };
    assert!((10..GOAL).contains(&resumed), "she had counted to {resumed} when bob came");
}
