//! Holes are filled, and nobody for whom nodes are kept pays for it: the same story is played with all that stands behind
//! the first of them, and without it.

use std::collections::BTreeMap;

use hai_core::engine::EngineConfig;
use hai_core::model::*;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::placement::named;
use crate::support::{Sim, group, secs, stories, user};

const STORIES_TIMES: u32 = 12;
/// A task waits so long before nodes are kept for it.
const KEPT_AFTER: Span = Span::from_secs(600);
/// After so long all stories are over.
const END: Span = Span::from_secs(100_000);
/// Nobody has a longer one.
const GRACE_MOST: Span = Span::from_secs(20);
const USERS: [&str; 3] = ["a", "b", "c"];

/// A task, and how long after the one before it comes.
#[derive(Clone, Debug)]
struct Coming {
    spec: TaskSpec,
    after: Span,
    /// It ends so many thousandths of its limit before that, if stories are not exact.
    early: u64,
}

#[derive(Clone, Debug)]
struct Story {
    nodes: Vec<NodeSpec>,
    reservations: u32,
    protected: Span,
    slice: Span,
    /// All runs take as long as they may, and leave at once when told.
    exact: bool,
    running: Vec<Coming>,
    heads: Vec<Coming>,
    fillers: Vec<Coming>,
}

/// How many stories there were of a sort.
#[derive(Debug, Default)]
struct Seen {
    kept: usize,
    bounded: usize,
    filled: usize,
    compared: usize,
}

fn any_nodes() -> impl Strategy<Value = Vec<NodeSpec>> {
    prop::collection::vec(1_usize..5, 1..5).prop_map(|nodes| {
        let node = |devices: usize| {
            let mut node = NodeSpec::new(NodeName::new("x").unwrap(), group("g"), 8000, 16);
            for _ in 0..devices {
                let id = DeviceId::new("x").unwrap();
                node.devices.push(DeviceSpec::new(id, ModelName::new("A").unwrap(), 1000));
            }
            node
        };
        named(nodes.into_iter().map(node).collect())
    })
}

fn any_coming(
    minutes: std::ops::Range<u64>,
    seconds_apart: std::ops::Range<u64>,
    suspendable: f64,
) -> impl Strategy<Value = Coming> {
    let level = prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High, Priority::High]);
    let times = (prop::option::weighted(0.9, minutes), seconds_apart, 0_u64..900);
    let kind = (prop::bool::weighted(suspendable), 0_u64..20);
    (0..USERS.len(), level, 1_u32..3, prop_oneof![3 => Just(1_u32), 1 => Just(2_u32)], times, kind).prop_map(
        |(of, level, devices, workers, (limit, after, early), (suspendable, grace))| {
            let request = WorkerRequest::devices(devices);
            let mut spec = TaskSpec::new("t", user(USERS[of]), group("g"), level, request);
            spec.workers = workers;
            spec.suspendable = suspendable;
            // What can not be suspended must end at some time.
            spec.limit = limit.or((!suspendable).then_some(30)).map(|minutes| secs(minutes * 60));
            spec.grace = Grace { answer: secs(grace), finish: Span::ZERO };
            Coming { spec, after: secs(after), early }
        },
    )
}

fn any_head() -> impl Strategy<Value = Coming> {
    let shape = (1_u32..5, 1_u32..5, any::<bool>());
    (any_coming(1..60, 0..60, 0.7), shape).prop_map(|(mut head, (devices, workers, whole))| {
        head.spec.priority = Priority::High;
        head.spec.workers = workers;
        head.spec.request.devices = if whole { Devices::WholeNode } else { Devices::Count(devices) };
        head
    })
}

fn any_story() -> impl Strategy<Value = Story> {
    let slice = prop_oneof![1 => Just(END), 1 => (300_u64..3000).prop_map(secs)];
    let times = (1_u32..4, prop_oneof![2 => Just(0_u64), 1 => 1_u64..300], slice, any::<bool>());
    let running = prop::collection::vec(any_coming(5..90, 0..60, 0.4), 1..10);
    let heads = prop::collection::vec(any_head(), 1..4);
    let fillers = prop::collection::vec(any_coming(1..60, 0..600, 0.4), 1..12);
    (any_nodes(), times, running, heads, fillers).prop_map(
        |(nodes, (reservations, protected, slice, exact), mut running, mut heads, mut fillers)| {
            if exact {
                for coming in running.iter_mut().chain(&mut heads).chain(&mut fillers) {
                    coming.early = 0;
                    coming.spec.grace = Grace { answer: Span::ZERO, finish: Span::ZERO };
                }
            }
            Story { nodes, reservations, protected: secs(protected), slice, exact, running, heads, fillers }
        },
    )
}

