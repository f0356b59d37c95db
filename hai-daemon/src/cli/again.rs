//! The command that does just what `hai preview` has shown.
//!
//! See [`command`] for the primary entry point.

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Parser as _;

use super::args::{Command, HaiArgs};
use super::ask::{When, when};
use super::preview::ChangeCommand;
use crate::api::wire::quoted;

/// Flags that are followed by a point in time.
const TIMES: [&str; 3] = ["--expires", "--deadline", "--not-before"];

/// What was typed, with `--apply` and the stamp before the change, since what stands behind a program is the program's, and
/// with points in time instead of spans from now, which are others later. `None` if no such command would ask for the same.
pub(super) fn command(words: &[String], change: &ChangeCommand, now: DateTime<Utc>, stamp: &str) -> Option<String> {
    let at = words.iter().position(|word| word == "preview")? + 1;
    let program = match change {
        ChangeCommand::Submit(args) => args.command.len(),
        _ => 0,
    };
    let (flags, program) = words.split_at(words.len().checked_sub(program)?);
    let mut typed = vec!["hai".to_owned()];
    typed.extend(flags.get(1..at)?.iter().cloned());
    typed.extend(["--apply".to_owned(), "--stamp".to_owned(), stamp.to_owned()]);
    let mut before = "";
    for word in &flags[at..] {
        typed.push(match word.split_once('=') {
            Some((flag, value)) if TIMES.contains(&flag) => format!("{flag}={}", fixed(value, now)),
            _ if TIMES.contains(&before) => fixed(word, now),
            _ => word.clone(),
        });
        before = word;
    }
    typed.extend(program.iter().cloned());
    let Command::Preview(args) = HaiArgs::try_parse_from(&typed).ok()?.command else { return None };
    let later = now + chrono::TimeDelta::days(1);
    let same = args.change.changes(later).ok()? == change.changes(now).ok()?;
    (same && args.stamp.as_deref() == Some(stamp))
        .then(|| typed.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" "))
}

/// A point in time that stays the same.
fn fixed(text: &str, now: DateTime<Utc>) -> String {
    match when(text) {
        Ok(span @ When::In(_)) => span.from(now).to_rfc3339_opts(SecondsFormat::AutoSi, true),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[String]) -> super::super::preview::PreviewArgs {
        match HaiArgs::try_parse_from(words).expect("it is right").command {
            Command::Preview(args) => args,
            other => panic!("{other:?}"),
        }
    }

    /// The words that a shell makes of a command.
    fn split(command: &str) -> Vec<String> {
        let script = format!("printf '%s\\0' {command}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().expect("a shell");
        let text = String::from_utf8(output.stdout).expect("text");
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[test]
    fn what_is_told_asks_for_the_same_later() {
        let now: DateTime<Utc> = "2026-12-01T09:00:00Z".parse().expect("a time");
        let week = "2026-12-08T09:00:00Z";
        for (typed, part) in [
            (&["preview", "drain", "worker"][..], "preview --apply --stamp 3f drain worker"),
            (&["--server", "http://x:1", "preview", "stop", "7"], "--server http://x:1 preview --apply"),
            (&["preview", "right", "--user", "ada", "--devices", "2", "--expires", "7d"], week),
            (&["preview", "right", "--user", "ada", "--devices", "2", "--expires=7d"], week),
            (
                &["preview", "right", "--devices", "2", "--expires", "2027-01-01T00:00:00+01:00"],
                "2027-01-01T00:00:00+01:00",
            ),
            (&["preview", "submit", "-d", "1", "--", "./train.sh", "--expires", "7d"], "-- ./train.sh --expires 7d"),
            (&["preview", "submit", "--deadline", "7d", "python3", "x.py", "--deadline", "7d"], "x.py --deadline 7d"),
            (&["preview", "submit", "--not-before", "7d", "--", "sh", "-c", "echo 'a b' $HOME"], week),
            (&["preview", "config", "{\"borrow\": true}"], "config '{\"borrow\": true}'"),
        ] {
            let words: Vec<String> = ["hai"].iter().chain(typed).map(|word| (*word).to_owned()).collect();
            let change = parsed(&words).change;
            let told = command(&words, &change, now, "3f").unwrap_or_else(|| panic!("nothing for {typed:?}"));
            assert!(told.contains(part), "{told}");
            let again = parsed(&split(&told));
            assert!(again.apply && again.stamp.as_deref() == Some("3f"), "{told}");
            let later = now + chrono::TimeDelta::hours(3);
            assert_eq!(again.change.changes(later).expect("changes"), change.changes(now).expect("changes"), "{told}");
        }
    }
}
