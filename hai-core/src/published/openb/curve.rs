//! How the authors make curves of a run: events are put together by how much work had arrived, in per cent of the cluster.

use super::play::Event;

/// The metrics of a run over the arrived load, one value for each per cent from zero on; `None` where nothing arrived near it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Curves {
    /// Devices given out, in per cent of all.
    pub alloc: Vec<Option<f64>>,
    /// Fragmentation, in per cent of all devices.
    pub fragamt: Vec<Option<f64>>,
    /// Fragmentation, in per cent of the devices that are left.
    pub fragratio: Vec<Option<f64>>,
    /// Pods that got no node.
    pub failed: usize,
    /// Devices given out at the end, in thousandths.
    pub used: u64,
}

/// Sums of what events say of one per cent.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    events: u32,
    /// Hundredths of a per cent.
    alloc: i64,
    /// Hundredths of a thousandth of a device.
    fragamt: i64,
    /// Hundredths of a per cent.
    fragratio: i64,
}

/// Puts events together, one after the other.
#[derive(Clone, Debug)]
pub struct CurveMaker {
    device_milli: u64,
    buckets: Vec<Bucket>,
    failed: usize,
    used: u64,
}

impl CurveMaker {
    /// Nothing yet, for a cluster with so many thousandths of devices and a load of up to `load` times that.
    #[must_use]
    pub fn new(device_milli: u64, load: f64) -> Self {
        let last = (100.0 * load).round_ties_even().clamp(0.0, 100_000.0) as usize;
        let buckets = vec![Bucket::default(); last + 1];
        CurveMaker { device_milli: device_milli.max(1), buckets, failed: 0, used: 0 }
    }

    /// Takes in an event.
    pub fn add(&mut self, event: &Event) {
        let percent = self.device_milli as f64 / 100.0;
        self.failed += usize::from(event.node.is_none());
        self.used = event.used;
        let at = (event.arrived as f64 / percent).round_ties_even() as usize;
        let Some(bucket) = self.buckets.get_mut(at) else { return };
        let idle = self.device_milli as f64 - event.used as f64;
        bucket.events += 1;
        bucket.alloc += hundredths(event.used as f64 / percent);
        bucket.fragamt += hundredths(event.fragmentation);
        bucket.fragratio += if idle > 0.0 { hundredths(100.0 * event.fragmentation / idle) } else { 0 };
    }

    /// The curves of all events so far.
    #[must_use]
    pub fn curves(&self) -> Curves {
        let milli = self.device_milli as f64;
        let curve = |of: &dyn Fn(&Bucket) -> i64, to: &dyn Fn(f64) -> f64| -> Vec<Option<f64>> {
            let mean = |buckets: &[Bucket]| {
                let events: u32 = buckets.iter().map(|bucket| bucket.events).sum();
                let sum: i64 = buckets.iter().map(of).sum();
                (events > 0).then(|| to(sum as f64 / 100.0 / f64::from(events)))
            };
            let at = |at: usize| {
                let around = at.saturating_sub(1)..(at + 2).min(self.buckets.len());
                mean(&self.buckets[at..=at]).or_else(|| mean(&self.buckets[around]))
            };
            (0..self.buckets.len()).map(at).collect()
        };
        Curves {
            alloc: curve(&|bucket| bucket.alloc, &|mean| rounded(mean, 100.0)),
            fragamt: curve(&|bucket| bucket.fragamt, &|mean| rounded(mean * 100.0 / milli, 100.0)),
            fragratio: curve(&|bucket| bucket.fragratio, &|mean| rounded(mean, 10_000.0)),
            failed: self.failed,
            used: self.used,
        }
    }
}

/// A value in whole hundredths, halves to the even one.
fn hundredths(value: f64) -> i64 {
    (value * 100.0).round_ties_even() as i64
}

/// A value rounded to whole parts, halves to the even one.
fn rounded(value: f64, parts: f64) -> f64 {
    (value * parts).round_ties_even() / parts
}
