//! When to connect again: full jitter, so that a fleet that lost its control plane at once does not come back at once.

/// The shortest pause, milliseconds.
const SHORTEST_MS: u64 = 500;

/// The longest pause, milliseconds.
const LONGEST_MS: u64 = 30_000;

/// The pause before the next attempt: anything between the shortest and a bound that doubles with the attempts that failed in a row, from 0.
/// `random` is uniform over all of `u64`.
#[must_use]
pub const fn pause_ms(failed: u32, random: u64) -> u64 {
    let doublings = if failed > 10 { 10 } else { failed };
    let doubled = (2 * SHORTEST_MS) << doublings;
    let bound = if doubled > LONGEST_MS { LONGEST_MS } else { doubled };
    SHORTEST_MS + random % (bound - SHORTEST_MS + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_doubles_from_one_second_to_thirty() {
        for (failed, bound) in [(0, 1_000), (1, 2_000), (4, 16_000), (5, 30_000), (6, 30_000), (u32::MAX, 30_000)] {
            let span = bound - SHORTEST_MS;
            assert_eq!((pause_ms(failed, 0), pause_ms(failed, span), pause_ms(failed, span + 1)), (500, bound, 500), "{failed}");
        }
    }
}
