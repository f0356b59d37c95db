//! What the API server says: who it is, what one may, which classes, claims and addresses there are, what time it is.

use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::node::v1::RuntimeClass;
use kube::api::{ListParams, PostParams};
use kube::{Api, Client, ResourceExt as _};

use super::super::connect::{Server, explain, server};
use super::super::objects::{self, NAME};
use super::super::rights::DAEMON;
use super::super::{Plan, ServiceKind, up};
use super::Check;
use crate::cluster::kubernetes::GpuMode;

/// The oldest version that hai is made for.
const OLDEST: (u32, u32) = (1, 29);
/// Seconds by which clocks may differ without a word, and with one.
const SKEW: (i64, i64) = (5, 60);

pub(super) async fn version(client: &Client) -> (Check, Option<Server>) {
    const WHAT: &str = "API server";
    let about = match server(client).await {
        Ok(about) => about,
        Err(trouble) => return (Check::trouble(WHAT, trouble, true), None),
    };
    let version = &about.version;
    let check = match about.number {
        Some(number) if number >= OLDEST => Check::good(WHAT, format!("it is {version}")),
        Some(_) => Check::warning(
            WHAT,
            format!("it is {version}, and hai is made for v{}.{} and newer", OLDEST.0, OLDEST.1),
            "upgrade the cluster, or try whether it works",
        ),
        None => Check::warning(
            WHAT,
            format!("its version, {version:?}, can not be told"),
            format!("see that it is v{}.{} or newer", OLDEST.0, OLDEST.1),
        ),
    };
    (check, Some(about))
}

/// Whether whoever asks may do what a daemon does.
pub(super) async fn rights(plan: &Plan, client: &Client) -> Check {
    const WHAT: &str = "rights";
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let mut lacks = Vec::new();
    for right in DAEMON {
        for verb in right.verbs {
            let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let attributes = ResourceAttributes {
                verb: some(verb),
                group: some(right.group),
                resource: some(right.resource),
                subresource: some(right.sub),
                namespace: some(&plan.namespace).filter(|_| !right.everywhere),
                ..ResourceAttributes::default()
            };
            let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            match reviews.create(&PostParams::default(), &review).await {
                Ok(review) if review.status.as_ref().is_some_and(|status| status.allowed) => {}
                Ok(_) => {
                    let place = if right.everywhere { "everywhere" } else { &plan.namespace };
                    lacks.push(format!("{verb} {} in {place} ({})", right.about(), right.why));
                }
                Err(error) => return Check::trouble(WHAT, explain("asking what may be done", &error), true),
            }
        }
    }
    match lacks.as_slice() {
        [] => Check::good(WHAT, "all that the daemon does is allowed"),
        [first, rest @ ..] => {
            let more = if rest.is_empty() { String::new() } else { format!(", and {} more", rest.len()) };
            Check::fatal(
                WHAT,
                format!("it is not allowed to {first}{more}"),
                "`hai-daemon up` makes the roles, and `hai-daemon manifests` prints them",
            )
        }
    }
}

pub(super) async fn runtime_classes(plan: &Plan, client: &Client) -> Check {
    const WHAT: &str = "runtime class";
    let wanted = plan.groups.iter().filter_map(|group| Some((group.runtime_class.as_deref()?, group.name.as_str())));
    let wanted: Vec<(&str, &str)> = wanted.collect();
    if wanted.is_empty() {
        let visible = plan.groups.iter().any(|group| group.gpus == GpuMode::Visible);
        return if visible || plan.groups.is_empty() {
            Check::skipped(WHAT, "no group names one, so NVIDIA's runtime has to be the usual one of the nodes")
        } else {
            Check::skipped(WHAT, "no group names one")
        };
    }
    let classes: Api<RuntimeClass> = Api::all(client.clone());
    let found = match classes.list(&ListParams::default()).await {
        Ok(found) => found,
        Err(error) => return Check::trouble(WHAT, explain("listing the runtime classes", &error), false),
    };
    let names: Vec<String> = found.iter().map(kube::ResourceExt::name_any).collect();
    match wanted.iter().find(|(class, _)| !names.iter().any(|name| name == class)) {
        None => Check::good(WHAT, format!("{} is there", wanted[0].0)),
        Some((class, group)) => Check::bad(
            WHAT,
            format!("group {group} wants runtime class {class}, and there is {}", list(&names)),
            "install NVIDIA's container toolkit with its runtime class, or take runtime_class out",
        ),
    }
}

/// `none`, or the names.
pub(super) fn list(names: &[String]) -> String {
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

pub(super) async fn balancer(plan: &Plan, client: &Client) -> Check {
    const WHAT: &str = "load balancer";
    let services: Api<Service> = Api::namespaced(client.clone(), &plan.namespace);
    let service = match services.get_opt(NAME).await {
        Ok(Some(service)) => service,
        Ok(None) => return Check::skipped(WHAT, "there is no service yet: `hai-daemon up` makes it"),
        Err(error) => return Check::trouble(WHAT, explain("looking for the service", &error), false),
    };
    if let Some(host) = up::balancer(&service) {
        return Check::good(WHAT, format!("http://{host}:{}", objects::PORT));
    }
    let host = up::node_address(client).await.ok().flatten().unwrap_or_else(|| "ANY-NODE".to_owned());
    let Some(port) = up::node_port(&service) else {
        return Check::skipped(WHAT, format!("service {} is for the cluster alone", service.name_any()));
    };
    if plan.service == ServiceKind::LoadBalancer {
        return Check::warning(
            WHAT,
            "the cluster has none that answers",
            format!("use http://{host}:{port}, or install one (MetalLB)"),
        );
    }
    Check::good(WHAT, format!("none is asked for: http://{host}:{port}"))
}

pub(super) fn clock(about: &Server) -> Check {
    const WHAT: &str = "clock";
    let Some(ahead) = about.ahead else { return Check::skipped(WHAT, "the API server does not tell the time") };
    let said = match ahead {
        0 => "it agrees with the API server's".to_owned(),
        1.. => format!("the API server's is {ahead} s ahead"),
        _ => format!("the API server's is {} s behind", -ahead),
    };
    let fix = "set the time by NTP on both machines";
    match ahead.abs() {
        off if off > SKEW.1 => Check::bad(WHAT, said, fix),
        off if off > SKEW.0 => Check::warning(WHAT, said, fix),
        _ => Check::good(WHAT, said),
    }
}
