//! Simulations that the server plays: begin, look, read the report, remove.

use std::iter::once;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hai_core::engine::Engine;
use hai_core::log::{LogReader, Workload, header_line, record_line};
use hai_core::model::{NodeSpec, Span, Time};
use hai_core::sim::study::Cluster;
use tokio::runtime::Handle;

use super::ApiState;
use super::auth::Caller;
use super::export;
use super::extract::{Param, Query, parse, whole};
use super::problem::{ApiError, Kind};
use super::walk::{Walk, WalkError};
use super::window::invalid;
use super::wire::{OwnWork, Simulation, SimulationBegun, SimulationQuery, SimulationState, utc};
use crate::scheduler::wall_clock;
use crate::simulations::{POLICIES_MAX, Source, Standing, Wanted, check_policy};

/// The largest trace that is taken, packed or not.
const TRACE_BYTES_MAX: usize = 32 << 20;
/// The longest time that is played again.
const LAST_MAX: Span = Span::from_mins(366 * 24 * 60);
/// A report runs its own script over its own numbers; it is kept from all else, the reader's session included.
const REPORT_POLICY: &str =
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

/// Play work on this cluster
///
/// The body is a trace as `hai simulate` reads it, plain or packed with gzip, as it is or as the one file of a form
/// (`multipart/form-data`); or JSON that asks for work from the server's own log. It is played on the nodes, with the rights, that
/// there are now; a log on its own. One at a time is played, beside all else, and each user has one at a time. The last five of
/// each user are kept in memory, until the server ends.
#[utoipa::path(post, path = "/v1/simulations", tag = "simulations", operation_id = "simulate", params(SimulationQuery),
    request_body(content((String = "text/csv"), (OwnWork = "application/json"))),
    responses((status = 202, description = "It is begun.", body = SimulationBegun,
               headers(("Location" = String, description = "Where it is.")))))]
pub(super) async fn begin(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<SimulationQuery>,
    request: Request,
) -> Result<(StatusCode, [(HeaderName, String); 1], Json<SimulationBegun>), ApiError> {
    let policies = policies(query.policies.as_deref())?;
    let content = Content::of(&request)?;
    let body = whole(request.into_body(), TRACE_BYTES_MAX).await?;
    let (what, source) = match content {
        Content::OwnWork => own_work(&state, &caller, parse(&body)?)?,
        Content::Form(boundary) => ("a trace".to_owned(), trace(form(&body, &boundary)?.to_vec(), &query)?),
        Content::Trace => ("a trace".to_owned(), trace(body, &query)?),
    };
    let cluster = state.scheduler.inspect(cluster).await?.finish();
    let cluster = cluster.map_err(|error| ApiError::internal("this cluster can not be simulated", &error))?;
    let wanted = Wanted {
        what,
        source,
        cluster,
        policies,
        seed: query.seed.unwrap_or(1),
        one_group: query.one_group.then(|| state.defaults.group.clone()),
        strangers: query.strangers,
        oracle: query.oracle,
    };
    let begun = state.simulations.begin(caller.user.name.clone(), wanted, state.closing.child_token());
    let id = begun.map_err(|refused| ApiError::new(Kind::Conflict, refused.to_string()))?;
    Ok((StatusCode::ACCEPTED, [(header::LOCATION, format!("/v1/simulations/{id}"))], Json(SimulationBegun { id })))
}

/// A simulation
#[utoipa::path(get, path = "/v1/simulations/{id}", tag = "simulations", operation_id = "show_simulation",
    params(("id" = u64, Path, description = "The simulation's number.")),
    responses((status = 200, description = "What it is doing.", body = Simulation)))]
pub(super) async fn show(
    State(state): State<ApiState>,
    caller: Caller,
    Param(id): Param<u64>,
) -> Result<Json<Simulation>, ApiError> {
    let Standing { user, what, policies, since, progress, end, remarks } = find(&state, &caller, id)?;
    let (state, error) = match end {
        None => (SimulationState::Running, None),
        Some(Ok(())) => (SimulationState::Done, None),
        Some(Err(error)) => (SimulationState::Failed, Some(error)),
    };
    Ok(Json(Simulation { id, user, state, progress, error, what, policies, created_at: utc(since), remarks }))
}

