//! How often one user may ask, and how often one task may change.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::{HeaderValue, header};
use hai_core::model::{TaskId, UserName};
use tokio::sync::{Mutex as Turns, OwnedMutexGuard};

use crate::api::problem::{ApiError, Kind};

/// Requests a second that one user may make for long.
const RATE: f64 = 50.0;
/// Requests that one user may make at once.
const BURST: f64 = 200.0;
/// A task's priority changes at most once in this time.
const PRIORITY_EVERY: Duration = Duration::from_secs(10);
/// So many are remembered before those that are over are forgotten.
const REMEMBERED: usize = 1024;

/// What the dialect remembers between requests; cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::api) struct Memory {
    pub(super) rates: Rates,
    pub(super) priorities: Priorities,
    pub(super) submissions: Submissions,
}

/// A bucket for each user, which fills with time and of which every request takes one.
#[derive(Clone, Debug, Default)]
pub(super) struct Rates(Arc<Mutex<BTreeMap<UserName, (f64, Instant)>>>);

impl Rates {
    pub(super) fn take(&self, user: &UserName) -> Result<(), ApiError> {
        self.take_at(user, Instant::now())
    }

    fn take_at(&self, user: &UserName, now: Instant) -> Result<(), ApiError> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = |(left, since): (f64, Instant)| {
            (left + RATE * now.saturating_duration_since(since).as_secs_f64()).min(BURST)
        };
        if users.len() >= REMEMBERED {
            // A full bucket is like none.
            users.retain(|_, bucket| filled(*bucket) < BURST);
        }
        let bucket = users.entry(user.clone()).or_insert((BURST, now));
        let left = filled(*bucket);
        *bucket = (left, now);
        if left < 1.0 {
            let detail = format!("{user} asks too often: more than {RATE} times a second; try again in a second");
            return Err(
                ApiError::new(Kind::TooMany, detail).with_header(header::RETRY_AFTER, HeaderValue::from_static("1"))
            );
        }
        bucket.0 = left - 1.0;
        Ok(())
    }
}

/// When the priority of a task was changed last.
#[derive(Clone, Debug, Default)]
pub(super) struct Priorities(Arc<Mutex<BTreeMap<TaskId, Instant>>>);

impl Priorities {
    pub(super) fn once_in_a_while(&self, task: TaskId) -> Result<(), ApiError> {
        self.at(task, Instant::now())
    }

    fn at(&self, task: TaskId, now: Instant) -> Result<(), ApiError> {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = |at: Instant| now.saturating_duration_since(at) < PRIORITY_EVERY;
        if tasks.len() >= REMEMBERED {
            tasks.retain(|_, at| recent(*at));
        }
        if tasks.get(&task).is_some_and(|&at| recent(at)) {
            let detail = format!("the priority of a task changes at most every {} s", PRIORITY_EVERY.as_secs());
            return Err(ApiError::new(Kind::Conflict, detail));
        }
        tasks.insert(task, now);
        Ok(())
    }
}

/// One submission of each user at a time, so that of two with one name the second sees the first.
#[derive(Clone, Debug, Default)]
pub(super) struct Submissions(Arc<Mutex<BTreeMap<UserName, Arc<Turns<()>>>>>);

impl Submissions {
    pub(super) async fn take(&self, user: &UserName) -> OwnedMutexGuard<()> {
        let turn = {
            let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Whoever has a turn or waits for one holds a share of theirs.
            users.retain(|_, turn| Arc::strong_count(turn) > 1);
            Arc::clone(users.entry(user.clone()).or_default())
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_who_asks_too_often_is_sent_away_and_others_are_not() {
        let (rates, now) = (Rates::default(), Instant::now());
        let [ada, bob] = ["ada", "bob"].map(|name| UserName::new(name).expect("a name"));
        for _ in 0..200 {
            rates.take_at(&ada, now).expect("a burst");
        }
        assert_eq!(rates.take_at(&ada, now).expect_err("too many").kind(), Kind::TooMany);
        rates.take_at(&bob, now).expect("somebody else");
        rates.take_at(&ada, now + Duration::from_millis(30)).expect("a bucket that fills");
        rates.take_at(&ada, now + Duration::from_millis(30)).expect_err("not so fast");
    }

    #[test]
    fn a_priority_changes_once_in_a_while() {
        let (priorities, now) = (Priorities::default(), Instant::now());
        priorities.at(TaskId(1), now).expect("the first");
        priorities.at(TaskId(1), now + Duration::from_secs(9)).expect_err("too soon");
        priorities.at(TaskId(2), now).expect("another task");
        priorities.at(TaskId(1), now + Duration::from_secs(10)).expect("long after");
    }

    #[tokio::test]
    async fn submissions_of_one_user_come_one_after_the_other() {
        let submissions = Submissions::default();
        let ada = UserName::new("ada").expect("a name");
        let first = submissions.take(&ada).await;
        let mut second = Box::pin(submissions.take(&ada));
        assert!(tokio::time::timeout(Duration::from_millis(20), second.as_mut()).await.is_err());
        drop(first);
        drop(second.await);
    }
}
