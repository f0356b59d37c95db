//! hai-core inside a program of one's own: two users, one device, and a HIGH task that displaces a NORMAL one.
//!
//! `cargo run -p hai-examples --example embed`. The store and the cluster are those in memory; bring your own by
//! implementing `hai_core::backend::Store` and `hai_core::backend::Cluster`.

use hai_core::backend::{Driver, MemoryCluster, MemoryStore};
use hai_core::engine::EngineConfig;
use hai_core::model::{Decision, Priority, Span, Time, WorkerExit};
use hai_examples::{all_rights, at_once, block_on, machine, submit};

type Error = Box<dyn std::error::Error>;

fn main() -> Result<(), Error> {
    block_on(share())?;
    Ok(())
}

async fn share() -> Result<Vec<Decision>, Error> {
    let (store, cluster) = (MemoryStore::default(), MemoryCluster::new([machine("lab-1", 1)?]));
    // The core reads no clock: the time is an argument everywhere.
    let mut now = Time::ZERO;
    let mut driver = Driver::open(EngineConfig::default(), store.clone(), cluster.clone(), now).await?;

    println!("alice submits a NORMAL task, which starts and saves its work");
    driver.step(now, vec![all_rights(), submit("train", "alice", Priority::Normal, 1)?]).await?;
    settle(&mut driver, now).await?;
    let (alice, _) = cluster.executing().remove(0);
    cluster.checkpoint(alice.run, 41);

    println!("bob submits a HIGH task an hour later");
    now += Span::from_mins(60);
    driver.step(now, vec![submit("experiment", "bob", Priority::High, 1)?]).await?;
    settle(&mut driver, now).await?;

    println!("bob's task ends, and alice's goes on where it was");
    now += Span::from_mins(5);
    let (bob, _) = cluster.executing().remove(0);
    cluster.end(bob.run, 0, WorkerExit::exited(0));
    settle(&mut driver, now).await?;

    println!("\nwhat was decided:");
    let decisions = store.decisions();
    decisions.iter().for_each(tell);
    Ok(decisions)
}

/// Lets the cluster report until it has nothing more to say. A daemon waits for commands, reports and
/// `next_deadline` instead, whichever comes first.
async fn settle(driver: &mut Driver<MemoryStore, MemoryCluster>, now: Time) -> Result<(), Error> {
    while let Some(report) = at_once(driver.next()) {
        driver.step(now, vec![report]).await?;
    }
    Ok(())
}

fn tell(decision: &Decision) {
    match decision {
        Decision::Start { task, run, whole_life_state, .. } => {
            println!("  start task {task} as run {run}, which reads the state {whole_life_state}");
        }
        Decision::Promise { task, .. } => println!("  set a place aside for task {task}"),
        Decision::Suspend { task, reason, .. } => println!("  suspend task {task}: {reason}"),
        other => println!("  {other:?}"),
    }
}

#[test]
fn the_displaced_task_resumes_with_its_state() {
    let decisions = block_on(share()).expect("nothing fails in memory");
    let last = decisions.last().expect("something was decided");
    assert!(matches!(last, Decision::Start { task, whole_life_state: 41, .. } if task.0 == 1), "{last:?}");
    assert_eq!(decisions.len(), 5, "start, promise, suspend, start, start: {decisions:?}");
}
