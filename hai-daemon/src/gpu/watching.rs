//! The one thread that speaks with NVML: it waits for events, looks at the devices, and shows what it saw last.
//!
//! See [`start`] for the primary entry point. NVML's handles never leave the thread.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hai_core::model::{DeviceHealth, DeviceId};
use nvml_wrapper::bitmasks::event::EventTypes;
use nvml_wrapper::enums::event::XidError;
use nvml_wrapper::error::NvmlError;
use nvml_wrapper::{EventSet, Nvml};
use tokio::sync::watch;

use super::nvml::open;
use super::observer::{Observer, Rules};
use super::reading::Usage;
use super::report::{DeviceReport, NodeReport, printable};

/// How long NVML is waited for at a time, so that a thread that is not needed any more ends soon.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// Events taken between two looks; a device that fails can send them without end.
const EVENTS_MAX: usize = 64;
/// After events the next look waits a little, so that a flood of them does not become a flood of looks.
const AFTER_EVENTS: Duration = Duration::from_millis(100);
/// How long to wait before a library that was not there, or did not work, is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// What NVML calls an XID that has no number.
const XID_UNKNOWN: u64 = 999;

/// What is said of a machine without the library.
pub const NO_LIBRARY: &str = "there is no NVIDIA library (libnvidia-ml.so.1) here, so there are no devices to report";

/// How to watch.
#[derive(Clone, Debug)]
pub struct Options {
    /// The library; the system's if left out.
    pub nvml: Option<OsString>,
    /// Time between two looks; events are looked at at once.
    pub every: Duration,
    /// By what rules.
    pub rules: Rules,
}

/// A watch that goes on until this is dropped.
#[derive(Debug)]
pub struct Watching {
    reports: watch::Receiver<Arc<NodeReport>>,
    stop: Arc<AtomicBool>,
}

impl Watching {
    /// What was seen last, always.
    #[must_use]
    pub fn reports(&self) -> watch::Receiver<Arc<NodeReport>> {
        self.reports.clone()
    }

