//! `hai nodes`, `rights` and `users`.

use chrono::{DateTime, Utc};
use ureq::http::Method;

use super::args::{RightKeyArgs, RightsCommand, UsersCommand};
use super::client::{Client, encoded};
use super::error::CliError;
use super::output::{Printer, Table, Tone, clock, memory};
use crate::api::wire::{DeviceHealth, NewToken, NewUser, Node, NodeList, Right, RightKey, RightList, Usage, UserList};

/// `hai nodes`
///
/// # Errors
/// [`CliError`].
pub(super) fn nodes(each_device: bool, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let answer = client.get("/v1/nodes", &())?;
    if printer.json {
        return printer.answer(&answer);
    }
    let list: NodeList = answer.parse()?;
    if each_device {
        return devices_of(&list, printer);
    }
    let mut table = Table::new(&["NODE", "GROUP", "STATE", "DEVICES", "FREE", "CPU", "MEMORY", "TASKS"]);
    for node in &list.nodes {
        let (state, tone) = match (node.ready, node.cordoned) {
            (false, _) => ("not ready", Tone::Bad),
            _ if node.draining => ("draining", Tone::Waiting),
            (true, true) => ("cordoned", Tone::Waiting),
            (true, false) => ("ready", Tone::Good),
        };
        table.row([
            (node.name.to_string(), Tone::Strong),
            (node.group.to_string(), Tone::Plain),
            (state.to_owned(), tone),
            (devices(node), Tone::Plain),
            (node.free_devices.to_string(), Tone::Plain),
            (format!("{} of {} free", node.free_cpu, node.cpu), Tone::Plain),
            (format!("{} of {} free", memory(node.free_memory_mib), memory(node.memory_mib)), Tone::Plain),
            (holders(node), Tone::Plain),
        ]);
    }
    if list.nodes.is_empty() && printer.terminal {
        printer.remark("there are no nodes");
        return Ok(());
    }
    table.print(printer)
}

/// `hai nodes --devices`: one line a device, as last reported.
fn devices_of(list: &NodeList, printer: &Printer) -> Result<(), CliError> {
    let mut table = Table::new(&[
        "NODE", "DEVICE", "MODEL", "HEALTH", "MEMORY", "USED", "BUSY", "HEAT", "POWER", "USED BY", "REPORTED",
    ]);
    for node in &list.nodes {
        let age = node.reported_at.map_or_else(dash, |at| ago(Utc::now(), at));
        for device in &node.devices {
            let (word, tone) = match device.health {
                DeviceHealth::Healthy => ("healthy", Tone::Good),
                DeviceHealth::Suspect => ("suspect", Tone::Waiting),
                DeviceHealth::Draining => ("draining", Tone::Waiting),
                DeviceHealth::Probing => ("being tested", Tone::Waiting),
                DeviceHealth::Sick => ("sick", Tone::Bad),
                DeviceHealth::Stranger => ("used by", Tone::Bad),
            };
            let health = match (&device.reason, device.health) {
                (Some(reason), DeviceHealth::Stranger) => format!("{word} {reason}"),
                (Some(reason), _) => format!("{word}: {reason}"),
                (None, _) => word.to_owned(),
            };
            let usage = device.usage.clone().unwrap_or_default();
            let slice = device.mig_profile.as_ref().map(|profile| format!(" {profile}")).unwrap_or_default();
            table.row([
                (node.name.to_string(), Tone::Strong),
                (device.id.to_string(), Tone::Plain),
                (format!("{}{slice}", device.model), Tone::Plain),
                (health, tone),
                (memory(device.memory_mib), Tone::Plain),
                (usage.memory_used_mib.map_or_else(dash, memory), Tone::Plain),
                (usage.utilisation_percent.map_or_else(dash, |part| format!("{part} %")), Tone::Plain),
                (usage.temperature_c.map_or_else(dash, |heat| format!("{heat} °C")), Tone::Plain),
                (usage.power_mw.map_or_else(dash, |power| format!("{} W", power.div_ceil(1000))), Tone::Plain),
                (users_of(&usage), Tone::Plain),
                (age.clone(), Tone::Plain),
            ]);
        }
    }
    table.print(printer)?;
    for node in &list.nodes {
        node.notes.iter().for_each(|note| printer.warn(format!("{}: {note}", node.name)));
    }
    Ok(())
}

