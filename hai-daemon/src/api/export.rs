//! The event log as a file: all of it or a window, with names or without.

use axum::extract::State;
use axum::response::Response;
use hai_core::backend::Record;
use hai_core::log::{Header, Names, header_line, record_line};
use hai_core::model::Time;

use super::ApiState;
use super::auth::Operator;
use super::extract::Query;
use super::lines::{self, Lines};
use super::problem::{ApiError, Kind};
use super::walk::{Walk, WalkError};
use super::wire::ExportQuery;

/// The event log
///
/// One JSON object a line: a header, then every fact and every round of decisions, in a chain of digests; `hai replay`
/// decides it anew. A window that begins in the middle begins with the engine's state of then. It ends with what was
/// stored when it was asked for. Commands and environments are in no log; with `pseudonyms` no names are either, and the
/// decisions stay the same. What is not kept any more is in none; to ask for it by its time is an error. It is broken off if nothing of it is taken for 30 s; each user reads one at a time. Operators
/// only.
#[utoipa::path(get, path = "/v1/log", tag = "cluster", operation_id = "export_log", params(ExportQuery),
    responses((status = 200, description = "The log.", body = String, content_type = "application/x-ndjson")))]
pub(super) async fn export(
    State(state): State<ApiState>,
    Operator(caller): Operator,
    Query(query): Query<ExportQuery>,
) -> Result<Response, ApiError> {
    if let (Some(from), Some(to)) = (query.from, query.to)
        && from > to
    {
        return Err(ApiError::new(Kind::InvalidParameter, "from: is later than `to`").at("from"));
    }
    let walk = Walk::begin(&state, &caller).await?;
    lines::respond(state.stall, move |lines| write(&walk, &query, lines)).await
}

fn write(walk: &Walk, query: &ExportQuery, lines: &mut Lines) -> Result<(), WalkError> {
    let to = query.to.map(Time::from);
    let header = header(walk, query.from.map(Time::from))?;
    let after = header.after.seq;
    if !query.pseudonyms {
        lines.line(&header_line(&header))?;
        return window(walk, after, to).try_for_each(|record| lines.line(&record_line(&record?)));
    }
    let mut names = Names::default();
    names.see_header(&header);
    for record in window(walk, after, to) {
        names.see(&record?);
    }
    let mut pseudonyms = names.number();
    lines.line(&header_line(&pseudonyms.header(header)))?;
    window(walk, after, to).try_for_each(|record| lines.line(&record_line(&pseudonyms.record(record?))))
}

/// The header of a file that begins with the first step at or after `from`, or where the log does.
fn header(walk: &Walk, from: Option<Time>) -> Result<Header, WalkError> {
    let mut follower = walk.follower(from)?;
    if let Some(from) = from {
        for record in walk.after(follower.chain().seq()) {
            let record = record?;
            if record.at >= from && follower.chain().unsealed() == 0 {
                break;
            }
            follower.take(&record)?;
            drop(follower.drain_changes());
        }
    }
    if follower.chain().seq() == 0 {
        return Ok(Header::new(walk.config.clone()));
    }
    Ok(Header::after(follower.snapshot(), walk.config.clone()))
}

/// The records after `seq` until the end of the last step at or before `to`.
fn window(walk: &Walk, seq: u64, to: Option<Time>) -> impl Iterator<Item = Result<Record, WalkError>> + '_ {
    let mut sealed = true;
    walk.after(seq).take_while(move |record| {
        let Ok(record) = record else { return true };
        let over = sealed && to.is_some_and(|to| record.at > to);
        sealed = record.digest.is_some();
        !over
    })
}
