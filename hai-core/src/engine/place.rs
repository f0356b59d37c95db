//! Where a task of the queue may go: its request made ready, the kinds of devices that its owner's right allows, and the
//! question to the placer.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::inventory::{Kind, KindSet, NodeIx, When};
use crate::model::*;
use crate::placement::{self, Ask, Tally, Within};
use crate::preemption::Question;
use crate::queue::{AskId, Want};
use crate::rights::book::Standing;
use crate::rights::{Bill, BucketIx, Held, ModelIx};

use super::Engine;

/// An ask of the queue made ready.
#[derive(Clone, Debug)]
pub(super) struct Ready {
    spec: Arc<TaskSpec>,
    pub(super) ask: Ask,
    tally: Option<Box<Tally>>,
    /// Of gangs: how many workers would fit if all with a lesser claim left, by claim.
    watches: Vec<(Claim, Watch)>,
}

/// How many workers fit in all, counted anew only where something changed.
#[derive(Clone, Debug, Default)]
struct Watch {
    /// As far as this change of the inventory all is counted.
    change: Option<u64>,
    /// By node.
    fitting: Vec<u16>,
    total: u64,
}

/// How a task stands to a right, given that it depends on the devices that it gets.
#[derive(Clone, Debug)]
pub(super) struct Stand {
    /// The best there is.
    pub(super) standing: Standing,
    /// Kinds of devices with which it is within the right now.
    pub(super) now: KindSet,
    /// The same, or once others have left.
    pub(super) later: KindSet,
    /// The most workers that are within it now, or later.
    pub(super) workers: (u32, u32),
}

impl Watch {
    fn count(&mut self, ix: NodeIx, fitting: u32) {
        let new = u16::try_from(fitting).unwrap_or(u16::MAX);
        let old = std::mem::replace(&mut self.fitting[ix.index()], new);
        self.total = self.total + u64::from(new) - u64::from(old);
    }
}

impl Stand {
    /// Of work that needs no right.
    pub(super) fn anything() -> Self {
        Stand { standing: Standing::Now, now: KindSet::all(), later: KindSet::all(), workers: (u32::MAX, u32::MAX) }
    }
}

impl Engine {
    /// Makes an ask of the queue ready, or brings it up to date.
    pub(super) fn ready(&mut self, id: AskId) {
        let spec = self.queue.ask_spec(id);
        if self.asks.len() <= id.index() {
            self.asks.resize_with(id.index() + 1, || None);
        }
        match &mut self.asks[id.index()] {
            Some(ready) if Arc::ptr_eq(&ready.spec, spec) => ready.ask.refresh(&self.inventory),
            slot => {
                let ask = Ask::of(&self.inventory, spec);
                *slot = Some(Ready { spec: Arc::clone(spec), ask, tally: None, watches: Vec::new() });
            }
        }
    }

    /// An ask that was made ready.
    pub(super) fn ask(&self, id: AskId) -> &Ask {
        &self.asks[id.index()].as_ref().expect("an ask is made ready before it is looked at").ask
    }

    /// Whether all workers of an ask might fit if all with a lesser claim left; what they must share is left aside.
    pub(super) fn could_hold(&mut self, id: AskId, claim: Claim) -> bool {
        let need = self.ask(id).workers_min();
        if need == 1 {
            return true;
        }
        let watches = &mut self.asks[id.index()].as_mut().expect("an ask is made ready before it is looked at").watches;
        let at = watches.iter().position(|(known, _)| *known == claim).unwrap_or_else(|| {
            watches.push((claim, Watch::default()));
            watches.len() - 1
        });
        let mut watch = std::mem::take(&mut watches[at].1);
        watch.fitting.resize(self.inventory.node_slots(), 0);
        match watch.change.and_then(|change| self.inventory.changed_since(change)) {
            Some(changed) => changed.for_each(|ix| watch.count(ix, self.fitting(id, ix, claim))),
            None => {
                let nodes = self.ask(id).group(&self.inventory).into_iter();
                let nodes = nodes.flat_map(|group| self.inventory.group_nodes(group));
                watch.fitting.fill(0);
                watch.total = 0;
                nodes.for_each(|ix| watch.count(ix, self.fitting(id, ix, claim)));
            }
        }
        watch.change = Some(self.inventory.change_count());
        let total = watch.total;
        self.asks[id.index()].as_mut().expect("looked at above").watches[at].1 = watch;
        total >= u64::from(need)
    }

