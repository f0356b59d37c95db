//! The objects that hai is on a Kubernetes cluster.

mod agents;
mod parts;

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, ContainerPort, HTTPGetAction, LocalObjectReference, Namespace, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PodSecurityContext, PodSpec, PodTemplateSpec, Probe, Secret, Service, ServiceAccount,
    ServicePort, ServiceSpec, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::api::networking::v1::{
    HTTPIngressPath, HTTPIngressRuleValue, Ingress, IngressBackend, IngressRule, IngressServiceBackend, IngressSpec,
    IngressTLS, ServiceBackendPort,
};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding, RoleRef, Subject};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::rights;
use super::{Data, Database, Plan, ServiceKind};
use crate::cluster::kubernetes::AGENT_ACCOUNT;
use parts::{
    amounts, apart, from_field, from_optional_secret, from_secret, nothing_more, quantities, seccomp, variable,
};

/// The port that the daemon listens on.
pub const PORT: i32 = 8420;
/// The name of the deployment, the service and the ingress.
pub const NAME: &str = "hai";
/// The name of the agents' daemon set.
pub const AGENT: &str = "hai-agent";
/// The name of the claim for the data.
pub const CLAIM: &str = "hai-data";
/// The name of the secret with the agents' token.
pub const TOKEN: &str = "hai-agent-token";
/// The name of the secret that says where the database is, if it is on a server.
pub const DATABASE: &str = "hai-database";
/// The key of its URL in that secret.
pub const DATABASE_KEY: &str = "url";
/// The key of that token in its secret.
pub const TOKEN_KEY: &str = "token";
/// Who the daemon is in its container; what distroless images call `nonroot`.
const NOBODY: i64 = 65_532;

/// An object, and what it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its API group; empty for the core.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its kind in the plural, as paths have it.
    pub plural: String,
    /// Its namespace, if it has one.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
    /// All of it.
    pub json: Value,
}

fn object<T: Serialize + kube::Resource<DynamicType = ()>>(object: &T) -> Object {
    let json = serde_json::to_value(object).expect("objects are data");
    Object {
        group: T::group(&()).into_owned(),
        kind: T::kind(&()).into_owned(),
        plural: T::plural(&()).into_owned(),
        namespace: object.meta().namespace.clone(),
        name: object.meta().name.clone().unwrap_or_default(),
        json,
    }
}

