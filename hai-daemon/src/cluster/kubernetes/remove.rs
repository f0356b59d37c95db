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
use super::retry::{code, insist};
use super::state::Shared;

/// Removes all objects of a run, by force. Asked until it is done; the owner goes last and only after all else, so that a
/// run of which something is left is found again.
pub(crate) async fn remove(shared: &Arc<Shared>, task: TaskId, run: RunId, workers: usize) {
    let name = run_name(&shared.config.instance, task, run);
    if let Err(error) = remove_all(shared, task, run, workers, &name).await {
        tracing::warn!(name, %error, "what is left of a run can not be removed; it is tried again at the next start");
    }
}

async fn remove_all(shared: &Arc<Shared>, task: TaskId, run: RunId, workers: usize, name: &str) -> Result<(), Error> {
    let pods = shared.pods();
    for rank in (0_u32..).take(workers) {
        let name = pod_name(&shared.config.instance, task, run, rank);
        let_go(&pods, &name).await?;
        delete(&pods, &name, true).await?;
    }
    if workers > 1 {
        delete(&shared.of_run::<Service>(), name, false).await?;
    }
    delete(&shared.of_run::<ConfigMap>(), name, false).await
}

/// Takes the mark away that keeps a pod that has ended.
async fn let_go(pods: &Api<Pod>, name: &str) -> Result<(), Error> {
    loop {
        let Some(pod) = insist(|| pods.get_opt(name), || false).await? else { return Ok(()) };
        let marks = pod.metadata.finalizers.unwrap_or_default();
        if !marks.iter().any(|mark| mark == KEEP) {
            return Ok(());
        }
        let others: Vec<String> = marks.into_iter().filter(|mark| mark != KEEP).collect();
        let parameters = PatchParams::default();
        // Somebody may take away a mark of theirs at the same time.
        let version = pod.metadata.resource_version;
        let patch = Patch::Merge(json!({"metadata": {"finalizers": others, "resourceVersion": version}}));
        match insist(|| pods.patch(name, &parameters, &patch), || false).await {
            Err(error) if code(&error) == Some(409) => {}
            Err(error) if code(&error) == Some(404) => return Ok(()),
            done => return done.map(drop),
        }
    }
}

async fn delete<K>(objects: &Api<K>, name: &str, by_force: bool) -> Result<(), Error>
where
    K: Clone + DeserializeOwned + Debug,
{
    let parameters = match by_force {
        true => DeleteParams::background().grace_period(0),
        false => DeleteParams::background(),
    };
    match insist(|| objects.delete(name, &parameters), || false).await {
        Err(error) if code(&error) != Some(404) => Err(error),
        _ => Ok(()),
    }
}
