//! `hai preview` and `hai submit --dry-run`: what something would do, before it is done.

use std::io::{BufRead as _, IsTerminal as _};

use chrono::{DateTime, SubsecRound as _, Utc};
use clap::{Args, Subcommand};
use hai_core::model::{NodeName, Priority, TaskId};
use ureq::http::Method;

use super::admin;
use super::again;
use super::args::{RightKeyArgs, task_number};
use super::ask::{When, when};
use super::client::Client;
use super::error::CliError;
use super::output::{Printer, Table, Tone, clean, clock, humane, length};
use super::submit::{SubmitArgs, rank};
use crate::api::wire::{
    ApplyRequest, Limit, PlannedChange, PlannedHeld, PlannedKey, PlannedNodes, PlannedPriority, PlannedStart,
    PlannedSuspend, PlannedTask, Preview, PreviewRequest, Right, SubmitRequest,
};

/// What to look at, and whether to do it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    hai preview stop 7                                  who takes its place\n  \
    hai preview priority 7 HIGH                         whom that would suspend, and what they lose\n  \
    hai preview submit -d 4 --priority HIGH -- ./train.sh\n  \
    hai preview right --user ada --priority NORMAL --devices 2\n  \
    hai preview drain worker                            where its tasks go\n  \
    hai preview lose worker        hai preview add worker --count 2\n  \
    hai preview config '{\"borrow\": true}'\n  \
    hai preview --apply drain worker                    shows it, asks, and does just that\n  \
    hai preview --apply --stamp 3f… drain worker        does what was shown with this stamp, without asking\n\n\
    What is shown is worked out on a copy, as if everybody did at once what they are told. --apply refuses if it would do \
    something else by the time that you say yes.")]
pub struct PreviewArgs {
    /// Do it, if it still does what is shown
    #[arg(long)]
    pub apply: bool,
    /// Do not ask
    #[arg(long, short, requires = "apply")]
    pub yes: bool,
    /// Do it only if it does what was shown before with this stamp, and do not ask
    #[arg(long, requires = "apply", conflicts_with = "yes")]
    pub stamp: Option<String>,
    /// What to look at.
    #[command(subcommand)]
    pub change: ChangeCommand,
}

/// Something that could be done.
#[derive(Clone, Debug, Subcommand)]
pub enum ChangeCommand {
    /// Submit a task
    Submit(Box<SubmitArgs>),
    /// End tasks for good
    Stop {
        /// The tasks' numbers
        #[arg(required = true, value_name = "TASK", value_parser = task_number)]
        tasks: Vec<u64>,
    },
    /// Suspend tasks until they are resumed
    Suspend {
        /// The tasks' numbers
        #[arg(required = true, value_name = "TASK", value_parser = task_number)]
        tasks: Vec<u64>,
    },
    /// Let suspended tasks run again
    Resume {
        /// The tasks' numbers
        #[arg(required = true, value_name = "TASK", value_parser = task_number)]
        tasks: Vec<u64>,
    },
    /// Change how urgent a task is
    Priority {
        /// The task's number
        #[arg(value_parser = task_number)]
        task: u64,
        /// Its new priority
        priority: Priority,
        /// Its place in the queue; a smaller one goes first (operators)
        #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
        custom_rank: Option<f64>,
    },
    /// Give or change a right (operators)
    Right {
        /// Which.
        #[command(flatten)]
        key: RightKeyArgs,
        /// Nodes at once, for tasks that take whole nodes: a number or `unlimited`
        #[arg(long, value_name = "LIMIT", default_value = "0")]
        nodes: Limit,
        /// Devices at once, for tasks that take single devices: a number, e.g. 2.5, or `unlimited`
        #[arg(long, value_name = "LIMIT", default_value = "0")]
        devices: Limit,
        /// From when on it counts no more: a time, or how long from now
        #[arg(long, value_name = "WHEN", value_parser = when)]
        expires: Option<When>,
    },
    /// Take a right away (operators)
    RmRight {
        /// Which.
        #[command(flatten)]
        key: RightKeyArgs,
    },
    /// Give a node no new work, and let what runs there stay (operators)
    Cordon {
        /// The node
        node: NodeName,
    },
    /// Give a node no new work, and let what runs there leave (operators)
    Drain {
        /// The node
        node: NodeName,
    },
    /// Give a node that was cordoned or drained work again (operators)
    Uncordon {
        /// The node
        node: NodeName,
    },
    /// The same as uncordon (operators)
    Undrain {
        /// The node
        node: NodeName,
    },
    /// Lose a node; this can only be looked at (operators)
    Lose {
        /// The node
        node: NodeName,
    },
    /// Have more nodes like one that there is; this can only be looked at (operators)
    Add {
        /// The node that they are like
        like: NodeName,
        /// How many
        #[arg(long, default_value_t = 1)]
        count: u32,
    },
    /// Decide by other settings, until the server starts again: a JSON merge patch of what `hai preview config '{}' --json`
    /// is based on, `GET /v1/engine/config` (operators)
    Config {
        /// The settings that change, e.g. '{"borrow": true, "timing": {"slice": 3600000}}'; times are in milliseconds
        patch: String,
    },
}

