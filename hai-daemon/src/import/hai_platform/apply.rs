//! What is to be, into our database: what is there already stays as it is, and the rest comes in one step of the log.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use hai_core::backend::{Cluster, Command, Driver, Follower, Listing, StartOrder, WorkerReport};
use hai_core::engine::{EngineConfig, Policies};
use hai_core::model::{Fact, Grace, NodeSpec, RunId, TaskId, Time, UserName, WorkerState};

use super::plan::Plan;
use super::report::{Amounts, Remark, Report};
use super::rows::plain;
use super::tasks::CHAIN;
use crate::store::{AccountError, AnyStore, Page, Reader, Role, TaskFilter, Token};

/// Records that are read at a time.
const PAGE: u32 = 1000;

/// What our database knows already.
#[derive(Default)]
struct Known {
    users: BTreeSet<UserName>,
    chains: BTreeMap<String, TaskId>,
    listing: Listing,
    follower: Option<Follower>,
}

/// Leaves in `plan` what is new, and tells of the rest in `report`.
pub(super) async fn compare(
    plan: &mut Plan,
    report: &mut Report,
    store: Option<&AnyStore>,
    config: &EngineConfig,
) -> Result<Listing> {
    let known = match store {
        Some(store) => known(store, plan, config).await?,
        None => Known::default(),
    };
    let Known { users, chains, listing, follower } = known;
    let mut already = Amounts::default();
    plan.users.retain(|name, _| keep(!users.contains(name), &mut already.users));
    if let Some(follower) = &follower {
        let engine = follower.engine();
        plan.teams.retain(|team| {
            let there = engine.teams().find(|known| known.name == team.name);
            if there.is_some_and(|there| there != team) {
                let reason = "there is a team of that name with other members, which stays as it is";
                report.changed.push(remark("user_group", team.name.as_str(), "group", reason));
            }
            keep(there.is_none(), &mut already.teams)
        });
        let rights: BTreeMap<_, _> = engine.rights().map(|right| (right.key.clone(), right)).collect();
        plan.rights.retain(|right| {
            let there = rights.get(&right.key);
            if there.is_some_and(|there| there != right) {
                let key = whom(right);
                report.changed.push(remark(
                    "quota",
                    &key,
                    "quota",
                    "there is another right for that, which stays as it is",
                ));
            }
            keep(there.is_none(), &mut already.rights)
        });
    }
    plan.tasks.retain(|task| keep(!chains.contains_key(&task.chain), &mut already.tasks));
    if plan.rights.is_empty() && already.rights == 0 {
        let reason = "no right was taken; unless [[right]] says otherwise the first daemon gives everybody everything up to HIGH";
        report.changed.push(remark("quota", "none", "quota", reason));
    }
    report.already = already;
    let count = |count: usize| count as u64;
    report.taken = Amounts {
        users: count(plan.users.len()),
        teams: count(plan.teams.len()),
        rights: count(plan.rights.len()),
        tasks: count(plan.tasks.len()),
    };
    Ok(listing)
}

fn keep(new: bool, already: &mut u64) -> bool {
    *already += u64::from(!new);
    new
}

fn remark(table: &'static str, key: &str, column: &str, reason: impl Into<String>) -> Remark {
    Remark { table, key: plain(key), column: column.to_owned(), reason: reason.into() }
}

fn whom(right: &hai_core::model::RightRow) -> String {
    let key = &right.key;
    let who = key.user.as_ref().map(UserName::as_str).or(key.team.as_ref().map(|team| team.as_str()));
    let group = key.group.as_ref().map_or("every group", |group| group.as_str());
    let level = key.priority.map_or("every level", |level| level.name());
    format!("{} in {group} at {level}", who.unwrap_or("everybody"))
}

async fn known(store: &AnyStore, plan: &Plan, config: &EngineConfig) -> Result<Known> {
    let reader = store.reader();
    let users = store.accounts().list().await?.into_iter().map(|user| user.name).collect();
    let chains = chains(&reader, plan).await?;
    let mut follower = match reader.snapshot().await? {
        Some(snapshot) => Follower::after(snapshot, config.clone(), Policies::default()),
        None => Follower::new(config.clone(), Policies::default()),
    };
    loop {
        let page = reader.log_after(follower.chain().seq(), PAGE).await?;
        if page.is_empty() {
            break;
        }
        for record in page {
            follower.take(&record).with_context(|| format!("the log, record {}", record.seq))?;
        }
        follower.drain_changes();
    }
    let listing = Listing { nodes: nodes(&follower), workers: workers(&follower) };
    Ok(Known { users, chains, listing, follower: Some(follower) })
}

fn nodes(follower: &Follower) -> Vec<NodeSpec> {
    follower.engine().nodes().map(|node| node.spec).collect()
}

/// What executes, as far as the log knows: the daemon that comes next asks the cluster itself.
fn workers(follower: &Follower) -> Vec<WorkerReport> {
    let mut found = Vec::new();
    for run in follower.engine().runs() {
        for (rank, worker) in (0..).zip(&run.workers) {
            if matches!(worker.state, WorkerState::Executing { .. }) {
                found.push(WorkerReport { run: run.id, rank, whole_life_state: None, exit: None });
            }
        }
    }
    found
}

