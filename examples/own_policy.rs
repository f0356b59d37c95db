//! Policies of one's own: in which order tasks are tried, and which of the nodes that will do they get.
//!
//! `cargo run -p hai-examples --example own_policy`. An order says where a waiting task stands inside its level; a scorer
//! judges places that are known to do. Both are pure functions, so what the engine decides stays the same for the same
//! input; everything else (rights, levels, gangs, preemption) stays as it is.

use std::sync::Arc;

use hai_core::backend::{Driver, MemoryCluster, MemoryStore};
use hai_core::engine::{EngineConfig, Policies};
use hai_core::model::{Decision, NodeName, Priority, TaskId, Time};
use hai_core::placement::{Policy, SCORE_MAX, Scorer, Seat};
use hai_core::queue::order::{Key, Order, Usage, Waiting};
use hai_examples::{all_rights, block_on, machine, submit};

type Error = Box<dyn std::error::Error>;

/// Who asks for fewer devices goes first; among equals, who came first.
#[derive(Debug)]
struct SmallestFirst;

impl Order for SmallestFirst {
    fn key(&self, waiting: &Waiting<'_>, _: &Usage, _: Time) -> Key {
        let spec = waiting.spec;
        let devices = u128::from(spec.workers) * u128::from(spec.request.devices.count());
        Key { value: devices, rank: spec.rank(waiting.task), task: waiting.task }
    }

    fn is_static(&self) -> bool {
        true
    }
}

/// Machines that run on sunlight, and of those the ones with the least room left.
#[derive(Debug)]
struct Sunlight;

impl Scorer for Sunlight {
    fn score(&self, seat: &Seat<'_>) -> u32 {
        let sunny = seat.node.spec().labels.get("power").is_some_and(|power| power == "sun");
        let free = seat.room.devices.count_ones();
        (if sunny { SCORE_MAX } else { SCORE_MAX / 2 }).saturating_sub(free)
    }
}

fn main() -> Result<(), Error> {
    let own = Policies { order: Some(Arc::new(SmallestFirst)), placement: Some(Policy::custom(Sunlight)) };
    for (name, policies) in [("as it comes", Policies::default()), ("with policies of one's own", own)] {
        println!("{name}:");
        starts(policies)?.iter().for_each(|(task, node)| println!("  task {task} starts on {node}"));
    }
    Ok(())
}

/// What starts where on two machines of four devices each, when one user asks for 4, 3 and 1 devices: whichever machine is
/// taken first, the two smaller tasks fit beside each other and the larger one needs a machine of its own.
fn starts(policies: Policies) -> Result<Vec<(TaskId, NodeName)>, Error> {
    let now = Time::ZERO;
    let mut sunny = machine("roof", 4)?;
    sunny.labels.insert("power".to_owned(), "sun".to_owned());
    let (store, cluster) = (MemoryStore::default(), MemoryCluster::new([machine("cellar", 4)?, sunny]));
    // Without a driver: `Engine::with_policies`.
    let open = Driver::open_with_policies(EngineConfig::default(), policies, store.clone(), cluster, now);
    let mut driver = block_on(open)?;
    let mut commands = vec![all_rights()];
    for (name, devices) in [("large", 4), ("middle", 3), ("small", 1)] {
        commands.push(submit(name, "alice", Priority::Normal, devices)?);
    }
    for reply in block_on(driver.step(now, commands))? {
        reply?;
    }
    let decisions = store.decisions().into_iter();
    let starts = decisions.filter_map(|decision| match decision {
        Decision::Start { task, placement, .. } => Some((task, placement.workers[0].node.clone())),
        _ => None,
    });
    Ok(starts.collect())
}

#[cfg(test)]
fn told(policies: Policies) -> Vec<String> {
    let starts = starts(policies).expect("all names are good");
    starts.iter().map(|(task, node)| format!("{task} on {node}")).collect()
}

#[test]
fn by_default_the_first_goes_first_and_machines_are_taken_as_they_joined() {
    assert_eq!(told(Policies::default()), ["1 on cellar", "2 on roof", "3 on roof"]);
}

#[test]
fn policies_of_ones_own_change_the_order_and_the_place() {
    let order = Policies { order: Some(Arc::new(SmallestFirst)), ..Policies::default() };
    assert_eq!(told(order), ["3 on cellar", "2 on cellar", "1 on roof"]);
    let placement = Policies { placement: Some(Policy::custom(Sunlight)), ..Policies::default() };
    assert_eq!(told(placement), ["1 on roof", "2 on cellar", "3 on cellar"]);
}
