//! Crashes of hai, an API server that is away, nodes that fall silent, and history that is forgotten.

use std::time::Duration;

use hai_core::backend::{Cluster as _, StartOrder};
use hai_core::model::{Duty, Fact, Outcome, Placement, TaskState, WorkerRequest};
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;

use crate::control_plane::kubelet::{Kubelet, Machine};
use crate::control_plane::{ControlPlane, eventually};
use crate::lab::{Lab, cards, lab, machines, task};

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_loses_nothing_and_doubles_nothing() {
    let (mut lab, kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    lab.crash().await;
    // It ends while nobody looks.
    kubelets[1].end("hai", &format!("hai-t{id}-r{run}-0"), 0);
    lab.resume().await;
    assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
    assert_eq!(lab.task(id).runs, 1);
    lab.until_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_right_after_the_submission_starts_it_once() {
    let (mut lab, kubelets) = lab().await;
    for round in 0..5 {
        let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
        tokio::time::sleep(Duration::from_millis(7 * round)).await;
        lab.crash().await;
        lab.resume().await;
        let run = lab.until(id, TaskState::Running).await.run.expect("a run");
        assert_eq!(lab.pods().await.iter().filter(|pod| alive(pod)).count(), 1);
        kubelets[1].end("hai", &format!("hai-t{id}-r{run}-0"), 0);
        assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
        assert_eq!(lab.task(id).runs, 1, "round {round}");
    }
    lab.until_clean().await;
}

fn alive(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !matches!(phase, Some("Succeeded" | "Failed"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_away_stops_nothing() {
    let (mut lab, kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    lab.plane.stop();
    // What is wanted meanwhile is done once it is back.
    let next = lab.submit(task("next", WorkerRequest::devices(1))).await;
    lab.tell(Fact::Held { task: id }).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(lab.task(id).state, TaskState::Suspending);
    assert_eq!(lab.task(id).run, Some(run));
    lab.plane.resume().await;
    lab.until(id, TaskState::Held).await;
    let run = lab.until(next, TaskState::Running).await.run.expect("a run");
    kubelets[1].end("hai", &format!("hai-t{next}-r{run}-0"), 0);
    assert_eq!(lab.outcome(next).await, Outcome::Succeeded);
    lab.until_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_that_is_forgotten_is_listed_again() {
    let (mut lab, kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    lab.plane.expire().await;
    kubelets[1].end("hai", &format!("hai-t{id}-r{run}-0"), 0);
    assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
    kubelets[0].cordon(false).await;
    let both = [
        lab.submit(task("a", WorkerRequest::devices(1))).await,
        lab.submit(task("b", WorkerRequest::devices(1))).await,
    ];
    for id in both {
        lab.until(id, TaskState::Running).await;
    }
}

/// After a crash nobody knows which pods of a run were bound: all are bound again, and who is there already stays.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_ordered_again_binds_what_is_bound_without_harm() {
    let (mut lab, kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    lab.crash().await;
    let mut cluster = lab.once_more().await;
    let view = lab.store.kept().runs[&run].clone();
    let order = StartOrder {
        run,
        task: id,
        attempt: 1,
        name: "train".to_owned(),
        user: "ada".parse().expect("a name"),
        group: "lab".parse().expect("a name"),
        program: hai_core::model::Program { command: vec!["train".to_owned()], ..Default::default() },
        placement: Placement { workers: view.workers.iter().map(|worker| worker.place.clone()).collect() },
        grace: Default::default(),
        whole_life_state: 0,
    };
    cluster.start(&order).await.expect("taken");
    let ended = async {
        loop {
            if let fact @ Fact::WorkerEnded { .. } = cluster.next().await {
                return fact;
            }
        }
    };
    let ended = tokio::time::timeout(Duration::from_secs(3), ended).await;
    assert!(ended.is_err(), "it runs on: {ended:?}");
    assert_eq!(lab.pods().await.iter().filter(|pod| alive(pod)).count(), 1);
    drop(cluster);
    lab.resume().await;
    kubelets[1].end("hai", &format!("hai-t{id}-r{run}-0"), 0);
    assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
    assert_eq!(lab.task(id).runs, 1);
}

/// What goes while nobody can hear of it is missed when all is listed again: a pod, a stranger, a node.
#[tokio::test(flavor = "multi_thread")]
async fn what_goes_while_history_is_forgotten_is_missed_afterwards() {
    let (mut lab, kubelets) = lab().await;
    let [master, _worker] = kubelets;
    let stranger: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "stranger"},
        "spec": {"nodeName": "worker", "containers": [{"name": "x", "image": "x", "resources": {"requests": {"cpu": "5"}}}]}
    }))
    .expect("a pod");
    let pods = lab.of::<Pod>();
    pods.create(&Default::default(), &stranger).await.expect("made");
    let cpu = |scheduler: hai_daemon::scheduler::Scheduler| async move {
        let look = |engine: &hai_core::engine::Engine| {
            engine.nodes().map(|node| (node.spec.name.to_string(), node.spec.cpu_milli)).collect::<Vec<_>>()
        };
        scheduler.inspect(look).await.expect("a look")
    };
    let scheduler = lab.scheduler.clone();
    let both = [("master".to_owned(), 16_000), ("worker".to_owned(), 7_000)];
    eventually("the stranger to count", async || (cpu(scheduler.clone()).await == both).then_some(())).await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    lab.plane.expire().await;
    // At once, before anybody listens again.
    let name = format!("hai-t{id}-r{run}-0");
    let patch = kube::api::Patch::Merge(serde_json::json!({"metadata": {"finalizers": null}}));
    let force = DeleteParams::default().grace_period(0);
    let (_, _, _) = tokio::join!(
        async {
            pods.patch(&name, &Default::default(), &patch).await.expect("patched");
            let _ = pods.delete(&name, &force).await;
        },
        async { pods.delete("stranger", &force).await.expect("deleted") },
        master.remove(),
    );
    eventually("all of it to be missed", async || {
        let gone = lab.task(id).run != Some(run) && cpu(scheduler.clone()).await == [("worker".to_owned(), 12_000)];
        gone.then_some(())
    })
    .await;
    assert_eq!(lab.until(id, TaskState::Running).await.runs, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_falls_silent_is_given_up_after_a_while_and_not_before() {
    let plane = ControlPlane::start().await;
    let [master, worker] = machines();
    let (master, worker) = (Kubelet::start(&plane, master).await, Kubelet::start(&plane, worker).await);
    let lab = Lab::over(plane, cards(), |config| config.lost_after = Duration::from_secs(3)).await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    lab.until(id, TaskState::Running).await;
    worker.ready(false).await;
    worker.ready(true).await;
    master.cordon(false).await;
    worker.lose().await;
    eventually("the task to run on the master", async || {
        let there = lab.node_of(id).await.as_deref() == Some("master");
        (there && lab.task(id).state == TaskState::Running).then_some(())
    })
    .await;
    assert_eq!(lab.task(id).runs, 2, "the short silence cost nothing");
    // It comes back, and is of use again.
    worker.find().await;
    let other = lab.submit(task("other", WorkerRequest::devices(1))).await;
    lab.until(other, TaskState::Running).await;
    assert_eq!(lab.node_of(other).await.as_deref(), Some("worker"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_somebody_deletes_goes_back_into_the_queue() {
    let (lab, _kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    let name = format!("hai-t{id}-r{run}-0");
    lab.of::<Pod>().delete(&name, &DeleteParams::default()).await.expect("deleted");
    eventually("another run", async || {
        let task = lab.task(id);
        (task.state == TaskState::Running && task.run != Some(run)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sick_device_is_left() {
    let (lab, kubelets) = lab().await;
    kubelets[0].cordon(false).await;
    lab.until_of_use("master").await;
    let mut spec = task("train", WorkerRequest::device_memory(6 << 10));
    spec.priority = hai_core::model::Priority::High;
    let id = lab.submit(spec).await;
    lab.until(id, TaskState::Running).await;
    let at = lab.node_of(id).await.expect("a node");
    let mut cards = (*cards()).clone();
    for (node, known) in &mut cards {
        if node.as_str() == at {
            let reason = "XID 79: it has fallen off the bus".to_owned();
            known.devices[0].health = hai_core::model::DeviceHealth::Sick { reason };
        }
    }
    lab.devices.send_replace(cards.into());
    eventually("it to run on the other card", async || {
        let elsewhere = lab.node_of(id).await.is_some_and(|node| node != at);
        (elsewhere && lab.task(id).state == TaskState::Running).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_strangers_take_is_not_given_out() {
    let plane = ControlPlane::start().await;
    let small = Machine::new("small").cpu(2).memory_gib(4).label("hai_mars_group", "lab");
    let _kubelet = Kubelet::start(&plane, small).await;
    let lab = Lab::over(plane, Default::default(), |_| ()).await;
    let stranger: Pod = serde_json::from_value(serde_json::json!({
        "metadata": {"name": "stranger"},
        "spec": {"nodeName": "small", "containers": [{"name": "x", "image": "x",
            "resources": {"requests": {"cpu": "1500m"}}}]}
    }))
    .expect("a pod");
    lab.of::<Pod>().create(&Default::default(), &stranger).await.expect("made");
    let free = || lab.scheduler.inspect(|engine| engine.nodes().map(|node| node.spec.cpu_milli).collect::<Vec<_>>());
    eventually("it to count", async || (free().await.expect("nodes") == [500]).then_some(())).await;
    lab.of::<Pod>().delete("stranger", &DeleteParams::default().grace_period(0)).await.expect("deleted");
    eventually("it to count no more", async || (free().await.expect("nodes") == [2000]).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_node_under_a_gang_suspends_all_of_it() {
    let (lab, kubelets) = lab().await;
    kubelets[0].cordon(false).await;
    lab.until_of_use("master").await;
    let mut spec = task("gang", WorkerRequest::devices(1));
    spec.workers = 2;
    let id = lab.submit(spec).await;
    lab.until(id, TaskState::Running).await;
    kubelets[1].drain().await;
    let waiting = lab.until(id, TaskState::Suspended).await;
    assert_eq!((waiting.runs, waiting.outcome), (1, None), "that an operator drains a node is no failure");
    kubelets[1].cordon(false).await;
    lab.until(id, TaskState::Running).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_is_one_even_if_its_pod_is_deleted_before_anybody_looked() {
    let (mut lab, kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    let name = format!("hai-t{id}-r{run}-0");
    lab.crash().await;
    kubelets[1].end("hai", &name, 0);
    let pods = lab.of::<Pod>();
    eventually("its end", async || (!alive(&pods.get(&name).await.expect("a pod"))).then_some(())).await;
    // Times are told in whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    pods.delete(&name, &DeleteParams::default()).await.expect("deleted");
    lab.resume().await;
    assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
    assert_eq!(lab.task(id).runs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_said_that_it_heard_keeps_its_time_over_a_crash() {
    let (mut lab, kubelets) = lab().await;
    kubelets[1].live(|_| crate::control_plane::kubelet::Life::Stubborn);
    let mut spec = task("saving", WorkerRequest::devices(1));
    spec.grace.finish = hai_core::model::Span::from_secs(3600);
    let id = lab.submit(spec).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    lab.tell(Fact::Held { task: id }).await;
    assert!(lab.door.must_leave(run, Duration::from_secs(60)).await.is_some());
    lab.door.heard(run, 0).await.expect("written down");
    lab.crash().await;
    lab.resume().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert_eq!(lab.task(id).state, TaskState::Suspending, "it is still saving");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_hai_with_the_same_name_is_refused() {
    let (lab, _kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    lab.until(id, TaskState::Running).await;
    let error = lab.open_as([8; 32]).await.expect_err("another's secret");
    assert!(error.contains("another hai") && error.contains("instance"), "{error}");
    assert_eq!(lab.task(id).state, TaskState::Running);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_leaves_its_group_keeps_what_runs_there_until_it_ends() {
    let (lab, kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    let patch = kube::api::Patch::Merge(serde_json::json!({"metadata": {"labels": {"hai_mars_group": null}}}));
    let nodes: kube::Api<k8s_openapi::api::core::v1::Node> = kube::Api::all(lab.client.clone());
    nodes.patch("worker", &Default::default(), &patch).await.expect("patched");
    let gone = || lab.scheduler.inspect(|engine| engine.node(&crate::lab::node("worker")).is_none());
    eventually("nothing new to go there", async || {
        let cordoned = |engine: &hai_core::engine::Engine| {
            engine.node(&crate::lab::node("worker")).is_some_and(|node| node.cordoned)
        };
        lab.scheduler.inspect(cordoned).await.expect("a look").then_some(())
    })
    .await;
    assert_eq!(lab.task(id).state, TaskState::Running);
    kubelets[1].end("hai", &format!("hai-t{id}-r{run}-0"), 0);
    assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
    eventually("the node to be gone", async || gone().await.expect("a look").then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_operator_says_of_a_node_stands_in_kubernetes_too() {
    let (mut lab, kubelets) = lab().await;
    let duty = |duty| Fact::NodeDuty { node: crate::lab::node("worker"), duty };
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    lab.until(id, TaskState::Running).await;
    lab.tell(duty(Duty::Cordoned)).await;
    let marked = async |wanted| {
        eventually("the mark", async || (kubelets[1].is_cordoned().await == wanted).then_some(())).await;
    };
    marked(true).await;
    assert_eq!(lab.task(id).state, TaskState::Running, "what runs there stays");
    // Somebody takes the mark away while nobody looks; who takes over sees to it.
    lab.crash().await;
    kubelets[1].cordon(false).await;
    lab.resume().await;
    marked(true).await;
    lab.tell(duty(Duty::Drained)).await;
    lab.until(id, TaskState::Suspended).await;
    lab.tell(duty(Duty::Open)).await;
    marked(false).await;
    lab.until(id, TaskState::Running).await;
}
