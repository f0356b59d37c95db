//! The pod of a worker, and the objects that a run's workers share.

use std::collections::{BTreeMap, BTreeSet};

use hai_core::backend::StartOrder;
use hai_core::model::{GroupName, UserName};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EmptyDirVolumeSource, HostPathVolumeSource, LocalObjectReference, NFSVolumeSource,
    PersistentVolumeClaimVolumeSource, Pod, PodSecurityContext, PodSpec, ResourceRequirements, SecurityContext,
    Service, ServiceSpec, Taint, Toleration, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};

use super::config::{GpuMode, KubernetesConfig, KubernetesError, Mount, MountSource, RunAs};
use super::environment::environment;
use super::modules;
use super::names::{
    CONTAINER, DEVICES, GRACE, INSTANCE, KEEP, NAME, RANK, RUN, SCHEDULER, STORE, TASK, USER, WORKERS, pod_name,
    run_name,
};
use super::strangers::GPU;

/// Taints that Kubernetes puts on silent nodes to evict pods: hai decides about that itself.
const SILENT_NODES: [&str; 2] = ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"];
/// The volume for shared memory.
const SHM: &str = "hai-shm";

fn labels(config: &KubernetesConfig, order: &StartOrder) -> BTreeMap<String, String> {
    let pairs = [
        (INSTANCE, config.instance.clone()),
        (TASK, order.task.to_string()),
        (RUN, order.run.to_string()),
        ("app.kubernetes.io/managed-by", "hai".to_owned()),
    ];
    pairs.map(|(key, value)| (key.to_owned(), value)).into()
}

/// For people who look with kubectl. Labels could not hold every name.
fn annotations(order: &StartOrder) -> BTreeMap<String, String> {
    [(USER.to_owned(), order.user.to_string()), (NAME.to_owned(), order.name.clone())].into()
}

/// What everything else of the run belongs to, so that nothing is left when it is gone.
pub(crate) fn owner(config: &KubernetesConfig, order: &StartOrder, store: &str) -> ConfigMap {
    let mut annotations = annotations(order);
    annotations.insert(WORKERS.to_owned(), order.placement.workers.len().to_string());
    annotations.insert(GRACE.to_owned(), format!("{},{}", order.grace.answer.as_ms(), order.grace.finish.as_ms()));
    annotations.insert(STORE.to_owned(), store.to_owned());
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(run_name(&config.instance, order.task, order.run)),
            labels: Some(labels(config, order)),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

/// How objects of a run point to their owner.
pub(crate) fn belongs_to(owner: &ConfigMap) -> Vec<OwnerReference> {
    vec![OwnerReference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        name: owner.metadata.name.clone().unwrap_or_default(),
        uid: owner.metadata.uid.clone().unwrap_or_default(),
        ..OwnerReference::default()
    }]
}

