//! `hai-daemon doctor`: what would keep hai from working on a Kubernetes cluster, a line each, with what to do.

pub mod database;
mod mounts;
mod nodes;
mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::Node;
use kube::api::ListParams;
use kube::{Api, Client};
use serde::Serialize;

use super::connect::{Trouble, client, explain};
use super::{Plan, PlanError};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works, but not as one may expect.
    Warning,
    /// It does not work.
    Bad,
    /// It could not be looked at, or there is nothing to look at.
    Skipped,
}

/// One line of the doctor's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was found.
    pub said: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// A daemon can not start like this.
    pub fatal: bool,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.verdict {
            Verdict::Good => "good",
            Verdict::Warning => "warn",
            Verdict::Bad => "BAD ",
            Verdict::Skipped => "skip",
        };
        write!(f, "{word}  {}: {}", self.name, self.said)?;
        match &self.fix {
            Some(fix) => write!(f, "; {fix}"),
            None => Ok(()),
        }
    }
}

impl Check {
    fn good(name: &'static str, said: impl Into<String>) -> Self {
        Check { name, verdict: Verdict::Good, said: said.into(), fix: None, fatal: false }
    }

    fn skipped(name: &'static str, said: impl Into<String>) -> Self {
        Check { verdict: Verdict::Skipped, ..Check::good(name, said) }
    }

    fn warning(name: &'static str, said: impl Into<String>, fix: impl Into<String>) -> Self {
        Check { verdict: Verdict::Warning, fix: Some(fix.into()), ..Check::good(name, said) }
    }

    fn bad(name: &'static str, said: impl Into<String>, fix: impl Into<String>) -> Self {
        Check { verdict: Verdict::Bad, fix: Some(fix.into()), ..Check::good(name, said) }
    }

    fn fatal(name: &'static str, said: impl Into<String>, fix: impl Into<String>) -> Self {
        Check { fatal: true, ..Check::bad(name, said, fix) }
    }

    fn trouble(name: &'static str, trouble: Trouble, fatal: bool) -> Self {
        Check { fatal, ..Check::bad(name, trouble.said, trouble.fix) }
    }
}

/// What is known besides what the API server says.
#[derive(Clone, Debug)]
pub struct Known {
    /// How many devices the agent of each node reported; `None` if no agent was asked.
    pub devices: Option<BTreeMap<String, u32>>,
    /// How long a pod that tries the mounts may take; `None` to leave them untried.
    pub mounts: Option<Duration>,
}

async fn nodes(client: &Client) -> Result<Vec<Node>, Trouble> {
    let nodes: Api<Node> = Api::all(client.clone());
    let listed = nodes.list(&ListParams::default()).await;
    listed.map(|list| list.items).map_err(|error| explain("listing the nodes", &error))
}

/// All checks, in order. `plan` is what came of the configuration. What builds on something that is bad is skipped.
pub async fn examine(plan: &Result<Plan, PlanError>, known: &Known) -> Vec<Check> {
    let plan = match plan {
        Ok(plan) => plan,
        Err(error) => {
            return vec![Check::fatal("configuration", error.to_string(), "correct that; nothing of the file is used")];
        }
    };
    let mut checks = vec![Check::good("configuration", "it can be understood")];
    let client = match client(plan).await {
        Ok(client) => client,
        Err(trouble) => {
            checks.push(Check::trouble("API server", trouble, true));
            return checks;
        }
    };
    let (check, about) = server::version(&client).await;
    checks.push(check);
    let Some(about) = about else { return checks };
    checks.push(server::rights(plan, &client).await);
    match nodes(&client).await {
        Ok(all) => {
            checks.extend(nodes::checks(plan, &all, known.devices.as_ref()));
            checks.push(server::runtime_classes(plan, &client).await);
            match known.mounts {
                Some(patience) => checks.extend(mounts::checks(plan, &client, &all, patience).await),
                None => checks.push(Check::skipped("mounts", "nobody asked to try them")),
            }
        }
        Err(trouble) => checks.push(Check::trouble("nodes", trouble, true)),
    }
    checks.extend(database::checks(plan, &client).await);
    checks.push(server::balancer(plan, &client).await);
    checks.push(server::clock(&about));
    checks
}

/// What has to be right before anything is made: the plan's values, the server, the groups.
pub async fn before(plan: &Plan, client: &Client) -> Vec<Check> {
    if let Err(error) = plan.check() {
        return vec![Check::fatal("configuration", error.to_string(), "correct that")];
    }
    let (check, about) = server::version(client).await;
    let mut checks = vec![check];
    if about.is_some() {
        match nodes(client).await {
            Ok(all) => checks.extend(nodes::groups(plan, &all).into_iter().chain(nodes::cordons(plan, &all))),
            Err(trouble) => checks.push(Check::trouble("nodes", trouble, true)),
        }
    }
    checks
}

/// What a daemon asks before it starts: the first thing with which it could not work.
///
/// # Errors
/// That thing, and what to do, in one line.
pub async fn fatal(plan: &Plan, client: &Client) -> Result<(), Trouble> {
    let mut checks = before(plan, client).await;
    checks.push(server::rights(plan, client).await);
    match checks.into_iter().find(|check| check.fatal && check.verdict == Verdict::Bad) {
        Some(check) => Err(Trouble::new(check.said, check.fix.unwrap_or_default())),
        None => Ok(()),
    }
}
