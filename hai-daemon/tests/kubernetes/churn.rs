//! Many nodes and tasks at a time, while one node comes and goes.

use std::time::Duration;

use hai_core::model::{Outcome, TaskState, WorkerRequest};

use crate::control_plane::kubelet::{Kubelet, Life, Machine};
use crate::control_plane::{ControlPlane, eventually};
use crate::lab::{Lab, task};

const NODES: u32 = 100;
const TASKS: u32 = 500;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_nodes_finish_five_hundred_tasks_while_one_flaps() {
    let plane = ControlPlane::start().await;
    let mut kubelets = Vec::new();
    for number in 0..NODES {
        let machine = Machine::new(&format!("node-{number}")).cpu(2).label("hai_mars_group", "lab");
        let kubelet = Kubelet::start(&plane, machine).await;
        kubelet.live(|_| Life::Exit { after: Duration::from_millis(20), code: 0 });
        kubelets.push(kubelet);
    }
    let lab = Lab::over(plane, Default::default(), |config| config.lost_after = Duration::from_millis(500)).await;
    let request = WorkerRequest { cpu_milli: 2000, memory_mib: 1024, ..WorkerRequest::devices(0) };
    let mut tasks = Vec::new();
    for number in 0..TASKS {
        tasks.push(lab.submit(task(&format!("task-{number}"), request.clone())).await);
    }
    let flapping = kubelets.swap_remove(0);
    let over = || lab.store.kept().tasks.values().all(|task| task.state == TaskState::Finished);
    while !over() {
        flapping.lose().await;
        tokio::time::sleep(Duration::from_millis(1500)).await;
        flapping.find().await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut runs = 0;
    let kept = lab.store.kept();
    for task in tasks.iter().map(|id| &kept.tasks[id]) {
        assert_eq!(task.outcome, Some(Outcome::Succeeded), "{task:?}");
        runs += task.runs;
    }
    // A node that was given up costs the runs that were on it, and no others.
    assert!(runs < TASKS + TASKS / 10, "{runs} runs of {TASKS} tasks");
    lab.until_clean().await;
    let free = || lab.scheduler.inspect(|engine| engine.nodes().all(|node| node.free_cpu_milli == 2000));
    eventually("all nodes to be free", async || free().await.expect("a look").then_some(())).await;
}
