//! `hai-daemon db`: looks after what is stored, without a daemon.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::config::flags::DbCommand;
use crate::config::{Config, Environment};
use crate::store::{PostgresStore, SqliteStore, check};

/// Does it; what is wrong is told on standard error, and makes the exit code 1.
#[must_use]
pub fn main(command: DbCommand, config: &Config, environment: &Environment) -> ExitCode {
    let DbCommand::Check = command;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("no runtime").and_then(|runtime| runtime.block_on(checked(config, environment)));
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hai-daemon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn checked(config: &Config, environment: &Environment) -> Result<ExitCode> {
    let reader = match &config.data.database {
        Some(url) => PostgresStore::open(url.secret()).await?.reader(),
        None => {
            let path = environment.expand(&config.data.dir).map_err(anyhow::Error::msg)?.join("hai.sqlite");
            if !path.exists() {
                bail!("there is no {}; name the directory with --data", path.display());
            }
            SqliteStore::open(path).await?.reader()
        }
    };
    let found = check(&reader).await?;
    println!("{} records were followed; they made {} tasks and {} runs", found.records, found.tasks, found.runs);
    for problem in &found.problems {
        eprintln!("{problem}");
    }
    if found.problems.is_empty() {
        println!("all that is stored is as the log says");
        return Ok(ExitCode::SUCCESS);
    }
    if found.moved {
        eprintln!("a daemon wrote meanwhile, which may be all that there is to it; stop it and check again");
    }
    Ok(ExitCode::FAILURE)
}
