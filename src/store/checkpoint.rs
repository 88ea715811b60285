//! What the store must remember beside the records: its stream, its bounds, how far each device has counted.
//!
//! Written with a block now and then; what came later is read from the headers of the blocks behind it.
//!
//! The payload: version (1 byte, now 1), clean (1 byte), stream (`u32`), machine (`u64`: XXH3 of its id), next `seq`, `seq`
//! behind the last record, lowest `seq` that is kept, next place of a dead letter (`u64` each), next id of a schema
//! (`u32`), number of devices (varint), of each: name (text; empty: the gateway), next `device_seq` (varint), fingerprint of
//! its last description in this stream (`u64`, 0: none); whether the end of the stream before is still to be told (1 byte),
//! and then whether there was one (1 byte), its id (`u32`), its last `seq` (`u64`), the hole (ranges) and the reason (text);
//! what else is gone and not yet told ([`Holes::put`]); the number of blocks with events that tell something (varint), of
//! each its first `seq`, the `seq` behind it (`u64` each) and what they tell ([`Holes::put`]).

use std::collections::BTreeMap;

use super::bytes::{Bytes, put_ranges, put_text, put_varint};
use super::engine::{Kind, Write};
use super::envelope;
use super::holes::Holes;
use super::schema::SchemaId;
use crate::reading::{Detail, Event, Name, RangeSet, StreamId};

const VERSION: u8 = 1;
/// Its key: there is one.
const KEY: &[u8] = b"store";
/// Of so many events that some upstream has not confirmed it is kept which block told what: some ten kilobytes in each
/// checkpoint. Of more it is kept what they told together.
const MOST_TOLD: usize = 256;

/// How far a device has counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counter {
    /// `device_seq` of its next record.
    pub(super) next: u64,
    /// Fingerprint of its last description in this stream; 0: none.
    pub(super) described: u64,
}

impl Default for Counter {
    fn default() -> Self {
        Self {
            next: 1,
            described: 0,
        }
    }
}

/// The end of a stream, and what is known of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Break {
    pub(super) reason: String,
    /// The stream that ended; `None`: this is a new store.
    pub(super) previous: Option<StreamId>,
    /// Its last known `seq`; 0: none.
    pub(super) last: u64,
    /// Numbers that are neither in the store nor were dropped by a bound.
    pub(super) hole: RangeSet,
}

impl Break {
    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[1, u8::from(self.previous.is_some())]);
        out.extend_from_slice(&self.previous.unwrap_or_default().0.to_le_bytes());
        out.extend_from_slice(&self.last.to_le_bytes());
        put_ranges(out, &self.hole);
        put_text(out, &self.reason);
    }

    fn found(bytes: &mut Bytes<'_>) -> Option<Self> {
        let (has_previous, stream) = (bytes.u8()? != 0, StreamId(bytes.u32()?));
        Some(Self {
            previous: has_previous.then_some(stream),
            last: bytes.u64()?,
            hole: bytes.ranges()?,
            reason: bytes.text()?.to_owned(),
        })
    }

    /// Adds to `event` what consumers must know of it.
    pub(super) fn tell(&self, event: Event) -> Event {
        let event = event.text("reason", self.reason.clone());
        let Some(previous) = self.previous else {
            return event;
        };
        event
            .text("previous", previous.to_string())
            .with(
                "previous_last",
                Detail::Int(self.last.try_into().unwrap_or(i64::MAX)),
            )
            .with("hole", Detail::Ranges(self.hole.clone()))
    }
}

/// Blocks, one behind the other, with events that tell what is gone. Damage may take them before all upstreams have these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) first: u64,
    /// Behind its last record.
    pub(super) end: u64,
    pub(super) holes: Holes,
}

/// What the store remembers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Checkpoint {
    pub(super) generation: u64,
    /// The daemon stopped in order behind this.
    pub(super) clean: bool,
    pub(super) stream: StreamId,
    /// XXH3 of the machine's id; 0: it has none.
    pub(super) machine: u64,
    /// It covers all records below this.
    pub(super) next: u64,
    /// The last record was below this; `next` is higher where numbers were passed over.
    pub(super) end: u64,
    /// No record below this is in the store.
    pub(super) floor: u64,
    /// Place of the next dead letter.
    pub(super) next_dead: u64,
    /// Id of the next schema: those of schemas that are forgotten are not used again.
    pub(super) next_schema: SchemaId,
    /// By device; `None`: the gateway. Devices stay when none of their records is left.
    pub(super) counters: BTreeMap<Option<Name>, Counter>,
    /// The end of the stream before, as long as no record has told it.
    pub(super) broken: Option<Break>,
    /// What is gone, as long as no record has told it.
    pub(super) untold: Holes,
    /// What records have told that some upstream has not confirmed, the oldest first.
    pub(super) told: Vec<Told>,
}

impl Checkpoint {
    /// The block from `first` to below `end` is durable, and in it the events that tell `holes`. The first block of a stream
    /// tells how the one before ended.
    pub(super) fn tell(&mut self, first: u64, end: u64, holes: Holes) {
        self.end = end;
        self.broken = None;
        if holes.is_empty() {
            return;
        }
        self.told.push(Told { first, end, holes });
        self.fold();
    }

    /// Takes the oldest of what was told together while it is too much: then each device has one hole for each cause,
    /// however many events told of it.
    fn fold(&mut self) {
        let events = |told: &[Told]| told.iter().map(|told| told.holes.len()).sum::<usize>();
        while self.told.len() > 1 && events(&self.told) > MOST_TOLD {
            let oldest = self.told.remove(0);
            if let Some(next) = self.told.first_mut() {
                next.first = oldest.first;
                next.holes.merge(oldest.holes);
            }
        }
    }

