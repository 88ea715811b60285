//! A block of consecutive records: what one commit writes, under the first `seq` in it.
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
//! The body has of each record: a tag (bits 0-1: 0 scan, 1 event, 2 description; bit 2 the clock was synchronised; bit 3 a
//! full scan), wall time and boot time as differences from the record before (zigzag varints; the first from 0), then
//! a scan's schema or an event's or description's device (varint: place in the list above), and what
//! [`body`] says. `seq` and `device_seq` are those of the header, counted on.
//!
//! All numbers are little-endian; texts have their length before them. Later versions read this one.

pub(super) mod body;

use std::collections::HashMap;
use std::sync::Arc;

use super::bytes::{Bytes, put_signed, put_text, put_varint};
use super::envelope::{self, Kind};
use super::schema::SchemaId;
use crate::reading::{Body, BootId, Name, Record, Scan, Schema, Stamp, StreamId};

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

    /// Whether all its times could be trusted.
    pub(super) fn synced(&self) -> bool {
        self.flags & UNSYNCED == 0
    }
}

/// Builds the value of a block of `records`, which follow one another in `seq` and, of each device, in `device_seq`,
/// and are of one stream and boot. `None`: there are none.
pub(super) fn encode(
    records: &[Arc<Record>],
    mut id: impl FnMut(&Arc<Schema>) -> SchemaId,
) -> Option<Vec<u8>> {
    let first = records.first()?;
    let mut tables = Tables::default();
    let (mut body, mut before) = (Vec::with_capacity(records.len() * 64), Stamp::default());
    for record in records {
        tables.put(&mut body, record, before, &mut id);
        before = record.stamp;
    }
    let packed = (body.len() >= WORTH_COMPRESSING).then(|| lz4_flex::block::compress(&body));
    let packed = packed.filter(|packed| packed.len() < body.len());
    let mut flags = if packed.is_some() { COMPRESSED } else { 0 };
    if records
        .iter()
        .any(|record| matches!(record.body, Body::Description(_)))
    {
        flags |= DESCRIPTIONS;
    }
    if records
        .iter()
        .any(|record| matches!(record.body, Body::Event(_)))
    {
        flags |= EVENTS;
    }
    if records.iter().any(|record| !record.stamp.synced) {
        flags |= UNSYNCED;
    }
    let times = records.iter().map(|record| record.stamp.wall_ns);
    let mut out = envelope::begin(
        Kind::Block,
        &first.seq.to_be_bytes(),
        u64::from(first.stream.0),
    );
    out.extend_from_slice(&[VERSION, flags]);
    out.extend_from_slice(&first.stream.0.to_le_bytes());
    out.extend_from_slice(&first.seq.to_le_bytes());
    out.extend_from_slice(&u32::try_from(records.len()).ok()?.to_le_bytes());
    out.extend_from_slice(&first.stamp.boot.0.to_le_bytes());
    out.extend_from_slice(&times.clone().min()?.to_le_bytes());
    out.extend_from_slice(&times.max()?.to_le_bytes());
    tables.put_header(&mut out);
    out.extend_from_slice(&u32::try_from(body.len()).ok()?.to_le_bytes());
    out.extend_from_slice(packed.as_deref().unwrap_or(&body));
    Some(envelope::seal(out))
}

/// The lists of devices and schemas of a block that is being built.
#[derive(Default)]
struct Tables {
    devices: Vec<DeviceSpan>,
    device_places: HashMap<Option<Name>, usize>,
    schemas: Vec<(SchemaId, usize)>,
    /// By the address of the schema, which the records keep: no names are compared for each scan.
    schema_places: HashMap<usize, usize>,
}

impl Tables {
    fn put(
        &mut self,
        out: &mut Vec<u8>,
        record: &Record,
        before: Stamp,
        id: &mut impl FnMut(&Arc<Schema>) -> SchemaId,
    ) {
        let kind = match &record.body {
            Body::Scan(scan) => u8::from(scan.full) << 3,
            Body::Event(_) => 1,
            Body::Description(_) => 2,
        };
        out.push(kind | u8::from(record.stamp.synced) << 2);
        put_signed(out, record.stamp.wall_ns.wrapping_sub(before.wall_ns));
        put_signed(
            out,
            record
                .stamp
                .boot_ns
                .wrapping_sub(before.boot_ns)
                .cast_signed(),
        );
        match &record.body {
            Body::Scan(scan) => {
                put_varint(out, self.schema(scan, record.device_seq, id) as u64);
                body::put_readings(out, &scan.readings);
            }
            Body::Event(event) => {
                put_varint(
                    out,
                    self.device(event.device.as_ref(), record.device_seq) as u64,
                );
                body::put_event(out, event);
            }
            Body::Description(description) => {
                put_varint(
                    out,
                    self.device(Some(&description.device), record.device_seq) as u64,
                );
                body::put_description(out, description);
            }
        }
    }

