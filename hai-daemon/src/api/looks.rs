//! Long looks at a copy of the engine, beside the scheduler: few at a time, and each keeps its place until it is over.
//!
//! See [`ApiState::look`] for the primary entry point.

use hai_core::model::UserName;

use super::ApiState;
use super::auth::Caller;
use super::places::Places;
use super::problem::{ApiError, Kind};
use crate::scheduler::{Scheduler, Still};

/// Looks that copy nothing: each holds the engine of one step at most.
const QUICK_MAX: usize = 4;
/// Looks that try things in copies of their own, and keep a processor busy for up to a second or two.
const HEAVY_MAX: usize = 2;
/// Forecasts, which keep a processor busy for longer.
const FORECASTS_MAX: usize = 1;

/// How much work a look is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// It only reads.
    Quick,
    /// It tries things in copies.
    Heavy,
    /// It plays the engine on, many times.
    Forecast,
}

/// Places for those who look; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Looks {
    quick: Places,
    heavy: Places,
    forecasts: Places,
}

impl Looks {
    pub(super) fn new() -> Self {
        Looks { quick: Places::new(QUICK_MAX), heavy: Places::new(HEAVY_MAX), forecasts: Places::new(FORECASTS_MAX) }
    }

    const fn places(&self, effort: Effort) -> &Places {
        match effort {
            Effort::Quick => &self.quick,
            Effort::Heavy => &self.heavy,
            Effort::Forecast => &self.forecasts,
        }
    }

    /// Looks at the engine as it is once it is this look's turn, on a thread that may block. Its place goes with the work,
    /// not with who waits for it: work goes on when the asker has gone, and the next must wait for its end.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        effort: Effort,
        user: &UserName,
        scheduler: &Scheduler,
        look: impl FnOnce(&Still) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let stopped = || ApiError::new(Kind::Unavailable, "the server is shutting down; try again in a moment");
        let place = self.places(effort).take(user).await.ok_or_else(stopped)?;
        // Only now: who waits for a place must not hold an engine.
        let still = scheduler.still().await?;
        let looked = tokio::task::spawn_blocking(move || {
            let _place = place;
            // Dropped before the place is given on, also by a panic.
            let still = still;
            look(&still)
        });
        looked.await.map_err(|error| ApiError::internal("it could not be worked out", &error))
    }
}

impl ApiState {
    /// Looks at the engine as it is once it is this look's turn, beside the scheduler.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        effort: Effort,
        caller: &Caller,
        look: impl FnOnce(&Still) -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        self.looks.look(effort, &caller.user.name, &self.scheduler, look).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use hai_core::backend::{Driver, MemoryCluster, MemoryStore};
    use hai_core::engine::EngineConfig;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::scheduler;

    fn user(name: &str) -> UserName {
        UserName::new(name).expect("a name")
    }

    #[tokio::test]
    async fn who_goes_away_leaves_the_place_to_the_work() {
        let (store, cluster) = (MemoryStore::default(), MemoryCluster::new([]));
        let driver = Driver::open(EngineConfig::default(), store, cluster, scheduler::wall_clock()).await;
        let (scheduler, inbox) = scheduler::channel();
        tokio::spawn(scheduler::run(driver.expect("a driver"), inbox, CancellationToken::new()));
        let looks = Looks::new();
        let (begun, is_begun) = tokio::sync::oneshot::channel();
        let (end, must_end) = mpsc::channel::<()>();
        let asker = {
            let (looks, scheduler) = (looks.clone(), scheduler.clone());
            tokio::spawn(async move {
                let look = move |_: &Still| {
                    begun.send(()).expect("it is waited for");
                    // Until the other end is dropped.
                    let _ = must_end.recv();
                };
                looks.look(Effort::Forecast, &user("ann"), &scheduler, look).await.map_err(|_| ())
            })
        };
        is_begun.await.expect("it begins");
        asker.abort();
        assert!(asker.await.expect_err("it is gone").is_cancelled());
        assert_eq!(looks.forecasts.free(), 0);
        drop(end);
        looks.look(Effort::Forecast, &user("bob"), &scheduler, |_| ()).await.expect("its turn comes");
    }
}