    /// Reads one from disk.
    pub(super) fn found(payload: &[u8], generation: u64) -> Option<Self> {
        let mut bytes = Bytes(payload);
        if bytes.u8()? != VERSION {
            return None;
        }
        let clean = bytes.u8()? != 0;
        let (stream, machine) = (StreamId(bytes.u32()?), bytes.u64()?);
        let (next, end, floor, next_dead) =
            (bytes.u64()?, bytes.u64()?, bytes.u64()?, bytes.u64()?);
        let next_schema = bytes.u32()?;
        let mut counters = BTreeMap::new();
        for _ in 0..bytes.count(10)? {
            let name = bytes.text()?;
            let device = if name.is_empty() {
                None
            } else {
                Some(Name::new(name).ok()?)
            };
            counters.insert(
                device,
                Counter {
                    next: bytes.varint()?,
                    described: bytes.u64()?,
                },
            );
        }
        let broken = match bytes.u8()? {
            0 => None,
            _ => Some(Break::found(&mut bytes)?),
        };
        let untold = Holes::found(&mut bytes)?;
        let mut told = Vec::new();
        for _ in 0..bytes.count(18)? {
            told.push(Told {
                first: bytes.u64()?,
                end: bytes.u64()?,
                holes: Holes::found(&mut bytes)?,
            });
        }
        Some(Self {
            generation,
            clean,
            stream,
            machine,
            next,
            end,
            floor,
            next_dead,
            next_schema,
            counters,
            broken,
            untold,
            told,
        })
    }

    /// The value to write, one generation on.
    pub(super) fn write(&mut self) -> Write {
        self.generation = self.generation.saturating_add(1);
        let mut out = envelope::begin(Kind::State, KEY, self.generation);
        out.extend_from_slice(&[VERSION, u8::from(self.clean)]);
        out.extend_from_slice(&self.stream.0.to_le_bytes());
        for number in [
            self.machine,
            self.next,
            self.end,
            self.floor,
            self.next_dead,
        ] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.next_schema.to_le_bytes());
        put_varint(&mut out, self.counters.len() as u64);
        for (device, counter) in &self.counters {
            put_text(&mut out, device.as_ref().map_or("", Name::as_str));
            put_varint(&mut out, counter.next);
            out.extend_from_slice(&counter.described.to_le_bytes());
        }
        match &self.broken {
            None => out.push(0),
            Some(broken) => broken.put(&mut out),
        }
        self.untold.put(&mut out);
        put_varint(&mut out, self.told.len() as u64);
        for told in &self.told {
            out.extend_from_slice(&told.first.to_le_bytes());
            out.extend_from_slice(&told.end.to_le_bytes());
            told.holes.put(&mut out);
        }
        Write {
            kind: Kind::State,
            key: KEY.to_vec(),
            value: Some(envelope::seal(out)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::holes::Cause;

    #[test]
    fn comes_back_as_it_was_written() {
        let mut checkpoint = Checkpoint {
            clean: true,
            next: 100,
            end: 98,
            floor: 7,
            machine: 3,
            next_dead: 2,
            next_schema: 9,
            ..Checkpoint::default()
        };
        checkpoint.counters.insert(
            None,
            Counter {
                next: 5,
                described: 0,
            },
        );
        checkpoint.counters.insert(
            Name::new("press").ok(),
            Counter {
                next: 96,
                described: 77,
            },
        );
        checkpoint.broken = Some(Break {
            reason: "cut".to_owned(),
            previous: Some(StreamId(5)),
            last: 8,
            hole: [(9, 99)].into_iter().collect(),
        });
        let dropped = Cause::bound("max_size");
        checkpoint.untold.add_count(&dropped, 3);
        checkpoint.told.push(Told {
            first: 90,
            end: 97,
            holes: checkpoint.untold.clone(),
        });
        let written = checkpoint.write().value.unwrap();
        let found = envelope::exactly(&written).unwrap();
        assert_eq!(
            Checkpoint::found(found.payload, found.generation),
            Some(checkpoint)
        );
    }

    #[test]
    fn what_was_told_is_kept_together_where_it_is_much() {
        let (mut checkpoint, mut telling) = (Checkpoint::default(), Holes::default());
        for n in 0..100 {
            telling.add_count(&Cause::bound(&n.to_string()), 1);
        }
        for n in 1..=4 {
            checkpoint.tell(n * 10, n * 10 + 1, telling.clone());
        }
        let kept = |checkpoint: &Checkpoint| -> Vec<(u64, u64)> {
            let told = checkpoint.told.iter();
            told.map(|told| (told.first, told.end)).collect()
        };
        assert_eq!(kept(&checkpoint), [(10, 31), (40, 41)]);
        let mut all = telling.clone();
        all.merge(telling.clone());
        all.merge(telling);
        assert_eq!(checkpoint.told[0].holes, all, "nothing is forgotten");
        checkpoint.tell(50, 51, Holes::default());
        assert_eq!((checkpoint.told.len(), checkpoint.end), (2, 51));
        for n in 100..600 {
            all = Holes::default();
            all.add_count(&Cause::bound(&n.to_string()), 1);
            checkpoint.tell(n, n + 1, all);
        }
        assert_eq!(kept(&checkpoint), [(10, 600)], "each cause has one hole");
        assert_eq!(checkpoint.told[0].holes.len(), 600);
    }
}
