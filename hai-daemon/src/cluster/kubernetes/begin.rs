//! Starting a run: its owner object, its service, its pods, and only then the nodes they go to.
//!
//! Making is undone if it fails; binding is not, since a pod that is bound may execute at once. The owner object says
//! which of the two it is, so that whoever finds it after a crash makes no worker a second time.

use std::sync::Arc;

use futures::StreamExt as _;
use hai_core::backend::StartOrder;
use hai_core::model::{GroupName, NodeName, RefusalCause, RunId, WorkerExit, WorkerFate};
use k8s_openapi::api::core::v1::{Binding, ConfigMap, ObjectReference, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Status};
use kube::Error;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::json;

use super::config::KubernetesError;
use super::names::{BEGUN, pod_name, run_name};
use super::pod::{owner, pod, service};
use super::remove::remove;
use super::retry::{self, ask, code, failure, insist, is_there};
use super::run::Stage;
use super::standing::SIGTERM;
use super::state::Shared;

/// How many pods of one run are asked for at a time.
const AT_A_TIME: usize = 16;

/// Starts a run that is listed as [`Stage::Making`], on nodes of `group`. What becomes of it is told as facts.
pub(crate) async fn begin(shared: Arc<Shared>, order: StartOrder, group: GroupName) {
    let run = order.run;
    let exit = match make(&shared, &order, &group).await {
        Ok(()) if commit(&shared, run) => match mark_begun(&shared, &order).await {
            Ok(()) => return bind(&shared, &order).await,
            Err(error) => of_fault(failure("marking a run as begun", &error), &error),
        },
        Ok(()) | Err(Failed::CalledOff) => never_executed(),
        Err(Failed::Wrong(exit)) => exit,
    };
    if let Some(known) = shared.runs().get_mut(&run) {
        known.stage = Stage::CalledOff;
    }
    // Its end is told once nothing of it is left: until then the room is not free.
    remove(&shared, order.task, run, order.placement.workers.len()).await;
    shared.end_all(run, &exit);
}

/// Goes on with a run whose owner says that it has begun: binds what is not bound.
pub(crate) async fn go_on(shared: Arc<Shared>, order: StartOrder) {
    for (rank, place) in (0_u32..).zip(&order.placement.workers) {
        if shared.group_of(&place.node).is_none() {
            let reason = format!("node {} is no longer in the cluster", place.node);
            shared.ended_if_unbound(order.run, rank, WorkerExit::of(WorkerFate::Lost { reason }));
        }
    }
    bind(&shared, &order).await;
}

enum Failed {
    CalledOff,
    Wrong(WorkerExit),
}

/// What a worker comes to that can not be made: what the API server does not take it never will, all else may pass.
fn of_fault(error: KubernetesError, cause: &Error) -> WorkerExit {
    let reason = error.to_string();
    WorkerExit::of(match code(cause) {
        Some(400 | 422) => WorkerFate::NotExecuted { reason },
        _ => WorkerFate::Refused { reason, cause: RefusalCause::Task },
    })
}

/// A worker that was told to leave before it was begun.
pub(crate) fn never_executed() -> WorkerExit {
    WorkerExit::of(WorkerFate::Killed { signal: SIGTERM }).after_signal()
}

fn called_off(shared: &Shared, run: RunId) -> bool {
    shared.runs().get(&run).is_none_or(|known| known.leaving.is_some())
}

/// From here on it can not be called off; false if it was already.
fn commit(shared: &Shared, run: RunId) -> bool {
    let mut runs = shared.runs();
    let Some(known) = runs.get_mut(&run) else { return false };
    let on = known.leaving.is_none();
    if on {
        known.stage = Stage::Binding;
    }
    on
}

