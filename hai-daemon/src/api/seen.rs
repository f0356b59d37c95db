//! When each user's token was last used; in memory alone, since a write for each request would cost more than it tells.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use hai_core::model::{Time, UserName};

use crate::scheduler::wall_clock;

/// Since this server started; cheap to clone. There are as many entries as users at most.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    last: Arc<Mutex<BTreeMap<UserName, Time>>>,
}

impl Seen {
    /// The user's token was used just now.
    pub(super) fn note(&self, user: &UserName) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        match last.get_mut(user) {
            Some(known) => *known = wall_clock(),
            None => drop(last.insert(user.clone(), wall_clock())),
        }
    }

    /// When that last was.
    pub(super) fn last(&self, user: &UserName) -> Option<Time> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).get(user).copied()
    }
}
