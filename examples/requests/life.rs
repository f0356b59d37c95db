//! What happens to a task: it follows others, is tried again, is stopped when its lease is over, yields to all.

use hai_core::engine::EngineConfig;
use hai_core::model::*;

use crate::lab::{Lab, node, of, task};
use crate::{Example, Told};

pub(crate) const ALL: &[Example] = &[
    ("a dependency", dependency),
    ("a retry that avoids the node", retry),
    ("a limit", limit),
    ("a lease", lease),
    ("background work", background),
    ("a node that is drained", drained),
];

fn one() -> WorkerRequest {
    WorkerRequest::devices(1)
}

/// A task that must succeed first; a circle of such waits is refused, and named.
fn dependency() -> Told {
    let mut lab = Lab::new(EngineConfig::default(), [node("a", 2, "RTX 3070", 8)]);
    let first = lab.submit(task("prepare", one()));
    let wait_for = |task| vec![Dependency { task, ended: DependsOn::Success }];
    let second = lab.submit(TaskSpec { after: wait_for(first), ..task("train", one()) });
    let third = lab.submit(TaskSpec { after: wait_for(second), ..task("evaluate", one()) });
    let mut told = lab.settle();
    told.push(lab.why(second));
    told.push(lab.refused(&Fact::MustFollow { task: second, after: wait_for(third) }));
    lab.end(first, 0);
    told.extend(lab.settle());
    told
}

/// It fails on one node, waits, and is tried again on the other.
fn retry() -> Told {
    let mut lab = Lab::new(EngineConfig::default(), [node("a", 1, "RTX 3070", 8), node("b", 1, "RTX 3070", 8)]);
    let retries = Some(Retries { limit: 2, back_off: Span::from_secs(30), avoid_nodes: true });
    let id = lab.submit(TaskSpec { retries, ..task("flaky", one()) });
    let mut told = lab.settle();
    lab.end(id, 1);
    told.extend(lab.settle());
    told.push(lab.why(id));
    lab.pass(Span::from_secs(30));
    told.extend(lab.settle());
    told
}

/// It is stopped once it has run as long as it may.
fn limit() -> Told {
    let mut lab = Lab::new(EngineConfig::default(), [node("a", 1, "RTX 3070", 8)]);
    lab.submit(TaskSpec { limit: Some(Span::from_mins(10)), ..task("bounded", one()) });
    let mut told = lab.settle();
    lab.pass(Span::from_mins(10));
    told.extend(lab.settle());
    told
}

/// An interactive task keeps its place for a lease, which somebody may renew.
fn lease() -> Told {
    let mut lab = Lab::new(EngineConfig::default(), [node("a", 1, "RTX 3070", 8)]);
    let kind = TaskKind::Interactive { lease: Span::from_mins(60), idle_after: None };
    let id = lab.submit(TaskSpec { kind, ..task("notebook", one()) });
    let mut told = lab.settle();
    lab.pass(Span::from_mins(50));
    lab.tell(&Fact::Renewed { task: id });
    lab.pass(Span::from_mins(50));
    told.extend(lab.settle());
    told.push("its lease was renewed, so it is still there after 100 minutes".to_owned());
    lab.pass(Span::from_mins(10));
    told.extend(lab.settle());
    told
}

/// It needs no right, and yields to everything, whatever its level.
fn background() -> Told {
    let mut lab = Lab::new(EngineConfig::default(), [node("a", 1, "RTX 3070", 8)]);
    lab.submit(of("carol", Priority::High, TaskSpec { kind: TaskKind::Background, ..task("fill", one()) }));
    let mut told = lab.settle();
    lab.submit(of("bob", Priority::Low, task("low", one())));
    told.extend(lab.settle());
    told
}

/// What runs on a device that is drained leaves and goes on elsewhere.
fn drained() -> Told {
    let nodes = [node("a", 1, "RTX 3070", 8), node("b", 1, "RTX 3070", 8)];
    let (at, device) = (nodes[0].name.clone(), nodes[0].devices[0].id.clone());
    let mut lab = Lab::new(EngineConfig::default(), nodes);
    lab.submit(task("train", one()));
    let mut told = lab.settle();
    let health = DeviceHealth::Draining { reason: "row remapping".to_owned() };
    lab.tell(&Fact::DeviceChanged { node: at, device, health });
    told.extend(lab.settle());
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_follower_starts_when_its_predecessor_succeeded() {
        let told = dependency();
        assert_eq!(told[..2], ["start prepare on a-0", "train waits: it waits for the end of task 1"]);
        assert!(told[2].contains('2') && told[2].contains('3'), "the circle is named: {told:?}");
        assert_eq!(told[3..], ["start train on a-0"]);
    }

    #[test]
    fn a_failed_task_is_tried_again_elsewhere() {
        let told = retry();
        assert_eq!((told[0].as_str(), told[2].as_str()), ("start flaky on a-0", "start flaky on b-0"));
        assert!(told[1].contains("tried again at"), "{told:?}");
    }

    #[test]
    fn a_task_is_stopped_at_its_limit() {
        assert_eq!(limit(), ["start bounded on a-0", "stop bounded"]);
    }

    #[test]
    fn a_renewed_lease_begins_anew() {
        let told = lease();
        assert_eq!((told.len(), told[2].as_str()), (3, "stop notebook"), "{told:?}");
    }

    #[test]
    fn background_work_yields_to_any_other() {
        let told = background();
        assert_eq!(told.len(), 3, "{told:?}");
        assert!(told[1].starts_with("suspend fill"), "{told:?}");
        assert_eq!(told[2], "start low on a-0");
    }

    #[test]
    fn work_on_a_drained_device_moves() {
        let told = drained();
        assert!(told[1].starts_with("suspend train: device a-0"), "{told:?}");
        assert_eq!(told[2], "start train on b-0");
    }
}
