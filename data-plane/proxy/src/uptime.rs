//! How many of the attempts at an endpoint were good, over the spans that OpenRouter's clients know.

/// Attempts below which a share says nothing.
const LEAST: u64 = 10;

/// How far back.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Span {
    /// Five minutes.
    Minutes5,
    /// Half an hour.
    Minutes30,
    /// A day.
    Day,
}

/// Good and bad attempts by the minute and by the hour.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Uptime {
    minutes: Ring<30>,
    hours: Ring<24>,
}

impl Uptime {
    /// So many attempts ended.
    pub(crate) fn note(&mut self, good: u64, bad: u64, now_unix_ms: i64) {
        self.minutes.note(good, bad, now_unix_ms.div_euclid(60_000));
        self.hours.note(good, bad, now_unix_ms.div_euclid(3_600_000));
    }

    /// The share of the good ones, in hundredths of a percent. The span ends with the minute (of a day: the hour) that runs.
    pub(crate) fn within(&self, span: Span, now_unix_ms: i64) -> Option<u32> {
        let minute = now_unix_ms.div_euclid(60_000);
        let (good, bad) = match span {
            Span::Minutes5 => self.minutes.sum(5, minute),
            Span::Minutes30 => self.minutes.sum(30, minute),
            Span::Day => self.hours.sum(24, now_unix_ms.div_euclid(3_600_000)),
        };
        let all = good.saturating_add(bad);
        (all >= LEAST).then(|| u32::try_from(u128::from(good) * 10_000 / u128::from(all)).unwrap_or(0))
    }
}

/// The last periods, each with the number it has since 1970.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Ring<const N: usize>([Period; N]);

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Period {
    number: i64,
    good: u64,
    bad: u64,
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self([Period::default(); N])
    }
}

impl<const N: usize> Ring<N> {
    fn note(&mut self, good: u64, bad: u64, number: i64) {
        let place = usize::try_from(number.rem_euclid(N as i64)).unwrap_or(0);
        let Some(period) = self.0.get_mut(place) else { return };
        if period.number != number {
            *period = Period { number, ..Period::default() };
        }
        period.good = period.good.saturating_add(good);
        period.bad = period.bad.saturating_add(bad);
    }

    /// Of the last so many periods, up to this one.
    fn sum(&self, last: i64, number: i64) -> (u64, u64) {
        let within = self.0.iter().filter(|period| period.number > number - last && period.number <= number);
        within.fold((0, 0), |(good, bad), period| (good.saturating_add(period.good), bad.saturating_add(period.bad)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_span_and_of_enough_attempts() {
        const MINUTE: i64 = 60_000;
        let now = 1_800_000_000_000;
        let mut uptime = Uptime::default();
        // Minutes ago, good, bad.
        for (ago, good, bad) in [(60 * 23, 1_000, 0), (29, 0, 50), (4, 90, 0), (0, 3, 7)] {
            uptime.note(good, bad, now - ago * MINUTE);
        }
        let rows =
            [(Span::Minutes5, 0, Some(9_300)), (Span::Minutes30, 0, Some(6_200)), (Span::Day, 0, Some(9_504)), (Span::Minutes5, 5, None)];
        for (span, later, share) in rows {
            assert_eq!(uptime.within(span, now + later * MINUTE), share, "{span:?} {later}");
        }
        let mut few = Uptime::default();
        few.note(9, 0, now);
        assert_eq!(few.within(Span::Day, now), None);
        few.note(1, 0, now);
        assert_eq!(few.within(Span::Day, now), Some(10_000));
    }
}
