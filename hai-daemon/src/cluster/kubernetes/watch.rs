//! Listening to the API server: nodes, pods and reported devices, and what time alone changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;
use hai_core::model::RunId;
use k8s_openapi::api::core::v1::{Node, Pod};
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, ResourceExt as _};

use super::names::{INSTANCE, RUN, rank_of, run_of};
use super::retry::ask;
use super::state::Shared;

/// Objects that are listed at a time.
const PAGE: u32 = 500;

/// Hears of nodes until it is dropped. Begins with all that are there.
pub(crate) async fn nodes(shared: Arc<Shared>) {
    let stream = watcher(Api::<Node>::all(shared.client.clone()), Config::default().page_size(PAGE)).default_backoff();
    let mut stream = std::pin::pin!(stream);
    let mut listed = BTreeSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => listed.clear(),
            Ok(Event::InitApply(node)) => {
                listed.insert(node.name_any());
                shared.node_is(&node, true);
            }
            Ok(Event::InitDone) => shared.only_these_nodes(&std::mem::take(&mut listed)),
            Ok(Event::Apply(node)) => shared.node_is(&node, true),
            Ok(Event::Delete(node)) => {
                if let Some(name) = super::group::name_of(&node) {
                    shared.node_is_gone(&name);
                }
            }
            Err(error) => tracing::warn!(%error, "nodes can not be watched; it is tried again"),
        }
    }
}

/// Hears of pods, one's own and others', until it is dropped. Begins with all that are there.
pub(crate) async fn pods(shared: Arc<Shared>) {
    let stream = watcher(Api::<Pod>::all(shared.client.clone()), Config::default().page_size(PAGE)).default_backoff();
    let mut stream = std::pin::pin!(stream);
    let (mut workers, mut strangers) = (BTreeSet::new(), BTreeSet::new());
    let mut expected = BTreeSet::new();
    while let Some(event) = stream.next().await {
        match event {
            Ok(Event::Init) => {
                // Before it is asked what there is: what comes while it is answered may be missing from it.
                expected = shared.alive();
                workers.clear();
                strangers.clear();
            }
            Ok(Event::InitApply(pod)) => {
                if take(&shared, &pod) {
                    strangers.insert((pod.namespace().unwrap_or_default(), pod.name_any()));
                }
                workers.extend(worker_of(&shared, &pod));
            }
            Ok(Event::InitDone) => {
                shared.only_these(&std::mem::take(&mut expected), &std::mem::take(&mut workers));
                shared.only_these_strangers(&std::mem::take(&mut strangers));
            }
            Ok(Event::Apply(pod)) => {
                take(&shared, &pod);
            }
            Ok(Event::Delete(pod)) => {
                if let Some((run, rank)) = worker_of(&shared, &pod) {
                    // Its last state may say how it ended.
                    shared.pod_is(&pod);
                    shared.pod_is_gone(run, rank);
                }
                shared.stranger_is(&pod, false);
            }
            Err(error) => tracing::warn!(%error, "pods can not be watched; it is tried again"),
        }
    }
}

/// Hears of devices that are reported.
pub(crate) async fn devices(shared: Arc<Shared>, mut heard: tokio::sync::watch::Receiver<super::state::Devices>) {
    while heard.changed().await.is_ok() {
        shared.devices_changed();
    }
    // Nobody will report any more; what was heard last stays.
    std::future::pending::<()>().await;
}

/// Does what is due.
pub(crate) async fn time(shared: Arc<Shared>) {
    loop {
        let pause = shared.look();
        tokio::time::sleep(pause).await;
    }
}

/// Takes in what the pods of a run say now.
pub(crate) async fn look_at_run(shared: &Arc<Shared>, run: RunId) {
    let selector = format!("{INSTANCE}={},{RUN}={run}", shared.config.instance);
    let parameters = kube::api::ListParams::default().labels(&selector);
    let pods = shared.pods();
    match ask(|| pods.list(&parameters), || false).await {
        Ok(found) => {
            for pod in &found.items {
                take(shared, pod);
            }
        }
        Err(error) => tracing::warn!(%run, %error, "a run's pods can not be listed"),
    }
}

/// Takes in what a pod says; true if it is none of hai's, or of a run that nobody knows: then it takes its room as others do.
fn take(shared: &Arc<Shared>, pod: &Pod) -> bool {
    let strange = !shared.pod_is(pod);
    if strange {
        shared.stranger_is(pod, true);
    }
    strange
}

fn worker_of(shared: &Shared, pod: &Pod) -> Option<(RunId, u32)> {
    let (_, run) = run_of(&pod.metadata, &shared.config.instance)?;
    (pod.metadata.namespace.as_deref() == Some(&shared.config.namespace)).then_some(())?;
    Some((run, rank_of(&pod.metadata)?))
}
