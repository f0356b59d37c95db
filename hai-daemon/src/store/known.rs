//! Whose tokens were asked about a moment ago, so that not every request asks the database who is there.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::User;

/// How long an answer counts. What this program changes counts at once; what another changes in the same database, by then.
const FRESH: Duration = Duration::from_secs(1);
/// More than use one daemon at a time. With more the database is asked more often.
const KNOWN_MAX: usize = 4096;

/// Users by the hash of their token, as the database last said; cheap to clone, and clones know the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Known(Arc<Mutex<Tokens>>);

#[derive(Debug, Default)]
struct Tokens {
    /// Changes of users so far.
    changes: u64,
    found: HashMap<[u8; 32], (User, Instant)>,
}

/// A question to the database that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    at: Instant,
    changes: u64,
}

/// Users change while it lives. Even if nobody knows how that ended, nothing of before counts after it.
#[derive(Debug)]
pub(super) struct Changing<'a>(&'a Known);

impl Known {
    /// The user with this token, or the beginning of a question to the database.
    pub(super) fn find(&self, hash: &[u8; 32], now: Instant) -> Result<User, Asked> {
        let tokens = self.tokens();
        match tokens.found.get(hash) {
            Some((user, at)) if now.saturating_duration_since(*at) < FRESH => Ok(user.clone()),
            _ => Err(Asked { at: now, changes: tokens.changes }),
        }
    }

    /// Keeps the answer, unless users changed since the question was asked: then nobody knows which came first.
    pub(super) fn remember(&self, asked: Asked, hash: [u8; 32], user: &User) {
        let mut tokens = self.tokens();
        if tokens.changes != asked.changes {
            return;
        }
        if tokens.found.len() >= KNOWN_MAX {
            tokens.found.clear();
        }
        tokens.found.insert(hash, (user.clone(), asked.at));
    }

    /// To be held while users are changed.
    pub(super) fn changing(&self) -> Changing<'_> {
        Changing(self)
    }

    fn tokens(&self) -> MutexGuard<'_, Tokens> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Changing<'_> {
    fn drop(&mut self) {
        let mut tokens = self.0.tokens();
        tokens.changes += 1;
        tokens.found.clear();
    }
}

#[cfg(test)]
mod tests {
    use hai_core::model::{Time, UserName};

    use super::*;
    use crate::store::Role;

    fn ann() -> User {
        let name = UserName::new("ann").expect("a name");
        User { name, role: Role::User, created_at: Time::ZERO, disabled: false }
    }

    #[test]
    fn an_answer_counts_for_a_moment_and_not_beyond_a_change() {
        let (known, hash, now) = (Known::default(), [7; 32], Instant::now());
        let asked = known.find(&hash, now).expect_err("nobody is known");
        known.remember(asked, hash, &ann());
        assert_eq!(known.find(&hash, now + FRESH / 2).expect("it is known"), ann());
        let again = known.find(&hash, now + FRESH).expect_err("that was long ago");
        known.remember(again, hash, &ann());
        let overtaken = known.find(&[8; 32], now).expect_err("nobody is known");
        drop(known.changing());
        assert!(known.find(&hash, now + FRESH).is_err(), "it may have changed");
        known.remember(overtaken, [8; 32], &ann());
        assert!(known.find(&[8; 32], now).is_err(), "what was asked before the change was answered after it");
    }

    #[test]
    fn no_more_than_so_many_are_kept() {
        let (known, now) = (Known::default(), Instant::now());
        for number in 0..3 * KNOWN_MAX {
            let mut hash = [0; 32];
            hash[..8].copy_from_slice(&number.to_le_bytes());
            let asked = known.find(&hash, now).expect_err("a new one");
            known.remember(asked, hash, &ann());
            assert!(known.find(&hash, now).is_ok());
        }
        assert!(known.tokens().found.len() <= KNOWN_MAX);
    }
}
