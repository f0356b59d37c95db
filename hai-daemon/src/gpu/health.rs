//! Whether a device may be given out: what its hardware says goes in with the time, its health comes out.
//!
//! See [`Watch`] for the primary entry point. Nothing here reads a clock or asks NVML. A device is, from worst to best:
//!
//! - *sick* for good if it is lost, asks for a reset, failed to set broken memory aside, or reported an XID after which it
//!   does not work; only a restart of who watches (after a reset of the device) forgets that. Also while it can not be
//!   read at all;
//! - *draining* after an uncorrectable memory error, after doubtful XIDs in a row, or if heat does not go away;
//! - *a stranger's* while a process that is not hai's uses it;
//! - *suspect* while it is hot or slowed down, while memory waits for a reset, and for a while after a doubtful XID;
//! - else *healthy*. What comes and goes (heat, throttling, strangers) has to be gone for a while first, so that nothing
//!   flaps.

use std::collections::VecDeque;
use std::time::Duration;

use hai_core::model::DeviceHealth;

use super::xid::{Fault, meaning};

/// From when on what is seen counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A hot device is cool again once it is so many degrees below the temperature at which it slows down.
    pub heat_margin_c: u32,
    /// Heat and throttling are over once they were not seen for so long.
    pub cool: Duration,
    /// Throttling shorter than this is nothing: clocks change all the time.
    pub throttled: Duration,
    /// Work leaves a device that is hot or slowed down for so long.
    pub heat_max: Duration,
    /// A doubtful XID is forgotten after this.
    pub doubt: Duration,
    /// So many doubtful XIDs within [`Limits::doubt`] of each other make work leave.
    pub doubts_max: usize,
    /// A stranger has to be there for so long, so that who leaves, or has just come, is not taken for one.
    pub stranger_comes: Duration,
    /// And has to be gone for so long.
    pub stranger_goes: Duration,
    /// A device that can not be read for so long is sick.
    pub unreadable: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Limits {
            heat_margin_c: 5,
            cool: seconds(60),
            throttled: seconds(15),
            heat_max: seconds(600),
            doubt: seconds(600),
            doubts_max: 3,
            stranger_comes: seconds(15),
            stranger_goes: seconds(10),
            unreadable: seconds(20),
        }
    }
}

/// What the hardware of one GPU says at one moment. What it can not tell is left out, and counts as good.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// The driver says that it is lost, or must be reset; in words.
    pub lost: Option<String>,
    /// Why it can not be read, if it can not.
    pub unreadable: Option<String>,
    /// Its temperature.
    pub temperature_c: Option<u32>,
    /// The temperature at which it slows down.
    pub slowdown_c: Option<u32>,
    /// Its clocks are slowed down by heat or by the power supply (not by a power cap, which is somebody's wish).
    pub throttled: Option<&'static str>,
    /// Uncorrectable memory errors since the driver was loaded or the GPU reset.
    pub uncorrected: u64,
    /// Memory pages wait to be set aside until it is reset. Pages, not rows: a row that waits harms nobody.
    pub pages_pending: bool,
    /// Broken memory could not be set aside.
    pub remap_failed: bool,
    /// The XIDs since the last look, oldest first.
    pub xids: Vec<u64>,
}

/// One device under watch.
#[derive(Clone, Debug)]
pub struct Watch {
    limits: Limits,
    sick: Option<String>,
    draining: Option<String>,
    doubts: VecDeque<(Duration, u64)>,
    hot: Lasting,
    throttled: Lasting,
    unreadable: Lasting,
    stranger: Lasting,
    /// What the stranger is called.
    who: String,
    throttle: &'static str,
    uncorrected: Option<u64>,
    looked: bool,
}

/// Something that comes and goes, and counts only from when on it has lasted, until it has been gone for a while.
#[derive(Clone, Copy, Debug, Default)]
struct Lasting {
    since: Option<Duration>,
    seen: Duration,
    counts: bool,
}

impl Lasting {
    fn look(&mut self, now: Duration, is: bool, comes: Duration, goes: Duration) {
        if is {
            let since = *self.since.get_or_insert(now);
            self.seen = now;
            self.counts |= now.saturating_sub(since) >= comes;
        } else if !self.counts || now.saturating_sub(self.seen) >= goes {
            *self = Lasting::default();
        }
    }

    /// How long it has lasted, if it counts.
    fn lasted(&self, now: Duration) -> Option<Duration> {
        self.since.filter(|_| self.counts).map(|since| now.saturating_sub(since))
    }
}

