//! Teams: users who share rights.

use std::collections::BTreeSet;

use hai_core::model::{self, Allowance, GroupName, TeamName, UserName};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Limit;

/// Users who share rights, maybe as a part of a larger team.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Team {
    /// Its name.
    #[schema(value_type = String, examples("vision"))]
    pub name: TeamName,
    /// The team that it is a part of. One that nobody described is a team without members and pools.
    #[serde(default)]
    #[schema(value_type = Option<String>, examples("lab"))]
    pub parent: Option<TeamName>,
    /// Its users; those of its parts are not listed here.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub members: BTreeSet<UserName>,
    /// What its members and its parts may hold together, by group. In a group that is not listed nothing is bounded.
    #[serde(default)]
    pub pools: Vec<Pool>,
}

/// What a team may hold together in one group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The group of nodes.
    #[schema(value_type = String, examples("default"))]
    pub group: GroupName,
    /// Its own nodes, for tasks that take whole nodes.
    #[serde(default)]
    pub nodes: Limit,
    /// Its own devices, for tasks that take single devices or parts of them.
    #[serde(default)]
    pub devices: Limit,
    /// How much more it may use of what the other parts of its parent leave unused; by default any amount. Such work
    /// yields to all that is not borrowed.
    #[serde(default = "PoolBound::unlimited")]
    #[schema(required = false)]
    pub borrow: PoolBound,
    /// How much of its own that it leaves unused others may use; by default all.
    #[serde(default = "PoolBound::unlimited")]
    #[schema(required = false)]
    pub lend: PoolBound,
}

/// A bound of a pool. What is left out is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PoolBound {
    /// Nodes, for tasks that take whole nodes.
    #[serde(default)]
    pub nodes: Limit,
    /// Devices, for tasks that take single devices or parts of them.
    #[serde(default)]
    pub devices: Limit,
}

/// All teams, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TeamList {
    /// The teams.
    pub teams: Vec<Team>,
}

impl PoolBound {
    /// No bound.
    #[must_use]
    pub fn unlimited() -> Self {
        Allowance::UNLIMITED.into()
    }
}

impl From<Allowance> for PoolBound {
    fn from(allowance: Allowance) -> Self {
        PoolBound { nodes: Limit(allowance.nodes), devices: Limit(allowance.devices) }
    }
}

impl From<PoolBound> for Allowance {
    fn from(bound: PoolBound) -> Self {
        Allowance { nodes: bound.nodes.0, devices: bound.devices.0 }
    }
}

impl From<&model::Team> for Team {
    fn from(team: &model::Team) -> Self {
        let pool = |pool: &model::Pool| Pool {
            group: pool.group.clone(),
            nodes: Limit(pool.own.nodes),
            devices: Limit(pool.own.devices),
            borrow: pool.borrow.into(),
            lend: pool.lend.into(),
        };
        Team {
            name: team.name.clone(),
            parent: team.parent.clone(),
            members: team.members.clone(),
            pools: team.pools.iter().map(pool).collect(),
        }
    }
}

impl From<Team> for model::Team {
    fn from(team: Team) -> Self {
        let Team { name, parent, members, pools } = team;
        let pool = |pool: Pool| model::Pool {
            group: pool.group,
            own: Allowance { nodes: pool.nodes.0, devices: pool.devices.0 },
            borrow: pool.borrow.into(),
            lend: pool.lend.into(),
        };
        model::Team { name, parent, members, pools: pools.into_iter().map(pool).collect() }
    }
}
