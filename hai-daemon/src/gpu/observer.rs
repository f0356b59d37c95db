//! Puts together what NVML says, what is known of each device's past, and whose processes use it: a report.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hai_core::model::{DeviceId, DeviceSpec};
use nvml_wrapper::Nvml;

use super::health::{Limits, Watch};
use super::nvml::{DetectError, Reader};
use super::reading::{GpuReading, Usage};
use super::report::{DeviceReport, NOTES_MAX, NodeReport, PROCESSES_MAX, printable};
use super::strangers::{Owners, Tolerance, look_up};

/// By what rules devices are watched.
#[derive(Clone, Debug)]
pub struct Rules {
    /// From when on what is seen counts.
    pub limits: Limits,
    /// Who is no stranger although hai did not start it.
    pub tolerance: Tolerance,
    /// Who knows hai's workers.
    pub owners: Arc<dyn Owners>,
}

/// Looks at all devices, again and again.
#[derive(Debug)]
pub struct Observer<'nvml> {
    reader: Reader<'nvml>,
    watches: BTreeMap<DeviceId, Watch>,
    rules: Rules,
}

impl<'nvml> Observer<'nvml> {
    /// An observer that has not looked yet.
    #[must_use]
    pub fn new(nvml: &'nvml Nvml, rules: Rules) -> Self {
        Observer { reader: Reader::new(nvml), watches: BTreeMap::new(), rules }
    }

    /// Looks, at a time since any fixed moment that never goes back; `xids` are those since the last look. Blocks for
    /// some milliseconds.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn look(&mut self, now: Duration, xids: &BTreeMap<DeviceId, Vec<u64>>) -> Result<NodeReport, DetectError> {
        let reading = self.reader.read(xids)?;
        let links = reading.device_links();
        let mut devices = Vec::new();
        let mut seen = BTreeMap::new();
        for (gpu, spec, usage) in reading.devices() {
            let (device, watch) = self.device(now, &reading.gpus[gpu], spec, usage);
            seen.insert(device.spec.id.clone(), watch);
            devices.push(device);
        }
        // Slices come and go; what is gone is forgotten.
        self.watches = seen;
        let mut notes: Vec<String> = reading.notes.iter().map(|note| printable(note)).collect();
        notes.truncate(NOTES_MAX);
        let driver = reading.driver.as_deref().map(printable);
        Ok(NodeReport { driver, devices, links, notes, ..NodeReport::default() })
    }

    fn device(&mut self, now: Duration, gpu: &GpuReading, spec: &DeviceSpec, usage: &Usage) -> (DeviceReport, Watch) {
        let mut usage = usage.clone();
        look_up(&mut usage.processes, &*self.rules.owners);
        let stranger = self.rules.tolerance.stranger(&usage.processes);
        usage.processes.truncate(PROCESSES_MAX);
        let mut watch = self.watches.remove(&spec.id).unwrap_or_else(|| Watch::new(self.rules.limits));
        let health = watch.look(now, &gpu.signals, stranger.as_deref());
        let slice_of = gpu.slices.is_some().then(|| gpu.spec.id.clone());
        let (pci, numa_node) = (gpu.pci.clone(), gpu.numa_node);
        (DeviceReport { spec: DeviceSpec { health, ..spec.clone() }, slice_of, pci, numa_node, usage }, watch)
    }
}