fn labels(component: &str) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "hai"),
        ("app.kubernetes.io/component", component),
        ("app.kubernetes.io/managed-by", "hai-daemon"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The label selector of the pods of `component` (`daemon` or `agent`).
#[must_use]
pub fn selector(component: &str) -> BTreeMap<String, String> {
    labels(component).into_iter().filter(|(key, _)| !key.ends_with("managed-by")).collect()
}

impl Plan {
    fn meta(&self, name: &str, component: &str) -> ObjectMeta {
        ObjectMeta { namespace: Some(self.namespace.clone()), ..self.meta_of_cluster(name, component) }
    }

    fn meta_of_cluster(&self, name: &str, component: &str) -> ObjectMeta {
        ObjectMeta { name: Some(name.to_owned()), labels: Some(labels(component)), ..ObjectMeta::default() }
    }

    /// The name of what is of no namespace: two hais do not meet in it.
    #[must_use]
    pub fn cluster_name(&self) -> String {
        format!("hai-daemon:{}", self.namespace)
    }

    fn binding_to(kind: &str, name: &str) -> RoleRef {
        RoleRef { api_group: "rbac.authorization.k8s.io".to_owned(), kind: kind.to_owned(), name: name.to_owned() }
    }

    fn daemon_account(&self) -> Vec<Subject> {
        vec![Subject {
            kind: "ServiceAccount".to_owned(),
            name: "hai-daemon".to_owned(),
            namespace: Some(self.namespace.clone()),
            ..Subject::default()
        }]
    }

    fn pull_secrets(&self) -> Option<Vec<LocalObjectReference>> {
        let secrets = self.pull_secrets.iter().map(|name| LocalObjectReference { name: name.clone() });
        Some(secrets.collect::<Vec<_>>()).filter(|secrets| !secrets.is_empty())
    }

    /// Where agents and workers reach the daemon.
    #[must_use]
    pub fn inner_url(&self) -> String {
        format!("http://{NAME}.{}.svc:{PORT}", self.namespace)
    }

    fn deployment(&self, token: &str) -> Deployment {
        let volume = match &self.data {
            Data::Claim { .. } => Volume {
                name: "data".to_owned(),
                persistent_volume_claim: Some(k8s_openapi::api::core::v1::PersistentVolumeClaimVolumeSource {
                    claim_name: CLAIM.to_owned(),
                    ..Default::default()
                }),
                ..Volume::default()
            },
            Data::Host { path, .. } => Volume {
                name: "data".to_owned(),
                host_path: Some(k8s_openapi::api::core::v1::HostPathVolumeSource {
                    path: path.clone(),
                    type_: Some("DirectoryOrCreate".to_owned()),
                }),
                ..Volume::default()
            },
            Data::Pod => Volume { name: "data".to_owned(), empty_dir: Some(Default::default()), ..Volume::default() },
        };
        let config = Volume {
            name: "config".to_owned(),
            config_map: Some(k8s_openapi::api::core::v1::ConfigMapVolumeSource {
                name: "hai-config".to_owned(),
                ..Default::default()
            }),
            ..Volume::default()
        };
        let mount = |name: &str, path: &str, read_only: bool| VolumeMount {
            name: name.to_owned(),
            mount_path: path.to_owned(),
            read_only: Some(read_only),
            ..VolumeMount::default()
        };
        let mut env = vec![
            variable("HAI_CONFIG", "/etc/hai/config/hai.toml"),
            variable("HAI_SERVER_LISTEN", &format!("0.0.0.0:{PORT}")),
            variable("HAI_DATA_DIR", "/var/lib/hai"),
            // Whoever brings this token may report devices of any node, and nothing else: for agents outside of pods. What seals
            // the tokens of workers comes from it too.
            from_secret("HAI_AGENT_TOKEN", TOKEN, TOKEN_KEY),
            variable("HAI_CLUSTER_KIND", "kubernetes"),
            variable("HAI_KUBERNETES_NAMESPACE", &self.namespace),
            from_field("HAI_POD_NAME", "metadata.name"),
            // Where the others find it while it leads.
            from_field("HAI_POD_IP", "status.podIP"),
            // Without the secret the database is a file among the data.
            from_optional_secret("HAI_DATA_DATABASE", DATABASE, DATABASE_KEY),
        ];
        if self.kubernetes.server.is_none() {
            env.push(variable("HAI_KUBERNETES_SERVER", &self.inner_url()));
        }
        env.extend(
            self.settings
                .iter()
                .map(|(name, value)| variable(&format!("HAI_{}", name.replace(['.', '-'], "_").to_uppercase()), value)),
        );
        let probe = |path: &str, every: i32| {
            Some(Probe {
                http_get: Some(HTTPGetAction {
                    path: Some(path.to_owned()),
                    port: IntOrString::String("http".to_owned()),
                    ..HTTPGetAction::default()
                }),
                period_seconds: Some(every),
                timeout_seconds: Some(5),
                ..Probe::default()
            })
        };
        let container = Container {
            name: "daemon".to_owned(),
            image: Some(self.image.clone()),
            image_pull_policy: self.pull_policy.clone(),
            args: Some(vec!["serve".to_owned()]),
            env: Some(env),
            ports: Some(vec![ContainerPort {
                name: Some("http".to_owned()),
                container_port: PORT,
                protocol: Some("TCP".to_owned()),
                ..ContainerPort::default()
            }]),
            readiness_probe: probe("/readyz", 5),
            liveness_probe: probe("/healthz", 20),
            resources: Some(amounts(&[("cpu", "100m"), ("memory", "128Mi")], &[("memory", "2Gi")])),
            security_context: Some(nothing_more()),
            volume_mounts: Some(vec![
                mount("data", "/var/lib/hai", false),
                mount("config", "/etc/hai/config", true),
                mount("tmp", "/tmp", false),
            ]),
            // What it says before it ends is then what is told of it.
            termination_message_policy: Some("FallbackToLogsOnError".to_owned()),
            ..Container::default()
        };
        let tmp = Volume { name: "tmp".to_owned(), empty_dir: Some(Default::default()), ..Volume::default() };
        // A new configuration takes new daemons.
        let mut digested = format!("{}{:?}", self.config, self.settings);
        if let Database::Given(url) = &self.database {
            // With the token before it nobody can try passwords against what comes of it.
            digested = format!("{digested}{token}{}", url.secret());
        }
        let digest = Sha256::digest(digested.as_bytes());
        let digest: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let annotations = BTreeMap::from([("hai/config".to_owned(), digest)]);
        let node = match &self.data {
            Data::Host { node: Some(node), .. } => {
                Some(BTreeMap::from([("kubernetes.io/hostname".to_owned(), node.clone())]))
            }
            _ => None,
        };
        Deployment {
            metadata: self.meta(NAME, "daemon"),
            spec: Some(DeploymentSpec {
                replicas: Some(self.replicas),
                selector: LabelSelector { match_labels: Some(selector("daemon")), ..LabelSelector::default() },
                strategy: Some(self.strategy()),
                template: PodTemplateSpec {
                    metadata: Some(ObjectMeta {
                        labels: Some(labels("daemon")),
                        annotations: Some(annotations),
                        ..ObjectMeta::default()
                    }),
                    spec: Some(PodSpec {
                        containers: vec![container],
                        volumes: Some(vec![volume, config, tmp]),
                        service_account_name: Some("hai-daemon".to_owned()),
                        // A service called hai-data would look like a setting.
                        enable_service_links: Some(false),
                        image_pull_secrets: self.pull_secrets(),
                        node_selector: node,
                        affinity: (self.replicas > 1).then(apart),
                        termination_grace_period_seconds: Some(30),
                        security_context: Some(PodSecurityContext {
                            run_as_non_root: Some(true),
                            run_as_user: Some(NOBODY),
                            run_as_group: Some(NOBODY),
                            fs_group: Some(NOBODY),
                            seccomp_profile: Some(seccomp()),
                            ..PodSecurityContext::default()
                        }),
                        ..PodSpec::default()
                    }),
                },
                ..DeploymentSpec::default()
            }),
            ..Deployment::default()
        }
    }

    fn strategy(&self) -> DeploymentStrategy {
        // Two daemons can not have one file at a time. Of those on a server one leads, and the other is exchanged first or last.
        if self.replicas == 1 {
            return DeploymentStrategy { type_: Some("Recreate".to_owned()), ..Default::default() };
        }
        DeploymentStrategy {
            type_: Some("RollingUpdate".to_owned()),
            rolling_update: Some(RollingUpdateDeployment {
                max_surge: Some(IntOrString::Int(0)),
                max_unavailable: Some(IntOrString::Int(1)),
            }),
        }
    }

    fn service(&self) -> Service {
        let node_port = self.node_port.filter(|_| self.service != ServiceKind::ClusterIp);
        Service {
            metadata: self.meta(NAME, "daemon"),
            spec: Some(ServiceSpec {
                type_: Some(self.service.word().to_owned()),
                selector: Some(selector("daemon")),
                ports: Some(vec![ServicePort {
                    name: Some("http".to_owned()),
                    port: PORT,
                    protocol: Some("TCP".to_owned()),
                    target_port: Some(IntOrString::String("http".to_owned())),
                    node_port,
                    ..ServicePort::default()
                }]),
                ..ServiceSpec::default()
            }),
            ..Service::default()
        }
    }

    fn ingress(&self, ingress: &super::Ingress) -> Ingress {
        let host = Some(ingress.host.clone());
        let secret = ingress.tls.clone();
        Ingress {
            metadata: self.meta(NAME, "daemon"),
            spec: Some(IngressSpec {
                ingress_class_name: ingress.class.clone(),
                tls: secret.map(|secret| {
                    vec![IngressTLS { hosts: Some(vec![ingress.host.clone()]), secret_name: Some(secret) }]
                }),
                rules: Some(vec![IngressRule {
                    host,
                    http: Some(HTTPIngressRuleValue {
                        paths: vec![HTTPIngressPath {
                            path: Some("/".to_owned()),
                            path_type: "Prefix".to_owned(),
                            backend: IngressBackend {
                                service: Some(IngressServiceBackend {
                                    name: NAME.to_owned(),
                                    port: Some(ServiceBackendPort { name: Some("http".to_owned()), number: None }),
                                }),
                                ..IngressBackend::default()
                            },
                        }],
                    }),
                }]),
                ..IngressSpec::default()
            }),
            ..Ingress::default()
        }
    }

    fn claim(&self, size: &str, class: Option<&String>) -> PersistentVolumeClaim {
        PersistentVolumeClaim {
            metadata: self.meta(CLAIM, "daemon"),
            spec: Some(PersistentVolumeClaimSpec {
                access_modes: Some(vec![if self.replicas > 1 { "ReadWriteMany" } else { "ReadWriteOnce" }.to_owned()]),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(quantities(&[("storage", size)])),
                    ..VolumeResourceRequirements::default()
                }),
                storage_class_name: class.cloned(),
                ..PersistentVolumeClaimSpec::default()
            }),
            ..PersistentVolumeClaim::default()
        }
    }
}

