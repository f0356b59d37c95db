//! One thing that could be different: how it is tried in a copy, and what one step less of it would be.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::explain::why::Other;
use crate::explain::why::words::{charge, cores, count, memory};
use crate::model::*;

/// Something that could be different for a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// Somebody releases it.
    Released,
    /// It asks for fewer workers; of an elastic gang, fewer are worth a start.
    FewerWorkers {
        /// The fewest that it asks for.
        from: u32,
        /// The most that would do.
        to: u32,
    },
    /// Each worker asks for fewer devices, or for a smaller part of one.
    FewerDevices {
        /// What it asks for.
        from: Devices,
        /// The most that would do.
        to: Devices,
    },
    /// It does with devices of less memory.
    LessDeviceMemory {
        /// MiB that it asks for.
        from: u64,
        /// The most that would do.
        to: u64,
    },
    /// Each worker does with fewer cores.
    LessCores {
        /// Thousandths of a core that it asks for.
        from: u32,
        /// The most that would do.
        to: u32,
    },
    /// Each worker does with less memory.
    LessMemory {
        /// MiB that it asks for.
        from: u64,
        /// The most that would do.
        to: u64,
    },
    /// It does with another model too.
    AlsoModel {
        /// The model.
        model: ModelName,
    },
    /// It tolerates a taint.
    Tolerates {
        /// The taint.
        taint: String,
    },
    /// It may be suspended.
    Suspendable,
    /// It is over sooner.
    ShorterLimit {
        /// How long it may run, if there is a limit.
        from: Option<Span>,
        /// The longest limit that would do.
        to: Span,
    },
    /// It has another priority.
    Priority {
        /// The one that it has.
        from: Priority,
        /// The nearest that would do.
        to: Priority,
    },
    /// An operator gives more right.
    MoreRight {
        /// The row as it would be.
        row: RightRow,
        /// How much more that is; the least that would do.
        by: Charge,
    },
    /// An operator gives a team more of its own.
    MorePool {
        /// The team.
        team: TeamName,
        /// The group.
        group: GroupName,
        /// How much more; the least that would do.
        by: Charge,
    },
    /// Another task ends.
    TaskEnds {
        /// That task.
        task: Other,
    },
    /// A node is ready again.
    NodeReady {
        /// The node.
        node: NodeName,
    },
    /// An operator lets a node take new work again.
    Uncordoned {
        /// The node.
        node: NodeName,
    },
    /// An operator drains a node no more.
    Undrained {
        /// The node.
        node: NodeName,
    },
    /// A device is well again.
    DeviceHealed {
        /// The node.
        node: NodeName,
        /// The device.
        device: DeviceId,
    },
}

impl Change {
    /// Makes it so for a task in a copy of an engine. False if it can not be, or changes nothing.
    pub fn apply(&self, copy: &mut Engine, task: TaskId) -> bool {
        let now = copy.now();
        let mut tell = |fact: &Fact| copy.observe(now, fact).unwrap_or(false);
        match self {
            Change::Released => tell(&Fact::Released { task }),
            Change::Priority { to, .. } => {
                let Some(view) = copy.task(task) else { return false };
                let custom_rank = view.spec.custom_rank;
                copy.observe(now, &Fact::Reprioritised { task, priority: *to, custom_rank }).unwrap_or(false)
            }
            Change::MoreRight { row, .. } => tell(&Fact::RightSet { right: row.clone() }),
            Change::MorePool { team, group, by } => {
                let Some(mut team) = copy.teams().find(|known| known.name == *team).cloned() else { return false };
                for pool in team.pools.iter_mut().filter(|pool| pool.group == *group) {
                    pool.own = add(pool.own, *by);
                }
                copy.observe(now, &Fact::TeamSet { team }).unwrap_or(false)
            }
            Change::TaskEnds { task } => task.task.is_some_and(|task| end(copy, task)),
            Change::NodeReady { node } => change_node(copy, node, |node| node.ready = true),
            Change::Uncordoned { node } => {
                change_node(copy, node, |node| (node.cordoned, node.closed) = (false, false))
            }
            Change::Undrained { node } => change_node(copy, node, |node| node.draining = false),
            Change::DeviceHealed { node, device } => {
                tell(&Fact::DeviceChanged { node: node.clone(), device: device.clone(), health: DeviceHealth::Healthy })
            }
            _ => {
                let Some(view) = copy.task(task) else { return false };
                let spec = TaskSpec::clone(&view.spec);
                let Some(spec) = self.change_spec(spec) else { return false };
                spec != *view.spec && copy.respec(task, spec)
            }
        }
    }

