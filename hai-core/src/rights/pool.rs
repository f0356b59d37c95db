//! What teams hold together: pools, and what they borrow from each other.
//!
//! The rules stand at [`Book`](super::book::Book). In each group the pools form trees of their own: a pool's parent is
//! the next team above that has a pool there. Where a tree of teams has pools but its root has none, a **hub** joins
//! them: it owns what its parts own, and bounds nothing but what they borrow.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use super::Part;
use super::book::PoolView;
use super::ids::{GroupIx, TeamIx};
use super::tally::Tally;
use crate::model::Pool;

/// A pool's place in the forest: after its parent's, and in the order of names.
pub(super) type PoolIx = u32;

/// One sum over all that a pool is charged for.
#[derive(Clone, Copy, Debug, Default)]
struct Side {
    used: Tally,
    /// What its parts keep for themselves and do not use.
    reserve: Tally,
    /// What it adds to its parent's reserve.
    passed: Tally,
}

impl Side {
    fn held(&self) -> Tally {
        self.used + self.reserve
    }
}

#[derive(Clone, Debug)]
pub(super) struct PoolState {
    pub(super) team: TeamIx,
    pub(super) group: GroupIx,
    parent: Option<PoolIx>,
    /// It joins pools that have no pool above them, and bounds no work within right.
    hub: bool,
    /// What is its own, never more than its parent's.
    pub(super) own: Tally,
    /// The most that it may hold with what it borrows.
    most: Tally,
    /// What of its own it does not lend.
    kept: Tally,
    sums: [Tally; 5],
    /// What is borrowed by its members, not by those of its parts.
    direct: Tally,
    /// With all that is still held.
    all: Side,
    /// Without what was told to leave.
    staying: Side,
}

/// One pool that a user's work is charged to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link {
    pub(super) pool: PoolIx,
    /// Where in the chain its parent is.
    parent: Option<u32>,
    /// No other pool of the chain is a part of it.
    pub(super) lowest: bool,
}

/// All pools that a user's work in one group is charged to, each before its parent.
pub(super) type Chain = SmallVec<[Link; 4]>;

/// All pools.
#[derive(Clone, Debug, Default)]
pub(super) struct Forest {
    pools: Vec<PoolState>,
    /// Those that a team has; hubs are not among them.
    by_team: BTreeMap<(TeamIx, GroupIx), PoolIx>,
    /// Pools that are beyond a limit; whether something can be taken back is worked out when somebody asks.
    over: BTreeSet<PoolIx>,
}

impl Forest {
    /// A new pool with nothing in it. Its parent, if any, must be there.
    pub(super) fn add_pool(&mut self, team: TeamIx, group: GroupIx, parent: Option<PoolIx>, pool: &Pool) -> PoolIx {
        let above = parent.map(|parent| &self.pools[parent as usize]);
        let own = match above {
            Some(above) if !above.hub => Tally::limit(pool.own).min(above.own),
            _ => Tally::limit(pool.own),
        };
        let most = if parent.is_some() { own + Tally::limit(pool.borrow) } else { own };
        let kept = own - own.min(Tally::limit(pool.lend));
        let ix = self.push(team, group, parent, own, most, kept, false);
        self.by_team.insert((team, group), ix);
        // A hub owns what its parts own.
        if let Some(parent) = parent
            && self.pools[parent as usize].hub
        {
            self.pools[parent as usize].own += own;
            self.pools[parent as usize].most += own;
        }
        let mut next = Some(ix);
        while let Some(at) = next {
            self.pass_up(at);
            next = self.pools[at as usize].parent;
        }
        ix
    }

    pub(super) fn add_hub(&mut self, team: TeamIx, group: GroupIx) -> PoolIx {
        self.push(team, group, None, Tally::ZERO, Tally::ZERO, Tally::ZERO, true)
    }

    #[expect(clippy::too_many_arguments, reason = "the fields of a pool, called twice")]
    fn push(
        &mut self,
        team: TeamIx,
        group: GroupIx,
        parent: Option<PoolIx>,
        own: Tally,
        most: Tally,
        kept: Tally,
        hub: bool,
    ) -> PoolIx {
        let (sums, direct) = ([Tally::ZERO; 5], Tally::ZERO);
        let (all, staying) = (Side::default(), Side::default());
        self.pools.push(PoolState { team, group, parent, hub, own, most, kept, sums, direct, all, staying });
        u32::try_from(self.pools.len() - 1).expect("fewer than 2^32 pools fit into memory")
    }