impl ChangeCommand {
    /// What is to be done. Times that are so long from now count from `now`.
    pub(super) fn changes(&self, now: DateTime<Utc>) -> Result<Vec<PlannedChange>, CliError> {
        let each = |tasks: &[u64], change: fn(TaskId) -> PlannedChange| {
            tasks.iter().map(|task| change(TaskId(*task))).collect::<Vec<_>>()
        };
        Ok(match self {
            ChangeCommand::Submit(args) => vec![PlannedChange::Submit(Box::new(args.request_at(now)?))],
            ChangeCommand::Stop { tasks } => each(tasks, PlannedChange::Stop),
            ChangeCommand::Suspend { tasks } => each(tasks, PlannedChange::Suspend),
            ChangeCommand::Resume { tasks } => each(tasks, PlannedChange::Resume),
            ChangeCommand::Priority { task, priority, custom_rank } => {
                let custom_rank = rank(*custom_rank)?;
                let planned = PlannedPriority { task: TaskId(*task), priority: *priority, custom_rank };
                vec![PlannedChange::Priority(planned)]
            }
            ChangeCommand::Right { key, nodes, devices, expires } => {
                let PlannedKey { user, group, priority, team, model, cap } = planned_key(key);
                let expires = expires.map(|when| when.from(now));
                let right =
                    Right { user, group, priority, team, model, cap, nodes: *nodes, devices: *devices, expires };
                vec![PlannedChange::Right(right)]
            }
            ChangeCommand::RmRight { key } => vec![PlannedChange::RemoveRight(planned_key(key))],
            ChangeCommand::Cordon { node } => vec![PlannedChange::Cordon(node.clone())],
            ChangeCommand::Uncordon { node } => vec![PlannedChange::Uncordon(node.clone())],
            ChangeCommand::Drain { node } => vec![PlannedChange::Drain(node.clone())],
            ChangeCommand::Undrain { node } => vec![PlannedChange::Undrain(node.clone())],
            ChangeCommand::Lose { node } => vec![PlannedChange::LoseNode(node.clone())],
            ChangeCommand::Add { like, count } => {
                vec![PlannedChange::AddNodes(PlannedNodes { like: like.clone(), count: *count })]
            }
            ChangeCommand::Config { patch } => {
                let patch = serde_json::from_str(patch)
                    .map_err(|error| CliError::Usage(format!("the settings must be JSON: {error}")))?;
                vec![PlannedChange::Configure(patch)]
            }
        })
    }
}

fn planned_key(args: &RightKeyArgs) -> PlannedKey {
    let key = admin::right_key(args);
    PlannedKey {
        user: key.user,
        group: key.group,
        priority: key.priority,
        team: key.team,
        model: key.model,
        cap: key.cap,
    }
}

/// `hai preview`
///
/// # Errors
/// [`CliError`].
pub(super) fn run(args: &PreviewArgs, client: &Client, printer: &Printer) -> Result<(), CliError> {
    // Whole seconds, since people read them when they are told how to do it.
    let now = Utc::now().trunc_subsecs(0);
    let changes = args.change.changes(now)?;
    let stamp = match &args.stamp {
        Some(stamp) => stamp.clone(),
        None => {
            let request = PreviewRequest { changes: changes.clone() };
            let answer = client.send(&Method::POST, "/v1/preview", Some(&request))?;
            let preview: Preview = answer.parse()?;
            if printer.json && !args.apply {
                return printer.answer(&answer);
            }
            if !printer.json {
                show(&preview, printer)?;
            }
            if !args.apply {
                if preview.can_be_applied {
                    let words: Option<Vec<String>> = std::env::args_os().map(|word| word.into_string().ok()).collect();
                    let command = words.and_then(|words| again::command(&words, &args.change, now, &preview.stamp));
                    printer.remark(match command {
                        Some(command) => format!("nothing was changed; to do just that: {command}"),
                        None => {
                            "nothing was changed; `hai preview --apply …` shows it again, asks, and does it".to_owned()
                        }
                    });
                }
                return Ok(());
            }
            if !args.yes && !agreed(printer)? {
                printer.remark("nothing was changed");
                return Ok(());
            }
            preview.stamp
        }
    };
    let answer = client.send(&Method::POST, "/v1/preview/apply", Some(&ApplyRequest { changes, stamp }))?;
    if printer.json {
        return printer.answer(&answer);
    }
    let tasks: Vec<Option<u64>> = answer.parse()?;
    for task in tasks.into_iter().flatten() {
        printer.line(format!("task {task} is submitted"))?;
    }
    printer.remark("done, as shown");
    Ok(())
}

