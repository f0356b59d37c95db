//! What a pod says about its worker: the state table, with reasons kept apart.

use hai_core::model::{RefusalCause, WorkerExit, WorkerFate};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStateWaiting, Pod, PodStatus};

use super::names::{CONTAINER, DONE};

/// How a worker stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Standing {
    /// It is about to be: nothing is wrong, e.g. its image is being fetched.
    Coming,
    /// It does not come, for a reason that may pass.
    Held {
        /// What Kubernetes says.
        problem: String,
    },
    /// It will never execute, but has to be taken off its node first.
    Condemned(WorkerExit),
    /// It executes.
    Executing,
    /// It is no more, or never will be.
    Ended(WorkerExit),
}

/// The longest reason that is passed on, in characters.
const REASON_CHARS_MAX: usize = 500;
/// Why the kubelet does not take a pod: the node has less than was thought.
const NO_ROOM: [&str; 6] = [
    "OutOf",
    "TaintToleration",
    "UnexpectedAdmissionError",
    "NodeAffinity",
    "TopologyAffinityError",
    "InvalidNodeInfo",
];
/// Why the kubelet ends a pod that did nothing wrong.
const NODE_ENDS_IT: [&str; 6] = ["Evicted", "Preempting", "NodeShutdown", "Terminated", "Shutdown", "NodeLost"];
/// What registries say of an image that they do not have; all else may pass.
const NO_SUCH_IMAGE: [&str; 6] = [
    "not found",
    "manifest unknown",
    "repository does not exist",
    "name unknown",
    "pull access denied",
    "invalid reference format",
];
/// Why a container can not be made as it is wanted.
const NEVER: [&str; 6] = [
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "StartError",
];
const SIGNAL_BASE: i32 = 128;
const SIGNAL_MAX: i32 = 64;

impl Standing {
    /// What `pod` says. A worker of a pod that is being deleted was told to leave.
    pub(crate) fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let deleted = pod.metadata.deletion_timestamp.is_some();
        let bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
        let fate = match status.phase.as_deref() {
            Some("Succeeded") => WorkerFate::Exited { code: 0 },
            Some("Failed") => failed(&status),
            // Nobody will ever begin it.
            _ if deleted && !bound => WorkerFate::Killed { signal: SIGTERM },
            _ => match state(&status) {
                State::Terminated(terminated) => terminated_fate(&terminated),
                State::Running => return Standing::Executing,
                State::Waiting(waiting) if !deleted => return held(waiting, &status),
                State::Waiting(_) => return Standing::Coming,
            },
        };
        let done = pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(DONE));
        let told = deleted && ended_after_it_was_told(pod, &status);
        // What was called off while it was being started is no failure of its own.
        let fate = match fate {
            WorkerFate::NotExecuted { .. } if told => WorkerFate::Killed { signal: SIGTERM },
            WorkerFate::Lost { reason } if told && reason == UNKNOWN_END => WorkerFate::Killed { signal: SIGTERM },
            fate => fate,
        };
        let mut exit = WorkerExit::of(fate);
        (exit.signalled, exit.declared_done) = (told, done);
        Standing::Ended(exit)
    }
}

/// Whether a container of a pod that is being deleted ended after that was ordered: a pod can be deleted long after its end.
fn ended_after_it_was_told(pod: &Pod, status: &PodStatus) -> bool {
    let State::Terminated(terminated) = state(status) else { return true };
    let (Some(at), Some(ended)) = (&pod.metadata.deletion_timestamp, &terminated.finished_at) else { return true };
    let grace = pod.metadata.deletion_grace_period_seconds.unwrap_or(0);
    ended.0.as_second() >= at.0.as_second().saturating_sub(grace)
}

/// What is told of a worker whose node forgot how it ended.
const UNKNOWN_END: &str = "its node no longer knows how it ended";
/// The condition that tells whether a pod's volumes and network are there.
const SET_UP: &str = "PodReadyToStartContainers";

/// SIGTERM, as a number.
pub(crate) const SIGTERM: i32 = 15;

enum State {
    Waiting(Option<ContainerStateWaiting>),
    Running,
    Terminated(ContainerStateTerminated),
}

fn state(status: &PodStatus) -> State {
    let statuses = status.container_statuses.as_ref();
    let container = statuses.and_then(|all| all.iter().find(|status| status.name == CONTAINER).or(all.first()));
    match container.and_then(|status| status.state.clone()) {
        Some(state) => match (state.terminated, state.running) {
            (Some(terminated), _) => State::Terminated(terminated),
            (None, Some(_)) => State::Running,
            (None, None) => State::Waiting(state.waiting),
        },
        None => State::Waiting(None),
    }
}