    pub(super) fn find(&self, team: TeamIx, group: GroupIx) -> Option<PoolIx> {
        self.by_team.get(&(team, group)).copied()
    }

    pub(super) fn pool(&self, ix: PoolIx) -> &PoolState {
        &self.pools[ix as usize]
    }

    /// The chain that starts at these pools.
    pub(super) fn chain(&self, lowest: impl IntoIterator<Item = PoolIx>) -> Chain {
        let mut pools = BTreeSet::new();
        for start in lowest {
            let mut next = Some(start);
            while let Some(pool) = next {
                pools.insert(pool);
                next = self.pools[pool as usize].parent;
            }
        }
        // Parents have the smaller numbers.
        let order: Vec<PoolIx> = pools.into_iter().rev().collect();
        let above = |pool: PoolIx| self.pools[pool as usize].parent;
        let link = |&pool: &PoolIx| Link {
            pool,
            parent: above(pool).and_then(|parent| (0..).zip(&order).find(|(_, at)| **at == parent)).map(|(at, _)| at),
            lowest: order.iter().all(|&other| above(other) != Some(pool)),
        };
        order.iter().map(link).collect()
    }

    /// Adds to a part of what all pools of a chain are charged for.
    pub(super) fn add(&mut self, chain: &[Link], part: Part, charge: Tally) {
        self.change(chain, part, charge);
    }

    /// Takes from a part of what all pools of a chain are charged for, never more than there is.
    pub(super) fn subtract(&mut self, chain: &[Link], part: Part, charge: Tally) {
        self.change(chain, part, Tally::ZERO - charge);
    }

    fn change(&mut self, chain: &[Link], part: Part, change: Tally) {
        for link in chain {
            let pool = &mut self.pools[link.pool as usize];
            let sum = &mut pool.sums[part as usize];
            let change = change.max(Tally::ZERO - *sum);
            *sum += change;
            pool.all.used += change;
            if matches!(part, Part::Staying | Part::Promised | Part::Borrowed) {
                pool.staying.used += change;
            }
            if part == Part::Borrowed && link.lowest {
                pool.direct = (pool.direct + change).max(Tally::ZERO);
            }
            self.pass_up(link.pool);
            self.mark(link.pool);
        }
    }

    /// Tells a pool's parent what the pool keeps for itself and does not use.
    fn pass_up(&mut self, ix: PoolIx) {
        let pool = &mut self.pools[ix as usize];
        let kept = pool.kept;
        // What keeps nothing for itself has nothing to tell, as long as its parts have not.
        if kept.is_zero() && pool.all.reserve == pool.all.passed && pool.staying.reserve == pool.staying.passed {
            return;
        }
        let pass = |side: &mut Side| {
            let passed = side.reserve.max(kept - side.used);
            let change = passed - side.passed;
            side.passed = passed;
            change
        };
        let (all, staying) = (pass(&mut pool.all), pass(&mut pool.staying));
        if let Some(parent) = pool.parent {
            let parent = &mut self.pools[parent as usize];
            parent.all.reserve += all;
            parent.staying.reserve += staying;
        }
    }

    fn mark(&mut self, ix: PoolIx) {
        let pool = &self.pools[ix as usize];
        if pool.beyond_own().is_zero() && pool.beyond_most().is_zero() {
            if !self.over.is_empty() {
                self.over.remove(&ix);
            }
        } else {
            self.over.insert(ix);
        }
    }

