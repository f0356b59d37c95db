//! The `hai` command: a door for people, which speaks to a daemon over HTTP and nothing else.
//!
//! See [`main`] for the primary entry point and [`args`] for what can be typed. [`welcome`], [`access`] and
//! [`generate`] are what the daemon shares with it.

pub mod access;
mod admin;
mod again;
pub mod args;
pub mod ask;
pub mod client;
pub mod error;
pub mod generate;
pub mod history;
mod init;
pub mod logs;
pub mod output;
pub mod plan;
pub mod preview;
pub mod replay;
pub mod reproduce;
pub mod simulate;
pub mod submit;
mod tasks;
mod teams;
pub mod wait;
pub mod welcome;
mod when;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use hai_core::model::TaskId;

use self::access::Access;
use self::args::{Command, HaiArgs, RightKeyArgs, RightsCommand, UsersCommand};
use self::client::Client;
use self::error::CliError;
use self::history::LogCommand;
use self::output::{Printer, Tone};
use self::teams::TeamsCommand;
use crate::config::Environment;

/// Does what the command line says; returns the exit status that [`HaiArgs`] documents.
#[must_use]
pub fn main() -> ExitCode {
    let args = HaiArgs::parse();
    match run(&args, &Environment::of_process()) {
        Ok(code) => code,
        // Whoever read the output has seen enough.
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            error.exit_code()
        }
    }
}

/// Says on standard error what went wrong.
fn complain(error: &dyn std::fmt::Display) {
    let style = Tone::Bad.style();
    // Without a standard error there is nobody to tell.
    let _ = writeln!(anstream::stderr().lock(), "{style}error:{style:#} {error}");
}

fn run(args: &HaiArgs, environment: &Environment) -> Result<ExitCode, CliError> {
    let printer = Printer::new(args.json);
    match &args.command {
        Command::Completions { shell } => generate::completions::<HaiArgs>(*shell, &mut std::io::stdout().lock())?,
        Command::Man { dir } => generate::man::<HaiArgs>(dir)
            .map_err(|source| CliError::File { what: format!("man pages in {}", dir.display()), source })?,
        Command::Plan(args) => plan::run(args, &printer)?,
        Command::Replay(args) => return replay::run(args, &printer),
        Command::Simulate(simulated) => {
            let client = || Access::find(&args.access, environment).map(Client::new);
            return simulate::run(simulated, &client, &printer);
        }
        Command::Reproduce(args) => return reproduce::run(args, &printer),
        Command::Init => init::run(&args.access, environment, &printer)?,
        command => {
            let client = Client::new(Access::find(&args.access, environment)?);
            return ask(command, &client, &printer);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The commands that need a daemon.
fn ask(command: &Command, client: &Client, printer: &Printer) -> Result<ExitCode, CliError> {
    match command {
        Command::Submit(args) => return submit::run(args, client, printer),
        Command::Ls(args) => tasks::list(args, client, printer)?,
        Command::Show { task } => tasks::show(TaskId(*task), client, printer)?,
        Command::Logs(args) => logs::run(args, client, printer)?,
        Command::Stop(args) => {
            let verb = args.outcome.map_or_else(|| "stop".to_owned(), |outcome| format!("stop?as={}", outcome.word()));
            tasks::each(&args.tasks.tasks, &verb, "is told to stop", client, printer)?;
        }
        Command::Suspend(args) => tasks::each(&args.tasks, "suspend", "is told to suspend", client, printer)?,
        Command::Resume(args) => tasks::each(&args.tasks, "resume", "may run again", client, printer)?,
        Command::Renew(args) => tasks::each(&args.tasks, "renew", "has its lease renewed", client, printer)?,
        Command::Priority { task, priority, custom_rank } => {
            tasks::reprioritise(TaskId(*task), *priority, *custom_rank, client, printer)?;
        }
        Command::Why { task } => tasks::why(TaskId(*task), client, printer)?,
        Command::Preview(args) => preview::run(args, client, printer)?,
        Command::When { task } => when::when(TaskId(*task), client, printer)?,
        Command::Nodes { devices } => admin::nodes(*devices, client, printer)?,
        Command::Rights { command } => {
            let list = RightsCommand::Ls(RightKeyArgs::default());
            admin::rights(command.as_ref().unwrap_or(&list), client, printer)?;
        }
        Command::Teams { command } => teams::teams(command.as_ref().unwrap_or(&TeamsCommand::Ls), client, printer)?,
        Command::Users { command } => {
            admin::users(command.as_ref().unwrap_or(&UsersCommand::Ls), client, printer)?;
        }
        // `run` has done these, which need no daemon.
        Command::Log { command: LogCommand::Export(args) } => history::export(args, client)?,
        Command::Audit(args) => history::audit(args, client, printer)?,
        Command::Completions { .. }
        | Command::Man { .. }
        | Command::Init
        | Command::Replay(_)
        | Command::Simulate(_)
        | Command::Plan(_)
        | Command::Reproduce(_) => {}
    }
    Ok(ExitCode::SUCCESS)
}
