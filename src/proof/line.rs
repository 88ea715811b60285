//! Numbers in steps of one: which came, which are explained, which are missing.

use crate::reading::RangeSet;

/// Most ranges that are held of one line, some megabytes. Beyond, the lowest hole counts as missing for good, and the
/// lowest explanation as none.
const MOST_RANGES: usize = 50_000;

/// `seq` of a stream, or `device_seq` of a device in it.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    seen: RangeSet,
    explained: RangeSet,
    given_up: u64,
}

impl Line {
    /// Takes a number; whether it is the first time.
    pub(super) fn arrived(&mut self, number: u64) -> bool {
        if self.seen.contains(number) {
            return false;
        }
        self.seen.insert(number, number);
        if self.seen.range_count() > MOST_RANGES {
            self.give_up_lowest_hole();
        }
        true
    }

    /// Whether the number came.
    pub(super) fn has(&self, number: u64) -> bool {
        self.seen.contains(number)
    }

    /// An event names these numbers.
    pub(super) fn explain(&mut self, numbers: &RangeSet) {
        self.explained.extend(numbers);
        while self.explained.range_count() > MOST_RANGES {
            let Some((first, last)) = self.explained.iter().next() else {
                return;
            };
            self.explained.remove(first, last);
        }
    }

    /// What events of this line name.
    pub(super) fn explained(&self) -> &RangeSet {
        &self.explained
    }

    /// Lowest and highest number that came.
    pub(super) fn bounds(&self) -> Option<(u64, u64)> {
        self.seen.bounds()
    }

    /// How many different numbers came.
    pub(super) fn count(&self) -> u64 {
        self.seen.len().saturating_sub(self.given_up)
    }

    /// Holes that were given up as missing, beyond [`Self::absent`].
    pub(super) fn given_up(&self) -> u64 {
        self.given_up
    }

    /// What did not come of `from..=to`.
    pub(super) fn absent(&self, from: u64, to: u64) -> RangeSet {
        let mut absent: RangeSet = [(from, to)].into_iter().collect();
        for (first, last) in self.seen.iter() {
            absent.remove(first, last);
        }
        absent
    }

    fn give_up_lowest_hole(&mut self) {
        let lowest: Vec<_> = self.seen.iter().take(2).collect();
        let [(_, end), (start, _)] = lowest[..] else {
            return;
        };
        self.given_up = self.given_up.saturating_add(start - end - 1);
        self.seen.insert(end + 1, start - 1);
    }
}

/// Takes what `explained` names out of `absent`; how many numbers that were.
pub(super) fn excuse(absent: &mut RangeSet, explained: &RangeSet) -> u64 {
    let before = absent.len();
    for (first, last) in explained.iter() {
        absent.remove(first, last);
    }
    before - absent.len()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_neither_there_nor_explained_is_absent(
            came in prop::collection::vec(1u64..60, 0..80),
            named in prop::collection::vec((1u64..60, 0u64..6), 0..8),
        ) {
            let mut line = Line::default();
            for number in &came {
                line.arrived(*number);
            }
            let named: RangeSet = named.iter().map(|(first, more)| (*first, first + more)).collect();
            let mut absent = line.absent(1, 70);
            let excused = excuse(&mut absent, &named);
            let came: BTreeSet<u64> = came.into_iter().collect();
            let expected: Vec<u64> =
                (1..=70).filter(|number| !came.contains(number) && !named.contains(*number)).collect();
            prop_assert_eq!(absent.iter().flat_map(|(a, b)| a..=b).collect::<Vec<_>>(), expected);
            prop_assert_eq!(excused + absent.len() + came.len() as u64, 70);
            prop_assert_eq!(line.count(), came.len() as u64);
        }
    }

    #[test]
    fn a_hole_that_is_given_up_stays_missing_though_its_number_comes_later() {
        let mut line = Line::default();
        for number in 0..=MOST_RANGES as u64 {
            assert!(line.arrived(number * 2 + 1));
        }
        assert_eq!(line.given_up(), 1);
        assert_eq!(line.count(), MOST_RANGES as u64 + 1);
        assert!(!line.arrived(2), "the lowest hole is no longer looked at");
        assert_eq!(
            line.absent(1, 9).iter().collect::<Vec<_>>(),
            [(4, 4), (6, 6), (8, 8)]
        );
    }
}