fn come(sim: &mut Sim, coming: &Coming) -> TaskId {
    let lasts = coming.spec.limit.map(|limit| Span::from_ms(limit.as_ms() * (1000 - coming.early) / 1000));
    let task = sim.submit(coming.spec.clone(), lasts);
    sim.settle();
    sim.pass_until(sim.now + coming.after);
    task
}

/// When each task first started.
fn starts(sim: &Sim) -> BTreeMap<TaskId, Time> {
    let mut starts = BTreeMap::new();
    for (at, decision) in &sim.log {
        if let Decision::Start { task, .. } = decision {
            starts.entry(*task).or_insert(*at);
        }
    }
    starts
}

/// Plays until nodes are kept for all heads for whom they will be.
fn until_kept(story: &Story) -> (Sim, Vec<TaskId>) {
    let mut config =
        EngineConfig { reserve_after: Some(KEPT_AFTER), reservations: story.reservations, ..EngineConfig::default() };
    config.timing.protected = story.protected;
    config.timing.slice = story.slice;
    let mut sim = Sim::new(config, story.nodes.clone());
    sim.anything_goes();
    sim.leaves_after = |grace| grace.answer;
    for coming in &story.running {
        come(&mut sim, coming);
    }
    let heads = story.heads.iter().map(|head| come(&mut sim, head)).collect();
    sim.pass_until(sim.now + KEPT_AFTER);
    sim.settle();
    (sim, heads)
}

fn tell(sim: &Sim, from: usize) -> String {
    sim.log[from..].iter().map(|(at, decision)| format!("{at} {decision:?}\n")).collect()
}

fn judge(story: &Story, seen: &mut Seen) -> Result<(), TestCaseError> {
    let (mut filled, heads) = until_kept(story);
    let from = filled.log.len();
    // What the first reservation of each head promises.
    let mut kept: BTreeMap<TaskId, Option<Time>> = BTreeMap::new();
    for (_, decision) in &filled.log {
        if let Decision::Reserve { task, by, .. } = decision
            && heads.contains(task)
            && filled.waits(*task)
        {
            kept.entry(*task).or_insert(*by);
        }
    }
    let first = kept.keys().next().copied();
    let mut alone = filled.clone();
    let comes_after = |task: &TaskId| {
        first
            .is_some_and(|first| *task != first && (filled.tasks[task].spec.priority < Priority::High || *task > first))
    };
    let behind: Vec<TaskId> =
        filled.tasks.keys().copied().filter(|task| filled.waits(*task) && comes_after(task)).collect();
    // What stands before it takes places too, and is known to come.
    let is_first =
        filled.tasks.keys().all(|task| !filled.waits(*task) || Some(*task) == first || behind.contains(task));
    behind.into_iter().for_each(|task| alone.cancel(task));
    alone.pass_until(Time::ZERO + END);
    let mut fillers = Vec::new();
    for coming in &story.fillers {
        fillers.push(come(&mut filled, coming));
    }
    filled.pass_until(Time::ZERO + END);
    let (with, without) = (starts(&filled), starts(&alone));
    seen.kept += usize::from(first.is_some());
    for (head, by) in kept {
        let Some(&start) = with.get(&head) else {
            let starts_alone = Some(head) == first && without.contains_key(&head);
            prop_assert!(!starts_alone, "{} never starts, but would alone:\n{}", head, tell(&filled, from));
            continue;
        };
        seen.filled += usize::from(fillers.iter().any(|filler| with.get(filler).is_some_and(|&at| at < start)));
        if let Some(by) = by {
            seen.bounded += 1;
            // It may choose other nodes when the time comes, where somebody takes longer to leave.
            let longest = if story.exact { Span::ZERO } else { GRACE_MOST };
            prop_assert!(start <= by + longest, "{} starts at {}, after {}:\n{}", head, start, by, tell(&filled, 0));
        }
        if let (true, Some(&alone_at)) = (story.exact && is_first && Some(head) == first, without.get(&head)) {
            seen.compared += 1;
            let told = || format!("{}\nand alone:\n{}", tell(&filled, 0), tell(&alone, from));
            prop_assert!(start <= alone_at, "{} starts at {}, and alone at {}:\n{}", head, start, alone_at, told());
        }
    }
    Ok(())
}

#[test]
fn nobody_for_whom_nodes_are_kept_starts_later_because_holes_are_filled() {
    let seen = std::cell::RefCell::new(Seen::default());
    let played =
        TestRunner::new(stories(13, STORIES_TIMES)).run(&any_story(), |story| judge(&story, &mut seen.borrow_mut()));
    let seen = seen.into_inner();
    println!("{seen:?}");
    if let Err(error) = played {
        panic!("{error}");
    }
    let rare = [seen.kept, seen.bounded, seen.filled, seen.compared];
    assert!(rare.iter().all(|&count| count >= 10 * STORIES_TIMES as usize), "some sort of story is hardly ever played");
}
