//! NVIDIA's management library: what GPUs, or slices of them, this machine has, and how they are.
//!
//! See [`open`] and [`Reader`] for the primary entry points. The library is loaded at run time; a machine without it has
//! no devices. Whatever a GPU, or an old driver, can not tell is left out; one bad GPU never hides another.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;

use hai_core::model::{ComputeCapability, DeviceId, DeviceSpec, MigProfile, ModelName};
use nvml_wrapper::bitmasks::device::ThrottleReasons;
use nvml_wrapper::enum_wrappers::device::{EccCounter, MemoryError, TemperatureSensor, TemperatureThreshold};
use nvml_wrapper::enums::device::{SampleValue, UsedGpuMemory};
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::struct_wrappers::device::ProcessInfo;
use nvml_wrapper::structs::device::FieldId;
use nvml_wrapper::{Device, Nvml};

use super::health::Signals;
use super::links::links;
use super::reading::{GpuReading, Process, Reading, SliceReading, Usage};

/// What the vendor calls its devices, before what people call them.
const PREFIXES: [&str; 2] = ["NVIDIA ", "GeForce "];
/// As in nvml.h: the device is split into slices.
const MIG_ENABLED: u32 = 1;
/// NVML_FI_DEV_REMAPPED_FAILURE of nvml.h: a broken row of memory could not be replaced.
const REMAP_FAILED: FieldId = FieldId(145);