async fn make(shared: &Arc<Shared>, order: &StartOrder, group: &GroupName) -> Result<(), Failed> {
    let enough = || called_off(shared, order.run);
    let wrong = |what: &str, error: Error| match enough() {
        true => Failed::CalledOff,
        false => Failed::Wrong(of_fault(failure(what, &error), &error)),
    };
    let owners = shared.of_run::<ConfigMap>();
    let config = &shared.config;
    let name = run_name(&config.instance, order.task, order.run);
    let wanted = owner(config, order, &shared.store);
    let made = retry::make(|| owners.create(&POST, &wanted), enough).await;
    let owner = match made {
        Err(error) if is_there(&error) => ask(|| owners.get(&name), enough).await,
        made => made,
    };
    let owner = owner.map_err(|error| wrong("making the object that a run's pods belong to", error))?;
    if order.placement.workers.len() > 1 {
        let services = shared.of_run::<Service>();
        let wanted = service(config, order, &owner);
        let made = retry::make(|| services.create(&POST, &wanted), enough).await;
        fine_if_there(made).map_err(|error| wrong("making the service of a run", error))?;
    }
    let pods = shared.pods();
    let tokens = config.server.is_some().then_some(&shared.tokens);
    let wanted = (0_u32..).take(order.placement.workers.len()).map(|rank| {
        let token = tokens.map(|tokens| tokens.token(order.run, rank));
        let evicting = shared.evicting(&order.placement.workers[rank as usize].node);
        pod(config, order, rank, group, &owner, token.as_deref(), &evicting)
    });
    let wanted = wanted.collect::<Result<Vec<Pod>, _>>();
    let impossible = |error: KubernetesError| {
        let fate = WorkerFate::Refused { reason: error.to_string(), cause: RefusalCause::Task };
        Failed::Wrong(WorkerExit::of(fate))
    };
    let wanted = wanted.map_err(impossible)?;
    let made = wanted.into_iter().map(|wanted| {
        let pods = pods.clone();
        async move { fine_if_there(retry::make(|| pods.create(&POST, &wanted), enough).await) }
    });
    let mut made = futures::stream::iter(made).buffer_unordered(AT_A_TIME);
    while let Some(made) = made.next().await {
        made.map_err(|error| wrong("making the pod of a worker", error))?;
    }
    Ok(())
}

const POST: PostParams = PostParams { dry_run: false, field_manager: None };

fn fine_if_there<T>(made: Result<T, Error>) -> Result<(), Error> {
    match made {
        Err(error) if is_there(&error) => Ok(()),
        made => made.map(drop),
    }
}

/// Writes down that workers may execute from now on. Asked until it is so.
async fn mark_begun(shared: &Arc<Shared>, order: &StartOrder) -> Result<(), Error> {
    let owners = shared.of_run::<ConfigMap>();
    let name = run_name(&shared.config.instance, order.task, order.run);
    let parameters = PatchParams::default();
    let patch = Patch::Merge(json!({"metadata": {"annotations": {BEGUN: "true"}}}));
    insist(|| owners.patch(&name, &parameters, &patch), || false).await.map(drop)
}

async fn bind(shared: &Arc<Shared>, order: &StartOrder) {
    let places: Vec<NodeName> = order.placement.workers.iter().map(|place| place.node.clone()).collect();
    let bound = (0_u32..).zip(places).map(|(rank, node)| {
        let shared = shared.clone();
        let (task, run) = (order.task, order.run);
        async move {
            let name = pod_name(&shared.config.instance, task, run, rank);
            let binding = Binding {
                metadata: ObjectMeta { name: Some(name.clone()), ..ObjectMeta::default() },
                target: ObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Node".to_owned()),
                    name: Some(node.to_string()),
                    ..ObjectReference::default()
                },
            };
            let pods = shared.pods();
            let request = || pods.create_subresource::<_, Status>("binding", &name, &POST, &binding);
            match insist(request, || false).await {
                Ok(_) => {}
                // Bound before, or being deleted: what it is now, its pod tells.
                Err(error) if code(&error) == Some(409) => {}
                Err(error) if code(&error) == Some(404) => shared.pod_is_gone(run, rank),
                Err(error) => {
                    let reason = failure(format!("binding a pod to node {node}"), &error).to_string();
                    let fate = WorkerFate::Refused { reason, cause: RefusalCause::Node };
                    shared.ended(run, rank, WorkerExit::of(fate));
                }
            }
        }
    });
    let mut bound = futures::stream::iter(bound).buffer_unordered(AT_A_TIME);
    while bound.next().await.is_some() {}
    if let Some(known) = shared.runs().get_mut(&order.run).filter(|known| known.stage == Stage::Binding) {
        known.stage = Stage::Bound;
    }
    // What happened to a pod between its making and now was not taken in.
    super::watch::look_at_run(shared, order.run).await;
}
