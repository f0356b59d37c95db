//! Who may have to yield, in the order in which they should, and who of them is on which node.
//!
//! What a run loses grows with time, by its number of devices every moment. So runs with the same number of devices keep
//! their order for ever: those that saved their work last come first. A list for each number of devices, and a merge of
//! these lists by what the runs lose now, gives the order of all without ever sorting them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use smallvec::SmallVec;

use super::Yielder;
use crate::inventory::NodeIx;
use crate::model::{Claim, GroupName, Priority, RunId, Span, Time};
use crate::table::Table;

/// What a run would lose if it left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// So much on each device, whatever the time: it has not done anything yet.
    Fixed(Span),
    /// All it did since then, on each device. The cost of the next start is counted in, as work done before.
    WorkSince(Time),
}

/// A run that may have to yield.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The group of its task.
    pub group: GroupName,
    /// Its claim.
    pub claim: Claim,
    /// Whose it is, and at which priority: nobody yields to the same.
    pub owner: Owner,
    /// How many devices it has, at least one.
    pub devices: u32,
    /// What it would lose.
    pub loss: Loss,
    /// From when on it may be told to leave.
    pub yields_from: Time,
    /// The nodes it is on.
    pub nodes: SmallVec<[NodeIx; 1]>,
}

/// A user at a priority.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Owner(pub u32);

/// The part of a run that is on one node.
#[derive(Clone, Copy, Debug)]
pub struct OnNode {
    /// The run.
    pub run: RunId,
    /// Its claim.
    pub claim: Claim,
    /// Whose it is.
    pub owner: Owner,
    /// All its devices, on whatever node.
    pub devices: u32,
    /// What it would lose.
    pub loss: Loss,
    /// From when on it may be told to leave.
    pub yields_from: Time,
}

/// How many claims there are.
const CLAIMS: usize = 2 * (Priority::LEVELS.len() + 1);

/// The runs of one node, by claim.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByClaim {
    /// How many devices the runs with at most this claim have, on whatever node.
    devices: [u16; CLAIMS],
    /// Devices whose work since a time is lost, and the sum of these times.
    rate: u32,
    since: i128,
    /// What is lost whatever the time.
    fixed: u64,
}

/// Runs that lose at the same rate: by devices, and by how they lose.
type Rate = (u32, bool);
/// The order within a rate: who loses least first, then the newest.
type Place = (Reverse<Loss>, Reverse<RunId>);

#[derive(Clone, Debug, Default)]
struct Group {
    by_claim: BTreeMap<Claim, BTreeMap<Rate, BTreeSet<Place>>>,
    count: usize,
}

/// All runs that stay or are promised a place.
#[derive(Clone, Debug, Default)]
pub struct Yielders {
    groups: BTreeMap<GroupName, Group>,
    runs: Table<RunId, Listed>,
    on_node: Vec<SmallVec<[OnNode; 2]>>,
    /// The same summed up, so that all nodes are quickly looked at.
    by_claim: Vec<ByClaim>,
}

impl ByClaim {
    fn of(here: &[OnNode]) -> Self {
        let mut sums = ByClaim::default();
        for there in here {
            let at = Self::index(there.claim);
            sums.devices[at] = sums.devices[at].saturating_add(u16::try_from(there.devices).unwrap_or(u16::MAX));
            match there.loss {
                Loss::Fixed(_) => sums.fixed = sums.fixed.saturating_add(there.loss.at(Time::ZERO, there.devices)),
                Loss::WorkSince(since) => {
                    sums.rate = sums.rate.saturating_add(there.devices);
                    sums.since += i128::from(since.as_ms()) * i128::from(there.devices);
                }
            }
        }
        for at in 1..CLAIMS {
            sums.devices[at] = sums.devices[at].saturating_add(sums.devices[at - 1]);
        }
        sums
    }

    /// Claims in their order, from zero.
    fn index(claim: Claim) -> usize {
        usize::from(claim.entitled) * (CLAIMS / 2) + claim.level as usize
    }

    fn claim(index: usize) -> Claim {
        let level = (index % (CLAIMS / 2)).checked_sub(1).map_or(Priority::Auto, |at| {
            let best_first = Priority::LEVELS;
            best_first[best_first.len() - 1 - at]
        });
        Claim { entitled: index >= CLAIMS / 2, level }
    }

