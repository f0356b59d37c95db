//! Whether the database can be written to, for all who have to tell.

use std::sync::Arc;
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

/// How the writer's database is; cheap to clone, and clones tell the same.
#[derive(Clone, Debug)]
pub struct StoreHealth {
    away_since: Arc<watch::Sender<Option<Instant>>>,
    up: Gauge,
    failures: Counter,
}

impl Default for StoreHealth {
    /// Well.
    fn default() -> Self {
        let up = Gauge::default();
        up.set(1);
        StoreHealth { away_since: Arc::new(watch::Sender::new(None)), up, failures: Counter::default() }
    }
}

impl StoreHealth {
    /// Something could not be written; true if that is new.
    pub(super) fn failed(&self) -> bool {
        self.failures.inc();
        self.up.set(0);
        self.begin()
    }

    /// Something is being written, and nobody says how that goes; true if that is new.
    pub(super) fn silent(&self) -> bool {
        self.up.set(0);
        self.begin()
    }

    fn begin(&self) -> bool {
        self.away_since.send_if_modified(|since| {
            let new = since.is_none();
            since.get_or_insert_with(Instant::now);
            new
        })
    }

    /// Something was written; how long that could not be done before, if it could not.
    pub(super) fn works(&self) -> Option<Duration> {
        let mut away = None;
        self.away_since.send_if_modified(|since| {
            away = since.take().map(|since| since.elapsed());
            away.is_some()
        });
        self.up.set(1);
        away
    }

    /// Since when nothing could be written; `None` if it can.
    #[must_use]
    pub fn away_since(&self) -> Option<Instant> {
        *self.away_since.borrow()
    }

    /// Returns once nothing could be written for `bound`; at once if that is so.
    pub async fn away_for(&self, bound: Duration) {
        let mut watching = self.away_since.subscribe();
        loop {
            let since = *watching.borrow_and_update();
            let changed = match since {
                None => watching.changed().await,
                Some(since) => {
                    match tokio::time::timeout(bound.saturating_sub(since.elapsed()), watching.changed()).await {
                        Ok(changed) => changed,
                        Err(_) => return,
                    }
                }
            };
            if changed.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Adds these numbers to those that are shown.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("store_up", "Whether the database took the last write: 1 or 0", self.up.clone());
        registry.register("store_failures", "Writes that the database did not take, each try", self.failures.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn away_is_away_without_a_break() {
        let (soon, later) = (Duration::from_millis(20), Duration::from_secs(30));
        let health = StoreHealth::default();
        assert!(tokio::time::timeout(soon, health.away_for(Duration::ZERO)).await.is_err(), "it is well");
        assert!(health.failed() && !health.failed());
        assert!(health.away_since().is_some());
        assert!(tokio::time::timeout(soon, health.away_for(later)).await.is_err(), "not yet");
        tokio::time::timeout(later, health.away_for(soon)).await.expect("it was away for so long");
        assert!(health.works().is_some() && health.works().is_none());
        assert!(health.away_since().is_none());
        assert!(tokio::time::timeout(soon, health.away_for(Duration::ZERO)).await.is_err(), "it is well again");
    }
}
