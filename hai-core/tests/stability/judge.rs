//! What must hold once a cluster is left alone.

use hai_core::model::*;
use proptest::prelude::*;

use super::clusters::{Cluster, Event, NEVER};
use crate::support::{Displaced, Sim};

/// For so long the cluster is left alone.
const ALONE: Span = Span::from_secs(4_000);
/// Where no slice ends it is at rest by then: all levels that fall or rise with time have done so.
const REST: Span = Span::from_secs(2_000);

/// How many clusters there were of a sort.
#[derive(Debug, Default)]
pub(super) struct Seen {
    clusters: usize,
    /// Somebody had to leave after the last fact.
    left: usize,
    /// For one of the same claim.
    by_slices: usize,
    rounds_most: usize,
}

/// A run that had to leave for a task.
#[derive(Clone, Copy, Debug)]
struct Left {
    victim: TaskId,
    winner: TaskId,
    theirs: Claim,
    ours: Claim,
    /// How much had been decided before that round.
    decided: usize,
}

impl Left {
    /// Neither had the better claim.
    fn among_equals(&self) -> bool {
        self.theirs == self.ours
    }
}

impl Seen {
    pub(super) fn check(&self) {
        let Seen { clusters, left, by_slices, .. } = *self;
        assert!(left > clusters / 10 && by_slices > clusters / 50, "hardly anybody has to leave: {self:?}");
    }
}

fn happen(sim: &mut Sim, event: &Event) {
    let staying = |sim: &Sim| -> Vec<RunId> {
        sim.runs.iter().filter(|(_, run)| run.started_at.is_some() && !run.leaving).map(|(&id, _)| id).collect()
    };
    let task = |sim: &Sim, at: usize| sim.tasks.keys().copied().nth(at);
    match event {
        Event::Comes(spec) => {
            sim.submit((**spec).clone(), None);
        }
        Event::Saves(at) => staying(sim).get(*at).into_iter().for_each(|&run| sim.checkpoint(run)),
        Event::Ends(at) => staying(sim).get(*at).into_iter().for_each(|&run| sim.end(run)),
        Event::Stopped(at) => task(sim, *at).into_iter().for_each(|task| sim.cancel(task)),
        Event::Reprioritised(at, priority) => {
            if let Some(task) = task(sim, *at) {
                sim.reprioritise(task, *priority);
            }
        }
        Event::Node(at, ready) => {
            if let Some(node) = sim.nodes.get_mut(*at) {
                node.ready = *ready;
                let node = node.clone();
                sim.tell(Fact::NodeSet { node });
            }
        }
        Event::Right(right) => sim.tell(Fact::RightSet { right: right.clone() }),
    }
}

/// How good a task's hold on its place is, or would be.
fn claim(sim: &Sim, cluster: &Cluster, task: TaskId, (level, entitled): (Priority, bool), ran: Span) -> Claim {
    if sim.tasks[&task].spec.kind.is_background() {
        return Claim::BACKGROUND;
    }
    let demoted = level == Priority::AboveNormal && ran >= cluster.config.timing.demote_after;
    Claim { entitled, level: if demoted { Priority::Normal } else { level } }
}

/// One round, and who had to leave in it for whom.
fn round(sim: &mut Sim, cluster: &Cluster) -> Result<(bool, Vec<Left>), TestCaseError> {
    let (before, decided) = (sim.displaced.len(), sim.log.len());
    let round = sim.round();
    let mut left = Vec::new();
    for Displaced { run, ran, winner, promised } in &sim.displaced[before..] {
        let victim = run.task;
        let Some(promised) = promised else {
            return Err(TestCaseError::fail(format!("{victim} leaves for {winner}, which is promised nothing")));
        };
        let theirs = claim(sim, cluster, victim, (run.level, run.entitled), *ran);
        let ours = claim(sim, cluster, *winner, *promised, sim.tasks[winner].ran);
        prop_assert!(theirs <= ours, "{} leaves for {}, which has a lesser claim", victim, winner);
        left.push(Left { victim, winner: *winner, theirs, ours, decided });
    }
    Ok((!round.decisions.is_empty(), left))
}

