//! What might help, as it follows from the reason, in the order in which people can do something about it.

use std::collections::BTreeSet;

use super::change::{Change, add};
use super::search::Search;
use super::{Help, reason};
use crate::engine::{Engine, Seating};
use crate::explain::Why;
use crate::explain::why::{LevelRight, NodeRefusal, NodesLink, Other};
use crate::inventory::{KindSet, NodeIx, When};
use crate::model::*;
use crate::placement::{self, Ask, Within};

/// Levels of an AUTO task whose rights are looked at.
const LEVELS_MAX: usize = 2;

/// Single changes that help.
pub(super) fn singles(search: &mut Search<'_>) -> Vec<Help> {
    let mut found = Vec::new();
    let Some(why) = reason(search.base, search.task) else { return found };
    let Some(view) = search.base.task(search.task) else { return found };
    if view.state == TaskState::Held {
        found.extend(search.whether(Change::Released));
        return found;
    }
    let kinds: [fn(&mut Search<'_>, &Why, &TaskSpec, &mut Vec<Help>); 6] =
        [own_request, own_times, own_priority, rights, tasks, nodes];
    for kind in kinds {
        kind(search, &why, &view.spec, &mut found);
    }
    found
}

/// One single change that helps.
pub(super) fn first_single(search: &mut Search<'_>) -> Option<Help> {
    let why = reason(search.base, search.task)?;
    let view = search.base.task(search.task)?;
    let kinds: [fn(&mut Search<'_>, &Why, &TaskSpec, &mut Vec<Help>); 5] =
        [own_request, own_priority, rights, tasks, nodes];
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

/// Fewer or smaller workers, other models.
fn own_request(search: &mut Search<'_>, why: &Why, spec: &TaskSpec, found: &mut Vec<Help>) {
    let request = &spec.request;
    let lacks_room = why.nodes.as_ref().is_some_and(|nodes| !nodes.fits_later);
    let fewest = spec.workers_min();
    let seating = search.base.clone().look_seating(search.task);
    let mut dimension = |search: &mut Search<'_>, most: u64, make: &dyn Fn(u64) -> Change| {
        let guess = guess(search.base, &seating, why, spec, most, make);
        found.extend(search.least(most, guess, make));
    };
    dimension(search, u64::from(fewest) - 1, &|step| Change::FewerWorkers { from: fewest, to: fewest - narrow(step) });
    let from = request.devices;
    match from {
        Devices::Count(count) if count > 1 => dimension(search, u64::from(count) - 1, &|step| Change::FewerDevices {
            from,
            to: Devices::Count(count - narrow(step)),
        }),
        Devices::WholeNode => {
            let most = most_devices(search.base, spec);
            dimension(search, u64::from(most), &|step| Change::FewerDevices {
                from,
                to: Devices::Count(most + 1 - narrow(step)),
            });
        }
        Devices::Share(milli) => dimension(search, u64::from(milli) - 1, &|step| Change::FewerDevices {
            from,
            to: Devices::Share(milli - narrow(step)),
        }),
        Devices::Memory(mib) => {
            dimension(search, mib - 1, &|step| Change::FewerDevices { from, to: Devices::Memory(mib - step) });
        }
        Devices::Count(_) => {}
    }
    if !lacks_room {
        return;
    }
    let from = request.device_memory_mib;
    dimension(search, from, &|step| Change::LessDeviceMemory { from, to: from - step });
    let from = request.cpu_milli;
    dimension(search, u64::from(from), &|step| Change::LessCores { from, to: from - narrow(step) });
    let from = request.memory_mib;
    dimension(search, from, &|step| Change::LessMemory { from, to: from - step });
    let Some(nodes) = &why.nodes else { return };
    let other = nodes.classes.iter().flat_map(|class| &class.devices).map(|kind| &kind.model);
    let excluded = |model: &&ModelName| {
        request.forbidden_models.contains(*model) || (!request.models.is_empty() && !request.models.contains(model))
    };
    let models: BTreeSet<&ModelName> = other.filter(excluded).collect();
    for model in models.into_iter().take(search.limits.of_a_kind as usize) {
        found.extend(search.whether(Change::AlsoModel { model: model.clone() }));
    }
    let taints: BTreeSet<&String> = refusals(nodes)
        .filter_map(|(why, _)| if let NodeRefusal::Taint { taint } = why { Some(taint) } else { None })
        .collect();
    for taint in taints.into_iter().take(search.limits.of_a_kind as usize) {
        found.extend(search.whether(Change::Tolerates { taint: taint.clone() }));
    }
}

/// Being suspendable, or over sooner, for work that would be in the way of others.
fn own_times(search: &mut Search<'_>, why: &Why, spec: &TaskSpec, found: &mut Vec<Help>) {
    let Some(nodes) = &why.nodes else { return };
    let kept: BTreeSet<TaskId> = refusals(nodes)
        .filter_map(|(why, _)| if let NodeRefusal::KeptFor { task } = why { task.task } else { None })
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

fn refusals(nodes: &NodesLink) -> impl Iterator<Item = (&NodeRefusal, u32)> {
    nodes.classes.iter().flat_map(|class| &class.refused).map(|refused| (&refused.why, refused.nodes))
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
        let right = level.is_none_or(|level| {
            let used = level.staying + level.promised;
            level.allowed.covers(used + Charge::of(&spec))
        });
        let ask = Ask::of(inventory, &spec);
        let may_cross_zones = seating.may_cross_zones;
        let within = Within { avoid: &seating.avoid, may_cross_zones, ..Within::anything(When::Later, &all) };
        right && placement::place_once(inventory, &ask, &within, base.look_placement()).is_some()
    };
    if !would_do(most) {
        return most;
    }
    let (mut no, mut yes) = (0, most);
    while yes - no > 1 {
        let middle = no + (yes - no) / 2;
        if would_do(middle) { yes = middle } else { no = middle }
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
