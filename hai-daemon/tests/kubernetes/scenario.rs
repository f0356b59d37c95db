//! The lab from submission to end, and what an operator does to its machines meanwhile.

use std::time::Duration;

use hai_core::model::{Fact, Outcome, Priority, TaskState, WorkerRequest};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt as _;

use crate::control_plane::eventually;
use crate::control_plane::kubelet::Life;
use crate::lab::{lab, task};

fn env(pod: &Pod, name: &str) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    spec.containers[0].env.as_ref()?.iter().find(|variable| variable.name == name)?.value.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_a_pod_on_the_node_that_was_chosen() {
    let (lab, kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    lab.until(id, TaskState::Running).await;
    assert_eq!(lab.node_of(id).await.as_deref(), Some("worker"), "the master is cordoned");
    let pods = lab.pods().await;
    let pod = &pods[0];
    assert_eq!(pod.name_any(), format!("hai-t{id}-r1-0"));
    assert_eq!(env(pod, "NVIDIA_VISIBLE_DEVICES").as_deref(), Some("GPU-3060"));
    assert_eq!(env(pod, "WORLD_SIZE").as_deref(), Some("1"));
    assert_eq!(env(pod, "MARSV2_TASK_ID").as_deref(), Some("100000"));
    let spec = pod.spec.as_ref().expect("a spec");
    assert_eq!(spec.scheduler_name.as_deref(), Some("hai"));
    assert_eq!(spec.automount_service_account_token, Some(false));
    kubelets[1].end("hai", &pod.name_any(), 0);
    assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
    lab.until_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_suspended_and_resumed() {
    let (lab, kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    let asking = lab.door.clone();
    let waiting = tokio::spawn(async move { asking.must_leave(run, Duration::from_secs(60)).await });
    lab.tell(Fact::Held { task: id }).await;
    assert!(waiting.await.expect("no panic").is_some(), "the flag is raised for who asks over HTTP");
    lab.until(id, TaskState::Held).await;
    assert_eq!(lab.task(id).runs, 1);
    lab.tell(Fact::Released { task: id }).await;
    let again = lab.until(id, TaskState::Running).await;
    assert_ne!(again.run, Some(run), "a run is never used twice");
    eventually("the new pod", async || lab.node_of(id).await).await;
    kubelets[1].end("hai", &format!("hai-t{id}-r{}-0", again.run.expect("a run")), 0);
    assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
    lab.until_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_better_task_gets_the_place_and_the_other_goes_on_after_it() {
    let (lab, kubelets) = lab().await;
    let low = lab.submit(task("low", WorkerRequest::devices(1))).await;
    lab.until(low, TaskState::Running).await;
    let mut better = task("high", WorkerRequest::devices(1));
    (better.priority, better.user) = (Priority::High, "bob".parse().expect("a name"));
    let high = lab.submit(better).await;
    let running = lab.until(high, TaskState::Running).await;
    assert_eq!(lab.task(low).state, TaskState::Suspended);
    kubelets[1].end("hai", &format!("hai-t{high}-r{}-0", running.run.expect("a run")), 0);
    assert_eq!(lab.outcome(high).await, Outcome::Succeeded);
    lab.until(low, TaskState::Running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_killed_when_its_time_to_answer_is_over_and_who_answers_has_more() {
    let (lab, kubelets) = lab().await;
    kubelets[1].live(|_| Life::Stubborn);
    let mut spec = task("stubborn", WorkerRequest::devices(1));
    spec.grace.finish = hai_core::model::Span::from_secs(3600);
    let id = lab.submit(spec.clone()).await;
    lab.until(id, TaskState::Running).await;
    // An hour would be waited for in vain: nobody answers.
    lab.tell(Fact::Held { task: id }).await;
    lab.until(id, TaskState::Held).await;

    let heard = lab.submit(spec).await;
    let run = lab.until(heard, TaskState::Running).await.run.expect("a run");
    lab.door.heard(run, 0).await.expect("written down");
    lab.tell(Fact::Held { task: heard }).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(lab.task(heard).state, TaskState::Suspending, "it said that it heard, so it has its hour");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_needs_ten_gib_goes_to_the_3060_and_an_uncordoned_master_takes_the_other() {
    let (lab, kubelets) = lab().await;
    kubelets[0].cordon(false).await;
    lab.until_of_use("master").await;
    let small = lab.submit(task("small", WorkerRequest::devices(1))).await;
    lab.until(small, TaskState::Running).await;
    let large = lab.submit(task("large", WorkerRequest::device_memory(10 << 10))).await;
    lab.until(large, TaskState::Running).await;
    assert_eq!(lab.node_of(large).await.as_deref(), Some("worker"));
    assert_eq!(lab.node_of(small).await.as_deref(), Some("master"), "the smallest card that will do");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_is_left_and_its_work_goes_on_elsewhere() {
    let (lab, kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    lab.until(id, TaskState::Running).await;
    kubelets[0].cordon(false).await;
    kubelets[1].drain().await;
    eventually("the task to run on the master", async || {
        let there = lab.node_of(id).await.as_deref() == Some("master");
        (there && lab.task(id).state == TaskState::Running).then_some(())
    })
    .await;
    assert_eq!(lab.task(id).runs, 2, "an eviction is no failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_workers_of_a_gang_find_rank_0() {
    let (lab, kubelets) = lab().await;
    kubelets[0].cordon(false).await;
    lab.until_of_use("master").await;
    let mut spec = task("gang", WorkerRequest::devices(1));
    spec.workers = 2;
    let id = lab.submit(spec).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    let name = format!("hai-t{id}-r{run}");
    let service = lab.of::<Service>().get(&name).await.expect("a service");
    let spec = service.spec.expect("a spec");
    assert_eq!(spec.cluster_ip.as_deref(), Some("None"));
    assert_eq!(spec.selector.expect("a selector")["hai/rank"], "0");
    let mut pods = lab.pods().await;
    pods.sort_by_key(|pod| pod.name_any());
    for (rank, pod) in pods.iter().enumerate() {
        assert_eq!(env(pod, "MASTER_ADDR"), Some(format!("{name}.hai.svc")));
        assert_eq!(env(pod, "NODE_RANK"), Some(rank.to_string()));
        assert_eq!(env(pod, "NNODES").as_deref(), Some("2"));
    }
    let node = |rank: usize| pods[rank].spec.as_ref().and_then(|spec| spec.node_name.clone()).expect("bound");
    assert_ne!(node(0), node(1), "each has one card");
    for (rank, pod) in pods.iter().enumerate() {
        kubelets[usize::from(node(rank) == "worker")].end("hai", &pod.name_any(), 0);
    }
    assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
    lab.until_clean().await;
}
