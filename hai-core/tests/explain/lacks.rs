//! Takes away, in a copy of an engine, what the reason of a task names: rights are raised, tasks that are before it or in
//! its way are held or end, nodes that would do are added.

use hai_core::engine::{Engine, Policy};
use hai_core::explain::Why;
use hai_core::explain::why::{LevelRight, NodeClass, NodeRefusal, NodesLink};
use hai_core::model::*;

/// How the lack of room is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Room {
    /// There is none.
    Enough,
    /// Everybody on the nodes that would do ends.
    OthersEnd,
    /// Nodes join.
    NodesJoin,
}

/// What is done about one task's reason.
#[derive(Clone, Debug)]
pub(crate) struct Cure {
    pub(crate) room: Room,
    facts: Vec<Fact>,
    at: Time,
}

/// Whether a round starts a task, or promises it a place.
pub(crate) fn is_placed(round: &Round, id: TaskId) -> bool {
    round.decisions.iter().any(|decision| match decision {
        Decision::Start { task, .. } | Decision::Promise { task, .. } => *task == id,
        _ => false,
    })
}

/// All ways to take away what is named. Waiting for other tasks is left aside: their ends are not the engine's to decide.
pub(crate) fn cures(engine: &Engine, why: &Why) -> Vec<Cure> {
    let mut at = engine.now();
    let mut facts = Vec::new();
    match why.verdict.as_ref().expect("it waits") {
        Verdict::Promised { .. } | Verdict::Leaving { .. } | Verdict::After { .. } => return Vec::new(),
        Verdict::Held => {
            let view = engine.task(why.task).expect("it is unfinished");
            if !view.spec.after.is_empty() || view.spec.not_before.is_some_and(|not_before| not_before > at) {
                return Vec::new();
            }
            facts.push(Fact::Released { task: why.task });
        }
        Verdict::NotBefore { at: until } | Verdict::BackOff { until, .. } => at = *until,
        _ => {}
    }
    // A right that is over by then is another lack.
    let rows = why
        .right
        .iter()
        .flat_map(|right| &right.levels)
        .flat_map(|level| level.given_by.iter().chain(&level.bounded_by));
    for row in rows.filter(|row| row.expires.is_some_and(|expires| expires <= at)) {
        facts.push(Fact::RightSet { right: RightRow { expires: None, ..row.clone() } });
    }
    // Who is before it in line would take what it is given. One that does not stand in line yet may be behind anybody.
    let in_line = why.line.iter().flat_map(|line| &line.ahead).flat_map(|ahead| &ahead.who.first);
    let mut others: Vec<TaskId> = in_line.filter_map(|other| other.task).collect();
    // Who does not stand in line yet may come before it while it is looked at, as those that wait for one that ends.
    let outside = |view: &TaskView| {
        let comes = matches!(
            engine.verdict(view.id),
            Some(Verdict::After { .. } | Verdict::NotBefore { .. } | Verdict::BackOff { .. } | Verdict::Leaving { .. })
        );
        view.id != why.task && (comes || (why.line.is_none() && view.run.is_none() && view.state != TaskState::Held))
    };
    others.extend(engine.tasks().filter(outside).map(|view| view.id));
    // Its owner's AUTO tasks take what right they find, at whatever level that is given.
    let auto = |view: &TaskView| {
        let lacks = why.right.as_ref().is_some_and(|right| !right.standing.is_enough());
        lacks && view.id != why.task && view.spec.user == why.user && view.spec.priority == Priority::Auto
    };
    others.extend(engine.tasks().filter(|view| auto(view) && view.run.is_none()).map(|view| view.id));
    // In strict order rights are dealt anew when others are held, so that anybody who waits may come before it then.
    // So they are when the first card of a kind joins that would do: what others are charged for theirs may be less then.
    let strict =
        engine.config().policy == Policy::HaiFifo || why.nodes.as_ref().is_some_and(|nodes| nodes.workers_ever == 0);
    let waits = |view: &TaskView| strict && view.id != why.task && engine.verdict(view.id).is_some();
    others.extend(engine.tasks().filter(waits).map(|view| view.id));
    let nodes = why.nodes.as_ref().expect("it waits for a place");
    let refused = nodes.classes.iter().flat_map(|class| &class.refused);
    others.extend(refused.filter_map(|refused| match &refused.why {
        NodeRefusal::KeptFor { task } => task.task,
        _ => None,
    }));
    facts.extend(others.into_iter().map(|task| Fact::Held { task }));
    if let Some(right) = &why.right
        && !right.standing.is_enough()
    {
        raise(engine, why, right.nearest().expect("there is a level"), &mut facts);
    }
    let cure = |room: Room, more: Vec<Fact>| {
        let facts = facts.iter().cloned().chain(more).collect();
        Cure { room, facts, at }
    };
    if nodes.fits_now {
        // For want of a right it may even have had room.
        return vec![cure(Room::Enough, Vec::new())];
    }
    let mut cures = vec![cure(Room::NodesJoin, new_nodes(engine, why, nodes))];
    if let Some(yielding) = &why.yielding
        && enough_if_empty(nodes)
    {
        let there = yielding.stays.iter().flat_map(|stays| &stays.who.first).filter_map(|other| other.task);
        let ends = there.flat_map(|task| end(engine, task)).collect();
        cures.push(cure(Room::OthersEnd, ends));
    }
    cures
}

