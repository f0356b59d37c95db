//! What was last reported of each node's devices.
//!
//! See [`Reports`] for the primary entry point.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hai_core::model::{NodeName, Time};
use tokio::sync::watch;

use super::past::Past;
use super::report::{NodeReport, ReportError};

/// The last report of each node.
pub type ByNode = Arc<BTreeMap<NodeName, NodeReport>>;

/// The last report of each node, and what those who report are told; cheap to clone.
#[derive(Clone, Debug)]
pub struct Reports {
    last: Arc<watch::Sender<ByNode>>,
    rest: Arc<Mutex<Rest>>,
}

#[derive(Debug, Default)]
struct Rest {
    own: Option<NodeName>,
    past: Past,
    /// `None` until somebody knows.
    workers: Option<BTreeMap<NodeName, BTreeSet<String>>>,
}

impl Default for Reports {
    fn default() -> Self {
        Reports { last: Arc::new(watch::channel(ByNode::default()).0), rest: Arc::default() }
    }
}

impl Reports {
    /// Nobody has reported yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a report that came in at `at`. Whoever subscribed hears of it if it says anything new about which devices
    /// there are and whether they are well; that somebody spoke again is no news.
    ///
    /// # Errors
    /// [`ReportError`] if it can not be.
    pub fn put(&self, node: NodeName, report: NodeReport, at: Time) -> Result<(), ReportError> {
        report.check()?;
        let report = NodeReport { at, ..report };
        self.rest().past.note(&node, &report);
        self.last.send_if_modified(|all| {
            let news = all.get(&node).is_none_or(|before| !before.decides_like(&report));
            Arc::make_mut(all).insert(node, report);
            news
        });
        Ok(())
    }

    /// Forgets nodes for which `is_known` does not hold any more.
    pub fn retain(&self, is_known: impl Fn(&NodeName) -> bool) {
        self.rest().past.retain(&is_known);
        self.last.send_if_modified(|all| {
            let gone = all.keys().any(|node| !is_known(node));
            if gone {
                Arc::make_mut(all).retain(|node, _| is_known(node));
            }
            gone
        });
    }

    /// What was last reported of a node.
    #[must_use]
    pub fn get(&self, node: &NodeName) -> Option<NodeReport> {
        self.last.borrow().get(node).cloned()
    }

    /// Looks at how devices were used.
    pub fn past<T>(&self, look: impl FnOnce(&Past) -> T) -> T {
        look(&self.rest().past)
    }

    /// What was last reported of all nodes.
    #[must_use]
    pub fn all(&self) -> ByNode {
        self.last.borrow().clone()
    }