    /// The least claim such that runs with at most this claim, and below another, have so many devices; `None` if all of
    /// those have fewer.
    #[must_use]
    pub fn least(&self, devices: u32, below: Claim) -> Option<Claim> {
        let enough = |sum: &u16| u32::from(*sum) >= devices || *sum == u16::MAX;
        let below = &self.devices[..Self::index(below)];
        below.last().filter(|sum| enough(sum))?;
        below.iter().position(enough).map(Self::claim)
    }

    /// What it costs at the least that runs below a claim leave, until so many devices are free.
    #[must_use]
    pub fn loss(&self, devices: u32, below: Claim, now: Time) -> u64 {
        // Only where all have to leave do the sums tell.
        let all = self.devices[CLAIMS - 1];
        if u32::from(all) > devices || all == u16::MAX || self.below(below) < u32::from(all) {
            return 0;
        }
        let work = i128::from(now.as_ms()) * i128::from(self.rate) - self.since;
        u64::try_from(work.max(0)).unwrap_or(u64::MAX).saturating_add(self.fixed)
    }

    /// How many devices the runs have whose claim is below this one, or 65,535 if they have more.
    #[must_use]
    pub fn below(&self, claim: Claim) -> u32 {
        Self::index(claim).checked_sub(1).map_or(0, |at| u32::from(self.devices[at]))
    }

    /// The greatest claim, if that is below another. With more than 65,535 devices it may be told too small.
    #[must_use]
    pub fn greatest(&self, below: Claim) -> Option<Claim> {
        let all = *self.devices.last()?;
        let at = self.devices.iter().position(|&sum| sum == all && sum > 0)?;
        (at < Self::index(below)).then(|| Self::claim(at))
    }
}

impl Loss {
    /// What it is at `now`, in device-milliseconds.
    #[must_use]
    pub fn at(self, now: Time, devices: u32) -> u64 {
        let each = match self {
            Loss::Fixed(cost) => cost.as_ms(),
            Loss::WorkSince(since) => now.since(since).as_ms(),
        };
        each.saturating_mul(u64::from(devices))
    }
}

impl Listed {
    fn rate(&self) -> Rate {
        (self.devices, matches!(self.loss, Loss::WorkSince(_)))
    }

    /// The smallest loss first: of those with unsaved work, who saved it last.
    fn place(&self, run: RunId) -> Place {
        let loss = match self.loss {
            // Reversed twice: the least first.
            Loss::Fixed(cost) => Loss::Fixed(Span::from_ms(u64::MAX - cost.as_ms())),
            loss => loss,
        };
        (Reverse(loss), Reverse(run))
    }
}

impl Yielders {
    /// Adds a run, or changes what is known of it.
    pub fn list(&mut self, run: RunId, listed: Listed) {
        self.unlist(run);
        if !self.groups.contains_key(&listed.group) {
            self.groups.insert(listed.group.clone(), Group::default());
        }
        let group = self.groups.get_mut(&listed.group).expect("put in above");
        group.count += 1;
        let claim = group.by_claim.entry(listed.claim).or_default();
        claim.entry(listed.rate()).or_default().insert(listed.place(run));
        for &ix in &listed.nodes {
            if self.on_node.len() <= ix.index() {
                self.on_node.resize_with(ix.index() + 1, SmallVec::new);
                self.by_claim.resize(ix.index() + 1, ByClaim::default());
            }
            self.on_node[ix.index()].push(OnNode {
                run,
                claim: listed.claim,
                owner: listed.owner,
                devices: listed.devices,
                loss: listed.loss,
                yields_from: listed.yields_from,
            });
            self.by_claim[ix.index()] = ByClaim::of(&self.on_node[ix.index()]);
        }
        self.runs.insert(run, listed);
    }