    /// What was seen last.
    #[must_use]
    pub fn last(&self) -> Arc<NodeReport> {
        self.reports.borrow().clone()
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Looks once.
///
/// # Errors
/// As [`open`] and [`Observer::look`].
pub fn look_once(options: &Options) -> Result<NodeReport, super::nvml::DetectError> {
    match open(options.nvml.as_deref())? {
        Some(nvml) => Observer::new(&nvml, options.rules.clone()).look(Duration::ZERO, &BTreeMap::new()),
        None => Ok(nothing(NO_LIBRARY)),
    }
}

/// Looks once, then goes on looking in a thread. Blocks for the first look.
///
/// # Errors
/// If there can not be another thread.
pub fn start(options: Options) -> io::Result<Watching> {
    let (sender, mut reports) = watch::channel(Arc::new(NodeReport::default()));
    let stop = Arc::new(AtomicBool::new(false));
    let (looked, first) = std::sync::mpsc::channel();
    let watcher = Watcher {
        options,
        reports: sender,
        stop: stop.clone(),
        began: Instant::now(),
        looked: Some(looked),
        seen: Vec::new(),
    };
    std::thread::Builder::new().name("gpu".to_owned()).spawn(move || watcher.run())?;
    // The sender is dropped with the first look, or with the thread.
    let _ = first.recv();
    reports.mark_unchanged();
    Ok(Watching { reports, stop })
}

/// What came while the next look was waited for.
#[derive(Debug, Default)]
struct Heard {
    xids: BTreeMap<DeviceId, Vec<u64>>,
    /// The set tells nothing any more.
    broken: bool,
}

struct Watcher {
    options: Options,
    reports: watch::Sender<Arc<NodeReport>>,
    stop: Arc<AtomicBool>,
    began: Instant,
    looked: Option<std::sync::mpsc::Sender<()>>,
    seen: Vec<DeviceReport>,
}

impl Watcher {
    fn run(mut self) {
        let mut told = None;
        while !self.stopped() {
            let trouble = match open(self.options.nvml.as_deref()) {
                Ok(Some(nvml)) => self.watch(&nvml),
                Ok(None) => NO_LIBRARY.to_owned(),
                Err(error) => error.to_string(),
            };
            if told.as_ref() != Some(&trouble) && !self.stopped() {
                tracing::info!("{trouble}");
                told = Some(trouble.clone());
            }
            self.show(self.in_trouble(&trouble));
            self.sleep(RETRY);
        }
    }

    /// Watches until it is stopped, or until the library does not work any more; says why.
    fn watch(&mut self, nvml: &Nvml) -> String {
        let mut observer = Observer::new(nvml, self.options.rules.clone());
        let mut events = listen(nvml);
        let mut xids = BTreeMap::new();
        while !self.stopped() {
            match observer.look(self.began.elapsed(), &xids) {
                Ok(report) => {
                    self.seen.clone_from(&report.devices);
                    self.show(report);
                }
                Err(error) => return error.to_string(),
            }
            xids = match &events {
                Some(set) => {
                    let heard = self.hear(set);
                    if heard.broken {
                        // One lost GPU makes the whole set deaf; the others are listened to without it.
                        events = listen(nvml);
                    }
                    heard.xids
                }
                None => {
                    self.sleep(self.options.every);
                    BTreeMap::new()
                }
            };
        }
        String::new()
    }

    /// Waits for the next look; returns at once when events come.
    fn hear(&self, events: &EventSet<'_>) -> Heard {
        let (mut heard, until) = (Heard::default(), Instant::now() + self.options.every);
        let mut count = 0;
        while !self.stopped() && count < EVENTS_MAX {
            let left = until.saturating_duration_since(Instant::now()).min(WAIT_MAX);
            let wait = if count == 0 { left } else { AFTER_EVENTS };
            match events.wait(u32::try_from(wait.as_millis()).unwrap_or(0)) {
                Ok(event) => {
                    count += 1;
                    let xid = match event.event_data {
                        Some(XidError::Value(xid)) => xid,
                        Some(XidError::Unknown) => XID_UNKNOWN,
                        // Memory errors are read at the look that follows.
                        None => continue,
                    };
                    match event.device.uuid().ok().and_then(|id| DeviceId::new(id).ok()) {
                        Some(id) => {
                            tracing::warn!(device = %id, xid, meaning = super::xid::meaning(xid).1, "a GPU reports an error");
                            heard.xids.entry(id).or_default().push(xid);
                        }
                        // It can not even say who it is any more; the look will find it lost.
                        None => tracing::warn!(xid, "a GPU that can not be named reports an error"),
                    }
                }
                Err(NvmlError::Timeout) if count == 0 && Instant::now() < until => {}
                Err(NvmlError::Timeout) => break,
                Err(error) => {
                    tracing::debug!(%error, "there is no waiting for events of GPUs");
                    heard.broken = true;
                    // It may come back at once, always.
                    self.sleep(until.saturating_duration_since(Instant::now()).min(WAIT_MAX));
                    break;
                }
            }
        }
        heard
    }

    /// Devices that were seen do not vanish with the library that showed them; but nobody knows how they are.
    fn in_trouble(&self, trouble: &str) -> NodeReport {
        let mut report = nothing(trouble);
        report.devices.clone_from(&self.seen);
        for device in &mut report.devices {
            device.spec.health = DeviceHealth::Sick { reason: printable(trouble) };
            device.usage = Usage::default();
        }
        report
    }

    fn show(&mut self, report: NodeReport) {
        self.reports.send_replace(Arc::new(report));
        self.looked = None;
    }

    fn sleep(&self, time: Duration) {
        let until = Instant::now() + time;
        while !self.stopped() && Instant::now() < until {
            std::thread::sleep(until.saturating_duration_since(Instant::now()).min(WAIT_MAX));
        }
    }

    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

fn nothing(why: &str) -> NodeReport {
    NodeReport { notes: vec![printable(why)], ..NodeReport::default() }
}

/// Listens to the errors of all GPUs that tell them; `None` if none does.
fn listen(nvml: &Nvml) -> Option<EventSet<'_>> {
    let wanted = EventTypes::CRITICAL_XID_ERROR | EventTypes::DOUBLE_BIT_ECC_ERROR;
    let mut willing = Vec::new();
    for index in 0..nvml.device_count().ok()? {
        let Ok(device) = nvml.device_by_index(index) else { continue };
        match device.supported_event_types() {
            Ok(types) if types.intersects(wanted) => willing.push((index, types & wanted)),
            Ok(_) => {}
            Err(error) => tracing::debug!(index, %error, "a GPU does not say which events it tells"),
        }
    }
    // A set that one device refuses is gone; the others begin anew without that one.
    while !willing.is_empty() {
        let mut set = nvml.create_event_set().ok();
        for place in 0..willing.len() {
            let (index, types) = willing[place];
            let registered = match (set.take(), nvml.device_by_index(index)) {
                (Some(set), Ok(device)) => device.register_events(types, set).map_err(|error| error.error),
                (_, Err(error)) => Err(error),
                (None, Ok(_)) => return None,
            };
            match registered {
                Ok(whole) => set = Some(whole),
                Err(error) => {
                    tracing::debug!(index, %error, "a GPU does not tell its errors");
                    willing.remove(place);
                    break;
                }
            }
        }
        if set.is_some() {
            return set;
        }
    }
    None
}
