//! Kinds of devices, makes of nodes and sites: every description that occurs is kept once and spoken of by number.
//!
//! A cluster of ten thousand nodes has a handful of kinds and makes. What a request thinks of them is worked out once
//! per make instead of once per node.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;
use smallvec::SmallVec;

use super::links::Links;
use crate::model::{
    ComputeCapability, DEVICES_PER_NODE_MAX, DeviceSpec, Devices, MigProfile, ModelName, NodeSpec, PlaceName,
    WorkerRequest,
};

/// The number of a kind of device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KindIx(u32);

/// What makes devices interchangeable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// The model.
    pub model: ModelName,
    /// Its memory in MiB.
    pub memory_mib: u64,
    /// The profile, if it is a slice.
    pub mig_profile: Option<MigProfile>,
    /// What it can compute.
    pub compute_capability: Option<ComputeCapability>,
}

/// A set of kinds of devices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KindSet {
    /// One bit per kind, by number.
    bits: SmallVec<[u64; 2]>,
    /// Whether kinds beyond the bits belong to it.
    beyond: bool,
}

/// The number of a make of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MakeIx(u32);

/// What nodes with the same devices, joined in the same way, have in common.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Make {
    /// The kinds of its devices, each with the devices of that kind, one bit each.
    kinds: SmallVec<[(KindIx, u64); 1]>,
    /// The memory of each device, in MiB; what a `u32` can not hold counts as its greatest value.
    memory_mib: SmallVec<[u32; 8]>,
    /// How the devices are joined.
    links: Links,
}

/// The number of a site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteIx(u32);

/// What decides whether a node will do for a task, devices left aside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Site {
    /// Its taints.
    pub taints: BTreeSet<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its zone.
    pub zone: Option<PlaceName>,
}

/// All descriptions that occurred. They only grow in number: a cluster has few, and a number stays true.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    kinds: IndexSet<Kind, FxBuildHasher>,
    makes: IndexSet<Make, FxBuildHasher>,
    sites: IndexSet<Site, FxBuildHasher>,
}

/// The number of the last entry, given how many there were before it.
fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 2^32 descriptions, each of which takes memory")
}

impl Kind {
    /// The kind of a device.
    #[must_use]
    pub fn of(device: &DeviceSpec) -> Self {
        Kind {
            model: device.model.clone(),
            memory_mib: device.memory_mib,
            mig_profile: device.mig_profile.clone(),
            compute_capability: device.compute_capability,
        }
    }

    /// Whether a request will do with such a device; says nothing about health or use.
    #[must_use]
    pub fn suits(&self, request: &WorkerRequest) -> bool {
        let large_enough = match request.devices {
            Devices::Memory(mib) => self.memory_mib >= mib,
            _ => true,
        };
        // A slice is given out as a whole: it was cut to size by the operator.
        let divisible = !request.devices.is_part() || self.mig_profile.is_none();
        large_enough
            && divisible
            && self.memory_mib >= request.device_memory_mib
            && (request.models.is_empty() || request.models.contains(&self.model))
            && !request.forbidden_models.contains(&self.model)
            && self.mig_profile == request.mig_profile
            && request.compute_capability.is_none_or(|least| self.compute_capability.is_some_and(|has| has >= least))
    }
}

impl KindIx {
    /// The number itself.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl MakeIx {
    /// The number itself.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl SiteIx {
    /// The number itself.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl Default for KindSet {
    fn default() -> Self {
        Self::all()
    }
}

impl KindSet {
    /// Every kind, also those that are not known yet.
    #[must_use]
    pub fn all() -> Self {
        KindSet { bits: SmallVec::new(), beyond: true }
    }

    /// The kinds known to `catalogue` for which `belongs` is true.
    #[must_use]
    pub fn of(catalogue: &Catalogue, belongs: impl Fn(&Kind) -> bool) -> Self {
        let mut set = KindSet { bits: SmallVec::new(), beyond: false };
        for (at, kind) in catalogue.kinds.iter().enumerate() {
            if at % 64 == 0 {
                set.bits.push(0);
            }
            if belongs(kind)
                && let Some(last) = set.bits.last_mut()
            {
                *last |= 1 << (at % 64);
            }
        }
        set
    }