/// Gives the owner what is missing at a level, whatever is too little.
fn raise(engine: &Engine, why: &Why, level: &LevelRight, facts: &mut Vec<Fact>) {
    let right = why.right.as_ref().expect("looked at");
    let key = RightKey {
        user: Some(right.user.clone()),
        group: Some(right.group.clone()),
        priority: Some(level.level),
        ..RightKey::default()
    };
    // What is asked is told for one kind of card; a node with several takes of each.
    let mut mixed = level.asked;
    let spec = engine.task(why.task).expect("it is unfinished").spec;
    if matches!(spec.request.devices, Devices::Memory(_)) {
        // And so much memory may be a small part of one card and all of another.
        mixed.devices += Amount::whole(spec.workers);
    }
    let gives = level.given_by.iter().map(|row| row.allowance).fold(Allowance::NOTHING, Allowance::max);
    facts.push(Fact::RightSet { right: RightRow::new(key, more(gives, level.short + mixed)) });
    for row in &level.bounded_by {
        let short = match &row.key.model {
            None => level.short,
            Some(model) => level.models.iter().find(|of| of.model == *model).map_or(Charge::NOTHING, |of| of.short),
        };
        facts.push(Fact::RightSet { right: RightRow { allowance: more(row.allowance, short + mixed), ..row.clone() } });
    }
    for pool in &level.teams {
        let team = engine.teams().find(|team| team.name == pool.team).expect("it has a pool");
        let mut team = team.clone();
        for known in team.pools.iter_mut().filter(|known| known.group == right.group) {
            known.own = more(known.own, pool.short + mixed);
        }
        facts.push(Fact::TeamSet { team });
    }
}

fn more(allowance: Allowance, short: Charge) -> Allowance {
    let one = |limit: Limit, more: Amount| match limit {
        Limit::AtMost(most) => Limit::AtMost(most + more),
        Limit::Unlimited => Limit::Unlimited,
    };
    Allowance { nodes: one(allowance.nodes, short.nodes), devices: one(allowance.devices, short.devices) }
}

/// Whether the nodes on which somebody is in the way would be enough without them, one worker on each.
fn enough_if_empty(nodes: &NodesLink) -> bool {
    let of = |class: &NodeClass| -> u32 {
        let used = class.refused.iter().filter(|refused| refused.why.is_use()).map(|refused| refused.nodes);
        if class.workers_ever_each > 0 { class.nodes_now + used.sum::<u32>() } else { 0 }
    };
    nodes.classes.iter().map(of).sum::<u32>() >= nodes.workers
}

/// All workers of a task's run end by themselves; a task that was only promised a place loses it.
fn end(engine: &Engine, id: TaskId) -> Vec<Fact> {
    let view = engine.task(id).expect("it was named");
    let Some(run) = view.run.and_then(|run| engine.run(run)) else { return vec![Fact::Held { task: id }] };
    let alive = (0..).zip(&run.workers).filter(|(_, worker)| !matches!(worker.state, WorkerState::Ended { .. }));
    let exit = WorkerExit { declared_done: true, ..WorkerExit::exited(0) };
    alive.map(|(rank, _)| Fact::WorkerEnded { run: run.id, rank, exit: exit.clone() }).collect()
}

/// As many nodes as there are workers: such as are there and would hold one, else such as the request describes.
fn new_nodes(engine: &Engine, why: &Why, nodes: &NodesLink) -> Vec<Fact> {
    let spec = engine.task(why.task).expect("it is unfinished").spec;
    // Of what would do the cheapest: the right is only known to be enough for that.
    let weight = |model: &ModelName| engine.config().weights.get(model).copied().unwrap_or(Amount::whole(1));
    let dear = |class: &&NodeClass| class.devices.iter().map(|kind| weight(&kind.model)).max();
    let class = nodes.classes.iter().filter(|class| class.workers_ever_each > 0).min_by_key(dear);
    let name = |number: u32| NodeName::new(format!("new-{number}")).expect("it is a name");
    let node = |number: u32| {
        let (cpu, memory) = class.map_or((64_000, 1 << 20), |class| (class.cpu_milli, class.memory_mib));
        let mut node = NodeSpec::new(name(number), spec.group.clone(), cpu, memory);
        let mut add = |model: &ModelName, memory_mib: u64, mig: Option<MigProfile>| {
            let id = DeviceId::new(format!("new-{number}-{}", node.devices.len())).expect("it is a name");
            let mut device = DeviceSpec::new(id, model.clone(), memory_mib);
            device.mig_profile = mig;
            device.compute_capability = spec.request.compute_capability;
            node.devices.push(device);
        };
        match class {
            Some(class) => class.devices.iter().for_each(|kind| {
                (0..kind.count).for_each(|_| add(&kind.model, kind.memory_mib, kind.mig_profile.clone()));
            }),
            None => {
                let any = ModelName::new("any").expect("it is a name");
                let asked = |model: &&ModelName| spec.request.models.is_empty() || spec.request.models.contains(model);
                let weighed = engine.config().weights.keys().chain([&any]).chain(&spec.request.models).filter(asked);
                let would_do = weighed.filter(|model| !spec.request.forbidden_models.contains(*model));
                let model = would_do.min_by_key(|model| weight(model)).cloned().unwrap_or_else(|| any.clone());
                (0..8).for_each(|_| add(&model, 200 << 10, spec.request.mig_profile.clone()));
            }
        }
        node
    };
    (0..nodes.workers).map(|number| Fact::NodeSet { node: node(number) }).collect()
}

impl Cure {
    /// What comes of it in a copy.
    pub(crate) fn apply(&self, engine: &Engine) -> (Engine, Round) {
        let mut copy = engine.clone();
        for fact in &self.facts {
            // Some may hold already.
            let _ = copy.observe(self.at, fact);
        }
        let round = copy.schedule(self.at);
        (copy, round)
    }
}