/// The chains of tasks that were taken before.
async fn chains(reader: &Reader, plan: &Plan) -> Result<BTreeMap<String, TaskId>> {
    let mut names: BTreeMap<&UserName, BTreeSet<&str>> = BTreeMap::new();
    for task in &plan.tasks {
        names.entry(&task.submitted.spec.user).or_default().insert(&task.submitted.spec.name);
    }
    let mut found = BTreeMap::new();
    for (user, names) in names {
        let filter = TaskFilter { user: Some(user.clone()), ..TaskFilter::default() };
        let mut page = Page { before: None, limit: PAGE };
        loop {
            let part = reader.tasks(&filter, page).await?;
            for task in part.tasks.iter().filter(|task| names.contains(task.spec.name.as_str())) {
                let program = reader.program(task.id).await?;
                if let Some(chain) = program.and_then(|mut program| program.env.remove(CHAIN)) {
                    found.insert(chain, task.id);
                }
            }
            match part.next_before {
                Some(before) => page.before = Some(before),
                None => break,
            }
        }
    }
    Ok(found)
}

/// Writes what is left of a plan.
pub(super) async fn apply(
    plan: Plan,
    report: &mut Report,
    store: AnyStore,
    listing: Listing,
    config: EngineConfig,
    tokens: Option<&Path>,
) -> Result<()> {
    people(plan.users, report, &store, tokens).await?;
    let mut told: Vec<(Remark, Command)> = Vec::new();
    for team in plan.teams {
        told.push((remark("user_group", team.name.as_str(), "group", ""), Command::Tell(Fact::TeamSet { team })));
    }
    for right in plan.rights {
        told.push((remark("quota", &whom(&right), "quota", ""), Command::Tell(Fact::RightSet { right })));
    }
    for task in plan.tasks {
        let who = task.submitted.spec.user.clone();
        let command = Command::Submit(Box::new(task.submitted)).by(who);
        told.push((remark("unfinished_task_ng", &task.chain, "chain_id", ""), command));
    }
    let now = Time::from(chrono::Utc::now());
    let mut driver = Driver::open(config, store, Nowhere(listing), now).await?;
    let (about, commands): (Vec<_>, Vec<_>) = told.into_iter().unzip();
    if commands.is_empty() {
        return Ok(());
    }
    for (about, reply) in about.into_iter().zip(driver.step(now, commands).await?) {
        if let Err(error) = reply {
            let taken = &mut report.taken;
            let count = match about.table {
                "user_group" => &mut taken.teams,
                "quota" => &mut taken.rights,
                _ => &mut taken.tasks,
            };
            *count -= 1;
            report.malformed.push(Remark { reason: error.to_string(), ..about });
        }
    }
    driver.close().await?;
    Ok(())
}

/// Tokens are on the disk before anybody needs them.
async fn people(
    users: BTreeMap<UserName, Option<Token>>,
    report: &mut Report,
    store: &AnyStore,
    file: Option<&Path>,
) -> Result<()> {
    let mut given = Vec::new();
    let mut lines = String::new();
    for (name, token) in users {
        let token = match token {
            Some(token) => token,
            None => {
                let token = Token::random()?;
                lines += &format!("{name} {}\n", token.as_str());
                token
            }
        };
        given.push((name, token));
    }
    if !lines.is_empty() {
        let file = file.context("users need new tokens; name a file for them with --tokens")?;
        let open = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
        open.and_then(|mut file| file.write_all(lines.as_bytes()).and_then(|()| file.sync_all()))
            .with_context(|| format!("the new tokens can not be written to {}", file.display()))?;
        report.tokens = Some(file.display().to_string());
    }
    for (name, token) in given {
        match store.accounts().add_given(&name, Role::User, &token).await {
            Ok(()) => {}
            // Somebody else has that token, or the user came meanwhile.
            Err(AccountError::Exists { .. }) => {
                report.taken.users -= 1;
                report.malformed.push(remark(
                    "user",
                    name.as_str(),
                    "token",
                    "another user has that token, or that name",
                ));
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// A cluster that executes nothing: what is decided while it stands in is ordered again by the daemon that comes next, as after
/// a crash.
struct Nowhere(Listing);

impl Cluster for Nowhere {
    type Error = Infallible;

    async fn list(&mut self) -> Result<Listing, Infallible> {
        Ok(self.0.clone())
    }

    async fn start(&mut self, _: &StartOrder) -> Result<(), Infallible> {
        Ok(())
    }

    async fn suspend(&mut self, _: RunId, _: Grace) -> Result<(), Infallible> {
        Ok(())
    }

    async fn stop(&mut self, _: RunId, _: Grace) -> Result<(), Infallible> {
        Ok(())
    }

    async fn forget(&mut self, _: RunId) -> Result<(), Infallible> {
        Ok(())
    }

    async fn next(&mut self) -> Fact {
        std::future::pending().await
    }
}
