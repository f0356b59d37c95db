//! How a node's devices were used over the last day.

use axum::Json;
use axum::extract::State;
use hai_core::model::{DeviceId, NodeName, Span};

use super::ApiState;
use super::auth::Caller;
use super::extract::{Param, Query};
use super::problem::{ApiError, Kind};
use super::window::Window;
use super::wire::{DeviceMoment, DevicePast, NodePast, PastQuery, utc};
use crate::gpu::past::Moment;

/// The most moments of one device in an answer; a curve of more shows nothing more.
const SERIES_MAX: usize = 1500;

/// How a node's devices were used
///
/// As agents, or the server's own eyes, reported it: each half minute at best, for a day, in memory alone. With very many devices
/// moments lie further apart.
#[utoipa::path(get, path = "/v1/nodes/{name}/devices/history", tag = "cluster", operation_id = "device_history",
    params(("name" = String, Path, description = "The node."), PastQuery),
    responses((status = 200, description = "A series for each device.", body = NodePast)))]
pub(super) async fn device_past(
    State(state): State<ApiState>,
    _: Caller,
    Param(name): Param<NodeName>,
    Query(query): Query<PastQuery>,
) -> Result<Json<NodePast>, ApiError> {
    let window = Window::read(query.from, query.to, Span::from_mins(24 * 60))?;
    let wanted = name.clone();
    let devices = state.scheduler.inspect(move |engine| {
        let devices = |node: &hai_core::model::NodeSpec| node.devices.iter().map(|device| device.id.clone()).collect();
        engine.node(&wanted).map(devices)
    });
    let devices: Vec<DeviceId> = devices.await?.ok_or_else(|| {
        ApiError::new(Kind::NotFound, format!("there is no node {name}; `hai nodes` lists those that there are"))
            .at("name")
    })?;
    let (step, first, mut known) =
        state.reports.past(|past| (past.step(), past.first(&name), past.of(&name, window.from, window.to)));
    let mut told: Vec<DevicePast> = (0..)
        .zip(devices)
        .map(|(index, id)| {
            let series = series(&known.remove(&id).unwrap_or_default());
            DevicePast { id, index: Some(index), series }
        })
        .collect();
    let gone = known.into_iter().filter(|(_, moments)| !moments.is_empty());
    told.extend(gone.map(|(id, moments)| DevicePast { id, index: None, series: series(&moments) }));
    let many = told.iter().map(|device| device.series.len()).max().unwrap_or(0);
    Ok(Json(NodePast {
        node: name,
        from: utc(window.from),
        to: utc(window.to),
        // Where some are left out they lie further apart.
        step_s: (step.as_ms() / 1000).max(if many < SERIES_MAX {
            0
        } else {
            window.length().as_ms() / 1000 / many as u64
        }),
        known_from: first.map(utc),
        devices: told,
    }))
}

/// At most so many, spread evenly, the last among them.
fn series(moments: &[Moment]) -> Vec<DeviceMoment> {
    let each = moments.len().div_ceil(SERIES_MAX).max(1);
    let skip = moments.len().saturating_sub(1) % each;
    let told = moments.iter().skip(skip).step_by(each);
    told.map(|moment| DeviceMoment {
        at: utc(moment.at),
        util: moment.util(),
        memory_mib: moment.memory_mib(),
        temperature_c: moment.temperature_c(),
        power_w: moment.power_w(),
    })
    .collect()
}