    /// All reports, with word of each that says anything new.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<ByNode> {
        self.last.subscribe()
    }

    /// The UIDs of all of hai's pods by node, for those who report: what they use is used by no stranger. A node that is not
    /// in it has none. Whoever runs pods says this as soon as it knows them, and at each change.
    pub fn set_workers(&self, all: BTreeMap<NodeName, BTreeSet<String>>) {
        self.rest().workers = Some(all);
    }

    /// What was set of this node; `None` as long as nothing was set at all.
    #[must_use]
    pub fn workers(&self, node: &NodeName) -> Option<BTreeSet<String>> {
        self.rest().workers.as_ref().map(|all| all.get(node).cloned().unwrap_or_default())
    }

    /// This daemon watches the devices of this node itself, so that nobody else's word counts.
    pub fn set_own(&self, node: NodeName) {
        self.rest().own = Some(node);
    }

    /// Whether it does.
    #[must_use]
    pub fn is_own(&self, node: &NodeName) -> bool {
        self.rest().own.as_ref() == Some(node)
    }

    fn rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use hai_core::model::{DeviceHealth, DeviceId, DeviceLink, DeviceSpec, LinkKind, ModelName};

    use super::*;
    use crate::gpu::reading::{Process, Usage};
    use crate::gpu::report::{DeviceReport, PROCESSES_MAX, TEXT_BYTES_MAX};

    fn node(name: &str) -> NodeName {
        NodeName::new(name).expect("a name")
    }

    fn report(devices: usize) -> NodeReport {
        let device = |index: usize| {
            let id = DeviceId::new(format!("GPU-{index}")).expect("an id");
            let spec = DeviceSpec::new(id, ModelName::new("RTX 3070").expect("a name"), 8192);
            DeviceReport { spec, slice_of: None, pci: None, numa_node: None, usage: Usage::default() }
        };
        NodeReport { devices: (0..devices).map(device).collect(), ..NodeReport::default() }
    }

    fn many() -> NodeReport {
        report(65)
    }

    #[test]
    fn only_what_decides_is_news() {
        let reports = Reports::new();
        let mut heard = reports.subscribe();
        reports.put(node("a"), report(1), Time::from_ms(1)).expect("taken");
        assert!(heard.has_changed().expect("open"));
        heard.mark_unchanged();
        let mut warm = report(1);
        warm.devices[0].usage.temperature_c = Some(50);
        reports.put(node("a"), warm.clone(), Time::from_ms(2)).expect("taken");
        assert!(!heard.has_changed().expect("open"));
        let last = reports.get(&node("a")).expect("kept");
        assert_eq!((last.at, last.devices[0].usage.temperature_c), (Time::from_ms(2), Some(50)));
        warm.devices[0].spec.health = DeviceHealth::Sick { reason: "XID 79".to_owned() };
        reports.put(node("a"), warm, Time::from_ms(3)).expect("taken");
        assert!(heard.has_changed().expect("open"));
        heard.mark_unchanged();
        reports.retain(|name| *name != node("a"));
        assert!(heard.has_changed().expect("open") && reports.get(&node("a")).is_none());
    }

    #[test]
    fn a_node_without_pods_is_told_apart_from_not_knowing() {
        let reports = Reports::new();
        assert_eq!(reports.workers(&node("a")), None);
        reports.set_workers([(node("a"), ["uid".to_owned()].into())].into());
        assert_eq!(reports.workers(&node("a")), Some(["uid".to_owned()].into()));
        assert_eq!(reports.workers(&node("b")), Some(BTreeSet::new()));
    }

    #[test]
    fn what_can_not_be_is_refused_by_name() {
        let reports = Reports::new();
        let refused = |change: fn(&mut NodeReport)| {
            let mut report = report(2);
            change(&mut report);
            let error = reports.put(node("a"), report, Time::ZERO).expect_err("refused");
            assert!(reports.get(&node("a")).is_none());
            error.field
        };
        assert_eq!(refused(|report| *report = many()), "devices");
        assert_eq!(refused(|report| report.devices[1] = report.devices[0].clone()), "devices");
        assert_eq!(refused(|report| report.links = vec![DeviceLink { a: 0, b: 2, kind: LinkKind::NvLink }]), "links");
        assert_eq!(refused(|report| report.driver = Some("x".repeat(TEXT_BYTES_MAX + 1))), "driver");
        assert_eq!(refused(|report| report.notes = vec![String::new(); 17]), "notes");
        assert_eq!(refused(|report| report.notes = vec!["a\u{1b}[31m".to_owned()]), "notes.0");
        assert_eq!(refused(|report| report.devices[1].pci = Some("\n".to_owned())), "devices.1.pci");
        assert_eq!(refused(|report| report.devices[0].spec.memory_mib = u64::MAX), "devices.0.spec.memory_mib");
        let dark = |report: &mut NodeReport| {
            report.devices[0].spec.health = DeviceHealth::Sick { reason: "x".repeat(TEXT_BYTES_MAX + 1) };
        };
        assert_eq!(refused(dark), "devices.0.spec.health");
        let crowd = |report: &mut NodeReport| {
            let process = Process { pid: 1, name: None, memory_mib: None, computes: true, ours: false };
            report.devices[1].usage.processes = vec![process; PROCESSES_MAX + 1];
        };
        assert_eq!(refused(crowd), "devices.1.usage.processes");
    }
}
