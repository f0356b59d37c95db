//! What arrives at which cluster: the trace, shuffled, with its load tuned, and the nodes in a random order.

use std::collections::BTreeSet;

use super::go_random::GoRandom;
use crate::inventory::MILLI_PER_DEVICE;
use crate::model::{ModelName, NodeSpec, WorkerRequest};
use crate::placement::policy::{Fgd, Typical};
use crate::trace::OpenbPod;

/// Numbers that the authors' simulator draws between the pods and the nodes and does nothing with.
const DRAWS_WASTED: usize = 10;

/// A cluster, and the work that is sampled from.
#[derive(Clone, Debug)]
pub struct Workload {
    /// The nodes that have devices, by name.
    nodes: Vec<NodeSpec>,
    /// The pods, by name.
    pods: Vec<OpenbPod>,
    models: BTreeSet<ModelName>,
}

/// The course of one run: what comes when, and which node is before which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Course {
    /// Pods in the order in which they arrive, by their place in [`Workload::pods`].
    pub arrivals: Vec<usize>,
    /// The rank of each node of [`Workload::nodes`]: of nodes that are as good as each other the smallest rank is taken.
    pub ranks: Vec<usize>,
}

/// Why no course can be drawn.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CourseError {
    /// The load is none that can be reached.
    #[error("a load of {0} times the cluster can not be played: say more than 0 and at most {LOAD_MAX}")]
    Load(f64),
    /// There is nothing to sample from.
    #[error("no pod of the trace asks for devices, so that no load can be reached")]
    NoWork,
    /// There is nothing to fill.
    #[error("no node of the trace has devices")]
    NoDevices,
}

/// The most load that is drawn, relative to the cluster.
const LOAD_MAX: f64 = 100.0;

impl Workload {
    /// A trace in any order. Nodes without devices take no part in the experiment and are left out.
    #[must_use]
    pub fn new(nodes: Vec<NodeSpec>, pods: Vec<OpenbPod>) -> Self {
        let (mut nodes, mut pods) = (nodes, pods);
        nodes.retain(|node| !node.devices.is_empty());
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        pods.sort_by(|a, b| a.name.cmp(&b.name));
        let models = nodes.iter().flat_map(|node| &node.devices).map(|device| device.model.clone()).collect();
        Workload { nodes, pods, models }
    }

    /// The nodes that have devices, by name.
    #[must_use]
    pub fn nodes(&self) -> &[NodeSpec] {
        &self.nodes
    }

    /// The pods, by name.
    #[must_use]
    pub fn pods(&self) -> &[OpenbPod] {
        &self.pods
    }

    /// All devices, in thousandths.
    #[must_use]
    pub fn device_milli(&self) -> u64 {
        self.nodes.iter().map(|node| node.devices.len() as u64 * u64::from(MILLI_PER_DEVICE)).sum()
    }

    /// What a pod asks for; see [`OpenbPod::request`].
    #[must_use]
    pub fn request(&self, pod: &OpenbPod) -> WorkerRequest {
        pod.request(&self.models)
    }

    /// The work that is expected: the most frequent classes of the trace, memory left aside, until 95 of 100 pods are of
    /// one. Of equally frequent classes the one that asks for more comes first.
    #[must_use]
    pub fn typical(&self) -> Vec<Typical> {
        let key = |pod: &OpenbPod| {
            let spec: Vec<&str> = pod.gpu_spec.iter().map(ModelName::as_str).collect();
            (pod.cpu_milli, pod.gpu_milli, pod.num_gpu, spec.join("|"))
        };
        let mut keyed: Vec<_> = self.pods.iter().map(|pod| (key(pod), pod)).collect();
        keyed.sort_by(|a, b| b.0.cmp(&a.0));
        let classes = keyed.chunk_by(|a, b| a.0 == b.0).map(|class| {
            let request = WorkerRequest { memory_mib: 0, ..self.request(class[0].1) };
            (request, u32::try_from(class.len()).unwrap_or(u32::MAX))
        });
        Fgd::typical(classes)
    }

    /// Draws a run: the trace shuffled, then, up to `load` times the cluster, pods drawn from it again, or, if it is more
    /// than that, pods taken out; and an order of the nodes.
    ///
    /// # Errors
    /// There is no work or no device, or the load can not be reached.
    pub fn course(&self, seed: i64, load: f64) -> Result<Course, CourseError> {
        if !(load > 0.0 && load <= LOAD_MAX) {
            return Err(CourseError::Load(load));
        }
        if self.nodes.is_empty() {
            return Err(CourseError::NoDevices);
        }
        let milli = |pod: usize| self.pods[pod].device_milli();
        let mut arrivals: Vec<usize> = (0..self.pods.len()).collect();
        let mut sum: u64 = arrivals.iter().map(|&pod| milli(pod)).sum();
        if sum == 0 {
            return Err(CourseError::NoWork);
        }
        let mut random = GoRandom::new(seed);
        // An argument of a line in the log, drawn also when nothing is logged.
        random.int63();
        random.shuffle(&mut arrivals);
        let target = load * self.device_milli() as f64;
        if (sum as f64) < target {
            loop {
                let pod = random.below(self.pods.len());
                // By one of its devices, so that the last one may go beyond the target.
                if (sum + u64::from(self.pods[pod].gpu_milli)) as f64 > target {
                    break;
                }
                arrivals.push(pod);
                sum += milli(pod);
            }
        } else {
            while sum as f64 > target {
                sum -= milli(arrivals.remove(random.below(arrivals.len())));
            }
        }
        (0..DRAWS_WASTED).for_each(|_| {
            random.int63();
        });
        Ok(Course { arrivals, ranks: random.permutation(self.nodes.len()) })
    }
}
