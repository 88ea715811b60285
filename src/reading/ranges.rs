//! Sets of sequence numbers as ranges: cursors, holes.

use std::collections::BTreeMap;
use std::fmt;

/// A set of `u64` held as disjoint inclusive ranges that do not touch.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct RangeSet {
    ranges: BTreeMap<u64, u64>,
}

impl RangeSet {
    /// The empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `first..=last`, joining what touches. Nothing happens when `last < first`.
    pub fn insert(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        let (mut first, mut last) = (first, last);
        // Whatever starts at or before the place behind `last` and ends at or after the place before `first` touches.
        while let Some((&start, &end)) = self.ranges.range(..=last.saturating_add(1)).next_back() {
            if end.saturating_add(1) < first {
                break;
            }
            self.ranges.remove(&start);
            first = first.min(start);
            last = last.max(end);
        }
        self.ranges.insert(first, last);
    }

    /// Adds every number of `other`.
    pub fn extend(&mut self, other: &Self) {
        for (first, last) in other.iter() {
            self.insert(first, last);
        }
    }

    /// Takes `first..=last` out.
    pub fn remove(&mut self, first: u64, last: u64) {
        if last < first {
            return;
        }
        while let Some((&start, &end)) = self.ranges.range(..=last).next_back() {
            if end < first {
                break;
            }
            self.ranges.remove(&start);
            if end > last {
                self.ranges.insert(last.saturating_add(1), end);
            }
            if start < first {
                self.ranges.insert(start, first.saturating_sub(1));
                break;
            }
        }
    }

    /// Whether `number` is in the set.
    pub fn contains(&self, number: u64) -> bool {
        self.ranges
            .range(..=number)
            .next_back()
            .is_some_and(|(_, &end)| end >= number)
    }

    /// The lowest number that is `>= from` and not in the set.
    pub fn first_missing(&self, from: u64) -> u64 {
        match self.ranges.range(..=from).next_back() {
            Some((_, &end)) if end >= from => end.saturating_add(1),
            _ => from,
        }
    }

    /// The ranges in ascending order, both ends included.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> + '_ {
        self.ranges.iter().map(|(&first, &last)| (first, last))
    }

    /// How many ranges.
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// How many numbers.
    pub fn len(&self) -> u64 {
        self.iter().fold(0, |sum, (first, last)| {
            sum.saturating_add((last - first).saturating_add(1))
        })
    }

    /// Whether there is no number in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// The lowest and the highest number.
    pub fn bounds(&self) -> Option<(u64, u64)> {
        Some((
            *self.ranges.first_key_value()?.0,
            *self.ranges.last_key_value()?.1,
        ))
    }
}

impl fmt::Debug for RangeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|(first, last)| first..=last))
            .finish()
    }
}

impl FromIterator<(u64, u64)> for RangeSet {
    fn from_iter<I: IntoIterator<Item = (u64, u64)>>(ranges: I) -> Self {
        let mut set = Self::new();
        for (first, last) in ranges {
            set.insert(first, last);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_set_of_numbers(steps in prop::collection::vec((any::<bool>(), 0u64..60, 0u64..12), 0..60)) {
            let (mut ranges, mut model) = (RangeSet::new(), BTreeSet::new());
            for (add, first, len) in steps {
                if add {
                    ranges.insert(first, first + len);
                    model.extend(first..=first + len);
                } else {
                    ranges.remove(first, first + len);
                    model.retain(|n| !(first..=first + len).contains(n));
                }
                prop_assert_eq!(ranges.iter().flat_map(|(a, b)| a..=b).collect::<BTreeSet<_>>(), model.clone());
                let touching = ranges.iter().zip(ranges.iter().skip(1)).any(|((_, a), (b, _))| a + 1 >= b);
                prop_assert!(!touching, "{ranges:?}");
                for n in 0..80 {
                    prop_assert_eq!(ranges.contains(n), model.contains(&n));
                    prop_assert_eq!(ranges.first_missing(n), (n..).find(|m| !model.contains(m)).unwrap());
                }
                prop_assert_eq!(ranges.len(), model.len() as u64);
            }
        }
    }

    #[test]
    fn the_ends_of_the_number_line_hold() {
        let mut set = RangeSet::new();
        set.insert(u64::MAX, u64::MAX);
        set.insert(0, 0);
        set.remove(0, 0);
        set.remove(u64::MAX, u64::MAX);
        assert!(set.is_empty());
        set.insert(0, u64::MAX);
        assert_eq!(set.bounds(), Some((0, u64::MAX)));
    }
}
