//! When to connect again: full jitter, so that a fleet that lost its control plane at once does not come back at once.

use std::time::Duration;

/// The shortest pause, milliseconds.
const SHORTEST_MS: u64 = 500;

/// The longest pause while nobody is there, milliseconds. A connection that is refused costs nobody anything, and a control plane that comes back
/// finds all of its fleet within this time; more than it can bring up to date at once it sends away with a time to come back.
const LONGEST_AWAY_MS: u64 = 3_000;

/// The longest pause else, milliseconds: every attempt costs the control plane a handshake.
const LONGEST_MS: u64 = 30_000;

/// No longer than this is a control plane left alone because it asks for it.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// What stands in the way; of several replicas' the greatest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Nobody is there: no connection came about.
    Away,
    /// Somebody is there, but the stream was not opened, or has ended.
    Failed,
    /// The control plane does not want this proxy as it is: somebody has to mend that.
    Refused,
    /// Nor should anybody else: it would refuse keys that are good.
    Unfit,
}

/// How often the same thing stood in the way, one time after another.
#[derive(Debug, Default)]
pub struct Backoff {
    met: Option<Obstacle>,
    again: u32,
}

impl Backoff {
    /// A stream that lasted: what was before it does not count any more.
    pub const fn lasted(&mut self) {
        *self = Self { met: None, again: 0 };
    }

    /// The pause before the next attempt: anything between the shortest and a bound that doubles from 1 s while the same thing is in the way. Who
    /// was asked to wait does so, and up to as long again, so that not all who were asked come back at once. `random` is uniform over all of `u64`.
    pub fn pause(&mut self, obstacle: Obstacle, asked: Option<Duration>, random: u64) -> Duration {
        self.again = if self.met == Some(obstacle) { self.again.saturating_add(1) } else { 0 };
        self.met = Some(obstacle);
        if let Some(asked) = asked {
            let asked_ms = u64::try_from(asked.min(LONGEST_ASKED).as_millis()).unwrap_or(0).max(SHORTEST_MS);
            return Duration::from_millis(asked_ms + random % (asked_ms + 1));
        }
        let longest = if obstacle == Obstacle::Away { LONGEST_AWAY_MS } else { LONGEST_MS };
        let bound = longest.min((2 * SHORTEST_MS) << self.again.min(10));
        Duration::from_millis(SHORTEST_MS + random % (bound - SHORTEST_MS + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bound of the next pause: the greatest that any random number gives.
    fn bound_ms(backoff: &Backoff, obstacle: Obstacle, asked: Option<Duration>) -> u128 {
        let copy = || Backoff { met: backoff.met, again: backoff.again };
        (0..60_500).map(|random| copy().pause(obstacle, asked, random).as_millis()).max().unwrap()
    }

    #[test]
    fn the_bound_doubles_while_the_same_thing_is_in_the_way_and_is_low_while_nobody_is_there() {
        use Obstacle::{Away, Failed, Refused};
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        let rows = [
            (Away, None, 1_000),
            (Away, None, 2_000),
            (Away, None, 3_000),
            (Away, None, 3_000),
            (Failed, None, 1_000),
            (Failed, seconds(2), 4_000),
            (Failed, None, 4_000),
            (Refused, None, 1_000),
            (Refused, None, 2_000),
            (Refused, None, 4_000),
            (Refused, None, 8_000),
            (Refused, None, 16_000),
            (Refused, None, 30_000),
            (Refused, seconds(0), 1_000),
            (Away, None, 1_000),
        ];
        let mut backoff = Backoff::default();
        for (number, (obstacle, asked, bound)) in rows.into_iter().enumerate() {
            assert_eq!(bound_ms(&backoff, obstacle, asked), bound, "row {number}");
            assert_eq!(backoff.pause(obstacle, asked, 0), asked.unwrap_or_default().max(Duration::from_millis(500)), "row {number}");
        }
        backoff.lasted();
        assert_eq!(bound_ms(&backoff, Away, None), 1_000);
    }

    #[test]
    fn nobody_is_left_alone_for_more_than_two_minutes() {
        let hour = Some(Duration::from_secs(3_600));
        for random in [0, 60_000, u64::MAX] {
            let pause = Backoff::default().pause(Obstacle::Failed, hour, random);
            assert!((LONGEST_ASKED..=2 * LONGEST_ASKED).contains(&pause), "{pause:?}");
        }
    }
}