/// The library is there but does not do its work, e.g. because the driver is not loaded.
#[derive(Debug, thiserror::Error)]
#[error("NVIDIA's management library answers: {0}; see whether `nvidia-smi` works")]
pub struct DetectError(#[from] NvmlError);

/// Loads the system's library, or the one at `path`; `None` if there is none. Blocks.
///
/// # Errors
/// [`DetectError`] if the library is there but can not be used.
pub fn open(path: Option<&OsStr>) -> Result<Option<Nvml>, DetectError> {
    let loaded = match path {
        Some(path) => Nvml::builder().lib_path(path).init(),
        None => match Nvml::init() {
            // Without the development package there is only the versioned name.
            Err(NvmlError::LibloadingError(_)) => Nvml::builder().lib_path("libnvidia-ml.so.1".as_ref()).init(),
            result => result,
        },
    };
    match loaded {
        Ok(nvml) => Ok(Some(nvml)),
        Err(NvmlError::LibloadingError(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads all GPUs, as often as it is asked. It remembers which they are, so that one that falls off the bus is still
/// known by its name.
#[derive(Debug)]
pub struct Reader<'nvml> {
    nvml: &'nvml Nvml,
    known: BTreeMap<u32, Known>,
}

/// What does not change about a GPU.
#[derive(Clone, Debug)]
struct Known {
    spec: DeviceSpec,
    pci: Option<String>,
    numa_node: Option<u32>,
}

impl<'nvml> Reader<'nvml> {
    /// A reader that knows nothing yet.
    #[must_use]
    pub fn new(nvml: &'nvml Nvml) -> Self {
        Reader { nvml, known: BTreeMap::new() }
    }

    /// Reads all there is; `xids` are those that came for each GPU since the last time. Blocks for some milliseconds.
    ///
    /// # Errors
    /// [`DetectError`] if not even the number of GPUs can be told.
    pub fn read(&mut self, xids: &BTreeMap<DeviceId, Vec<u64>>) -> Result<Reading, DetectError> {
        let count = self.nvml.device_count()?;
        let mut reading = Reading { driver: self.nvml.sys_driver_version().ok(), ..Reading::default() };
        let mut devices = Vec::new();
        let past = self.known.keys().next_back().map_or(0, |last| last + 1);
        for index in 0..count.max(past) {
            let (device, read) = match self.nvml.device_by_index(index) {
                Ok(device) => {
                    let read = self.gpu(index, &device, &mut reading.notes);
                    (Some(device), read)
                }
                Err(error) => (None, Err(error)),
            };
            let gpu = match (read, self.known.get(&index)) {
                (Ok(Some(gpu)), _) => Some(gpu),
                (Ok(None), _) => None,
                (Err(error), Some(known)) => Some(known.silent(&error)),
                (Err(error), None) => {
                    reading.notes.push(format!("GPU {index} can not be looked at and is left out: {error}"));
                    None
                }
            };
            if let Some(mut gpu) = gpu {
                gpu.signals.xids = xids.get(&gpu.spec.id).cloned().unwrap_or_default();
                reading.gpus.push(gpu);
                devices.push((index, device));
            }
        }
        // Where a GPU is left out, places and indexes differ.
        let by_index = links(self.nvml, &by_index(devices.iter_mut()));
        let place = |index: u8| devices.iter().position(|(at, _)| *at == u32::from(index));
        reading.links = by_index
            .into_iter()
            .filter_map(|mut link| {
                link.a = u8::try_from(place(link.a)?).ok()?;
                link.b = u8::try_from(place(link.b)?).ok()?;
                Some(link)
            })
            .collect();
        Ok(reading)
    }

    /// One GPU; `None` if it has a name that can not be used.
    fn gpu(
        &mut self,
        index: u32,
        device: &Device<'nvml>,
        notes: &mut Vec<String>,
    ) -> Result<Option<GpuReading>, NvmlError> {
        let Some(spec) = describe(device, notes)? else { return Ok(None) };
        let pci = device.pci_info().ok().map(|pci| pci_address(pci.domain, pci.bus, pci.device));
        let numa_node = pci.as_deref().and_then(numa_node);
        let mut asked = Asked::default();
        let signals = signals(device, &mut asked);
        let slices = slices(device, notes, &mut asked);
        let usage = usage(device, slices.is_none(), notes, &mut asked);
        let signals = Signals { temperature_c: usage.temperature_c, slowdown_c: usage.slowdown_c, ..signals };
        let signals = Signals { lost: asked.lost, unreadable: asked.unreadable, ..signals };
        let mut known = Known { spec, pci, numa_node };
        if known.spec.memory_mib == 0
            && let Some(before) = self.known.get(&index).filter(|before| before.spec.id == known.spec.id)
        {
            known.spec.memory_mib = before.spec.memory_mib;
        }
        self.known.insert(index, known.clone());
        let Known { spec, pci, numa_node } = known;
        Ok(Some(GpuReading { spec, pci, numa_node, signals, usage, slices }))
    }
}

fn by_index<'a, 'nvml: 'a>(
    devices: impl Iterator<Item = &'a mut (u32, Option<Device<'nvml>>)>,
) -> Vec<Option<Device<'nvml>>> {
    let mut all = Vec::new();
    for (index, device) in devices {
        while all.len() < *index as usize {
            all.push(None);
        }
        all.push(device.take());
    }
    all
}

impl Known {
    /// A GPU that does not answer any more.
    fn silent(&self, error: &NvmlError) -> GpuReading {
        let mut asked = Asked::default();
        asked.fail(error);
        let Known { spec, pci, numa_node } = self.clone();
        let signals = Signals { lost: asked.lost, unreadable: asked.unreadable, ..Signals::default() };
        GpuReading { spec, pci, numa_node, signals, usage: Usage::default(), slices: None }
    }
}

/// What asking a GPU came to.
#[derive(Debug, Default)]
struct Asked {
    lost: Option<String>,
    unreadable: Option<String>,
}

impl Asked {
    /// The answer, if there is one. What is not supported is simply not there.
    fn ask<T>(&mut self, answer: Result<T, NvmlError>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer),
            Err(error @ (NvmlError::GpuLost | NvmlError::ResetRequired)) => {
                self.fail(&error);
                None
            }
            Err(_) => None,
        }
    }

    /// As [`Asked::ask`], but it has to be there.
    fn must<T>(&mut self, answer: Result<T, NvmlError>) -> Option<T> {
        if let Err(error) = &answer {
            self.fail(error);
        }
        answer.ok()
    }

    fn fail(&mut self, error: &NvmlError) {
        match error {
            NvmlError::GpuLost => self.lost = Some("it is lost: the driver can not reach it any more".to_owned()),
            NvmlError::ResetRequired => self.lost = Some("the driver asks for it to be reset".to_owned()),
            error => self.unreadable = Some(error.to_string()),
        }
    }
}

