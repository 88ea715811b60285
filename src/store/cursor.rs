//! What an upstream has confirmed: a set of ranges, from the first record on.
//!
//! The payload: version (1 byte, now 1), number of ranges (varint), of each the distance from the end of the one before
//! and its length less one (varints).

use super::bytes::{Bytes, put_ranges};
use super::engine::{Kind, Write};
use super::envelope;
use crate::reading::{Name, RangeSet};

const VERSION: u8 = 1;
/// Beyond this the smallest range is forgotten, which repeats its records.
pub(super) const MOST_RANGES: usize = 1000;

/// An upstream's cursor, and how much of it is not written yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Cursor {
    confirmed: RangeSet,
    generation: u64,
    /// Confirmations since it was last written.
    unwritten: u64,
    /// It differs from what is on disk.
    changed: bool,
}

impl Cursor {
    /// A new cursor that begins at `from`.
    pub(super) fn starting_at(from: u64) -> Self {
        let mut cursor = Self {
            changed: true,
            ..Self::default()
        };
        cursor.confirmed.insert(1, from.saturating_sub(1));
        cursor
    }

    /// Reads one from disk.
    pub(super) fn found(payload: &[u8], generation: u64) -> Option<Self> {
        let mut bytes = Bytes(payload);
        if bytes.u8()? != VERSION {
            return None;
        }
        Some(Self {
            confirmed: bytes.ranges()?,
            generation,
            ..Self::default()
        })
    }

    /// All that is confirmed.
    pub(super) fn confirmed(&self) -> &RangeSet {
        &self.confirmed
    }

    /// The oldest `seq` that is not confirmed.
    pub(super) fn oldest(&self) -> u64 {
        self.confirmed.first_missing(1)
    }

    /// Adds what was confirmed.
    pub(super) fn confirm(&mut self, confirmed: &RangeSet) {
        self.confirmed.extend(confirmed);
        self.unwritten = self.unwritten.saturating_add(confirmed.len());
        self.changed = true;
        while self.confirmed.range_count() > MOST_RANGES {
            // The one from the start is the last to be given up: all the rest of the store hangs on it.
            let smallest = self
                .confirmed
                .iter()
                .skip(1)
                .min_by_key(|(first, last)| last - first);
            let Some((first, last)) = smallest else { break };
            self.confirmed.remove(first, last);
        }
    }

    /// Takes all below `floor` for confirmed: it is no longer in the store.
    pub(super) fn pass(&mut self, floor: u64) {
        if self.oldest() < floor {
            self.confirmed.insert(1, floor.saturating_sub(1));
            self.changed = true;
        }
    }

    /// Confirmations that a crash now would repeat.
    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// Whether it is to be written.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Has it written again.
    pub(super) fn touch(&mut self) {
        self.changed = true;
    }

    /// The value to write; it counts as written then.
    pub(super) fn write(&mut self, upstream: &Name) -> Write {
        self.generation = self.generation.saturating_add(1);
        self.unwritten = 0;
        self.changed = false;
        let key = upstream.as_str().as_bytes();
        let mut value = envelope::begin(Kind::Cursor, key, self.generation);
        value.push(VERSION);
        put_ranges(&mut value, &self.confirmed);
        Write {
            kind: Kind::Cursor,
            key: key.to_vec(),
            value: Some(envelope::seal(value)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[(u64, u64)]) -> RangeSet {
        pairs.iter().copied().collect()
    }

    #[test]
    fn comes_back_as_it_was_written() {
        let name = Name::new("cloud").unwrap();
        let mut cursor = Cursor::starting_at(5);
        cursor.confirm(&set(&[(7, 9), (12, 12)]));
        assert_eq!((cursor.oldest(), cursor.unwritten()), (5, 4));
        let written = cursor.write(&name).value.unwrap();
        assert!(!cursor.changed());
        let found = envelope::exactly(&written).unwrap();
        let again = Cursor::found(found.payload, found.generation).unwrap();
        assert_eq!(again.confirmed(), &set(&[(1, 4), (7, 9), (12, 12)]));
        assert_eq!(again.generation, 1);
    }

    #[test]
    fn keeps_its_bound_by_forgetting_the_smallest_range() {
        let mut cursor = Cursor::starting_at(2);
        for n in 1..=1001 {
            cursor.confirm(&set(&[(n * 10, n * 10 + u64::from(n != 500))]));
        }
        assert_eq!(cursor.confirmed().range_count(), MOST_RANGES);
        assert!(cursor.confirmed().contains(1) && !cursor.confirmed().contains(5000));
    }
}
