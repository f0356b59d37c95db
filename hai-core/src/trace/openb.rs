//! Alibaba's openb trace of 2023: Q. Weng et al., Beware of Fragmentation, USENIX ATC 2023 (cluster-trace-gpu-v2023).
//!
//! Two lists: nodes (`sn, cpu_milli, memory_mib, gpu, model`) and pods (`name, cpu_milli, memory_mib, num_gpu, gpu_milli`, and
//! in most files `gpu_spec, qos, pod_phase, creation_time, deletion_time, scheduled_time`). Processors and parts of devices
//! are in thousandths, memory is in MiB, times are in seconds since the trace began.

use std::collections::BTreeSet;
use std::io::Read;

use super::{Row, Table, TraceError};
use crate::inventory::MILLI_PER_DEVICE;
use crate::model::{
    DEVICES_PER_NODE_MAX, DeviceId, DeviceSpec, Devices, GroupName, ModelName, NodeName, NodeSpec, WorkerRequest,
};

/// Reads a list of nodes, one at a time.
#[derive(Debug)]
pub struct OpenbNodes<R> {
    table: Table<R>,
    group: GroupName,
}

/// Reads a list of pods, one at a time.
#[derive(Debug)]
pub struct OpenbPods<R> {
    table: Table<R>,
}

/// One pod of the trace, which is a task of one worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenbPod {
    /// Its name, unique in the trace.
    pub name: String,
    /// Processors, in thousandths of a core.
    pub cpu_milli: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Devices; 0 for work on processors alone.
    pub num_gpu: u32,
    /// Of each of them, in thousandths; less than 1000 only of a single one.
    pub gpu_milli: u32,
    /// Models that will do, each as well as the other; empty for any.
    pub gpu_spec: Vec<ModelName>,
    /// What it was promised: `LS`, `BE`, `Burstable` or `Guaranteed`.
    pub qos: Option<String>,
    /// What had become of it when the trace was taken.
    pub phase: Option<String>,
    /// When it came, in seconds.
    pub created: Option<u64>,
    /// When it went, in seconds.
    pub deleted: Option<u64>,
    /// When it got its node, in seconds; `None` if it never did.
    pub scheduled: Option<u64>,
}

impl<R: Read> OpenbNodes<R> {
    /// Reads a list of nodes; they become members of `group`.
    ///
    /// # Errors
    /// The file can not be read, or a column is missing.
    pub fn open(read: R, group: GroupName) -> Result<Self, TraceError> {
        let table = Table::open(read, &["sn", "cpu_milli", "memory_mib", "gpu", "model"])?;
        Ok(OpenbNodes { table, group })
    }

    /// The next node; `None` at the end. The memory of its devices is not in the trace and is left at zero.
    pub fn next_node(&mut self) -> Option<Result<NodeSpec, TraceError>> {
        let group = &self.group;
        Some(self.table.next_row()?.and_then(|row| node(&row, group)))
    }
}

impl<R: Read> Iterator for OpenbNodes<R> {
    type Item = Result<NodeSpec, TraceError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.next_node()
    }
}

impl<R: Read> OpenbPods<R> {
    /// The line of the row that was read last, counted from 1.
    pub fn line(&self) -> u64 {
        self.table.line()
    }

    /// Reads a list of pods.
    ///
    /// # Errors
    /// The file can not be read, or one of the first five columns is missing; the others may be.
    pub fn open(read: R) -> Result<Self, TraceError> {
        Ok(OpenbPods { table: Table::open(read, &["name", "cpu_milli", "memory_mib", "num_gpu", "gpu_milli"])? })
    }

    /// The next pod; `None` at the end.
    pub fn next_pod(&mut self) -> Option<Result<OpenbPod, TraceError>> {
        Some(self.table.next_row()?.and_then(|row| pod(&row)))
    }
}

impl<R: Read> Iterator for OpenbPods<R> {
    type Item = Result<OpenbPod, TraceError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.next_pod()
    }
}