fn signals(device: &Device<'_>, asked: &mut Asked) -> Signals {
    // Its memory is what everybody wants of it; if not even that can be told, it is of no use.
    asked.must(device.memory_info());
    let throttled = asked.ask(device.current_throttle_reasons()).and_then(throttled);
    let errors = device.total_ecc_errors(MemoryError::Uncorrected, EccCounter::Volatile);
    let remap = asked.ask(device.field_values_for(&[REMAP_FAILED]));
    let remap = remap.and_then(|mut values| values.pop()?.ok()?.value.ok());
    let remap_failed = match remap {
        Some(SampleValue::U32(value)) => value != 0,
        Some(SampleValue::U64(value)) => value != 0,
        Some(SampleValue::I64(value)) => value != 0,
        Some(SampleValue::F64(_)) | None => false,
    };
    Signals {
        throttled,
        uncorrected: asked.ask(errors).unwrap_or(0),
        pages_pending: asked.ask(device.are_pages_pending_retired()).unwrap_or(false),
        remap_failed,
        ..Signals::default()
    }
}

fn throttled(reasons: ThrottleReasons) -> Option<&'static str> {
    let told = [
        (ThrottleReasons::HW_THERMAL_SLOWDOWN, "too hot, says the hardware"),
        (ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN, "the power supply brakes it"),
        (ThrottleReasons::HW_SLOWDOWN, "a hardware slowdown"),
        (ThrottleReasons::SW_THERMAL_SLOWDOWN, "too hot, says the driver"),
    ];
    told.into_iter().find(|(reason, _)| reasons.contains(*reason)).map(|(_, words)| words)
}

fn usage(device: &Device<'_>, with_processes: bool, notes: &mut Vec<String>, asked: &mut Asked) -> Usage {
    Usage {
        memory_used_mib: asked.ask(device.memory_info()).map(|memory| memory.used >> 20),
        utilisation_percent: asked.ask(device.utilization_rates()).map(|rates| rates.gpu),
        power_mw: asked.ask(device.power_usage()),
        temperature_c: asked.ask(device.temperature(TemperatureSensor::Gpu)),
        slowdown_c: asked.ask(device.temperature_threshold(TemperatureThreshold::Slowdown)),
        processes: if with_processes { processes(device, notes, asked) } else { Vec::new() },
    }
}

fn processes(device: &Device<'_>, notes: &mut Vec<String>, asked: &mut Asked) -> Vec<Process> {
    let mut all = Vec::new();
    for (answer, computes) in [(device.running_compute_processes(), true), (device.running_graphics_processes(), false)]
    {
        if let Err(NvmlError::FailedToLoadSymbol(_)) = &answer {
            let note = "the driver is too old to tell who uses the GPUs (it must be 510 or newer)".to_owned();
            if !notes.contains(&note) {
                notes.push(note);
            }
        }
        all.extend(asked.ask(answer).into_iter().flatten().map(|process| process_of(&process, computes)));
    }
    // Who computes and draws is listed twice, and counts as who computes.
    all.sort_unstable_by_key(|process| (process.pid, !process.computes));
    all.dedup_by_key(|process| process.pid);
    all
}

fn process_of(process: &ProcessInfo, computes: bool) -> Process {
    let memory_mib = match process.used_gpu_memory {
        UsedGpuMemory::Used(bytes) => Some(bytes >> 20),
        UsedGpuMemory::Unavailable => None,
    };
    Process { pid: process.pid, name: None, memory_mib, computes, ours: false }
}

/// The slices of a GPU; `None` if it is not split.
fn slices(device: &Device<'_>, notes: &mut Vec<String>, asked: &mut Asked) -> Option<Vec<SliceReading>> {
    // A device, or a driver, that knows nothing of slices has none.
    let mode = asked.ask(device.mig_mode())?;
    if mode.current != MIG_ENABLED {
        return None;
    }
    let mut slices = Vec::new();
    for index in 0..asked.ask(device.mig_device_count()).unwrap_or(0) {
        // Indexes may have holes.
        let Ok(slice) = device.mig_device_by_index(index) else { continue };
        match describe(&slice, notes) {
            Ok(Some(spec)) => {
                slices.push(SliceReading { spec, usage: usage(&slice, true, notes, &mut Asked::default()) });
            }
            Ok(None) => {}
            Err(error) => notes.push(format!("a slice can not be looked at and is left out: {error}")),
        }
    }
    Some(slices)
}

