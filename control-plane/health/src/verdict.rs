//! When counts are bad: a share of success that is certainly too small, seen by enough reporters, none of which decides alone.

use crate::window::Sum;

/// Attempts of the fleet within a window, below which nothing is decided.
pub const LEAST_ATTEMPTS: u64 = 20;

/// Attempts of all reporters but the loudest, below which nothing is decided.
pub const LEAST_OF_OTHERS: u64 = 5;

/// Reporters of a hundred that must agree; and never less than two.
pub const AGREEING_PERCENT: u64 = 30;

/// What one reporter weighs at most, in attempts: nobody is heard the louder for more traffic.
pub const MOST_OF_ONE: u64 = 100;

/// Success is too rare below this share, in hundredths.
const SUCCESS: u128 = 85;

/// (1.96)², in ten-thousandths: certain to 97.5 %.
const Z_SQUARED: u128 = 38_416;

/// Ended attempts that say something.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// They succeeded.
    pub good: u64,
    /// They did not.
    pub bad: u64,
}

impl Sum for Tally {
    fn plus(self, other: Self) -> Self {
        Self { good: self.good.saturating_add(other.good), bad: self.bad.saturating_add(other.bad) }
    }
}

impl Tally {
    /// All of them.
    pub const fn all(self) -> u64 {
        self.good.saturating_add(self.bad)
    }

    /// The same shares of another number of attempts; a failure that would be a fraction is left out.
    fn scaled_to(self, all: u64) -> Self {
        let bad = u128::from(self.bad) * u128::from(all) / u128::from(self.all().max(1));
        let bad = u64::try_from(bad).unwrap_or(u64::MAX);
        Self { good: all.saturating_sub(bad), bad }
    }

    /// The upper bound of Wilson's interval of the share of success (E. B. Wilson, *Probable inference*, 1927) is below [`SUCCESS`].
    ///
    /// The interval inverts the score test: the bound is below t if and only if the share p is and (t − p)² > z² t (1 − t) ÷ n. That needs no root,
    /// so it is exact.
    pub fn is_bad(self) -> bool {
        // No proxy makes 2³² attempts within a minute, and squares of such numbers fit.
        let most = u64::from(u32::MAX);
        let (good, all) = (u128::from(self.good.min(most)), u128::from(self.all().min(2 * most)));
        let Some(lacking) = (SUCCESS * all).checked_sub(100 * good) else { return false };
        lacking * lacking * 10_000 > Z_SQUARED * SUCCESS * (100 - SUCCESS) * all
    }
}

/// What one reporter counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Report {
    /// The ends of its attempts.
    pub tally: Tally,
    /// It has a breaker of its own open, so it hardly tries any more.
    pub open: bool,
}

impl Report {
    /// With what weight it is heard. Who has stopped trying for good reasons weighs as much as who goes on: else those to whom an endpoint is good
    /// would outnumber the others by their very attempts.
    fn weighed(self) -> Tally {
        let all = self.tally.all();
        if all > MOST_OF_ONE || (self.open && self.tally.is_bad()) { self.tally.scaled_to(MOST_OF_ONE) } else { self.tally }
    }
}

/// What reporters say together.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Verdict {
    /// The endpoint should be left out.
    pub is_bad: bool,
    /// Reporters that counted something.
    pub reporters: u32,
    /// Those of them whose own counts are bad.
    pub agreeing: u32,
    /// The attempts of all of them.
    pub sum: Tally,
    /// Of all but the one with the most failures.
    pub others: Tally,
}

/// Judges by one report of each reporter.
///
/// The reporter with the most failures is left out once: what remains must be bad without it, so that one proxy with a bad network, or one that lies,
/// decides nothing, whatever it reports.
pub fn judge(reports: impl Iterator<Item = Report> + Clone) -> Verdict {
    let reports = reports.filter(|report| report.tally.all() > 0);
    let (reporters, sum, others) = summed(reports.clone().map(|report| report.tally));
    let (_, weighed, weighed_others) = summed(reports.clone().map(Report::weighed));
    let agreeing = reports.filter(|report| report.tally.is_bad()).count();
    let agreeing = u32::try_from(agreeing).unwrap_or(u32::MAX);
    let needed = (u64::from(reporters) * AGREEING_PERCENT).div_ceil(100).max(2);
    let is_bad = weighed.all() >= LEAST_ATTEMPTS
        && weighed.is_bad()
        && weighed_others.all() >= LEAST_OF_OTHERS
        && weighed_others.is_bad()
        && u64::from(agreeing) >= needed;
    Verdict { is_bad, reporters, agreeing, sum, others }
}

