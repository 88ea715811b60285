//! The body of a block: its records one by one, on the way in and on the way out.

use std::collections::HashMap;
use std::sync::Arc;

use super::Header;
use super::body;
use super::readings::Memory;
use crate::reading::{Body, Description, Event, MapHash, Name, Record, Scan, Schema, Stamp};
use crate::store::bytes::{Bytes, put_signed, put_text, put_varint};
use crate::store::schema::SchemaId;

/// The least that a record takes in the heads.
const LEAST_HEAD: usize = 4;

/// A device's records in a block that has no numbers yet.
#[derive(Debug)]
pub(in crate::store) struct Share {
    /// The device; `None`: the gateway.
    pub(in crate::store) device: Option<Name>,
    /// How many, at least one.
    pub(in crate::store) count: u64,
}

/// The lists of a block's header, but for the numbers.
#[derive(Debug, Default)]
pub(super) struct Lists {
    pub(super) devices: Vec<Share>,
    /// Each with the place of its device.
    schemas: Vec<(Arc<Schema>, usize)>,
}

impl Lists {
    /// Appends them; the numbers are the first `device_seq` of each device.
    pub(super) fn put(
        &self,
        out: &mut Vec<u8>,
        firsts: &[u64],
        mut id: impl FnMut(&Arc<Schema>) -> SchemaId,
    ) {
        put_varint(out, self.devices.len() as u64);
        for (share, first) in self.devices.iter().zip(firsts) {
            put_text(out, share.device.as_ref().map_or("", Name::as_str));
            put_varint(out, *first);
            put_varint(out, share.count);
        }
        put_varint(out, self.schemas.len() as u64);
        for (schema, device) in &self.schemas {
            put_varint(out, u64::from(id(schema)));
            put_varint(out, *device as u64);
        }
    }
}

/// A block that is being built: the lists of its header, and the parts of its body.
#[derive(Debug, Default)]
pub(super) struct Parts {
    lists: Lists,
    device_places: HashMap<Option<Name>, usize>,
    /// By the address of the schema, which the lists keep: no names are compared for each scan.
    schema_places: HashMap<usize, usize>,
    /// The latest schema of a map and number of points: devices of one model have much in common.
    alike: HashMap<(MapHash, usize), usize>,
    heads: Vec<u8>,
    kinds: Vec<u8>,
    values: Vec<u8>,
    before: Stamp,
    memory: Memory,
}

impl Parts {
    /// Appends a record: the place of its device in the list. `None`: it has more readings than fit, and was not put.
    pub(super) fn put(&mut self, stamp: Stamp, body: &Body) -> Option<usize> {
        if matches!(body, Body::Scan(scan) if !self.memory.has_room(scan.readings.len())) {
            return None;
        }
        let kind = match body {
            Body::Scan(scan) => u8::from(scan.full) << 3,
            Body::Event(_) => 1,
            Body::Description(_) => 2,
        };
        self.heads.push(kind | u8::from(stamp.synced) << 2);
        let (wall, boot) = differences(stamp, self.before);
        put_signed(&mut self.heads, boot);
        put_signed(&mut self.heads, wall.wrapping_sub(boot));
        self.before = stamp;
        match body {
            Body::Scan(scan) => self.put_scan(scan),
            Body::Event(event) => {
                let place = self.device(event.device.as_ref());
                put_varint(&mut self.heads, place as u64);
                body::put_event(&mut self.values, event);
                Some(place)
            }
            Body::Description(description) => {
                let place = self.device(Some(&description.device));
                put_varint(&mut self.heads, place as u64);
                body::put_description(&mut self.values, description);
                Some(place)
            }
        }
    }

    fn put_scan(&mut self, scan: &Scan) -> Option<usize> {
        let (place, device) = self.schema(scan);
        put_varint(&mut self.heads, place as u64);
        if !self.memory.knows(place) {
            let model = (scan.schema.map, scan.readings.len());
            let like = self.alike.insert(model, place);
            put_varint(&mut self.heads, like.map_or(0, |like| like as u64 + 1));
            self.memory.begin(place, like)?;
        }
        put_varint(&mut self.heads, scan.readings.len() as u64);
        let out = (&mut self.kinds, &mut self.values);
        self.memory.put(out, place, &scan.readings)?;
        Some(device)
    }

    fn device(&mut self, device: Option<&Name>) -> usize {
        let devices = &mut self.lists.devices;
        let place = *self
            .device_places
            .entry(device.cloned())
            .or_insert(devices.len());
        match devices.get_mut(place) {
            Some(share) => share.count += 1,
            None => devices.push(Share {
                device: device.cloned(),
                count: 1,
            }),
        }
        place
    }

