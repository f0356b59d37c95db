//! Prints for people on a terminal (tables, colours), for programs elsewhere (tabs), and JSON when asked.

use std::io::{self, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use chrono::{DateTime, Local, Utc};
use comfy_table::{CellAlignment, ContentArrangement, presets};

use super::client::Answer;
use super::error::CliError;
pub use crate::api::wire::memory;

/// How to print.
#[derive(Clone, Copy, Debug)]
pub struct Printer {
    /// JSON instead of text.
    pub json: bool,
    /// Standard output is a terminal.
    pub terminal: bool,
    /// Colours may be used.
    pub colours: bool,
}

/// What a text is about, which gives its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing special.
    Plain,
    /// All is well.
    Good,
    /// It works right now.
    Busy,
    /// It waits for something.
    Waiting,
    /// Something is wrong.
    Bad,
    /// Less important than what is around it.
    Dim,
    /// More important than what is around it.
    Strong,
}

impl Tone {
    pub(super) const fn style(self) -> Style {
        let colour = match self {
            Tone::Plain => return Style::new(),
            Tone::Dim => return Style::new().dimmed(),
            Tone::Strong => return Style::new().bold(),
            Tone::Good => AnsiColor::Green,
            Tone::Busy => AnsiColor::Cyan,
            Tone::Waiting => AnsiColor::Yellow,
            Tone::Bad => AnsiColor::Red,
        };
        Style::new().fg_color(Some(anstyle::Color::Ansi(colour)))
    }

    const fn colour(self) -> Option<comfy_table::Color> {
        match self {
            Tone::Plain | Tone::Strong => None,
            Tone::Dim => Some(comfy_table::Color::DarkGrey),
            Tone::Good => Some(comfy_table::Color::DarkGreen),
            Tone::Busy => Some(comfy_table::Color::DarkCyan),
            Tone::Waiting => Some(comfy_table::Color::DarkYellow),
            Tone::Bad => Some(comfy_table::Color::DarkRed),
        }
    }
}

impl Printer {
    /// As standard output and the environment want it.
    #[must_use]
    pub fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Printer { json, terminal, colours: terminal && !set("NO_COLOR") && !dumb }
    }

    /// How many characters fit into a line, if it is a terminal's.
    #[must_use]
    pub fn width(&self) -> Option<usize> {
        if self.terminal { comfy_table::Table::new().width().map(usize::from) } else { None }
    }

    /// One line of text.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub fn line(&self, text: impl std::fmt::Display) -> Result<(), CliError> {
        Ok(writeln!(io::stdout().lock(), "{text}")?)
    }

    /// What the daemon answered, as JSON.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub fn answer(&self, answer: &Answer) -> Result<(), CliError> {
        self.line(answer.body.trim_end())
    }

    /// A side remark for people who watch; says nothing where programs read.
    pub fn remark(&self, text: impl std::fmt::Display) {
        if !self.json && io::stderr().is_terminal() {
            let style = if self.colours { Tone::Dim.style() } else { Style::new() };
            // A remark that can not be printed is no loss.
            let _ = writeln!(io::stderr().lock(), "{style}{text}{style:#}");
        }
    }

    /// Something that people should know before they trust what is printed; on standard error, whoever reads.
    pub fn warn(&self, text: impl std::fmt::Display) {
        let style = if self.colours { Tone::Waiting.style() } else { Style::new() };
        // A warning that can not be printed is no loss of what was asked for.
        let _ = writeln!(io::stderr().lock(), "{style}note:{style:#} {text}");
    }

    /// The text in its colour.
    #[must_use]
    pub fn toned(&self, text: &str, tone: Tone) -> String {
        if self.colours {
            let style = tone.style();
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }
}

/// Rows under a heading.
#[derive(Debug)]
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<(String, Tone)>>,
}