    fn device(&mut self, device: Option<&Name>, seq: u64) -> usize {
        let place = *self
            .device_places
            .entry(device.cloned())
            .or_insert(self.devices.len());
        match self.devices.get_mut(place) {
            Some(span) => span.count += 1,
            None => self.devices.push(DeviceSpan {
                device: device.cloned(),
                first: seq,
                count: 1,
            }),
        }
        place
    }

    fn schema(
        &mut self,
        scan: &Scan,
        seq: u64,
        id: &mut impl FnMut(&Arc<Schema>) -> SchemaId,
    ) -> usize {
        let pointer = Arc::as_ptr(&scan.schema).addr();
        if let Some(&place) = self.schema_places.get(&pointer) {
            let device = self.schemas.get(place).map(|(_, device)| *device);
            if let Some(span) = device.and_then(|device| self.devices.get_mut(device)) {
                span.count += 1;
            }
            return place;
        }
        let place = self.schemas.len();
        let device = self.device(Some(&scan.schema.device), seq);
        self.schemas.push((id(&scan.schema), device));
        self.schema_places.insert(pointer, place);
        place
    }

    fn put_header(&self, out: &mut Vec<u8>) {
        put_varint(out, self.devices.len() as u64);
        for span in &self.devices {
            put_text(out, span.device.as_ref().map_or("", Name::as_str));
            put_varint(out, span.first);
            put_varint(out, span.count);
        }
        put_varint(out, self.schemas.len() as u64);
        for (id, device) in &self.schemas {
            put_varint(out, u64::from(*id));
            put_varint(out, *device as u64);
        }
    }
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
    let mut bytes = Bytes(unpacked.as_deref().unwrap_or(stored.0));
    let schemas: Option<Vec<(Arc<Schema>, usize)>> = header
        .schemas
        .iter()
        .map(|&(id, device)| Some((schema(id)?, device)))
        .collect();
    let mut state = Decoder {
        schemas: schemas?,
        next: header.devices.iter().map(|span| span.first).collect(),
        header,
    };
    let mut records = Vec::with_capacity(state.header.count.min(1 << 16) as usize);
    let mut stamp = Stamp {
        boot: state.header.boot,
        ..Stamp::default()
    };
    for seq in state.header.first..state.header.end() {
        records.push(Arc::new(state.record(&mut bytes, seq, &mut stamp)?));
    }
    bytes.is_empty().then_some(records)
}

struct Decoder {
    header: Header,
    schemas: Vec<(Arc<Schema>, usize)>,
    next: Vec<u64>,
}

impl Decoder {
    fn record(&mut self, bytes: &mut Bytes<'_>, seq: u64, stamp: &mut Stamp) -> Option<Record> {
        let tag = bytes.u8()?;
        stamp.wall_ns = stamp.wall_ns.wrapping_add(bytes.signed()?);
        stamp.boot_ns = stamp.boot_ns.wrapping_add(bytes.signed()?.cast_unsigned());
        stamp.synced = tag & 4 != 0;
        let place = usize::try_from(bytes.varint()?).ok()?;
        let (device, body) = match tag & 3 {
            0 => {
                let (schema, device) = self.schemas.get(place)?;
                let scan = Scan {
                    schema: Arc::clone(schema),
                    readings: body::readings(bytes)?,
                    full: tag & 8 != 0,
                };
                (*device, Body::Scan(scan))
            }
            1 => (
                place,
                Body::Event(body::event(
                    bytes,
                    self.header.devices.get(place)?.device.clone(),
                )?),
            ),
            2 => (
                place,
                Body::Description(body::description(
                    bytes,
                    self.header.devices.get(place)?.device.clone()?,
                )?),
            ),
            _ => return None,
        };
        let next = self.next.get_mut(device)?;
        let device_seq = *next;
        *next = next.checked_add(1)?;
        Some(Record {
            stream: self.header.stream,
            seq,
            device_seq,
            stamp: *stamp,
            body,
        })
    }
}

#[cfg(test)]
mod tests;
