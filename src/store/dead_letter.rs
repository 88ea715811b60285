//! Records that a broker refused for good, kept with the reason until a person has looked at them.
//!
//! The payload: version (1 byte, now 1); upstream and reason (texts); time of the refusal (`i64`, ns since 1970); size of the
//! message in bytes (varint); whether a schema follows (1 byte) and that; the rest is a block of the one record, in its
//! envelope. So a dead letter needs nothing else of the store.

use std::collections::VecDeque;
use std::sync::Arc;

use super::block;
use super::bytes::{Bytes, put_text, put_varint};
use super::engine::{Keyed, Kind, Write};
use super::{envelope, schema};
use crate::reading::{Body, Name, Record};

const VERSION: u8 = 1;
/// Most dead letters, and most bytes of them; beyond, the oldest go. A broker that refuses everything must not fill the
/// disk with it.
pub(super) const MOST_LETTERS: usize = 10_000;
/// See [`MOST_LETTERS`].
pub(super) const MOST_BYTES: usize = 16 << 20;
/// Longest reason that is kept, in bytes.
const MOST_REASON: usize = 1024;

/// A record that a broker refused for good.
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetter {
    /// Who refused it.
    pub upstream: Name,
    /// Why, in the broker's words.
    pub reason: String,
    /// When, in nanoseconds since 1970.
    pub time_ns: i64,
    /// Bytes of the message that was refused.
    pub payload_size: u64,
    /// The record.
    pub record: Arc<Record>,
}

impl DeadLetter {
    fn encode(&self, place: u64) -> Option<Write> {
        let key = place.to_be_bytes();
        let mut out = envelope::begin(Kind::DeadLetter, &key, 1);
        out.push(VERSION);
        put_text(&mut out, self.upstream.as_str());
        let reason = self.reason.floor_char_boundary(MOST_REASON);
        put_text(&mut out, self.reason.get(..reason).unwrap_or_default());
        out.extend_from_slice(&self.time_ns.to_le_bytes());
        put_varint(&mut out, self.payload_size);
        match &self.record.body {
            Body::Scan(scan) => {
                out.push(1);
                schema::encode(&mut out, &scan.schema);
            }
            Body::Event(_) | Body::Description(_) => out.push(0),
        }
        out.extend_from_slice(&block::encode(std::slice::from_ref(&self.record), |_| 0)?);
        Some(Write {
            kind: Kind::DeadLetter,
            key: key.to_vec(),
            value: Some(envelope::seal(out)),
        })
    }

    fn decode(payload: &[u8]) -> Option<Self> {
        let mut bytes = Bytes(payload);
        if bytes.u8()? != VERSION {
            return None;
        }
        let (upstream, reason) = (bytes.name()?, bytes.text()?.to_owned());
        let (time_ns, payload_size) = (bytes.i64()?, bytes.varint()?);
        let schema = match bytes.u8()? {
            0 => None,
            _ => Some(Arc::new(schema::decode(&mut bytes)?)),
        };
        let records = block::decode(envelope::exactly(bytes.0)?.payload, |_| schema.clone())?;
        Some(Self {
            upstream,
            reason,
            time_ns,
            payload_size,
            record: Arc::clone(records.first()?),
        })
    }
}

/// Which dead letters there are, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Letters {
    kept: VecDeque<Kept>,
    bytes: usize,
}

#[derive(Debug)]
struct Kept {
    place: u64,
    bytes: usize,
    upstream: Name,
}

impl Letters {
    /// Those found on disk.
    pub(super) fn found(values: &[Keyed]) -> Self {
        let mut letters = Self::default();
        for (key, value) in values {
            let upstream = envelope::exactly(value).and_then(|value| upstream(value.payload));
            if let (Ok(place), Some(upstream)) = (key.as_slice().try_into(), upstream) {
                letters.keep(u64::from_be_bytes(place), value.len(), upstream);
            }
        }
        letters
    }

    fn keep(&mut self, place: u64, bytes: usize, upstream: Name) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.kept.push_back(Kept {
            place,
            bytes,
            upstream,
        });
    }

    /// How many.
    pub(super) fn count(&self) -> usize {
        self.kept.len()
    }

    /// The place behind the last.
    pub(super) fn next(&self) -> u64 {
        self.kept
            .back()
            .map_or(0, |last| last.place.saturating_add(1))
    }

    /// What to write to keep `letter` at `place`: itself, and the removal of those that no longer fit; and whose they were.
    pub(super) fn add(&mut self, letter: &DeadLetter, place: u64) -> (Vec<Write>, Vec<Name>) {
        let Some(write) = letter.encode(place) else {
            return (Vec::new(), Vec::new());
        };
        let size = write.value.as_ref().map_or(0, Vec::len);
        self.keep(place, size, letter.upstream.clone());
        let (mut writes, mut gone) = (vec![write], Vec::new());
        while self.kept.len() > MOST_LETTERS || self.bytes > MOST_BYTES {
            let Some(oldest) = self.kept.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            gone.push(oldest.upstream);
            writes.push(Write {
                kind: Kind::DeadLetter,
                key: oldest.place.to_be_bytes().to_vec(),
                value: None,
            });
        }
        (writes, gone)
    }
}

/// Who refused the record of a dead letter.
fn upstream(payload: &[u8]) -> Option<Name> {
    let mut bytes = Bytes(payload);
    (bytes.u8()? == VERSION).then(|| bytes.name()).flatten()
}

/// Reads dead letters from their values; damaged ones are passed over.
pub(super) fn read(values: Vec<Keyed>) -> Vec<DeadLetter> {
    values
        .iter()
        .filter_map(|(_, value)| DeadLetter::decode(envelope::exactly(value)?.payload))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{MapHash, Quality, Reading, Scan, Schema, Stamp, StreamId};

    fn letter(seq: u64, reason: &str) -> DeadLetter {
        let name = |text| Name::new(text).unwrap();
        let schema = Schema {
            line: name("hall"),
            device: name("press"),
            scan: name("default"),
            labels: Vec::new(),
            map: MapHash(1),
            points: Vec::new(),
        };
        let readings = vec![Some(Reading::missing(Quality::Crc))];
        let body = Body::Scan(Scan {
            schema: Arc::new(schema),
            readings,
            full: false,
        });
        let record = Record {
            stream: StreamId(9),
            seq,
            device_seq: 3,
            stamp: Stamp::default(),
            body,
        };
        let reason = reason.to_owned();
        DeadLetter {
            upstream: name("cloud"),
            reason,
            time_ns: 5,
            payload_size: 700,
            record: Arc::new(record),
        }
    }

    #[test]
    fn needs_nothing_else_of_the_store() {
        let write = letter(7, "too big").encode(1).unwrap();
        assert_eq!(
            read(vec![(write.key, write.value.unwrap())]),
            [letter(7, "too big")]
        );
    }

    #[test]
    fn the_oldest_make_room() {
        let mut letters = Letters::default();
        for place in 0..MOST_LETTERS as u64 {
            let (writes, gone) = letters.add(&letter(place, ""), place);
            assert_eq!((writes.len(), gone.len()), (1, 0));
        }
        let (writes, gone) = letters.add(&letter(1, &"ä".repeat(9999)), MOST_LETTERS as u64);
        assert_eq!((writes.len(), letters.count()), (2, MOST_LETTERS));
        assert_eq!(gone, [letter(0, "").upstream], "for it is told");
        assert_eq!(writes[1].key, 0u64.to_be_bytes());
        assert!(writes[0].value.as_ref().unwrap().len() < 2 * MOST_REASON);
    }
}
