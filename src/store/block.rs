//! A block of consecutive records, under the first `seq` in it. One commit writes one or several.
//!
//! The payload of its envelope:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version, now 1 |
//! | 1 | flags: bit 0 the body is compressed (LZ4 block), bit 1 a description is in it, bit 2 the clock was not synchronised at some record, bit 3 an event is in it |
//! | 4 | stream |
//! | 8 | first `seq` |
//! | 4 | number of records |
//! | 16 | boot id |
//! | 8, 8 | earliest and latest wall time in ns since 1970 |
//! | varint | number of devices; of each: name (text; empty: the gateway), first `device_seq` (varint), number of records (varint) |
//! | varint | number of schemas; of each: id (varint), device (varint: place in the list above) |
//! | 4 | length of the body, uncompressed |
//! | rest | body |
//!
//! The body, of one part after the other, without what separates them but the two lengths at its start:
//!
//! | bytes | what |
//! |---|---|
//! | varint | length of the heads |
//! | varint | length of the kinds |
//! | heads | of each record: see below |
//! | kinds | a byte for each reading of each scan, in order ([`readings`]) |
//! | rest | values: what each reading, event ([`body`]) and description has beside that, in order |
//!
//! A head is a tag (bits 0-1: 0 scan, 1 event, 2 description; bit 2 the clock was synchronised; bit 3 a full scan), the boot
//! time as its difference from the record before (zigzag varint; the first from 0), how much more or less than that the
//! wall time differs (zigzag varint), and a place: a scan's schema's, an event's or description's device's, in the lists
//! above (varint). A scan then has its number of readings (varint), before that, where it is the first of its schema,
//! the place plus one of the schema whose last readings its differences begin from, or 0 (varint).
//! `seq` and `device_seq` are those of the header, counted on.
//!
//! All numbers are little-endian; texts have their length before them. Later versions read this one.

pub(super) mod body;
mod readings;
mod records;

use std::sync::Arc;

use super::bytes::Bytes;
use super::envelope::{self, Kind};
use super::schema::{SchemaId, SchemaTable};
use crate::reading::{Body, BootId, Name, Record, Schema, Stamp, StreamId};
use records::{Lists, Parts, Share};

const VERSION: u8 = 1;
const COMPRESSED: u8 = 1;
const DESCRIPTIONS: u8 = 2;
const UNSYNCED: u8 = 4;
const EVENTS: u8 = 8;
/// Shorter bodies do not get smaller by much.
const WORTH_COMPRESSING: usize = 256;
/// A block is far smaller; a length beyond is damage, and nothing is allocated for it.
const MAX_BODY: usize = 64 << 20;

/// A device's records in a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DeviceSpan {
    /// The device; `None`: the gateway.
    pub(super) device: Option<Name>,
    /// `device_seq` of its first record.
    pub(super) first: u64,
    /// How many, at least one.
    pub(super) count: u64,
}

/// What can be known of a block without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    flags: u8,
    pub(super) stream: StreamId,
    pub(super) first: u64,
    pub(super) count: u32,
    pub(super) boot: BootId,
    pub(super) earliest: i64,
    pub(super) latest: i64,
    pub(super) devices: Vec<DeviceSpan>,
    pub(super) schemas: Vec<(SchemaId, usize)>,
    body: usize,
}

impl Header {
    /// The `seq` behind the last record.
    pub(super) fn end(&self) -> u64 {
        self.first.saturating_add(self.count.into())
    }

    /// Whether a description is in it.
    pub(super) fn has_descriptions(&self) -> bool {
        self.flags & DESCRIPTIONS != 0
    }

    /// Whether an event is in it.
    pub(super) fn has_events(&self) -> bool {
        self.flags & EVENTS != 0
    }

    /// Whether all schemas in it are known.
    pub(super) fn is_readable(&self, known: &SchemaTable) -> bool {
        (self.schemas.iter()).all(|(id, _)| known.get(*id).is_some())
    }

    /// Whether all its times could be trusted.
    pub(super) fn synced(&self) -> bool {
        self.flags & UNSYNCED == 0
    }
}

/// A block that is being built. It has no numbers yet: those are given to what is committed, in one go.
#[derive(Debug, Default)]
pub(super) struct Draft {
    parts: Parts,
    flags: u8,
    count: u32,
    boot: BootId,
    times: Option<(i64, i64)>,
}

impl Draft {
    /// Appends a record, which is of the boot of the first: the place of its device among [`Packed::devices`].
    /// `None`: it has more readings than fit, and was not put.
    pub(super) fn put(&mut self, stamp: Stamp, body: &Body) -> Option<usize> {
        let place = self.parts.put(stamp, body)?;
        self.flags |= match body {
            Body::Scan(_) => 0,
            Body::Event(_) => EVENTS,
            Body::Description(_) => DESCRIPTIONS,
        };
        self.flags |= if stamp.synced { 0 } else { UNSYNCED };
        self.count += 1;
        self.boot = stamp.boot;
        let (earliest, latest) = self.times.unwrap_or((stamp.wall_ns, stamp.wall_ns));
        self.times = Some((earliest.min(stamp.wall_ns), latest.max(stamp.wall_ns)));
        Some(place)
    }

    /// The boot of its records; `None`: there is none yet.
    pub(super) fn boot(&self) -> Option<BootId> {
        (self.count > 0).then_some(self.boot)
    }

