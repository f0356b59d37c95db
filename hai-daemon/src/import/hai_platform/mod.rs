//! From a database of HAI Platform into ours: users, groups, quotas, and the tasks that wait.
//!
//! See [`main`] for the primary entry point. `source.rs` reads, [`plan`] decides what is to be and knows no database, `apply.rs`
//! writes what is not there yet.

mod apply;
mod people;
mod plan;
mod quota;
mod report;
mod rows;
mod source;
mod tasks;

pub use people::Clock;
pub use plan::{Plan, plan};
pub use report::{Amounts, Remark, Report};
pub use rows::Table;
pub use tasks::Wanted;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueHint};
use hai_core::model::Time;

use crate::config::{Config, DatabaseUrl, Environment, Raw, Setting as _};
use crate::db::Place;

/// What is to be taken over, and how.
#[derive(Clone, Debug, Args)]
#[command(
    long_about = "Reads a database of HAI Platform (HFAiLab/hai-platform), which is left as it is, and takes over into the \
                  database that the configuration names:\n\
                  - users, with new tokens, since hai keeps only hashes; a token of hai's own form stays\n\
                  - groups of users, as teams\n\
                  - quotas of nodes, as rights with their expiry, and limits as caps\n\
                  - unfinished tasks, as tasks that wait in the same order, with HAI_PLATFORM_CHAIN_ID in their environment\n\
                  - hosts and users' numbers, as a piece of configuration\n\n\
                  Tasks that ended are only counted: hai's history follows from its own log. Whatever can not be taken is \
                  told with table, row, column and reason, and stops nothing. No daemon may use our database meanwhile. \
                  What was taken once is not taken again, and what was changed here since stays as it is.\n\n\
                  A password is better not written here, where others can see it: PGPASSWORD and ~/.pgpass count too.",
    after_long_help = "Examples:\n  \
        hai-daemon import hai-platform --from postgres://root@hai-platform/mars_db --dry-run\n  \
        hai-daemon import hai-platform --from postgres://root@hai-platform/mars_db \\\n      \
            --config hai.toml --tokens tokens.txt --output groups.toml\n\n\
        First try it with --dry-run, which changes nothing; then stop the other platform, and do it.\n\n\
        Exit status: 0 done, whatever could not be taken; 1 error, nothing or only users were taken; 2 wrong usage."
)]
pub struct HaiPlatform {
    /// The URL of its Postgres, `postgres://user@host/mars_db`
    #[arg(long, value_name = "URL")]
    from: String,
    /// Only say what would be taken
    #[arg(long)]
    dry_run: bool,
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
    /// Write users' new tokens to this file, which must not exist yet, for its owner's eyes only
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    tokens: Option<PathBuf>,
    /// Write the piece of configuration to this file, which must not exist yet; else it is told with the rest
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    output: Option<PathBuf>,
    /// How far ahead of UTC the times there are, which name no zone: hours and minutes, e.g. +08:00
    #[arg(long, value_name = "OFFSET", default_value = "+00:00", allow_hyphen_values = true, value_parser = offset)]
    utc_offset: i64,
}

/// Seconds east of Greenwich.
fn offset(text: &str) -> Result<i64, String> {
    let wrong = || format!("`{text}` is no offset; write hours and minutes, e.g. +08:00 or -03:30");
    let (sign, rest) = match text.as_bytes().first() {
        Some(b'+') => (1, &text[1..]),
        Some(b'-') => (-1, &text[1..]),
        _ => return Err(wrong()),
    };
    let (hours, minutes) = rest.split_once(':').ok_or_else(wrong)?;
    let part = |text: &str, most: i64| -> Option<i64> {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|value| digits && *value <= most)
    };
    let (hours, minutes) = part(hours, 14).zip(part(minutes, 59)).ok_or_else(wrong)?;
    Ok(sign * (hours * 3600 + minutes * 60))
}

/// Runs the command.
#[must_use]
pub fn main(asked: &HaiPlatform, config: &Config, environment: &Environment) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.context("no runtime").and_then(|runtime| runtime.block_on(import(asked, config, environment)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hai-daemon import: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn import(asked: &HaiPlatform, config: &Config, environment: &Environment) -> Result<()> {
    let url = DatabaseUrl::read(Raw::Text(&asked.from)).map_err(anyhow::Error::msg).context("--from")?;
    if let Some(file) = [&asked.tokens, &asked.output].into_iter().flatten().find(|file| file.exists()) {
        bail!("there is a file {} already; name another one", file.display());
    }
    let place = Place::of(config, environment)?;
    let read = source::read(&url).await?;
    let clock = Clock { east: asked.utc_offset, now: Time::from(chrono::Utc::now()) };
    let (mut plan, mut report) = plan(read.rows, clock);
    report.not_read = read.not_read;
    report.dry_run = asked.dry_run;
    let engine = config.engine();
    let there = place.look().await?.is_some_and(|found| !found.filled.is_empty());
    let without = "users get new tokens; name a file for them with --tokens. Nothing was changed";
    if asked.dry_run {
        let store = if there { Some(place.opened().await?) } else { None };
        apply::compare(&mut plan, &mut report, store.as_ref(), &engine).await?;
        if plan.users.values().any(Option::is_none) {
            let file =
                asked.tokens.as_ref().map_or("the file that --tokens names".into(), |file| file.display().to_string());
            report.tokens = Some(file);
        }
    } else {
        let no_file = asked.tokens.is_none();
        if no_file && !there && plan.users.values().any(Option::is_none) {
            bail!(without);
        }
        let _lock = place.hold_to_write().await?;
        let store = place.opened().await?;
        let listing = apply::compare(&mut plan, &mut report, Some(&store), &engine).await?;
        if no_file && plan.users.values().any(Option::is_none) {
            bail!(without);
        }
        apply::apply(plan, &mut report, store, listing, engine, asked.tokens.as_deref()).await?;
    }
    if let Some(file) = asked.output.as_ref().filter(|_| !asked.dry_run) {
        super::write(file, &report.configuration)
            .with_context(|| format!("the configuration can not be written to {}", file.display()))?;
    }
    tell(asked, &report)
}

fn tell(asked: &HaiPlatform, report: &Report) -> Result<()> {
    if asked.json {
        println!("{}", serde_json::to_string_pretty(report)?);
        return Ok(());
    }
    print!("{}", report.text());
    match &asked.output {
        Some(file) if !asked.dry_run => println!("\nThe piece of configuration is in {}.", file.display()),
        _ if report.configuration.is_empty() => {}
        _ => print!("\n{}", report.configuration),
    }
    Ok(())
}

#[cfg(test)]
mod tests;