    /// What its owner would have submitted; `None` if this is about something else.
    #[must_use]
    pub fn change_spec(&self, mut spec: TaskSpec) -> Option<TaskSpec> {
        match self {
            Change::FewerWorkers { to, .. } if spec.workers_min.is_some() => spec.workers_min = Some(*to),
            Change::FewerWorkers { to, .. } => spec.workers = *to,
            Change::FewerDevices { to, .. } => spec.request.devices = *to,
            Change::LessDeviceMemory { to, .. } => spec.request.device_memory_mib = *to,
            Change::LessCores { to, .. } => spec.request.cpu_milli = *to,
            Change::LessMemory { to, .. } => spec.request.memory_mib = *to,
            Change::AlsoModel { model } => {
                spec.request.forbidden_models.remove(model);
                if !spec.request.models.is_empty() && !spec.request.models.contains(model) {
                    spec.request.models.push(model.clone());
                }
            }
            Change::Tolerates { taint } => {
                spec.tolerates.insert(taint.clone());
            }
            Change::Suspendable => spec.suspendable = true,
            Change::ShorterLimit { to, .. } => spec.limit = Some(*to),
            _ => return None,
        }
        Some(spec)
    }

    /// The next smaller change of the same kind, which would not do; `None` if that would be no change.
    #[must_use]
    pub fn one_step_less(&self) -> Option<Change> {
        match self {
            Change::FewerWorkers { from, to } => {
                (to + 1 < *from).then(|| Change::FewerWorkers { from: *from, to: to + 1 })
            }
            Change::FewerDevices { from, to } => {
                let to = match *to {
                    Devices::Count(count) => Devices::Count(count + 1),
                    Devices::Share(milli) => Devices::Share(milli + 1),
                    Devices::Memory(mib) => Devices::Memory(mib + 1),
                    Devices::WholeNode => return None,
                };
                (to != *from).then_some(Change::FewerDevices { from: *from, to })
            }
            Change::LessDeviceMemory { from, to } => {
                (to + 1 < *from).then(|| Change::LessDeviceMemory { from: *from, to: to + 1 })
            }
            Change::LessCores { from, to } => (to + 1 < *from).then(|| Change::LessCores { from: *from, to: to + 1 }),
            Change::LessMemory { from, to } => (to + 1 < *from).then(|| Change::LessMemory { from: *from, to: to + 1 }),
            Change::ShorterLimit { from, to } => {
                let longer = *to + Span::from_ms(1);
                from.is_none_or(|from| longer < from).then_some(Change::ShorterLimit { from: *from, to: longer })
            }
            Change::Priority { from, to } => {
                let at = |level: Priority| Priority::LEVELS.iter().position(|known| *known == level);
                let (from_at, to_at) = (at(*from)?, at(*to)?);
                let nearer = if to_at < from_at { to_at + 1 } else { to_at.checked_sub(1)? };
                (nearer != from_at).then(|| Change::Priority { from: *from, to: Priority::LEVELS[nearer] })
            }
            Change::MoreRight { row, by } => {
                let (step, less) = step_of(*by)?;
                let allowance = Allowance {
                    nodes: lower(row.allowance.nodes, step.nodes),
                    devices: lower(row.allowance.devices, step.devices),
                };
                Some(Change::MoreRight { row: RightRow { allowance, ..row.clone() }, by: less })
            }
            Change::MorePool { team, group, by } => {
                let (_, less) = step_of(*by)?;
                Some(Change::MorePool { team: team.clone(), group: group.clone(), by: less })
            }
            _ => None,
        }
    }
}

/// The smallest step, and what is left of an increase without it; `None` if nothing is.
fn step_of(by: Charge) -> Option<(Charge, Charge)> {
    let one = |amount: Amount| if amount.is_zero() { amount } else { Amount::from_milli(1) };
    let step = Charge { nodes: one(by.nodes), devices: one(by.devices) };
    let less = by.minus(step);
    (!less.is_nothing()).then_some((step, less))
}

fn lower(limit: Limit, step: Amount) -> Limit {
    match limit {
        Limit::AtMost(most) => Limit::AtMost(most.minus(step)),
        Limit::Unlimited => Limit::Unlimited,
    }
}

/// An allowance that is greater by so much.
pub(super) fn add(allowance: Allowance, by: Charge) -> Allowance {
    let one = |limit: Limit, by: Amount| match limit {
        Limit::AtMost(most) => Limit::AtMost(most + by),
        Limit::Unlimited => Limit::Unlimited,
    };
    Allowance { nodes: one(allowance.nodes, by.nodes), devices: one(allowance.devices, by.devices) }
}

