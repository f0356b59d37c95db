//! `hai-daemon up` and `down`: makes the cluster hold what the plan says, and waits until it works; takes it away again.

use std::time::{Duration, Instant};

use k8s_openapi::api::apps::v1::{DaemonSet, Deployment};
use k8s_openapi::api::core::v1::{Namespace, Node, Pod, Secret, Service};
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PropagationPolicy};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Api, Client, Error, ResourceExt as _};

use super::connect::{Trouble, client, explain};
use super::objects::{self, AGENT, CLAIM, DATABASE, DATABASE_KEY, NAME, Object, TOKEN, TOKEN_KEY};
use super::progress::Progress;
use super::{Database, Plan, ServiceKind, doctor, why};

/// As whom fields are set.
const MANAGER: &str = "hai";
/// How long a load balancer gets to say its address, before the node port is told.
const BALANCER: Duration = Duration::from_secs(20);

/// How to go about it.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Only say what would be done.
    pub dry_run: bool,
    /// Take fields that somebody else has set.
    pub force: bool,
    /// How long to wait until all works.
    pub patience: Duration,
    /// When taking away: the data too.
    pub delete_data: bool,
}

fn api(client: &Client, object: &Object) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(&object.group, "v1", &object.kind);
    let resource = ApiResource::from_gvk_with_plural(&kind, &object.plural);
    match &object.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}

fn called(object: &Object) -> String {
    format!("{} {}", object.kind.to_lowercase(), object.name)
}

/// A token that nobody guesses, as the daemon takes it.
///
/// # Errors
/// If the system has no randomness.
pub fn fresh_token() -> Result<String, Trouble> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Trouble::new(format!("there is no randomness for a token: {error}"), "see the system's log")
    })?;
    Ok(bytes.iter().fold("hai_".to_owned(), |text, byte| format!("{text}{byte:02x}")))
}

/// The token that is there, or a fresh one.
async fn token(client: &Client, plan: &Plan) -> Result<String, Trouble> {
    let secrets: Api<Secret> = Api::namespaced(client.clone(), &plan.namespace);
    let found = secrets.get_opt(TOKEN).await.map_err(|error| explain("reading the agents' token", &error))?;
    let known = found.and_then(|secret| String::from_utf8(secret.data?.remove(TOKEN_KEY)?.0).ok());
    match known.filter(|token| !token.is_empty()) {
        Some(token) => Ok(token),
        None => fresh_token(),
    }
}

/// Applies one object; what that did.
async fn apply(client: &Client, object: &Object, manner: Manner) -> Result<&'static str, Trouble> {
    let api = api(client, object);
    let what = format!("applying {}", called(object));
    let before = api.get_opt(&object.name).await.map_err(|error| explain(&what, &error))?;
    let mut params = PatchParams::apply(MANAGER);
    params.force = manner.force;
    params.dry_run = manner.dry_run;
    match api.patch(&object.name, &params, &Patch::Apply(&object.json)).await {
        Ok(after) => {
            // A rehearsal gives no new version, so what is there is compared.
            let plain = |object: &DynamicObject| {
                let mut value = object.data.clone();
                value["metadata"] = serde_json::json!([object.metadata.labels, object.metadata.annotations]);
                value
            };
            Ok(match before {
                None => "made",
                Some(before) if plain(&before) == plain(&after) => "as it was",
                Some(_) => "changed",
            })
        }
        // In a rehearsal its namespace was not made.
        Err(Error::Api(status)) if status.code == 404 && manner.dry_run && before.is_none() => Ok("made"),
        Err(Error::Api(status)) if status.code == 409 => Err(Trouble::new(
            format!("{} holds what somebody else has set: {}", called(object), status.message),
            "take that out of the other's hands, or use --force to take it over",
        )),
        Err(error) => Err(explain(&what, &error)),
    }
}

/// Makes the cluster hold what the plan says. With `dry_run` the API server is asked what would come of it.
///
/// # Errors
/// What is wrong, and what to do, in one line.
pub async fn up(plan: &Plan, manner: Manner) -> Result<(), Trouble> {
    let client = client(plan).await?;
    for check in doctor::before(plan, &client).await {
        match check.verdict {
            doctor::Verdict::Bad => return Err(Trouble::new(check.said, check.fix.unwrap_or_default())),
            doctor::Verdict::Warning => eprintln!("{check}"),
            _ => {}
        }
    }
    if plan.database == Database::Secret {
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &plan.namespace);
        let found =
            secrets.get_opt(DATABASE).await.map_err(|error| explain("reading the secret of the database", &error))?;
        if found.is_none_or(|secret| !secret.data.unwrap_or_default().contains_key(DATABASE_KEY)) {
            let missing = doctor::database::missing(&plan.namespace);
            return Err(Trouble::new(missing.said, missing.fix.unwrap_or_default()));
        }
    }
    let token = token(&client, plan).await?;
    let all = objects::all(plan, &token);
    let mut progress = Progress::new();
    let ours = is_ours(&client, plan).await?;
    for object in &all {
        if object.kind == "Namespace" && !ours {
            // Who made it says what it is like, and when it goes.
            progress.says(&format!("{}: as it was", called(object)));
            continue;
        }
        progress.waits(&format!("applying {}", called(object)));
        let done = apply(&client, object, manner).await?;
        let would = if manner.dry_run && done != "as it was" { "would be " } else { "" };
        progress.says(&format!("{}: {would}{done}", called(object)));
    }
    if manner.dry_run {
        return Ok(());
    }
    let deadline = Instant::now() + manner.patience;
    wait(&client, plan, deadline, &mut progress).await?;
    let address = address(&client, plan, deadline.min(Instant::now() + BALANCER), &mut progress).await?;
    progress.says(&address);
    Ok(())
}

