//! Which sequence numbers of an incarnation have arrived, as ranges. Pure.
//!
//! The watermark follows from the *set*, because a second path or a new reader may deliver out of order. The set is nearly always one range.

use std::collections::BTreeMap;

/// A set of sequence numbers, from 1, as ranges that neither touch nor overlap.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sequences(BTreeMap<u64, u64>);

impl Sequences {
    /// The set of these ranges (both ends belong to them); they may overlap.
    #[must_use]
    pub fn of(ranges: impl IntoIterator<Item = (u64, u64)>) -> Self {
        let mut set = Self::default();
        for (first, last) in ranges {
            set.insert_range(first, last);
        }
        set
    }

    /// The ranges in order, both ends included.
    pub fn ranges(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.0.iter().map(|(first, last)| (*first, *last))
    }

    /// Whether this number has arrived.
    #[must_use]
    pub fn contains(&self, sequence: u64) -> bool {
        self.0.range(..=sequence).next_back().is_some_and(|(_, last)| *last >= sequence)
    }

    /// Adds one number.
    pub fn insert(&mut self, sequence: u64) {
        self.insert_range(sequence, sequence);
    }

    fn insert_range(&mut self, mut first: u64, mut last: u64) {
        if let Some((before, end)) = self.0.range(..=first).next_back()
            && end.saturating_add(1) >= first
        {
            (first, last) = (*before, last.max(*end));
        }
        while let Some((next, end)) = self.0.range(first..=last.saturating_add(1)).next().map(|(next, end)| (*next, *end)) {
            self.0.remove(&next);
            last = last.max(end);
        }
        self.0.insert(first, last);
    }

    /// The highest number below which, itself included, nothing is missing; 0 = the first is missing.
    #[must_use]
    pub fn watermark(&self) -> u64 {
        self.0.get(&1).copied().unwrap_or(0)
    }

    /// The highest number that has arrived; 0 = none.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.0.values().next_back().copied().unwrap_or(0)
    }

    /// What is missing from 1 to this number, as ranges with both ends included.
    #[must_use]
    pub fn missing(&self, last: u64) -> Vec<(u64, u64)> {
        let mut missing = Vec::new();
        let mut next = 1;
        for (first, end) in self.ranges().take_while(|(first, _)| *first <= last) {
            if first > next {
                missing.push((next, first - 1));
            }
            let Some(after) = end.checked_add(1) else { return missing };
            next = after;
        }
        if next <= last {
            missing.push((next, last));
        }
        missing
    }
}

/// The ranges in words, at most so many: `4-7, 9`.
#[must_use]
pub fn ranges_text(ranges: &[(u64, u64)], most: usize) -> String {
    let text = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let mut words: Vec<String> = ranges.iter().take(most).map(text).collect();
    if ranges.len() > most {
        words.push("…".to_owned());
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ends_of_the_range_do_not_overflow() {
        let set = Sequences::of([(u64::MAX, u64::MAX), (1, 2), (4, 4), (u64::MAX - 1, u64::MAX - 1)]);
        assert_eq!(set.ranges().collect::<Vec<_>>(), [(1, 2), (4, 4), (u64::MAX - 1, u64::MAX)]);
        assert_eq!(set.missing(6), [(3, 3), (5, 6)]);
        assert_eq!((set.watermark(), set.highest()), (2, u64::MAX));
        assert_eq!(set.missing(u64::MAX), [(3, 3), (5, u64::MAX - 2)]);
    }

    proptest! {
        #[test]
        fn ranges_are_a_set_of_numbers(numbers in proptest::collection::vec(1_u64..40, 0..60)) {
            let plain: BTreeSet<u64> = numbers.iter().copied().collect();
            let mut set = Sequences::default();
            for number in &numbers {
                set.insert(*number);
            }
            prop_assert_eq!(set.ranges().flat_map(|(first, last)| first..=last).collect::<BTreeSet<_>>(), plain.clone());
            let ranges: Vec<_> = set.ranges().collect();
            prop_assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < pair[1].0), "{:?}", ranges);
            prop_assert_eq!(set.watermark(), (1..).take_while(|number| plain.contains(number)).last().unwrap_or(0));
            prop_assert_eq!(set.highest(), plain.last().copied().unwrap_or(0));
            let missing: Vec<u64> = set.missing(45).into_iter().flat_map(|(first, last)| first..=last).collect();
            prop_assert_eq!(missing, (1..=45).filter(|number| !plain.contains(number)).collect::<Vec<_>>());
            prop_assert!((1..45).all(|number| set.contains(number) == plain.contains(&number)));
        }
    }
}
