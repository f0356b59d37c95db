//! How far something is that takes a while: a line that moves on a terminal, else a line now and then.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::store::moving::Tally;

/// How often it is told where nothing can move.
const EVERY: Duration = Duration::from_secs(10);

/// How much of a store was moved.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    what: &'static str,
    told: Instant,
}

impl Progress {
    /// `about` is how much there is, as far as that is known.
    pub(super) fn new(what: &'static str, about: Tally) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(about.sum());
            bar.set_style(
                ProgressStyle::with_template("{prefix} {bar:20} {percent}% {wide_msg} {elapsed}")
                    .unwrap_or_else(|_| ProgressStyle::default_bar()),
            );
            bar.set_prefix(what);
            bar
        });
        Progress { bar, what, told: Instant::now() }
    }

    /// So much of it is done.
    pub(super) fn is(&mut self, done: Tally) {
        let Tally { records, tasks, events, .. } = done;
        if let Some(bar) = &self.bar {
            bar.set_position(records + tasks + events);
            bar.set_message(done.to_string());
        } else if self.told.elapsed() >= EVERY {
            self.told = Instant::now();
            eprintln!("{}: {done} so far", self.what);
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
