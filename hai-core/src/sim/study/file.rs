//! A cluster as people write it down.

use serde::Deserialize;

use crate::model::{
    Allowance, Amount, DEVICES_PER_NODE_MAX, GroupName, Limit, Location, ModelName, NodeName, NodeSpec, PlaceName,
    Pool, Priority, RightKey, RightRow, Span, Team, TeamName, UserName,
};
use crate::sim::Conduct;

use super::cluster::{Change, Cluster, ClusterError, Faults, devices, span, span_if_any, wrong};

/// A cluster as people write it down, in TOML or JSON:
///
/// ```toml
/// [[node]]                 # a class of nodes, named lab-1 to lab-4
/// name = "lab"
/// count = 4
/// devices = 8              # of each; 0 when left out
/// model = "A100"
/// device_memory_mib = 81920
/// cpu = 96                 # cores; 128 when left out
/// memory_mib = 1048576     # 64 TiB when left out
/// group = "default"
/// per_leaf = 16            # so many share a switch
/// zone = "hall-1"
///
/// [[right]]                # none at all: everybody may hold everything
/// user = "alice"           # or team, or neither; group, priority, model and cap are possible too
/// devices = 4              # or "unlimited"
/// nodes = 1
///
/// [[team]]
/// name = "vision"
/// members = ["alice", "bob"]
/// pools = [{ group = "default", devices = 16 }]
///
/// [[change]]               # after the first submission
/// at = "2d"
/// drain = "lab-2"          # or node_down, node_up, undrain, device_down = ["lab-2", 0], device_up, right = {…}
///
/// [faults]                 # by lot, from the seed
/// node_every = "30d"
/// node_repair = "4h"
///
/// [conduct]
/// start = "10s"            # from the decision to the first step
/// leave = "5s"             # from the signal to the end
/// restart = "60s"          # of a run that goes on
/// saves = true             # what leaves on a signal saves itself
/// ```
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClusterFile {
    #[serde(default)]
    node: Vec<Class>,
    #[serde(default)]
    right: Vec<RightEntry>,
    #[serde(default)]
    team: Vec<TeamEntry>,
    #[serde(default)]
    change: Vec<ChangeEntry>,
    #[serde(default)]
    faults: Faults,
    #[serde(default)]
    conduct: ConductEntry,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Class {
    name: String,
    #[serde(default = "one")]
    count: u32,
    #[serde(default)]
    devices: u32,
    #[serde(default)]
    model: Option<ModelName>,
    #[serde(default = "device_memory")]
    device_memory_mib: u64,
    #[serde(default = "cores")]
    cpu: u32,
    #[serde(default = "memory")]
    memory_mib: u64,
    #[serde(default)]
    group: Option<GroupName>,
    #[serde(default)]
    per_leaf: Option<u32>,
    #[serde(default)]
    zone: Option<PlaceName>,
    #[serde(default)]
    taints: Vec<String>,
}

const fn one() -> u32 {
    1
}

const fn device_memory() -> u64 {
    80 << 10
}

const fn cores() -> u32 {
    128
}

const fn memory() -> u64 {
    64 << 20
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RightEntry {
    user: Option<UserName>,
    team: Option<TeamName>,
    group: Option<GroupName>,
    priority: Option<Priority>,
    model: Option<ModelName>,
    cap: bool,
    devices: Bound,
    nodes: Bound,
}

/// A number, or "unlimited".
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Bound {
    Count(u32),
    Word(String),
}

impl Default for Bound {
    fn default() -> Self {
        Bound::Count(0)
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TeamEntry {
    name: TeamName,
    #[serde(default)]
    parent: Option<TeamName>,
    #[serde(default)]
    members: Vec<UserName>,
    #[serde(default)]
    pools: Vec<PoolEntry>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PoolEntry {
    group: GroupName,
    #[serde(default)]
    devices: Bound,
    #[serde(default)]
    nodes: Bound,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeEntry {
    #[serde(deserialize_with = "span")]
    at: Span,
    node_down: Option<NodeName>,
    node_up: Option<NodeName>,
    drain: Option<NodeName>,
    undrain: Option<NodeName>,
    device_down: Option<(NodeName, usize)>,
    device_up: Option<(NodeName, usize)>,
    right: Option<RightEntry>,
}

impl ChangeEntry {
    /// The one thing that it says.
    fn what(&self, place: &str) -> Result<Change, ClusterError> {
        let said = [
            self.node_down.clone().map(Change::NodeDown),
            self.node_up.clone().map(Change::NodeUp),
            self.drain.clone().map(Change::Drain),
            self.undrain.clone().map(Change::Undrain),
            self.device_down.clone().map(|(node, device)| Change::DeviceDown(node, device)),
            self.device_up.clone().map(|(node, device)| Change::DeviceUp(node, device)),
            self.right.as_ref().map(|right| right.row(place)).transpose()?.map(Change::Right),
        ];
        let mut said = said.into_iter().flatten();
        match (said.next(), said.next()) {
            (Some(what), None) => Ok(what),
            _ => Err(wrong(
                place,
                "a change is one of node_down, node_up, drain, undrain, device_down, device_up and right",
            )),
        }
    }
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct ConductEntry {
    #[serde(deserialize_with = "span")]
    start: Span,
    #[serde(deserialize_with = "span")]
    leave: Span,
    #[serde(deserialize_with = "span_if_any")]
    restart: Option<Span>,
    saves: bool,
}

impl Default for ConductEntry {
    fn default() -> Self {
        let Conduct { start, leave, restart, saves } = Conduct::default();
        ConductEntry { start, leave, restart, saves }
    }
}

/// The most nodes that a class may have.
const COUNT_MAX: u32 = 1_000_000;

impl Class {
    fn nodes(&self, place: &str, group: &GroupName) -> Result<Vec<NodeSpec>, ClusterError> {
        let bad = |problem: &dyn std::fmt::Display| wrong(place, problem);
        if self.count > COUNT_MAX {
            return Err(wrong(place, format!("count is {}; at most {COUNT_MAX} nodes are taken", self.count)));
        }
        if self.devices > DEVICES_PER_NODE_MAX as u32 {
            let what = format!("devices is {}; a node may have {DEVICES_PER_NODE_MAX}", self.devices);
            return Err(wrong(place, what));
        }
        let cpu_milli = self.cpu.checked_mul(1000).ok_or_else(|| wrong(place, "cpu is more than any machine has"))?;
        let model = match &self.model {
            Some(model) => model.clone(),
            None => ModelName::new("GPU").map_err(|error| bad(&error))?,
        };
        let mut nodes = Vec::new();
        for number in 0..self.count {
            let name = if self.count == 1 { self.name.clone() } else { format!("{}-{}", self.name, number + 1) };
            let name = NodeName::new(name).map_err(|error| bad(&error))?;
            let mut node =
                NodeSpec::new(name, self.group.clone().unwrap_or_else(|| group.clone()), cpu_milli, self.memory_mib);
            node.devices = devices(&node.name, self.devices, &model, self.device_memory_mib).map_err(|e| bad(&e))?;
            let leaf = self.per_leaf.map(|each| format!("{}-leaf-{}", self.name, number / each.max(1) + 1));
            let leaf = leaf.map(PlaceName::new).transpose().map_err(|error| bad(&error))?;
            node.location = Location { leaf, spine: None, zone: self.zone.clone() };
            node.taints = self.taints.iter().cloned().collect();
            node.check().map_err(|error| bad(&error))?;
            nodes.push(node);
        }
        Ok(nodes)
    }
}

impl RightEntry {
    fn row(&self, place: &str) -> Result<RightRow, ClusterError> {
        let key = RightKey {
            user: self.user.clone(),
            team: self.team.clone(),
            group: self.group.clone(),
            priority: self.priority,
            model: self.model.clone(),
            cap: self.cap,
        };
        if key.user.is_some() && key.team.is_some() {
            return Err(wrong(place, "a right is for a user or for each member of a team; give one of user and team"));
        }
        if key.priority == Some(Priority::Auto) {
            return Err(wrong(place, "a right is for a fixed level; AUTO takes the best of those"));
        }
        Ok(RightRow::new(key, allowance(&self.devices, &self.nodes, place)?))
    }
}

fn allowance(devices: &Bound, nodes: &Bound, place: &str) -> Result<Allowance, ClusterError> {
    Ok(Allowance { nodes: nodes.limit(place)?, devices: devices.limit(place)? })
}

impl Bound {
    fn limit(&self, place: &str) -> Result<Limit, ClusterError> {
        match self {
            Bound::Count(count) => Ok(Limit::AtMost(Amount::whole(*count))),
            Bound::Word(word) if word == "unlimited" => Ok(Limit::Unlimited),
            Bound::Word(word) => Err(wrong(place, format!("{word:?} is neither a count nor \"unlimited\""))),
        }
    }
}

impl ClusterFile {
    /// The cluster that is described.
    ///
    /// # Errors
    /// [`ClusterError`] names the part that can not be, e.g. a node that stands there twice or a change of one that is not.
    pub fn build(&self) -> Result<Cluster, ClusterError> {
        let group = GroupName::new("default").map_err(|error| wrong("group", error))?;
        let mut cluster = Cluster { faults: self.faults, ..Cluster::default() };
        let ConductEntry { start, leave, restart, saves } = self.conduct;
        cluster.conduct = Conduct { start, leave, restart, saves };
        for (at, class) in self.node.iter().enumerate() {
            cluster.nodes.extend(class.nodes(&format!("[[node]] {}", at + 1), &group)?);
        }
        for (at, right) in self.right.iter().enumerate() {
            cluster.rights.push(right.row(&format!("[[right]] {}", at + 1))?);
        }
        for (at, team) in self.team.iter().enumerate() {
            let place = format!("[[team]] {}", at + 1);
            let pool = |pool: &PoolEntry| {
                let own = allowance(&pool.devices, &pool.nodes, &place)?;
                let (borrow, lend) = (Allowance::UNLIMITED, Allowance::UNLIMITED);
                Ok(Pool { group: pool.group.clone(), own, borrow, lend })
            };
            cluster.teams.push(Team {
                name: team.name.clone(),
                parent: team.parent.clone(),
                members: team.members.iter().cloned().collect(),
                pools: team.pools.iter().map(pool).collect::<Result<_, _>>()?,
            });
        }
        for (at, entry) in self.change.iter().enumerate() {
            let place = format!("[[change]] {}", at + 1);
            cluster.changes.push((entry.at, entry.what(&place)?));
        }
        cluster.finish()
    }
}
