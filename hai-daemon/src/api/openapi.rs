//! The OpenAPI document, which grows out of the handlers and their types.

use utoipa::OpenApi as _;
use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, OpenApi, Ref, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::{
    ApiState, audit, device_past, devices, events, export, health, logs, nodes, occupancy, preview, queue, rights,
    simulations, tasks, teams, timeline, users, wire, worker,
};

const SECURITY: &str = "token";

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "hai",
        description = "GPU machines shared between people by time. Times are RFC 3339, spans of time are text with a \
                       unit (`5s`, `4h`), memory is in MiB. Every error is a problem document (RFC 9457).",
        license(name = "MIT OR Apache-2.0")
    ),
    tags(
        (name = "tasks", description = "What people submitted."),
        (name = "cluster", description = "Nodes, devices and who may hold how much of them."),
        (name = "simulations", description = "Work that is played on the cluster as it is, under other rules."),
        (name = "users", description = "Who may ask."),
        (name = "workers", description = "What workers ask and say, with the token in HAI_WORKER_TOKEN, where they share no files with the server."),
        (name = "server", description = "The server itself.")
    ),
    components(schemas(wire::Problem, wire::Event))
)]
struct Document;

/// All documented routes, and the document that they make.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    let mut router = OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(tasks::submit::submit, tasks::list::list))
        .routes(routes!(tasks::show::show))
        .routes(routes!(tasks::show::command))
        .routes(routes!(tasks::change::stop))
        .routes(routes!(tasks::change::suspend))
        .routes(routes!(tasks::change::resume))
        .routes(routes!(tasks::change::renew))
        .routes(routes!(tasks::change::priority))
        .routes(routes!(tasks::why::why))
        .routes(routes!(tasks::when::when))
        .routes(routes!(queue::queue))
        .routes(routes!(logs::logs))
        .routes(routes!(events::events))
        .routes(routes!(nodes::nodes))
        .routes(routes!(nodes::cordon))
        .routes(routes!(nodes::uncordon))
        .routes(routes!(nodes::drain))
        .routes(routes!(devices::report))
        .routes(routes!(device_past::device_past))
        .routes(routes!(timeline::timeline))
        .routes(routes!(occupancy::occupancy))
        .routes(routes!(preview::preview))
        .routes(routes!(preview::apply))
        .routes(routes!(preview::try_submission))
        .routes(routes!(preview::config))
        .routes(routes!(rights::list, rights::set, rights::remove))
        .routes(routes!(teams::list, teams::set))
        .routes(routes!(teams::remove))
        .routes(routes!(export::export))
        .routes(routes!(audit::audit))
        .routes(routes!(audit::entries))
        .routes(routes!(simulations::begin))
        .routes(routes!(simulations::show, simulations::remove))
        .routes(routes!(simulations::report))
        .routes(routes!(users::list, users::add))
        .routes(routes!(users::remove))
        .routes(routes!(users::rotate))
        .routes(routes!(users::me))
        .routes(routes!(worker::leave))
        .routes(routes!(worker::heard))
        .routes(routes!(worker::saved))
        .routes(routes!(worker::give_way))
        .routes(routes!(worker::priority))
        .routes(routes!(worker::done))
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .routes(routes!(health::metrics));
    complete(router.get_openapi_mut());
    router
}

/// The OpenAPI document of this version.
#[must_use]
pub fn openapi() -> OpenApi {
    routes().into_openapi()
}

/// Adds what all operations have in common: the token, and what an error looks like.
fn complete(document: &mut OpenApi) {
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    if let Some(components) = &mut document.components {
        components.add_security_scheme(SECURITY, SecurityScheme::Http(bearer));
    }
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let problem = ResponseBuilder::new()
        .description("Anything else: what is wrong, as a problem document.")
        .content("application/problem+json", problem)
        .build();
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            operation.responses.responses.insert("default".to_owned(), problem.clone().into());
            if path.starts_with("/v1/") {
                operation.security = Some(vec![SecurityRequirement::new::<_, _, String>(SECURITY, [])]);
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete].into_iter().flatten()
}
