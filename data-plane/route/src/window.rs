//! The last ten seconds of one endpoint: how many requests ended, and how many of them badly.

/// Length of the window in seconds.
const SECONDS: usize = 10;

/// Ended requests below which the share of failures says nothing.
pub const WINDOW_LEAST: u32 = 20;

/// Counts by the second.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Window {
    newest_s: i64,
    seconds: [Second; SECONDS],
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Second {
    ended: u32,
    failed: u32,
}

impl Window {
    /// A request ended.
    pub fn note(&mut self, failed: bool, now_unix_ms: i64) {
        self.advance(now_unix_ms.div_euclid(1000));
        let place = usize::try_from(self.newest_s.rem_euclid(SECONDS as i64)).unwrap_or(0);
        if let Some(second) = self.seconds.get_mut(place) {
            second.ended = second.ended.saturating_add(1);
            second.failed = second.failed.saturating_add(u32::from(failed));
        }
    }

    /// More than half of the requests failed, and there were enough of them; to be asked after [`Self::note`] of the same instant.
    pub fn is_failing(&self) -> bool {
        let sum = |of: fn(&Second) -> u32| self.seconds.iter().map(of).fold(0, u32::saturating_add);
        let (ended, failed) = (sum(|second| second.ended), sum(|second| second.failed));
        ended >= WINDOW_LEAST && failed > ended / 2
    }

    /// Clears the seconds that are over. A clock that was set back by more than the window begins a new one.
    fn advance(&mut self, now_s: i64) {
        let passed = now_s.saturating_sub(self.newest_s);
        if passed.unsigned_abs() >= SECONDS as u64 {
            *self = Self { newest_s: now_s, ..Self::default() };
        }
        while self.newest_s < now_s {
            self.newest_s += 1;
            let place = usize::try_from(self.newest_s.rem_euclid(SECONDS as i64)).unwrap_or(0);
            if let Some(second) = self.seconds.get_mut(place) {
                *second = Second::default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// It is the sum over a list of all that ended in the ten seconds.
        #[test]
        fn it_counts_what_ended_in_the_last_ten_seconds(steps in prop::collection::vec((0_i64..4_000, any::<bool>()), 0..200)) {
            let (mut window, mut all, mut now) = (Window::default(), VecDeque::new(), 1_800_000_000_000);
            for (passed, failed) in steps {
                now += passed;
                window.note(failed, now);
                all.push_back((now / 1000, failed));
                all.retain(|(second, _)| *second > now / 1000 - SECONDS as i64);
                let bad = all.iter().filter(|(_, failed)| *failed).count();
                prop_assert_eq!(window.is_failing(), all.len() >= WINDOW_LEAST as usize && 2 * bad > all.len());
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_keep_what_is_to_come() {
        let mut window = Window::default();
        for _ in 0..WINDOW_LEAST {
            window.note(true, 2_000_000);
        }
        assert!(window.is_failing());
        window.note(true, 1_000_000);
        assert!(!window.is_failing());
    }
}
