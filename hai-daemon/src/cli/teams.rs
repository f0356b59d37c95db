//! `hai teams`.

use clap::Subcommand;
use hai_core::model::{GroupName, TeamName, UserName};
use ureq::http::Method;

use super::client::{Client, encoded};
use super::error::CliError;
use super::output::{Printer, Table, Tone};
use crate::api::wire::{Limit, Pool, PoolBound, Team, TeamList};

/// What `hai teams` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum TeamsCommand {
    /// List teams
    Ls,
    /// Make a team, or replace all of it
    #[command(after_help = "Examples:\n  \
        hai teams set vision --parent lab --member ada,grace --pool default,devices=2\n  \
        hai teams set lab --pool default,devices=8,nodes=unlimited --pool old,devices=2,lend-devices=0\n\n\
        A pool is what the team and its parts may hold together in a group, in nodes and devices; what is left out is 0. \
        borrow-nodes and borrow-devices bound what it may use of what other parts of its parent leave unused, lend-nodes \
        and lend-devices what they may use of its own; what is left out is unlimited. In a group without a pool nothing \
        is bounded. The command says all of the team: whoever is left out is no member any more.")]
    Set {
        /// The team
        name: TeamName,
        /// The team that it is a part of
        #[arg(long, value_name = "TEAM")]
        parent: Option<TeamName>,
        /// Its users, with commas between or given again; those of its parts are not listed here
        #[arg(long = "member", value_name = "USER", value_delimiter = ',')]
        members: Vec<UserName>,
        /// What it may hold together in a group; may be given again for other groups
        #[arg(long = "pool", value_name = "GROUP,devices=N,…", value_parser = pool)]
        pools: Vec<Pool>,
    },
    /// Remove a team; its parts stay
    Rm {
        /// The team
        name: TeamName,
    },
}

/// `hai teams`
///
/// # Errors
/// [`CliError`].
pub(super) fn teams(command: &TeamsCommand, client: &Client, printer: &Printer) -> Result<(), CliError> {
    match command {
        TeamsCommand::Ls => {
            let answer = client.get("/v1/teams", &())?;
            if printer.json {
                return printer.answer(&answer);
            }
            let list: TeamList = answer.parse()?;
            let mut table = Table::new(&["TEAM", "PARENT", "MEMBERS", "POOLS"]);
            for team in &list.teams {
                let [name, rest @ ..] = cells(team);
                let [parent, members, pools] = rest.map(|text| (text, Tone::Plain));
                table.row([(name, Tone::Strong), parent, members, pools]);
            }
            table.print(printer)
        }
        TeamsCommand::Set { name, parent, members, pools } => {
            let members = members.iter().cloned().collect();
            let team = Team { name: name.clone(), parent: parent.clone(), members, pools: pools.clone() };
            let answer = client.send(&Method::PUT, "/v1/teams", Some(&team))?;
            if printer.json {
                return printer.answer(&answer);
            }
            let [name, parent, members, pools] = cells(&answer.parse()?);
            let part = if parent.is_empty() { parent } else { format!(", a part of {parent}") };
            let or = |text: String, none: &str| if text.is_empty() { none.to_owned() } else { text };
            let (members, pools) = (or(members, "no members"), or(pools, "no pools"));
            printer.line(format!("team {name}{part}: {members}; {pools}"))
        }
        TeamsCommand::Rm { name } => {
            client.delete(&format!("/v1/teams/{}", encoded(name.as_str())), &())?;
            if printer.json { Ok(()) } else { printer.line(format!("team {name} is removed")) }
        }
    }
}

/// In the order of the table's heads. Pools stand there as they are given.
fn cells(team: &Team) -> [String; 4] {
    let members: Vec<&str> = team.members.iter().map(UserName::as_str).collect();
    let pools: Vec<String> = team.pools.iter().map(show).collect();
    let parent = team.parent.as_ref().map(ToString::to_string).unwrap_or_default();
    [team.name.to_string(), parent, members.join(","), pools.join(" ")]
}

fn show(pool: &Pool) -> String {
    let mut text = format!("{},nodes={},devices={}", pool.group, pool.nodes, pool.devices);
    for (word, bound) in [("borrow", pool.borrow), ("lend", pool.lend)] {
        for (kind, limit, free) in [
            ("nodes", bound.nodes, PoolBound::unlimited().nodes),
            ("devices", bound.devices, PoolBound::unlimited().devices),
        ] {
            if limit != free {
                text += &format!(",{word}-{kind}={limit}");
            }
        }
    }
    text
}

/// Reads `default,devices=2,lend-devices=0`.
fn pool(text: &str) -> Result<Pool, String> {
    let mut parts = text.split(',');
    let group = parts.next().unwrap_or_default();
    let group: GroupName = group.parse().map_err(|error: hai_core::model::NameError| error.to_string())?;
    let (nodes, devices) = (Limit::default(), Limit::default());
    let (borrow, lend) = (PoolBound::unlimited(), PoolBound::unlimited());
    let mut pool = Pool { group, nodes, devices, borrow, lend };
    let mut own = false;
    for part in parts {
        let (key, value) = part.split_once('=').unwrap_or((part, ""));
        let place = match key {
            "nodes" => &mut pool.nodes,
            "devices" => &mut pool.devices,
            "borrow-nodes" => &mut pool.borrow.nodes,
            "borrow-devices" => &mut pool.borrow.devices,
            "lend-nodes" => &mut pool.lend.nodes,
            "lend-devices" => &mut pool.lend.devices,
            _ => {
                return Err(format!(
                    "`{part}` is none of nodes=N, devices=N, borrow-nodes=N, borrow-devices=N, lend-nodes=N and \
                     lend-devices=N"
                ));
            }
        };
        *place = value.parse()?;
        own |= matches!(key, "nodes" | "devices");
    }
    if own {
        Ok(pool)
    } else {
        Err("it does not say what is the team's own; write e.g. `default,devices=2`".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_reads_as_it_is_shown() {
        for (text, shown) in [
            ("default,devices=2", "default,nodes=0,devices=2"),
            ("a.b,nodes=unlimited,devices=2.5", "a.b,nodes=unlimited,devices=2.5"),
            (
                "g,nodes=1,borrow-nodes=2,borrow-devices=3,lend-nodes=4,lend-devices=0",
                "g,nodes=1,devices=0,borrow-nodes=2,borrow-devices=3,lend-nodes=4,lend-devices=0",
            ),
        ] {
            let read = pool(text).expect("it is one");
            assert_eq!(show(&read), shown);
            assert_eq!(pool(shown), Ok(read));
        }
        for (text, problem) in [
            ("", "a group name is empty"),
            ("g", "it does not say what is the team's own"),
            ("g,lend-devices=1", "it does not say what is the team's own"),
            ("g,device=1", "`device=1` is none of nodes=N"),
            ("g,devices", "`` is not a limit"),
            ("g,devices=-1", "`-1` is not a limit"),
        ] {
            assert!(pool(text).expect_err("it is none").starts_with(problem), "{text}");
        }
    }
}