    /// Takes a run out.
    pub fn unlist(&mut self, run: RunId) {
        let Some(listed) = self.runs.remove(run) else { return };
        for ix in &listed.nodes {
            self.on_node[ix.index()].retain(|there| there.run != run);
            self.by_claim[ix.index()] = ByClaim::of(&self.on_node[ix.index()]);
        }
        let Some(group) = self.groups.get_mut(&listed.group) else { return };
        group.count -= 1;
        // Empty lists stay: they are few, and filled again soon.
        if let Some(runs) = group.by_claim.get_mut(&listed.claim).and_then(|claim| claim.get_mut(&listed.rate())) {
            runs.remove(&listed.place(run));
        }
    }

    /// What is known of a run.
    #[must_use]
    pub fn get(&self, run: RunId) -> Option<&Listed> {
        self.runs.get(run)
    }

    /// Runs on a node.
    #[must_use]
    pub fn on_node(&self, ix: NodeIx) -> &[OnNode] {
        self.on_node.get(ix.index()).map_or(&[], |runs| runs)
    }

    /// The runs on a node, summed up.
    #[must_use]
    pub fn by_claim(&self, ix: NodeIx) -> &ByClaim {
        const NOBODY: &ByClaim = &ByClaim { devices: [0; CLAIMS], rate: 0, since: 0, fixed: 0 };
        self.by_claim.get(ix.index()).unwrap_or(NOBODY)
    }

    /// Groups that had a run.
    pub fn groups(&self) -> impl Iterator<Item = &GroupName> {
        self.groups.keys()
    }

    /// How many runs a group has.
    #[must_use]
    pub fn count(&self, group: &GroupName) -> usize {
        self.groups.get(group).map_or(0, |group| group.count)
    }

