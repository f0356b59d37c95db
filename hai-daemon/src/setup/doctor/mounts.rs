//! Whether what workers find mounted is there on each node and can be written: a short-lived pod on each says so.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{
    Container, HostPathVolumeSource, NFSVolumeSource, Node, PersistentVolumeClaimVolumeSource, Pod, PodSecurityContext,
    PodSpec, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt as _};

use super::super::connect::explain;
use super::super::{Mount, Plan, why};
use super::{Check, nodes};
use crate::cluster::kubernetes::MountSource;

const WHAT: &str = "mounts";

/// What a mount's source is called.
fn source_of(mount: &Mount) -> String {
    match &mount.source {
        MountSource::HostPath(path) => path.clone(),
        MountSource::Nfs { server, path } => format!("{server}:{path}"),
        MountSource::Claim(name) => format!("claim {name}"),
    }
}

/// Whether it is another one for each user.
fn is_users(mount: &Mount) -> bool {
    source_of(mount).contains("{user}") || mount.path.contains("{user}")
}

/// Mounts that are the same for all users: what stands for a user's name is left out.
fn volumes(plan: &Plan) -> (Vec<Volume>, Vec<VolumeMount>) {
    let shared = plan.mounts.iter().filter(|mount| !is_users(mount));
    let volume = |name: &str, source: &MountSource| {
        let mut volume = Volume { name: name.to_owned(), ..Volume::default() };
        match source {
            // It must be there already: a directory made now would not be the shared one.
            MountSource::HostPath(path) => {
                volume.host_path =
                    Some(HostPathVolumeSource { path: path.clone(), type_: Some("Directory".to_owned()) });
            }
            MountSource::Nfs { server, path } => {
                volume.nfs = Some(NFSVolumeSource { server: server.clone(), path: path.clone(), read_only: None });
            }
            MountSource::Claim(name) => {
                volume.persistent_volume_claim =
                    Some(PersistentVolumeClaimVolumeSource { claim_name: name.clone(), read_only: None });
            }
        }
        volume
    };
    shared
        .map(|mount| {
            let path = format!("/probe/{}", mount.name);
            let found = VolumeMount {
                name: mount.name.clone(),
                mount_path: path,
                read_only: Some(mount.read_only),
                ..VolumeMount::default()
            };
            (volume(&mount.name, &mount.source), found)
        })
        .unzip()
}

