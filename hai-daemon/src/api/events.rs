//! The stream of events: from the store as far as it goes, then live.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::sse::{Event as Message, KeepAlive, Sse};
use hai_core::backend::Event;
use hai_core::model::UserName;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc::{Sender, channel};
use tokio_stream::wrappers::ReceiverStream;

use super::ApiState;
use super::auth::Caller;
use super::extract::Query;
use super::problem::{ApiError, Kind};
use super::wire::{self, EventQuery};

/// Events that wait for a slow listener; then the store has to be asked again.
const QUEUE_MAX: usize = 64;
/// Events read from the store at a time.
const BATCH_MAX: u32 = 500;
/// A sign of life this often, so that proxies and listeners know that the connection stands.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Changes of tasks, as server-sent events
///
/// Each has the event's number as `id`, the name `task` and an `Event` as data. A listener who lost the connection
/// sends the last number as `Last-Event-ID` and misses nothing; if what came after it is not kept any more, that is an error.
/// Users are told of their own tasks.
#[utoipa::path(get, path = "/v1/events", tag = "tasks", operation_id = "events",
    params(EventQuery, ("Last-Event-ID" = Option<u64>, Header, description = "Go on after this event.")),
    responses((status = 200, description = "A stream that goes on until it is closed.", body = wire::Event,
               content_type = "text/event-stream")))]