    /// All runs of a group with these claims, in no useful order.
    pub fn range<'a>(
        &'a self,
        group: &GroupName,
        claims: impl std::ops::RangeBounds<Claim> + Clone + 'a,
    ) -> impl Iterator<Item = RunId> + 'a {
        let group = self.groups.get(group).into_iter();
        group
            .flat_map(move |group| group.by_claim.range(claims.clone()))
            .flat_map(|(_, rates)| rates.values())
            .flat_map(|runs| runs.iter().map(|&(_, Reverse(run))| run))
    }

    /// Whether a group has a run with a lesser claim.
    #[must_use]
    pub fn any_below(&self, group: &GroupName, claim: Claim) -> bool {
        self.range(group, ..claim).next().is_some()
    }

    /// The run in the form in which plans are made.
    #[must_use]
    pub fn yielder(&self, run: RunId, now: Time) -> Option<Yielder> {
        let listed = self.runs.get(run)?;
        let loss = listed.loss.at(now, listed.devices);
        Some(Yielder { run, claim: listed.claim, loss, nodes: listed.nodes.clone() })
    }

    /// The runs of a group with a lesser claim in yield order: the least claim first, then who loses least, then the
    /// newest. Costs nothing for those that are not asked for.
    pub fn cheapest_first(&self, group: &GroupName, below: Claim, now: Time) -> impl Iterator<Item = Yielder> + '_ {
        let group = self.groups.get(group).into_iter();
        let claims = group.flat_map(move |group| group.by_claim.range(..below));
        claims.flat_map(move |(_, rates)| self.merged(rates, now))
    }

    fn merged<'a>(
        &'a self,
        rates: &'a BTreeMap<Rate, BTreeSet<Place>>,
        now: Time,
    ) -> impl Iterator<Item = Yielder> + 'a {
        let mut lists: Vec<_> = rates.values().map(BTreeSet::iter).collect();
        let mut heap: BinaryHeap<(Reverse<u64>, RunId, usize)> = BinaryHeap::new();
        let loss_of = move |run: RunId| self.runs.get(run).map_or(0, |listed| listed.loss.at(now, listed.devices));
        for (at, list) in lists.iter_mut().enumerate() {
            if let Some(&(_, Reverse(run))) = list.next() {
                heap.push((Reverse(loss_of(run)), run, at));
            }
        }
        std::iter::from_fn(move || {
            let (_, run, at) = heap.pop()?;
            if let Some(&(_, Reverse(next))) = lists[at].next() {
                heap.push((Reverse(loss_of(next)), next, at));
            }
            self.yielder(run, now)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn listed(level: Priority, devices: u32, loss: Loss) -> Listed {
        let group = GroupName::new("g").expect("a letter");
        let claim = Claim { entitled: true, level };
        Listed { group, claim, owner: Owner(0), devices, loss, yields_from: Time::ZERO, nodes: SmallVec::new() }
    }

    fn any_loss() -> impl Strategy<Value = Loss> {
        prop_oneof![
            (0..100_u64).prop_map(|ms| Loss::Fixed(Span::from_ms(ms))),
            (0..100_i64).prop_map(|ms| Loss::WorkSince(Time::from_ms(ms))),
        ]
    }

    fn greatest_of(on_node: &[OnNode]) -> Option<Claim> {
        on_node.iter().map(|there| there.claim).max()
    }

    fn sum_of(on_node: &[OnNode]) -> u32 {
        on_node.iter().map(|there| there.devices).sum()
    }

    #[test]
    fn claims_are_numbered_in_their_order() {
        let claims: Vec<Claim> = (0..CLAIMS).map(ByClaim::claim).collect();
        assert!(claims.is_sorted_by(|a, b| a < b), "{claims:?}");
        assert!((0..CLAIMS).all(|at| ByClaim::index(claims[at]) == at));
    }

    proptest! {
        /// The sums of a node against a count of its runs.
        #[test]
        fn sums_by_claim_are_what_counting_gives(
            runs in prop::collection::vec((0..CLAIMS, prop_oneof![1..9_u32, 1..70_000_u32]), 0..6),
            below in 0..CLAIMS,
            devices in prop_oneof![1..30_u32, 1..70_000_u32],
        ) {
            let on_node: Vec<OnNode> = (0..).zip(&runs).map(|(number, &(claim, devices))| OnNode {
                run: RunId(number),
                claim: ByClaim::claim(claim),
                owner: Owner(0),
                devices,
                loss: if number % 3 == 0 { Loss::Fixed(Span::from_ms(7)) } else { Loss::WorkSince(Time::from_ms(40 * number as i64)) },
                yields_from: Time::ZERO,
            }).collect();
            let sums = ByClaim::of(&on_node);
            let below = ByClaim::claim(below);
            let sum = |most: Claim| -> u32 {
                on_node.iter().filter(|there| there.claim <= most && there.claim < below).map(|there| there.devices).sum()
            };
            let least = (0..CLAIMS).map(ByClaim::claim).find(|&most| most < below && sum(most) >= devices.min(65_535));
            prop_assert_eq!(sums.least(devices.min(65_535), below), least);
            let loss: u64 = on_node.iter().map(|there| there.loss.at(Time::from_ms(1000), there.devices)).sum();
            let (all_below, all) = (greatest_of(&on_node) < Some(below), sum_of(&on_node));
            let known = all_below && all <= devices && all < 65_535;
            prop_assert_eq!(sums.loss(devices, below, Time::from_ms(1000)), if known { loss } else { 0 });
            let greatest = greatest_of(&on_node);
            let greatest = greatest.filter(|&claim| claim < below);
            if all < 65_535 {
                prop_assert_eq!(sums.greatest(below), greatest);
            } else if greatest.is_some() {
                prop_assert!(sums.greatest(below).is_some_and(|told| Some(told) <= greatest));
            }
        }

        #[test]
        fn merging_gives_the_order_that_sorting_gives(
            runs in prop::collection::vec((any::<bool>(), 1..4_u32, any_loss()), 0..40),
            now in 100..200_i64,
        ) {
            let now = Time::from_ms(now);
            let mut yielders = Yielders::default();
            for (number, (low, devices, loss)) in (0..).zip(&runs) {
                let level = if *low { Priority::Low } else { Priority::Normal };
                yielders.list(RunId(number), listed(level, *devices, *loss));
            }
            let below = Claim { entitled: true, level: Priority::High };
            let group = GroupName::new("g").expect("a letter");
            let merged: Vec<RunId> = yielders.cheapest_first(&group, below, now).map(|yielder| yielder.run).collect();
            let mut sorted: Vec<Yielder> = (0..runs.len() as u64).filter_map(|n| yielders.yielder(RunId(n), now)).collect();
            super::super::sort_cheapest_first(&mut sorted);
            prop_assert_eq!(merged, sorted.iter().map(|yielder| yielder.run).collect::<Vec<_>>());
        }
    }
}
