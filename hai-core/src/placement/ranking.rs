//! The nodes in the order in which one request likes them, kept up to date as nodes change.
//!
//! A tournament tree over the table of nodes: a changed node is judged anew and its matches are played again, which is
//! O(log n); the best node stands at the root, and the next best are found on the way down (Knuth, The Art of Computer
//! Programming, vol. 3, section 5.4.1). Nothing is allocated unless the table grows.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::ask::Ask;
use super::field::{Field, Fits};
use super::policy::Policy;
use super::seat::Seat;
use crate::inventory::{GroupIx, Inventory, KindSet, Node, NodeIx, PlaceIx, Room, When};

/// How much a node is liked; less is better. The liking of the model stands above the policy's judgement.
pub(crate) type Key = u64;
/// The key of a node on which no worker fits.
pub(crate) const UNFIT: Key = Key::MAX;
/// Bits of the policy's judgement.
pub(crate) const JUDGEMENT_BITS: u32 = 48;

/// The nodes of one request's group, by how much it likes them.
#[derive(Clone, Debug)]
pub(crate) struct Ranking {
    ask: Ask,
    when: When,
    kinds: KindSet,
    group: Option<GroupIx>,
    /// By node.
    keys: Vec<Key>,
    /// The winner of each match: that of the two below. The root is at 1, the matches of single nodes at the end.
    winners: Vec<u32>,
    /// The changes that were taken in.
    synced: u64,
    /// How many workers fit, for gangs.
    fits: Option<Fits>,
}

/// How much the request likes a seat.
pub(crate) fn key_of(seat: &Seat<'_>, policy: &Policy) -> Key {
    let judgement = policy.judge(seat).min((1 << JUDGEMENT_BITS) - 1);
    u64::from(seat.liking()) << JUDGEMENT_BITS | judgement
}

impl Ranking {
    /// A ranking that has not looked at any node yet.
    pub(crate) fn new(ask: &Ask, when: When, kinds: &KindSet) -> Self {
        Ranking {
            ask: ask.clone(),
            when,
            kinds: kinds.clone(),
            group: None,
            keys: Vec::new(),
            winners: Vec::new(),
            synced: 0,
            fits: None,
        }
    }

    /// Whether it is the ranking for this question.
    pub(crate) fn answers(&self, ask: &Ask, when: When, kinds: &KindSet) -> bool {
        self.ask.hash() == ask.hash() && self.when == when && self.kinds == *kinds && self.ask.is_like(ask)
    }

    /// Whether nothing changed since the last time.
    pub(crate) fn is_synced(&self, inventory: &Inventory) -> bool {
        self.synced == inventory.change_count()
    }

    /// Kinds of devices that may be given.
    pub(crate) fn kinds(&self) -> &KindSet {
        &self.kinds
    }

    /// Takes in what changed since the last time.
    pub(crate) fn sync(&mut self, inventory: &Inventory, policy: &Policy) {
        let slots = inventory.node_slots();
        let known = self.group.is_some() && slots <= self.keys.len();
        self.ask.refresh(inventory);
        match inventory.changed_since(self.synced).filter(|_| known) {
            Some(changed) => changed.for_each(|ix| self.look_at(inventory, policy, ix)),
            None => self.look_at_all(inventory, policy),
        }
        self.synced = inventory.change_count();
    }

    fn look_at_all(&mut self, inventory: &Inventory, policy: &Policy) {
        self.group = self.ask.group(inventory);
        // Room to grow, so that a cluster whose nodes join one by one is not looked at as a whole for each of them.
        let slots = (inventory.node_slots() + inventory.node_slots() / 8).next_power_of_two().max(2);
        self.keys.clear();
        self.keys.resize(slots, UNFIT);
        self.fits = (self.ask.workers() > 1).then(|| Fits::new(slots));
        for ix in self.group.into_iter().flat_map(|group| inventory.group_nodes(group)) {
            let (key, fits) = self.judge(inventory, policy, ix);
            self.keys[ix.index()] = key;
            if let Some(sums) = &mut self.fits {
                sums.set(ix, inventory.get(ix).filter(|_| fits > 0).map(Node::path), fits);
            }
        }
        self.winners.clear();
        self.winners.resize(slots, 0);
        for at in (1..slots).rev() {
            self.winners[at] = self.play(at);
        }
    }

