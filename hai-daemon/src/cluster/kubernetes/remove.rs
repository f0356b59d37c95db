//! Removing what is left of a run: pods, service, and last the object they belong to.

use std::fmt::Debug;
use std::sync::Arc;

use hai_core::model::{RunId, TaskId};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use kube::api::{DeleteParams, Patch, PatchParams};
use kube::{Api, Error};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::names::{KEEP, pod_name, run_name};
use super::retry::{ask, code};
use super::state::Shared;

/// Removes all objects of a run, by force. Asked until it is done; the owner goes last, so that a run of which something
/// is left is found again.
pub(crate) async fn remove(shared: &Arc<Shared>, task: TaskId, run: RunId, workers: usize) {
    let pods = shared.pods();
    for rank in (0_u32..).take(workers) {
        let name = pod_name(&shared.config.instance, task, run, rank);
        let_go(&pods, &name).await;
        delete(&pods, &name, true).await;
    }
    let name = run_name(&shared.config.instance, task, run);
    if workers > 1 {
        delete(&shared.of_run::<Service>(), &name, false).await;
    }
    delete(&shared.of_run::<ConfigMap>(), &name, false).await;
}

/// Takes the mark away that keeps a pod that has ended.
pub(crate) async fn let_go(pods: &Api<Pod>, name: &str) {
    let marked = ask(|| pods.get_opt(name), || false).await;
    let Ok(Some(pod)) = marked else { return };
    let others: Vec<String> =
        pod.metadata.finalizers.unwrap_or_default().into_iter().filter(|mark| mark != KEEP).collect();
    let parameters = PatchParams::default();
    let patch = Patch::Merge(json!({"metadata": {"finalizers": others}}));
    fine_if_gone(ask(|| pods.patch(name, &parameters, &patch), || false).await, name);
}

async fn delete<K>(objects: &Api<K>, name: &str, by_force: bool)
where
    K: Clone + DeserializeOwned + Debug,
{
    let parameters = match by_force {
        true => DeleteParams::background().grace_period(0),
        false => DeleteParams::background(),
    };
    fine_if_gone(ask(|| objects.delete(name, &parameters), || false).await.map(drop), name);
}

fn fine_if_gone<T>(done: Result<T, Error>, name: &str) {
    match done {
        Err(error) if code(&error) != Some(404) => {
            tracing::warn!(name, %error, "an object that is of no use any more can not be removed");
        }
        _ => {}
    }
}