    /// Pools that may be beyond a limit, each before its parent.
    pub(super) fn over(&self) -> impl Iterator<Item = PoolIx> + '_ {
        self.over.iter().rev().copied()
    }

    /// Whether a charge may be borrowed: the first pool that is in the way, if there is one.
    pub(super) fn in_the_way(&self, chain: &[Link], charge: Tally) -> Option<PoolIx> {
        // By how much the reserve of each pool changes, because its parts use what they kept.
        let mut reserves: SmallVec<[Tally; 6]> = SmallVec::from_elem(Tally::ZERO, chain.len());
        for (at, link) in chain.iter().enumerate() {
            let pool = &self.pools[link.pool as usize];
            let side = Side {
                used: pool.all.used + charge,
                reserve: pool.all.reserve + reserves[at],
                passed: pool.all.passed,
            };
            let (before, after) = (pool.all.held(), side.held());
            let refused = |before: i128, after: i128, most: i128| after > before && after > most;
            if refused(before.nodes, after.nodes, pool.most.nodes)
                || refused(before.devices, after.devices, pool.most.devices)
            {
                return Some(link.pool);
            }
            if let Some(parent) = link.parent {
                reserves[parent as usize] += side.reserve.max(pool.kept - side.used) - side.passed;
            }
        }
        None
    }

    /// Who below a pool that holds too much must give back what is borrowed: the part that is furthest beyond its own,
    /// and so on down; `None` if that would help nobody. Also how much is too much, of nodes or devices, whichever it can
    /// help with.
    pub(super) fn borrower(&self, ix: PoolIx) -> Option<(PoolIx, Tally)> {
        let excess = self.pools[ix as usize].beyond_most();
        if excess.is_zero() {
            return None;
        }
        let wanted = |amount: Tally| amount.zip(excess, |amount, excess| if excess > 0 { amount.max(0) } else { 0 });
        // Parts come after their parent, so going backwards meets them first. What a part gives back helps only where
        // it holds more than it keeps for itself anyway.
        let first = ix as usize;
        let mut helps = vec![Tally::ZERO; self.pools.len() - first];
        for (at, pool) in self.pools.iter().enumerate().skip(first).rev() {
            let here = &mut helps[at - first];
            *here += wanted(pool.direct);
            if at != first {
                let open = pool.staying.held().beyond(pool.kept);
                *here = here.zip(open, |borrowed, open| if open > 0 { borrowed } else { 0 });
                let here = *here;
                if let Some(parent) = pool.parent.filter(|&parent| parent >= ix) {
                    helps[parent as usize - first] += here;
                }
            }
        }
        // Nodes and devices part ways: a part may hold more than it keeps of the one and not of the other.
        let within = |amount: Tally, units: Tally| amount.zip(units, |amount, unit| if unit > 0 { amount } else { 0 });
        let mut units = within(excess, helps[0]);
        let mut borrower = None;
        let mut next = (!units.is_zero()).then_some(ix);
        while let Some(at) = next {
            borrower = Some((at, units));
            let mut best: Option<(i128, PoolIx, Tally)> = None;
            for (part, pool) in (at + 1..).zip(&self.pools[at as usize + 1..]) {
                let helping = within(units, helps[part as usize - first]);
                if pool.parent != Some(at) || helping.is_zero() {
                    continue;
                }
                let beyond = (pool.staying.used - pool.own)
                    .zip(helping, |beyond, unit| if unit > 0 { beyond } else { i128::MIN });
                let beyond = beyond.nodes.max(beyond.devices);
                if best.is_none_or(|(most, ..)| beyond > most) {
                    best = Some((beyond, part, helping));
                }
            }
            next = best.map(|(_, part, helping)| {
                units = helping;
                part
            });
        }
        borrower
    }
}

impl PoolState {
    /// Within right: what is committed, and what leaves. `None` for a hub, which bounds neither.
    pub(super) fn entitled(&self) -> Option<(Tally, Tally)> {
        (!self.hub).then(|| (self.committed(), self.sum(Part::Leaving)))
    }

    /// Within right: what stays, and what leaves; promises are not used yet. `None` as above.
    pub(super) fn in_use(&self) -> Option<(Tally, Tally)> {
        (!self.hub).then(|| (self.sum(Part::Staying), self.sum(Part::Leaving)))
    }

    pub(super) fn view(&self) -> PoolView {
        PoolView {
            own: self.own.allowance(),
            most: self.most.allowance(),
            committed: self.committed().charge(),
            held: self.all.held().charge(),
        }
    }

    pub(super) fn sum(&self, part: Part) -> Tally {
        self.sums[part as usize]
    }

    /// Within right: what stays, or is promised.
    pub(super) fn committed(&self) -> Tally {
        self.sum(Part::Staying) + self.sum(Part::Promised)
    }

    /// How much more is committed within right than is its own.
    pub(super) fn beyond_own(&self) -> Tally {
        if self.hub { Tally::ZERO } else { self.committed().beyond(self.own) }
    }

    /// How much more is held than may be, where anything of that is borrowed.
    fn beyond_most(&self) -> Tally {
        self.staying.held().beyond_where(self.most, self.sum(Part::Borrowed))
    }
}