/// A container that waits: for its image, say.
fn held(waiting: Option<ContainerStateWaiting>, status: &PodStatus) -> Standing {
    let Some(waiting) = waiting else { return Standing::Coming };
    let reason = waiting.reason.unwrap_or_default();
    let said = waiting.message.unwrap_or_default();
    let problem = bounded(if said.is_empty() { reason.clone() } else { format!("{reason}: {said}") });
    let fetching = matches!(reason.as_str(), "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError");
    let absent = fetching && says_no_such_image(&said);
    if absent || NEVER.contains(&reason.as_str()) {
        return Standing::Condemned(WorkerExit::of(WorkerFate::NotExecuted { reason: problem }));
    }
    let conditions = status.conditions.as_ref();
    let set_up = conditions.and_then(|all| all.iter().find(|condition| condition.type_ == SET_UP));
    if !fetching && set_up.is_some_and(|condition| condition.status == "False") {
        let problem = "its volumes or its network can not be set up; `kubectl describe pod` says more".to_owned();
        return Standing::Held { problem };
    }
    match fetching || !matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing") {
        true => Standing::Held { problem },
        false => Standing::Coming,
    }
}

/// Whether a registry says that it does not have an image.
pub(crate) fn says_no_such_image(said: &str) -> bool {
    let said = said.to_ascii_lowercase();
    NO_SUCH_IMAGE.iter().any(|word| said.contains(word))
}

/// A pod that failed as a whole.
fn failed(status: &PodStatus) -> WorkerFate {
    let reason = status.reason.clone().unwrap_or_default();
    let said = status.message.clone().unwrap_or_default();
    let both = bounded(match (reason.is_empty(), said.is_empty()) {
        (true, true) => "the pod failed; Kubernetes does not say why".to_owned(),
        (false, true) => reason.clone(),
        (true, false) => said,
        (false, false) => format!("{reason}: {said}"),
    });
    let begins = |words: &[&str]| words.iter().any(|word| reason.starts_with(word));
    if begins(&NODE_ENDS_IT) {
        return WorkerFate::Lost { reason: both };
    }
    match state(status) {
        State::Terminated(terminated) => terminated_fate(&terminated),
        _ if begins(&NO_ROOM) => WorkerFate::Refused { reason: both, cause: RefusalCause::Node },
        _ => WorkerFate::Lost { reason: both },
    }
}

fn terminated_fate(terminated: &ContainerStateTerminated) -> WorkerFate {
    let said = || bounded(terminated.message.clone().unwrap_or_default());
    match (terminated.reason.as_deref().unwrap_or_default(), terminated.exit_code) {
        ("OOMKilled", _) => {
            WorkerFate::OutOfMemory { reason: "it used more memory than it had asked for, and was killed".to_owned() }
        }
        ("StartError" | "ContainerCannotRun", _) => WorkerFate::NotExecuted { reason: said() },
        ("ContainerStatusUnknown", _) => WorkerFate::Lost { reason: UNKNOWN_END.to_owned() },
        (_, code) => match terminated.signal.filter(|signal| *signal > 0) {
            Some(signal) => WorkerFate::Killed { signal },
            // As a shell tells it, and container runtimes too.
            None if (SIGNAL_BASE + 1..=SIGNAL_BASE + SIGNAL_MAX).contains(&code) => {
                WorkerFate::Killed { signal: code - SIGNAL_BASE }
            }
            None => WorkerFate::Exited { code },
        },
    }
}

