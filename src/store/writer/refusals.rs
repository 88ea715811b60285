//! Records that a broker refused: kept, told, and out of the way.

use std::collections::{BTreeMap, VecDeque};

use super::Writer;
use crate::reading::{Body, Detail, Event, EventName, Name, RangeSet};
use crate::store::dead_letter::DeadLetter;
use crate::store::engine::EngineError;
use crate::store::reader;
use crate::store::shared::{ReadLimit, Refusal};

/// What an upstream refused of a device, for one reason.
#[derive(Default)]
struct Refused {
    seq: RangeSet,
    device_seq: RangeSet,
    time: Option<(i64, i64)>,
    /// More than events were refused: a refused event makes no event of its own.
    worth: bool,
}

/// By upstream, device and reason.
type Told = BTreeMap<(Name, Option<Name>, String), Refused>;

impl Writer {
    /// Makes dead letters of what was refused. They, the cursors and the events that tell it go in one commit.
    ///
    /// # Errors
    /// A record cannot be read now: it and those behind it stay refused, and no cursor moves over them, until it can.
    pub(super) fn take_refusals(&mut self) -> Result<(), EngineError> {
        let mut refusals = VecDeque::from(std::mem::take(&mut self.shared.state().refusals));
        let mut told = Told::new();
        let mut result = Ok(());
        while let Some(refusal) = refusals.pop_front() {
            match self.keep(&refusal, &mut told) {
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
        self.tell_refused(told);
        result
    }

    fn tell_refused(&mut self, told: Told) {
        for ((upstream, device, reason), refused) in told {
            if refused.worth {
                let mut event = Event::gateway(EventName::RecordsRefused);
                event.device = device;
                let (from, to) = refused.time.unwrap_or_default();
                self.say(
                    event
                        .text("upstream", upstream.as_str())
                        .text("reason", reason)
                        .with("seq", Detail::Ranges(refused.seq))
                        .with("device_seq", Detail::Ranges(refused.device_seq))
                        .with("time", Detail::Times(from, to)),
                );
            }
        }
    }

    /// Whether the record was found.
    fn keep(&mut self, refusal: &Refusal, told: &mut Told) -> Result<bool, EngineError> {
        let limit = ReadLimit {
            records: 1,
            bytes: usize::MAX,
        };
        let known = self.shared.state().in_memory(refusal.seq, limit);
        let found = match known {
            Some(found) => found,
            None => reader::read_disk(&self.shared, refusal.seq, limit)?,
        };
        let Some(record) = found.into_iter().find(|record| record.seq == refusal.seq) else {
            return Ok(false);
        };
        let key = (
            refusal.upstream.clone(),
            record.body.device().cloned(),
            refusal.reason.clone(),
        );
        let refused = told.entry(key).or_default();
        refused.seq.insert(record.seq, record.seq);
        refused
            .device_seq
            .insert(record.device_seq, record.device_seq);
        let (from, to) = refused
            .time
            .unwrap_or((record.stamp.wall_ns, record.stamp.wall_ns));
        refused.time = Some((from.min(record.stamp.wall_ns), to.max(record.stamp.wall_ns)));
        refused.worth |= !matches!(record.body, Body::Event(_));
        let letter = DeadLetter {
            upstream: refusal.upstream.clone(),
            reason: refusal.reason.clone(),
            time_ns: self.clock.now().wall_ns,
            payload_size: refusal.payload_size,
            record,
        };
        let place = self.checkpoint.next_dead;
        self.checkpoint.next_dead = place.saturating_add(1);
        self.notes.extend(self.letters.add(&letter, place));
        Ok(true)
    }
}
