//! Who there is, in which groups, and what they may have: users, teams and rights.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use hai_core::model::{Allowance, GroupName, Limit, RightKey, RightRow, Team, TeamName, Time, UserName};

use super::quota::{Jupyter, Resource};
use super::report::{Remark, Report};
use super::rows::{Row, plain, quoted};
use crate::store::Token;

/// Groups that upstream gives powers to, not machines.
const ADMINS: [&str; 9] = [
    "root",
    "cluster_manager",
    "ops",
    "hub_admin",
    "task_admin",
    "developer_admin",
    "internal_quota_limit_editor",
    "can_suspend",
    "account_manager",
];
/// Groups that everybody is in by being there.
const PUBLIC: &str = "public";
/// Interactive tasks in groups of this name share their nodes.
const SHARED: &str = "jupyter_cpu";

/// Users whom daemons make for themselves: whoever had the name would get their place.
const RESERVED: [&str; 2] = ["operator", "agent"];

/// A user there.
#[derive(Clone, Debug)]
pub(super) struct Person {
    /// Their number on machines.
    pub(super) uid: Option<u32>,
    /// Their token, if it can be one of ours.
    pub(super) token: Option<Token>,
    role: String,
    shared_group: Option<String>,
}

/// All that was read of people.
#[derive(Clone, Debug, Default)]
pub(super) struct People {
    pub(super) users: BTreeMap<UserName, Person>,
    /// Who may do nothing there any more.
    pub(super) inactive: BTreeSet<UserName>,
    /// By the name of a user, or what stands for several: the groups.
    groups: BTreeMap<String, BTreeSet<String>>,
}

impl People {
    pub(super) fn user(&mut self, row: &Row, report: &mut Report) -> Result<(), Remark> {
        let name = UserName::new(row.text("user_name")?).map_err(|error| row.remark("user_name", error.to_string()))?;
        if self.users.contains_key(&name) || self.inactive.contains(&name) {
            return Err(row.remark("user_name", "there is another row of that name"));
        }
        if RESERVED.contains(&name.as_str()) {
            return Err(
                row.remark("user_name", "one of hai's own is called so; give this user another name there first")
            );
        }
        if !row.flag("active", true)? {
            report.left_out.push(row.remark("active", "may do nothing there any more"));
            self.inactive.insert(name);
            return Ok(());
        }
        let role = row.some_text("role")?.unwrap_or("internal").to_owned();
        if !["internal", "external"].contains(&role.as_str()) {
            return Err(row.remark("role", format!("{} is neither internal nor external", quoted(&role))));
        }
        let uid = match row.some_integer("user_id")? {
            Some(uid) => match i32::try_from(uid).ok().and_then(|uid| u32::try_from(uid).ok()) {
                Some(uid) => Some(uid),
                None => return Err(row.remark("user_id", format!("{uid} can not be a user's number"))),
            },
            None => None,
        };
        // Nothing about what is wrong with a token can be said without telling something of it.
        let token = row.some_text("token").ok().flatten().and_then(Token::given);
        let shared_group = row.some_text("shared_group")?.filter(|group| !group.is_empty()).map(str::to_owned);
        self.users.insert(name, Person { uid, token, role, shared_group });
        Ok(())
    }

    pub(super) fn membership(&mut self, row: &Row) -> Result<(), Remark> {
        let (user, group) = (row.text("user_name")?.to_owned(), row.text("group")?.to_owned());
        let stands_for_several = self.users.values().any(|person| person.shared_group.as_deref() == Some(&user));
        if !stands_for_several && !self.users.keys().chain(&self.inactive).any(|known| known.as_str() == user) {
            return Err(row.remark("user_name", format!("there is no user {}", quoted(&user))));
        }
        self.groups.entry(user).or_default().insert(group);
        Ok(())
    }

    /// The groups that a user is in by rows, their own and those of what stands for them and others.
    fn listed<'a>(&'a self, name: &'a UserName, person: &'a Person) -> impl Iterator<Item = &'a str> {
        let names = [Some(name.as_str()), person.shared_group.as_deref()];
        names.into_iter().flatten().filter_map(|name| self.groups.get(name)).flatten().map(String::as_str)
    }

    /// Every group with its members.
    fn members(&self) -> BTreeMap<&str, BTreeSet<UserName>> {
        let mut members: BTreeMap<&str, BTreeSet<UserName>> = BTreeMap::new();
        for (name, person) in &self.users {
            for group in self.listed(name, person).chain([PUBLIC, &person.role]) {
                members.entry(group).or_default().insert(name.clone());
            }
        }
        members
    }

    /// The teams that are to be: groups that somebody was put into, and those that have a quota.
    pub(super) fn teams(&self, owners: &BTreeSet<String>, report: &mut Report) -> BTreeMap<String, Team> {
        let mut teams = BTreeMap::new();
        let listed: BTreeSet<&str> = self.users.iter().flat_map(|(name, person)| self.listed(name, person)).collect();
        for (group, members) in self.members() {
            let remark = |table, column: &str, reason: String| Remark {
                table,
                key: plain(group),
                column: column.to_owned(),
                reason,
            };
            if ADMINS.contains(&group) && listed.contains(group) {
                let names = members.iter().map(UserName::as_str).collect::<Vec<_>>().join(", ");
                let reason =
                    format!("its members are users here; who is to see and do all is made an operator: {names}");
                report.changed.push(remark("user_group", "group", reason));
            }
            let has_quota = owners.contains(group);
            if !has_quota && (ADMINS.contains(&group) || !listed.contains(group)) {
                continue;
            }
            match TeamName::new(group) {
                Ok(name) => {
                    if has_quota && !listed.contains(group) {
                        let reason = "everybody was in it by being there; here it is a team, and who comes later has to be put into it";
                        report.changed.push(remark("quota", "user_name", reason.to_owned()));
                    }
                    let team = Team { name, parent: None, members, pools: Vec::new() };
                    teams.insert(group.to_owned(), team);
                }
                Err(error) => report.malformed.push(remark("user_group", "group", error.to_string())),
            }
        }
        teams
    }
}

