//! One machine, who is on it, and what is left of it.

use std::borrow::Cow;

use super::kind::{MakeIx, SiteIx};
use super::room::{Room, Take};
use super::topology::Path;
use super::{GroupIx, NodeIx};
use crate::model::{NodeSpec, RunId, Time};

/// Whether a part of a node is held for good, until its holder has left, or not before others have left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reserved or executing.
    Staying,
    /// Told to leave.
    Vacating,
    /// Set aside for a run that has not started.
    Promised,
}

/// Which room of a node is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum When {
    /// What is free and promised to nobody.
    Now,
    /// What is free and promised to nobody once everybody who is leaving has left.
    Later,
}

/// One worker's part of a node.
#[derive(Clone, Copy, Debug)]
pub struct Hold {
    /// The run.
    pub run: RunId,
    /// Its part.
    pub take: Take,
    /// Which worker.
    pub rank: u32,
    /// For how long.
    pub stage: Stage,
}

/// One machine and who is on it.
#[derive(Clone, Debug)]
pub struct Node {
    pub(super) spec: NodeSpec,
    pub(super) ix: NodeIx,
    pub(super) group: GroupIx,
    pub(super) make: MakeIx,
    pub(super) site: SiteIx,
    pub(super) path: Path,
    /// All its devices are well.
    pub(super) all_well: bool,
    /// Its healthy devices, one bit each.
    pub(super) healthy: u64,
    /// It was removed; it is kept only until the last worker on it has ended.
    pub(super) gone: bool,
    /// It gets no new work before then, or before it is released.
    pub(super) cooling: Option<Time>,
    pub(super) holds: Vec<Hold>,
    pub(super) now: Room,
    pub(super) later: Room,
}

impl Node {
    /// The node as the cluster described it.
    #[must_use]
    pub fn spec(&self) -> &NodeSpec {
        &self.spec
    }

    /// Its place in the table.
    #[must_use]
    pub fn ix(&self) -> NodeIx {
        self.ix
    }

    /// Its group.
    #[must_use]
    pub fn group(&self) -> GroupIx {
        self.group
    }

    /// Its make.
    #[must_use]
    pub fn make(&self) -> MakeIx {
        self.make
    }

    /// Its site.
    #[must_use]
    pub fn site(&self) -> SiteIx {
        self.site
    }

    /// Where it is in the network.
    #[must_use]
    pub fn path(&self) -> Path {
        self.path
    }

    /// Whether all its devices are healthy.
    #[must_use]
    pub fn all_well(&self) -> bool {
        self.all_well
    }

    /// New work may be placed here.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.spec.takes_new_work() && !self.gone && self.cooling.is_none()
    }

    /// What runs here may stay.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.spec.ready && !self.gone
    }

    /// It was removed from the cluster.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.gone
    }

    /// Until when it was said to get no new work; see [`super::Inventory::cool`].
    #[must_use]
    pub fn cooling(&self) -> Option<Time> {
        self.cooling
    }

    /// Everybody on it.
    #[must_use]
    pub fn holds(&self) -> &[Hold] {
        &self.holds
    }

    /// What is free now and not promised.
    #[must_use]
    pub fn room_now(&self) -> Room {
        self.now.and(&self.later)
    }

    /// What will be free once everybody who is leaving has left, and is not promised.
    #[must_use]
    pub fn room_later(&self) -> Room {
        self.later.clone()
    }

    /// What is free then.
    #[must_use]
    pub fn room_at(&self, when: When) -> Cow<'_, Room> {
        match when {
            When::Now if self.now != self.later => Cow::Owned(self.room_now()),
            When::Now | When::Later => Cow::Borrowed(&self.later),
        }
    }

    /// What would be free later if the runs for which `leaves` is true left too.
    #[must_use]
    pub fn room_later_without(&self, leaves: impl Fn(RunId) -> bool) -> Room {
        self.room(|hold| hold.stage != Stage::Vacating && !leaves(hold.run))
    }

    /// What nobody holds at this moment, promises left aside.
    #[must_use]
    pub fn room_unheld(&self) -> Room {
        self.now.clone()
    }

    fn room(&self, counts: impl Fn(&Hold) -> bool) -> Room {
        let mut room = Room::with_devices(&self.spec, self.healthy);
        self.holds.iter().filter(|hold| counts(hold)).for_each(|hold| room.subtract(&hold.take));
        room
    }

    pub(super) fn recount(&mut self) {
        self.now = self.room(|hold| hold.stage != Stage::Promised);
        self.later = self.room(|hold| hold.stage != Stage::Vacating);
    }

    /// Whether what is held at this moment, promises left aside, is more than there is of a device: a device that two
    /// have whole, one that is whole and shared, or one whose parts are more than it. The memory of a device that was
    /// described anew since its parts were given out says nothing.
    #[must_use]
    pub fn is_overcommitted(&self) -> bool {
        let mut whole = 0_u64;
        let mut parts = [(0_u64, 0_u64); 64];
        let mut as_given = [true; 64];
        let has = |device: usize| self.spec.devices.get(device).map_or(0, |device| device.memory_mib);
        for hold in self.holds.iter().filter(|hold| hold.stage != Stage::Promised) {
            match hold.take.part() {
                None if whole & hold.take.devices != 0 => return true,
                None => whole |= hold.take.devices,
                Some(part) => {
                    for device in super::links::bits(hold.take.devices) {
                        let all = has(usize::from(device));
                        let by_memory = (part.memory_mib * 1000).checked_div(all).unwrap_or(0).clamp(1, 1000);
                        let by_share = all * u64::from(part.milli) / 1000;
                        let fits = by_memory == u64::from(part.milli) || by_share == part.memory_mib;
                        as_given[usize::from(device)] &= fits && part.memory_mib <= all;
                        let (milli, memory_mib) = &mut parts[usize::from(device)];
                        *milli += u64::from(part.milli);
                        *memory_mib += part.memory_mib;
                    }
                }
            }
        }
        parts.iter().enumerate().any(|(device, &(milli, memory_mib))| {
            let too_much = as_given[device] && memory_mib > has(device);
            milli > 0 && (whole & (1 << device) != 0 || milli > 1000 || too_much)
        })
    }
}
