//! The agents: one pod on every node, which tells the daemon of its GPUs.

use k8s_openapi::api::apps::v1::{DaemonSet, DaemonSetSpec};
use k8s_openapi::api::core::v1::{
    Container, PodSecurityContext, PodSpec, PodTemplateSpec, ProjectedVolumeSource, ServiceAccountTokenProjection,
    Toleration, Volume, VolumeMount, VolumeProjection,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};

use super::parts::{amounts, from_field, nothing_more, seccomp, variable};
use super::{AGENT, TOKEN_KEY, labels, selector};
use crate::cluster::kubernetes::{AGENT_ACCOUNT, AGENT_AUDIENCE};
use crate::setup::Plan;

impl Plan {
    pub(super) fn agents(&self) -> DaemonSet {
        let token = agents_token();
        let container = Container {
            name: "agent".to_owned(),
            image: Some(self.image.clone()),
            image_pull_policy: self.pull_policy.clone(),
            args: Some(vec!["agent".to_owned(), format!("--token-file=/etc/hai/agent/{TOKEN_KEY}")]),
            env: Some(vec![
                variable("HAI_SERVER", &self.inner_url()),
                from_field("HAI_NODE_NAME", "spec.nodeName"),
                // NVIDIA's runtime shows every device and its library to a container that says so.
                variable("NVIDIA_VISIBLE_DEVICES", "all"),
                variable("NVIDIA_DRIVER_CAPABILITIES", "utility"),
            ]),
            resources: Some(amounts(&[("cpu", "10m"), ("memory", "32Mi")], &[("memory", "128Mi")])),
            security_context: Some(nothing_more()),
            volume_mounts: Some(vec![VolumeMount {
                name: "token".to_owned(),
                mount_path: "/etc/hai/agent".to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            }]),
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..Container::default()
        };
        DaemonSet {
            metadata: self.meta(AGENT, "agent"),
            spec: Some(DaemonSetSpec {
                selector: LabelSelector { match_labels: Some(selector("agent")), ..LabelSelector::default() },
                template: PodTemplateSpec {
                    metadata: Some(ObjectMeta { labels: Some(labels("agent")), ..ObjectMeta::default() }),
                    spec: Some(PodSpec {
                        containers: vec![container],
                        volumes: Some(vec![token]),
                        service_account_name: Some(AGENT_ACCOUNT.to_owned()),
                        enable_service_links: Some(false),
                        automount_service_account_token: Some(false),
                        image_pull_secrets: self.pull_secrets(),
                        // Whose a process on a device is can be seen from outside of its container only.
                        host_pid: Some(true),
                        runtime_class_name: self.agent_runtime_class.clone(),
                        // Devices are seen on nodes that are tainted for their sake, and on cordoned ones.
                        tolerations: Some(vec![Toleration {
                            operator: Some("Exists".to_owned()),
                            ..Toleration::default()
                        }]),
                        security_context: Some(PodSecurityContext {
                            seccomp_profile: Some(seccomp()),
                            ..PodSecurityContext::default()
                        }),
                        ..PodSpec::default()
                    }),
                },
                ..DaemonSetSpec::default()
            }),
            ..DaemonSet::default()
        }
    }
}

/// The volume with the agent's token in it: its pod's own, by which the daemon knows the node that it is on. The kubelet
/// exchanges it in time.
fn agents_token() -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(AGENT_AUDIENCE.to_owned()),
        expiration_seconds: Some(3600),
        path: TOKEN_KEY.to_owned(),
    };
    Volume {
        name: "token".to_owned(),
        projected: Some(ProjectedVolumeSource {
            sources: Some(vec![VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() }]),
            ..ProjectedVolumeSource::default()
        }),
        ..Volume::default()
    }
}