/// How times are read, and what counts as over.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// So many seconds east of Greenwich are the times that name no zone.
    pub east: i64,
    /// What expired before is left out.
    pub now: Time,
}

/// The rights that are to be.
#[derive(Debug, Default)]
pub(super) struct Rights {
    pub(super) rows: BTreeMap<RightKey, RightRow>,
}

impl Rights {
    pub(super) fn quota(
        &mut self,
        row: &Row,
        people: &People,
        teams: &BTreeMap<String, Team>,
        known: &BTreeSet<GroupName>,
        clock: Clock,
        report: &mut Report,
    ) -> Result<(), Remark> {
        let owner = row.text("user_name")?;
        let text = row.text("resource")?;
        let resource = Resource::parse(text, known).map_err(|reason| row.remark("resource", reason))?;
        let amount = row.integer("quota")?;
        let expires = row.time("expire_time", clock.east)?;
        if expires.is_some_and(|expires| expires <= clock.now) {
            report.left_out.push(row.remark("expire_time", "it counted no more there either"));
            return Ok(());
        }
        let (group, priority, allowance, cap) = match resource {
            Resource::Other(why) => {
                report.left_out.push(row.remark("resource", why));
                return Ok(());
            }
            Resource::Nodes { group, priority } => {
                let nodes = limit(row, amount, report)?;
                if text.matches('-').count() > 2 {
                    let reason =
                        format!("upstream can not read it, and let all quotas stand still; the group is {group}");
                    report.changed.push(row.remark("resource", reason));
                }
                (group, Some(priority), Allowance { nodes, devices: Limit::at_most(0) }, false)
            }
            Resource::Cap { group, priority } => {
                let nodes = limit(row, amount, report)?;
                (group, Some(priority), Allowance { nodes, devices: Limit::Unlimited }, true)
            }
            Resource::Jupyter { group } => {
                let Jupyter { memory_gib, cpus, tasks } =
                    Jupyter::unpack(amount).map_err(|reason| row.remark("quota", reason))?;
                if group.as_str().starts_with(SHARED) {
                    let reason = format!(
                        "{tasks} interactive tasks with {cpus} processors and {memory_gib} GiB: such work needs no right here"
                    );
                    report.left_out.push(row.remark("quota", reason));
                    return Ok(());
                }
                let reason = format!(
                    "{tasks} interactive tasks with a node each ({cpus} processors, {memory_gib} GiB) are {tasks} whole nodes at \
                     every level here"
                );
                report.changed.push(row.remark("quota", reason));
                (group, None, Allowance::nodes(tasks), false)
            }
        };
        let user = UserName::new(owner).ok().filter(|user| people.users.contains_key(user));
        let team = teams.get(owner).map(|team| team.name.clone());
        if user.is_none() && team.is_none() {
            if UserName::new(owner).is_ok_and(|user| people.inactive.contains(&user)) {
                report.left_out.push(row.remark("user_name", "may do nothing there any more"));
                return Ok(());
            }
            return Err(row.remark("user_name", format!("there is neither a user nor a group {}", quoted(owner))));
        }
        if user.is_some() && team.is_some() {
            let reason = "it is the name of a user and of a group, so both get the right, as there";
            report.changed.push(row.remark("user_name", reason));
        }
        let group = Some(group);
        let keys = [
            user.map(|user| RightKey { user: Some(user), ..RightKey::default() }),
            team.map(|team| RightKey { team: Some(team), ..RightKey::default() }),
        ];
        for key in keys.into_iter().flatten() {
            let key = RightKey { group: group.clone(), priority, cap, ..key };
            let right = RightRow { key: key.clone(), allowance, expires };
            match self.rows.entry(key) {
                Entry::Vacant(entry) => drop(entry.insert(right)),
                Entry::Occupied(mut entry) => {
                    let reason = "several rows say how much of the same; the least counts, as there";
                    report.changed.push(row.remark("resource", reason));
                    if right.allowance.nodes < entry.get().allowance.nodes {
                        entry.insert(right);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A number of nodes; one that no cluster has is as much as there is.
fn limit(row: &Row, amount: i64, report: &mut Report) -> Result<Limit, Remark> {
    /// More than any cluster has.
    const MOST: u32 = 10_000_000;
    if amount < 0 {
        return Err(row.remark("quota", format!("{amount} is negative")));
    }
    match u32::try_from(amount) {
        Ok(nodes) if nodes <= MOST => Ok(Limit::at_most(nodes)),
        _ => {
            report.changed.push(row.remark("quota", format!("{amount} nodes are as many as there are")));
            Ok(Limit::Unlimited)
        }
    }
}