impl Watch {
    /// Watches a device of which nothing is known yet.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Watch {
            limits,
            sick: None,
            draining: None,
            doubts: VecDeque::new(),
            hot: Lasting::default(),
            throttled: Lasting::default(),
            unreadable: Lasting::default(),
            stranger: Lasting::default(),
            who: String::new(),
            throttle: "",
            uncorrected: None,
            looked: false,
        }
    }

    /// Takes in what is seen at `now`, a time since any fixed moment that never goes back, and who uses the device that
    /// should not; says how it is.
    pub fn look(&mut self, now: Duration, signals: &Signals, stranger: Option<&str>) -> DeviceHealth {
        self.take_xids(now, &signals.xids);
        self.take_errors(signals);
        self.take_heat(now, signals);
        let Limits { unreadable, cool, stranger_comes, stranger_goes, .. } = self.limits;
        // At the first look there is no telling how long it has been so; better be careful.
        let first = !std::mem::replace(&mut self.looked, true);
        let wait = |wait: Duration| if first { Duration::ZERO } else { wait };
        self.unreadable.look(now, signals.unreadable.is_some(), wait(unreadable), cool);
        // The first that is seen stands for all: which of them holds most of it changes all the time, and is no news.
        if let Some(stranger) = stranger.filter(|_| !self.stranger.counts) {
            stranger.clone_into(&mut self.who);
        }
        self.stranger.look(now, stranger.is_some(), wait(stranger_comes), stranger_goes);
        self.health(now, signals)
    }

    fn take_xids(&mut self, now: Duration, xids: &[u64]) {
        for &xid in xids {
            let (fault, words) = meaning(xid);
            let reason = || format!("XID {xid}: {words}");
            match fault {
                Fault::Program | Fault::Note => {}
                Fault::Doubt => {
                    self.doubts.push_back((now, xid));
                    while self.doubts.len() > self.limits.doubts_max.max(1) {
                        self.doubts.pop_front();
                    }
                }
                Fault::Worn => {
                    self.draining.get_or_insert_with(reason);
                }
                Fault::Dead => {
                    self.sick.get_or_insert_with(reason);
                }
            }
        }
        self.doubts.retain(|(at, _)| now.saturating_sub(*at) < self.limits.doubt);
        if self.doubts.len() >= self.limits.doubts_max.max(1)
            && let Some((_, xid)) = self.doubts.back()
        {
            let (count, words) = (self.doubts.len(), meaning(*xid).1);
            self.draining.get_or_insert_with(|| format!("{count} XIDs in a row, the last {xid}: {words}"));
        }
    }

    fn take_errors(&mut self, signals: &Signals) {
        if let Some(lost) = &signals.lost {
            self.sick.get_or_insert_with(|| lost.clone());
        }
        if signals.remap_failed {
            self.sick.get_or_insert_with(|| "broken memory could not be set aside".to_owned());
        }
        if signals.unreadable.is_none() && signals.lost.is_none() {
            let before = self.uncorrected.replace(signals.uncorrected);
            // Those from before the first look killed whom they killed; new ones are about who runs now.
            if before.is_some_and(|before| signals.uncorrected > before) {
                self.draining.get_or_insert_with(|| uncorrected(signals.uncorrected));
            }
        }
    }

    fn take_heat(&mut self, now: Duration, signals: &Signals) {
        let Limits { heat_margin_c, cool, throttled, .. } = self.limits;
        let hot = signals.temperature_c.zip(signals.slowdown_c).is_some_and(|(is, slow)| {
            let from = if self.hot.counts { slow.saturating_sub(heat_margin_c) } else { slow };
            is >= from
        });
        self.hot.look(now, hot, Duration::ZERO, cool);
        self.throttled.look(now, signals.throttled.is_some(), throttled, cool);
        if let Some(throttle) = signals.throttled {
            self.throttle = throttle;
        }
    }

    fn health(&self, now: Duration, signals: &Signals) -> DeviceHealth {
        if let Some(reason) = self.sick.clone() {
            return DeviceHealth::Sick { reason };
        }
        let unreadable = || match &signals.unreadable {
            Some(reason) => format!("it can not be read: {reason}"),
            None => "it could not be read until a moment ago".to_owned(),
        };
        if self.unreadable.counts {
            return DeviceHealth::Sick { reason: unreadable() };
        }
        if let Some(reason) = self.draining.clone() {
            return DeviceHealth::Draining { reason };
        }
        let heat = [self.hot, self.throttled].into_iter().filter_map(|heat| heat.lasted(now)).max();
        if heat.is_some_and(|lasted| lasted >= self.limits.heat_max) {
            let minutes = self.limits.heat_max.as_secs() / 60;
            return DeviceHealth::Draining { reason: format!("{}, for more than {minutes} min", self.heat(signals)) };
        }
        if self.stranger.counts {
            return DeviceHealth::Stranger { process: self.who.clone() };
        }
        let reason = if heat.is_some() {
            self.heat(signals)
        } else if let Some((_, xid)) = self.doubts.back() {
            format!("XID {xid}: {}", meaning(*xid).1)
        } else if signals.unreadable.is_some() {
            unreadable()
        } else if signals.uncorrected > 0 {
            uncorrected(signals.uncorrected)
        } else if signals.pages_pending {
            "memory pages wait for a reset to be set aside".to_owned()
        } else {
            return DeviceHealth::Healthy;
        };
        DeviceHealth::Suspect { reason }
    }

    /// Without the degrees of the moment: each of them would be news.
    fn heat(&self, signals: &Signals) -> String {
        match (self.hot.counts, signals.slowdown_c) {
            (true, Some(slow)) => format!("it is hot: it slows down at {slow} °C"),
            (true, None) => "it is hot".to_owned(),
            (false, _) => format!("it is slowed down: {}", self.throttle),
        }
    }
}

fn uncorrected(count: u64) -> String {
    let errors = if count == 1 { "error" } else { "errors" };
    format!("{count} uncorrectable memory {errors} since its last reset")
}

#[cfg(test)]
#[path = "health/tests.rs"]
mod tests;
