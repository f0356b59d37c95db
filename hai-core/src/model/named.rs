//! Walks over all names and free texts in what a log holds, so that they can be collected or replaced.
//!
//! Every field is named below: one that is added has to be looked at here before it builds again. Device models and MIG
//! profiles are products and stay.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::*;

/// What kind of name something is. Names of one kind are compared with each other, those of two kinds never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum NameKind {
    User,
    Task,
    Group,
    Node,
    Device,
    Team,
    Place,
    Taint,
    Label,
    LabelValue,
    /// Free text: reasons, and processes of strangers.
    Text,
}

/// Is shown every name, and may give another in its place.
pub(crate) trait Renamer {
    fn rename(&mut self, kind: NameKind, name: &str) -> Option<String>;
}

/// Something with names in it.
pub(crate) trait Named {
    /// Shows all of them, in no particular order.
    fn each_name(&mut self, renamer: &mut dyn Renamer);
}

/// Shows a text.
pub(crate) fn show(kind: NameKind, text: &mut String, renamer: &mut dyn Renamer) {
    if let Some(other) = renamer.rename(kind, text) {
        *text = other;
    }
}

macro_rules! names {
    ($($type:ident is $kind:ident),* $(,)?) => {$(
        impl Named for $type {
            fn each_name(&mut self, renamer: &mut dyn Renamer) {
                if let Some(other) = renamer.rename(NameKind::$kind, self.as_str()) {
                    *self = $type::new(other).expect("what stands for a name is one");
                }
            }
        }
    )*};
}

names!(UserName is User, GroupName is Group, NodeName is Node, DeviceId is Device, TeamName is Team, PlaceName is Place);

impl<T: Named> Named for Option<T> {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        self.iter_mut().for_each(|inner| inner.each_name(renamer));
    }
}

impl<T: Named> Named for Vec<T> {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        self.iter_mut().for_each(|inner| inner.each_name(renamer));
    }
}

impl<T: Named + Ord> Named for BTreeSet<T> {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        *self = std::mem::take(self)
            .into_iter()
            .map(|mut inner| {
                inner.each_name(renamer);
                inner
            })
            .collect();
    }
}

fn labels(labels: &mut BTreeMap<String, String>, renamer: &mut dyn Renamer) {
    *labels = std::mem::take(labels)
        .into_iter()
        .map(|(mut label, mut value)| {
            show(NameKind::Label, &mut label, renamer);
            show(NameKind::LabelValue, &mut value, renamer);
            (label, value)
        })
        .collect();
}

fn taints(taints: &mut BTreeSet<String>, renamer: &mut dyn Renamer) {
    *taints = std::mem::take(taints)
        .into_iter()
        .map(|mut taint| {
            show(NameKind::Taint, &mut taint, renamer);
            taint
        })
        .collect();
}

impl Named for TaskSpec {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        let TaskSpec {
            name,
            user,
            group,
            tolerates,
            constraints,
            priority: _,
            custom_rank: _,
            kind: _,
            workers: _,
            workers_min: _,
            request: _,
            distinct_nodes: _,
            grace: _,
            suspendable: _,
            expected: _,
            limit: _,
            deadline: _,
            restart_cost: _,
            checkpoint_every: _,
            retries: _,
            after: _,
            not_before: _,
        } = self;
        show(NameKind::Task, name, renamer);
        user.each_name(renamer);
        group.each_name(renamer);
        taints(tolerates, renamer);
        if let Some(constraints) = constraints {
            let Constraints { zones, labels: wanted, one_leaf: _, one_zone: _, arrangement: _ } = &mut **constraints;
            zones.each_name(renamer);
            labels(wanted, renamer);
        }
    }
}

impl Named for NodeSpec {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        let NodeSpec {
            name,
            group,
            devices,
            taints: wanted,
            labels: carried,
            location,
            cpu_milli: _,
            memory_mib: _,
            ready: _,
            cordoned: _,
            draining: _,
            links: _,
        } = self;
        name.each_name(renamer);
        group.each_name(renamer);
        for device in devices {
            let DeviceSpec { id, health, model: _, memory_mib: _, compute_capability: _, mig_profile: _ } = device;
            id.each_name(renamer);
            health.each_name(renamer);
        }
        taints(wanted, renamer);
        labels(carried, renamer);
        let Location { leaf, spine, zone } = location;
        [leaf, spine, zone].into_iter().for_each(|place| place.each_name(renamer));
    }
}