fn change_node(copy: &mut Engine, name: &NodeName, change: impl FnOnce(&mut NodeSpec)) -> bool {
    let Some(mut node) = copy.nodes().find(|node| node.spec.name == *name).map(|node| node.spec) else { return false };
    change(&mut node);
    copy.observe(copy.now(), &Fact::NodeSet { node }).unwrap_or(false)
}

/// All workers of a task's run end with success; a task without one is stopped.
fn end(copy: &mut Engine, id: TaskId) -> bool {
    let now = copy.now();
    let Some(view) = copy.task(id) else { return false };
    let Some(run) = view.run.and_then(|run| copy.run(run)) else {
        return copy.observe(now, &Fact::Cancelled { task: id }).unwrap_or(false);
    };
    let alive = (0..).zip(&run.workers).filter(|(_, worker)| !matches!(worker.state, WorkerState::Ended { .. }));
    let exit = WorkerExit { declared_done: true, ..WorkerExit::exited(0) };
    let ends: Vec<Fact> = alive.map(|(rank, _)| Fact::WorkerEnded { run: run.id, rank, exit: exit.clone() }).collect();
    ends.iter().all(|fact| copy.observe(now, fact).unwrap_or(false))
}

fn devices(devices: Devices) -> String {
    match devices {
        Devices::WholeNode => "a whole node".to_owned(),
        Devices::Count(number) => count(number, "GPU"),
        Devices::Share(milli) => format!("{} of a GPU", Amount::from_milli(milli.into())),
        Devices::Memory(mib) => format!("{} of a GPU's memory", memory(mib)),
    }
}

/// What would be different, as an advice.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Change::Released => f.write_str("resume it (`hai resume`)"),
            Change::FewerWorkers { from, to } => write!(f, "ask for {} instead of {from}", count(*to, "worker")),
            Change::FewerDevices { from, to } => {
                write!(f, "ask for {} a worker instead of {}", devices(*to), devices(*from))
            }
            Change::LessDeviceMemory { from, to: 0 } => {
                write!(f, "ask for GPUs of any memory instead of at least {}", memory(*from))
            }
            Change::LessDeviceMemory { from, to } => {
                write!(f, "ask for GPUs with {} instead of {}", memory(*to), memory(*from))
            }
            Change::LessCores { from, to } => write!(f, "ask for {} a worker instead of {}", cores(*to), cores(*from)),
            Change::LessMemory { from, to } => {
                write!(f, "ask for {} of memory a worker instead of {}", memory(*to), memory(*from))
            }
            Change::AlsoModel { model } => write!(f, "let it use {model} too"),
            Change::Tolerates { taint } => write!(f, "let it tolerate the taint `{taint}`"),
            Change::Suspendable => f.write_str("let it be suspended"),
            Change::ShorterLimit { from: Some(from), to } => write!(f, "limit it to {to} instead of {from}"),
            Change::ShorterLimit { from: None, to } => write!(f, "limit it to {to}"),
            Change::Priority { from, to } => write!(f, "give it priority {to} instead of {from}"),
            Change::MoreRight { row, by } => {
                let key = &row.key;
                let whom = match (&key.user, &key.team) {
                    (Some(user), _) => user.to_string(),
                    (None, Some(team)) => format!("every member of team {team}"),
                    (None, None) => "everybody".to_owned(),
                };
                let what = if key.cap { "raise the cap for" } else { "let an operator give" };
                write!(f, "{what} {whom} {} more", charge(*by))?;
                if let Some(model) = &key.model {
                    write!(f, " of {model}")?;
                }
                if let Some(group) = &key.group {
                    write!(f, " in group {group}")?;
                }
                match key.priority {
                    Some(level) => write!(f, " at {level}"),
                    None => Ok(()),
                }
            }
            Change::MorePool { team, group, by } => {
                write!(f, "let an operator give team {team} {} more in group {group}", charge(*by))
            }
            Change::TaskEnds { task } => write!(f, "if {task} ended"),
            Change::NodeReady { node } => write!(f, "if node {node} were ready again"),
            Change::Uncordoned { node } => write!(f, "if an operator uncordoned node {node}"),
            Change::Undrained { node } => write!(f, "if an operator stopped draining node {node}"),
            Change::DeviceHealed { node, device } => write!(f, "if GPU {device} of node {node} were well again"),
        }
    }
}
