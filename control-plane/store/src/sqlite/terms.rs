//! The terms of leadership that this process has granted, and when they run out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::{Clock, Error, Key, Leadership};

/// Terms by leader key. Time passes only by being looked at: before each write, before each
/// candidacy and at each renewal.
pub(super) struct Terms {
    clock: Arc<dyn Clock>,
    running: Mutex<BTreeMap<Key, Term>>,
}

struct Term {
    leadership: Leadership,
    ends: Duration,
}

impl Terms {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, running: Mutex::default() }
    }

    pub(super) fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    pub(super) fn begin(&self, leadership: &Leadership, now: Duration) {
        let term = Term { leadership: leadership.clone(), ends: now.saturating_add(leadership.ttl) };
        self.running().insert(leadership.key.clone(), term);
    }

    pub(super) fn renew(&self, leadership: &Leadership) -> Result<(), Error> {
        let now = self.now();
        match self.running().get_mut(&leadership.key) {
            Some(term) if term.leadership.created == leadership.created && now < term.ends => {
                term.ends = now.saturating_add(leadership.ttl);
                Ok(())
            }
            _ => Err(Error::LeadershipLost { key: leadership.key.clone() }),
        }
    }

    /// The terms whose time is up and whose keys are still there.
    pub(super) fn overdue(&self) -> Vec<Leadership> {
        let now = self.now();
        let running = self.running();
        running.values().filter(|term| term.ends <= now).map(|term| term.leadership.clone()).collect()
    }

    /// Ends a term; a later one of the same job goes on.
    pub(super) fn forget(&self, leadership: &Leadership) {
        let mut running = self.running();
        if running.get(&leadership.key).is_some_and(|term| term.leadership.created == leadership.created) {
            running.remove(&leadership.key);
        }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Key, Term>> {
        // The map is whole after every statement, so a panic elsewhere cannot have torn it.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
