//! From rows to what is to be: reads no database, so that every row there can be is tried in tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use hai_core::model::{GroupName, NodeName, RightRow, Team, UserName};

use super::people::{Clock, People, Person, Rights};
use super::report::{Remark, Report};
use super::rows::{Row, Table, quoted};
use super::tasks::{self, Read, Wanted};
use crate::config::names::NodeEntry;
use crate::config::{self, Raw, Setting as _};
use crate::store::Token;

/// All that is to be here.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// Users, with their tokens where those can be ours.
    pub users: BTreeMap<UserName, Option<Token>>,
    /// Teams.
    pub teams: Vec<Team>,
    /// Rights.
    pub rights: Vec<RightRow>,
    /// Tasks, in the order in which they wait.
    pub tasks: Vec<Wanted>,
}

/// Reads rows, in the order of [`Table::ALL`], as the JSON that the server makes of them.
///
/// Whatever is wrong with a row is in the report, and stops no other.
pub fn plan(rows: impl IntoIterator<Item = (Table, String)>, clock: Clock) -> (Plan, Report) {
    let mut reading = Reading::new(clock);
    for (table, json) in rows {
        let row = match Row::read(table, &json) {
            Ok(row) => row,
            Err(remark) => {
                reading.report.malformed.push(remark);
                continue;
            }
        };
        if let Err(remark) = reading.row(row) {
            reading.report.malformed.push(remark);
        }
    }
    reading.finish()
}

struct Reading {
    clock: Clock,
    report: Report,
    people: People,
    nodes: BTreeMap<GroupName, BTreeSet<NodeName>>,
    images: BTreeMap<String, String>,
    ranks: BTreeMap<String, f64>,
    /// Groups are known only once all were read.
    quotas: Vec<Row>,
    tasks: Vec<Row>,
}

impl Reading {
    fn new(clock: Clock) -> Self {
        Reading {
            clock,
            report: Report::default(),
            people: People::default(),
            nodes: BTreeMap::new(),
            images: BTreeMap::new(),
            ranks: BTreeMap::new(),
            quotas: Vec::new(),
            tasks: Vec::new(),
        }
    }

    fn row(&mut self, row: Row) -> Result<(), Remark> {
        match row.table {
            Table::Host => self.host(&row),
            Table::User => self.people.user(&row, &mut self.report),
            Table::UserGroup => self.people.membership(&row),
            Table::TrainEnvironment => {
                self.images.insert(row.text("env_name")?.to_owned(), row.text("image")?.to_owned());
                Ok(())
            }
            Table::TaskRuntimeConfig => self.runtime(&row),
            Table::Quota => {
                self.quotas.push(row);
                Ok(())
            }
            Table::UnfinishedTask => {
                self.tasks.push(row);
                Ok(())
            }
        }
    }

    fn host(&mut self, row: &Row) -> Result<(), Remark> {
        let node = NodeName::new(row.text("node")?).map_err(|error| row.remark("node", error.to_string()))?;
        let label = row.text("origin_group")?;
        // What stands before the last dot says what kind of group it is.
        let group = label.rsplit_once('.').map_or(label, |(_, group)| group);
        let group = GroupName::new(group).map_err(|error| row.remark("origin_group", error.to_string()))?;
        NodeEntry::read(Raw::Text(node.as_str())).map_err(|problem| row.remark("node", problem))?;
        if self.nodes.values().any(|nodes| nodes.contains(&node)) {
            return Err(row.remark("node", "there is another row of that node"));
        }
        if group.as_str() != label {
            let reason = format!("the group is {group}, without what stood before it");
            self.report.changed.push(row.remark("origin_group", reason));
        }
        self.nodes.entry(group).or_default().insert(node);
        Ok(())
    }

    /// Only one source of these says something that is taken: where a chain stands in the queue.
    fn runtime(&mut self, row: &Row) -> Result<(), Remark> {
        if row.some_text("source")? != Some("runtime_priority") {
            return Ok(());
        }
        let Some(chain) = row.some_text("chain_id")? else { return Ok(()) };
        let config = row.object("config_json")?;
        match config.get("custom_rank") {
            None | Some(serde_json::Value::Null) => {}
            Some(rank) => {
                let rank = rank.as_f64().filter(|rank| rank.is_finite());
                let rank = rank.ok_or_else(|| row.remark("config_json.custom_rank", "it is no number"))?;
                self.ranks.insert(chain.to_owned(), rank);
            }
        }
        Ok(())
    }

