//! Who has to leave for a better task: nobody if there is room, otherwise the set that costs least among all sets that make
//! room. It is minimal, since whoever could be spared would only add to the cost.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;

use hai_core::engine::EngineConfig;
use hai_core::model::*;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::placement::{crossing, named};
use super::places::{Rooms, fits, together};
use crate::support::{Sim, SimRun, group, secs, stories, user};

const STORIES_TIMES: u32 = 40;
/// Stories with more runs that may yield are left out: all their sets are looked at.
const YIELDERS_MAX: usize = 12;
/// Longer than any story.
const LONG: Span = Span::from_secs(1_000_000);

/// A task that fills the cluster, and what happens after it came.
#[derive(Clone, Debug)]
struct Filling {
    spec: TaskSpec,
    /// So much later the next thing happens.
    after: Span,
    /// This one of the runs saves its work then.
    saves: usize,
}

#[derive(Clone, Debug)]
struct Story {
    nodes: Vec<NodeSpec>,
    protected: Span,
    slice: Span,
    cross: Option<u32>,
    starts_at_once: bool,
    filling: Vec<Filling>,
    /// This one of the runs is leaving when the winner comes.
    leaving: Option<usize>,
    winner: TaskSpec,
}

/// What a set costs: by class, the most valuable first, the work lost and how many; then how old its newest is.
type Cost = (Vec<(Claim, u64, usize)>, Reverse<Option<RunId>>);

/// How many stories there were of a sort.
#[derive(Default, Debug)]
struct Seen {
    room: usize,
    in_vain: usize,
    one: usize,
    several: usize,
    several_for_gangs: usize,
    by_slices: usize,
}

fn any_nodes() -> impl Strategy<Value = Vec<NodeSpec>> {
    let node = (prop::collection::vec(0_usize..4, 1..5), 0_usize..3, 2_u32..7);
    prop::collection::vec(node, 1..5).prop_map(|nodes| {
        let nodes = nodes.into_iter().map(|(kinds, place, cores)| {
            let mut node = NodeSpec::new(NodeName::new("x").unwrap(), group("g"), cores * 1000, 16);
            for kind in kinds {
                let (model, mib) = if kind == 0 { ("B", 1500) } else { ("A", 1000) };
                let id = DeviceId::new("x").unwrap();
                node.devices.push(DeviceSpec::new(id, ModelName::new(model).unwrap(), mib));
            }
            if let Some((leaf, zone)) = [("l1", "z1"), ("l2", "z2")].get(place) {
                node.location.leaf = PlaceName::new(*leaf).ok();
                node.location.zone = PlaceName::new(*zone).ok();
            }
            node
        });
        named(nodes.collect())
    })
}

fn any_devices() -> impl Strategy<Value = Devices> {
    prop_oneof![
        1 => Just(Devices::WholeNode),
        8 => (1_u32..5).prop_map(Devices::Count),
        2 => prop::sample::select(vec![300_u32, 500]).prop_map(Devices::Share),
    ]
}

fn any_filling() -> impl Strategy<Value = Filling> {
    let owner = prop::sample::select(vec!["a", "b", "c", "w", "poor"]);
    let level = prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]);
    let kind = (prop::bool::weighted(0.15), prop::bool::weighted(0.9), prop::option::weighted(0.3, 0_u64..600));
    let devices = prop_oneof![
        1 => Just(Devices::WholeNode),
        9 => (1_u32..3).prop_map(Devices::Count),
        2 => prop::sample::select(vec![300_u32, 500]).prop_map(Devices::Share),
    ];
    let workers = prop_oneof![3 => Just(1_u32), 2 => 2_u32..4];
    (owner, level, kind, devices, workers, 0_u64..40, 0_usize..12).prop_map(
        |(owner, level, (background, suspendable, restart), devices, workers, after, saves)| {
            let mut request = WorkerRequest::of(devices);
            request.cpu_milli = 200;
            let mut spec = TaskSpec::new("t", user(owner), group("g"), level, request);
            spec.workers = workers;
            spec.suspendable = suspendable;
            spec.restart_cost = restart.map(secs);
            if background {
                spec.kind = TaskKind::Background;
            }
            Filling { spec, after: secs(after), saves }
        },
    )
}

fn any_winner() -> impl Strategy<Value = TaskSpec> {
    let owner = prop::sample::select(vec!["a", "w", "w", "w"]);
    let level = prop::sample::select(vec![Priority::Normal, Priority::High, Priority::VeryHigh, Priority::VeryHigh]);
    let shape = (prop_oneof![2 => Just(1_u32), 3 => 2_u32..5], prop::bool::weighted(0.2), 0_u32..3);
    let where_ = (prop::bool::weighted(0.15), prop::bool::weighted(0.15), prop::bool::weighted(0.15));
    let kind = (prop::bool::weighted(0.15), prop::bool::weighted(0.15));
    (owner, level, any_devices(), shape, where_, kind).prop_map(
        |(owner, level, devices, (workers, elastic, cpu), (distinct, one_zone, one_leaf), (same, only_a))| {
            let mut request = WorkerRequest::of(devices);
            request.cpu_milli = cpu * 500;
            request.same_model = same;
            if only_a {
                request.models.push(ModelName::new("A").unwrap());
            }
            let mut spec = TaskSpec::new("winner", user(owner), group("g"), level, request);
            spec.workers = workers;
            spec.workers_min = elastic.then_some(1 + workers / 2);
            spec.distinct_nodes = distinct;
            spec.constraints = Some(Box::new(Constraints { one_leaf, one_zone, ..Constraints::default() }));
            spec
        },
    )
}

