//! A request made ready for looking at many nodes: what it thinks of each make and each site is worked out once.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use rustc_hash::FxHasher;
use smallvec::SmallVec;

use crate::inventory::{
    GroupIx, Inventory, KindSet, MILLI_PER_DEVICE, Make, MakeIx, Node, NodeIx, Room, SiteIx, narrow,
};
use crate::model::{
    Arrangement, Constraints, DevicePart, Devices, GroupName, ModelName, TaskSpec, WORKERS_MAX, WorkerRequest,
};

/// Everything about a task that decides which nodes its workers may have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    pub(crate) group: GroupName,
    pub(crate) request: WorkerRequest,
    pub(crate) constraints: Constraints,
    pub(crate) tolerates: BTreeSet<String>,
    /// No two workers on one node.
    pub(crate) apart: bool,
    pub(crate) gang: bool,
}

/// A compiled request.
///
/// Makes and sites that appear later are looked at one by one until [`Ask::refresh`] takes them in.
#[derive(Clone, Debug)]
pub struct Ask {
    shape: Arc<Shape>,
    /// As far as it was known when the ask was last refreshed.
    group: Option<GroupIx>,
    hash: u64,
    workers: u32,
    workers_min: u32,
    makes: Vec<MakeFit>,
    sites: Vec<bool>,
}

/// What a request thinks of the nodes of one make.
#[derive(Clone, Debug)]
pub struct MakeFit {
    /// Devices of kinds that will do, one bit each.
    pub accepted: u64,
    /// The same, the best-liked and among those the least precious first.
    tiers: SmallVec<[Tier; 1]>,
    /// Whether all its devices are of kinds that will do for a whole node.
    whole: bool,
}

/// Devices that are liked equally and have the same memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tier {
    /// How far down the list of preferences they stand; 0 for the best.
    pub(crate) liking: u8,
    pub(crate) memory_mib: u32,
    pub(crate) devices: u64,
}

impl Ask {
    /// What `spec` asks for.
    #[must_use]
    pub fn of(inventory: &Inventory, spec: &TaskSpec) -> Self {
        let shape = Shape {
            group: spec.group.clone(),
            request: spec.request.clone(),
            constraints: spec.constraints.as_deref().cloned().unwrap_or_default(),
            tolerates: spec.tolerates.clone(),
            apart: spec.distinct_nodes || spec.request.devices == Devices::WholeNode,
            gang: spec.workers > 1,
        };
        let mut hasher = FxHasher::default();
        shape.hash(&mut hasher);
        let workers = spec.workers.clamp(1, WORKERS_MAX);
        let mut ask = Ask {
            shape: Arc::new(shape),
            group: None,
            hash: hasher.finish(),
            workers,
            workers_min: spec.workers_min().clamp(1, workers),
            makes: Vec::new(),
            sites: Vec::new(),
        };
        ask.refresh(inventory);
        ask
    }

    /// Takes in makes and sites that have appeared since.
    pub fn refresh(&mut self, inventory: &Inventory) {
        if self.group.is_none() {
            self.group = inventory.find_group(&self.shape.group);
        }
        let catalogue = inventory.catalogue();
        for make in catalogue.makes().skip(self.makes.len()) {
            self.makes.push(self.look_at_make(inventory, make));
        }
        for site in catalogue.sites().skip(self.sites.len()) {
            self.sites.push(self.shape.allows(site));
        }
    }

    /// The group whose nodes it may have; `None` if no node ever belonged to it.
    #[must_use]
    pub fn group(&self, inventory: &Inventory) -> Option<GroupIx> {
        self.group.or_else(|| inventory.find_group(&self.shape.group))
    }

    /// What each worker needs.
    #[must_use]
    pub fn request(&self) -> &WorkerRequest {
        &self.shape.request
    }

    /// Where workers may be.
    #[must_use]
    pub fn constraints(&self) -> &Constraints {
        &self.shape.constraints
    }

    /// How many workers there are at most.
    #[must_use]
    pub fn workers(&self) -> u32 {
        self.workers
    }

    /// How many workers there are at least.
    #[must_use]
    pub fn workers_min(&self) -> u32 {
        self.workers_min
    }

    /// Whether no two workers may be on one node.
    #[must_use]
    pub fn is_apart(&self) -> bool {
        self.shape.apart
    }

    /// Whether it makes a difference which node the other workers are on.
    #[must_use]
    pub(crate) fn is_tied(&self) -> bool {
        let constraints = self.constraints();
        self.workers > 1 && (constraints.one_leaf || constraints.one_zone)
    }