/// Everything that `plan` takes, in the order in which it has to be made. `token` is the agents'.
#[must_use]
pub fn all(plan: &Plan, token: &str) -> Vec<Object> {
    let account = |name: &str, component: &str| ServiceAccount {
        metadata: plan.meta(name, component),
        ..ServiceAccount::default()
    };
    let cluster = plan.cluster_name();
    let namespace = Namespace { metadata: plan.meta_of_cluster(&plan.namespace, "namespace"), ..Namespace::default() };
    let config = ConfigMap {
        metadata: plan.meta("hai-config", "daemon"),
        data: Some(BTreeMap::from([("hai.toml".to_owned(), plan.config.clone())])),
        ..ConfigMap::default()
    };
    let secret = Secret {
        metadata: plan.meta(TOKEN, "agent"),
        data: Some(BTreeMap::from([(TOKEN_KEY.to_owned(), ByteString(token.as_bytes().to_vec()))])),
        type_: Some("Opaque".to_owned()),
        ..Secret::default()
    };
    let mut all = vec![
        object(&namespace),
        object(&account("hai-daemon", "daemon")),
        object(&account(AGENT_ACCOUNT, "agent")),
        object(&ClusterRole {
            metadata: plan.meta_of_cluster(&cluster, "daemon"),
            rules: Some(rights::rules(rights::DAEMON, true)),
            ..ClusterRole::default()
        }),
        object(&ClusterRoleBinding {
            metadata: plan.meta_of_cluster(&cluster, "daemon"),
            role_ref: Plan::binding_to("ClusterRole", &cluster),
            subjects: Some(plan.daemon_account()),
        }),
        object(&Role {
            metadata: plan.meta("hai-daemon", "daemon"),
            rules: Some(rights::rules(rights::DAEMON, false)),
        }),
        object(&RoleBinding {
            metadata: plan.meta("hai-daemon", "daemon"),
            role_ref: Plan::binding_to("Role", "hai-daemon"),
            subjects: Some(plan.daemon_account()),
        }),
        object(&config),
        object(&secret),
    ];
    if let Database::Given(url) = &plan.database {
        all.push(object(&Secret {
            metadata: plan.meta(DATABASE, "daemon"),
            data: Some(BTreeMap::from([(DATABASE_KEY.to_owned(), ByteString(url.secret().as_bytes().to_vec()))])),
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        }));
    }
    if let Data::Claim { size, class } = &plan.data {
        all.push(object(&plan.claim(size, class.as_ref())));
    }
    all.push(object(&plan.service()));
    if let Some(ingress) = &plan.ingress {
        all.push(object(&plan.ingress(ingress)));
    }
    all.push(object(&plan.deployment(token)));
    all.push(object(&plan.agents()));
    all
}

/// All of them as one YAML text, a document each.
///
/// # Errors
/// What the writer says, which it does of nothing that objects hold.
pub fn yaml(objects: &[Object]) -> Result<String, String> {
    let documents: Vec<&Value> = objects.iter().map(|object| &object.json).collect();
    serde_saphyr::to_string_multiple(&documents).map_err(|error| error.to_string())
}
