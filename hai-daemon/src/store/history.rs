//! How much of what is over is kept: nothing is, or all, of what ended in a whole month (UTC).
//!
//! See [`History`] for the primary entry point. Tasks go with their programs and runs, and events; the log goes only up to a
//! snapshot, which is made for it, so that whatever is left can still be followed.

use std::time::Duration;

use hai_core::backend::{Follower, Record, Snapshot};
use hai_core::engine::{EngineConfig, Policies};
use hai_core::model::{Span, Time};
use serde::Serialize;

use super::{Reader, StoreError, month, postgres, sqlite};

/// Records that are read at a time.
const PAGE: u32 = 500;
/// How long somebody who needs a table for a moment, while it is in use, waits until it is tried again, and how often.
const BUSY_PAUSE: Duration = Duration::from_secs(1);
const BUSY_MAX: u32 = 60;

/// What is over, to make less of it; cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    kind: Kind,
    reader: Reader,
}

#[derive(Clone, Debug)]
enum Kind {
    Sqlite(sqlite::History),
    Postgres(postgres::History),
}

macro_rules! ask {
    ($self:ident, $history:ident => $question:expr) => {
        match &$self.kind {
            Kind::Sqlite($history) => $question.await,
            Kind::Postgres($history) => $question.await,
        }
    };
}

/// What went, or would.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Gone {
    /// Tasks that had ended.
    pub tasks: u64,
    /// Their runs.
    pub runs: u64,
    /// Records of the log.
    pub records: u64,
    /// Events.
    pub events: u64,
    /// What all that took, about.
    pub bytes: u64,
}

impl std::ops::AddAssign for Gone {
    fn add_assign(&mut self, more: Self) {
        let Gone { tasks, runs, records, events, bytes } = more;
        self.tasks += tasks;
        self.runs += runs;
        self.records += records;
        self.events += events;
        self.bytes += bytes;
    }
}

/// What came of one small step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// This went; there may be more.
    Gone(Gone),
    /// There is nothing more to go.
    Done,
    /// It was in use; it may be tried again.
    Busy,
}

/// What goes, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goes {
    /// Tasks that ended before the cut.
    Tasks,
    /// Events before it.
    Events,
    /// Records before it, up to this one, for which there is a snapshot.
    Records(u64),
}

impl History {
    pub(super) fn of_sqlite(history: sqlite::History, reader: Reader) -> Self {
        History { kind: Kind::Sqlite(history), reader }
    }

    pub(super) fn of_postgres(history: postgres::History, reader: Reader) -> Self {
        History { kind: Kind::Postgres(history), reader }
    }

    /// Up to when things go of which `keep` is to be kept: the beginning of a month, so that somewhat more is kept. `None` if
    /// nothing goes.
    #[must_use]
    pub fn cut(now: Time, keep: Span) -> Option<Time> {
        let kept_since = now.as_ms().checked_sub(i64::try_from(keep.as_ms()).ok()?)?;
        month::begin(Time::from_ms(kept_since), 0)
    }

    /// Makes room for what will be over soon, where that has to be made.
    ///
    /// # Errors
    /// [`StoreError`]. What has no room of its own meanwhile is kept all the same.
    pub async fn make_ahead(&self, now: Time) -> Result<(), StoreError> {
        match &self.kind {
            Kind::Sqlite(_) => Ok(()),
            Kind::Postgres(history) => history.make_ahead(now).await,
        }
    }