    /// Places a task, at most so many workers.
    pub(super) fn place(
        &mut self,
        id: TaskId,
        ask: AskId,
        when: When,
        avoid: &[NodeIx],
        stand: &Stand,
    ) -> Option<Placement> {
        let (kinds, workers_most) = match when {
            When::Now => (&stand.now, stand.workers.0),
            When::Later => (&stand.later, stand.workers.1),
        };
        let may_cross_zones = self.may_cross_zones();
        let ready = &self.asks[ask.index()].as_ref().expect("an ask is made ready before it is looked at").ask;
        let within = Within { when, kinds, avoid, workers_most, may_cross_zones, salt: id.0 };
        let spoilt = self.nodes_avoided(id, avoid);
        if let Some(avoid) = &spoilt
            && let Some(places) = self.placer.place(&self.inventory, ready, &Within { avoid, ..within })
        {
            return Some(placement::named(&self.inventory, &places));
        }
        let places = self.placer.place(&self.inventory, ready, &within)?;
        Some(placement::named(&self.inventory, &places))
    }

    /// Nodes on which the task failed, besides those to avoid anyway; `None` if there are none.
    fn nodes_avoided(&self, id: TaskId, avoid: &[NodeIx]) -> Option<Vec<NodeIx>> {
        let spoilt = &self.task_ref(id).avoids;
        if spoilt.is_empty() {
            return None;
        }
        let mut nodes: Vec<NodeIx> = avoid.to_vec();
        nodes.extend(spoilt.iter().filter_map(|name| self.inventory.find(name)));
        nodes.sort_unstable();
        nodes.dedup();
        Some(nodes)
    }

    /// Brings the order of nodes up to date, so that a question about a gang need not look at all of them.
    pub(super) fn order_nodes(&mut self, ask: AskId, stand: &Stand) {
        let ask = &self.asks[ask.index()].as_ref().expect("an ask is made ready before it is looked at").ask;
        if ask.workers_min() > 1 {
            self.placer.prepare(&self.inventory, ask, &Within::anything(When::Later, &stand.later));
        }
    }

