//! `hai-daemon db prune`: takes away what is over for long.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use hai_core::model::Time;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use serde_json::json;

use super::Place;
use crate::config::Config;
use crate::config::flags::PruneArgs;
use crate::scheduler::wall_clock;
use crate::store::{Gone, History};

/// Between two steps of pruning a daemon commits.
const PAUSE: Duration = Duration::from_millis(20);

pub(super) async fn prune(place: &Place, config: &Config, args: &PruneArgs) -> Result<ExitCode> {
    let Some(keep) = args.older_than.or(config.data.keep_history) else {
        bail!("how much is to be kept? say it with --older-than, e.g. 90d, or set keep_history in [data]");
    };
    let Some(cut) = History::cut(wall_clock(), keep) else { bail!("{keep} is longer than there are times") };
    let history = place.open_there().await?.history();
    let would = history.would_go(cut).await?;
    let gone = if args.dry_run { would } else { take_away(&history, cut, &would).await? };
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
    if matches!(place, Place::File(_)) && bytes > 0 && !args.dry_run {
        println!("the file stays as large as it is; what is free in it is used again");
    }
    Ok(ExitCode::SUCCESS)
}

async fn take_away(history: &History, cut: Time, would: &Gone) -> Result<Gone> {
    let rows = |gone: &Gone| gone.tasks + gone.events + gone.records;
    let bar = if std::io::stderr().is_terminal() { ProgressBar::new(rows(would)) } else { ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{bar:30} {percent:>3}% {msg} {elapsed}");
    let bar = bar.with_style(style.context("the progress bar's template")?);
    let done = history
        .prune(cut, PAUSE, |gone| {
            bar.set_position(rows(gone));
            bar.set_message(format!("{} tasks, {} events, {} records", gone.tasks, gone.events, gone.records));
        })
        .await;
    bar.finish_and_clear();
    Ok(done?)
}
