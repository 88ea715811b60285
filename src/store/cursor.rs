//! What an upstream has confirmed: a set of ranges, from the first record on.
//!
//! The payload: version (1 byte, now 1; 0: the upstream is forgotten, and nothing follows), number of ranges (varint), of each the distance from the end of the one before
//! and its length less one (varints). What says that an upstream is forgotten stays, so that no older value of its cursor
//! comes back when the store is rebuilt.

use super::bytes::{Bytes, put_ranges};
use super::engine::{Kind, Write};
use super::envelope;
use crate::reading::{Name, RangeSet};

const VERSION: u8 = 1;
const FORGOTTEN: u8 = 0;
/// Beyond this the smallest range is forgotten, which repeats its records.
pub(super) const MOST_RANGES: usize = 1000;

/// An upstream's cursor, and how much of it is not written yet.
#[derive(Debug, Clone, Default)]
pub(super) struct Cursor {
    confirmed: RangeSet,
    generation: u64,
    /// Confirmations since it was last given to be written.
    unwritten: u64,
    /// Confirmations that were given to be written, and may not be there yet.
    writing: u64,
    /// It differs from what is on disk.
    changed: bool,
    /// Its upstream has registered since the store was opened: it is not one that left the configuration.
    attached: bool,
    forgotten: bool,
}

impl Cursor {
    /// A new cursor that begins at `from`, of an upstream that is new or (`before`) was forgotten.
    pub(super) fn starting_at(from: u64, before: Option<&Self>) -> Self {
        let mut cursor = Self {
            changed: true,
            generation: before.map_or(0, |before| before.generation),
            ..Self::default()
        };
        cursor.confirmed.insert(1, from.saturating_sub(1));
        cursor
    }

    /// Reads one from disk.
    pub(super) fn found(payload: &[u8], generation: u64) -> Option<Self> {
        let mut bytes = Bytes(payload);
        let (confirmed, forgotten) = match bytes.u8()? {
            VERSION => (bytes.ranges()?, false),
            FORGOTTEN => (RangeSet::new(), true),
            _ => return None,
        };
        Some(Self {
            confirmed,
            generation,
            forgotten,
            ..Self::default()
        })
    }

    /// Has it say that its upstream is forgotten.
    pub(super) fn forget(&mut self) {
        self.forgotten = true;
        self.changed = true;
        self.confirmed = RangeSet::new();
    }

    /// Whether its upstream is forgotten.
    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten
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

    /// Notes that its upstream is at work.
    pub(super) fn attach(&mut self) {
        self.attached = true;
    }

    /// Whether its upstream is at work; else it has left the configuration.
    pub(super) fn is_attached(&self) -> bool {
        self.attached
    }

    /// Confirmations that are not given to be written yet.
    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten
    }

    /// Confirmations that a crash now may repeat.
    pub(super) fn at_risk(&self) -> u64 {
        self.unwritten.saturating_add(self.writing)
    }

    /// Whether it is to be written.
    pub(super) fn changed(&self) -> bool {
        self.changed
    }

    /// Has it written again: what was given to be written may not be there.
    pub(super) fn touch(&mut self) {
        self.changed = true;
        self.unwritten = self.at_risk();
        self.writing = 0;
    }

    /// What was given to be written is there.
    pub(super) fn written(&mut self) {
        self.writing = 0;
    }

    /// The value to write; then [`Self::written`], or after an error [`Self::touch`].
    pub(super) fn write(&mut self, upstream: &Name) -> Write {
        self.generation = self.generation.saturating_add(1);
        self.writing = self.at_risk();
        self.unwritten = 0;
        self.changed = false;
        let key = upstream.as_str().as_bytes();
        let mut value = envelope::begin(Kind::Cursor, key, self.generation);
        if self.forgotten {
            value.push(FORGOTTEN);
        } else {
            value.push(VERSION);
            put_ranges(&mut value, &self.confirmed);
        }
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
        let mut cursor = Cursor::starting_at(5, None);
        cursor.confirm(&set(&[(7, 9), (12, 12)]));
        assert_eq!((cursor.oldest(), cursor.unwritten()), (5, 4));
        let written = cursor.write(&name).value.unwrap();
        assert!(!cursor.changed());
        assert_eq!((cursor.unwritten(), cursor.at_risk()), (0, 4));
        cursor.touch();
        assert_eq!(cursor.unwritten(), 4, "the write failed");
        cursor.write(&name);
        cursor.written();
        assert_eq!(cursor.at_risk(), 0);
        let found = envelope::exactly(&written).unwrap();
        let again = Cursor::found(found.payload, found.generation).unwrap();
        assert_eq!(again.confirmed(), &set(&[(1, 4), (7, 9), (12, 12)]));
        assert_eq!(again.generation, 1);
    }

    #[test]
    fn a_forgotten_one_begins_anew_and_above_its_old_values() {
        let name = Name::new("cloud").unwrap();
        let mut cursor = Cursor::starting_at(5, None);
        cursor.write(&name);
        cursor.forget();
        assert!(cursor.changed());
        let written = cursor.write(&name).value.unwrap();
        let found = envelope::exactly(&written).unwrap();
        let gone = Cursor::found(found.payload, found.generation).unwrap();
        assert!(gone.is_forgotten());
        let mut again = Cursor::starting_at(9, Some(&gone));
        let written = again.write(&name).value.unwrap();
        assert_eq!(envelope::exactly(&written).unwrap().generation, 3);
        assert!(!again.is_forgotten() && again.oldest() == 9);
    }

    #[test]
    fn keeps_its_bound_by_forgetting_the_smallest_range() {
        let mut cursor = Cursor::starting_at(2, None);
        for n in 1..=1001 {
            cursor.confirm(&set(&[(n * 10, n * 10 + u64::from(n != 500))]));
        }
        assert_eq!(cursor.confirmed().range_count(), MOST_RANGES);
        assert!(cursor.confirmed().contains(1) && !cursor.confirmed().contains(5000));
    }
}
