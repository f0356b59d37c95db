//! Builders of nodes and tasks with the defaults of the worked examples: eight devices a node, whole nodes a task.

use hai_core::model::*;

/// What workers may have of a node of 128 cores, once 10 are kept back.
pub(crate) const NODE_CORES: u32 = 118;
/// What workers may have of a node of 512 GiB, once 23 are kept back.
pub(crate) const NODE_GIB: u64 = 489;

pub(crate) fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

pub(crate) fn group(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

pub(crate) fn secs(secs: u64) -> Span {
    Span::from_secs(secs)
}

/// A node on its way to being described.
#[derive(Clone)]
pub(crate) struct NodeBuilder(NodeSpec);

/// A ready node of group `g` with eight devices `A100` of 80 GiB, 118 cores and 489 GiB.
pub(crate) fn node(name: &str) -> NodeBuilder {
    NodeBuilder(NodeSpec::new(NodeName::new(name).unwrap(), group("g"), NODE_CORES * 1000, NODE_GIB * 1024)).devices(8)
}

impl NodeBuilder {
    pub(crate) fn devices(self, count: u32) -> Self {
        self.devices_of(count, "A100", 80)
    }

    pub(crate) fn devices_of(mut self, count: u32, model: &str, gib: u64) -> Self {
        self.0.devices.clear();
        self.and_devices_of(count, model, gib)
    }

    pub(crate) fn and_devices_of(mut self, count: u32, model: &str, gib: u64) -> Self {
        for _ in 0..count {
            let id = DeviceId::new(format!("{}-{}", self.0.name, self.0.devices.len())).unwrap();
            let model = ModelName::new(model).unwrap();
            self.0.devices.push(DeviceSpec::new(id, model, gib * 1024));
        }
        self
    }

    pub(crate) fn group(mut self, name: &str) -> Self {
        self.0.group = group(name);
        self
    }

    pub(crate) fn cores(mut self, cores: u32) -> Self {
        self.0.cpu_milli = cores * 1000;
        self
    }

    pub(crate) fn gib(mut self, gib: u64) -> Self {
        self.0.memory_mib = gib * 1024;
        self
    }

    pub(crate) fn cordoned(mut self) -> Self {
        self.0.cordoned = true;
        self
    }

    pub(crate) fn draining(mut self) -> Self {
        self.0.draining = true;
        self
    }

    pub(crate) fn not_ready(mut self) -> Self {
        self.0.ready = false;
        self
    }

    pub(crate) fn taint(mut self, taint: &str) -> Self {
        self.0.taints.insert(taint.to_owned());
        self
    }

    /// What no other method here says.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut NodeSpec)) -> Self {
        change(&mut self.0);
        self
    }

    pub(crate) fn spec(self) -> NodeSpec {
        self.0
    }
}

/// A task on its way to being submitted.
#[derive(Clone)]
pub(crate) struct TaskBuilder(TaskSpec);

/// A task of user `u` for one whole node of group `g` at `HIGH`.
pub(crate) fn task(name: &str) -> TaskBuilder {
    TaskBuilder(TaskSpec::new(name, user("u"), group("g"), Priority::High, WorkerRequest::whole_node()))
}

impl TaskBuilder {
    pub(crate) fn of(spec: TaskSpec) -> Self {
        TaskBuilder(spec)
    }

    pub(crate) fn user(mut self, name: &str) -> Self {
        self.0.user = user(name);
        self
    }

    pub(crate) fn group(mut self, name: &str) -> Self {
        self.0.group = group(name);
        self
    }

    pub(crate) fn prio(mut self, priority: Priority) -> Self {
        self.0.priority = priority;
        self
    }

    pub(crate) fn rank(mut self, rank: f64) -> Self {
        self.0.custom_rank = Rank::new(rank);
        self
    }

    /// So many whole nodes.
    pub(crate) fn nodes(mut self, nodes: u32) -> Self {
        self.0.workers = nodes;
        self.0.request.devices = Devices::WholeNode;
        self
    }

    /// Workers with so many devices each.
    pub(crate) fn devices(mut self, count: u32) -> Self {
        self.0.request.devices = Devices::Count(count);
        self
    }

    pub(crate) fn workers(mut self, workers: u32) -> Self {
        self.0.workers = workers;
        self
    }

    pub(crate) fn distinct(mut self) -> Self {
        self.0.distinct_nodes = true;
        self
    }

    pub(crate) fn models(mut self, models: &[&str]) -> Self {
        self.0.request.models = models.iter().map(|model| ModelName::new(model).unwrap()).collect();
        self
    }

    pub(crate) fn device_gib(mut self, gib: u64) -> Self {
        self.0.request.device_memory_mib = gib * 1024;
        self
    }

    pub(crate) fn cores(mut self, cores: u32) -> Self {
        self.0.request.cpu_milli = cores * 1000;
        self
    }

    pub(crate) fn gib(mut self, gib: u64) -> Self {
        self.0.request.memory_mib = gib * 1024;
        self
    }

    pub(crate) fn tolerates(mut self, taint: &str) -> Self {
        self.0.tolerates.insert(taint.to_owned());
        self
    }

    /// A part of one device each, in thousandths.
    pub(crate) fn share(mut self, milli: u32) -> Self {
        self.0.request.devices = Devices::Share(milli);
        self
    }

    /// So many MiB of one device each.
    pub(crate) fn memory_mib(mut self, mib: u64) -> Self {
        self.0.request.devices = Devices::Memory(mib);
        self
    }

    pub(crate) fn background(mut self) -> Self {
        self.0.kind = TaskKind::Background;
        self
    }

    pub(crate) fn interactive(mut self, lease: Span, idle_after: Option<Span>) -> Self {
        self.0.kind = TaskKind::Interactive { lease, idle_after };
        self
    }

    pub(crate) fn not_suspendable(mut self) -> Self {
        self.0.suspendable = false;
        self
    }

    pub(crate) fn limit(mut self, limit: Span) -> Self {
        self.0.limit = Some(limit);
        self
    }

    pub(crate) fn not_before(mut self, second: u64) -> Self {
        self.0.not_before = Some(Time::ZERO + secs(second));
        self
    }

    /// Waits for the success of these tasks.
    pub(crate) fn after(self, tasks: &[TaskId]) -> Self {
        self.after_as(tasks, DependsOn::Success)
    }

    /// Waits for the end of these tasks, however that is.
    pub(crate) fn after_any(self, tasks: &[TaskId]) -> Self {
        self.after_as(tasks, DependsOn::Any)
    }

    fn after_as(mut self, tasks: &[TaskId], ended: DependsOn) -> Self {
        self.0.after.extend(tasks.iter().map(|&task| Dependency { task, ended }));
        self
    }

    pub(crate) fn retries(mut self, limit: u32, back_off: Span) -> Self {
        self.0.retries = Some(Retries { limit, back_off, avoid_nodes: true });
        self
    }

    /// What no other method here says.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut TaskSpec)) -> Self {
        change(&mut self.0);
        self
    }

    pub(crate) fn grace(mut self, answer_secs: u64, finish_secs: u64) -> Self {
        self.0.grace = Grace { answer: secs(answer_secs), finish: secs(finish_secs) };
        self
    }

    pub(crate) fn spec(self) -> TaskSpec {
        self.0
    }
}
