//! Why a task runs where it does, on what right, and until when it has its place for sure.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::who::{count, list};
use crate::engine::{Engine, Manner, RunLook};
use crate::inventory::{Inventory, Take, When};
use crate::model::{NodeName, PlaceName, Placement, Priority, RunId, TaskId, Time};
use crate::placement::{self, Ask, PlacementPolicy};

/// A run, and why it is where it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunLink {
    /// The run.
    pub run: RunId,
    /// Where its workers are.
    pub placement: Placement,
    /// By which policy nodes are chosen.
    pub policy: PlacementPolicy,
    /// Its first node compared with the others, as they are now and the run left aside. A place is chosen once; others
    /// may have become better since.
    pub rated: Option<Rated>,
    /// How far down the list of models that the task asks for its worst device stands; 0 for the first, or if it asks for
    /// none.
    pub liking: usize,
    /// How its devices are joined, and how the best-joined devices of the node would be; 0 where nothing is known.
    pub joined: (u32, u32),
    /// How a gang lies in the network.
    pub spread: Option<Spread>,
    /// On what right it runs.
    pub basis: Basis,
    /// Until then work of a better claim has to leave it alone; `None` if nothing protects it from that.
    pub protected_until: Option<Time>,
    /// Until then other users' work of the same level has to leave it alone; `None` before it executes.
    pub slice_until: Option<Time>,
    /// Whether it can be suspended at all.
    pub suspendable: bool,
    /// It is beyond its right since that was cut, and has to leave then.
    pub notice: Option<Time>,
    /// When its time limit ends it.
    pub ends_by: Option<Time>,
    /// When its lease ends unless it is renewed.
    pub leased_until: Option<Time>,
}

/// A node among those that would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rated {
    /// The node.
    pub node: NodeName,
    /// What the policy says of it; less is better.
    pub key: u64,
    /// Its place among those that would take a worker; 1 for the best.
    pub place: u32,
    /// How many would.
    pub of: u32,
    /// The best of the others, and what the policy says of it.
    pub next: Option<(NodeName, u64)>,
}

/// How the workers of a gang lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spread {
    /// On so many nodes.
    pub nodes: u32,
    /// Under so many leaf switches.
    pub leaves: u32,
    /// In so many zones.
    pub zones: u32,
}

/// On what a run's hold on its place rests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "basis", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Basis {
    /// It is within its owner's right at this level.
    WithinRight {
        /// The level.
        level: Priority,
    },
    /// It is beyond its right, and yields to all work that is within its own.
    Borrowed {
        /// The level.
        level: Priority,
    },
    /// It takes what nobody else wants.
    Background,
}

pub(super) fn look(engine: &Engine, id: TaskId) -> Option<RunLink> {
    let run = engine.look_run_of(id).filter(|run| matches!(run.manner, Manner::Starting | Manner::Running))?;
    let inventory = engine.look_inventory();
    let request = &run.spec.request;
    let devices = run.placement.workers.iter().flat_map(|place| {
        let node = inventory.find(&place.node).map(|ix| inventory.node(ix).spec());
        let known = node.into_iter().flat_map(|node| &node.devices);
        known.filter(|device| place.devices.contains(&device.id))
    });
    let liking = devices.map(|device| request.preference(&device.model)).max().unwrap_or(0);
    Some(RunLink {
        run: run.id,
        placement: run.placement.clone(),
        policy: engine.look_config().placement.clone(),
        rated: rated(engine, &run),
        liking,
        joined: joined(inventory, &run),
        spread: (run.placement.workers.len() > 1).then(|| spread(inventory, run.placement)),
        basis: match () {
            () if run.spec.kind.is_background() => Basis::Background,
            () if run.entitled => Basis::WithinRight { level: run.level },
            () => Basis::Borrowed { level: run.level },
        },
        protected_until: run.protected_until.filter(|_| engine.look_protects(run.id)),
        slice_until: run.slice_until,
        suspendable: run.spec.suspendable,
        notice: run.notice,
        ends_by: run.ends_by,
        leased_until: run.leased_until,
    })
}

fn rated(engine: &Engine, run: &RunLook<'_>) -> Option<Rated> {
    let (inventory, policy) = (engine.look_inventory(), engine.look_placement());
    let ask = Ask::of(inventory, run.spec);
    let here = inventory.find(&run.placement.workers.first()?.node)?;
    let mut all = Vec::new();
    for ix in inventory.group(&run.spec.group) {
        let node = inventory.node(ix);
        let mut room = node.room_at(When::Now).into_owned();
        if run.nodes.contains(&ix) {
            room = node.room_later_without(|other| other == run.id);
        }
        if let Some(key) = placement::rate(inventory, &ask, policy, node, &room) {
            all.push((key, ix));
        }
    }
    all.sort_unstable();
    let at = all.iter().position(|&(_, ix)| ix == here)?;
    let next = all.iter().find(|&&(_, ix)| ix != here);
    let name = |ix| inventory.node(ix).spec().name.clone();
    Some(Rated {
        node: name(here),
        key: all[at].0.1,
        place: u32::try_from(at + 1).unwrap_or(u32::MAX),
        of: u32::try_from(all.len()).unwrap_or(u32::MAX),
        next: next.map(|&((_, key), ix)| (name(ix), key)),
    })
}

