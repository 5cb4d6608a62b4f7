//! Counts of the last minute, in steps of five seconds.

/// Length of a step.
pub const STEP_MS: i64 = 5_000;

/// Steps of the long window, a minute.
const STEPS: usize = 12;

/// How far back is looked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Span {
    /// The step that runs and the one before: five to ten seconds.
    Short,
    /// The last minute.
    Minute,
}

impl Span {
    const fn steps(self) -> i64 {
        match self {
            Self::Short => 2,
            Self::Minute => STEPS as i64,
        }
    }
}

/// What can be added up.
pub trait Sum: Copy + Default {
    /// Both together; never overflows.
    fn plus(self, other: Self) -> Self;
}

/// Sums by step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Window<T> {
    steps: [(i64, T); STEPS],
}

impl<T: Sum> Default for Window<T> {
    fn default() -> Self {
        Self { steps: [(i64::MIN, T::default()); STEPS] }
    }
}

impl<T: Sum> Window<T> {
    /// Adds what was counted about now (milliseconds since 1970).
    pub fn add(&mut self, counted: T, now_ms: i64) {
        let step = now_ms.div_euclid(STEP_MS);
        let place = usize::try_from(step.rem_euclid(STEPS as i64)).unwrap_or(0);
        if let Some((number, sum)) = self.steps.get_mut(place) {
            *sum = if *number == step { sum.plus(counted) } else { counted };
            *number = step;
        }
    }

    /// The sum over a span that ends now.
    pub fn sum(&self, span: Span, now_ms: i64) -> T {
        let step = now_ms.div_euclid(STEP_MS);
        let within = self.steps.iter().filter(|(number, _)| *number <= step && *number > step - span.steps());
        within.fold(T::default(), |sum, (_, counted)| sum.plus(*counted))
    }

    /// Nothing of the last minute is in it.
    pub fn is_over(&self, now_ms: i64) -> bool {
        let step = now_ms.div_euclid(STEP_MS);
        self.steps.iter().all(|(number, _)| *number <= step - Span::Minute.steps() || *number > step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Sum for u64 {
        fn plus(self, other: Self) -> Self {
            self + other
        }
    }

    #[test]
    fn sums_are_of_their_spans() {
        let now = 1_800_000_000_000;
        let mut window = Window::default();
        for (ago, count) in [(70_000, 1_000), (54_000, 100), (9_000, 20), (5_000, 10), (0, 3)] {
            window.add(count, now - ago);
        }
        let rows =
            [(Span::Short, 0, 13), (Span::Minute, 0, 133), (Span::Short, 4_999, 13), (Span::Short, 5_000, 3), (Span::Minute, 5_000, 33)];
        for (span, later, sum) in rows {
            assert_eq!(window.sum(span, now + later), sum, "{span:?} {later}");
        }
        assert!(!window.is_over(now + 59_999) && window.is_over(now + 60_000));
    }
}
