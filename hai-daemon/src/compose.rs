//! What each part of the daemon is made from, taken from the configuration, which knows none of them.

use std::path::PathBuf;

use crate::cluster::kubernetes::{GpuMode, GroupConfig, KubernetesConfig, LocationLabels, Mount, MountSource, RunAs};
use crate::config::{self, Config, KubernetesGpus, KubernetesGroup, KubernetesMount, KubernetesSource};

/// Files that the output of one worker is spread over.
pub(crate) const LOG_SEGMENTS: u32 = 8;

/// What a Kubernetes cluster is made from; workers' output is kept in `log_dir`.
#[must_use]
pub fn kubernetes_config(config: &Config, log_dir: PathBuf) -> KubernetesConfig {
    // Whole, so that a setting that nobody takes is missed here.
    let config::Kubernetes {
        namespace,
        instance,
        // How the API server is reached is for who connects to it.
        kubeconfig: _,
        context: _,
        server,
        group_label,
        leaf_label,
        spine_label,
        zone_label,
        image,
        image_pull_policy,
        image_pull_secrets,
        service_account,
        tolerates,
        lost_after,
        image_patience,
        // What may be mounted was checked when the configuration was read.
        host_paths: _,
        run_as: others,
        users,
        groups,
        mounts,
    } = &config.kubernetes;
    KubernetesConfig {
        instance: instance.as_str().to_owned(),
        namespace: namespace.as_str().to_owned(),
        group_label: group_label.as_str().to_owned(),
        groups: groups.iter().map(group).collect(),
        location: LocationLabels {
            leaf: leaf_label.as_str().to_owned(),
            spine: spine_label.as_str().to_owned(),
            zone: zone_label.as_str().to_owned(),
        },
        image: image.as_ref().map(|image| image.as_str().to_owned()),
        image_pull_policy: image_pull_policy.map(|policy| policy.word().to_owned()),
        image_pull_secrets: image_pull_secrets.iter().map(|secret| secret.as_str().to_owned()).collect(),
        service_account: service_account.as_ref().map(|account| account.as_str().to_owned()),
        tolerates: tolerates.iter().map(|taint| taint.as_str().to_owned()).collect(),
        mounts: mounts.iter().map(mount).collect(),
        users: users.iter().map(|(user, numbers)| (user.clone(), run_as(*numbers))).collect(),
        run_as: others.map(run_as),
        server: server.as_ref().map(|server| server.as_str().to_owned()),
        lost_after: lost_after.to_std(),
        image_patience: image_patience.to_std(),
        log_dir,
        log_bytes_max: config.tasks.log_bytes_max.0,
        log_segments: LOG_SEGMENTS,
    }
}

fn group(group: &KubernetesGroup) -> GroupConfig {
    GroupConfig {
        name: group.name.clone(),
        nodes: group.nodes.iter().map(|node| node.as_str().to_owned()).collect(),
        gpus: match group.gpus {
            KubernetesGpus::Visible => GpuMode::Visible,
            KubernetesGpus::Plugin => GpuMode::Plugin,
        },
        runtime_class: group.runtime_class.as_ref().map(|class| class.as_str().to_owned()),
    }
}

fn mount(mount: &KubernetesMount) -> Mount {
    Mount {
        name: mount.name.as_str().to_owned(),
        path: mount.path.as_str().to_owned(),
        source: match &mount.source {
            KubernetesSource::HostPath(path) => MountSource::HostPath(path.as_str().to_owned()),
            KubernetesSource::Nfs(export) => {
                MountSource::Nfs { server: export.server.clone(), path: export.path.as_str().to_owned() }
            }
            KubernetesSource::Claim(claim) => MountSource::Claim(claim.as_str().to_owned()),
        },
        sub_path: mount.sub_path.as_ref().map(|path| path.as_str().to_owned()),
        read_only: mount.read_only,
        users: mount.users.clone(),
    }
}

fn run_as(numbers: config::RunAs) -> RunAs {
    RunAs { uid: i64::from(numbers.uid), gid: i64::from(numbers.gid) }
}
