//! `hai log` and `hai audit`: the event log as a file, and what it adds up to.

use std::io::{self, BufRead as _, BufReader, Write as _};

use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, Subcommand};
use hai_core::model::{Span, UserName};

use super::client::Client;
use super::error::CliError;
use super::output::{Printer, Table, Tone, clean, clock};
use crate::api::wire::{Audit, AuditEntry, AuditQuery, AuditSums, ExportQuery};

/// What `hai log` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum LogCommand {
    /// Write the event log to standard output: every fact and every decision, for `hai replay` (operators)
    #[command(after_help = "Examples:\n  \
        hai log export > hai.log                              all of it\n  \
        hai log export --from 7d > week.log                   the last seven days, with the state of then\n  \
        hai log export --from 2026-12-01T00:00:00Z --to 2026-12-02T00:00:00Z --pseudonyms > day.log\n\n\
        One JSON object a line. With --pseudonyms nobody is named, and it is decided the same. Commands and \
        environments are never in it.")]
    Export(ExportArgs),
}

/// Which part of the log.
#[derive(Clone, Debug, Default, Args)]
pub struct ExportArgs {
    /// From when on: a time (2026-12-01T09:00:00Z), or how long ago (7d)
    #[arg(long, value_name = "WHEN", value_parser = past)]
    pub from: Option<Past>,
    /// Until when
    #[arg(long, value_name = "WHEN", value_parser = past)]
    pub to: Option<Past>,
    /// Put other names and texts in the place of all that are in it
    #[arg(long)]
    pub pseudonyms: bool,
}

/// What to add up.
#[derive(Clone, Debug, Default, Args)]
#[command(after_help = "Examples:\n  \
    hai audit --since 7d                  what everybody used in the last week (users: what you used)\n  \
    hai audit --user ada --since 30d --until 7d\n  \
    hai audit --since 1d --entries        every start, suspension, refusal and change, with who and why\n\n\
    Numbers are device-hours. DUE is what a fair division of the devices among those who wanted some would have given; \
    GOT is what was held. LOST is work since the last checkpoint when a run was suspended, lost or failed; RESTARTS is \
    what starting again took.")]
pub struct AuditArgs {
    /// Only this user
    #[arg(long, short)]
    pub user: Option<UserName>,
    /// From when on: a time (2026-12-01T09:00:00Z), or how long ago (7d)
    #[arg(long, value_name = "WHEN", value_parser = past)]
    pub since: Option<Past>,
    /// Until when
    #[arg(long, value_name = "WHEN", value_parser = past)]
    pub until: Option<Past>,
    /// List what was done and decided, instead of adding it up
    #[arg(long)]
    pub entries: bool,
}

/// A point in time that is over, as it is typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Past {
    /// Then.
    At(DateTime<Utc>),
    /// So long ago.
    Ago(Span),
}

impl Past {
    /// The point in time that it names.
    #[must_use]
    pub fn from(self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self {
            Past::At(time) => time,
            Past::Ago(span) => {
                let delta = i64::try_from(span.as_ms()).ok().and_then(TimeDelta::try_milliseconds);
                delta.and_then(|delta| now.checked_sub_signed(delta)).unwrap_or(DateTime::<Utc>::MIN_UTC)
            }
        }
    }
}

/// `2026-12-01T09:00:00Z`, or `12h` ago.
fn past(text: &str) -> Result<Past, String> {
    if let Ok(span) = text.parse() {
        return Ok(Past::Ago(span));
    }
    DateTime::parse_from_rfc3339(text).map(|time| Past::At(time.to_utc())).map_err(|_| {
        "write a time with its zone, e.g. 2026-12-01T09:00:00Z, or how long ago, e.g. 12h or 7d".to_owned()
    })
}