    /// The places of a scan's schema and device.
    fn schema(&mut self, scan: &Scan) -> (usize, usize) {
        let pointer = Arc::as_ptr(&scan.schema).addr();
        let known = self.schema_places.get(&pointer).copied();
        let known = known.and_then(|place| Some((place, self.lists.schemas.get(place)?.1)));
        if let Some((place, device)) = known {
            if let Some(share) = self.lists.devices.get_mut(device) {
                share.count += 1;
            }
            return (place, device);
        }
        let place = self.lists.schemas.len();
        let device = self.device(Some(&scan.schema.device));
        self.lists.schemas.push((Arc::clone(&scan.schema), device));
        self.schema_places.insert(pointer, place);
        (place, device)
    }

    /// How long the body is, about.
    pub(super) fn len(&self) -> usize {
        self.heads.len() + self.kinds.len() + self.values.len()
    }

    /// The lists, and the body, uncompressed.
    pub(super) fn close(self) -> (Lists, Vec<u8>) {
        let mut out = Vec::with_capacity(self.len() + 8);
        put_varint(&mut out, self.heads.len() as u64);
        put_varint(&mut out, self.kinds.len() as u64);
        for part in [&self.heads, &self.kinds, &self.values] {
            out.extend_from_slice(part);
        }
        (self.lists, out)
    }
}

/// By how much wall time and boot time differ from those before.
fn differences(now: Stamp, before: Stamp) -> (i64, i64) {
    let boot = now.boot_ns.wrapping_sub(before.boot_ns).cast_signed();
    (now.wall_ns.wrapping_sub(before.wall_ns), boot)
}

/// The records in a body. Each schema comes with the place of its device.
pub(super) fn decode(
    header: &Header,
    schemas: Vec<(Arc<Schema>, usize)>,
    mut body: Bytes<'_>,
) -> Option<Vec<Arc<Record>>> {
    let (heads, kinds) = (body.count(1)?, body.count(1)?);
    let (heads, kinds) = (Bytes(body.take(heads)?), Bytes(body.take(kinds)?));
    if heads.0.len() / LEAST_HEAD < header.count as usize {
        return None;
    }
    let mut decoder = Decoder {
        next: header.devices.iter().map(|span| span.first).collect(),
        stamp: Stamp {
            boot: header.boot,
            ..Stamp::default()
        },
        memory: Memory::default(),
        values: body,
        header,
        schemas,
        heads,
        kinds,
    };
    let mut records = Vec::with_capacity(header.count as usize);
    for seq in header.first..header.end() {
        records.push(Arc::new(decoder.record(seq)?));
    }
    let rest = [decoder.heads, decoder.kinds, decoder.values];
    rest.iter().all(Bytes::is_empty).then_some(records)
}

struct Decoder<'a> {
    header: &'a Header,
    schemas: Vec<(Arc<Schema>, usize)>,
    /// The next `device_seq` of each device.
    next: Vec<u64>,
    heads: Bytes<'a>,
    kinds: Bytes<'a>,
    values: Bytes<'a>,
    stamp: Stamp,
    memory: Memory,
}

impl Decoder<'_> {
    fn record(&mut self, seq: u64) -> Option<Record> {
        let tag = self.heads.u8()?;
        let boot = self.heads.signed()?;
        let wall = boot.wrapping_add(self.heads.signed()?);
        self.stamp.boot_ns = self.stamp.boot_ns.wrapping_add(boot.cast_unsigned());
        self.stamp.wall_ns = self.stamp.wall_ns.wrapping_add(wall);
        self.stamp.synced = tag & 4 != 0;
        let place = self.place()?;
        let (device, body) = match tag & 3 {
            0 => {
                let readings = self.readings(place)?;
                let (schema, device) = self.schemas.get(place)?;
                let scan = Scan {
                    schema: Arc::clone(schema),
                    readings,
                    full: tag & 8 != 0,
                };
                (*device, Body::Scan(scan))
            }
            1 => (place, Body::Event(self.event(place)?)),
            2 => (place, Body::Description(self.description(place)?)),
            _ => return None,
        };
        let next = self.next.get_mut(device)?;
        let device_seq = *next;
        *next = next.checked_add(1)?;
        Some(Record {
            stream: self.header.stream,
            seq,
            device_seq,
            stamp: self.stamp,
            body,
        })
    }

    fn place(&mut self) -> Option<usize> {
        usize::try_from(self.heads.varint()?).ok()
    }

    fn readings(&mut self, place: usize) -> Option<Vec<Option<crate::reading::Reading>>> {
        if place >= self.schemas.len() {
            return None;
        }
        if !self.memory.knows(place) {
            let like = self.place()?.checked_sub(1);
            self.memory.begin(place, like)?;
        }
        let count = self.place()?;
        (self.memory).take(&mut self.kinds, &mut self.values, place, count)
    }

    fn event(&mut self, place: usize) -> Option<Event> {
        let device = self.header.devices.get(place)?.device.clone();
        body::event(&mut self.values, device)
    }

    fn description(&mut self, place: usize) -> Option<Arc<Description>> {
        let device = self.header.devices.get(place)?.device.clone()?;
        body::description(&mut self.values, device)
    }
}