    /// What [`History::prune`] would take.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn would_go(&self, cut: Time) -> Result<Gone, StoreError> {
        let last = self.last_round_before(cut).await?.map_or(0, |record| record.seq);
        let mut all = Gone::default();
        for goes in [Goes::Tasks, Goes::Events, Goes::Records(last)] {
            all += ask!(self, history => history.would_go(goes, cut))?;
        }
        Ok(all)
    }

    /// Takes all that was over before `cut`, the beginning of a month, in small steps between which it waits for `pause`, so
    /// that who commits meanwhile is not held up. `told` hears what has gone so far.
    ///
    /// # Errors
    /// [`StoreError`]; what had gone by then is gone.
    pub async fn prune(
        &self,
        cut: Time,
        pause: Duration,
        mut told: impl FnMut(&Gone) + Send,
    ) -> Result<Gone, StoreError> {
        let mut all = Gone::default();
        // First, so that nobody takes what is missing half-way for damage.
        ask!(self, history => history.mark(cut))?;
        for part in 0..3 {
            let mut busy = 0;
            loop {
                let goes = match part {
                    0 => Goes::Tasks,
                    1 => Goes::Events,
                    // Made anew each time, since a commit may have found it dispensable.
                    _ => match self.base(cut).await? {
                        Some(base) => Goes::Records(base),
                        None => break,
                    },
                };
                match ask!(self, history => history.step(goes, cut))? {
                    Step::Done => break,
                    Step::Gone(gone) => {
                        busy = 0;
                        all += gone;
                        told(&all);
                        tokio::time::sleep(pause).await;
                    }
                    Step::Busy if busy == BUSY_MAX => return Err(StoreError::Busy),
                    Step::Busy => {
                        busy += 1;
                        tokio::time::sleep(BUSY_PAUSE).await;
                    }
                }
            }
        }
        Ok(all)
    }

    /// The last record before `cut` after which the log can go on, with a snapshot; `None` if there is none.
    async fn base(&self, cut: Time) -> Result<Option<u64>, StoreError> {
        let Some(base) = self.last_round_before(cut).await? else { return Ok(None) };
        let before = self.reader.snapshot_at(base.at, base.seq + 1).await?;
        if before.as_ref().is_some_and(|snapshot| snapshot.seq == base.seq) {
            return Ok(Some(base.seq));
        }
        let first = self.reader.first_record().await?;
        let (config, policies) = (EngineConfig::default(), Policies::default());
        let mut follower = match before {
            Some(snapshot) if snapshot.seq + 1 >= first => Follower::after(snapshot, config, policies),
            _ if first == 1 => Follower::new(config, policies),
            _ => return Ok(None),
        };
        while follower.chain().seq() < base.seq {
            let page = self.reader.log_after(follower.chain().seq(), PAGE).await?;
            if page.is_empty() {
                return Ok(None);
            }
            for record in page.iter().take_while(|record| record.seq <= base.seq) {
                let wrong = |problem| super::rows::damaged("log", record.seq, problem);
                follower.take(record).map_err(wrong)?;
            }
            drop(follower.drain_changes());
            // So long is nobody else on this thread kept waiting.
            tokio::task::yield_now().await;
        }
        let snapshot: Snapshot = follower.snapshot();
        ask!(self, history => history.keep(&snapshot, base.at))?;
        Ok(Some(base.seq))
    }

    /// The last round before `cut`. Time never goes back in the log, so it is looked for as in a book.
    async fn last_round_before(&self, cut: Time) -> Result<Option<Record>, StoreError> {
        let (mut low, mut high) = (self.reader.first_record().await?, self.reader.last_record().await?);
        if low == 0 {
            return Ok(None);
        }
        let mut found = None;
        while low <= high {
            let middle = low + (high - low) / 2;
            let Some(record) = self.reader.log_after(middle - 1, 1).await?.pop() else { return Ok(None) };
            if record.at < cut {
                (low, found) = (middle + 1, Some(record));
            } else {
                high = middle - 1;
            }
        }
        // Facts that were told last may be followed by their round only after that time.
        while let Some(record) = found.take_if(|record| record.digest.is_none()) {
            let earlier = record.seq.checked_sub(2);
            let Some(after) = earlier else { return Ok(None) };
            found = self.reader.log_after(after, 1).await?.pop().filter(|found| found.seq < record.seq);
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_is_a_whole_month_and_at_least_as_much_is_kept_as_asked_for() {
        let time = |text: &str| Time::from(text.parse::<chrono::DateTime<chrono::Utc>>().expect("a time"));
        let now = time("2026-11-27T08:00:00Z");
        let days = |days: u64| Span::from_secs(days * 24 * 3600);
        assert_eq!(History::cut(now, days(0)), Some(time("2026-11-01T00:00:00Z")));
        assert_eq!(History::cut(now, days(26)), Some(time("2026-11-01T00:00:00Z")));
        assert_eq!(History::cut(now, days(27)), Some(time("2026-10-01T00:00:00Z")));
        assert_eq!(History::cut(now, days(90)), Some(time("2026-08-01T00:00:00Z")));
        assert_eq!(History::cut(now, Span::MAX), None);
    }
}
