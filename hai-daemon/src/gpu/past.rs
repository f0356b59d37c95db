//! How devices were used over the last day, as far as it was reported.
//!
//! See [`Past`] for the primary entry point. It is kept in memory and bounded in bytes: the more devices there are, the fewer
//! moments are kept of each.

use std::collections::{BTreeMap, VecDeque};

use hai_core::model::{DeviceId, NodeName, Span, Time};

use super::reading::Usage;
use super::report::NodeReport;

/// How far back it goes.
const REACH_MS: u64 = 24 * 60 * 60 * 1000;
/// The shortest time between two moments that are kept, in milliseconds.
const STEP_MS: u64 = 30_000;
/// All moments of all devices take at most about so many bytes.
const BYTES_MAX: usize = 64 << 20;
/// What one moment of one device takes.
const MOMENT_BYTES: usize = std::mem::size_of::<Moment>();

/// How a device was used at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// When it was reported.
    pub at: Time,
    memory_mib: u32,
    power_dw: u16,
    util: u8,
    temperature_c: u8,
}

impl Moment {
    fn of(at: Time, usage: &Usage) -> Self {
        // The greatest number of each stands for what is not known.
        let narrow = |value: Option<u32>| value.map_or(u8::MAX, |value| u8::try_from(value).unwrap_or(u8::MAX - 1));
        let memory = |mib: u64| u32::try_from(mib).unwrap_or(u32::MAX - 1);
        let power = |mw: u32| u16::try_from(mw.div_ceil(100)).unwrap_or(u16::MAX - 1);
        Moment {
            at,
            memory_mib: usage.memory_used_mib.map_or(u32::MAX, memory),
            power_dw: usage.power_mw.map_or(u16::MAX, power),
            util: narrow(usage.utilisation_percent),
            temperature_c: narrow(usage.temperature_c),
        }
    }

    /// The part of the moment in which anything ran on it, in percent.
    #[must_use]
    pub fn util(&self) -> Option<u8> {
        (self.util != u8::MAX).then_some(self.util)
    }

    /// Memory that was used, in MiB.
    #[must_use]
    pub fn memory_mib(&self) -> Option<u32> {
        (self.memory_mib != u32::MAX).then_some(self.memory_mib)
    }

    /// How hot it was, in °C.
    #[must_use]
    pub fn temperature_c(&self) -> Option<u8> {
        (self.temperature_c != u8::MAX).then_some(self.temperature_c)
    }

    /// What it drew, in watts, to a tenth.
    #[must_use]
    pub fn power_w(&self) -> Option<f64> {
        (self.power_dw != u16::MAX).then(|| f64::from(self.power_dw) / 10.0)
    }
}

/// What is remembered of all devices.
#[derive(Debug)]
pub struct Past {
    nodes: BTreeMap<NodeName, BTreeMap<DeviceId, VecDeque<Moment>>>,
    devices: usize,
    step_ms: u64,
    bytes_max: usize,
}

impl Default for Past {
    fn default() -> Self {
        Past { nodes: BTreeMap::new(), devices: 0, step_ms: STEP_MS, bytes_max: BYTES_MAX }
    }
}

impl Past {
    /// Takes a report in. Of reports that come too close to the last one that was kept nothing is.
    pub(super) fn note(&mut self, node: &NodeName, report: &NodeReport) {
        let known = self.nodes.entry(node.clone()).or_default();
        let oldest = report.at.as_ms().saturating_sub_unsigned(REACH_MS);
        for device in &report.devices {
            let moments = match known.get_mut(&device.spec.id) {
                Some(moments) => moments,
                None => {
                    self.devices += 1;
                    known.entry(device.spec.id.clone()).or_default()
                }
            };
            let due = moments.back().is_none_or(|last| is_due(last.at, report.at, self.step_ms));
            if due {
                moments.push_back(Moment::of(report.at, &device.usage));
            }
        }
        // What is not reported any more is forgotten once it is old.
        known.values_mut().for_each(|moments| {
            while moments.front().is_some_and(|first| first.at.as_ms() < oldest) {
                moments.pop_front();
            }
        });
        let before = known.len();
        known.retain(|_, moments| !moments.is_empty());
        self.devices -= before - known.len();
        self.thin();
    }

    /// Keeps fewer moments of each device for as long as all could become more than there is room for.
    fn thin(&mut self) {
        let full =
            |step_ms: u64| usize::try_from(REACH_MS / step_ms).unwrap_or(usize::MAX).saturating_mul(MOMENT_BYTES);
        while self.step_ms < REACH_MS && self.devices.saturating_mul(full(self.step_ms)) > self.bytes_max {
            self.step_ms *= 2;
            for moments in self.nodes.values_mut().flat_map(BTreeMap::values_mut) {
                let (mut last, step_ms) = (None, self.step_ms);
                moments.retain(|moment| {
                    let kept = last.is_none_or(|last| is_due(last, moment.at, step_ms));
                    if kept {
                        last = Some(moment.at);
                    }
                    kept
                });
                moments.shrink_to_fit();
            }
        }
    }

    /// Forgets nodes for which `is_known` does not hold any more.
    pub(super) fn retain(&mut self, is_known: impl Fn(&NodeName) -> bool) {
        self.nodes.retain(|node, _| is_known(node));
        self.devices = self.nodes.values().map(BTreeMap::len).sum();
    }

