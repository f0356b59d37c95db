//! How the GPUs of a machine are joined: NVLink as each end tells it, and PCIe as NVML sees the tree.

use std::collections::BTreeSet;

use hai_core::model::{DeviceLink, LinkKind};
use nvml_wrapper::enum_wrappers::device::TopologyLevel;
use nvml_wrapper::struct_wrappers::device::PciInfo;
use nvml_wrapper::{Device, Nvml};

/// NVML_NVLINK_MAX_LINKS of nvml.h.
const NVLINKS_MAX: u32 = 18;

/// A PCI address: domain, bus, device.
type Address = (u32, u32, u32);

/// One end: its own address, and what its active NVLinks lead to.
struct End {
    own: Option<Address>,
    remote: BTreeSet<Address>,
}

/// The closest link of each pair, by their places in `devices`, which are their indexes. What can not be asked is not
/// joined.
pub(super) fn links(nvml: &Nvml, devices: &[Option<Device<'_>>]) -> Vec<DeviceLink> {
    let ends: Vec<Option<End>> = devices.iter().map(|device| device.as_ref().map(End::of)).collect();
    let mut links = Vec::new();
    for b in 0..devices.len() {
        for a in 0..b {
            let (Some(one), Some(end), Some(far)) = (&devices[a], &ends[a], &ends[b]) else {
                continue;
            };
            let kind = if end.reaches(far) { Some(LinkKind::NvLink) } else { over_pcie(nvml, one, b) };
            if let (Some(kind), Ok(a), Ok(b)) = (kind, u8::try_from(a), u8::try_from(b)) {
                links.push(DeviceLink { a, b, kind });
            }
        }
    }
    links
}

impl End {
    fn of(device: &Device<'_>) -> Self {
        let mut remote = BTreeSet::new();
        for link in 0..NVLINKS_MAX {
            let link = device.link_wrapper_for(link);
            match link.is_active() {
                Ok(true) => remote.extend(link.remote_pci_info().ok().as_ref().map(address)),
                Ok(false) => {}
                // Whoever does not know its first link knows none.
                Err(_) => break,
            }
        }
        End { own: device.pci_info().ok().as_ref().map(address), remote }
    }

    /// Straight, or over a switch that both are plugged into. (Which of the two it is, the library's wrapper can not
    /// tell: its answer for the kind of the far end is always "unknown".)
    fn reaches(&self, other: &End) -> bool {
        let straight = |end: &End, far: &End| far.own.is_some_and(|own| end.remote.contains(&own));
        straight(self, other) || straight(other, self) || self.remote.intersection(&other.remote).next().is_some()
    }
}

fn address(pci: &PciInfo) -> Address {
    (pci.domain, pci.bus, pci.device)
}

fn over_pcie(nvml: &Nvml, one: &Device<'_>, other: usize) -> Option<LinkKind> {
    let other = nvml.device_by_index(u32::try_from(other).ok()?).ok()?;
    match one.topology_common_ancestor(other).ok()? {
        TopologyLevel::Internal | TopologyLevel::Single | TopologyLevel::Multiple => Some(LinkKind::PcieSwitch),
        TopologyLevel::HostBridge => Some(LinkKind::HostBridge),
        TopologyLevel::Node => Some(LinkKind::Numa),
        TopologyLevel::System => None,
    }
}