    pub(crate) fn spreads(&self) -> bool {
        self.constraints().arrangement == Arrangement::Spread
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// Whether both ask for the same, numbers of workers left aside.
    pub(crate) fn is_like(&self, other: &Ask) -> bool {
        Arc::ptr_eq(&self.shape, &other.shape) || self.shape == other.shape
    }

    /// Whether the node may get new workers of the task, room left aside.
    #[must_use]
    pub fn allows(&self, inventory: &Inventory, node: &Node) -> bool {
        node.is_usable() && self.group(inventory) == Some(node.group()) && self.allows_site(inventory, node.site())
    }

    pub(crate) fn allows_site(&self, inventory: &Inventory, site: SiteIx) -> bool {
        match self.sites.get(site.index()) {
            Some(&allows) => allows,
            None => self.shape.allows(inventory.catalogue().site(site)),
        }
    }

    /// Cheaper still, since the node is not looked at: false only if no worker fits on it, now or later.
    #[must_use]
    pub fn may_fit_on(&self, inventory: &Inventory, ix: NodeIx) -> bool {
        match self.shape.request.devices {
            Devices::Count(count) => inventory.free_later(ix) >= count,
            Devices::WholeNode | Devices::Share(_) | Devices::Memory(_) => true,
        }
    }

    /// Cheap: false only if no worker fits in so much room on whatever node.
    #[must_use]
    pub fn may_fit_in(&self, room: &Room) -> bool {
        match self.shape.request.devices {
            Devices::Count(count) => room.devices.count_ones() >= count && !room.taken_whole,
            Devices::WholeNode => room.workers == 0,
            Devices::Share(_) | Devices::Memory(_) => true,
        }
    }

    /// What it thinks of a make.
    #[must_use]
    pub fn fit(&self, inventory: &Inventory, make: MakeIx) -> Cow<'_, MakeFit> {
        match self.makes.get(make.index()) {
            Some(known) => Cow::Borrowed(known),
            None => Cow::Owned(self.look_at_make(inventory, inventory.catalogue().make(make))),
        }
    }

    fn look_at_make(&self, inventory: &Inventory, make: &Make) -> MakeFit {
        let request = &self.shape.request;
        let mut tiers: SmallVec<[Tier; 1]> = SmallVec::new();
        for &(kind, devices) in make.kinds() {
            let kind = inventory.catalogue().kind(kind);
            if !kind.suits(request) {
                continue;
            }
            let liking = u8::try_from(request.preference(&kind.model)).unwrap_or(u8::MAX);
            let memory_mib = narrow(kind.memory_mib);
            match tiers.iter_mut().find(|tier| tier.liking == liking && tier.memory_mib == memory_mib) {
                Some(tier) => tier.devices |= devices,
                None => tiers.push(Tier { liking, memory_mib, devices }),
            }
        }
        tiers.sort_by_key(|tier| (tier.liking, tier.memory_mib));
        let accepted = tiers.iter().fold(0, |mask, tier| mask | tier.devices);
        // A picky request wants devices, all of them of its kind.
        let whole = !request.is_picky() || (!make.is_empty() && accepted.count_ones() as usize == make.len());
        MakeFit { accepted, tiers, whole }
    }

    /// What a part takes of a device with so much memory; `None` if no part is asked for.
    #[must_use]
    pub fn part(&self, memory_mib: u32) -> Option<DevicePart> {
        part_of(self.shape.request.devices, memory_mib.into())
    }

    /// Whether all its devices must be of one model and that is more than one device.
    pub(crate) fn wants_one_model(&self) -> bool {
        let several = self.workers > 1
            || !matches!(self.shape.request.devices, Devices::Count(1) | Devices::Share(_) | Devices::Memory(_));
        self.shape.request.same_model && several && self.shape.request.devices != Devices::Count(0)
    }

    /// The models that would do, the best-liked and among those the least precious first, each with its kinds.
    pub(crate) fn models(&self, inventory: &Inventory) -> Vec<KindSet> {
        let request = &self.shape.request;
        let mut models: Vec<(usize, u64, &ModelName)> = Vec::new();
        for (_, kind) in inventory.catalogue().kinds().filter(|(_, kind)| kind.suits(request)) {
            match models.iter_mut().find(|(_, _, model)| **model == kind.model) {
                Some((_, memory_mib, _)) => *memory_mib = kind.memory_mib.min(*memory_mib),
                None => models.push((request.preference(&kind.model), kind.memory_mib, &kind.model)),
            }
        }
        models.sort();
        models.iter().map(|(_, _, model)| KindSet::of(inventory.catalogue(), |kind| kind.model == **model)).collect()
    }

    /// The kinds whose models are among the `count` best-liked.
    pub(crate) fn liked(&self, inventory: &Inventory, count: usize) -> KindSet {
        let models = &self.shape.request.models;
        KindSet::of(inventory.catalogue(), |kind| models.iter().take(count).any(|model| *model == kind.model))
    }
}

/// What a request takes of a device with so much memory; `None` if it asks for no part.
#[must_use]
pub fn part_of(devices: Devices, memory_mib: u64) -> Option<DevicePart> {
    let whole = u64::from(MILLI_PER_DEVICE);
    let memory_mib = u64::from(narrow(memory_mib));
    match devices {
        Devices::Share(milli) => {
            let milli = milli.clamp(1, MILLI_PER_DEVICE);
            Some(DevicePart { milli, memory_mib: memory_mib * u64::from(milli) / whole })
        }
        Devices::Memory(mib) => {
            let mib = u64::from(narrow(mib));
            let milli = (mib * whole).checked_div(memory_mib).unwrap_or(whole).clamp(1, whole);
            Some(DevicePart { milli: u32::try_from(milli).unwrap_or(MILLI_PER_DEVICE), memory_mib: mib })
        }
        Devices::WholeNode | Devices::Count(_) => None,
    }
}

impl Shape {
    fn allows(&self, site: &crate::inventory::Site) -> bool {
        let zones = &self.constraints.zones;
        site.taints.is_subset(&self.tolerates)
            && self.constraints.labels.iter().all(|(label, value)| site.labels.get(label) == Some(value))
            && (zones.is_empty() || site.zone.as_ref().is_some_and(|zone| zones.contains(zone)))
    }
}

impl MakeFit {
    pub(crate) fn tiers(&self) -> &[Tier] {
        &self.tiers
    }

    /// Whether a whole node of the make will do.
    pub(crate) fn whole(&self) -> bool {
        self.whole
    }
}
