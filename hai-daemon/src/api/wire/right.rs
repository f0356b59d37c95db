//! Rights: how much a user may hold in a group at a priority.

use chrono::{DateTime, Utc};
use hai_core::model::{self, GroupName, ModelName, Priority, TeamName, UserName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Limit, PriorityWord, utc};

/// One row of rights. What is left out of `user`, `group` and `priority` stands for every one, each on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Right {
    /// The user, or every user.
    #[serde(default)]
    #[schema(value_type = Option<String>, examples("alice"))]
    pub user: Option<UserName>,
    /// The group of nodes, or every group.
    #[serde(default)]
    #[schema(value_type = Option<String>, examples("default"))]
    pub group: Option<GroupName>,
    /// The priority (a fixed level), or every level.
    #[serde(default)]
    #[schema(value_type = Option<PriorityWord>)]
    pub priority: Option<Priority>,
    /// Each member of this team. Not together with a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("vision"))]
    pub team: Option<TeamName>,
    /// Only what is held of this device model. Such a row gives nothing, it bounds what others give.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, examples("H100"))]
    pub model: Option<ModelName>,
    /// It gives nothing, it bounds what other rows give.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cap: bool,
    /// Nodes, for tasks that take whole nodes.
    #[serde(default)]
    pub nodes: Limit,
    /// Devices, for tasks that take single devices or parts of them.
    #[serde(default)]
    pub devices: Limit,
    /// From then on it counts no more; by default it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<DateTime<Utc>>,
}

/// Which row of rights. What is left out stands for "every": it names the row that applies to every one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RightKey {
    /// The user, or every user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub user: Option<UserName>,
    /// The group of nodes, or every group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub group: Option<GroupName>,
    /// The priority, or every level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<PriorityWord>)]
    pub priority: Option<Priority>,
    /// The team, each member of which it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub team: Option<TeamName>,
    /// The device model that it bounds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub model: Option<ModelName>,
    /// `true` for a row that only bounds what other rows give.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub cap: bool,
}

/// Rows of rights, by key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RightList {
    /// The rows. Of those that match a task the most specific wins: user before team before group before priority. Rows
    /// for a model and caps bound what that one gives.
    pub rights: Vec<Right>,
}

impl From<&model::RightRow> for Right {
    fn from(row: &model::RightRow) -> Self {
        Right {
            user: row.key.user.clone(),
            group: row.key.group.clone(),
            priority: row.key.priority,
            team: row.key.team.clone(),
            model: row.key.model.clone(),
            cap: row.key.cap,
            expires: row.expires.map(utc),
            nodes: Limit(row.allowance.nodes),
            devices: Limit(row.allowance.devices),
        }
    }
}

impl From<Right> for model::RightRow {
    fn from(right: Right) -> Self {
        let Right { user, group, priority, team, model, cap, nodes, devices, expires } = right;
        model::RightRow {
            key: model::RightKey { user, team, group, priority, model, cap },
            allowance: model::Allowance { nodes: nodes.0, devices: devices.0 },
            expires: expires.map(model::Time::from),
        }
    }
}

impl From<RightKey> for model::RightKey {
    fn from(key: RightKey) -> Self {
        let RightKey { user, group, priority, team, model, cap } = key;
        model::RightKey { user, team, group, priority, model, cap }
    }
}