fn dash() -> String {
    "-".to_owned()
}

/// `python 4242 (1.2 GiB), Xorg 900 (120 MiB, not hai's)`
fn users_of(usage: &Usage) -> String {
    let told = usage.processes.iter().map(|process| {
        let name = process.name.as_deref().unwrap_or("?");
        let held = process.memory_mib.map_or_else(|| "?".to_owned(), memory);
        let whose = if process.ours { "" } else { ", not hai's" };
        format!("{name} {} ({held}{whose})", process.pid)
    });
    let told = told.collect::<Vec<_>>().join(", ");
    if told.is_empty() { dash() } else { told }
}

/// `12 s ago`
fn ago(now: DateTime<Utc>, at: DateTime<Utc>) -> String {
    let seconds = (now - at).num_seconds().max(0);
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

/// `4 × RTX 3070 (8 GiB), 1 sick`
fn devices(node: &Node) -> String {
    let mut kinds: Vec<(String, usize)> = Vec::new();
    for device in &node.devices {
        let slice = device.mig_profile.as_ref().map(|profile| format!(" {profile}")).unwrap_or_default();
        let kind = format!("{}{slice} ({})", device.model, memory(device.memory_mib));
        match kinds.last_mut().filter(|(last, _)| *last == kind) {
            Some((_, count)) => *count += 1,
            None => kinds.push((kind, 1)),
        }
    }
    let mut parts: Vec<String> = kinds.into_iter().map(|(kind, count)| format!("{count} × {kind}")).collect();
    for (health, word) in [
        (DeviceHealth::Suspect, "suspect"),
        (DeviceHealth::Draining, "draining"),
        (DeviceHealth::Probing, "being tested"),
        (DeviceHealth::Sick, "sick"),
        (DeviceHealth::Stranger, "used by strangers"),
    ] {
        let count = node.devices.iter().filter(|device| device.health == health).count();
        if count > 0 {
            parts.push(format!("{count} {word}"));
        }
    }
    if parts.is_empty() { "none".to_owned() } else { parts.join(", ") }
}

/// `7 (2 devices), 8 (0.25 device), 9 (the node, promised), somebody else (1 device)`
fn holders(node: &Node) -> String {
    let holders = node.workers.iter().map(|worker| {
        let who = match (&worker.task, &worker.user) {
            (Some(task), Some(user)) => format!("{task} of {user}"),
            (Some(task), None) => task.to_string(),
            (None, _) => "somebody else".to_owned(),
        };
        let what = match worker.devices.len() {
            _ if worker.whole_node => "the node".to_owned(),
            0 => "no device".to_owned(),
            1 if let Some(share) = worker.share => format!("{share} device"),
            1 => "1 device".to_owned(),
            many => format!("{many} devices"),
        };
        let promised = if worker.phase.is_none() { ", promised" } else { "" };
        format!("{who} ({what}{promised})")
    });
    holders.collect::<Vec<_>>().join(", ")
}

/// `hai rights`
///
/// # Errors
/// [`CliError`].
pub(super) fn rights(command: &RightsCommand, client: &Client, printer: &Printer) -> Result<(), CliError> {
    match command {
        RightsCommand::Ls(key) => {
            let answer = client.get("/v1/rights", &right_key(key))?;
            if printer.json {
                return printer.answer(&answer);
            }
            let list: RightList = answer.parse()?;
            let mut table = Table::new(&["USER", "GROUP", "PRIORITY", "NODES", "DEVICES", "ONLY", "EXPIRES"]);
            for right in &list.rights {
                table.row(right_cells(right).map(|text| (text, Tone::Plain)));
            }
            table.print(printer)
        }
        RightsCommand::Set { key, nodes, devices, expires } => {
            let RightKey { user, group, priority, team, model, cap } = right_key(key);
            let expires = expires.map(|when| when.from(Utc::now()));
            let right = Right {
                user,
                group,
                priority,
                team,
                model,
                cap,
                nodes: nodes.unwrap_or_default(),
                devices: devices.unwrap_or_default(),
                expires,
            };
            let answer = client.send(&Method::PUT, "/v1/rights", Some(&right))?;
            if printer.json {
                return printer.answer(&answer);
            }
            let [user, group, priority, nodes, devices, only, expires] = right_cells(&answer.parse()?);
            let only = if only.is_empty() { only } else { format!(" ({only})") };
            let until = if expires.is_empty() { expires } else { format!(", until {expires}") };
            printer.line(format!(
                "user {user}, group {group}, priority {priority}: {nodes} nodes, {devices} devices{only}{until}"
            ))
        }
        RightsCommand::Rm(key) => {
            client.delete("/v1/rights", &right_key(key))?;
            if printer.json { Ok(()) } else { printer.line("the right is taken away") }
        }
    }
}

pub(super) fn right_key(args: &RightKeyArgs) -> RightKey {
    RightKey {
        user: args.user.clone(),
        group: args.group.clone(),
        priority: args.priority,
        team: args.team.clone(),
        model: args.model.clone(),
        cap: args.cap,
    }
}

/// In the order of the table's heads. A team stands where its members would; what only bounds says so.
fn right_cells(right: &Right) -> [String; 7] {
    let every = |text: Option<String>| text.unwrap_or_else(|| "every".to_owned());
    let team = right.team.as_ref().map(|team| format!("every of team {team}"));
    let only = match (&right.model, right.cap) {
        (None, false) => String::new(),
        (None, true) => "a cap".to_owned(),
        (Some(model), false) => format!("of {model}"),
        (Some(model), true) => format!("a cap, of {model}"),
    };
    [
        every(right.user.as_ref().map(ToString::to_string).or(team)),
        every(right.group.as_ref().map(ToString::to_string)),
        every(right.priority.as_ref().map(ToString::to_string)),
        right.nodes.to_string(),
        right.devices.to_string(),
        only,
        right.expires.map(clock).unwrap_or_default(),
    ]
}

/// `hai users`
///
/// # Errors
/// [`CliError`].
pub(super) fn users(command: &UsersCommand, client: &Client, printer: &Printer) -> Result<(), CliError> {
    match command {
        UsersCommand::Ls => {
            let answer = client.get("/v1/users", &())?;
            if printer.json {
                return printer.answer(&answer);
            }
            let list: UserList = answer.parse()?;
            let mut table = Table::new(&["USER", "ROLE"]);
            for user in &list.users {
                table.row([(user.name.to_string(), Tone::Strong), (user.role.word().to_owned(), Tone::Plain)]);
            }
            table.print(printer)
        }
        UsersCommand::Add { name, role } => {
            let user = NewUser { name: name.clone(), role: *role };
            token(&client.send(&Method::POST, "/v1/users", Some(&user))?, client, printer)
        }
        UsersCommand::Token { name } => {
            let path = format!("/v1/users/{}/token", encoded(name.as_str()));
            token(&client.send(&Method::POST, &path, None::<&()>)?, client, printer)
        }
        UsersCommand::Rm { name } => {
            client.delete(&format!("/v1/users/{}", encoded(name.as_str())), &())?;
            if printer.json { Ok(()) } else { printer.line(format!("user {name} is removed")) }
        }
    }
}

/// Prints a new token alone on standard output, and what to do with it beside.
fn token(answer: &super::client::Answer, client: &Client, printer: &Printer) -> Result<(), CliError> {
    if printer.json {
        return printer.answer(answer);
    }
    let new: NewToken = answer.parse()?;
    printer.line(&new.token)?;
    let server = &client.access().server;
    printer.remark(format!(
        "this is the token of {} ({}), shown this once; they keep it with:\n  hai init --server {server} --token {}",
        new.name,
        new.role.word(),
        new.token
    ));
    Ok(())
}