/// The report of a simulation
///
/// A page that needs nothing else, as `hai simulate --report` writes it.
#[utoipa::path(get, path = "/v1/simulations/{id}/report", tag = "simulations", operation_id = "simulation_report",
    params(("id" = u64, Path, description = "The simulation's number.")),
    responses((status = 200, description = "The page.", body = String, content_type = "text/html")))]
pub(super) async fn report(
    State(state): State<ApiState>,
    caller: Caller,
    Param(id): Param<u64>,
) -> Result<Response, ApiError> {
    let standing = find(&state, &caller, id)?;
    let none = || match standing.end {
        Some(Err(error)) => format!("simulation {id} failed: {error}"),
        _ => format!("simulation {id} is still being played"),
    };
    let page = state.simulations.page(id).ok_or_else(|| ApiError::new(Kind::Conflict, none()))?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(REPORT_POLICY)),
    ];
    Ok((headers, page.to_string()).into_response())
}

/// Remove a simulation
///
/// If it is still being played it ends.
#[utoipa::path(delete, path = "/v1/simulations/{id}", tag = "simulations", operation_id = "remove_simulation",
    params(("id" = u64, Path, description = "The simulation's number.")),
    responses((status = 204, description = "It is gone.")))]
pub(super) async fn remove(
    State(state): State<ApiState>,
    caller: Caller,
    Param(id): Param<u64>,
) -> Result<StatusCode, ApiError> {
    find(&state, &caller, id)?;
    state.simulations.remove(id);
    Ok(StatusCode::NO_CONTENT)
}

/// Another user's looks just like none.
fn find(state: &ApiState, caller: &Caller, id: u64) -> Result<Standing, ApiError> {
    let known = state.simulations.get(id).filter(|known| caller.may_see(&known.user));
    known.ok_or_else(|| ApiError::new(Kind::NotFound, format!("there is no simulation {id}")).at("id"))
}

fn policies(asked: Option<&str>) -> Result<Vec<String>, ApiError> {
    let mut policies: Vec<String> = Vec::new();
    for name in asked.unwrap_or("hai").split(',').map(str::trim).filter(|name| !name.is_empty()) {
        // In a query a plus stands for a space, unless whoever wrote it knew.
        let name = name.replace(' ', "+");
        check_policy(&name).map_err(|problem| invalid("policies", problem))?;
        if !policies.contains(&name) {
            policies.push(name);
        }
    }
    match policies.len() {
        1..=POLICIES_MAX => Ok(policies),
        many => Err(invalid("policies", format!("there are {many}, must be from 1 to {POLICIES_MAX}"))),
    }
}

/// What a body is.
#[derive(Debug, PartialEq, Eq)]
enum Content {
    Trace,
    Form(String),
    OwnWork,
}

impl Content {
    fn of(request: &Request) -> Result<Self, ApiError> {
        let value =
            request.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (media, rest) = value.split_once(';').unwrap_or((value, ""));
        match media.trim().to_ascii_lowercase().as_str() {
            "application/json" => Ok(Content::OwnWork),
            "multipart/form-data" => {
                let boundary = rest.split(';').find_map(|part| {
                    let (name, value) = part.split_once('=')?;
                    name.trim().eq_ignore_ascii_case("boundary").then(|| value.trim().trim_matches('"').to_owned())
                });
                let boundary = boundary.filter(|boundary| (1..=70).contains(&boundary.len()));
                let none = || ApiError::new(Kind::UnsupportedMediaType, "the form does not say its boundary");
                boundary.map(Content::Form).ok_or_else(none)
            }
            _ => Ok(Content::Trace),
        }
    }
}

