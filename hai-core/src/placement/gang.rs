//! Where the workers of a gang go: close together, in the smallest part of the network that holds them all, or apart.
//!
//! Packing goes by the tree: of the leaves that hold the whole gang the one with the least room, else such a spine, else
//! such a zone, else all of the network. In a place that is wider than a leaf as few of the narrower ones are used as
//! can be told without looking at all combinations: the roomiest whole, and for what is then missing the tightest that
//! holds it. The problem itself is bin packing (NP-hard).

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use smallvec::SmallVec;

use super::Places;
use super::ask::Ask;
use super::field::{Field, Scope};
use super::placer::Within;
use super::policy::Policy;
use super::ranking::{Key, UNFIT, key_of};
use super::seat::Seat;
use crate::inventory::{GroupIx, Inventory, Level, NodeIx, PlaceIx, Room};
use crate::model::Devices;

/// One search.
struct Gang<'a, F> {
    inventory: &'a Inventory,
    ask: &'a Ask,
    within: &'a Within<'a>,
    field: &'a F,
    policy: &'a Policy,
    group: GroupIx,
    /// Workers that fit on nodes to be left aside, by place.
    avoided: BTreeMap<PlaceIx, u64>,
    avoided_total: u64,
}

/// Places the workers of a request in a field; `None` if not even the fewest fit.
pub(super) fn place(
    inventory: &Inventory,
    ask: &Ask,
    within: &Within<'_>,
    field: &impl Field,
    policy: &Policy,
) -> Option<Places> {
    let want = u64::from(ask.workers().min(within.workers_most));
    let group = ask.group(inventory)?;
    let mut gang = Gang { inventory, ask, within, field, policy, group, avoided: BTreeMap::new(), avoided_total: 0 };
    if want == 1 {
        return gang.one();
    }
    for &ix in within.avoid {
        let Some(node) = inventory.get(ix) else { continue };
        let (fits, path) = (u64::from(field.fits(ix)), node.path());
        gang.avoided_total += fits;
        for place in [path.leaf, path.spine, path.zone] {
            *gang.avoided.entry(place).or_default() += fits;
        }
    }
    let scopes = gang.scopes();
    let reach = scopes.iter().map(|&(_, sum)| sum).max()?;
    let target = want.min(reach);
    if target == 0 || target < u64::from(ask.workers_min()) {
        return None;
    }
    let places = if ask.spreads() { gang.spread(&scopes, target) } else { gang.pack(&scopes, target) };
    (places.len() as u64 == target).then_some(places)
}

