//! Telling a run to leave: SIGTERM by deletion, the flag over HTTP, and force when its grace is over.

use std::sync::Arc;
use std::time::Duration;

use hai_core::model::{NodeName, RunId, TaskId, WorkerExit, WorkerFate};
use kube::api::DeleteParams;
use tokio::time::{Instant, sleep_until};

use super::names::pod_name;
use super::pod::seconds;
use super::retry::{code, insist};
use super::run::{Leaving, Stage};
use super::state::Shared;

/// How often a worker that should be gone is looked at again.
const AGAIN: Duration = Duration::from_secs(1);
/// What the way to the node and back may take, beyond the grace, before a lost node's worker is given up.
const SLACK: Duration = Duration::from_secs(2);

/// Sees a run off that has just been told to leave.
pub(crate) async fn see_off(shared: Arc<Shared>, run: RunId, leaving: Leaving) {
    let Some((task, workers)) = bound(&shared, run).await else { return };
    // The deletion first: who hears of the flag was told in a way that a crash does not forget.
    for rank in (0_u32..).take(workers) {
        delete(&shared, task, run, rank, seconds(leaving.grace.total())).await;
    }
    if let Some(known) = shared.runs().get(&run) {
        known.flag.send_replace(Some(leaving.grace));
    }
    // From when it was told, not from when that was wanted: the API server may have been away.
    let answered_by = Instant::now() + leaving.grace.answer.to_std();
    // Where nobody can answer, nobody is held to it.
    if shared.config.server.is_some() {
        sleep_until(answered_by).await;
        for rank in unheard(&shared, run) {
            // Less than before; Kubernetes never takes a longer one.
            delete(&shared, task, run, rank, 1).await;
        }
    }
    let over_by = answered_by + leaving.grace.finish.to_std() + SLACK;
    sleep_until(over_by).await;
    loop {
        let left = alive(&shared, run);
        if left.is_empty() {
            return;
        }
        for (rank, node) in left {
            delete(&shared, task, run, rank, 1).await;
            if let Some(node) = node.filter(|node| shared.is_lost(node)) {
                delete(&shared, task, run, rank, 0).await;
                let reason = format!("node {node} does not answer, and has not for longer than its work had to leave");
                shared.ended(run, rank, WorkerExit::of(WorkerFate::Lost { reason }));
            }
        }
        sleep_until(Instant::now() + AGAIN).await;
    }
}

/// Takes a worker off its node that will never execute.
pub(crate) async fn take_off(shared: Arc<Shared>, task: TaskId, run: RunId, rank: u32) {
    loop {
        delete(&shared, task, run, rank, 1).await;
        sleep_until(Instant::now() + AGAIN).await;
        let worker = |known: &super::run::Run| known.workers.get(rank as usize).cloned();
        let Some(worker) = shared.runs().get(&run).and_then(worker).filter(|worker| worker.exit.is_none()) else {
            return;
        };
        if let Some(exit) = worker.condemned.filter(|_| worker.node.is_none_or(|node| shared.is_lost(&node))) {
            shared.ended(run, rank, exit);
        }
    }
}

/// Waits until all pods of the run are bound, or it is known that they never will be.
async fn bound(shared: &Shared, run: RunId) -> Option<(TaskId, usize)> {
    loop {
        match shared.runs().get(&run)?.stage {
            Stage::Bound => break,
            // Whoever makes it sees that it was called off.
            Stage::Making | Stage::CalledOff | Stage::Found(_) => return None,
            Stage::Binding => {}
        }
        sleep_until(Instant::now() + Duration::from_millis(20)).await;
    }
    shared.runs().get(&run).map(|known| (known.task, known.workers.len()))
}

fn unheard(shared: &Shared, run: RunId) -> Vec<u32> {
    let runs = shared.runs();
    let Some(known) = runs.get(&run) else { return Vec::new() };
    let unheard = (0_u32..).zip(&known.workers).filter(|(_, worker)| worker.exit.is_none() && !worker.heard);
    unheard.map(|(rank, _)| rank).collect()
}

fn alive(shared: &Shared, run: RunId) -> Vec<(u32, Option<NodeName>)> {
    let runs = shared.runs();
    let Some(known) = runs.get(&run) else { return Vec::new() };
    let alive = (0_u32..).zip(&known.workers).filter(|(_, worker)| worker.exit.is_none());
    alive.map(|(rank, worker)| (rank, worker.node.clone())).collect()
}

/// Deletes a worker's pod, which sends SIGTERM to it and, after `grace` seconds, SIGKILL. It stays until it is let go.
async fn delete(shared: &Arc<Shared>, task: TaskId, run: RunId, rank: u32, grace: i64) {
    let ended = |shared: &Shared| {
        shared
            .runs()
            .get(&run)
            .and_then(|known| known.workers.get(rank as usize))
            .is_none_or(|worker| worker.exit.is_some())
    };
    if ended(shared) {
        return;
    }
    let name = pod_name(&shared.config.instance, task, run, rank);
    let parameters = DeleteParams::default().grace_period(u32::try_from(grace).unwrap_or(u32::MAX));
    let pods = shared.pods();
    match insist(|| pods.delete(&name, &parameters), || ended(shared)).await {
        Err(error) if code(&error) == Some(404) => shared.pod_is_gone(run, rank),
        Err(error) => tracing::warn!(pod = name, %error, "a worker can not be told to leave; it is tried again"),
        Ok(_) => {}
    }
}
