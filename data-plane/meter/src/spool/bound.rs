//! The bound of the spool: how many bytes of disk all logs of a process may hold together.
//!
//! What is counted is whole files: a segment counts in full from the moment it is allocated, and gives back its unused end when it is closed
//! or rolled, the rest when it is released. Ends of attempts, and recovery, write only into segments that are counted already, so the bound
//! refuses intents and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

/// The bound and what is used of it.
#[derive(Debug)]
pub(crate) struct Bound {
    bytes: u64,
    used: AtomicU64,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub used: u64,
    pub bound: u64,
}

impl Bound {
    pub(crate) fn new(bytes: u64, used: u64) -> Self {
        Self { bytes, used: AtomicU64::new(used) }
    }

    /// Takes room for a file, all or nothing.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), Full> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| used.checked_add(bytes).filter(|sum| *sum <= self.bytes))
            .map(drop)
            .map_err(|used| Full { used, bound: self.bytes })
    }

    /// Gives room back.
    pub(crate) fn give(&self, bytes: u64) {
        // Saturating: a file that somebody deleted by hand must not turn the count into a huge one.
        let _ = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(bytes)));
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_whole_or_not_at_all() {
        let bound = Bound::new(100, 30);
        assert_eq!(bound.take(70), Ok(()));
        assert_eq!(bound.take(1), Err(Full { used: 100, bound: 100 }));
        bound.give(40);
        assert_eq!(bound.take(u64::MAX), Err(Full { used: 60, bound: 100 }));
        assert_eq!(bound.take(40), Ok(()));
        bound.give(1000);
        assert_eq!(bound.used(), 0);
    }
}
