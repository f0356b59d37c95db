//! What a node says goes wrong with a pod that is being made is told long before patience with it ends.

use std::time::Duration;

use hai_core::model::{Outcome, RunId, TaskId, TaskState, WorkerRequest};
use k8s_openapi::api::core::v1::Event;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::json;

use crate::control_plane::kubelet::{Kubelet, Life};
use crate::control_plane::{ControlPlane, eventually};
use crate::lab::{Lab, NAMESPACE, cards, lab, machines, task};

const MOUNT: &str =
    "MountVolume.SetUp failed for volume \"shared\" : mount failed: exit status 32: mount.nfs: Connection refused";

/// A kubelet's event about a pod.
pub(crate) async fn event(client: &Client, pod: &str, kind: &str, reason: &str, message: &str) {
    let events: Api<Event> = Api::namespaced(client.clone(), NAMESPACE);
    let event = json!({
        "metadata": {"generateName": "why-", "namespace": NAMESPACE}, "type": kind, "reason": reason, "message": message,
        "involvedObject": {"kind": "Pod", "name": pod, "namespace": NAMESPACE},
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:00Z", "count": 1,
    });
    events.create(&PostParams::default(), &serde_json::from_value(event).expect("an event")).await.expect("created");
}

/// A run whose pod is on its node, where nothing happens with it.
async fn on_its_way(lab: &Lab) -> (TaskId, RunId, String) {
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Starting).await.run.expect("a run");
    eventually("its pod to be bound", async || lab.node_of(id).await).await;
    (id, run, format!("hai-t{id}-r{run}-0"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_does_not_mount_is_told_while_the_task_starts_and_until_it_runs() {
    let (lab, kubelets) = lab().await;
    kubelets[1].live(|_| Life::PullSlow { takes: Duration::from_secs(3600) });
    let (_, run, pod) = on_its_way(&lab).await;
    event(&lab.client, &pod, "Normal", "Pulling", "Pulling image \"x\"").await;
    event(&lab.client, "somebody-else", "Warning", "FailedMount", "not ours").await;
    assert_eq!(lab.door.trouble(run), None);
    event(&lab.client, &pod, "Warning", "FailedMount", MOUNT).await;
    let said = eventually("it to be told", async || lab.door.trouble(run)).await;
    assert_eq!(said, format!("on worker: FailedMount: {MOUNT}"));
    // What says less does not take its place.
    event(&lab.client, &pod, "Warning", "Failed", "Error: ImagePullBackOff").await;
    event(&lab.client, &pod, "Warning", "BackOff", "Back-off pulling image \"x\"").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(lab.door.trouble(run).is_some_and(|said| said.contains("mount.nfs")));
}

#[tokio::test(flavor = "multi_thread")]
async fn trouble_that_is_over_is_told_no_more() {
    let (lab, kubelets) = lab().await;
    kubelets[1].live(|_| Life::PullSlow { takes: Duration::from_secs(2) });
    let (id, run, pod) = on_its_way(&lab).await;
    event(&lab.client, &pod, "Warning", "FailedMount", MOUNT).await;
    eventually("it to be told", async || lab.door.trouble(run)).await;
    assert_eq!(lab.until(id, TaskState::Running).await.runs, 1);
    assert_eq!(lab.door.trouble(run), None);
    event(&lab.client, &pod, "Warning", "Unhealthy", "it is slow").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(lab.door.trouble(run), None, "it executes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_never_mounts_ends_the_run_when_patience_is_over_with_what_its_node_said() {
    let plane = ControlPlane::start().await;
    let [_, worker] = machines();
    let worker = Kubelet::start(&plane, worker).await;
    worker.live(|_| Life::PullSlow { takes: Duration::from_secs(3600) });
    let lab = Lab::over(plane, cards(), |config| config.image_patience = Duration::from_secs(2)).await;
    let (id, run, pod) = on_its_way(&lab).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(lab.task(id).state, TaskState::Starting, "that an image takes its time is no trouble");
    event(&lab.client, &pod, "Warning", "FailedMount", MOUNT).await;
    let ended = eventually("the run to end", async || lab.store.kept().runs.get(&run)?.end.clone()).await;
    let said = format!("{ended:?}");
    assert!(said.contains("mount.nfs: Connection refused") && said.contains("(for 2s)"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_is_told_at_once_also_if_only_an_event_says_so() {
    let (lab, kubelets) = lab().await;
    kubelets[1].live(|_| Life::PullSlow { takes: Duration::from_secs(3600) });
    let (id, _, pod) = on_its_way(&lab).await;
    let said = "Failed to pull image \"example.test/trian:1\": rpc error: code = NotFound desc = failed to resolve reference: not found";
    event(&lab.client, &pod, "Warning", "Failed", said).await;
    match lab.outcome(id).await {
        Outcome::Failed { reason } => assert!(reason.contains("example.test/trian:1"), "{reason}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_said_before_a_crash_is_heard_after_it() {
    let (mut lab, kubelets) = lab().await;
    kubelets[1].live(|_| Life::PullSlow { takes: Duration::from_secs(3600) });
    let (_, run, pod) = on_its_way(&lab).await;
    lab.crash().await;
    event(&lab.client, &pod, "Warning", "FailedAttachVolume", "the disk is on another node").await;
    lab.resume().await;
    let said = eventually("it to be told", async || lab.door.trouble(run)).await;
    assert_eq!(said, "on worker: FailedAttachVolume: the disk is on another node");
}
