//! Records that go out as several messages: each is done when all of its parts are answered. Pure.

use std::collections::BTreeMap;

use super::Lane;
use super::parcel::Letter;

/// The records of which parts are out; at most as many as messages may be.
#[derive(Debug, Default)]
pub(super) struct Parts(BTreeMap<u64, Left>);

#[derive(Debug)]
struct Left {
    lane: Lane,
    /// Parts without an answer, sent or not.
    count: u32,
    /// Why the first that was refused was.
    refused: Option<String>,
}

impl Parts {
    /// A part goes out.
    pub(super) fn submitted(&mut self, lane: Lane, letter: &Letter) {
        if letter.part.of > 1 {
            self.0.entry(letter.seq).or_insert(Left {
                lane,
                count: letter.part.of,
                refused: None,
            });
        }
    }

    /// A part was taken, or `refused` for this reason. `Some`: the record is done, and was refused for the reason in it.
    pub(super) fn answered(
        &mut self,
        letter: &Letter,
        refused: Option<String>,
    ) -> Option<Option<String>> {
        if letter.part.of <= 1 {
            return Some(refused);
        }
        let left = self.0.get_mut(&letter.seq)?;
        left.count = left.count.saturating_sub(1);
        if let (None, Some(reason)) = (&left.refused, refused) {
            let (nth, of) = (letter.part.nth, letter.part.of);
            left.refused = Some(format!("part {nth} of {of}: {reason}"));
        }
        if left.count > 0 {
            return None;
        }
        self.0.remove(&letter.seq).map(|left| left.refused)
    }

    /// The record is done, whatever its other parts.
    pub(super) fn settled(&mut self, seq: u64) {
        self.0.remove(&seq);
    }

    /// A lane begins anew, with all parts of its records.
    pub(super) fn forget(&mut self, lane: Lane) {
        self.0.retain(|_, left| left.lane != lane);
    }
}