    /// Whether every kind belongs to it.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.beyond && self.bits.iter().all(|&bits| bits == u64::MAX)
    }

    /// Whether a kind belongs to it.
    #[must_use]
    pub fn contains(&self, kind: KindIx) -> bool {
        self.bits.get(kind.index() / 64).map_or(self.beyond, |bits| bits & (1 << (kind.index() % 64)) != 0)
    }

    /// The kinds that belong to both.
    #[must_use]
    pub fn and(&self, other: &KindSet) -> KindSet {
        let len = self.bits.len().max(other.bits.len());
        let part =
            |set: &KindSet, at: usize| set.bits.get(at).copied().unwrap_or(if set.beyond { u64::MAX } else { 0 });
        KindSet {
            bits: (0..len).map(|at| part(self, at) & part(other, at)).collect(),
            beyond: self.beyond && other.beyond,
        }
    }
}

impl Make {
    /// How many devices a node of this make has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.memory_mib.len()
    }

    /// Whether it has no devices.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.memory_mib.is_empty()
    }

    /// The kinds of its devices, each with the devices of that kind, one bit each.
    #[must_use]
    pub fn kinds(&self) -> &[(KindIx, u64)] {
        &self.kinds
    }

    /// The memory of a device in MiB; none for one that is not.
    #[must_use]
    pub fn memory_mib(&self, device: u8) -> u32 {
        self.memory_mib.get(usize::from(device)).copied().unwrap_or(0)
    }

    /// The most memory that one of its devices has, in MiB.
    #[must_use]
    pub fn memory_mib_max(&self) -> u32 {
        self.memory_mib.iter().copied().max().unwrap_or(0)
    }

    /// How its devices are joined.
    #[must_use]
    pub fn links(&self) -> &Links {
        &self.links
    }

    /// The devices whose kind belongs to a set, one bit each.
    #[must_use]
    pub fn devices_of(&self, kinds: &KindSet) -> u64 {
        self.kinds.iter().filter(|(kind, _)| kinds.contains(*kind)).fold(0, |mask, (_, devices)| mask | devices)
    }
}

impl Catalogue {
    pub(super) fn make_of(&mut self, spec: &NodeSpec) -> MakeIx {
        let mut kinds: SmallVec<[(KindIx, u64); 1]> = SmallVec::new();
        let mut memory_mib = SmallVec::new();
        for (at, device) in spec.devices.iter().enumerate().take(DEVICES_PER_NODE_MAX) {
            let ix = KindIx(number(self.kinds.insert_full(Kind::of(device)).0));
            match kinds.iter_mut().find(|(kind, _)| *kind == ix) {
                Some((_, devices)) => *devices |= 1 << at,
                None => kinds.push((ix, 1 << at)),
            }
            memory_mib.push(narrow(device.memory_mib));
        }
        let links = Links::of(spec);
        MakeIx(number(self.makes.insert_full(Make { kinds, memory_mib, links }).0))
    }

    pub(super) fn site_of(&mut self, spec: &NodeSpec) -> SiteIx {
        let site = Site { taints: spec.taints.clone(), labels: spec.labels.clone(), zone: spec.location.zone.clone() };
        SiteIx(number(self.sites.insert_full(site).0))
    }

    /// All kinds, by number.
    pub fn kinds(&self) -> impl ExactSizeIterator<Item = (KindIx, &Kind)> + '_ {
        self.kinds.iter().enumerate().map(|(at, kind)| (KindIx(number(at)), kind))
    }

    /// All makes, by number.
    pub fn makes(&self) -> impl ExactSizeIterator<Item = &Make> + '_ {
        self.makes.iter()
    }

    /// All sites, by number.
    pub fn sites(&self) -> impl ExactSizeIterator<Item = &Site> + '_ {
        self.sites.iter()
    }

    /// A kind.
    ///
    /// # Panics
    /// If it is of another catalogue.
    #[must_use]
    pub fn kind(&self, ix: KindIx) -> &Kind {
        &self.kinds[ix.index()]
    }

    /// A make.
    ///
    /// # Panics
    /// If it is of another catalogue.
    #[must_use]
    pub fn make(&self, ix: MakeIx) -> &Make {
        &self.makes[ix.index()]
    }

    /// A site.
    ///
    /// # Panics
    /// If it is of another catalogue.
    #[must_use]
    pub fn site(&self, ix: SiteIx) -> &Site {
        &self.sites[ix.index()]
    }
}

/// MiB in 32 bits: four pebibytes and more count as just below that.
#[must_use]
pub(crate) fn narrow(memory_mib: u64) -> u32 {
    u32::try_from(memory_mib).unwrap_or(u32::MAX)
}