    /// What room may be made for, and where.
    pub(super) fn question<'a>(&'a self, ask: AskId, avoid: &'a [NodeIx], stand: &'a Stand) -> Question<'a> {
        let within = Within {
            when: When::Later,
            kinds: &stand.later,
            avoid,
            workers_most: stand.workers.1,
            may_cross_zones: self.may_cross_zones(),
            salt: 0,
        };
        let (inventory, ask) = (&self.inventory, self.ask(ask));
        Question {
            inventory,
            ask,
            policy: self.placer.policy(),
            within,
            order: self.placer.order(inventory, ask, &within),
        }
    }

    /// Whether one more run may have workers in several zones.
    pub(super) fn may_cross_zones(&self) -> bool {
        self.config.cross_zone_tasks.is_none_or(|most| self.crossing.len() < most as usize)
    }

    /// What a task lacks that has the right but no place.
    pub(super) fn missing(&mut self, ask: AskId) -> Want {
        let ready = &self.asks[ask.index()].as_ref().expect("an ask is made ready before it is looked at");
        if !self.inventory.has_group(&ready.spec.group) {
            Want::Group
        } else if self.placer.fits_empty(&self.inventory, &ready.ask) {
            Want::Room
        } else {
            Want::Nodes
        }
    }

    /// What an ask lacks, with the numbers, counted anew only where something changed.
    pub(super) fn lack(&mut self, ask: AskId) -> Lack {
        self.ready(ask);
        let ready = self.asks[ask.index()].as_mut().expect("made ready above");
        let tally = ready.tally.get_or_insert_with(|| Box::new(Tally::new(&ready.ask)));
        tally.sync(&self.inventory);
        tally.lack()
    }

    /// How a task stands at a level of its owner's right, as borrowed work with `borrows`.
    pub(super) fn stand(&mut self, id: TaskId, level: Priority, borrows: bool) -> Stand {
        let spec = Arc::clone(&self.task_ref(id).spec);
        let bucket = self.bucket_at(id, level);
        let all = KindSet::all();
        if !self.kinds_matter(&spec.request) {
            let each = Bill::of_charge(Charge::of_worker(spec.request.devices));
            let (standing, now, later) = self.stand_with(bucket, &each, &spec, borrows);
            return Stand { standing, now: all.clone(), later: all, workers: (now, later) };
        }
        let catalogue = self.inventory.catalogue();
        let kinds: SmallVec<[Kind; 4]> = self
            .inventory
            .group_kinds(&spec.group)
            .map(|kind| catalogue.kind(kind).clone())
            .filter(|kind| kind.suits(&spec.request))
            .collect();
        if kinds.is_empty() {
            // It is not its right that it lacks.
            let each = Bill::of_charge(Charge::of_worker(spec.request.devices));
            let (standing, now, later) = self.stand_with(bucket, &each, &spec, borrows);
            return Stand { standing, now: all.clone(), later: all, workers: (now, later) };
        }
        let mut stand = Stand { standing: Standing::Never, now: all.clone(), later: all, workers: (0, 0) };
        let mut allowed: SmallVec<[(Kind, bool); 4]> = SmallVec::new();
        for kind in kinds {
            let each = self.bill_of_worker(&spec.request, &kind);
            let (standing, now, later) = self.stand_with(bucket, &each, &spec, borrows);
            if better(standing, stand.standing) {
                stand.standing = standing;
            }
            if matches!(standing, Standing::Now | Standing::Later) {
                // What all kinds allow, so that any mix of them is within the right.
                let least = |known: u32, new: u32| if known == 0 { new } else { known.min(new) };
                stand.workers = (least(stand.workers.0, now), least(stand.workers.1, later));
                allowed.push((kind, standing == Standing::Now));
            }
        }
        let catalogue = self.inventory.catalogue();
        stand.now = KindSet::of(catalogue, |kind| allowed.iter().any(|(known, now)| *now && known == kind));
        stand.later = KindSet::of(catalogue, |kind| allowed.iter().any(|(known, _)| known == kind));
        stand
    }

    /// The standing of the fewest workers, and how many there may be now, and later.
    fn stand_with(&self, bucket: BucketIx, each: &Bill, spec: &TaskSpec, borrows: bool) -> (Standing, u32, u32) {
        let ask = |workers: u32| {
            let bill = each.times(workers);
            if !borrows {
                return self.book.standing(bucket, &bill);
            }
            match self.book.may_borrow(bucket, &bill) {
                Ok(()) => Standing::Now,
                Err(team) => Standing::TeamUsed(team),
            }
        };
        let least = spec.workers_min();
        let standing = ask(least);
        let most = |fits: &dyn Fn(Standing) -> bool| {
            if !fits(standing) {
                return 0;
            }
            // Fewer workers never need more.
            let (mut enough, mut too_many) = (least, spec.workers + 1);
            while enough + 1 < too_many {
                let middle = u32::midpoint(enough, too_many);
                if fits(ask(middle)) {
                    enough = middle;
                } else {
                    too_many = middle;
                }
            }
            enough
        };
        let now = most(&|standing| standing == Standing::Now);
        let later = most(&|standing| matches!(standing, Standing::Now | Standing::Later));
        (standing, now, later)
    }

    /// Whether what a worker is charged depends on the devices that it gets.
    pub(super) fn kinds_matter(&self, request: &WorkerRequest) -> bool {
        match request.devices {
            Devices::Count(0) => false,
            Devices::Memory(_) => true,
            _ => !self.config.weights.is_empty() || self.book.bounds_models(),
        }
    }

    /// What all workers of a task, the fewest, would use: with devices of each kind that its group has for it.
    pub(super) fn bills_asked(&self, spec: &TaskSpec) -> Vec<Bill> {
        let catalogue = self.inventory.catalogue();
        let kinds = self.inventory.group_kinds(&spec.group).map(|kind| catalogue.kind(kind));
        let kinds = kinds.filter(|kind| kind.suits(&spec.request) && self.kinds_matter(&spec.request));
        let mut bills: Vec<Bill> =
            kinds.map(|kind| self.bill_of_worker(&spec.request, kind).times(spec.workers_min())).collect();
        if bills.is_empty() {
            bills.push(Bill::of_charge(Charge::of(spec)));
        }
        bills
    }

    pub(super) fn bill_of_worker(&self, request: &WorkerRequest, kind: &Kind) -> Bill {
        // Nobody has a bound on what was never named.
        let model = self.book.find_model(&kind.model).unwrap_or(ModelIx::UNKNOWN);
        match request.devices {
            Devices::WholeNode => self.book.bill_of([Held::Node { models: &[model] }]),
            Devices::Count(count) => self.book.bill_of([Held::Device { model, milli: 1000 }]).times(count),
            Devices::Share(milli) => self.book.bill_of([Held::Device { model, milli }]),
            Devices::Memory(mib) => {
                let milli = mib.saturating_mul(1000).checked_div(kind.memory_mib).unwrap_or(1000).clamp(1, 1000);
                self.book.bill_of([Held::Device { model, milli: u32::try_from(milli).unwrap_or(1000) }])
            }
        }
    }
}

/// Whether a task would rather be told the first.
fn better(a: Standing, b: Standing) -> bool {
    let place = |standing: Standing| match standing {
        Standing::Now => 0,
        Standing::Later => 1,
        Standing::Used => 2,
        Standing::TeamUsed(_) => 3,
        Standing::Never => 4,
    };
    place(a) < place(b)
}