impl<F: Field> Gang<'_, F> {
    /// The best place for one worker.
    fn one(&self) -> Option<Places> {
        let (_, ix) = self.field.ordered().find(|(_, ix)| !self.within.avoids(*ix))?;
        let node = self.inventory.node(ix);
        let room = self.field.room(node);
        let seat = Seat::new(self.inventory, self.ask, self.within.kinds, node, &room);
        Some(SmallVec::from_elem((ix, seat.take(self.policy.card(&seat))?), 1))
    }

    fn below(&self, place: PlaceIx) -> u64 {
        self.field.below(place).saturating_sub(self.avoided.get(&place).copied().unwrap_or(0))
    }

    /// The parts of the network that the gang must not reach beyond, and how many workers fit in each.
    fn scopes(&self) -> Vec<(Scope, u64)> {
        let topology = self.inventory.topology();
        let level = match (self.ask.constraints().one_leaf, self.ask.constraints().one_zone) {
            (true, _) => Some(Level::Leaf),
            (false, true) => Some(Level::Zone),
            (false, false) => None,
        };
        let mut scopes: Vec<(Scope, u64)> = Vec::new();
        if let Some(level) = level {
            let named = topology.places(level).filter(|&place| topology.is_named(place));
            scopes.extend(named.map(|place| (Scope::Place(place), self.below(place))));
            // Where nothing is known one node is all that is near to itself.
            for place in topology.places(level).filter(|&place| !topology.is_named(place) && self.below(place) > 0) {
                let nodes = self.nodes_below(place);
                scopes.extend(nodes.map(|(_, ix)| (Scope::Node(ix), u64::from(self.field.fits(ix)))));
            }
        } else if self.within.may_cross_zones {
            scopes.push((Scope::All, self.field.total().saturating_sub(self.avoided_total)));
        } else {
            scopes.extend(topology.zones().iter().map(|&zone| (Scope::Place(zone), self.below(zone))));
        }
        scopes.retain(|&(_, sum)| sum > 0);
        scopes
    }

    fn nodes_below(&self, place: PlaceIx) -> Box<dyn Iterator<Item = (Key, NodeIx)> + '_> {
        let topology = self.inventory.topology();
        match topology.level(place) {
            Level::Leaf => Box::new(
                self.inventory
                    .leaf_nodes(self.group, place)
                    .map(|ix| (self.field.key(ix), ix))
                    .filter(|&(key, ix)| key != UNFIT && !self.within.avoids(ix)),
            ),
            Level::Spine | Level::Zone => Box::new(topology.below(place).flat_map(|below| self.nodes_below(below))),
        }
    }

    fn pack(&self, scopes: &[(Scope, u64)], target: u64) -> Places {
        let topology = self.inventory.topology();
        let tightest = |places: &mut dyn Iterator<Item = PlaceIx>| {
            let holding = places.map(|place| (self.below(place), place)).filter(|&(sum, _)| sum >= target);
            holding.min().map(|(_, place)| place)
        };
        let mut out = Places::new();
        // A narrower place lies in a scope or is none: all that lies in a place is in the same wider ones.
        let levels: &[Level] = match () {
            () if self.ask.constraints().one_leaf => &[],
            () if self.ask.constraints().one_zone || !self.within.may_cross_zones => &[Level::Leaf, Level::Spine],
            () => &[Level::Leaf, Level::Spine, Level::Zone],
        };
        for &level in levels {
            let mut named = topology.places(level).filter(|&place| topology.is_named(place));
            if let Some(place) = tightest(&mut named) {
                self.fill(place, target, &mut out);
                return out;
            }
        }
        let holding = scopes.iter().filter(|&&(_, sum)| sum >= target);
        let by_key = |scope: Scope| match scope {
            Scope::Node(ix) => self.field.key(ix),
            Scope::Place(_) | Scope::All => 0,
        };
        match holding.min_by_key(|&&(scope, sum)| (matches!(scope, Scope::Node(_)), by_key(scope), sum, scope)) {
            Some(&(Scope::Place(place), _)) => self.fill(place, target, &mut out),
            Some(&(Scope::Node(ix), _)) => self.seat(std::iter::once((self.field.key(ix), ix)), target, &mut out),
            Some(&(Scope::All, _)) => self.fill_children(topology.zones().to_vec(), target, &mut out),
            None => {}
        }
        out
    }

    /// Puts `count` workers below a place that holds them.
    fn fill(&self, place: PlaceIx, count: u64, out: &mut Places) {
        let topology = self.inventory.topology();
        if topology.level(place) != Level::Leaf {
            return self.fill_children(topology.below(place).collect(), count, out);
        }
        if self.field.below(place) == self.field.total() {
            // Nothing fits elsewhere, so the order of all nodes is that of these.
            let ordered = self.field.ordered().filter(|(_, ix)| !self.within.avoids(*ix));
            return self.seat(ordered, count, out);
        }
        let mut nodes: Vec<(Key, NodeIx)> = self.nodes_below(place).collect();
        nodes.sort_unstable();
        self.seat(nodes.into_iter(), count, out);
    }

    fn fill_children(&self, places: Vec<PlaceIx>, mut count: u64, out: &mut Places) {
        let mut sums: Vec<(u64, PlaceIx)> = places.into_iter().map(|place| (self.below(place), place)).collect();
        sums.retain(|&(sum, _)| sum > 0);
        while count > 0 && !sums.is_empty() {
            let holding = sums.iter().copied().filter(|&(sum, _)| sum >= count).min();
            let Some((sum, place)) =
                holding.or_else(|| sums.iter().copied().min_by_key(|&(sum, place)| (Reverse(sum), place)))
            else {
                return;
            };
            self.fill(place, count.min(sum), out);
            count -= count.min(sum);
            sums.retain(|&(_, other)| other != place);
        }
    }

    /// Puts workers one by one on the best of some nodes, which come in order. A node that got one is judged anew with
    /// what is left of it. Ranks on one node follow each other.
    fn seat(&self, nodes: impl Iterator<Item = (Key, NodeIx)>, count: u64, out: &mut Places) {
        let mut nodes = nodes.peekable();
        let mut begun: BinaryHeap<Reverse<(Key, NodeIx, usize)>> = BinaryHeap::new();
        // In the order in which they were begun: what each worker took, and what is left.
        let mut seated: Vec<(NodeIx, Vec<crate::inventory::Take>, Room)> = Vec::new();
        for _ in 0..count {
            let best_begun = begun.peek().map(|&Reverse((key, ix, _))| (key, ix));
            let take_new = nodes.peek().is_some_and(|&new| best_begun.is_none_or(|best| new < best));
            let at = if take_new {
                let Some((_, ix)) = nodes.next() else { break };
                seated.push((ix, Vec::new(), self.field.room(self.inventory.node(ix)).into_owned()));
                seated.len() - 1
            } else {
                let Some(Reverse((_, _, at))) = begun.pop() else { break };
                at
            };
            let (ix, takes, room) = &mut seated[at];
            let node = self.inventory.node(*ix);
            let seat = Seat::new(self.inventory, self.ask, self.within.kinds, node, room);
            let Some(take) = seat.take(self.policy.card(&seat)) else { break };
            room.subtract(&take);
            takes.push(take);
            if !self.ask.is_apart() && self.ask.request().devices != Devices::WholeNode {
                let seat = Seat::new(self.inventory, self.ask, self.within.kinds, node, room);
                if seat.capacity() > 0 {
                    begun.push(Reverse((key_of(&seat, self.policy), *ix, at)));
                }
            }
        }
        out.extend(seated.into_iter().flat_map(|(ix, takes, _)| takes.into_iter().map(move |take| (ix, take))));
    }

    /// On as many nodes as can be, and those under as many leaves: one worker on each node in turn.
    fn spread(&self, scopes: &[(Scope, u64)], target: u64) -> Places {
        let mut widest: Option<(usize, Vec<(Key, NodeIx)>)> = None;
        for &(scope, _) in scopes.iter().filter(|&&(_, sum)| sum >= target) {
            let nodes: Vec<(Key, NodeIx)> = match scope {
                Scope::All => self.field.ordered().filter(|(_, ix)| !self.within.avoids(*ix)).collect(),
                Scope::Place(place) => self.nodes_below(place).collect(),
                Scope::Node(ix) => vec![(self.field.key(ix), ix)],
            };
            if widest.as_ref().is_none_or(|(most, _)| nodes.len() > *most) {
                widest = Some((nodes.len(), nodes));
            }
        }
        let Some((_, mut nodes)) = widest else { return Places::new() };
        nodes.sort_unstable();
        // The best of each leaf, then the second best of each, and so on.
        let mut seen: BTreeMap<PlaceIx, usize> = BTreeMap::new();
        let mut turns: Vec<(usize, Key, NodeIx)> = nodes
            .into_iter()
            .map(|(key, ix)| {
                let before = seen.entry(self.inventory.node(ix).path().leaf).or_default();
                *before += 1;
                (*before, key, ix)
            })
            .collect();
        turns.sort_unstable();
        let mut rooms: Vec<Option<Room>> =
            turns.iter().map(|&(_, _, ix)| Some(self.field.room(self.inventory.node(ix)).into_owned())).collect();
        let mut out = Places::new();
        while (out.len() as u64) < target && rooms.iter().any(Option::is_some) {
            for (&(_, _, ix), slot) in turns.iter().zip(&mut rooms) {
                if out.len() as u64 == target {
                    break;
                }
                let Some(room) = slot.as_mut() else { continue };
                let seat = Seat::new(self.inventory, self.ask, self.within.kinds, self.inventory.node(ix), room);
                match seat.take(self.policy.card(&seat)) {
                    Some(take) => {
                        out.push((ix, take));
                        room.subtract(&take);
                        if self.ask.is_apart() {
                            *slot = None;
                        }
                    }
                    None => *slot = None,
                }
            }
        }
        out
    }
}