impl Named for DeviceHealth {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        match self {
            DeviceHealth::Healthy | DeviceHealth::Probing => {}
            DeviceHealth::Suspect { reason } | DeviceHealth::Draining { reason } | DeviceHealth::Sick { reason } => {
                show(NameKind::Text, reason, renamer);
            }
            DeviceHealth::Stranger { process } => show(NameKind::Text, process, renamer),
        }
    }
}

impl Named for RightKey {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        let RightKey { user, team, group, priority: _, model: _, cap: _ } = self;
        user.each_name(renamer);
        team.each_name(renamer);
        group.each_name(renamer);
    }
}

impl Named for RightRow {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        let RightRow { key, allowance: _, expires: _ } = self;
        key.each_name(renamer);
    }
}

impl Named for Team {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        let Team { name, parent, members, pools } = self;
        name.each_name(renamer);
        parent.each_name(renamer);
        members.each_name(renamer);
        for Pool { group, own: _, borrow: _, lend: _ } in pools {
            group.each_name(renamer);
        }
    }
}

impl Named for WorkerExit {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        let WorkerExit { fate, signalled: _, declared_done: _, log_lost_bytes: _ } = self;
        match fate {
            WorkerFate::Exited { code: _ } | WorkerFate::Killed { signal: _ } => {}
            WorkerFate::OutOfMemory { reason }
            | WorkerFate::NotExecuted { reason }
            | WorkerFate::Refused { reason, cause: _ }
            | WorkerFate::Lost { reason } => show(NameKind::Text, reason, renamer),
        }
    }
}

impl Named for WorkerState {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        match self {
            WorkerState::Reserved | WorkerState::Executing { since: _ } => {}
            WorkerState::Ended { at: _, exit } => exit.each_name(renamer),
        }
    }
}

impl Named for Placement {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        for place in &mut self.workers {
            let WorkerPlacement { node, devices, whole_node: _, part: _, cpu_milli: _, memory_mib: _ } = place;
            node.each_name(renamer);
            devices.iter_mut().for_each(|device| device.each_name(renamer));
        }
    }
}

impl Named for YieldReason {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        match self {
            YieldReason::NodeLost { node } | YieldReason::NodeDrained { node } => node.each_name(renamer),
            YieldReason::DeviceLost { node, device } => {
                node.each_name(renamer);
                device.each_name(renamer);
            }
            YieldReason::For { task: _ }
            | YieldReason::Idle
            | YieldReason::WorkerLost { rank: _ }
            | YieldReason::RightLost
            | YieldReason::Held => {}
        }
    }
}

impl Named for Fact {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        match self {
            Fact::Submitted { task: _, spec } => Arc::make_mut(spec).each_name(renamer),
            Fact::RightSet { right } => right.each_name(renamer),
            Fact::RightRemoved { key } => key.each_name(renamer),
            Fact::TeamSet { team } => team.each_name(renamer),
            Fact::TeamRemoved { team } => team.each_name(renamer),
            Fact::NodeSet { node } => node.each_name(renamer),
            Fact::NodeRemoved { node } => node.each_name(renamer),
            Fact::DeviceChanged { node, device, health } => {
                node.each_name(renamer);
                device.each_name(renamer);
                health.each_name(renamer);
            }
            Fact::WorkerEnded { run: _, rank: _, exit } => exit.each_name(renamer),
            Fact::Cancelled { task: _ }
            | Fact::Concluded { task: _, succeeded: _ }
            | Fact::Held { task: _ }
            | Fact::Released { task: _ }
            | Fact::Reprioritised { task: _, priority: _, custom_rank: _ }
            | Fact::MustFollow { task: _, after: _ }
            | Fact::Renewed { task: _ }
            | Fact::Idle { run: _, idle: _ }
            | Fact::WorkerStarted { run: _, rank: _ }
            | Fact::Checkpointed { run: _, whole_life_state: _ } => {}
        }
    }
}

impl Named for Decision {
    fn each_name(&mut self, renamer: &mut dyn Renamer) {
        match self {
            Decision::Start { placement, task: _, run: _, level: _, entitled: _, whole_life_state: _ }
            | Decision::Promise { placement, task: _, run: _, level: _, entitled: _ } => placement.each_name(renamer),
            Decision::Suspend { run: _, task: _, reason } => reason.each_name(renamer),
            Decision::Reserve { task: _, nodes, by: _ } => nodes.each_name(renamer),
            Decision::Stop { run: _, task: _ }
            | Decision::Withdraw { task: _ }
            | Decision::Unreserve { task: _ }
            | Decision::Notice { run: _, until: _ }
            | Decision::Recharge { run: _, level: _, entitled: _ } => {}
        }
    }
}
