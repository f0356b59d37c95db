//! What the daemon learns from tasks as they come and end, for forecasts.
//!
//! See [`Learned`] for the primary entry point. It is built from the newest finished tasks in the store when the server
//! starts, and listens to the scheduler's events from then on. The scheduler never waits for it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use hai_core::explain::forecast::Forecast;
use hai_core::explain::history::History;
use hai_core::model::{TaskState, TaskView};
use tokio::sync::broadcast::error::RecvError;
use tokio_util::sync::CancellationToken;

use crate::scheduler::Scheduler;
use crate::store::{Page, Reader, SqliteError, TaskFilter};

/// Finished tasks that are read when the server starts, the newest.
const FINISHED_MAX: usize = 10_000;

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
        let known = match self.read(&reader).await {
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
    async fn read(&self, reader: &Reader) -> Result<BTreeSet<hai_core::model::TaskId>, SqliteError> {
        let mut tasks: Vec<TaskView> = Vec::new();
        let mut page = Page { limit: Page::LIMIT_MAX, ..Page::default() };
        loop {
            let read = reader.tasks(&TaskFilter::default(), page).await?;
            tasks.extend(read.tasks);
            page.before = read.next_before;
            if page.before.is_none() || tasks.len() >= FINISHED_MAX {
                break;
            }
        }
        // In the order in which they ended, as they would have been heard of; what has not ended comes last.
        tasks.sort_by_key(|task| (task.ended_at.is_none(), task.ended_at, task.id));
        self.change(|history| tasks.iter().for_each(|task| history.observe(task)));
        Ok(tasks.iter().filter(|task| task.state == TaskState::Finished).map(|task| task.id).collect())
    }
}
