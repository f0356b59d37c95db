//! Policies of one's own: in which order tasks are tried, and which of the nodes that will do they get.
//!
//! `cargo run -p hai-examples --example own_policy`. An order says where a waiting task stands inside its level; a scorer
//! judges places that are known to do. Both are pure functions, so what the engine decides stays the same for the same
//! input; everything else (rights, levels, gangs, preemption) stays as it is.

use std::sync::Arc;

use hai_core::backend::Command;
use hai_core::engine::{Engine, EngineConfig, Policies};
use hai_core::model::{Decision, Fact, NodeName, Priority, TaskId, Time};
use hai_core::placement::{Policy, SCORE_MAX, Scorer, Seat};
use hai_core::queue::order::{Key, Order, Usage, Waiting};
use hai_examples::{all_rights, machine, submit};

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

/// What starts where on two machines of four devices each, when one user asks for 4, 3 and 1 devices and there is room for
/// two of the three on the first machine and for the others on the second.
fn starts(policies: Policies) -> Result<Vec<(TaskId, NodeName)>, Error> {
    let now = Time::ZERO;
    let mut engine = Engine::with_policies(EngineConfig::default(), policies);
    let mut sunny = machine("roof", 4)?;
    sunny.labels.insert("power".to_owned(), "sun".to_owned());
    for node in [machine("cellar", 4)?, sunny] {
        engine.observe(now, &Fact::NodeSet { node })?;
    }
    let wanted = [("large", 4), ("middle", 3), ("small", 1)];
    let submissions = wanted.into_iter().map(|(name, devices)| submit(name, "alice", Priority::Normal, devices));
    for command in std::iter::once(Ok(all_rights())).chain(submissions) {
        let fact = match command? {
            Command::Tell(fact) => fact,
            Command::Submit(new) => Fact::Submitted { task: engine.next_task_id(), spec: Arc::new(new.spec) },
        };
        engine.observe(now, &fact)?;
    }
    let round = engine.schedule(now);
    Ok(round
        .decisions
        .iter()
        .filter_map(|decision| match decision {
            Decision::Start { task, placement, .. } => Some((*task, placement.workers[0].node.clone())),
            _ => None,
        })
        .collect())
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
