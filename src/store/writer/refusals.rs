//! Records that a broker refused: kept, told, and out of the way.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Writer;
use crate::reading::{RangeSet, Record};
use crate::store::dead_letter::DeadLetter;
use crate::store::engine::EngineError;
use crate::store::holes::{Cause, Fate, Holes};
use crate::store::shared::Refusal;
use crate::store::{ReadLimit, reader};

/// What is read at once to find what was refused.
const AT_HAND: ReadLimit = ReadLimit {
    records: 1000,
    bytes: 1 << 20,
};

impl Writer {
    /// Makes dead letters of what was refused. They, the cursors and the events that tell it go in one commit.
    ///
    /// # Errors
    /// A record cannot be read now: it and those behind it stay refused, and no cursor moves over them, until it can.
    pub(super) fn take_refusals(&mut self) -> Result<(), EngineError> {
        let mut refusals = VecDeque::from(std::mem::take(&mut self.shared.state().refusals));
        let (mut told, mut result) = (Holes::default(), Ok(()));
        let mut at_hand = Vec::new();
        while let Some(refusal) = refusals.pop_front() {
            match self.keep(&refusal, &mut at_hand, &mut told) {
                Ok(true) => {}
                Ok(false) => log::warn!(
                    "record {} that {} refused is no longer in the store",
                    refusal.seq,
                    refusal.upstream
                ),
                Err(error) => {
                    refusals.push_front(refusal);
                    result = Err(error);
                    break;
                }
            }
            let confirmed: RangeSet = [(refusal.seq, refusal.seq)].into_iter().collect();
            if let Some(cursor) = self.shared.state().cursors.get_mut(&refusal.upstream) {
                cursor.confirm(&confirmed);
            }
        }
        self.shared.state().refusals.splice(..0, refusals);
        self.checkpoint_due |= !told.is_empty();
        self.checkpoint.untold.merge(told);
        result
    }

    /// Whether the record was found.
    fn keep(
        &mut self,
        refusal: &Refusal,
        at_hand: &mut Vec<Arc<Record>>,
        told: &mut Holes,
    ) -> Result<bool, EngineError> {
        let Some(record) = self.find(refusal.seq, at_hand)? else {
            return Ok(false);
        };
        let cause = Cause {
            fate: Fate::Refused,
            upstream: Some(refusal.upstream.clone()),
            reason: refusal.reason.clone(),
        };
        told.add_record(&record, &cause);
        let letter = DeadLetter {
            upstream: refusal.upstream.clone(),
            reason: refusal.reason.clone(),
            time_ns: self.clock.now().wall_ns,
            payload_size: refusal.payload_size,
            record,
        };
        let place = self.checkpoint.next_dead;
        self.checkpoint.next_dead = place.saturating_add(1);
        let (writes, gone) = self.letters.add(&letter, place);
        self.notes.extend(writes);
        for upstream in gone {
            let full = Cause {
                upstream: Some(upstream),
                ..Cause::bound("dead-letters")
            };
            told.add_count(&full, 1);
        }
        Ok(true)
    }

    /// A record; those around it are `at_hand` for the next, as refusals come in rows.
    fn find(
        &self,
        seq: u64,
        at_hand: &mut Vec<Arc<Record>>,
    ) -> Result<Option<Arc<Record>>, EngineError> {
        let known = |records: &[Arc<Record>]| {
            let found = records.binary_search_by_key(&seq, |record| record.seq);
            found.ok().and_then(|place| records.get(place).cloned())
        };
        if let Some(record) = known(at_hand) {
            return Ok(Some(record));
        }
        *at_hand = reader::records(&self.shared, seq, AT_HAND)?;
        Ok(known(at_hand))
    }
}