pub(super) async fn events(
    State(state): State<ApiState>,
    caller: Caller,
    Query(query): Query<EventQuery>,
    headers: HeaderMap,
) -> Result<Sse<impl tokio_stream::Stream<Item = Result<Message, Infallible>>>, ApiError> {
    // Listening begins before the store is read, so that nothing falls between the two.
    let live = state.scheduler.events();
    let newest = state.reader.last_event_id().await?;
    let asked = last_event_id(&headers)?.or(query.after);
    if let Some(after) = asked {
        kept_after(&state, after).await?;
    }
    let after = asked.unwrap_or(newest);
    let (sender, receiver) = channel(QUEUE_MAX);
    let listener = Listener {
        state,
        only: caller.sees_only().cloned(),
        // A number from the future would silence the stream for good.
        last: after.min(newest),
        sender,
    };
    tokio::spawn(listener.run(live));
    Ok(Sse::new(ReceiverStream::new(receiver)).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

/// Whoever would miss some of what came after an event is told so.
async fn kept_after(state: &ApiState, after: u64) -> Result<(), ApiError> {
    let first = state.reader.first_event_id().await?;
    if after.saturating_add(1) >= first {
        return Ok(());
    }
    let detail =
        format!("events before number {first} are not kept any more; look at the tasks, and listen from now on");
    Err(ApiError::new(Kind::Pruned, detail).at("after"))
}

fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    const NAME: &str = "last-event-id";
    let Some(value) = headers.get(NAME).filter(|value| !value.is_empty()) else { return Ok(None) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number
        .map(Some)
        .ok_or_else(|| ApiError::new(Kind::InvalidParameter, "Last-Event-ID must be the number of an event").at(NAME))
}

/// Feeds one listener until they leave or the server stops.
struct Listener {
    state: ApiState,
    only: Option<UserName>,
    /// The last event that was sent or passed over.
    last: u64,
    sender: Sender<Result<Message, Infallible>>,
}

/// Why feeding ends.
enum Over {
    /// The listener left.
    Gone,
    /// The store failed; the listener may come again.
    Failed,
}

impl Listener {
    async fn run(mut self, live: Receiver<Arc<Event>>) {
        let closing = self.state.closing.clone();
        let sender = self.sender.clone();
        tokio::select! {
            () = closing.cancelled() => {}
            () = sender.closed() => {}
            _ = self.feed(live) => {}
        }
    }

    async fn feed(&mut self, mut live: Receiver<Arc<Event>>) -> Result<(), Over> {
        self.catch_up().await?;
        loop {
            match live.recv().await {
                Ok(event) if event.id == self.last + 1 => self.pass(&event).await?,
                Ok(event) if event.id <= self.last => {}
                // Some were not heard: they are in the store.
                Ok(_) | Err(RecvError::Lagged(_)) => self.catch_up().await?,
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }

    /// Sends what the store has after the last event.
    async fn catch_up(&mut self) -> Result<(), Over> {
        loop {
            let newest = self.state.reader.last_event_id().await.map_err(failed)?;
            let batch = self.state.reader.events_after(self.last, self.only.as_ref(), BATCH_MAX).await;
            let batch = batch.map_err(failed)?;
            for event in &batch {
                self.pass(event).await?;
            }
            if batch.len() < BATCH_MAX as usize {
                // Those in between are other people's.
                self.last = self.last.max(newest);
                return Ok(());
            }
        }
    }

    /// Sends the event, if the listener may hear of it.
    async fn pass(&mut self, event: &Event) -> Result<(), Over> {
        self.last = event.id;
        if self.only.as_ref().is_some_and(|only| *only != event.user) {
            return Ok(());
        }
        let message = Message::default().id(event.id.to_string()).event("task");
        match message.json_data(wire::Event::from(event)) {
            Ok(message) => self.sender.send(Ok(message)).await.map_err(|_| Over::Gone),
            Err(error) => {
                tracing::error!(%error, event = event.id, "an event can not be written as JSON");
                Err(Over::Failed)
            }
        }
    }
}

fn failed(error: crate::store::StoreError) -> Over {
    tracing::error!(%error, "events can not be read; the listener is let go");
    Over::Failed
}

#[cfg(test)]
mod tests {
    use hai_core::backend::{Batch, Committed, Store as _};
    use hai_core::model::{
        GroupName, Priority, Span, TaskId, TaskSpec, TaskState, TaskView, Time, UserName, WorkerRequest,
    };
    use tokio::sync::broadcast;

    use super::*;
    use crate::api::{Defaults, LogPart, LogSource, WorkerLog};
    use crate::store::SqliteStore;

    #[derive(Debug)]
    struct NoLogs;

    impl LogSource for NoLogs {
        fn read(&self, _: WorkerLog, _: u64, _: usize) -> std::io::Result<LogPart> {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }

    fn event(id: u64, user: &UserName) -> Event {
        let group = GroupName::new("lab").expect("a name");
        let spec = TaskSpec::new("x", user.clone(), group, Priority::Normal, WorkerRequest::devices(1));
        let task = TaskView {
            id: TaskId(1),
            spec: std::sync::Arc::new(spec),
            state: TaskState::Waiting,
            outcome: None,
            submitted_at: Time::ZERO,
            started_at: None,
            ended_at: None,
            runs: 0,
            run: None,
            whole_life_state: 0,
            ran: Span::ZERO,
            level: None,
            yielded: None,
        };
        Event { id, at: Time::ZERO, user: user.clone(), task }
    }

    /// A store with `count` events, of alice and bob in turn, and a live channel that has forgotten all but two.
    async fn behind(count: u64, directory: &std::path::Path) -> (ApiState, Receiver<Arc<Event>>) {
        let users = ["alice", "bob"].map(|name| UserName::new(name).expect("a name"));
        let events: Vec<_> = (1..=count).zip(users.iter().cycle()).map(|(id, user)| event(id, user)).collect();
        let mut store = SqliteStore::open(directory.join("hai.sqlite")).await.expect("a store");
        let fence = store.open().await.expect("the lease").fence;
        let batch = Batch {
            fence,
            records: Vec::new(),
            programs: Vec::new(),
            tasks: Vec::new(),
            runs: Vec::new(),
            rights: None,
            events: events.clone(),
            snapshot: None,
        };
        assert_eq!(store.commit(&batch).await.expect("committed"), Committed::Done);
        let (sender, live) = broadcast::channel(2);
        for event in events {
            sender.send(Arc::new(event)).expect("a listener");
        }
        let defaults = Defaults::of_group(GroupName::new("lab").expect("a name"));
        let (scheduler, _) = crate::scheduler::channel();
        (ApiState::new(scheduler, store.reader(), store.accounts(), Arc::new(NoLogs), defaults), live)
    }

    /// How many messages a listener gets who was last told of event `last`.
    async fn heard(state: &ApiState, live: Receiver<Arc<Event>>, only: Option<&str>, last: u64) -> (usize, u64) {
        let (sender, mut messages) = channel(10_000);
        let only = only.map(|name| UserName::new(name).expect("a name"));
        let mut listener = Listener { state: state.clone(), only, last, sender };
        // The sender is gone, so that the stream ends when all was heard.
        assert!(listener.feed(live).await.is_ok());
        let last = listener.last;
        drop(listener);
        let mut count = 0;
        while messages.recv().await.is_some() {
            count += 1;
        }
        (count, last)
    }

    #[tokio::test]
    async fn who_falls_behind_reads_on_in_the_store_and_hears_all_once() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        // More than two batches, so that the store is asked more than once.
        let (state, live) = behind(1201, directory.path()).await;
        assert_eq!(heard(&state, live.resubscribe(), None, 1201).await, (0, 1201));
        assert_eq!(heard(&state, live, None, 0).await, (1201, 1201));
        let (_, silent) = broadcast::channel(2);
        assert_eq!(heard(&state, silent, Some("bob"), 1).await, (600, 1201));
    }

    #[tokio::test]
    async fn an_event_after_a_gap_brings_what_is_missing() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let (state, mut live) = behind(3, directory.path()).await;
        assert!(matches!(live.recv().await, Err(RecvError::Lagged(1))));
        let (sender, mut messages) = channel(8);
        let mut listener = Listener { state, only: None, last: 0, sender };
        // Only 2 and 3 come live: 1 is in the store, and nothing is told twice.
        assert!(listener.feed(live).await.is_ok());
        drop(listener);
        let mut count = 0;
        while messages.recv().await.is_some() {
            count += 1;
        }
        assert_eq!(count, 3);
    }
}
