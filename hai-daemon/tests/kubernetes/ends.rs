//! How workers end, and what is told of it.

use std::time::Duration;

use hai_core::model::{Outcome, TaskState, WorkerRequest};

use crate::control_plane::kubelet::Life;
use crate::lab::{lab, task};

/// How a task ends whose first pod lives like that.
async fn reason(life: Life) -> String {
    let (lab, kubelets) = lab().await;
    kubelets[1].live(move |_| life.clone());
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    match lab.outcome(id).await {
        Outcome::Failed { reason } => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_other_than_zero_is_a_failure() {
    let said = reason(Life::Exit { after: Duration::ZERO, code: 3 }).await;
    assert!(said.contains("exit status 3"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_memory_is_told_as_such() {
    let said = reason(Life::OutOfMemory { after: Duration::ZERO }).await;
    assert!(said.contains("out of memory"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_slow_is_no_failure() {
    let (lab, kubelets) = lab().await;
    kubelets[1].live(|_| Life::PullSlow { takes: Duration::from_secs(2) });
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    lab.until(id, TaskState::Starting).await;
    assert_eq!(lab.until(id, TaskState::Running).await.runs, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evicted_worker_is_queued_again() {
    let (lab, kubelets) = lab().await;
    let first = std::sync::atomic::AtomicBool::new(true);
    kubelets[1].live(move |_| match first.swap(false, std::sync::atomic::Ordering::SeqCst) {
        true => Life::Evicted { after: Duration::ZERO },
        false => Life::Exit { after: Duration::ZERO, code: 0 },
    });
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
    assert_eq!(lab.task(id).runs, 2);
    lab.until_clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_is_not_there_is_told_at_once() {
    let said = reason(Life::PullFails).await;
    assert!(said.contains("could not be executed") && said.contains("Pull"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_said_done_has_succeeded_whatever_happens_to_it_then() {
    let (lab, kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    lab.door.done(run, 0).await.expect("written down");
    kubelets[1].end("hai", &format!("hai-t{id}-r{run}-0"), 1);
    assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_output_of_workers_is_kept_when_their_pods_are_gone() {
    let (mut lab, kubelets) = lab().await;
    let id = lab.submit(task("train", WorkerRequest::devices(1))).await;
    let run = lab.until(id, TaskState::Running).await.run.expect("a run");
    let pod = format!("hai-t{id}-r{run}-0");
    if !lab.plane.put_out("hai", &pod, b"step 1\n") {
        return eprintln!("SKIPPED: a real API server asks kubelets for output, and these are played");
    }
    let read = |logs: &std::path::Path| {
        let reader = hai_daemon::cluster::logs::LogReader::open(logs, id, run, 0);
        let chunk = reader.read(0, 1 << 20).expect("a log");
        (String::from_utf8(chunk.bytes).expect("text"), chunk.complete)
    };
    let logs = lab.logs();
    crate::control_plane::eventually("the first line", async || (read(&logs).0 == "step 1\n").then_some(())).await;
    // The connection breaks, and what comes again is not written twice.
    lab.plane.drop_watches().await;
    lab.plane.put_out("hai", &pod, b"step 2\n");
    kubelets[1].end("hai", &pod, 0);
    assert_eq!(lab.outcome(id).await, Outcome::Succeeded);
    lab.until_clean().await;
    assert_eq!(read(&logs), ("step 1\nstep 2\n".to_owned(), true));
}