fn any_story() -> impl Strategy<Value = Story> {
    let times = (
        prop_oneof![3 => Just(0_u64), 1 => 1_u64..120],
        prop_oneof![2 => Just(None), 1 => (1_u64..120).prop_map(Some)],
    );
    let more =
        (prop::option::weighted(0.2, 0_u32..2), prop::bool::weighted(0.9), prop::option::weighted(0.2, 0_usize..8));
    (any_nodes(), times, more, prop::collection::vec(any_filling(), 3..14), any_winner()).prop_map(
        |(nodes, (protected, slice), (cross, starts_at_once, leaving), filling, winner)| Story {
            nodes,
            protected: secs(protected),
            slice: slice.map_or(LONG, secs),
            cross,
            starts_at_once,
            filling,
            leaving,
            winner,
        },
    )
}

/// Plays until the winner is to come, with nobody else waiting.
fn fill(story: &Story) -> Sim {
    let mut config =
        EngineConfig { borrow: true, reserve_after: None, cross_zone_tasks: story.cross, ..EngineConfig::default() };
    config.timing.protected = story.protected;
    config.timing.slice = story.slice;
    let mut sim = Sim::new(config, story.nodes.clone());
    for name in ["a", "b", "c", "w"] {
        let key = RightKey { user: Some(user(name)), ..RightKey::default() };
        sim.tell(Fact::RightSet { right: RightRow::new(key, Allowance::UNLIMITED) });
    }
    sim.leaves_after = |_| LONG;
    sim.starts_at_once = story.starts_at_once;
    for filling in &story.filling {
        sim.submit(filling.spec.clone(), None);
        sim.settle();
        sim.pass_until(sim.now + filling.after);
        let runs: Vec<RunId> =
            sim.runs.iter().filter(|(_, run)| run.started_at.is_some() && !run.leaving).map(|(id, _)| *id).collect();
        runs.get(filling.saves).into_iter().for_each(|run| sim.checkpoint(*run));
    }
    let leaving = story.leaving.and_then(|at| sim.runs.values().filter(|run| !run.leaving).map(|run| run.task).nth(at));
    leaving.into_iter().for_each(|task| sim.tell(Fact::Held { task }));
    let waiting: Vec<TaskId> = sim.tasks.keys().copied().filter(|&task| sim.waits(task)).collect();
    waiting.into_iter().for_each(|task| sim.cancel(task));
    sim.settle();
    sim
}

/// What the run would lose.
fn loss(sim: &Sim, run: &SimRun) -> u64 {
    if sim.promises.contains_key(&run.task) {
        return 0;
    }
    let restart = sim.tasks[&run.task].spec.restart_cost.unwrap_or(EngineConfig::default().restart_cost);
    let work = run.checkpointed_at.max(run.started_at).map_or(Span::ZERO, |since| sim.now.since(since));
    (work + restart).as_ms() * Sim::devices(run)
}

/// Whether time lets a run be told to leave: `since` it began to execute so much must have passed.
fn has_run_for(sim: &Sim, run: &SimRun, span: Span) -> bool {
    let promised = sim.promises.contains_key(&run.task);
    promised || span == Span::ZERO || run.started_at.is_some_and(|start| sim.now.since(start) >= span)
}

/// Runs that may have to leave for the winner because their claim is less; with `slices` also those of its level whose
/// slice is over.
fn yielders<'a>(sim: &'a Sim, story: &Story, slices: bool) -> Vec<&'a SimRun> {
    let winner = &story.winner;
    let claim = Claim { entitled: true, level: winner.priority };
    let may = |run: &&SimRun| {
        let spec = &sim.tasks[&run.task].spec;
        let own = spec.user == winner.user && spec.priority == winner.priority && !spec.kind.is_background();
        let theirs = sim.claim(run);
        let promised = sim.promises.contains_key(&run.task);
        let over = run.started_at.is_some() && has_run_for(sim, run, story.slice) && spec.user != winner.user;
        (spec.suspendable || promised)
            && !own
            && has_run_for(sim, run, story.protected)
            && (theirs < claim || (slices && theirs == claim && over))
    };
    sim.held(false, true).filter(may).collect()
}

fn cost(sim: &Sim, set: &[&SimRun]) -> Cost {
    let mut classes: BTreeMap<Claim, (u64, usize)> = BTreeMap::new();
    for run in set {
        let class = classes.entry(sim.claim(run)).or_default();
        *class = (class.0 + loss(sim, run), class.1 + 1);
    }
    let newest = set.iter().map(|run| run.id).max();
    (classes.into_iter().rev().map(|(claim, (lost, count))| (claim, lost, count)).collect(), Reverse(newest))
}

