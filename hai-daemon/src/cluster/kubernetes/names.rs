//! How hai's objects are called and marked in Kubernetes, and how they are found again.

use hai_core::model::{RunId, TaskId};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// Marks everything that one hai made; the value is its instance.
pub(crate) const INSTANCE: &str = "hai/instance";
/// The task's number.
pub(crate) const TASK: &str = "hai/task";
/// The run's number.
pub(crate) const RUN: &str = "hai/run";
/// The worker's rank.
pub(crate) const RANK: &str = "hai/rank";
/// Of a run's owner object: how many workers it has.
pub(crate) const WORKERS: &str = "hai/workers";
/// Of a run's owner object: its workers may be on nodes, so none of them is made anew.
pub(crate) const BEGUN: &str = "hai/begun";
/// Of a pod: its worker said that the task's work is complete.
pub(crate) const DONE: &str = "hai/done";
/// Of a pod: its worker heard that it must leave.
pub(crate) const HEARD: &str = "hai/heard";
/// Of a pod: the devices that its worker was given.
pub(crate) const DEVICES: &str = "hai/devices";
/// Of a run's owner object: how long it has to leave, in milliseconds to answer and to finish.
pub(crate) const GRACE: &str = "hai/grace";
/// Of a run's owner object: which store knows the run.
pub(crate) const STORE: &str = "hai/store";
/// Of a pod: for people.
pub(crate) const USER: &str = "hai/user";
/// Of a pod: for people.
pub(crate) const NAME: &str = "hai/name";
/// Keeps a pod that ended until its end is stored.
pub(crate) const KEEP: &str = "hai/exit";
/// Who binds the pods.
pub(crate) const SCHEDULER: &str = "hai";
/// The one container of a worker's pod.
pub(crate) const CONTAINER: &str = "worker";

/// The name of a run's owner object and of its service. Numbers alone tell runs apart, so that no two users', tasks' or
/// runs' names can collide, whatever is in them.
pub(crate) fn run_name(instance: &str, task: TaskId, run: RunId) -> String {
    format!("{instance}-t{task}-r{run}")
}

/// The name of a worker's pod.
pub(crate) fn pod_name(instance: &str, task: TaskId, run: RunId, rank: u32) -> String {
    format!("{}-{rank}", run_name(instance, task, run))
}

/// Which worker's pod has this name.
pub(crate) fn worker_named(instance: &str, name: &str) -> Option<(TaskId, RunId, u32)> {
    let mut parts = name.strip_prefix(instance)?.strip_prefix("-t")?.splitn(3, '-');
    let task = TaskId(parts.next()?.parse().ok()?);
    let run = RunId(parts.next()?.strip_prefix('r')?.parse().ok()?);
    Some((task, run, parts.next()?.parse().ok()?))
}

/// The selector of all that an instance made.
pub(crate) fn of_instance(instance: &str) -> String {
    format!("{INSTANCE}={instance}")
}

/// Whose an object is, if it is `instance`'s.
pub(crate) fn run_of(meta: &ObjectMeta, instance: &str) -> Option<(TaskId, RunId)> {
    let labels = meta.labels.as_ref()?;
    let number = |key: &str| labels.get(key)?.parse::<u64>().ok();
    (labels.get(INSTANCE)? == instance).then_some(())?;
    Some((TaskId(number(TASK)?), RunId(number(RUN)?)))
}

/// Which worker a pod is.
pub(crate) fn rank_of(meta: &ObjectMeta) -> Option<u32> {
    meta.labels.as_ref()?.get(RANK)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_numbers_and_are_found_again() {
        let name = pod_name("hai", TaskId(12), RunId(34), 5);
        assert_eq!(name, "hai-t12-r34-5");
        assert_eq!(worker_named("hai", &name), Some((TaskId(12), RunId(34), 5)));
        for other in ["hai-t12-r34", "hai-t12-r34-x", "hay-t12-r34-5", "hai-agent-x2x4z", "hai-t12-34-5"] {
            assert_eq!(worker_named("hai", other), None, "{other}");
        }
        let largest = pod_name("hai", TaskId(u64::MAX), RunId(u64::MAX), u32::MAX);
        assert!(largest.len() <= 63, "also a label and a host name: {largest}");
        let labels = [(INSTANCE, "hai"), (TASK, "12"), (RUN, "34"), (RANK, "5")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let meta = ObjectMeta { labels: Some(labels.into()), ..ObjectMeta::default() };
        assert_eq!(run_of(&meta, "hai"), Some((TaskId(12), RunId(34))));
        assert_eq!((run_of(&meta, "other"), rank_of(&meta)), (None, Some(5)));
    }
}
