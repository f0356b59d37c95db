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
    /// It executes.
    Executing,
    /// It is no more, or never will be.
    Ended(WorkerExit),
}

/// The longest reason that is passed on, in characters.
const REASON_CHARS_MAX: usize = 500;
/// Why the kubelet does not take a pod: the node has less than was thought.
const NO_ROOM: [&str; 5] =
    ["OutOf", "UnexpectedAdmissionError", "NodeAffinity", "TopologyAffinityError", "InvalidNodeInfo"];
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
                State::Waiting(waiting) if !deleted => return held(waiting),
                State::Waiting(_) => return Standing::Coming,
            },
        };
        let done = pod.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(DONE));
        let mut exit = WorkerExit::of(fate);
        (exit.signalled, exit.declared_done) = (deleted, done);
        Standing::Ended(exit)
    }
}

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
fn held(waiting: Option<ContainerStateWaiting>) -> Standing {
    let Some(waiting) = waiting else { return Standing::Coming };
    let reason = waiting.reason.unwrap_or_default();
    let said = waiting.message.unwrap_or_default();
    let problem = bounded(if said.is_empty() { reason.clone() } else { format!("{reason}: {said}") });
    let fetching = matches!(reason.as_str(), "ErrImagePull" | "ImagePullBackOff" | "ImageInspectError");
    let absent = fetching && NO_SUCH_IMAGE.iter().any(|word| said.to_ascii_lowercase().contains(word));
    if absent || NEVER.contains(&reason.as_str()) {
        return Standing::Ended(WorkerExit::of(WorkerFate::NotExecuted { reason: problem }));
    }
    match fetching || !matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing") {
        true => Standing::Held { problem },
        false => Standing::Coming,
    }
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
        ("ContainerStatusUnknown", _) => {
            WorkerFate::Lost { reason: "its node no longer knows how it ended".to_owned() }
        }
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

fn bounded(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(REASON_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
    }
    text
}
