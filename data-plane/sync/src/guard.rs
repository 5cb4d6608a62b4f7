//! The crash guard: a revision that kills the process twice is not tried a third time.
//!
//! Before an unproven revision is compiled, a mark with its number and the count of processes that began on it is on the disk. Serving for
//! [`PROVEN_MS`] takes it away. The generation kept as *previous* was proven, always.

/// A revision that served this long is proven, milliseconds.
pub const PROVEN_MS: u64 = 5_000;

/// So many deaths are one too many.
const DEATHS: u32 = 2;

/// What is on the disk about a revision on trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mark {
    /// Nothing is on trial.
    #[default]
    None,
    /// So many processes have begun on the revision.
    Attempt {
        /// The revision on trial.
        revision: u64,
        /// Processes that began on it, this one too.
        starts: u32,
    },
    /// The revision is refused.
    Blamed {
        /// The revision that killed two processes.
        revision: u64,
    },
}

/// Which generation to start from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// The one that was written last.
    Current,
    /// The one before, which was proven.
    Previous,
}

impl Mark {
    /// Where to start, and the mark to write before anything is compiled. The arguments are the revisions of the generations on the disk.
    #[must_use]
    pub fn boot(self, current: Option<u64>, previous: Option<u64>) -> (Generation, Self) {
        match self {
            Self::None => (Generation::Current, self),
            Self::Attempt { revision, starts } if current == Some(revision) => {
                if starts >= DEATHS && previous.is_some() {
                    (Generation::Previous, Self::Blamed { revision })
                } else {
                    // Without a generation to go back to, trying again is the best there is.
                    (Generation::Current, Self::Attempt { revision, starts: starts.saturating_add(1) })
                }
            }
            // It died before the revision was on the disk, so the generation there is innocent.
            Self::Attempt { revision, starts } if starts >= DEATHS && current.is_some() => (Generation::Current, Self::Blamed { revision }),
            Self::Attempt { .. } => (Generation::Current, self),
            // The death was between the verdict and the return to the previous generation.
            Self::Blamed { revision } if current == Some(revision) && previous.is_some() => (Generation::Previous, self),
            Self::Blamed { .. } => (Generation::Current, self),
        }
    }

    /// The mark to write before a revision is compiled.
    #[must_use]
    pub const fn attempt(self, next: u64) -> Self {
        match self {
            Self::Attempt { revision, starts } if revision == next => Self::Attempt { revision, starts: starts.saturating_add(1) },
            _ => Self::Attempt { revision: next, starts: 1 },
        }
    }

    /// The mark after the revision in force has served long enough, or the process has ended in peace.
    #[must_use]
    pub const fn proven(self) -> Self {
        match self {
            Self::Attempt { .. } => Self::None,
            other => other,
        }
    }

    /// The revision that is refused.
    #[must_use]
    pub const fn blamed(self) -> Option<u64> {
        match self {
            Self::Blamed { revision } => Some(revision),
            _ => None,
        }
    }

    /// Whether a generation of this revision is proven.
    #[must_use]
    pub const fn proves(self, generation: u64) -> bool {
        !matches!(self, Self::Attempt { revision, .. } if revision == generation)
    }

    /// As stored.
    #[must_use]
    pub fn to_text(self) -> Option<String> {
        match self {
            Self::None => None,
            Self::Attempt { revision, starts } => Some(format!("attempt {revision} {starts}\n")),
            Self::Blamed { revision } => Some(format!("blamed {revision}\n")),
        }
    }

    /// Reads a mark. One that cannot be read is none: the guard is there to help a start, never to hinder it.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        let mut words = text.split_whitespace();
        let mark = match (words.next(), words.next().and_then(|word| word.parse().ok()), words.next()) {
            (Some("attempt"), Some(revision), Some(starts)) => starts.parse().ok().map(|starts| Self::Attempt { revision, starts }),
            (Some("blamed"), Some(revision), None) => Some(Self::Blamed { revision }),
            _ => None,
        };
        mark.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Generation::{Current, Previous},
        Mark::{Attempt, Blamed, None as Free},
        *,
    };

    #[test]
    fn two_deaths_under_the_mark_go_back_to_the_previous_generation() {
        let attempt = |starts| Attempt { revision: 7, starts };
        let blamed = Blamed { revision: 7 };
        // Mark found, current, previous → start from, mark written.
        let rows = [
            (Free, Some(7), Some(6), (Current, Free)),
            (Free, None, None, (Current, Free)),
            (attempt(1), Some(7), Some(6), (Current, attempt(2))),
            (attempt(2), Some(7), Some(6), (Previous, blamed)),
            (attempt(9), Some(7), Some(6), (Previous, blamed)),
            (attempt(2), Some(7), None, (Current, attempt(3))),
            (attempt(1), Some(6), Some(5), (Current, attempt(1))),
            (attempt(2), Some(6), Some(5), (Current, blamed)),
            (attempt(2), None, None, (Current, attempt(2))),
            (blamed, Some(7), Some(6), (Previous, blamed)),
            (blamed, Some(6), Some(6), (Current, blamed)),
            (blamed, Some(8), Some(6), (Current, blamed)),
        ];
        for (mark, current, previous, expected) in rows {
            assert_eq!(mark.boot(current, previous), expected, "{mark:?} {current:?} {previous:?}");
        }
    }

    #[test]
    fn a_proven_revision_is_never_blamed() {
        let mut mark = Free.attempt(7).proven();
        for _ in 0..10 {
            let (generation, next) = mark.boot(Some(7), Some(6));
            assert_eq!(generation, Current);
            mark = next;
        }
        assert_eq!(mark, Free);
    }

    #[test]
    fn deaths_are_counted_for_one_revision_at_a_time() {
        let mark = Free.attempt(7).attempt(7);
        assert_eq!((mark, mark.attempt(8)), (Attempt { revision: 7, starts: 2 }, Attempt { revision: 8, starts: 1 }));
        assert_eq!(Blamed { revision: 7 }.attempt(8), Attempt { revision: 8, starts: 1 });
        assert_eq!(Blamed { revision: 7 }.proven(), Blamed { revision: 7 });
        assert!(!mark.proves(7) && mark.proves(6));
    }

    #[test]
    fn a_mark_reads_back_and_what_is_none_reads_as_none() {
        for mark in [Attempt { revision: u64::MAX, starts: 3 }, Blamed { revision: 1 }] {
            assert_eq!(Mark::from_text(&mark.to_text().unwrap()), mark);
        }
        for text in ["", "attempt", "attempt 1", "attempt x 1", "blamed", "blamed 1 2", "\u{0}"] {
            assert_eq!(Mark::from_text(text), Free, "{text:?}");
        }
    }
}