    fn finish(mut self) -> (Plan, Report) {
        let owners = self.quotas.iter().filter_map(|row| row.some_text("user_name").ok().flatten());
        let owners: BTreeSet<String> = owners.map(str::to_owned).collect();
        let teams = self.people.teams(&owners, &mut self.report);
        let mut known: BTreeSet<GroupName> = self.nodes.keys().cloned().collect();
        known.extend(self.tasks.iter().filter_map(|row| GroupName::new(row.some_text("group").ok()??).ok()));
        let mut rights = Rights::default();
        for row in &self.quotas {
            if let Err(remark) = rights.quota(row, &self.people, &teams, &known, self.clock, &mut self.report) {
                self.report.malformed.push(remark);
            }
        }
        let tasks = self.wanted();
        self.report.configuration = configuration(&self.nodes, &self.people.users);
        let plan = Plan {
            users: self.people.users.into_iter().map(|(name, person)| (name, person.token)).collect(),
            teams: teams.into_values().collect(),
            rights: rights.rows.into_values().collect(),
            tasks,
        };
        (plan, self.report)
    }

    fn wanted(&mut self) -> Vec<Wanted> {
        let mut wanted = Vec::new();
        let mut chains = BTreeSet::new();
        for row in &self.tasks {
            match tasks::read(row, &self.images, &self.ranks) {
                Err(remark) => self.report.malformed.push(remark),
                Ok(Read::LeftOut(remark)) => self.report.left_out.push(remark),
                Ok(Read::Task(task, changed)) => {
                    let user = &task.submitted.spec.user;
                    if self.people.inactive.contains(user) {
                        self.report.left_out.push(row.remark("user_name", "may do nothing there any more"));
                    } else if !self.people.users.contains_key(user) {
                        let reason = format!("there is no user {}", quoted(user.as_str()));
                        self.report.malformed.push(row.remark("user_name", reason));
                    } else if !chains.insert(task.chain.clone()) {
                        self.report
                            .malformed
                            .push(row.remark("chain_id", "there is another unfinished task of that chain"));
                    } else {
                        self.report.changed.extend(changed);
                        wanted.push(*task);
                    }
                }
            }
        }
        wanted
            .sort_by(|a, b| a.rank.total_cmp(&b.rank).then(a.first.cmp(&b.first)).then_with(|| a.chain.cmp(&b.chain)));
        wanted
    }
}

/// What is said of nodes and users' numbers in a configuration.
fn configuration(nodes: &BTreeMap<GroupName, BTreeSet<NodeName>>, users: &BTreeMap<UserName, Person>) -> String {
    let mut out = String::new();
    if nodes.is_empty() && users.values().all(|person| person.uid.is_none()) {
        return out;
    }
    out += "# Made by `hai-daemon import hai-platform`: a piece of a configuration for hai on Kubernetes.\n";
    let numbers: Vec<_> = users.iter().filter_map(|(name, person)| Some((name, person.uid?))).collect();
    if !numbers.is_empty() {
        out += "\n# From the table user: who the workers of each are on the nodes.\n[kubernetes.users]\n";
        for (name, uid) in numbers {
            let _ = writeln!(out, "{} = {uid}", config::quoted(name.as_str()));
        }
    }
    let named = nodes.keys().any(|group| group.as_str() == "default");
    if let Some((group, _)) = nodes.iter().max_by_key(|(_, nodes)| nodes.len()).filter(|_| !named) {
        let group = config::quoted(group.as_str());
        let _ =
            writeln!(out, "\n# The largest group: where tasks go that name none.\n[tasks]\ndefault_group = {group}");
    }
    for (group, nodes) in nodes {
        let nodes = nodes.iter().map(|node| config::quoted(node.as_str())).collect::<Vec<_>>().join(", ");
        let _ =
            writeln!(out, "\n# From the table host.\n[[kubernetes.group]]\nname = {}", config::quoted(group.as_str()));
        let _ = writeln!(
            out,
            "nodes = [{nodes}]\n# As there: containers see the GPUs that they are given.\ngpus = \"visible\""
        );
    }
    out
}