/// How the first worker's devices are joined, and the best-joined ones of as many on its node.
fn joined(inventory: &Inventory, run: &RunLook<'_>) -> (u32, u32) {
    let Some(place) = run.placement.workers.first() else { return (0, 0) };
    let Some(ix) = inventory.find(&place.node) else { return (0, 0) };
    let node = inventory.node(ix);
    let links = inventory.make_of(node).links();
    let take = Take::of(place, node.spec());
    let all = (0..node.spec().devices.len().min(64)).fold(0_u64, |mask, at| mask | 1 << at);
    (links.within(take.devices), links.within(links.best(all, take.devices.count_ones(), 0)))
}

fn spread(inventory: &Inventory, placement: &Placement) -> Spread {
    let nodes: BTreeSet<&NodeName> = placement.workers.iter().map(|place| &place.node).collect();
    let (mut leaves, mut zones) = (BTreeSet::new(), BTreeSet::new());
    for node in nodes.iter().filter_map(|name| inventory.find(name)).map(|ix| inventory.node(ix)) {
        leaves.insert(node.path().leaf);
        zones.insert(node.spec().location.zone.clone());
    }
    let zones: BTreeSet<Option<PlaceName>> = zones;
    let narrow = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
    Spread { nodes: narrow(nodes.len()), leaves: narrow(leaves.len()), zones: narrow(zones.len()) }
}

impl RunLink {
    /// Where it is, in words.
    #[must_use]
    pub fn places(&self) -> String {
        let mut parts: Vec<String> = Vec::new();
        let mut nodes: Vec<(&NodeName, usize, bool)> = Vec::new();
        for place in &self.placement.workers {
            match nodes.last_mut().filter(|(node, ..)| **node == place.node) {
                Some((_, devices, _)) => *devices += place.devices.len(),
                None => nodes.push((&place.node, place.devices.len(), place.whole_node)),
            }
        }
        for &(node, devices, whole) in nodes.iter().take(3) {
            let devices = u64::try_from(devices).unwrap_or(u64::MAX);
            match (whole, devices) {
                (true, _) => parts.push(format!("all of {node}")),
                (false, 0) => parts.push(node.to_string()),
                (false, devices) => parts.push(format!("{} of {node}", count(devices, "GPU"))),
            }
        }
        if nodes.len() > 3 {
            parts.push(format!("{} more nodes", nodes.len() - 3));
        }
        list(&parts)
    }

    /// Why it is there.
    #[must_use]
    pub fn place_reason(&self) -> String {
        let policy = serde_json::to_value(&self.policy).ok();
        let name = policy.as_ref().and_then(|value| match value {
            serde_json::Value::String(name) => Some(name.as_str()),
            serde_json::Value::Object(fields) => fields.keys().next().map(String::as_str),
            _ => None,
        });
        let mut text = format!("nodes are chosen by the policy `{}`", name.unwrap_or("custom"));
        match &self.rated {
            Some(Rated { of: 1, node, .. }) => text += &format!("; {node} is the only one that would do now"),
            Some(rated) => {
                text += &format!("; {} is number {} of {} that would do now", rated.node, rated.place, rated.of);
                if let Some((next, key)) = &rated.next {
                    text += &format!(" (rated {}, {next} {key}; less is better)", rated.key);
                }
            }
            None => {}
        }
        if self.liking > 0 {
            text += &format!("; its GPUs are number {} in the task's list of models", self.liking + 1);
        }
        if self.joined.1 > 0 {
            let best =
                if self.joined.0 >= self.joined.1 { "as well as can be" } else { "less well than others of the node" };
            text += &format!("; its GPUs are joined {best}");
        }
        if let Some(spread) = self.spread {
            let (nodes, leaves) = (count(spread.nodes, "node"), count(spread.leaves, "leaf switch"));
            text += &format!("; its workers are on {nodes}, {leaves}, {}", count(spread.zones, "zone"));
        }
        text
    }

    /// Who may take its place, and from when on.
    #[must_use]
    pub fn yields(&self) -> String {
        if let Some(at) = self.notice {
            return format!("its right was cut: it has to leave at {at} unless the right is enough again by then");
        }
        let lasts = match (self.ends_by, self.leased_until) {
            (Some(at), None) => format!(" until its time limit ends at {at}"),
            (None, Some(at)) => format!(" until its lease ends at {at}, unless that is renewed"),
            (Some(limit), Some(lease)) => format!(" until {}", limit.min(lease)),
            (None, None) => String::new(),
        };
        if !self.suspendable {
            return format!("it can not be suspended, so it has its place{lasts}");
        }
        let better = match self.protected_until {
            Some(at) => format!("work with a better claim may take its place from {at} on"),
            None => "work with a better claim may take its place at any time".to_owned(),
        };
        match (self.basis, self.slice_until) {
            (Basis::Background, _) => "all work within its right may take its place".to_owned(),
            (_, Some(at)) => format!("{better}, other users' work of the same level from {at} on"),
            (_, None) => better,
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Basis::WithinRight { level } => write!(f, "it is within its owner's right at {level}"),
            Basis::Borrowed { level } => {
                write!(
                    f,
                    "it is beyond its owner's right at {level}, on borrowed capacity: it yields to all work within its right"
                )
            }
            Basis::Background => f.write_str("it is background work, and takes what nobody else wants"),
        }
    }
}

/// One sentence for people.
impl fmt::Display for RunLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it has {}; {}; {}", self.places(), self.basis, self.yields())
    }
}