fn node(row: &Row<'_>, group: &GroupName) -> Result<NodeSpec, TraceError> {
    let sn = row.text("sn");
    let name = NodeName::new(sn).map_err(|error| row.wrong("sn", error.to_string()))?;
    let mut node = NodeSpec::new(name, group.clone(), row.number("cpu_milli")?, row.number("memory_mib")?);
    let devices: usize = row.number("gpu")?;
    if devices > DEVICES_PER_NODE_MAX {
        let what = format!("{devices} devices are more than the {DEVICES_PER_NODE_MAX} that a node may have");
        return Err(row.wrong("gpu", what));
    }
    if devices > 0 {
        let model = ModelName::new(row.text("model")).map_err(|error| row.wrong("model", error.to_string()))?;
        for at in 0..devices {
            let id = DeviceId::new(format!("{sn}-{at}")).map_err(|error| row.wrong("sn", error.to_string()))?;
            node.devices.push(DeviceSpec::new(id, model.clone(), 0));
        }
    }
    Ok(node)
}

/// Later times are mistakes.
const SECONDS_MAX: u64 = 1 << 40;

fn pod(row: &Row<'_>) -> Result<OpenbPod, TraceError> {
    let some = |column: &str| Some(row.text(column)).filter(|text| !text.is_empty()).map(String::from);
    let pod = OpenbPod {
        name: some("name").ok_or_else(|| row.wrong("name", "it is empty"))?,
        cpu_milli: row.number("cpu_milli")?,
        memory_mib: row.number("memory_mib")?,
        num_gpu: row.number("num_gpu")?,
        gpu_milli: row.number("gpu_milli")?,
        gpu_spec: models(row)?,
        qos: some("qos"),
        phase: some("pod_phase"),
        created: row.number_if_any("creation_time")?,
        deleted: row.number_if_any("deletion_time")?,
        scheduled: row.number_if_any("scheduled_time")?,
    };
    for (column, seconds) in
        [("creation_time", pod.created), ("deletion_time", pod.deleted), ("scheduled_time", pod.scheduled)]
    {
        if seconds.is_some_and(|seconds| seconds > SECONDS_MAX) {
            return Err(row.wrong(column, format!("it is more than {SECONDS_MAX} seconds")));
        }
    }
    let all = MILLI_PER_DEVICE;
    let wrong = match (pod.num_gpu, pod.gpu_milli) {
        (0, 0) | (1, 1..) => pod.gpu_milli > all,
        (2.., milli) => milli != all,
        _ => true,
    };
    if wrong {
        let what = format!(
            "{} thousandths of each of {} devices: of none there is 0, of one 1 to {all}, of several {all}",
            pod.gpu_milli, pod.num_gpu
        );
        return Err(row.wrong("gpu_milli", what));
    }
    if pod.num_gpu as usize > DEVICES_PER_NODE_MAX {
        let what = format!("{} devices are more than the {DEVICES_PER_NODE_MAX} that a node may have", pod.num_gpu);
        return Err(row.wrong("num_gpu", what));
    }
    Ok(pod)
}

fn models(row: &Row<'_>) -> Result<Vec<ModelName>, TraceError> {
    let text = row.text("gpu_spec");
    if text.is_empty() {
        return Ok(Vec::new());
    }
    text.split('|').map(|name| ModelName::new(name).map_err(|error| row.wrong("gpu_spec", error.to_string()))).collect()
}

impl OpenbPod {
    /// What it asks for of devices, in thousandths of one.
    #[must_use]
    pub fn device_milli(&self) -> u64 {
        u64::from(self.num_gpu) * u64::from(self.gpu_milli)
    }

    /// Its devices, as a request says it.
    #[must_use]
    pub fn devices(&self) -> Devices {
        if self.num_gpu == 1 && self.gpu_milli < MILLI_PER_DEVICE {
            Devices::Share(self.gpu_milli)
        } else {
            Devices::Count(self.num_gpu)
        }
    }

