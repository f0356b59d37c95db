//! `hai-daemon db`: looks after what is stored, without a daemon.
//!
//! See [`main`] for the primary entry point.

mod backup;
mod check;
mod copy;
mod place;
mod progress;
mod prune;
mod restore;

pub(crate) use place::Place;

use std::process::ExitCode;

use anyhow::{Context as _, Result};

use crate::config::flags::DbCommand;
use crate::config::{Config, Environment};

/// Does it; what is wrong is told on standard error, and makes the exit code 1.
#[must_use]
pub fn main(command: &DbCommand, config: &Config, environment: &Environment) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("no runtime").and_then(|runtime| runtime.block_on(run(command, config, environment)));
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hai-daemon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: &DbCommand, config: &Config, environment: &Environment) -> Result<ExitCode> {
    let own = || Place::of(config, environment);
    match command {
        DbCommand::Check => check::check(&own()?).await,
        DbCommand::Backup { file } => backup::backup(&own()?, file).await,
        DbCommand::Restore { file, replace } => restore::restore(&own()?, file, *replace).await,
        DbCommand::Prune(args) => prune::prune(&own()?, config, args).await,
        DbCommand::Copy { from, to, replace, dry_run } => {
            copy::copy(&Place::parse(from)?, &Place::parse(to)?, *replace, *dry_run).await
        }
    }
}
