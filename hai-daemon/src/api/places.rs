//! Places for work that takes a while: few at a time, and one for each user.
//!
//! See [`Places`] for the primary entry point.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hai_core::model::UserName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Places for one kind of work; cheap to clone. Each user has one at a time, so that nobody, however often they ask, keeps
/// all of them or stands in everybody's way.
#[derive(Clone, Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    users: Arc<Mutex<BTreeMap<UserName, Arc<Semaphore>>>>,
}

/// The right to do the work; it ends when this is dropped. It goes with the work, not with who waits for it.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "they are held, not used")] [OwnedSemaphorePermit; 2]);

impl Places {
    /// So many at a time.
    pub(super) fn new(many: usize) -> Self {
        Places { all: Arc::new(Semaphore::new(many)), users: Arc::default() }
    }

    /// Waits for a place. The user's own comes first: who waits for that keeps no place from others.
    pub(super) async fn take(&self, user: &UserName) -> Option<Place> {
        let own = self.own(user).acquire_owned().await.ok()?;
        Some(Place([own, Arc::clone(&self.all).acquire_owned().await.ok()?]))
    }

    fn own(&self, user: &UserName) -> Arc<Semaphore> {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever works or waits holds a share of theirs.
        users.retain(|_, places| Arc::strong_count(places) > 1);
        Arc::clone(users.entry(user.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))))
    }

    #[cfg(test)]
    pub(super) fn free(&self) -> usize {
        self.all.available_permits()
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn a_user_who_asks_often_does_not_stand_in_the_way() {
        let places = Places::new(2);
        let (ann, bob, eve) = (user("ann"), user("bob"), user("eve"));
        let first = places.take(&ann).await.expect("a place");
        let mut more: Vec<_> = (0..50).map(|_| Box::pin(places.take(&ann))).collect();
        let mut context = Context::from_waker(Waker::noop());
        assert!(more.iter_mut().all(|wait| wait.as_mut().poll(&mut context).is_pending()));
        let second = places.take(&bob).await.expect("a place");
        let mut third = Box::pin(places.take(&eve));
        assert!(third.as_mut().poll(&mut context).is_pending(), "there are two");
        drop(first);
        let Poll::Ready(Some(third)) = third.as_mut().poll(&mut context) else { panic!("her turn was before Ann's") };
        // Now it is Ann's turn again, who is still the one with a place of hers; but there is none.
        assert!(more.iter_mut().all(|wait| wait.as_mut().poll(&mut context).is_pending()));
        drop((second, third));
        let served = more.iter_mut().filter_map(|wait| match wait.as_mut().poll(&mut context) {
            Poll::Ready(place) => place,
            Poll::Pending => None,
        });
        assert_eq!(served.count(), 50, "one after the other");
        drop(more);
        drop(places.take(&bob).await);
        assert_eq!(places.users.lock().expect("not poisoned").len(), 1, "who has gone is forgotten");
    }

    fn user(name: &str) -> UserName {
        UserName::new(name).expect("a name")
    }
}