pub(super) fn judge(cluster: &Cluster, seen: &mut Seen) -> Result<(), TestCaseError> {
    let mut sim = until_alone(cluster);
    let begun = (sim.now, sim.log.len());
    alone(&mut sim, cluster, seen).map_err(|error| {
        let mut told = format!("{error}\nLeft alone at {}, these were decided last:\n", begun.0);
        let decided = &sim.log[begun.1..];
        for (at, decision) in &decided[decided.len().saturating_sub(30)..] {
            told.push_str(&format!("{at} {decision:?}\n"));
        }
        TestCaseError::fail(told)
    })
}

fn until_alone(cluster: &Cluster) -> Sim {
    let mut sim = Sim::new(cluster.config.clone(), cluster.nodes.clone());
    sim.leaves_after = |grace| grace.answer;
    for team in &cluster.teams {
        sim.tell(Fact::TeamSet { team: team.clone() });
    }
    for right in &cluster.rights {
        sim.tell(Fact::RightSet { right: right.clone() });
    }
    for (event, after) in &cluster.events {
        happen(&mut sim, event);
        // What comes at once is decided at once.
        if *after > Span::ZERO {
            sim.pass_until(sim.now + *after);
        }
    }
    sim
}

/// Lets only time pass.
fn alone(sim: &mut Sim, cluster: &Cluster, seen: &mut Seen) -> Result<(), TestCaseError> {
    let begin = sim.now;
    let slices = cluster.config.timing.slice < NEVER;
    let tasks = sim.tasks.len();
    let slices_most = if slices { (ALONE.as_ms() / cluster.config.timing.slice.as_ms()) as usize } else { 0 };
    let rounds_most = 10 + 10 * tasks * (1 + slices_most);
    let mut all: Vec<Left> = Vec::new();
    let mut rounds = 0;
    let mut last = begin;
    loop {
        let (busy, left) = round(sim, cluster)?;
        all.extend(left);
        if busy {
            rounds += 1;
            last = sim.now;
            prop_assert!(rounds <= rounds_most, "{} tasks are still not at rest after {} rounds", tasks, rounds);
            continue;
        }
        match sim.next_event() {
            Some(at) if at.since(begin) <= ALONE => sim.wake(at),
            _ => break,
        }
    }
    seen.clusters += 1;
    seen.left += usize::from(!all.is_empty());
    seen.by_slices += usize::from(all.iter().any(Left::among_equals));
    seen.rounds_most = seen.rounds_most.max(rounds);
    if slices {
        all.retain(|left| !left.among_equals());
    } else {
        prop_assert!(last.since(begin) <= REST, "something is decided {} after the last fact", last.since(begin));
    }
    // That a task falls to `NORMAL` with the time that it has run is a fact of its own; and where slices end, whether its
    // right is free for it.
    let hold = |claim: Claim| Claim { entitled: !slices || claim.entitled, ..claim };
    for (at, left) in all.iter().enumerate() {
        for before in &all[..at] {
            let turned = before.victim == left.winner && before.winner == left.victim;
            let as_before = hold(before.theirs) == hold(left.ours) && hold(before.ours) == hold(left.theirs);
            prop_assert!(!(turned && as_before), "{} and {} suspend each other", left.victim, left.winner);
            // Who lost the place to a better task meanwhile may look for another one.
            let lost = |decision: &Decision| match decision {
                Decision::Withdraw { task } | Decision::Suspend { task, .. } => *task == left.winner,
                _ => false,
            };
            let again = before.victim == left.victim && before.winner == left.winner;
            let as_before = hold(before.theirs) == hold(left.theirs) && hold(before.ours) == hold(left.ours);
            let lost = || sim.log[before.decided..left.decided].iter().any(|(_, decision)| lost(decision));
            let again = again && as_before && !slices && !lost();
            prop_assert!(!again, "{} suspends {} twice", left.winner, left.victim);
        }
    }
    Ok(())
}