/// How many there are, all of them together, and all but the one with the most failures.
fn summed(tallies: impl Iterator<Item = Tally>) -> (u32, Tally, Tally) {
    let (mut count, mut sum, mut loudest) = (0, Tally::default(), Tally::default());
    for tally in tallies {
        count += 1;
        sum = sum.plus(tally);
        if (tally.bad, tally.all()) > (loudest.bad, loudest.all()) {
            loudest = tally;
        }
    }
    (count, sum, Tally { good: sum.good.saturating_sub(loudest.good), bad: sum.bad.saturating_sub(loudest.bad) })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Wilson's upper bound as it is written in the books.
    fn upper_bound(tally: Tally) -> f64 {
        let (z, n) = (1.96_f64, tally.all() as f64);
        let p = tally.good as f64 / n;
        (p + z * z / (2.0 * n) + z * (p * (1.0 - p) / n + z * z / (4.0 * n * n)).sqrt()) / (1.0 + z * z / n)
    }

    proptest! {
        #[test]
        fn the_test_without_a_root_is_wilsons_bound(good in 0_u64..3_000, bad in 0_u64..600) {
            let tally = Tally { good, bad };
            prop_assume!(tally.all() > 0);
            let bound = upper_bound(tally);
            prop_assume!((bound - 0.85).abs() > 1e-9);
            prop_assert_eq!(tally.is_bad(), bound < 0.85);
        }

        #[test]
        fn one_reporter_never_decides(honest in prop::collection::vec((0_u64..2_000, 0_u64..20), 0..12), good: u64, bad: u64) {
            // Of the honest nobody sees more than one failure in a hundred attempts or so.
            let honest = honest.into_iter().map(|(good, bad)| Tally { good, bad: bad.min(good / 100) });
            let all = honest.chain([Tally { good, bad }]);
            for open in [false, true] {
                let verdict = judge(all.clone().map(|tally| Report { tally, open }));
                prop_assert!(!verdict.is_bad);
            }
        }
    }

    #[test]
    fn it_takes_certainty_and_agreement() {
        let tally = |good, bad| Tally { good, bad };
        let rows: [(&str, Vec<Tally>, bool, u32, u32); 10] = [
            ("nobody", vec![], false, 0, 0),
            ("one alone", vec![tally(0, 1_000)], false, 1, 1),
            ("two of two", vec![tally(0, 10), tally(0, 10)], true, 2, 2),
            ("two of two, too few", vec![tally(0, 10), tally(0, 9)], false, 2, 2),
            ("two of two, one of whom hardly saw it", vec![tally(0, 100), tally(0, 4)], false, 2, 2),
            ("one of two", vec![tally(0, 1_000), tally(100, 0)], false, 2, 1),
            ("two of three", vec![tally(0, 30), tally(1, 30), tally(30, 0)], true, 3, 2),
            ("two of seven are less than 30 %", [vec![tally(0, 90); 2], vec![tally(5, 0); 5]].concat(), false, 7, 2),
            ("three of ten", [vec![tally(0, 90); 3], vec![tally(5, 0); 7]].concat(), true, 10, 3),
            ("84 % of not many", vec![tally(84, 16), tally(84, 16)], false, 2, 0),
        ];
        for (name, tallies, is_bad, reporters, agreeing) in rows {
            let verdict = judge(tallies.into_iter().map(|tally| Report { tally, open: false }));
            assert_eq!((verdict.is_bad, verdict.reporters, verdict.agreeing), (is_bad, reporters, agreeing), "{name}");
        }
    }

    #[test]
    fn nobody_is_heard_the_louder_for_more_traffic_nor_the_less_for_an_open_breaker() {
        let report = |good, bad, open| Report { tally: Tally { good, bad }, open };
        let rows: [(&str, Vec<Report>, bool); 4] = [
            ("two have stopped trying, the third goes on", vec![report(0, 5, true), report(0, 5, true), report(1_000, 3, false)], true),
            ("none of them has a breaker open", vec![report(0, 5, false), report(0, 5, false), report(1_000, 3, false)], false),
            ("one has", vec![report(0, 5, true), report(900, 3, false), report(1_000, 3, false)], false),
            ("successes that never were hide nothing", vec![report(0, 500, false), report(0, 500, false), report(1 << 40, 0, false)], true),
        ];
        for (name, reports, is_bad) in rows {
            assert_eq!(judge(reports.into_iter()).is_bad, is_bad, "{name}");
        }
    }
}
