//! What NVML says of a machine at one moment, as plain data.

use hai_core::model::{DeviceLink, DeviceSpec, LinkKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::health::Signals;

/// All GPUs of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The driver's version.
    pub driver: Option<String>,
    /// The GPUs, in the order of their index.
    pub gpus: Vec<GpuReading>,
    /// How they are joined, by their place in `gpus`; pairs that only meet over the whole machine are left out.
    pub links: Vec<DeviceLink>,
    /// What could not be found out at all, in words.
    pub notes: Vec<String>,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuReading {
    /// What it is. Its health is not looked at here.
    pub spec: DeviceSpec,
    /// Its address, e.g. `0000:3b:00.0`.
    pub pci: Option<String>,
    /// The NUMA node that is closest to it.
    pub numa_node: Option<u32>,
    /// What its hardware says.
    pub signals: Signals,
    /// How it is used; of a split GPU, without processes.
    pub usage: Usage,
    /// Its slices, if it is split (MIG); then they are given out in its place.
    pub slices: Option<Vec<SliceReading>>,
}

/// One slice of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SliceReading {
    /// What it is.
    pub spec: DeviceSpec,
    /// How it is used.
    pub usage: Usage,
}

/// How a device is used at one moment, as far as it tells.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Usage {
    /// Memory that is used, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_mib: Option<u64>,
    /// The part of the last moment in which anything ran on it, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utilisation_percent: Option<u32>,
    /// What it draws, in milliwatts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_mw: Option<u32>,
    /// How hot it is, in °C.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<u32>,
    /// How hot it may become before it slows down, in °C.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowdown_c: Option<u32>,
    /// Who uses it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub processes: Vec<Process>,
}

/// A process that uses a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct Process {
    /// Its number, as NVML tells it: that of the machine.
    pub pid: u32,
    /// What the system calls it, if it can be seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Device memory that it holds, in MiB, if that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// It computes; else it draws.
    pub computes: bool,
    /// It is one of hai's workers, or was started by one.
    #[serde(default)]
    pub ours: bool,
}

impl Reading {
    /// The devices that can be given out, GPUs or slices, in the order in which a node lists them, each with the place
    /// of its GPU.
    pub fn devices(&self) -> impl Iterator<Item = (usize, &DeviceSpec, &Usage)> {
        self.gpus.iter().enumerate().flat_map(|(place, gpu)| {
            let whole = gpu.slices.is_none().then_some((place, &gpu.spec, &gpu.usage));
            let slices = gpu.slices.iter().flatten().map(move |slice| (place, &slice.spec, &slice.usage));
            whole.into_iter().chain(slices)
        })
    }

    /// The links between those devices. Slices have none: they can not reach each other's memory.
    #[must_use]
    pub fn device_links(&self) -> Vec<DeviceLink> {
        let mut places: Vec<Option<u8>> = vec![None; self.gpus.len()];
        for (index, (gpu, ..)) in self.devices().enumerate() {
            if self.gpus[gpu].slices.is_none() {
                places[gpu] = u8::try_from(index).ok();
            }
        }
        let place = |gpu: u8| places.get(usize::from(gpu)).copied().flatten();
        let joined = |link: &DeviceLink| Some(DeviceLink { a: place(link.a)?, b: place(link.b)?, kind: link.kind });
        self.links.iter().filter_map(joined).collect()
    }
}

/// `NVLink`
#[must_use]
pub fn link_word(kind: LinkKind) -> &'static str {
    match kind {
        LinkKind::NvLink => "NVLink",
        LinkKind::PcieSwitch => "a PCIe switch",
        LinkKind::HostBridge => "a PCIe host bridge",
        LinkKind::Numa => "a NUMA node",
    }
}
