//! Who got what, when and why, and what it adds up to.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use hai_core::log::{Audit, AuditEntry, Auditor, Window};
use hai_core::model::{Time, UserName};

use super::ApiState;
use super::auth::Caller;
use super::extract::Query;
use super::lines;
use super::problem::{ApiError, Kind};
use super::walk::{Walk, WalkError};
use super::wire::{self, AuditQuery};
use crate::scheduler::wall_clock;

/// Since whenever the log begins.
const ALWAYS: Time = Time::from_ms(i64::MIN);

/// What was used, lost and due, by user
///
/// From the log alone, over a window. Users see their own sums, operators everybody's.
#[utoipa::path(get, path = "/v1/audit", tag = "cluster", operation_id = "audit", params(AuditQuery),
    responses((status = 200, description = "The sums.", body = wire::Audit)))]
pub(super) async fn audit(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Json<wire::Audit>, ApiError> {
    let (window, only) = asked(&caller, &query)?;
    let walk = Walk::begin(&state, &caller).await?;
    let audit = tokio::task::spawn_blocking(move || {
        let mut auditor = begin(&walk, window)?;
        for record in walk.after(auditor.follower().chain().seq()) {
            let record = record?;
            if record.at >= window.until {
                break;
            }
            auditor.take(&record, |_| ())?;
        }
        Ok::<Audit, WalkError>(auditor.close(wall_clock()))
    });
    let audit = audit.await.map_err(|error| ApiError::internal("the log could not be added up", &error))??;
    Ok(Json(wire::Audit::of(&audit, only.as_ref())))
}

/// What was done and decided, by whom, to whom and why
///
/// One `AuditEntry` a line, oldest first. Users are told of their own tasks and rights and of what they did, operators of
/// everything. It is broken off if nothing of it is taken for 30 s; each user reads one at a time.
#[utoipa::path(get, path = "/v1/audit/entries", tag = "cluster", operation_id = "audit_entries", params(AuditQuery),
    responses((status = 200, description = "The entries.", body = wire::AuditEntry,
               content_type = "application/x-ndjson")))]
pub(super) async fn entries(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<AuditQuery>,
) -> Result<Response, ApiError> {
    let (window, only) = asked(&caller, &query)?;
    let walk = Walk::begin(&state, &caller).await?;
    lines::respond(state.stall, move |lines| {
        let mut auditor = begin(&walk, window)?;
        let mut told = Vec::new();
        for record in walk.after(auditor.follower().chain().seq()) {
            let record = record?;
            if record.at >= window.until {
                break;
            }
            auditor.take(&record, |entry| told.push(entry))?;
            for entry in told.drain(..).filter(|entry| concerns(entry, only.as_ref())) {
                let text = serde_json::to_string(&wire::AuditEntry::from(&entry));
                lines.line(&text.unwrap_or_default())?;
            }
        }
        Ok(())
    })
    .await
}

/// The window, and whose sums; users may only ask for their own.
fn asked(caller: &Caller, query: &AuditQuery) -> Result<(Window, Option<UserName>), ApiError> {
    let since = query.since.map_or(ALWAYS, Time::from);
    let until = query.until.map_or(Time::MAX, Time::from);
    if since > until {
        return Err(ApiError::new(Kind::InvalidParameter, "since: is later than `until`").at("since"));
    }
    if let Some(user) = query.user.as_ref().filter(|user| !caller.may_see(user)) {
        caller.must_be_operator("user", &format!("look at what {user} used"))?;
    }
    let only = query.user.clone().or_else(|| caller.sees_only().cloned());
    Ok((Window { since, until }, only))
}

fn begin(walk: &Walk, window: Window) -> Result<Auditor, WalkError> {
    let asked_for = Some(window.since).filter(|since| *since != ALWAYS);
    Ok(Auditor::new(walk.follower(asked_for)?, window))
}

fn concerns(entry: &AuditEntry, only: Option<&UserName>) -> bool {
    only.is_none_or(|only| entry.user.as_ref() == Some(only) || entry.by.as_ref() == Some(only))
}