    /// Its request, where the cluster has these models. Models that will do are as good as each other in the trace,
    /// while a list of models in a request is one of preferences: so the others are forbidden instead.
    #[must_use]
    pub fn request(&self, models: &BTreeSet<ModelName>) -> WorkerRequest {
        let mut request = WorkerRequest::of(self.devices());
        request.cpu_milli = self.cpu_milli;
        request.memory_mib = self.memory_mib;
        if !self.gpu_spec.is_empty() && self.num_gpu > 0 {
            request.forbidden_models = models.iter().filter(|model| !self.gpu_spec.contains(model)).cloned().collect();
        }
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group() -> GroupName {
        GroupName::new("g").unwrap()
    }

    fn read_pods(text: &str) -> Vec<Result<OpenbPod, String>> {
        OpenbPods::open(text.as_bytes()).unwrap().map(|pod| pod.map_err(|error| error.to_string())).collect()
    }

    #[test]
    fn nodes_become_descriptions() {
        let text = "sn,cpu_milli,memory_mib,gpu,model\nn-1,64000,1024,2,A\nn-2,8000,512,0,\n";
        let nodes: Vec<NodeSpec> = OpenbNodes::open(text.as_bytes(), group()).unwrap().map(Result::unwrap).collect();
        assert_eq!((nodes[0].name.as_str(), nodes[0].cpu_milli, nodes[0].memory_mib), ("n-1", 64_000, 1024));
        let devices: Vec<_> =
            nodes[0].devices.iter().map(|device| (device.id.as_str(), device.model.as_str())).collect();
        assert_eq!(devices, [("n-1-0", "A"), ("n-1-1", "A")]);
        assert!(nodes[1].devices.is_empty());
        assert!(nodes.iter().all(|node| node.check().is_ok()));
    }

    #[test]
    fn broken_nodes_are_told_with_their_place() {
        let text = "sn,cpu_milli,memory_mib,gpu,model\n,1,1,1,A\na,-1,1,1,A\nb,1,1,65,A\nc,1,1,1,\nd,1,1,1,A\n";
        let read: Vec<_> = OpenbNodes::open(text.as_bytes(), group()).unwrap().collect();
        let places: Vec<_> = read
            .iter()
            .map(|node| node.as_ref().map_err(|error| (error.line, error.column.as_deref())).err())
            .collect();
        let at = |line, column| Some((line, Some(column)));
        assert_eq!(places, [at(2, "sn"), at(3, "cpu_milli"), at(4, "gpu"), at(5, "model"), None]);
        assert!(OpenbNodes::open("sn,cpu_milli\n".as_bytes(), group()).unwrap_err().to_string().contains("memory_mib"));
    }

    #[test]
    fn pods_are_read_with_and_without_the_optional_columns() {
        let short = read_pods("name,cpu_milli,memory_mib,num_gpu,gpu_milli\np,1000,2048,4,1000\n");
        let pod = short[0].as_ref().unwrap();
        assert_eq!((pod.devices(), pod.device_milli(), pod.created), (Devices::Count(4), 4000, None));
        let long = read_pods(
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n\
             p,1000,2048,1,460,A|B,LS,Running,7,9,\nq,1,0,0,0,,BE,,0,5,3\n",
        );
        let (p, q) = (long[0].as_ref().unwrap(), long[1].as_ref().unwrap());
        assert_eq!((p.devices(), p.created, p.deleted, p.scheduled), (Devices::Share(460), Some(7), Some(9), None));
        assert_eq!((p.qos.as_deref(), p.phase.as_deref()), (Some("LS"), Some("Running")));
        assert_eq!((q.devices(), q.phase.as_deref(), q.scheduled), (Devices::Count(0), None, Some(3)));
        let models = ["A", "B", "C"].map(|name| ModelName::new(name).unwrap()).into();
        let request = p.request(&models);
        assert!(request.models.is_empty());
        assert_eq!(request.forbidden_models, [ModelName::new("C").unwrap()].into());
        assert!(!q.request(&models).is_picky());
    }

    #[test]
    fn broken_pods_are_told_with_their_place_and_reading_goes_on() {
        let read = read_pods(
            "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,creation_time\n\
             ,1,1,1,1000,,\na,x,1,1,1000,,\nb,1,1.5,1,1000,,\nc,1,1,1,1001,,\nd,1,1,2,500,,\ne,1,1,0,10,,\nf,1,1,1,0,,\n\
             g,1,1,65,1000,,\nh,1,1,1,10,A||B,\ni,1,1,1,10,,soon\nj,1,1\nk,99999999999,1,1,10,,\nl,1,1,1,1000,A,1\n",
        );
        let begins: Vec<String> = read
            .iter()
            .map(|pod| match pod {
                Ok(pod) => pod.name.clone(),
                Err(error) => error.split(": ").next().unwrap_or("").to_owned(),
            })
            .collect();
        let at = |line: u64, column: &str| format!("line {line}, column {column}");
        let expected = [
            at(2, "name"),
            at(3, "cpu_milli"),
            at(4, "memory_mib"),
            at(5, "gpu_milli"),
            at(6, "gpu_milli"),
            at(7, "gpu_milli"),
            at(8, "gpu_milli"),
            at(9, "num_gpu"),
            at(10, "gpu_spec"),
            at(11, "creation_time"),
            "line 12".to_owned(),
            at(13, "cpu_milli"),
            "l".to_owned(),
        ];
        assert_eq!(begins, expected);
    }
}
