//! What might help, as it follows from the reason, in the order in which people can do something about it.

use std::collections::BTreeSet;

use super::change::{Change, add};
use super::search::Search;
use super::{Help, Then, reason};
use crate::engine::{Engine, Seating};
use crate::explain::Why;
use crate::explain::why::{Borrowing, LevelRight, NodeRefusal, NodesLink, Other};
use crate::inventory::{KindSet, NodeIx, When};
use crate::model::*;
use crate::placement::{self, Ask, Within};

/// Levels of an AUTO task whose rights are looked at.
const LEVELS_MAX: usize = 2;

/// Looks for what helps in one direction.
type Kind = fn(&mut Search<'_>, &Why, &TaskSpec, &mut Vec<Help>);

/// Single changes that help.
pub(super) fn singles(search: &mut Search<'_>) -> Vec<Help> {
    let mut found = Vec::new();
    let Some(why) = reason(search.base, search.task) else { return found };
    let Some(view) = search.base.task(search.task) else { return found };
    if view.state == TaskState::Held {
        found.extend(search.whether(Change::Released));
        return found;
    }
    let of_head = why.head.as_ref().map(|(_, verdict)| verdict);
    if matches!(why.verdict.as_ref(), Some(Verdict::NeverFits { .. }))
        || matches!(of_head, Some(Verdict::NeverFits { .. }))
    {
        could_ever(search.base, &why, &view.spec, &mut found);
    }
    let kinds: [Kind; 6] = [own_request, own_times, own_priority, rights, tasks, nodes];
    for kind in kinds {
        kind(search, &why, &view.spec, &mut found);
    }
    // What even starts it need not be told as what only lets it fit.
    let starts: Vec<Change> =
        found.iter().filter(|help| help.then != Then::Fits).map(|help| help.change.clone()).collect();
    found.retain(|help| help.then != Then::Fits || !starts.contains(&help.change));
    found
}

/// One single change that helps.
pub(super) fn first_single(search: &mut Search<'_>) -> Option<Help> {
    let why = reason(search.base, search.task)?;
    let view = search.base.task(search.task)?;
    let kinds: [Kind; 5] = [own_request, own_priority, rights, tasks, nodes];
    for kind in kinds {
        let mut found = Vec::new();
        kind(search, &why, &view.spec, &mut found);
        if !found.is_empty() {
            return Some(found.swap_remove(0));
        }
    }
    None
}

/// Changes without which nothing else helps, as far as a reason tells: it is held, or lacks a right.
pub(super) fn prerequisites(base: &Engine, task: TaskId) -> Vec<Change> {
    let Some(why) = reason(base, task) else { return Vec::new() };
    if why.verdict == Some(Verdict::Held) {
        return vec![Change::Released];
    }
    let lacking = why.right.as_ref().filter(|right| !right.standing.is_enough());
    let level = lacking.and_then(|right| right.nearest());
    level.filter(|level| !level.short.is_nothing()).map(|level| give(&why, level, level.short)).into_iter().collect()
}

fn give(why: &Why, level: &LevelRight, by: Charge) -> Change {
    let group = why.right.as_ref().map(|right| right.group.clone());
    let key = RightKey { user: Some(why.user.clone()), group, priority: Some(level.level), ..RightKey::default() };
    let has = level.given_by.iter().map(|row| row.allowance).fold(Allowance::NOTHING, Allowance::max);
    let expires = level.given_by.iter().find(|row| row.key == key).and_then(|row| row.expires);
    Change::MoreRight { row: RightRow { key, allowance: add(has, by), expires }, by }
}

/// A direction in which a request can be smaller: how many steps there are, and what it is after so many.
type Dimension = (u64, Box<dyn Fn(u64) -> Change>);

/// How many workers, how much of a node each; with `all` also what kind of device, and what goes beside it.
fn dimensions(base: &Engine, spec: &TaskSpec, all: bool) -> Vec<Dimension> {
    let request = &spec.request;
    let (fewest, from) = (spec.workers_min(), request.devices);
    let mut dimensions: Vec<Dimension> = Vec::new();
    let mut add = |most: u64, make: Box<dyn Fn(u64) -> Change>| {
        if most > 0 {
            dimensions.push((most, make));
        }
    };
    add(u64::from(fewest) - 1, Box::new(move |step| Change::FewerWorkers { from: fewest, to: fewest - narrow(step) }));
    let devices = move |to: Devices| Change::FewerDevices { from, to };
    match from {
        Devices::Count(count) => {
            add(u64::from(count.max(1)) - 1, Box::new(move |step| devices(Devices::Count(count - narrow(step)))))
        }
        Devices::WholeNode => {
            let most = most_devices(base, spec);
            add(u64::from(most), Box::new(move |step| devices(Devices::Count(most + 1 - narrow(step)))));
        }
        Devices::Share(milli) => {
            add(u64::from(milli) - 1, Box::new(move |step| devices(Devices::Share(milli - narrow(step)))));
        }
        Devices::Memory(mib) => add(mib - 1, Box::new(move |step| devices(Devices::Memory(mib - step)))),
    }
    if all {
        let from = request.device_memory_mib;
        add(from, Box::new(move |step| Change::LessDeviceMemory { from, to: from - step }));
        let from = request.cpu_milli;
        add(from.into(), Box::new(move |step| Change::LessCores { from, to: from - narrow(step) }));
        let from = request.memory_mib;
        add(from, Box::new(move |step| Change::LessMemory { from, to: from - step }));
    }
    dimensions
}

/// Models and taints of the group's nodes that the request leaves out.
fn choices(nodes: &NodesLink, request: &WorkerRequest) -> Vec<Change> {
    let other = nodes.classes.iter().flat_map(|class| &class.devices).map(|kind| &kind.model);
    let excluded = |model: &&ModelName| {
        request.forbidden_models.contains(*model) || (!request.models.is_empty() && !request.models.contains(model))
    };
    let models: BTreeSet<&ModelName> = other.filter(excluded).collect();
    let taints: BTreeSet<&String> = refusals(nodes)
        .filter_map(|why| if let NodeRefusal::Taint { taint } = why { Some(taint) } else { None })
        .collect();
    let models = models.into_iter().map(|model| Change::AlsoModel { model: model.clone() });
    models.chain(taints.into_iter().map(|taint| Change::Tolerates { taint: taint.clone() })).collect()
}

/// The least changes after which the group could hold the task if it were empty.
fn could_ever(base: &Engine, why: &Why, spec: &TaskSpec, found: &mut Vec<Help>) {
    // What its right would never be enough for is no advice.
    let bounds = why.right.as_ref().filter(|right| right.borrowing == Borrowing::Off);
    let allowed = bounds.and_then(|right| right.nearest()).map(|level| level.allowed);
    let fits = |change: &Change| {
        change.change_spec(spec.clone()).is_some_and(|spec| {
            allowed.is_none_or(|allowed| allowed.covers(Charge::of(&spec)))
                && placement::fits_empty(base.look_inventory(), &spec)
        })
    };
    for (most, make) in dimensions(base, spec, true) {
        if fits(&make(most)) {
            let step = first(most, |step| fits(&make(step)));
            found.push(Help { change: make(step), then: Then::Fits });
        }
    }
    let choices = why.nodes.iter().flat_map(|nodes| choices(nodes, &spec.request));
    found.extend(choices.filter(fits).map(|change| Help { change, then: Then::Fits }));
}

/// Fewer or smaller workers, other models.
fn own_request(search: &mut Search<'_>, why: &Why, spec: &TaskSpec, found: &mut Vec<Help>) {
    let Some(nodes) = &why.nodes else { return };
    let lacks_room = !nodes.fits_later;
    let seating = search.base.clone().look_seating(search.task);
    for (most, make) in dimensions(search.base, spec, lacks_room) {
        let guess = guess(search.base, &seating, why, spec, most, &make);
        found.extend(search.least(most, guess, make));
    }
    if lacks_room {
        let most = search.limits.of_a_kind as usize;
        found.extend(
            choices(nodes, &spec.request).into_iter().take(2 * most).filter_map(|change| search.whether(change)),
        );
    }
}

/// Being suspendable, or over sooner, for work that would be in the way of others.
fn own_times(search: &mut Search<'_>, why: &Why, spec: &TaskSpec, found: &mut Vec<Help>) {
    let Some(nodes) = &why.nodes else { return };
    let kept: BTreeSet<TaskId> = refusals(nodes)
        .filter_map(|why| if let NodeRefusal::KeptFor { task } = why { task.task } else { None })
        .collect();
    if kept.is_empty() {
        return;
    }
    if !spec.suspendable {
        found.extend(search.whether(Change::Suspendable));
    }
    let (now, grace) = (search.base.now(), spec.grace.total());
    let ran = search.base.task(search.task).map_or(Span::ZERO, |view| view.ran);
    let starts = kept.into_iter().filter_map(|task| search.base.look_kept(task)?.1);
    let longest = starts.map(|by| by.since(now)).filter(|span| *span > grace).map(|span| span - grace + ran).max();
    if let Some(to) = longest.filter(|to| *to > ran && spec.limit.is_none_or(|limit| *to < limit)) {
        let shorter = Change::ShorterLimit { from: spec.limit, to };
        if let Some(help) = search.whether(shorter.clone())
            && shorter.one_step_less().is_none_or(|less| search.attempt(&less).is_none())
        {
            found.push(help);
        }
    }
}

/// The nearest better level that is enough, and the nearest lesser one.
fn own_priority(search: &mut Search<'_>, _: &Why, spec: &TaskSpec, found: &mut Vec<Help>) {
    let from = spec.priority;
    let Some(at) = Priority::LEVELS.iter().position(|level| *level == from) else { return };
    let better = Priority::LEVELS[..at].iter().rev();
    let lesser = Priority::LEVELS[at + 1..].iter();
    found.extend(better.copied().find_map(|to| search.whether(Change::Priority { from, to })));
    found.extend(lesser.copied().find_map(|to| search.whether(Change::Priority { from, to })));
}

/// More right: for the user, of a cap, of a model, of a team.
fn rights(search: &mut Search<'_>, why: &Why, _: &TaskSpec, found: &mut Vec<Help>) {
    let Some(right) = why.right.as_ref().filter(|right| !right.standing.is_enough()) else { return };
    // Others of its shape that stand before it use what is given, too.
    let place = why.line.as_ref().map_or(1, |line| u64::from(line.place.min(64)));
    let mut levels: Vec<&LevelRight> = right.levels.iter().collect();
    levels.sort_by_key(|level| level.short.nodes + level.short.devices);
    for level in levels.into_iter().take(LEVELS_MAX) {
        let asked = level.asked;
        let most = |short: Charge| milli(short + level.leaving + asked.times(place));
        if !level.short.is_nothing() {
            let (unit, guess) = (unit_of(asked), milli(level.short));
            let make = |milli: u64| give(why, level, unit(milli));
            found.extend(search.least(most(level.short), guess, make));
        }
        for row in &level.bounded_by {
            let short = match &row.key.model {
                None => level.short,
                Some(model) => level.models.iter().find(|of| of.model == *model).map_or(Charge::NOTHING, |of| of.short),
            };
            if short.is_nothing() {
                continue;
            }
            let unit = unit_of(asked);
            let make = |milli: u64| {
                let by = unit(milli);
                Change::MoreRight { row: RightRow { allowance: add(row.allowance, by), ..row.clone() }, by }
            };
            found.extend(search.least(most(short), milli(short), make));
        }
        for pool in level.teams.iter().filter(|pool| !pool.short.is_nothing()) {
            let unit = unit_of(asked);
            let (team, group) = (pool.team.clone(), right.group.clone());
            let make = |milli: u64| Change::MorePool { team: team.clone(), group: group.clone(), by: unit(milli) };
            found.extend(search.least(most(pool.short) + milli(pool.leaving), milli(pool.short), make));
        }
    }
}

/// A charge of so many thousandths in the unit that another counts in.
fn unit_of(asked: Charge) -> impl Fn(u64) -> Charge {
    let nodes = !asked.nodes.is_zero();
    move |milli| {
        let amount = Amount::from_milli(milli);
        if nodes {
            Charge { nodes: amount, devices: Amount::ZERO }
        } else {
            Charge { nodes: Amount::ZERO, devices: amount }
        }
    }
}

/// One other task's end: of its owner's own first, then of those who hold its right, then of those on nodes that would do.
fn tasks(search: &mut Search<'_>, why: &Why, spec: &TaskSpec, found: &mut Vec<Help>) {
    let mut others: Vec<Other> = Vec::new();
    if let Some(Verdict::After { tasks }) = &why.verdict
        && let [only] = tasks[..]
        && let Some(view) = search.base.task(only)
    {
        others.push(Other::new(only, &view.spec.user, view.spec.priority));
    }
    let lacks_right = why.right.as_ref().filter(|right| !right.standing.is_enough());
    if let Some(level) = lacks_right.and_then(|right| right.nearest()) {
        // The smallest that is enough does least harm.
        let enough =
            level.holders.iter().filter(|holder| !holder.leaving && level.short.minus(holder.charge).is_nothing());
        others.extend(enough.map(|holder| holder.who.clone()).rev());
        others.extend(
            level.teams.iter().filter(|pool| !pool.short.is_nothing()).flat_map(|pool| pool.holders.first.clone()),
        );
    } else if why.verdict.is_some() {
        others.extend(in_the_way(search.base, search.task, spec));
    }
    let mut known = BTreeSet::new();
    others.retain(|other| known.insert(other.task));
    others.sort_by_key(|other| other.user.as_ref() != Some(&spec.user));
    let most = search.limits.of_a_kind as usize;
    let ends = others.into_iter().take(2 * most).filter_map(|task| search.whether(Change::TaskEnds { task }));
    found.extend(ends.take(most));
}

/// Tasks of which the end of one alone would make room.
fn in_the_way(base: &Engine, task: TaskId, spec: &TaskSpec) -> Vec<Other> {
    let mut copy = base.clone();
    let seating = copy.look_seating(task);
    let inventory = base.look_inventory();
    let ask = Ask::of(inventory, spec);
    let runs: Vec<_> = base.look_runs(&spec.group).collect();
    let touched: BTreeSet<NodeIx> = runs.iter().flat_map(|run| run.nodes.iter().copied()).collect();
    let within = Within {
        when: When::Later,
        kinds: &seating.kinds.1,
        avoid: &seating.avoid,
        workers_most: seating.workers.1,
        may_cross_zones: seating.may_cross_zones,
        salt: 0,
    };
    let mut trial = placement::Hypothesis::new(inventory, &ask, base.look_placement(), within, None, &touched);
    let mut enough = Vec::new();
    for run in &runs {
        run.nodes.iter().for_each(|&ix| trial.set_leaving(ix, |other| other == run.id));
        if trial.fits() {
            enough.push((run.claim, run.unsaved_ms, Other::new(run.task, &run.spec.user, run.claim.level)));
        }
        run.nodes.iter().for_each(|&ix| trial.set_leaving(ix, |_| false));
    }
    enough.sort_by_key(|(claim, unsaved, other)| (*claim, *unsaved, other.task));
    enough.into_iter().map(|(.., other)| other).collect()
}

/// Nodes that could return, devices that could heal: the first few of each class.
fn nodes(search: &mut Search<'_>, why: &Why, _: &TaskSpec, found: &mut Vec<Help>) {
    let Some(nodes) = &why.nodes else { return };
    let most = search.limits.of_a_kind as usize;
    let mut candidates: Vec<Change> = Vec::new();
    for class in nodes.classes.iter().filter(|class| class.workers_ever_each > 0) {
        for refused in &class.refused {
            let names = refused.first.iter().take(most).cloned();
            match &refused.why {
                NodeRefusal::NotReady => candidates.extend(names.map(|node| Change::NodeReady { node })),
                NodeRefusal::Cordoned => candidates.extend(names.map(|node| Change::Uncordoned { node })),
                NodeRefusal::Draining => candidates.extend(names.map(|node| Change::Undrained { node })),
                _ => {}
            }
        }
    }
    let ill = nodes.classes.iter().flat_map(|class| &class.refused).filter(|refused| {
        matches!(
            refused.why,
            NodeRefusal::DevicesUnwell { .. } | NodeRefusal::DevicesInUse { .. } | NodeRefusal::PartsInUse
        )
    });
    for name in ill.flat_map(|refused| &refused.first) {
        let Some(node) = search.base.look_inventory().find(name) else { continue };
        let spec = search.base.look_inventory().node(node).spec();
        if let Some(device) = spec.devices.iter().find(|device| !device.health.is_healthy()) {
            candidates.push(Change::DeviceHealed { node: name.clone(), device: device.id.clone() });
        }
    }
    let returns = candidates.into_iter().take(2 * most).filter_map(|change| search.whether(change));
    found.extend(returns.take(most));
}

fn refusals(nodes: &NodesLink) -> impl Iterator<Item = &NodeRefusal> {
    nodes.classes.iter().flat_map(|class| &class.refused).map(|refused| &refused.why)
}

/// Where the least change may be that helps: the first with which the task fits into what is idle, and its right.
fn guess(base: &Engine, seating: &Seating, why: &Why, spec: &TaskSpec, most: u64, make: &dyn Fn(u64) -> Change) -> u64 {
    if most <= 1 {
        return most;
    }
    let inventory = base.look_inventory();
    let level = why.right.as_ref().and_then(|right| right.nearest());
    let all = KindSet::all();
    let would_do = |step: u64| {
        let Some(spec) = make(step).change_spec(spec.clone()) else { return false };
        let right = level.is_none_or(|level| level.allowed.covers(level.taken() + Charge::of(&spec)));
        let ask = Ask::of(inventory, &spec);
        let may_cross_zones = seating.may_cross_zones;
        let within = Within { avoid: &seating.avoid, may_cross_zones, ..Within::anything(When::Later, &all) };
        right && placement::place_once(inventory, &ask, &within, base.look_placement()).is_some()
    };
    if would_do(most) { first(most, would_do) } else { most }
}

/// The first of the steps 1 to `most` for which this holds; it holds for `most`, and for all after the first.
fn first(most: u64, holds: impl Fn(u64) -> bool) -> u64 {
    let (mut no, mut yes) = (0, most);
    while yes - no > 1 {
        let middle = no + (yes - no) / 2;
        if holds(middle) { yes = middle } else { no = middle }
    }
    yes
}

/// The most devices that a node of the group has.
fn most_devices(base: &Engine, spec: &TaskSpec) -> u32 {
    let inventory = base.look_inventory();
    let lens = inventory.group(&spec.group).map(|ix| inventory.make_of(inventory.node(ix)).len());
    u32::try_from(lens.max().unwrap_or(0)).unwrap_or(u32::MAX)
}

fn narrow(step: u64) -> u32 {
    u32::try_from(step).unwrap_or(u32::MAX)
}

/// All of a charge in thousandths; it counts in one unit alone.
fn milli(charge: Charge) -> u64 {
    (charge.nodes + charge.devices).as_milli()
}