/// What a device is; `None` if its name can not be used.
fn describe(device: &Device<'_>, notes: &mut Vec<String>) -> Result<Option<DeviceSpec>, NvmlError> {
    let (id, name) = (device.uuid()?, device.name()?);
    let (model, mig_profile) = parts_of_name(&name);
    let (Ok(id), Ok(model)) = (DeviceId::new(&id), ModelName::new(model)) else {
        notes.push(format!("a GPU has a name that can not be used, {name:?} {id:?}; it is left out"));
        return Ok(None);
    };
    let mig_profile = match mig_profile.map(profile) {
        Some(None) => {
            // Without a profile everybody would get it for a whole GPU.
            notes.push(format!("slice {id} has a profile that can not be used, {name:?}; it is left out"));
            return Ok(None);
        }
        Some(profile) => profile,
        None => None,
    };
    let memory_mib = device.memory_info().map_or(0, |memory| memory.total >> 20);
    // A driver that does not know it, or a slice that does not tell it, leaves it open.
    let capability = device.cuda_compute_capability().ok();
    let compute_capability = capability.and_then(|found| {
        Some(ComputeCapability { major: found.major.try_into().ok()?, minor: found.minor.try_into().ok()? })
    });
    Ok(Some(DeviceSpec { compute_capability, mig_profile, ..DeviceSpec::new(id, model, memory_mib) }))
}

/// The model, and of a slice its profile: `NVIDIA A100-SXM4-40GB MIG 1g.5gb`.
fn parts_of_name(full: &str) -> (&str, Option<&str>) {
    match full.split_once(" MIG ") {
        Some((model, profile)) => (model_name(model), Some(profile.trim())),
        None => (model_name(full), None),
    }
}

/// `1g.10gb+me` is called `1g.10gb.me`, as NVIDIA's plugins call it where `+` can not stand.
fn profile(text: &str) -> Option<MigProfile> {
    MigProfile::new(text.replace('+', ".")).ok()
}

/// `NVIDIA GeForce RTX 3070` is an `RTX 3070` to everybody.
fn model_name(full: &str) -> &str {
    PREFIXES.iter().fold(full.trim(), |name, prefix| name.strip_prefix(prefix).unwrap_or(name))
}

/// As the kernel writes it: `0000:3b:00.0`.
fn pci_address(domain: u32, bus: u32, device: u32) -> String {
    format!("{domain:04x}:{bus:02x}:{device:02x}.0")
}

/// The NUMA node that the kernel puts the device on; `None` if there is but one, or it does not say.
fn numa_node(pci: &str) -> Option<u32> {
    fs::read_to_string(format!("/sys/bus/pci/devices/{pci}/numa_node")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_does_not_work_is_an_error() {
        // Any library will do that is not NVIDIA's.
        let found = open(Some("libc.so.6".as_ref())).expect_err("no such symbols");
        assert!(found.to_string().contains("nvidia-smi"), "{found}");
    }

    #[test]
    fn a_machine_without_the_library_has_no_devices() {
        assert!(open(Some("/nonexistent/libnvidia-ml.so.1".as_ref())).expect("no error").is_none());
    }

    #[test]
    fn models_are_called_as_people_call_them() {
        assert_eq!(model_name("NVIDIA GeForce RTX 3070"), "RTX 3070");
        assert_eq!(model_name("NVIDIA H100 80GB HBM3"), "H100 80GB HBM3");
        assert_eq!(model_name("Tesla V100-SXM2-32GB"), "Tesla V100-SXM2-32GB");
        assert_eq!(parts_of_name("NVIDIA A100-SXM4-40GB MIG 1g.5gb"), ("A100-SXM4-40GB", Some("1g.5gb")));
        assert_eq!(parts_of_name("NVIDIA GeForce RTX 3070"), ("RTX 3070", None));
        assert_eq!(profile("1g.10gb+me"), Some(MigProfile::new("1g.10gb.me").expect("a name")));
    }

    #[test]
    fn addresses_are_written_as_the_kernel_does() {
        assert_eq!(pci_address(0, 0x3b, 0), "0000:3b:00.0");
    }
}
