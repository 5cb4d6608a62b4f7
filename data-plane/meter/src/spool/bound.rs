//! The bound of the spool: how many bytes of disk all logs of a process may hold together.
//!
//! What is counted is whole files: a segment counts in full from the moment it is allocated, and gives back its unused end when it is closed
//! or rolled, the rest when it is released. Ends of attempts, and recovery, write only into segments that are counted already, so the bound
//! refuses intents and nothing else.
//!
//! Before it refuses it tells: from 70 % on there is an alarm, from 90 % on records are to leave out what the bill does not need.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Of the bound, in percent: where the alarm begins, where it ends, and where detail is shed.
const ALARM_PERCENT: u64 = 70;
const CALM_PERCENT: u64 = 60;
const SHED_PERCENT: u64 = 90;

/// How near the spool is to its bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pressure {
    /// Below 70 %.
    #[default]
    Low,
    /// From 70 % on: what empties the spool does not keep up.
    Alarm,
    /// From 90 % on: new records leave out the detail that no bill needs.
    Shed,
}

/// The bound and what is used of it.
#[derive(Debug)]
pub(crate) struct Bound {
    bytes: u64,
    used: AtomicU64,
    /// The alarm was said and is not over.
    alarmed: AtomicBool,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full {
    pub used: u64,
    pub bound: u64,
}

impl Bound {
    pub(crate) fn new(bytes: u64, used: u64) -> Self {
        let bound = Self { bytes, used: AtomicU64::new(used), alarmed: AtomicBool::new(false) };
        bound.watch(used);
        bound
    }

    /// Takes room for a file, all or nothing.
    pub(crate) fn take(&self, bytes: u64) -> Result<(), Full> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| used.checked_add(bytes).filter(|sum| *sum <= self.bytes))
            .map(|used| self.watch(used + bytes))
            .map_err(|used| Full { used, bound: self.bytes })
    }

    /// Gives room back.
    pub(crate) fn give(&self, bytes: u64) {
        // Saturating: a file that somebody deleted by hand must not turn the count into a huge one.
        if let Ok(used) = self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| Some(used.saturating_sub(bytes))) {
            self.watch(used.saturating_sub(bytes));
        }
    }

    pub(crate) fn pressure(&self) -> Pressure {
        match self.used() {
            used if used >= self.percent(SHED_PERCENT) => Pressure::Shed,
            used if used >= self.percent(ALARM_PERCENT) => Pressure::Alarm,
            _ => Pressure::Low,
        }
    }

    const fn percent(&self, percent: u64) -> u64 {
        // Divided first: a bound of u64::MAX is one, too.
        self.bytes / 100 * percent
    }

    /// Says once that the spool fills up, and once that it has room again. Between the two thresholds nothing is said twice.
    fn watch(&self, used: u64) {
        if used >= self.percent(ALARM_PERCENT) {
            if !self.alarmed.swap(true, Ordering::Relaxed) {
                tracing::error!(
                    used,
                    bound = self.bytes,
                    "the spool is more than {ALARM_PERCENT} % full: what takes its events does not keep up"
                );
            }
        } else if used < self.percent(CALM_PERCENT) && self.alarmed.swap(false, Ordering::Relaxed) {
            tracing::info!(used, bound = self.bytes, "the spool has room again");
        }
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

    #[test]
    fn the_alarm_begins_once_and_ends_once() {
        let bound = Bound::new(1000, 0);
        let mut seen = Vec::new();
        for change in [699_i64, 1, 199, 1, 100, -110, -200, -91, 91, -91, -400] {
            match u64::try_from(change) {
                Ok(bytes) => bound.take(bytes).unwrap(),
                Err(_) => bound.give(change.unsigned_abs()),
            }
            seen.push((bound.used(), bound.pressure(), bound.alarmed.load(Ordering::Relaxed)));
        }
        let expected = [
            (699, Pressure::Low, false),
            (700, Pressure::Alarm, true),
            (899, Pressure::Alarm, true),
            (900, Pressure::Shed, true),
            (1000, Pressure::Shed, true),
            (890, Pressure::Alarm, true),
            (690, Pressure::Low, true),
            (599, Pressure::Low, false),
            (690, Pressure::Low, false),
            (599, Pressure::Low, false),
            (199, Pressure::Low, false),
        ];
        assert_eq!(seen, expected);
        assert!(Bound::new(1000, 700).alarmed.into_inner(), "an earlier process may have filled it");
    }
}
