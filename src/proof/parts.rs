//! Records that come in parts (`message = "point"`): one has arrived when all its parts have.

use std::collections::{HashMap, VecDeque};

use crate::reading::RangeSet;

/// Most records of which some parts are there. Beyond, the oldest is given up, and stays missing: parts of a record
/// follow one another within a window.
const MOST_OPEN: usize = 10_000;

/// A record: stream and `seq`.
type Place = (usize, u64);

/// The records of which some parts are there.
#[derive(Debug, Default)]
pub(super) struct Parts {
    open: HashMap<Place, RangeSet>,
    order: VecDeque<Place>,
}

/// What became of a part.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// It came before.
    Again,
    /// More are to come.
    Some,
    /// It was the last one.
    All,
}

impl Parts {
    /// Takes part `part` of `of` of a record that is not complete yet.
    pub(super) fn take(&mut self, place: Place, (part, of): (u32, u32)) -> Part {
        let known = self.open.entry(place).or_insert_with(|| {
            self.order.push_back(place);
            RangeSet::new()
        });
        let part = u64::from(part);
        if known.contains(part) {
            return Part::Again;
        }
        known.insert(part, part);
        if known.len() >= u64::from(of) {
            self.open.remove(&place);
            self.order.retain(|open| *open != place);
            return Part::All;
        }
        if self.order.len() > MOST_OPEN
            && let Some(oldest) = self.order.pop_front()
        {
            self.open.remove(&oldest);
        }
        Part::Some
    }

    /// How many records of this stream lack parts.
    pub(super) fn open(&self, stream: usize) -> u64 {
        let open = self.open.keys().filter(|place| place.0 == stream);
        open.count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_there_when_all_its_parts_are() {
        let mut parts = Parts::default();
        assert_eq!(parts.take((0, 7), (3, 3)), Part::Some);
        assert_eq!(parts.take((0, 8), (1, 1)), Part::All);
        assert_eq!(parts.take((0, 7), (1, 3)), Part::Some);
        assert_eq!(parts.take((0, 7), (3, 3)), Part::Again);
        assert_eq!(parts.open(0), 1);
        assert_eq!(parts.take((0, 7), (2, 3)), Part::All);
        assert_eq!(parts.open(0), 0);
    }

    #[test]
    fn the_oldest_incomplete_record_is_given_up_at_the_bound() {
        let mut parts = Parts::default();
        for seq in 0..=MOST_OPEN as u64 {
            parts.take((0, seq), (1, 2));
        }
        assert_eq!(parts.open(0), MOST_OPEN as u64);
        assert_eq!(parts.take((0, 0), (2, 2)), Part::Some);
    }
}