    /// About how many bytes it has by now, uncompressed.
    pub(super) fn len(&self) -> usize {
        self.parts.len()
    }

    /// Compresses it.
    pub(super) fn pack(self) -> Packed {
        let (lists, body) = self.parts.close();
        let (length, mut flags) = (body.len(), self.flags);
        let packed = (length >= WORTH_COMPRESSING).then(|| lz4_flex::block::compress(&body));
        let packed = packed.filter(|packed| packed.len() < length);
        flags |= if packed.is_some() { COMPRESSED } else { 0 };
        Packed {
            lists,
            flags,
            count: self.count,
            boot: self.boot,
            times: self.times.unwrap_or_default(),
            length,
            body: packed.unwrap_or(body),
        }
    }
}

/// A block that lacks nothing but its numbers.
#[derive(Debug)]
pub(super) struct Packed {
    lists: Lists,
    flags: u8,
    count: u32,
    boot: BootId,
    times: (i64, i64),
    /// Of the body, uncompressed.
    length: usize,
    body: Vec<u8>,
}

impl Packed {
    /// Its devices, in the order in which they came first.
    pub(super) fn devices(&self) -> &[Share] {
        &self.lists.devices
    }

    /// The value of the block whose records are numbered from `first` on, and those of each of its devices from `firsts` on.
    pub(super) fn seal(
        &self,
        stream: StreamId,
        first: u64,
        firsts: &[u64],
        id: impl FnMut(&Arc<Schema>) -> SchemaId,
    ) -> Vec<u8> {
        let mut out = envelope::begin(Kind::Block, &first.to_be_bytes(), u64::from(stream.0));
        out.reserve(self.body.len() + 64 + 24 * self.lists.devices.len());
        out.extend_from_slice(&[VERSION, self.flags]);
        out.extend_from_slice(&stream.0.to_le_bytes());
        out.extend_from_slice(&first.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.boot.0.to_le_bytes());
        out.extend_from_slice(&self.times.0.to_le_bytes());
        out.extend_from_slice(&self.times.1.to_le_bytes());
        self.lists.put(&mut out, firsts, id);
        let length = u32::try_from(self.length).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.body);
        envelope::seal(out)
    }
}

/// The value of a block of `records`, which follow one another in `seq` and, of each device, in `device_seq`, and are of
/// one stream and boot. `None`: there are none, or more readings than a block can have.
pub(super) fn encode(
    records: &[Arc<Record>],
    id: impl FnMut(&Arc<Schema>) -> SchemaId,
) -> Option<Vec<u8>> {
    let first = records.first()?;
    let (mut draft, mut firsts) = (Draft::default(), Vec::new());
    for record in records {
        if draft.put(record.stamp, &record.body)? == firsts.len() {
            firsts.push(record.device_seq);
        }
    }
    let packed = draft.pack();
    Some(packed.seal(first.stream, first.seq, &firsts, id))
}

/// Reads the header of a block's payload; what is left is the body.
pub(super) fn header<'a>(payload: &'a [u8]) -> Option<(Header, Bytes<'a>)> {
    let mut bytes = Bytes(payload);
    if bytes.u8()? != VERSION {
        return None;
    }
    let flags = bytes.u8()?;
    let (stream, first, count) = (StreamId(bytes.u32()?), bytes.u64()?, bytes.u32()?);
    let boot = BootId(u128::from_le_bytes(bytes.array()?));
    let (earliest, latest) = (bytes.i64()?, bytes.i64()?);
    let mut devices = Vec::with_capacity(bytes.count(3)?);
    for _ in 0..devices.capacity() {
        let name = bytes.text()?;
        let device = if name.is_empty() {
            None
        } else {
            Some(Name::new(name).ok()?)
        };
        devices.push(DeviceSpan {
            device,
            first: bytes.varint()?,
            count: bytes.varint()?,
        });
    }
    let mut schemas = Vec::with_capacity(bytes.count(2)?);
    for _ in 0..schemas.capacity() {
        let id = bytes.varint()?.try_into().ok()?;
        schemas.push((id, usize::try_from(bytes.varint()?).ok()?));
    }
    let body = bytes.u32()? as usize;
    let header = Header {
        flags,
        stream,
        first,
        count,
        boot,
        earliest,
        latest,
        devices,
        schemas,
        body,
    };
    (body <= MAX_BODY).then_some((header, bytes))
}

/// The records of a block. `None`: the bytes are not those of a block, or a schema in it is not known.
pub(super) fn decode(
    payload: &[u8],
    schema: impl Fn(SchemaId) -> Option<Arc<Schema>>,
) -> Option<Vec<Arc<Record>>> {
    let (header, stored) = header(payload)?;
    let unpacked = match header.flags & COMPRESSED {
        0 => None,
        // A byte of LZ4 stands for 255 at the most.
        _ if header.body / 255 > stored.0.len() => return None,
        _ => Some(lz4_flex::block::decompress(stored.0, header.body).ok()?),
    };
    let body = Bytes(unpacked.as_deref().unwrap_or(stored.0));
    let schemas: Option<Vec<(Arc<Schema>, usize)>> = header
        .schemas
        .iter()
        .map(|&(id, device)| Some((schema(id)?, device)))
        .collect();
    records::decode(&header, schemas?, body)
}

#[cfg(test)]
mod figures;
#[cfg(test)]
mod tests;