/// Gives rank 0 a name that the others reach it by, from before it is ready.
pub(crate) fn service(config: &KubernetesConfig, order: &StartOrder, owner: &ConfigMap) -> Service {
    let mut selector = labels(config, order);
    selector.insert(RANK.to_owned(), "0".to_owned());
    Service {
        metadata: ObjectMeta {
            name: Some(run_name(&config.instance, order.task, order.run)),
            labels: Some(labels(config, order)),
            owner_references: Some(belongs_to(owner)),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            publish_not_ready_addresses: Some(true),
            selector: Some(selector),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

/// The pod of one worker, on no node yet; `evicting` are the taints of its node that would put it out.
///
/// # Errors
/// [`KubernetesError::NoImage`], [`KubernetesError::NoParts`].
pub(crate) fn pod(
    config: &KubernetesConfig,
    order: &StartOrder,
    rank: u32,
    group: &GroupName,
    owner: &ConfigMap,
    token: Option<&str>,
    evicting: &[Taint],
) -> Result<Pod, KubernetesError> {
    let place = &order.placement.workers[rank as usize];
    let gpus = config.gpus(group);
    if gpus == GpuMode::Plugin && place.part.is_some() {
        return Err(KubernetesError::NoParts { group: group.clone() });
    }
    let image = order.program.image.clone().or_else(|| config.image.clone()).ok_or(KubernetesError::NoImage)?;
    let mut amounts = BTreeMap::new();
    let mut set = |key: &str, text: String| amounts.insert(key.to_owned(), Quantity(text));
    if place.cpu_milli > 0 {
        set("cpu", format!("{}m", place.cpu_milli));
    }
    if place.memory_mib > 0 {
        set("memory", format!("{}Mi", place.memory_mib));
    }
    if gpus == GpuMode::Plugin && !place.devices.is_empty() {
        set(GPU, place.devices.len().to_string());
    }
    let (volumes, mounts) = volumes(config, order, place.memory_mib);
    let run_as = config.users.get(&order.user).copied().or(config.run_as);
    let container = Container {
        name: CONTAINER.to_owned(),
        image: Some(image),
        image_pull_policy: config.image_pull_policy.clone(),
        // As `args` are: a dollar sign in them is the program's business.
        command: Some(order.program.command.iter().map(|word| word.replace('$', "$$")).collect()),
        working_dir: order.program.workdir.clone(),
        env: Some(environment(config, order, rank, group, token)),
        resources: Some(ResourceRequirements {
            requests: Some(amounts.clone()),
            limits: Some(amounts),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(mounts),
        ..Container::default()
    };
    let mut labels = labels(config, order);
    labels.insert(RANK.to_owned(), rank.to_string());
    let tolerated: BTreeSet<&str> =
        SILENT_NODES.into_iter().chain(config.tolerates.iter().map(String::as_str)).collect();
    let toleration = |key: &str| Toleration {
        key: Some(key.to_owned()),
        operator: Some("Exists".to_owned()),
        ..Toleration::default()
    };
    // Which taints a task minds was decided when its nodes were chosen; what would evict it now has been let through.
    let unbound = Toleration {
        operator: Some("Exists".to_owned()),
        effect: Some("NoSchedule".to_owned()),
        ..Toleration::default()
    };
    let of_node = evicting.iter().map(|taint| Toleration {
        key: Some(taint.key.clone()),
        operator: Some("Equal".to_owned()),
        value: taint.value.clone(),
        effect: Some(taint.effect.clone()),
        ..Toleration::default()
    });
    let devices: Vec<&str> = place.devices.iter().map(|device| device.as_str()).collect();
    let mut notes = annotations(order);
    notes.insert(DEVICES.to_owned(), devices.join(","));
    let pull_secrets = config.image_pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
    Ok(Pod {
        metadata: ObjectMeta {
            name: Some(pod_name(&config.instance, order.task, order.run, rank)),
            labels: Some(labels),
            annotations: Some(notes),
            finalizers: Some(vec![KEEP.to_owned()]),
            owner_references: Some(belongs_to(owner)),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec {
            scheduler_name: Some(SCHEDULER.to_owned()),
            restart_policy: Some("Never".to_owned()),
            containers: vec![container],
            volumes: Some(volumes),
            automount_service_account_token: Some(false),
            service_account_name: config.service_account.clone(),
            enable_service_links: Some(false),
            image_pull_secrets: Some(pull_secrets.collect()),
            runtime_class_name: config.group(group).and_then(|group| group.runtime_class.clone()),
            security_context: run_as.map(|RunAs { uid, gid }| PodSecurityContext {
                run_as_user: Some(uid),
                run_as_group: Some(gid),
                ..PodSecurityContext::default()
            }),
            termination_grace_period_seconds: Some(seconds(order.grace.total())),
            tolerations: Some(tolerated.into_iter().map(toleration).chain([unbound]).chain(of_node).collect()),
            ..PodSpec::default()
        }),
        ..Pod::default()
    })
}

/// Whole seconds, at least one: zero would be force.
pub(crate) fn seconds(span: hai_core::model::Span) -> i64 {
    i64::try_from(span.as_ms().div_ceil(1000)).unwrap_or(i64::MAX).max(1)
}

/// What is mounted where; shared memory always, since training's data loaders need more of it than containers get.
fn volumes(config: &KubernetesConfig, order: &StartOrder, memory_mib: u64) -> (Vec<Volume>, Vec<VolumeMount>) {
    let limit = (memory_mib > 0).then(|| Quantity(format!("{}Mi", (memory_mib / 2).max(1))));
    let shm = EmptyDirVolumeSource { medium: Some("Memory".to_owned()), size_limit: limit };
    let mut volumes = vec![Volume { name: SHM.to_owned(), empty_dir: Some(shm), ..Volume::default() }];
    let mut mounts =
        vec![VolumeMount { name: SHM.to_owned(), mount_path: "/dev/shm".to_owned(), ..VolumeMount::default() }];
    let (python, at) = modules::volume(config);
    volumes.push(python);
    mounts.push(at);
    for mount in config.mounts.iter().filter(|mount| mount.users.is_empty() || mount.users.contains(&order.user)) {
        volumes.push(volume(mount, &order.user));
        mounts.push(VolumeMount {
            name: mount.name.clone(),
            mount_path: of_user(&mount.path, &order.user),
            sub_path: mount.sub_path.as_deref().map(|path| of_user(path, &order.user)),
            read_only: Some(mount.read_only),
            ..VolumeMount::default()
        });
    }
    (volumes, mounts)
}

fn volume(mount: &Mount, user: &UserName) -> Volume {
    let empty = Volume { name: mount.name.clone(), ..Volume::default() };
    match &mount.source {
        MountSource::HostPath(path) => Volume {
            // It must be there: a directory that Kubernetes made in its place would hide that it is not mounted.
            host_path: Some(HostPathVolumeSource { path: of_user(path, user), type_: Some("Directory".to_owned()) }),
            ..empty
        },
        MountSource::Nfs { server, path } => Volume {
            nfs: Some(NFSVolumeSource {
                server: server.clone(),
                path: of_user(path, user),
                read_only: Some(mount.read_only),
            }),
            ..empty
        },
        MountSource::Claim(claim) => Volume {
            persistent_volume_claim: Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.clone(),
                read_only: Some(mount.read_only),
            }),
            ..empty
        },
    }
}

/// The path for `user`. A name that could lead elsewhere leads to where nothing is.
fn of_user(path: &str, user: &UserName) -> String {
    let name = if user.as_str().trim_matches('.').is_empty() { "_" } else { user.as_str() };
    path.replace("{user}", name)
}
