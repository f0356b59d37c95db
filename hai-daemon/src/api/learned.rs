//! What the daemon learns from tasks as they come and end, for forecasts.
//!
//! See [`Learned`] for the primary entry point. It is built from the newest finished tasks in the store when the server
//! starts, and listens to the scheduler's events from then on. The scheduler never waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};

use hai_core::explain::forecast::Forecast;
use hai_core::explain::history::History;
use hai_core::model::{TaskId, TaskState, TaskView};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use super::wire;
use crate::scheduler::Scheduler;
use crate::store::{Page, Reader, StoreError, TaskFilter};

/// Tasks that are read when the server starts: the newest of those that have ended, and of those that have not.
const READ_MAX: usize = 10_000;

/// A history that is shared; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Learned {
    history: Arc<Mutex<Arc<History>>>,
}

impl Learned {
    pub(super) fn new() -> Self {
        Learned { history: Arc::default() }
    }

    /// What is known now. It does not change while somebody looks at it.
    pub(super) fn history(&self) -> Arc<History> {
        Arc::clone(&self.history.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers a forecast, to see how good it was.
    pub(super) fn said(&self, forecast: &Forecast) {
        if let Some((p50, p90)) = forecast.uncorrected {
            let at = forecast.at;
            self.change(|history| history.calibration.said(forecast.task, at, p50.since(at), p90.since(at)));
        }
    }

    /// A copy is made only while a forecast looks at the last one.
    fn change(&self, change: impl FnOnce(&mut History)) {
        change(Arc::make_mut(&mut *self.history.lock().unwrap_or_else(PoisonError::into_inner)));
    }

    /// Learns until `stop`.
    pub(super) async fn learn(self, scheduler: Scheduler, reader: Reader, stop: CancellationToken) {
        // From here on nothing is missed; what is read too is known by its number.
        let mut events = scheduler.events();
        let known = match self.read(&reader, READ_MAX).await {
            Ok(known) => known,
            Err(error) => {
                tracing::warn!(%error, "what is in the store can not be learned from; forecasts begin with nothing");
                BTreeSet::new()
            }
        };
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return,
                event = events.recv() => event,
            };
            match event {
                Ok(event) if event.task.state == TaskState::Finished && known.contains(&event.task.id) => {}
                Ok(event) => self.change(|history| history.observe(&event.task)),
                Err(RecvError::Lagged(missed)) => tracing::debug!(missed, "events came too fast to learn from"),
                Err(RecvError::Closed) => return,
            }
        }
    }

    /// Takes in what the store has; returns the finished tasks among it.
    async fn read(&self, reader: &Reader, most: usize) -> Result<BTreeSet<TaskId>, StoreError> {
        // Of those that have not ended only that they were submitted is learned; however many there are, they must not
        // take the place of those that have. One that ends between the two questions counts as ended.
        let mut tasks = BTreeMap::new();
        for finished in [false, true] {
            let states = wire::TaskState::ALL.into_iter().map(TaskState::from);
            let states = states.filter(|state| (*state == TaskState::Finished) == finished);
            let filter = TaskFilter { states: states.collect(), ..TaskFilter::default() };
            tasks.extend(newest(reader, &filter, most).await?.into_iter().map(|task| (task.id, task)));
        }
        let mut tasks: Vec<TaskView> = tasks.into_values().collect();
        // In the order in which they ended, as they would have been heard of; what has not ended comes last.
        tasks.sort_by_key(|task| (task.ended_at.is_none(), task.ended_at, task.id));
        self.change(|history| tasks.iter().for_each(|task| history.observe(task)));
        Ok(tasks.iter().filter(|task| task.state == TaskState::Finished).map(|task| task.id).collect())
    }
}

/// About the `most` newest tasks that the filter wants.
async fn newest(reader: &Reader, filter: &TaskFilter, most: usize) -> Result<Vec<TaskView>, StoreError> {
    let mut tasks = Vec::new();
    let mut page = Page::default();
    while tasks.len() < most {
        page.limit = u32::try_from(most - tasks.len()).unwrap_or(Page::LIMIT_MAX);
        let read = reader.tasks(filter, page).await?;
        tasks.extend(read.tasks);
        page.before = read.next_before;
        if page.before.is_none() {
            break;
        }
    }
    Ok(tasks)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hai_core::backend::{Batch, Committed, Store as _};
    use hai_core::explain::durations::Source;
    use hai_core::model::{GroupName, Outcome, Priority, Span, TaskSpec, Time, UserName, WorkerRequest};

    use super::*;
    use crate::store::SqliteStore;

    fn task(id: u64, finished: bool) -> TaskView {
        let (user, group) = (UserName::new("ann").expect("a name"), GroupName::new("lab").expect("a name"));
        TaskView {
            id: TaskId(id),
            spec: Arc::new(TaskSpec::new("train", user, group, Priority::Normal, WorkerRequest::devices(1))),
            state: if finished { TaskState::Finished } else { TaskState::Waiting },
            outcome: finished.then_some(Outcome::Succeeded),
            submitted_at: Time::from_ms(1),
            started_at: finished.then_some(Time::from_ms(2)),
            ended_at: finished.then_some(Time::from_ms(60_002)),
            runs: u32::from(finished),
            run: None,
            whole_life_state: 0,
            ran: if finished { Span::from_secs(60) } else { Span::ZERO },
            level: None,
            yielded: None,
        }
    }

    #[tokio::test]
    async fn many_that_wait_do_not_hide_those_that_have_ended() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut store = SqliteStore::open(directory.path().join("hai.sqlite")).await.expect("a store");
        let fence = store.open().await.expect("the lease").fence;
        let tasks = (1..=20).map(|id| task(id, id <= 4)).collect();
        let batch = Batch {
            fence,
            records: Vec::new(),
            programs: Vec::new(),
            tasks,
            runs: Vec::new(),
            rights: None,
            events: Vec::new(),
            snapshot: None,
        };
        assert_eq!(store.commit(&batch).await.expect("stored"), Committed::Done);
        let learned = Learned::new();
        let known = learned.read(&store.reader(), 3).await.expect("read");
        assert_eq!(known, [2, 3, 4].map(TaskId).into());
        assert!(learned.history().durations.of(&task(21, false).spec).source() == Source::Learned);
    }
}