/// Whether the daemon works; else what it waits for.
async fn deployment(client: &Client, plan: &Plan) -> Result<Option<String>, Error> {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), &plan.namespace);
    let found = deployments.get(NAME).await?;
    let generation = found.metadata.generation.unwrap_or(0);
    let status = found.status.unwrap_or_default();
    let (ready, updated) = (status.available_replicas.unwrap_or(0), status.updated_replicas.unwrap_or(0));
    let seen = status.observed_generation.unwrap_or(0) >= generation;
    if seen && ready >= plan.replicas && updated >= plan.replicas {
        return Ok(None);
    }
    Ok(Some(format!("the daemon: {} of {} ready", ready.min(updated), plan.replicas)))
}

async fn daemon_set(client: &Client, plan: &Plan) -> Result<Option<String>, Error> {
    let sets: Api<DaemonSet> = Api::namespaced(client.clone(), &plan.namespace);
    let found = sets.get(AGENT).await?;
    let generation = found.metadata.generation.unwrap_or(0);
    let status = found.status.unwrap_or_default();
    let seen = status.observed_generation.unwrap_or(0) >= generation;
    let wanted = status.desired_number_scheduled;
    if seen && wanted > 0 && status.number_ready >= wanted {
        return Ok(None);
    }
    Ok(Some(format!("the agents: {} of {wanted} ready", status.number_ready)))
}