/// `hai log export`
///
/// # Errors
/// [`CliError`].
pub(super) fn export(args: &ExportArgs, client: &Client) -> Result<(), CliError> {
    let now = Utc::now();
    let at = |past: Option<Past>| past.map(|past| past.from(now));
    let query = ExportQuery { from: at(args.from), to: at(args.to), pseudonyms: args.pseudonyms };
    let mut answer = client.stream("/v1/log", &query)?;
    copy(&mut answer, client)
}

/// Copies the answer as it comes; one that breaks off is an error, not a short log.
fn copy(answer: &mut dyn io::Read, client: &Client) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let mut piece = vec![0; 64 << 10];
    loop {
        match answer.read(&mut piece) {
            Ok(0) => return Ok(out.flush()?),
            Ok(count) => out.write_all(&piece[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(client.lost(&error)),
        }
    }
}

/// `hai audit`
///
/// # Errors
/// [`CliError`].
pub(super) fn audit(args: &AuditArgs, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let now = Utc::now();
    let at = |past: Option<Past>| past.map(|past| past.from(now));
    let query = AuditQuery { user: args.user.clone(), since: at(args.since), until: at(args.until) };
    if args.entries {
        return entries(&query, client, printer);
    }
    let answer = client.get("/v1/audit", &query)?;
    if printer.json {
        return printer.answer(&answer);
    }
    let audit: Audit = answer.parse()?;
    let head = ["USER", "RIGHT", "BORROWED", "BACKGROUND", "LOST", "RESTARTS", "STARTS", "SUSPENDED", "DUE", "GOT"];
    let mut table = Table::new(&head);
    for row in &audit.users {
        table.row(cells(row.user.as_str(), &row.sums).map(|text| (text, Tone::Plain)));
    }
    if let Some(total) = audit.total.filter(|_| audit.users.len() > 1) {
        table.row(cells("all", &total).map(|text| (text, Tone::Strong)));
    }
    printer.remark(format!("device-hours from {} to {}", clock(audit.since), clock(audit.until)));
    table.print(printer)
}

fn cells(user: &str, sums: &AuditSums) -> [String; 10] {
    [
        user.to_owned(),
        hours(sums.right_device_ms),
        hours(sums.borrowed_device_ms),
        hours(sums.background_device_ms),
        hours(sums.lost_device_ms),
        hours(sums.restarting_device_ms),
        sums.starts.to_string(),
        sums.suspensions.to_string(),
        hours(sums.share_due_device_ms),
        hours(sums.share_got_device_ms),
    ]
}

/// Device-hours with two decimals.
pub(super) fn hours(device_ms: u64) -> String {
    let hundredths = (device_ms.saturating_add(18_000)) / 36_000;
    format!("{}.{:02}", hundredths / 100, hundredths % 100)
}

fn entries(query: &AuditQuery, client: &Client, printer: &Printer) -> Result<(), CliError> {
    let answer = client.stream("/v1/audit/entries", query)?;
    for line in BufReader::new(answer).lines() {
        let line = line.map_err(|error| client.lost(&error))?;
        if printer.json {
            printer.line(&line)?;
            continue;
        }
        // A line of another version is shown as it came.
        let said = serde_json::from_str::<AuditEntry>(&line).map_or(line, |entry| entry.text);
        printer.line(clean(&said))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_that_is_over_is_read_as_such() {
        let now = DateTime::parse_from_rfc3339("2026-12-08T00:00:00Z").expect("a time").to_utc();
        for text in ["7d", "168h", "2026-12-01T00:00:00Z", "2026-12-01T01:00:00+01:00"] {
            assert_eq!(past(text).expect("a time").from(now).to_rfc3339(), "2026-12-01T00:00:00+00:00", "{text}");
        }
        assert!(past("yesterday").is_err());
    }

    #[test]
    fn device_hours_are_rounded() {
        assert_eq!([0, 17_999, 18_000, 3_600_000, 5_400_000].map(hours), ["0.00", "0.00", "0.01", "1.00", "1.50"]);
    }
}
