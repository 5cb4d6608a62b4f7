//! How long a change waits for the next one, so that a burst of change sets is one push.

/// A change waits this long for another, milliseconds.
pub const QUIET_MS: u64 = 50;

/// And no change waits longer than this, milliseconds.
pub const LONGEST_MS: u64 = 500;

/// When what has changed is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Debounce {
    /// Nothing has changed.
    #[default]
    Idle,
    /// Something has: since when, and when it is due.
    Waiting {
        /// The first change.
        since_ms: u64,
        /// When all of them go out.
        due_ms: u64,
    },
}

impl Debounce {
    /// Something changed. What is urgent takes everything before it along at once.
    #[must_use]
    pub fn changed(self, now_ms: u64, urgent: bool) -> Self {
        let since_ms = match self {
            Self::Idle => now_ms,
            Self::Waiting { since_ms, .. } => since_ms,
        };
        let due_ms = match self {
            Self::Waiting { due_ms, .. } if due_ms <= now_ms => due_ms,
            _ if urgent => now_ms,
            _ => (now_ms + QUIET_MS).min(since_ms + LONGEST_MS),
        };
        Self::Waiting { since_ms, due_ms }
    }

    /// When it is due; `None` if nothing has changed.
    #[must_use]
    pub const fn due_ms(self) -> Option<u64> {
        match self {
            Self::Idle => None,
            Self::Waiting { due_ms, .. } => Some(due_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_waits_for_the_next_but_not_for_ever_and_an_urgent_one_not_at_all() {
        // Changes as (when, urgent), and when all of them are due.
        type Row = (&'static [(u64, bool)], Option<u64>);
        let rows: [Row; 6] = [
            (&[], None),
            (&[(100, false)], Some(150)),
            (&[(100, false), (140, false)], Some(190)),
            (&[(100, true)], Some(100)),
            (&[(100, false), (120, true)], Some(120)),
            (&[(100, false), (120, true), (121, false)], Some(120)),
        ];
        for (changes, expected) in rows {
            let debounce = changes.iter().fold(Debounce::Idle, |debounce, (at, urgent)| debounce.changed(*at, *urgent));
            assert_eq!(debounce.due_ms(), expected, "{changes:?}");
        }
        let steady = (0..100).fold(Debounce::Idle, |debounce, step| debounce.changed(1000 + step * 40, false));
        assert_eq!(steady.due_ms(), Some(1000 + LONGEST_MS));
    }
}
