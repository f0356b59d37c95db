//! How machines were used before now.

use chrono::{DateTime, Utc};
use hai_core::model::{DeviceId, NodeName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Which window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PastQuery {
    /// From this time on; by default a day before `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Until before this time; by default until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
}

/// How the devices of a node were used, as far as it was reported and is remembered: at most the last day since the server
/// started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodePast {
    /// The node.
    #[schema(value_type = String)]
    pub node: NodeName,
    /// The first moment of the window.
    pub from: DateTime<Utc>,
    /// The first moment after it.
    pub to: DateTime<Utc>,
    /// About so many seconds lie between two moments, where they were reported.
    pub step_s: u64,
    /// From when on anything is remembered of the node; `null` if nothing is.
    pub known_from: Option<DateTime<Utc>>,
    /// Its devices, in the order of their index; those that it has no more are the last.
    pub devices: Vec<DevicePast>,
}

/// How one device was used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DevicePast {
    /// The device.
    #[schema(value_type = String)]
    pub id: DeviceId,
    /// Its place in the node's list; `null` if the node does not have it any more.
    pub index: Option<u32>,
    /// The oldest moment first; at most 1,500.
    #[schema(max_items = 1500)]
    pub series: Vec<DeviceMoment>,
}

/// How a device was used at one moment; `null` is what it does not tell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DeviceMoment {
    /// When it was reported.
    pub at: DateTime<Utc>,
    /// The part of the moment in which anything ran on it, in percent.
    pub util: Option<u8>,
    /// Memory that was used, in MiB.
    pub memory_mib: Option<u32>,
    /// How hot it was, in °C.
    pub temperature_c: Option<u8>,
    /// What it drew, in watts.
    pub power_w: Option<f64>,
}

/// Which window, and how finely.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct OccupancyQuery {
    /// From this time on; by default a day before `to`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<DateTime<Utc>>,
    /// Until before this time; by default until now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<DateTime<Utc>>,
    /// How far two points lie apart: seconds, or text with a unit (`5m`). By default so that there are at most 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, example = "5m")]
    pub step: Option<String>,
}

/// How much of the machines was used, over time. What nobody looked at is left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Occupancy {
    /// Seconds from one point to the next.
    pub step_s: u64,
    /// From when on it is known.
    pub known_from: Option<DateTime<Utc>>,
    /// The oldest first; at most 2,000.
    #[schema(max_items = 2000)]
    pub points: Vec<OccupancyPoint>,
}

/// How much was used over one step, on average.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OccupancyPoint {
    /// When the step begins.
    pub at: DateTime<Utc>,
    /// Devices of all nodes.
    pub devices_total: f64,
    /// Devices that a worker held, or a part of them.
    pub devices_busy: f64,
    /// Devices that were unwell, or used by a stranger, or on a node that was away.
    pub devices_bad: f64,
    /// Tasks that waited for their turn, or to go on.
    pub waiting_tasks: f64,
}
