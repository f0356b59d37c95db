//! What is known of one run and its workers.

use hai_core::model::{DeviceId, Grace, NodeName, TaskId, WorkerExit};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::time::Instant;

use super::names::{DEVICES, HEARD};

/// How long what a node said goes wrong counts.
const WARNING_LASTS: std::time::Duration = std::time::Duration::from_secs(300);

/// A run that was ordered, or found.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) task: TaskId,
    pub(crate) stage: Stage,
    pub(crate) workers: Vec<Worker>,
    /// How long it has to leave, if it is not told otherwise.
    pub(crate) grace: Grace,
    /// It was told to leave.
    pub(crate) leaving: Option<Leaving>,
    /// What its workers are told when they ask: the grace, once their pods are being deleted.
    pub(crate) flag: watch::Sender<Option<Grace>>,
}

/// How far a run's start is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Its pods are being made; nothing executes.
    Making,
    /// It can not be called off any more: its pods are being bound.
    Binding,
    /// All pods are bound.
    Bound,
    /// Its start was called off; what was made is being removed.
    CalledOff,
    /// Found half made, and not ordered again yet.
    Found(Instant),
}

/// A run was told to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) since: Instant,
    pub(crate) grace: Grace,
}

/// A worker of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Worker {
    /// Where it is, or is meant to be.
    pub(crate) node: Option<NodeName>,
    /// Its pod is on that node.
    pub(crate) bound: bool,
    /// Its pod's UID, by which processes on its node are known to be ours.
    pub(crate) uid: Option<String>,
    /// That it executes was told.
    pub(crate) started: bool,
    /// It said that it heard that it must leave.
    pub(crate) heard: bool,
    /// Since when it has not come, and why.
    pub(crate) held: Option<(Instant, String)>,
    /// What its pod says is wrong, as long as it has not come.
    pub(crate) said: Option<String>,
    /// What its node said last that goes wrong while it is made, and when.
    pub(crate) warned: Option<(Instant, String)>,
    pub(crate) exit: Option<WorkerExit>,
    /// It will never execute, and ends so once its pod is off its node.
    pub(crate) condemned: Option<WorkerExit>,
    /// What it was given.
    pub(crate) devices: Vec<DeviceId>,
    /// Its output is being copied.
    pub(crate) followed: Option<watch::Receiver<bool>>,
}

impl Run {
    pub(crate) fn new(task: TaskId, stage: Stage, workers: usize, grace: Grace) -> Self {
        Run {
            task,
            stage,
            workers: vec![Worker::default(); workers],
            grace,
            leaving: None,
            flag: watch::Sender::new(None),
        }
    }

    /// Takes in that it must leave from now on.
    pub(crate) fn leave(&mut self, grace: Grace) -> Leaving {
        *self.leaving.insert(Leaving { since: Instant::now(), grace })
    }

    /// Whether something of it may execute.
    pub(crate) fn executes(&self) -> bool {
        self.workers.iter().any(|worker| worker.bound && worker.exit.is_none())
    }
}

impl Worker {
    /// Takes in that it has not come yet, with what its pod says is wrong, if that says something.
    pub(crate) fn is_coming(&mut self, said: Option<String>) {
        self.said = said;
        self.weigh();
    }

    /// Takes in that it has come, or never will: nothing holds it any more.
    pub(crate) fn has_come(&mut self) {
        (self.said, self.warned, self.held) = (None, None, None);
    }

    /// Takes in what its node says goes wrong.
    pub(crate) fn warn(&mut self, problem: String) {
        self.warned = Some((Instant::now(), problem));
        self.weigh();
    }

    /// Forgets what its node has not repeated for a while: trouble that lasts is told again every two minutes or so.
    pub(crate) fn forget_old_warning(&mut self) {
        if self.warned.as_ref().is_some_and(|(at, _)| at.elapsed() >= WARNING_LASTS) {
            self.warned = None;
            self.weigh();
        }
    }

    /// What its node said counts before what stands in its pod, which often names no cause.
    fn weigh(&mut self) {
        let problem = self.warned.as_ref().map(|(_, problem)| problem).or(self.said.as_ref());
        let since = self.held.as_ref().map_or_else(Instant::now, |(since, _)| *since);
        self.held = problem.map(|problem| (since, problem.clone()));
    }

    /// Takes in what a pod says of itself, whatever its state.
    pub(crate) fn note(&mut self, pod: &Pod) {
        if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
            self.node = NodeName::new(node).ok().or(self.node.take());
            self.bound = true;
            self.uid = pod.metadata.uid.clone().or(self.uid.take());
        }
        let notes = pod.metadata.annotations.as_ref();
        self.heard |= notes.is_some_and(|notes| notes.contains_key(HEARD));
        if let Some(devices) = notes.and_then(|notes| notes.get(DEVICES)).filter(|_| self.devices.is_empty()) {
            self.devices = devices.split(',').filter_map(|id| DeviceId::new(id).ok()).collect();
        }
    }
}
