//! Fingerprints of the latest messages, to tell a repetition from a contradiction.

use std::collections::{HashMap, VecDeque};

/// Most that are held, about 10 MiB: repetitions follow within a window and what a crash had not written down yet.
const MOST: usize = 100_000;

/// A message: stream, `seq`, part.
pub(super) type Place = (usize, u64, u32);

/// The latest fingerprints.
#[derive(Debug, Default)]
pub(super) struct Recent {
    known: HashMap<Place, u64>,
    order: VecDeque<Place>,
}

impl Recent {
    /// Notes a message that came for the first time.
    pub(super) fn note(&mut self, place: Place, fingerprint: u64) {
        if self.known.insert(place, fingerprint).is_none() {
            self.order.push_back(place);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }

    /// Whether a message that came again is the same; `None`: too long ago to tell.
    pub(super) fn same(&self, place: Place, fingerprint: u64) -> Option<bool> {
        self.known.get(&place).map(|known| *known == fingerprint)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_the_bound_is_reached() {
        let mut recent = Recent::default();
        for seq in 0..=MOST as u64 {
            recent.note((0, seq, 0), seq);
        }
        assert_eq!(recent.same((0, 0, 0), 0), None);
        assert_eq!(recent.same((0, 1, 0), 1), Some(true));
        assert_eq!(recent.same((0, 1, 0), 2), Some(false));
        assert_eq!(recent.known.len(), recent.order.len());
    }
}
