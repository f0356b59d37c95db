//! `hai-daemon db`: looks after what is stored, without a daemon.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;

use crate::config::flags::{DbCommand, PruneArgs};
use crate::config::{Config, Environment};
use crate::scheduler::wall_clock;
use crate::store::{AnyStore, Gone, History, PostgresStore, SqliteStore, check};

/// Between two steps of pruning a daemon commits.
const PAUSE: Duration = Duration::from_millis(20);

/// Does it; what is wrong is told on standard error, and makes the exit code 1.
#[must_use]
pub fn main(command: DbCommand, config: &Config, environment: &Environment) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("no runtime").and_then(|runtime| {
        runtime.block_on(async {
            let store = open(config, environment).await?;
            match command {
                DbCommand::Check => checked(&store).await,
                DbCommand::Prune(args) => pruned(&store, config, &args).await,
            }
        })
    });
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("hai-daemon: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn open(config: &Config, environment: &Environment) -> Result<AnyStore> {
    if let Some(url) = &config.data.database {
        return Ok(PostgresStore::open(url.secret()).await?.into());
    }
    let path = environment.expand(&config.data.dir).map_err(anyhow::Error::msg)?.join("hai.sqlite");
    if !path.exists() {
        bail!("there is no {}; name the directory with --data", path.display());
    }
    Ok(SqliteStore::open(path).await?.into())
}

async fn checked(store: &AnyStore) -> Result<ExitCode> {
    let found = check(&store.reader()).await?;
    if found.pruned > 0 {
        println!("the first {} records were pruned; a snapshot says what they had made", found.pruned);
    }
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

async fn pruned(store: &AnyStore, config: &Config, args: &PruneArgs) -> Result<ExitCode> {
    let Some(keep) = args.older_than.or(config.data.keep_history) else {
        bail!("how much is to be kept? say it with --older-than, e.g. 90d, or set keep_history in [data]");
    };
    let Some(cut) = History::cut(wall_clock(), keep) else { bail!("{keep} is longer than there are times") };
    let history = store.history();
    let would = history.would_go(cut).await?;
    let gone = if args.dry_run { would } else { prune(&history, cut, &would).await? };
    if args.json {
        println!("{}", json!({"before": cut.to_string(), "dry_run": args.dry_run, "gone": gone}));
        return Ok(ExitCode::SUCCESS);
    }
    let verb = if args.dry_run { "would go" } else { "went" };
    let Gone { tasks, runs, records, events, bytes } = gone;
    println!("of what was over before {cut} {verb}:");
    println!(
        "{tasks} tasks with {runs} runs, {events} events, {records} records of the log; about {}",
        HumanBytes(bytes)
    );
    if matches!(store, AnyStore::Sqlite(_)) && bytes > 0 && !args.dry_run {
        println!("the file stays as large as it is; what is free in it is used again");
    }
    Ok(ExitCode::SUCCESS)
}

async fn prune(history: &History, cut: hai_core::model::Time, would: &Gone) -> Result<Gone> {
    let rows = |gone: &Gone| gone.tasks + gone.events + gone.records;
    // On a terminal only.
    let bar = ProgressBar::new(rows(would)).with_style(
        ProgressStyle::with_template("{bar:30} {percent:>3}% {msg} {elapsed}")
            .context("the progress bar's template")?,
    );
    let done = history
        .prune(cut, PAUSE, |gone| {
            bar.set_position(rows(gone));
            bar.set_message(format!("{} tasks, {} events, {} records", gone.tasks, gone.events, gone.records));
        })
        .await;
    bar.finish_and_clear();
    Ok(done?)
}