async fn wait(client: &Client, plan: &Plan, deadline: Instant, progress: &mut Progress) -> Result<(), Trouble> {
    loop {
        let missing = match deployment(client, plan).await {
            Ok(Some(missing)) => Ok(Some((missing, "daemon"))),
            Ok(None) => daemon_set(client, plan).await.map(|missing| missing.map(|missing| (missing, "agent"))),
            Err(error) => Err(error),
        };
        let said = match missing {
            Ok(None) => return Ok(()),
            Ok(Some((missing, component))) => {
                let why = why::component_is_not_ready(client, &plan.namespace, component).await;
                match why {
                    Some(why) => format!("{missing}; {why}"),
                    None => missing,
                }
            }
            Err(Error::Api(status)) if status.code < 500 && status.code != 429 => {
                return Err(explain("looking whether it works", &Error::Api(status)));
            }
            // What is away comes back, or the time is over.
            Err(error) => explain("looking whether it works", &error).said,
        };
        progress.waits(&format!("waiting for {said}"));
        if Instant::now() >= deadline {
            return Err(Trouble::new(
                format!("waited in vain for {said}"),
                format!(
                    "mend that and run `hai-daemon up` again, or look with `kubectl -n {} get pods`",
                    plan.namespace
                ),
            ));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// What a service's load balancer is called, if it has one.
pub(super) fn balancer(service: &Service) -> Option<String> {
    let ingress = service.status.as_ref()?.load_balancer.as_ref()?.ingress.as_ref()?.first()?;
    ingress.hostname.clone().or_else(|| ingress.ip.clone())
}

/// The port that every node gives a service.
pub(super) fn node_port(service: &Service) -> Option<i32> {
    service.spec.as_ref()?.ports.as_ref()?.first()?.node_port
}

/// An address of a node, an outer one if there is one.
pub(super) async fn node_address(client: &Client) -> Result<Option<String>, Error> {
    let nodes: Api<Node> = Api::all(client.clone());
    let nodes = nodes.list(&ListParams::default()).await?;
    let of = |kind: &str| {
        let all = nodes.iter().filter_map(|node| node.status.as_ref()?.addresses.as_ref());
        all.flatten().find(|address| address.type_ == kind).map(|address| address.address.clone())
    };
    Ok(of("ExternalIP").or_else(|| of("InternalIP")))
}

/// Where people reach the daemon, in words.
async fn address(client: &Client, plan: &Plan, deadline: Instant, progress: &mut Progress) -> Result<String, Trouble> {
    if let Some(ingress) = &plan.ingress {
        let scheme = if ingress.tls.is_some() { "https" } else { "http" };
        return Ok(format!("hai works: {scheme}://{}", ingress.host));
    }
    let services: Api<Service> = Api::namespaced(client.clone(), &plan.namespace);
    loop {
        let service = services.get(NAME).await.map_err(|error| explain("looking for the address", &error))?;
        let port = node_port(&service);
        if plan.service == ServiceKind::LoadBalancer {
            if let Some(host) = balancer(&service) {
                return Ok(format!("hai works: http://{host}:{}", objects::PORT));
            }
            if Instant::now() < deadline {
                progress.waits("waiting for a load balancer to give an address");
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
        }
        let Some(port) = port else {
            return Ok(format!(
                "hai works: http://{NAME}.{}.svc:{} within the cluster; from outside: `kubectl -n {0} port-forward \
                 service/{NAME} {1}`",
                plan.namespace,
                objects::PORT
            ));
        };
        let host = node_address(client).await.map_err(|error| explain("looking for a node's address", &error))?;
        let host = host.unwrap_or_else(|| "ANY-NODE".to_owned());
        let note = if plan.service == ServiceKind::LoadBalancer { " (no load balancer answered)" } else { "" };
        return Ok(format!("hai works: http://{host}:{port}{note}"));
    }
}

/// Takes away what the plan put there. The data stay unless they are to go, and with them the namespace.
///
/// # Errors
/// What is wrong, and what to do, in one line.
pub async fn down(plan: &Plan, manner: Manner) -> Result<(), Trouble> {
    let client = client(plan).await?;
    let progress = Progress::new();
    let ours = is_ours(&client, plan).await?;
    for object in objects::all(plan, "").iter().rev() {
        if object.kind == "Namespace" && !manner.dry_run {
            workers(&client, plan, manner.delete_data && ours, &progress).await?;
        }
        let is_data = object.kind == "PersistentVolumeClaim" || object.kind == "Namespace";
        if is_data && !manner.delete_data {
            if object.kind == "PersistentVolumeClaim"
                && api(&client, object).get_opt(CLAIM).await.is_ok_and(|found| found.is_some())
            {
                progress.says(&format!("{}: stays, with the data (--delete-data takes it too)", called(object)));
            }
            continue;
        }
        if object.kind == "Namespace" && !ours {
            progress.says(&format!("{}: stays, since hai did not make it", called(object)));
            continue;
        }
        let mut params =
            DeleteParams { propagation_policy: Some(PropagationPolicy::Background), ..DeleteParams::default() };
        params.dry_run = manner.dry_run;
        let done = match api(&client, object).delete(&object.name, &params).await {
            Ok(_) if manner.dry_run => "would be taken away",
            Ok(_) => "taken away",
            Err(Error::Api(status)) if status.code == 404 => "was not there",
            Err(error) => return Err(explain(&format!("taking away {}", called(object)), &error)),
        };
        progress.says(&format!("{}: {done}", called(object)));
    }
    Ok(())
}

/// What becomes of workers when the daemon goes: they go on, or they go with the namespace. In that case nobody is left to
/// take off what keeps their pods, and the namespace would not end.
async fn workers(client: &Client, plan: &Plan, end: bool, progress: &Progress) -> Result<(), Trouble> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), &plan.namespace);
    let ours = ListParams::default().labels(&format!("hai/instance={}", plan.kubernetes.instance));
    let failed = |error| explain("listing the workers", &error);
    let found = pods.list(&ours).await.map_err(failed)?;
    if found.items.is_empty() {
        return Ok(());
    }
    if !end {
        progress.says(&format!(
            "{} pods of workers: stay, and go on; `kubectl -n {} delete pods -l hai/instance={}` ends them",
            found.items.len(),
            plan.namespace,
            plan.kubernetes.instance
        ));
        return Ok(());
    }
    for pod in found {
        let kept: Vec<String> = pod.finalizers().iter().filter(|name| !name.starts_with("hai/")).cloned().collect();
        let patch = Patch::Merge(serde_json::json!({"metadata": {"finalizers": kept}}));
        match pods.patch(&pod.name_any(), &PatchParams::default(), &patch).await {
            Ok(_) => {}
            Err(Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(explain("letting workers go", &error)),
        }
    }
    Ok(())
}

/// Whether the namespace is one that `up` made, or is not there yet.
async fn is_ours(client: &Client, plan: &Plan) -> Result<bool, Trouble> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let found = namespaces.get_opt(&plan.namespace).await.map_err(|error| explain("reading the namespace", &error))?;
    Ok(found.is_none_or(|found| {
        found.labels().get("app.kubernetes.io/managed-by").is_some_and(|manager| manager == "hai-daemon")
    }))
}