/// `text`, cut where people would stop reading.
pub(crate) fn bounded(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(REASON_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn standing(pod: Value) -> Standing {
        Standing::of(&serde_json::from_value(pod).expect("a pod"))
    }

    fn container(state: Value) -> Value {
        json!({"spec": {"nodeName": "worker", "containers": []}, "status": {"phase": "Pending", "containerStatuses": [
            {"name": "worker", "image": "x", "imageID": "", "ready": false, "restartCount": 0, "state": state}
        ]}})
    }

    fn failed(reason: &str, message: &str) -> Value {
        json!({"spec": {"nodeName": "worker", "containers": []},
            "status": {"phase": "Failed", "reason": reason, "message": message}})
    }

    fn terminated(code: i32, reason: &str) -> Value {
        let mut pod = container(json!({"terminated": {"exitCode": code, "reason": reason, "message": "said"}}));
        pod["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
        pod
    }

    fn fate(pod: Value) -> WorkerFate {
        match standing(pod) {
            Standing::Ended(exit) => exit.fate,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_pod_on_its_way_is_awaited() {
        assert_eq!(standing(json!({"status": {"phase": "Pending"}})), Standing::Coming);
        assert_eq!(standing(json!({})), Standing::Coming, "no status yet");
        for reason in ["ContainerCreating", "PodInitializing"] {
            assert_eq!(standing(container(json!({"waiting": {"reason": reason}}))), Standing::Coming, "{reason}");
        }
        assert_eq!(standing(container(json!({"running": {}}))), Standing::Executing);
    }

    #[test]
    fn an_image_that_is_slow_is_awaited_and_one_that_is_not_there_is_told_at_once() {
        let pull = |reason: &str, message: &str| {
            standing(container(json!({"waiting": {"reason": reason, "message": message}})))
        };
        for said in ["dial tcp 10.0.0.1:443: i/o timeout", "Back-off pulling image \"x\"", "toomanyrequests"] {
            assert!(
                matches!(pull("ErrImagePull", said), Standing::Held { problem } if problem.contains(said)),
                "{said}"
            );
        }
        let absent = [
            ("ErrImagePull", "failed to resolve reference \"r/x:1\": r/x:1: not found"),
            ("ImagePullBackOff", "manifest unknown"),
            ("ErrImagePull", "pull access denied for x, repository does not exist or may require 'docker login'"),
            ("InvalidImageName", "couldn't parse image reference \"X:Y:Z\""),
            ("ErrImageNeverPull", "Container image \"x\" is not present with pull policy of Never"),
            ("CreateContainerConfigError", "secret \"x\" not found"),
        ];
        for (reason, said) in absent {
            match pull(reason, said) {
                Standing::Condemned(WorkerExit { fate: WorkerFate::NotExecuted { reason: told }, .. }) => {
                    assert!(told.contains(said), "{told}");
                }
                other => panic!("{reason} {said}: {other:?}"),
            }
        }
    }

    #[test]
    fn every_end_has_its_own_reason() {
        assert_eq!(fate(terminated(0, "Completed")), WorkerFate::Exited { code: 0 });
        assert_eq!(fate(terminated(3, "Error")), WorkerFate::Exited { code: 3 });
        assert_eq!(fate(terminated(143, "Error")), WorkerFate::Killed { signal: 15 });
        assert_eq!(fate(terminated(137, "Error")), WorkerFate::Killed { signal: 9 });
        assert_eq!(fate(terminated(255, "Error")), WorkerFate::Exited { code: 255 });
        assert!(matches!(fate(terminated(137, "OOMKilled")), WorkerFate::OutOfMemory { .. }));
        assert_eq!(fate(terminated(127, "ContainerCannotRun")), WorkerFate::NotExecuted { reason: "said".to_owned() });
        assert_eq!(fate(terminated(128, "StartError")), WorkerFate::NotExecuted { reason: "said".to_owned() });
        let evicted = failed("Evicted", "The node was low on resource: memory.");
        let told = "Evicted: The node was low on resource: memory.".to_owned();
        assert_eq!(fate(evicted), WorkerFate::Lost { reason: told });
        for reason in ["NodeShutdown", "Terminated", "Preempting"] {
            assert!(matches!(fate(failed(reason, "")), WorkerFate::Lost { .. }), "{reason}");
        }
        for reason in ["OutOfcpu", "OutOfnvidia.com/gpu", "UnexpectedAdmissionError", "NodeAffinity"] {
            assert!(
                matches!(fate(failed(reason, "")), WorkerFate::Refused { cause: RefusalCause::Node, .. }),
                "{reason}"
            );
        }
        assert!(matches!(fate(json!({"status": {"phase": "Failed"}})), WorkerFate::Lost { .. }));
    }

    #[test]
    fn what_is_deleted_was_told_to_leave() {
        let mut pod = terminated(0, "Completed");
        pod["metadata"] = json!({"deletionTimestamp": "2026-11-27T00:00:00Z", "annotations": {DONE: "true"}});
        match standing(pod) {
            Standing::Ended(exit) => assert!(exit.signalled && exit.declared_done, "{exit:?}"),
            other => panic!("{other:?}"),
        }
        let unbound =
            json!({"metadata": {"deletionTimestamp": "2026-11-27T00:00:00Z"}, "status": {"phase": "Pending"}});
        assert_eq!(fate(unbound), WorkerFate::Killed { signal: SIGTERM });
        let mut leaving = container(json!({"running": {}}));
        leaving["metadata"] = json!({"deletionTimestamp": "2026-11-27T00:00:00Z"});
        assert_eq!(standing(leaving), Standing::Executing, "until it is over");
    }
}