impl Table {
    /// A table without rows.
    #[must_use]
    pub fn new(head: &[&'static str]) -> Self {
        Self::named(head.iter().map(ToString::to_string).collect())
    }

    /// The same with names that are worked out.
    #[must_use]
    pub fn named(head: Vec<String>) -> Self {
        Table { head: head.iter().map(|text| clean(text)).collect(), rows: Vec::new() }
    }

    /// How many columns it has.
    #[must_use]
    pub fn width(&self) -> usize {
        self.head.len()
    }

    /// Adds a row with as many cells as the heading has.
    pub fn row(&mut self, cells: impl IntoIterator<Item = (String, Tone)>) {
        self.rows.push(cells.into_iter().map(|(text, tone)| (clean(&text), tone)).collect());
    }

    /// Prints it: aligned on a terminal, with tabs elsewhere.
    ///
    /// # Errors
    /// [`CliError::Output`].
    pub fn print(&self, printer: &Printer) -> Result<(), CliError> {
        let mut out = io::stdout().lock();
        if !printer.terminal {
            writeln!(out, "{}", self.head.join("\t"))?;
            for row in &self.rows {
                let cells: Vec<&str> = row.iter().map(|(text, _)| text.as_str()).collect();
                writeln!(out, "{}", cells.join("\t"))?;
            }
            return Ok(());
        }
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        if printer.colours {
            table.enforce_styling();
        }
        let head = self.head.iter().map(|text| {
            let cell = comfy_table::Cell::new(text);
            if printer.colours { cell.add_attribute(comfy_table::Attribute::Bold) } else { cell }
        });
        table.set_header(head);
        for row in &self.rows {
            table.add_row(row.iter().map(|(text, tone)| {
                let number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
                let cell = comfy_table::Cell::new(text);
                let cell = if number { cell.set_alignment(CellAlignment::Right) } else { cell };
                match tone.colour().filter(|_| printer.colours) {
                    Some(colour) => cell.fg(colour),
                    None => cell,
                }
            }));
        }
        writeln!(out, "{}", table.trim_fmt())?;
        Ok(())
    }
}

/// The text without what would move the cursor or split a line: much of it was written by other people.
#[must_use]
pub fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// How long ago, or how long it took, in one or two units: `3 s`, `5 min`, `2 h 10 min`, `4 d`.
#[must_use]
pub fn length(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds} s"),
        60..600 if seconds % 60 > 0 => format!("{minutes} min {} s", seconds % 60),
        60..3600 => format!("{minutes} min"),
        3600..86_400 if minutes % 60 > 0 => format!("{hours} h {} min", minutes % 60),
        3600..86_400 => format!("{hours} h"),
        _ if hours % 24 > 0 && days < 10 => format!("{days} d {} h", hours % 24),
        _ => format!("{days} d"),
    }
}

/// `3 s ago`
#[must_use]
pub fn ago(then: DateTime<Utc>) -> String {
    format!("{} ago", length((Utc::now() - then).num_seconds()))
}

/// The sentence with its times (`at …`, `by …`, as RFC 3339) told from where the reader stands.
#[must_use]
pub fn humane(sentence: &str, now: DateTime<Utc>) -> String {
    let mut out = String::new();
    let mut rest = sentence;
    while let Some((before, tail)) = rest.split_once("20") {
        // Times are in UTC, and end with a Z.
        let text = tail.split_once('Z').map(|(text, _)| format!("20{text}Z"));
        let time = text.as_ref().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
        let Some((text, time)) = text.zip(time) else {
            out.push_str(before);
            out.push_str("20");
            rest = tail;
            continue;
        };
        let left = (time.to_utc() - now).num_seconds();
        let (kept, told) = match (before.strip_suffix("at "), before.strip_suffix("by ")) {
            (Some(kept), _) if left > 0 => (kept, format!("in {}", length(left))),
            (Some(kept), _) => (kept, format!("{} ago", length(-left))),
            (_, Some(kept)) if left > 0 => (kept, format!("within {}", length(left))),
            _ => (before, clock(time.to_utc())),
        };
        out.push_str(kept);
        out.push_str(&told);
        rest = &tail[text.len() - 2..];
    }
    out + rest
}

/// The time as this machine's clock shows it.
#[must_use]
pub fn clock(time: DateTime<Utc>) -> String {
    time.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_read_well() {
        let table = [
            (-5, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "1 min 1 s"),
            (605, "10 min"),
            (3600, "1 h"),
            (7800, "2 h 10 min"),
            (86_400, "1 d"),
            (90_000, "1 d 1 h"),
            (864_000 + 7200, "10 d"),
        ];
        for (seconds, text) in table {
            assert_eq!(length(seconds), text);
        }
    }

    #[test]
    fn times_in_sentences_are_told_from_now() {
        let now = DateTime::parse_from_rfc3339("2026-11-24T03:25:10.000Z").expect("a time").to_utc();
        for (sentence, told) in [
            (
                "leaving (by 2026-11-24T03:25:16.957Z); it left at 2026-11-24T03:25:06.957Z, as",
                "leaving (within 6 s); it left 3 s ago, as",
            ),
            ("tried again at 2026-11-24T03:30:10.000Z", "tried again in 5 min"),
            ("task 2026 of 20 needs 20Z, 20", "task 2026 of 20 needs 20Z, 20"),
            ("", ""),
        ] {
            assert_eq!(humane(sentence, now), told);
        }
    }

    #[test]
    fn nothing_that_moves_the_cursor_is_printed() {
        assert_eq!(clean("a\u{1b}[2J\nb\tc"), "a [2J b c");
    }
}
