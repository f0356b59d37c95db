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
/// sends the last number as `Last-Event-ID` and misses nothing. Users are told of their own tasks.
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
    let after = last_event_id(&headers)?.or(query.after).unwrap_or(newest);
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

fn failed(error: crate::store::SqliteError) -> Over {
    tracing::error!(%error, "events can not be read; the listener is let go");
    Over::Failed
}