/// Whether the winner fits if these runs left.
fn makes_room(sim: &Sim, winner: &TaskSpec, set: &[&SimRun], may_cross: bool) -> bool {
    let mut rooms = Rooms::of(&sim.nodes);
    let stay = sim.held(false, true).filter(|run| set.iter().all(|gone| gone.id != run.id));
    stay.flat_map(|run| &run.placement.workers).for_each(|place| rooms.take(place));
    fits(&sim.nodes, rooms, winner, may_cross)
}

/// The cheapest of all sets of `yielders` that make room.
fn cheapest<'a>(
    sim: &Sim,
    winner: &TaskSpec,
    yielders: &[&'a SimRun],
    may_cross: bool,
) -> Option<(Cost, Vec<&'a SimRun>)> {
    if !makes_room(sim, winner, yielders, may_cross) {
        return None;
    }
    let subset = |set: u32| -> Vec<&'a SimRun> {
        (0..yielders.len()).filter(|at| set & (1 << at) != 0).map(|at| yielders[at]).collect()
    };
    let mut sets: Vec<(Cost, Vec<&SimRun>)> =
        (0_u32..1 << yielders.len()).map(subset).map(|set| (cost(sim, &set), set)).collect();
    sets.sort_by(|(a, _), (b, _)| a.cmp(b));
    sets.into_iter().find(|(_, set)| makes_room(sim, winner, set, may_cross))
}

fn judge(story: &Story, seen: &mut Seen) -> Result<(), TestCaseError> {
    let mut sim = fill(story);
    let winner = &story.winner;
    let may_cross = story.cross.is_none_or(|most| crossing(&sim) < most);
    let lesser = yielders(&sim, story, false);
    let with_slices = yielders(&sim, story, true);
    if with_slices.len() > YIELDERS_MAX {
        return Ok(());
    }
    let mut best = cheapest(&sim, winner, &lesser, may_cross);
    let by_slices = best.is_none() && with_slices.len() > lesser.len();
    if by_slices {
        best = cheapest(&sim, winner, &with_slices, may_cross);
    }
    let best = best.map(|(cost, set)| (cost, set.iter().map(|run| run.id).collect::<Vec<_>>()));

    let before = sim.clone();
    let id = sim.submit(winner.clone(), None);
    let round = sim.round();
    let mut leaving = Vec::new();
    let mut place = None;
    for decision in &round.decisions {
        // Whose promise was taken back looks for another place after that.
        if place.is_some() {
            break;
        }
        match decision {
            Decision::Suspend { run, reason: YieldReason::For { task }, .. } if *task == id => leaving.push(*run),
            Decision::Withdraw { task } => leaving.push(before.promises[task].id),
            Decision::Start { task, placement, .. } | Decision::Promise { task, placement, .. } if *task == id => {
                place = Some(placement);
            }
            other => return Err(TestCaseError::fail(format!("nothing else should happen than {other:?}"))),
        }
    }
    let gone: Vec<&SimRun> = before.held(false, true).filter(|run| leaving.contains(&run.id)).collect();
    prop_assert_eq!(place.is_some(), best.is_some(), "whether it gets a place; the cheapest are {:?}", best);
    let (Some((least, set)), Some(place)) = (best, place) else {
        prop_assert!(leaving.is_empty(), "{:?} leave, and it gets no place", leaving);
        seen.in_vain += 1;
        return Ok(());
    };
    let context = format!("{leaving:?} leave, and the cheapest are {set:?}");
    prop_assert_eq!(cost(&before, &gone), least, "{}", context);
    let mut rooms = Rooms::of(&before.nodes);
    let stay = before.held(false, true).filter(|run| !leaving.contains(&run.id));
    stay.flat_map(|run| &run.placement.workers).chain(&place.workers).for_each(|place| rooms.take(place));
    prop_assert!(together(&before.nodes, winner, &place.workers, may_cross), "{:?} are not together", place);
    prop_assert!(place.workers.len() >= winner.workers_min() as usize);
    match set.len() {
        0 => seen.room += 1,
        1 => seen.one += 1,
        _ if winner.workers_min() == 1 => seen.several += 1,
        _ => seen.several_for_gangs += 1,
    }
    seen.by_slices += usize::from(by_slices && !set.is_empty());
    Ok(())
}

#[test]
fn the_cheapest_leave() {
    let seen = RefCell::new(Seen::default());
    let played =
        TestRunner::new(stories(12, STORIES_TIMES)).run(&any_story(), |story| judge(&story, &mut seen.borrow_mut()));
    let seen = seen.into_inner();
    println!("stories by who had to leave: {seen:?}");
    if let Err(error) = played {
        panic!("{error}");
    }
    let rare = [seen.room, seen.in_vain, seen.one, seen.several, seen.several_for_gangs, seen.by_slices];
    assert!(rare.iter().all(|&count| count >= STORIES_TIMES as usize), "some sort of story is hardly ever played");
}