fn pod(plan: &Plan, node: &str) -> Pod {
    let (volumes, mounts) = volumes(plan);
    let mut args = vec!["probe".to_owned()];
    for mount in &mounts {
        if mount.read_only == Some(true) {
            args.push("--read-only".to_owned());
        }
        args.push(mount.mount_path.clone());
    }
    Pod {
        metadata: ObjectMeta {
            generate_name: Some("hai-probe-".to_owned()),
            namespace: Some(plan.namespace.clone()),
            labels: Some([("app.kubernetes.io/component".to_owned(), "probe".to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            // Straight onto the node, also where a scheduler would put nothing.
            node_name: Some(node.to_owned()),
            restart_policy: Some("Never".to_owned()),
            automount_service_account_token: Some(false),
            termination_grace_period_seconds: Some(0),
            active_deadline_seconds: Some(600),
            tolerations: Some(vec![Toleration { operator: Some("Exists".to_owned()), ..Toleration::default() }]),
            security_context: Some(PodSecurityContext {
                run_as_user: plan.run_as.map(|(user, _)| user),
                run_as_group: plan.run_as.map(|(_, group)| group),
                ..PodSecurityContext::default()
            }),
            volumes: Some(volumes),
            containers: vec![Container {
                name: "probe".to_owned(),
                image: Some(plan.image.clone()),
                image_pull_policy: plan.pull_policy.clone(),
                args: Some(args),
                volume_mounts: Some(mounts),
                termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
                ..Container::default()
            }],
            ..PodSpec::default()
        }),
        ..Pod::default()
    }
}

/// What the paths within the pod are on the node.
fn in_plain_words(plan: &Plan, text: &str) -> String {
    plan.mounts.iter().fold(text.trim().replace('\n', ", "), |text, mount| {
        let source = source_of(mount);
        text.replace(&format!("/probe/{}", mount.name), &format!("{} ({source})", mount.name))
    })
}

async fn on_node(plan: &Plan, client: &Client, node: &str, patience: Duration) -> Check {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &plan.namespace);
    let made = match pods.create(&PostParams::default(), &pod(plan, node)).await {
        Ok(made) => made.name_any(),
        Err(error) => return Check::trouble(WHAT, explain("trying the mounts with a pod", &error), false),
    };
    let deadline = Instant::now() + patience;
    let check = loop {
        let found = match pods.get(&made).await {
            Ok(found) => found,
            Err(error) => {
                break Check::trouble(WHAT, explain("looking at the pod that tries the mounts", &error), false);
            }
        };
        match found.status.as_ref().and_then(|status| status.phase.as_deref()) {
            Some("Succeeded") => break Check::good(WHAT, format!("{node}: all are there, and can be used")),
            Some("Failed") => {
                let statuses = found.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
                let ended = statuses.filter_map(|status| status.state.as_ref()?.terminated.as_ref()).next();
                let message = ended.and_then(|ended| ended.message.clone()).filter(|text| !text.trim().is_empty());
                let fix = if message.as_deref().is_some_and(|text| text.contains("ermission denied")) {
                    match plan.run_as {
                        Some((user, group)) => {
                            format!("let {user}:{group} write there; on NFS, root_squash makes root somebody else")
                        }
                        None => {
                            "set kubernetes.run_as to who may write there; on NFS, root_squash makes root somebody \
                                 else"
                                .to_owned()
                        }
                    }
                } else {
                    format!("see the file system on {node}")
                };
                let said = message.map(|text| in_plain_words(plan, &text));
                let said = match said {
                    Some(said) => said,
                    None => why::pod_is_not_ready(client, &found).await.unwrap_or_default(),
                };
                break Check::bad(WHAT, format!("{node}: {said}"), fix);
            }
            _ if Instant::now() >= deadline => {
                let why = why::pod_is_not_ready(client, &found).await;
                let why = why.unwrap_or_else(|| "its kubelet says nothing".to_owned());
                break Check::bad(
                    WHAT,
                    format!("{node}: not mounted within {} s: {}", patience.as_secs(), in_plain_words(plan, &why)),
                    "mount the shared file system at the same path on every node",
                );
            }
            _ => tokio::time::sleep(Duration::from_millis(250)).await,
        }
    };
    // Whatever is left goes with its deadline.
    let _ = pods.delete(&made, &DeleteParams::default().grace_period(0)).await;
    check
}

pub(super) async fn checks(plan: &Plan, client: &Client, all: &[Node], patience: Duration) -> Vec<Check> {
    let users = plan.mounts.iter().filter(|mount| is_users(mount));
    let mut checks: Vec<Check> = users
        .map(|mount| {
            let said = format!("{} ({}) is another one for each user, and was not tried", mount.name, source_of(mount));
            Check::skipped(WHAT, said)
        })
        .collect();
    if volumes(plan).0.is_empty() {
        if checks.is_empty() {
            checks.push(Check::skipped(WHAT, "workers find none mounted"));
        }
        return checks;
    }
    let mut trying = Vec::new();
    for node in nodes::of_groups(plan, all) {
        let (plan, client) = (plan.clone(), client.clone());
        trying.push(tokio::spawn(async move { on_node(&plan, &client, &node, patience).await }));
    }
    for one in trying {
        match one.await {
            Ok(check) => checks.push(check),
            Err(error) => checks.push(Check::bad(WHAT, format!("it could not be tried: {error}"), "try again")),
        }
    }
    checks
}