    fn look_at(&mut self, inventory: &Inventory, policy: &Policy, ix: NodeIx) {
        let (key, fits) = self.judge(inventory, policy, ix);
        if let Some(sums) = &mut self.fits {
            sums.set(ix, inventory.get(ix).filter(|_| fits > 0).map(Node::path), fits);
        }
        if std::mem::replace(&mut self.keys[ix.index()], key) == key {
            return;
        }
        let mut at = (ix.index() + self.keys.len()) / 2;
        while at > 0 {
            let winner = self.play(at);
            // The same winner with the same key: nothing changes further up.
            if std::mem::replace(&mut self.winners[at], winner) == winner && winner as usize != ix.index() {
                return;
            }
            at /= 2;
        }
    }

    fn judge(&self, inventory: &Inventory, policy: &Policy, ix: NodeIx) -> (Key, u32) {
        if !self.ask.may_fit_on(inventory, ix) {
            return (UNFIT, 0);
        }
        let Some(node) = inventory.get(ix) else { return (UNFIT, 0) };
        if Some(node.group()) != self.group || !self.ask.allows(inventory, node) {
            return (UNFIT, 0);
        }
        let room = node.room_at(self.when);
        if !self.ask.may_fit_in(&room) {
            return (UNFIT, 0);
        }
        let seat = Seat::new(inventory, &self.ask, &self.kinds, node, &room);
        match seat.capacity() {
            0 => (UNFIT, 0),
            fits => (key_of(&seat, policy), fits),
        }
    }

    /// Who wins the match at `at`: the smaller key, then the smaller index.
    fn play(&self, at: usize) -> u32 {
        let [left, right] = [2 * at, 2 * at + 1].map(|below| self.winner(below));
        if self.keys[right as usize] < self.keys[left as usize] { right } else { left }
    }

    fn winner(&self, at: usize) -> u32 {
        match at.checked_sub(self.keys.len()) {
            Some(node) => u32::try_from(node).expect("as many as there are nodes"),
            None => self.winners[at],
        }
    }

    /// The best node.
    pub(crate) fn best(&self) -> Option<NodeIx> {
        let winner = *self.winners.get(1)?;
        (self.keys[winner as usize] != UNFIT).then(|| NodeIx::at(winner))
    }

    /// The nodes on which a worker fits, the best first; each costs O(log n).
    fn by_key(&self) -> impl Iterator<Item = (Key, NodeIx)> + '_ {
        let entry = move |at: usize| {
            let winner = self.winner(at);
            (self.keys[winner as usize], winner, at)
        };
        let mut open = BinaryHeap::new();
        if self.best().is_some() {
            open.push(Reverse(entry(1)));
        }
        std::iter::from_fn(move || {
            let Reverse((key, winner, mut at)) = open.pop()?;
            // Whom the winner beat on its way up to here comes next.
            while at < self.keys.len() {
                let (left, right) = (entry(2 * at), entry(2 * at + 1));
                let (won, lost) = if left.1 == winner { (left, right) } else { (right, left) };
                if lost.0 != UNFIT {
                    open.push(Reverse(lost));
                }
                at = won.2;
            }
            Some((key, NodeIx::at(winner)))
        })
    }
}

impl Field for Ranking {
    fn key(&self, ix: NodeIx) -> Key {
        self.keys.get(ix.index()).copied().unwrap_or(UNFIT)
    }

    fn fits(&self, ix: NodeIx) -> u32 {
        self.fits.as_ref().map_or(0, |fits| fits.node(ix))
    }

    fn below(&self, place: PlaceIx) -> u64 {
        self.fits.as_ref().map_or(0, |fits| fits.below(place))
    }

    fn total(&self) -> u64 {
        self.fits.as_ref().map_or(0, Fits::total)
    }

    fn ordered(&self) -> Box<dyn Iterator<Item = (Key, NodeIx)> + '_> {
        Box::new(self.by_key())
    }

    fn room<'n>(&'n self, node: &'n Node) -> Cow<'n, Room> {
        node.room_at(self.when)
    }
}