    /// The time between two moments that are kept, if reports come as often.
    #[must_use]
    pub fn step(&self) -> Span {
        Span::from_ms(self.step_ms)
    }

    /// What is remembered of a node's devices from one time until before another, by device, the oldest first.
    #[must_use]
    pub fn of(&self, node: &NodeName, from: Time, to: Time) -> BTreeMap<DeviceId, Vec<Moment>> {
        let within = |moments: &VecDeque<Moment>| {
            let begin = moments.partition_point(|moment| moment.at < from);
            let end = moments.partition_point(|moment| moment.at < to);
            moments.range(begin..end.max(begin)).copied().collect()
        };
        let known = self.nodes.get(node).into_iter().flatten();
        known.map(|(device, moments)| (device.clone(), within(moments))).collect()
    }

    /// The first moment that is remembered of a node.
    #[must_use]
    pub fn first(&self, node: &NodeName) -> Option<Time> {
        self.nodes.get(node)?.values().filter_map(|moments| Some(moments.front()?.at)).min()
    }
}

/// Whether a moment is far enough from the one before; half a second of unpunctuality is forgiven.
fn is_due(last: Time, at: Time, step_ms: u64) -> bool {
    at.since(last).as_ms() + 500 >= step_ms
}

#[cfg(test)]
mod tests {
    use hai_core::model::{DeviceSpec, ModelName};

    use super::*;
    use crate::gpu::report::DeviceReport;

    fn node(name: &str) -> NodeName {
        NodeName::new(name).expect("a name")
    }

    fn report(at_s: i64, devices: usize, usage: &Usage) -> NodeReport {
        let device = |index: usize| {
            let id = DeviceId::new(format!("GPU-{index}")).expect("an id");
            let spec = DeviceSpec::new(id, ModelName::new("RTX 3070").expect("a name"), 8192);
            DeviceReport { spec, slice_of: None, pci: None, numa_node: None, usage: usage.clone() }
        };
        let at = Time::from_ms(at_s * 1000);
        NodeReport { at, devices: (0..devices).map(device).collect(), ..NodeReport::default() }
    }

    fn times(past: &Past, name: &str) -> Vec<i64> {
        let all = past.of(&node(name), Time::from_ms(i64::MIN), Time::MAX);
        all.into_values().next().unwrap_or_default().iter().map(|moment| moment.at.as_ms() / 1000).collect()
    }

    #[test]
    fn a_moment_is_kept_each_half_minute_for_a_day() {
        let mut past = Past::default();
        for second in (0..=100).step_by(10) {
            past.note(&node("a"), &report(second, 1, &Usage::default()));
        }
        assert_eq!(times(&past, "a"), [0, 30, 60, 90]);
        past.note(&node("a"), &report(24 * 60 * 60 + 45, 1, &Usage::default()));
        assert_eq!(times(&past, "a"), [60, 90, 24 * 60 * 60 + 45]);
        let some = past.of(&node("a"), Time::from_ms(60_000), Time::from_ms(90_000));
        assert_eq!(some.into_values().next().map(|moments| moments.len()), Some(1), "until before the end");
        // A device that is not there any more is forgotten with its last moment.
        past.note(&node("a"), &report(3 * 24 * 60 * 60, 0, &Usage::default()));
        assert_eq!((past.devices, times(&past, "a")), (0, vec![]));
    }

    #[test]
    fn what_was_said_is_told_and_what_was_not_is_not() {
        let mut past = Past::default();
        let usage = Usage {
            memory_used_mib: Some(5000),
            utilisation_percent: Some(97),
            power_mw: Some(180_500),
            temperature_c: Some(61),
            ..Usage::default()
        };
        past.note(&node("a"), &report(0, 1, &usage));
        past.note(&node("a"), &report(30, 1, &Usage::default()));
        let all = past.of(&node("a"), Time::ZERO, Time::MAX);
        let moments = all.values().next().expect("a device");
        let told = |at: usize| {
            let moment: &Moment = &moments[at];
            (moment.util(), moment.memory_mib(), moment.temperature_c(), moment.power_w())
        };
        assert_eq!(told(0), (Some(97), Some(5000), Some(61), Some(180.5)));
        assert_eq!(told(1), (None, None, None, None));
    }

    #[test]
    fn however_many_devices_there_are_it_stays_within_bounds() {
        let room = 10 * 2880 * MOMENT_BYTES;
        let mut past = Past { bytes_max: room, ..Past::default() };
        let moments = |past: &Past| past.nodes.values().flat_map(BTreeMap::values).map(VecDeque::len).sum::<usize>();
        for round in 0..4000 {
            for name in ["a", "b", "c"] {
                past.note(&node(name), &report(30 * round, 8, &Usage::default()));
            }
        }
        assert_eq!((past.devices, past.step()), (24, Span::from_secs(120)));
        assert!(moments(&past) * MOMENT_BYTES <= room + 24 * MOMENT_BYTES, "{}", moments(&past));
        assert!(moments(&past) > 24 * 600, "it does reach a day back");
        past.retain(|name| *name == node("a"));
        assert_eq!((past.devices, past.first(&node("b"))), (8, None));
    }
}
