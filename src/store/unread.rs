//! Reads that fail: whether it is one place, for good.

use std::collections::BTreeMap;
use std::time::Instant;

use super::engine::unreadable::{PATIENCE, TRIES};

/// Most places that are remembered, one for each lane of an upstream; a gateway has a few.
const MOST: usize = 64;

/// Where reads failed of late: the record from which on, how often, and since when.
#[derive(Debug, Default)]
pub(super) struct Unread {
    places: BTreeMap<u64, (u32, Instant)>,
}

impl Unread {
    /// Notes that nothing can be read from this record on; whether that has been so often and for so long that what is
    /// there is lost.
    pub(super) fn failed(&mut self, from: u64, now: Instant) -> bool {
        if self.places.len() >= MOST && !self.places.contains_key(&from) {
            self.places.clear();
        }
        let (tries, since) = self.places.entry(from).or_insert((0, now));
        *tries = tries.saturating_add(1);
        let lost = *tries >= TRIES && now.saturating_duration_since(*since) >= PATIENCE;
        if lost {
            self.places.clear();
        }
        lost
    }

    /// Notes that something could be read from this record on.
    pub(super) fn worked(&mut self, from: u64) {
        self.places.remove(&from);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_lost_after_many_tries_in_a_long_time() {
        let (mut unread, start) = (Unread::default(), Instant::now());
        for _ in 0..100 {
            assert!(!unread.failed(7, start), "in no time");
        }
        assert!(!unread.failed(8, start + PATIENCE), "another place");
        assert!(unread.failed(7, start + PATIENCE));
        assert!(!unread.failed(7, start + PATIENCE), "and begins anew");
    }

    #[test]
    fn one_that_works_again_is_not() {
        let (mut unread, start) = (Unread::default(), Instant::now());
        for _ in 1..TRIES {
            assert!(!unread.failed(7, start));
        }
        unread.worked(7);
        assert!(!unread.failed(7, start + PATIENCE));
    }

    #[test]
    fn many_places_are_a_disk_that_is_away() {
        let (mut unread, start) = (Unread::default(), Instant::now());
        for round in 0..2 * TRIES {
            for from in 0..=MOST as u64 {
                assert!(!unread.failed(from, start + PATIENCE * round));
            }
        }
    }
}
