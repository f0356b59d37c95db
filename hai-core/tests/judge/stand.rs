//! How a task stands to rights before it has a place: what it uses depends on the devices that it gets.

use std::collections::BTreeSet;

use hai_core::model::*;

use super::books::{Books, Holder};
use super::rights::{Bill, Kind};

/// Kinds of devices; `None` for all.
pub(crate) type Kinds = Option<BTreeSet<Kind>>;

pub(crate) fn kind_of(device: &DeviceSpec) -> Kind {
    (device.model.clone(), device.memory_mib)
}

impl Books {
    /// Whether what a worker of the task uses depends on the devices that it gets.
    pub(crate) fn kinds_matter(&self, spec: &TaskSpec) -> bool {
        match spec.request.devices {
            Devices::Count(0) => false,
            Devices::Memory(_) => true,
            _ => !self.config.weights.is_empty() || self.rights.keys().any(|key| key.model.is_some()),
        }
    }

    /// The kinds of devices that the task's group has, and that would do for it.
    fn kinds_for(&self, spec: &TaskSpec) -> BTreeSet<Kind> {
        let devices = self.group_nodes(spec).flat_map(|node| &node.devices);
        devices.filter(|device| spec.request.accepts(device)).map(kind_of).collect()
    }

    /// The kinds of which alone the task's fewest workers could take all, if what they use `may` be; `None` if nothing.
    fn kinds_that(&self, spec: &TaskSpec, may: impl Fn(&Bill) -> bool) -> Option<Kinds> {
        let least = spec.workers_min();
        let kinds = if self.kinds_matter(spec) { self.kinds_for(spec) } else { BTreeSet::new() };
        if kinds.is_empty() {
            return may(&Bill::of(Charge::of(spec))).then_some(None);
        }
        let fine = |kind: &Kind| may(&self.bill_of_kind(&spec.request, kind).times(least));
        let fine: BTreeSet<Kind> = kinds.into_iter().filter(fine).collect();
        (!fine.is_empty()).then_some(Some(fine))
    }

    /// With which kinds the task is within its owner's right at a level, beside those for whom `counts` is true.
    pub(crate) fn stands(&self, id: TaskId, level: Priority, counts: impl Fn(Holder) -> bool) -> Option<Kinds> {
        let bucket = self.bucket(id, level);
        self.kinds_that(self.spec(id), |bill| self.within(&bucket, bill, &counts))
    }

    /// The same for what it would borrow. An `AUTO` task borrows at the lowest level.
    pub(crate) fn stands_borrowed(&self, id: TaskId, counts: impl Fn(Holder) -> bool) -> Option<Kinds> {
        let level = Some(self.spec(id).priority).filter(|level| *level != Priority::Auto).unwrap_or(Priority::Low);
        let bucket = self.bucket(id, level);
        self.kinds_that(self.spec(id), |bill| self.may_borrow(&bucket, bill.charge, &counts))
    }

    /// Whether its owner has a right that would be enough if nothing were used.
    pub(crate) fn has_right(&self, id: TaskId) -> bool {
        Self::levels(self.spec(id)).into_iter().any(|level| self.stands(id, level, |_| false).is_some())
    }
}
