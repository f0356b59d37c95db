//! What made earlier schedulers of this kind stumble on Kubernetes, and must not make hai.

use std::process::Command;
use std::sync::Arc;

use hai_core::model::{
    Allowance, Fact, GroupName, Priority, RightKey, RightRow, TaskState, UserName, Verdict, WorkerRequest,
};

use crate::control_plane::ControlPlane;
use crate::control_plane::kubelet::{Kubelet, Machine};
use crate::lab::{Lab, cards, lab, task};

#[tokio::test(flavor = "multi_thread")]
async fn a_dash_in_a_group_s_name_and_a_task_without_a_right_stop_nobody() {
    let plane = ControlPlane::start().await;
    let machine = Machine::new("worker").cpu(12).memory_gib(32).label("hai_mars_group", "jd-a100");
    let _kubelet = Kubelet::start(&plane, machine).await;
    let lab = Lab::over(plane, cards(), |_| ()).await;
    lab.tell(Fact::RightRemoved { key: RightKey::default() }).await;
    let group = GroupName::new("jd-a100").expect("a name");
    let ada = UserName::new("ada").expect("a name");
    let key = RightKey {
        user: Some(ada),
        group: Some(group.clone()),
        priority: Some(Priority::Normal),
        ..RightKey::default()
    };
    lab.tell(Fact::RightSet { right: RightRow::new(key, Allowance::UNLIMITED) }).await;
    let mut without = task("auto", WorkerRequest::devices(1));
    (without.user, without.priority, without.group) =
        (UserName::new("bob").expect("a name"), Priority::Auto, group.clone());
    let without = lab.submit(without).await;
    let mut with = task("train", WorkerRequest::devices(1));
    with.group = group;
    let with = lab.submit(with).await;
    lab.until(with, TaskState::Running).await;
    let verdict = lab.scheduler.inspect(move |engine| engine.verdict(without)).await.expect("a look");
    assert!(matches!(verdict, Some(Verdict::NoRight { .. })), "{verdict:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_asks_for_nothing_that_a_plain_node_does_not_have() {
    let (lab, _kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    lab.until(id, TaskState::Running).await;
    let pods = lab.pods().await;
    let resources = pods[0].spec.as_ref().expect("a spec").containers[0].resources.clone().unwrap_or_default();
    let names: std::collections::BTreeSet<String> =
        resources.requests.into_iter().chain(resources.limits).flat_map(|amounts| amounts.into_keys()).collect();
    assert!(names.iter().all(|name| ["cpu", "memory"].contains(&name.as_str())), "{names:?}");
}

/// Who can not write its data says so in one line, with the user's number: on NFS root is somebody else.
#[test]
fn a_data_directory_that_can_not_be_written_is_one_line() {
    let output = Command::new(env!("CARGO_BIN_EXE_hai-daemon"))
        .args(["serve", "--listen", "127.0.0.1:0", "--data", "/proc/hai"])
        .env_remove("HAI_CONFIG")
        .env("HOME", "/nowhere")
        .output()
        .expect("executed");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert_eq!(said.trim().lines().count(), 1, "{said}");
    let user = rustix::process::geteuid().as_raw();
    assert!(said.contains("/proc/hai") && said.contains(&format!("let user {user} write")), "{said}");
}

/// Devices that were typed by hand would not be there: what counts is what agents see.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_agent_sees_no_device_is_given_none_to_hold() {
    let plane = ControlPlane::start().await;
    let machine = Machine::new("worker").cpu(12).memory_gib(32).gpus(4).label("hai_mars_group", "lab");
    let _kubelet = Kubelet::start(&plane, machine).await;
    let lab = Lab::over(plane, Arc::default(), |_| ()).await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let other = lab.submit(task("plain", WorkerRequest { cpu_milli: 1000, ..WorkerRequest::devices(0) })).await;
    lab.until(other, TaskState::Running).await;
    let verdict = lab.scheduler.inspect(move |engine| engine.verdict(id)).await.expect("a look");
    assert!(matches!(verdict, Some(Verdict::NeverFits { .. })), "{verdict:?}");
}

/// A taint that a task does not mind must not put its pod out once it is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_pod_tolerates_what_its_task_said_that_it_does() {
    let plane = ControlPlane::start().await;
    let machine = Machine::new("worker").cpu(12).memory_gib(32).label("hai_mars_group", "lab");
    let _kubelet = Kubelet::start(&plane, machine.taint("lab", "ada", "NoExecute")).await;
    let lab = Lab::over(plane, cards(), |_| ()).await;
    let minding = lab.submit(task("minds", WorkerRequest::devices(1))).await;
    let mut spec = task("train", WorkerRequest::devices(1));
    spec.tolerates.insert("lab=ada".to_owned());
    let id = lab.submit(spec).await;
    lab.until(id, TaskState::Running).await;
    assert_eq!(lab.task(minding).runs, 0, "who minds it does not go there");
    let pods = lab.pods().await;
    let tolerations = pods[0].spec.as_ref().expect("a spec").tolerations.clone().unwrap_or_default();
    let tolerates = tolerations.iter().any(|one| {
        one.key.as_deref() == Some("lab") && one.effect.as_deref().is_none_or(|effect| effect == "NoExecute")
    });
    assert!(tolerates, "{tolerations:?}");
}