/// Asks, if somebody is there to answer.
fn agreed(printer: &Printer) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::Usage("nobody can be asked here; add --yes, or --stamp with what was shown".to_owned()));
    }
    printer.remark("do it? [y/N]");
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(|source| CliError::File { what: "your answer".to_owned(), source })?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// `--dry-run` of what changes something at once.
///
/// # Errors
/// [`CliError`].
pub(super) fn dry_change(change: PlannedChange, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let request = PreviewRequest { changes: vec![change] };
    let answer = client.send(&Method::POST, "/v1/preview", Some(&request))?;
    if printer.json {
        return printer.answer(&answer);
    }
    show(&answer.parse()?, printer)?;
    printer.remark("nothing was changed");
    Ok(())
}

/// `hai submit --dry-run`
///
/// # Errors
/// [`CliError`].
pub(super) fn dry_run(request: &SubmitRequest, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let answer = client.send(&Method::POST, "/v1/tasks/try", Some(request))?;
    if printer.json {
        return printer.answer(&answer);
    }
    let preview: Preview = answer.parse()?;
    show(&preview, printer)?;
    printer.remark("nothing was submitted");
    Ok(())
}

fn show(preview: &Preview, printer: &Printer) -> Result<(), CliError> {
    if !preview.at_rest {
        printer.line("this is only how it begins: more was still being decided when the looking ended")?;
    }
    for outlook in &preview.outlooks {
        let tone = match outlook.outlook.as_str() {
            "starts" | "stays" => Tone::Good,
            "waits" => Tone::Waiting,
            _ => Tone::Bad,
        };
        let task = printer.toned(&format!("task {}", outlook.task), tone);
        printer.line(format!("{task}: {}", humane(&clean(&outlook.sentence), Utc::now())))?;
    }
    let told: Vec<TaskId> = preview.outlooks.iter().map(|outlook| outlook.task).collect();
    let others = |start: &&PlannedStart| start.who.task.is_none_or(|task| !told.contains(&task));
    let mut table = Table::new(&["TASK", "USER", "WHAT HAPPENS", "WHERE, WHY", "LOSES AT MOST"]);
    let mut any = false;
    let mut row = |who: &PlannedTask, what: &str, tone: Tone, how: String, loses: String| {
        any = true;
        let task = who.task.map_or_else(|| "somebody's".to_owned(), |task| task.to_string());
        let user = who.user.as_ref().map(ToString::to_string).unwrap_or_default();
        table.row([
            (task, Tone::Strong),
            (user, Tone::Plain),
            (what.to_owned(), tone),
            (how, Tone::Plain),
            (loses, Tone::Plain),
        ]);
    };
    for suspend in &preview.suspends {
        row(&suspend.who, "is suspended", Tone::Bad, humane(&clean(&suspend.reason), Utc::now()), loss(suspend));
    }
    for stop in &preview.stops {
        row(stop, "ends", Tone::Bad, String::new(), String::new());
    }
    for start in preview.starts.iter().filter(others) {
        row(&start.who, "starts", Tone::Good, place(start), String::new());
    }
    for start in &preview.starts_no_more {
        let elsewhere = preview.starts.iter().any(|other| other.who.task == start.who.task && other.who.task.is_some());
        if !elsewhere {
            row(&start.who, "does not start", Tone::Waiting, place(start), String::new());
        }
    }
    for suspend in &preview.suspends_no_more {
        row(&suspend.who, "is not suspended", Tone::Good, String::new(), String::new());
    }
    for notice in &preview.notices {
        let until = notice.until.map_or_else(|| "not any more".to_owned(), |until| format!("by {}", clock(until)));
        row(&notice.who, "has to leave", Tone::Waiting, until, String::new());
    }
    if any {
        table.print(printer)?;
    } else if preview.outlooks.is_empty() {
        printer.line("it changes nothing for anybody's tasks")?;
    }
    let changed: Vec<_> = preview.shares.iter().filter(|share| share.before != share.after).collect();
    if !changed.is_empty() {
        printer.line("")?;
        let mut table = Table::new(&["USER", "DEVICES NOW", "DEVICES THEN"]);
        for share in changed {
            table.row([
                (share.user.to_string(), Tone::Strong),
                (held(share.before), Tone::Plain),
                (held(share.after), Tone::Plain),
            ]);
        }
        table.print(printer)?;
    }
    Ok(())
}

fn place(start: &PlannedStart) -> String {
    let mut nodes: Vec<&str> = start.nodes.iter().map(NodeName::as_str).collect();
    nodes.dedup();
    let borrowed = if start.hold == "right" { String::new() } else { format!(", {}", start.hold) };
    format!("{} × gpu on {}{borrowed}", start.devices, nodes.join(", "))
}

fn loss(suspend: &PlannedSuspend) -> String {
    #[expect(clippy::cast_possible_truncation, reason = "a float that is too large becomes the largest number")]
    let seconds = suspend.lost_device_seconds.round() as i64;
    format!("{} of one gpu", length(seconds))
}

fn held(held: PlannedHeld) -> String {
    let mut parts = vec![held.right.to_string()];
    if !held.borrowed.is_zero() {
        parts.push(format!("{} borrowed", held.borrowed));
    }
    if !held.background.is_zero() {
        parts.push(format!("{} in the background", held.background));
    }
    parts.join(" + ")
}
