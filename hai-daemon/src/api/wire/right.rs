//! Rights: how much a user may hold in a group at a priority.

use hai_core::model::{self, GroupName, Priority, UserName};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{Limit, PriorityWord};

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
    /// Nodes, for tasks that take whole nodes.
    #[serde(default)]
    pub nodes: Limit,
    /// Devices, for tasks that take single devices.
    #[serde(default)]
    pub devices: Limit,
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
}

/// Rows of rights, by key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RightList {
    /// The rows. Of those that match a task the most specific wins: user before group before priority.
    pub rights: Vec<Right>,
}

impl From<&model::RightRow> for Right {
    fn from(row: &model::RightRow) -> Self {
        Right {
            user: row.key.user.clone(),
            group: row.key.group.clone(),
            priority: row.key.priority,
            nodes: Limit(row.allowance.nodes),
            devices: Limit(row.allowance.devices),
        }
    }
}

impl From<Right> for model::RightRow {
    fn from(right: Right) -> Self {
        model::RightRow {
            key: model::RightKey { user: right.user, group: right.group, priority: right.priority },
            allowance: model::Allowance { nodes: right.nodes.0, devices: right.devices.0 },
        }
    }
}

impl From<RightKey> for model::RightKey {
    fn from(key: RightKey) -> Self {
        model::RightKey { user: key.user, group: key.group, priority: key.priority }
    }
}
