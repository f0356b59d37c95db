//! Hearing what goes wrong with pods that are being made: volumes that do not mount, images that do not come, networks.

use std::sync::Arc;

use futures::StreamExt as _;
use hai_core::model::{RunId, WorkerExit, WorkerFate};
use k8s_openapi::api::core::v1::Event;
use kube::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Config, watcher};

use super::names::worker_named;
use super::run::Worker;
use super::standing::{bounded, says_no_such_image};
use super::state::Shared;
use super::{leave, run};

/// Warnings about pods, and nothing else.
const WARNINGS: &str = "involvedObject.kind=Pod,type=Warning";
/// What a kubelet also says of an image that does not come, without the cause, which it has said before.
const NO_CAUSE: [&str; 2] = ["Error: ErrImagePull", "Error: ImagePullBackOff"];
/// How it begins where it says the cause.
const NO_IMAGE: &str = "Failed to pull image";

/// Hears of warnings until it is dropped. Begins with those that are remembered.
pub(crate) async fn listen(shared: Arc<Shared>) {
    let events: Api<Event> = Api::namespaced(shared.client.clone(), &shared.config.namespace);
    let mut stream = std::pin::pin!(watcher(events, Config::default().fields(WARNINGS)).default_backoff());
    let mut failing = false;
    while let Some(event) = stream.next().await {
        match event {
            Ok(watcher::Event::Apply(event) | watcher::Event::InitApply(event)) => shared.warned(&event),
            Ok(watcher::Event::InitDone) => failing = false,
            Ok(watcher::Event::Init | watcher::Event::Delete(_)) => {}
            // Without it all works, and less is told.
            Err(error) if !failing => {
                failing = true;
                tracing::warn!(%error, "events of pods can not be watched, which say why workers do not start");
            }
            Err(_) => {}
        }
    }
}

impl Shared {
    /// Takes in what goes wrong with a pod; of one that executes, or has ended, nothing counts.
    pub(crate) fn warned(self: &Arc<Self>, event: &Event) {
        let about = event.involved_object.name.as_deref().unwrap_or_default();
        let Some((task, run, rank)) = worker_named(&self.config.instance, about) else { return };
        let said = event.message.as_deref().unwrap_or_default().trim();
        let reason = event.reason.as_deref().unwrap_or_default();
        if NO_CAUSE.contains(&said) || reason == "BackOff" || (said.is_empty() && reason.is_empty()) {
            return;
        }
        let problem = bounded(if said.is_empty() { reason.to_owned() } else { format!("{reason}: {said}") });
        let mut runs = self.runs();
        let Some(known) = runs.get_mut(&run).filter(|known| known.task == task) else { return };
        let Some(worker) = known.workers.get_mut(rank as usize).filter(|worker| is_awaited(worker)) else { return };
        worker.warn(problem.clone());
        if said.starts_with(NO_IMAGE) && says_no_such_image(said) {
            worker.condemned = Some(WorkerExit::of(WorkerFate::NotExecuted { reason: problem }));
            self.spawn(leave::take_off(self.clone(), task, run, rank));
        }
    }

    /// What keeps the workers of a run from executing, if something does.
    pub(crate) fn trouble(&self, run: RunId) -> Option<String> {
        let runs = self.runs();
        let known: &run::Run = runs.get(&run)?;
        let mut held = (0_u32..).zip(&known.workers).filter_map(|(rank, worker)| {
            let (_, problem) = worker.held.as_ref()?;
            Some((rank, worker.node.as_ref()?, problem))
        });
        let (rank, node, problem) = held.next()?;
        let who = if known.workers.len() > 1 { format!("worker {rank} on {node}") } else { format!("on {node}") };
        let more = match held.count() {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        Some(format!("{who}: {problem}{more}"))
    }
}

/// It is on a node, and neither executes nor has ended.
fn is_awaited(worker: &Worker) -> bool {
    worker.bound && !worker.started && worker.exit.is_none() && worker.condemned.is_none()
}