/// The first part of a form that has anything in it (RFC 7578).
fn form<'b>(body: &'b [u8], boundary: &str) -> Result<&'b [u8], ApiError> {
    let find = |text: &[u8], wanted: &[u8]| text.windows(wanted.len()).position(|window| window == wanted);
    let first = format!("--{boundary}\r\n");
    let between = format!("\r\n--{boundary}");
    let mut rest = find(body, first.as_bytes()).map(|at| &body[at + first.len()..]);
    while let Some(part) = rest {
        let Some(begin) = find(part, b"\r\n\r\n").map(|at| at + 4) else { break };
        let Some(length) = find(&part[begin..], between.as_bytes()) else { break };
        if length > 0 {
            return Ok(&part[begin..begin + length]);
        }
        rest = part[begin + length + between.len()..].strip_prefix(b"\r\n");
    }
    Err(ApiError::new(Kind::InvalidValue, "the form has no file in it, or is cut off"))
}

fn trace(bytes: Vec<u8>, query: &SimulationQuery) -> Result<Source, ApiError> {
    if bytes.is_empty() {
        return Err(ApiError::new(
            Kind::InvalidValue,
            "the body is empty; send a trace, or JSON such as {\"last\": \"7d\"}",
        ));
    }
    let format = query.format.as_deref().map(|word| word.parse().map_err(|problem| invalid("format", problem)));
    Ok(Source::Trace { bytes, format: format.transpose()?, skip_bad_lines: query.skip_bad_lines })
}

/// What was submitted to this server lately; its log names everybody, so only operators may play it.
fn own_work(state: &ApiState, caller: &Caller, asked: OwnWork) -> Result<(String, Source), ApiError> {
    caller.must_be_operator("last", "play what all users submitted")?;
    if asked.last == Span::ZERO || asked.last > LAST_MAX {
        let detail = format!("last: is {}, must be more than nothing and at most {LAST_MAX}", asked.last);
        return Err(ApiError::new(Kind::InvalidValue, detail).at("last"));
    }
    let from = Time::from_ms(wall_clock().as_ms().saturating_sub_unsigned(asked.last.as_ms()));
    let (state, caller, runtime) = (state.clone(), caller.clone(), Handle::current());
    let read = move || {
        // Its turn among those who read the log comes before anything is read.
        let walk = runtime.block_on(Walk::begin(&state, &caller));
        let walk = walk.map_err(|_| "the log can not be read now".to_owned())?;
        workload(&walk, from)
    };
    Ok((format!("the last {} here", asked.last), Source::Log(Box::new(read))))
}

fn workload(walk: &Walk, from: Time) -> Result<Workload, String> {
    let header = export::header(walk, Some(from)).map_err(|error| error.to_string())?;
    let records = export::window(walk, header.after.seq, None);
    let first = Ok::<_, WalkError>(header_line(&header));
    let lines = once(first).chain(records.map(|record| Ok(record_line(&record?))));
    let reader = LogReader::open(lines).map_err(|error| error.to_string())?;
    Workload::read(reader).map_err(|error| error.to_string())
}

/// The nodes and rights that there are, without devices that can not be used now.
fn cluster(engine: &Engine) -> Cluster {
    let node = |spec: NodeSpec| NodeSpec {
        devices: spec.devices.into_iter().filter(|device| device.health.is_healthy()).collect(),
        // They name devices by their place in the list.
        links: Vec::new(),
        ..spec
    };
    Cluster {
        nodes: engine.nodes().map(|view| node(view.spec)).collect(),
        rights: engine.rights().collect(),
        teams: engine.teams().cloned().collect(),
        ..Cluster::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_form_is_found() {
        let part =
            |head: &str, body: &str| format!("--xYz\r\nContent-Disposition: form-data; {head}\r\n\r\n{body}\r\n");
        let file = "submit,duration\r\n0,1\r\n--xY no boundary\r\n";
        let whole =
            format!("{}{}--xYz--\r\n", part("name=\"empty\"", ""), part("name=\"f\"; filename=\"t.csv\"", file));
        assert_eq!(form(whole.as_bytes(), "xYz").expect("a file"), file.as_bytes());
        for cut in [0, 10, 60, whole.len() - 12] {
            assert!(form(&whole.as_bytes()[..cut], "xYz").is_err(), "{cut}");
        }
        assert!(form(part("name=\"empty\"", "").as_bytes(), "other").is_err());
    }
}
