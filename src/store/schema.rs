//! The schemas of the records in the store: what is needed to send them outlives the configuration.
//!
//! A block names schemas by id; the definition goes into the same batch as the first block that uses it, and stays
//! until the last such block is gone. After a reopen a schema is recognised by its content.
//!
//! The payload of a definition, in order: version (1 byte, now 1); line, device, scan class (texts); map hash (`u32`);
//! number of labels, of each key and value (texts); number of points, of each name (text), value type (1 byte) and unit
//! (text that may be missing).

use std::collections::HashMap;
use std::sync::Arc;

use super::bytes::{Bytes, put_option, put_text, put_varint};
use super::engine::{Kind, Write};
use super::envelope;
use crate::reading::{MapHash, Schema, SchemaPoint, ValueType};

const VERSION: u8 = 1;
/// Schemas known by their address; a reload of the configuration makes new ones.
const MOST_POINTERS: usize = 10_000;

/// The id of a schema within a store.
pub(super) type SchemaId = u32;

struct Entry {
    schema: Arc<Schema>,
    /// The last block that used it starts at or below this.
    last_used: u64,
    /// Its definition is not yet on disk.
    new: bool,
}

/// All schemas that blocks may refer to.
#[derive(Default)]
pub(super) struct SchemaTable {
    entries: HashMap<SchemaId, Entry>,
    by_content: HashMap<Arc<Schema>, SchemaId>,
    by_pointer: HashMap<usize, (Arc<Schema>, SchemaId)>,
    next: SchemaId,
}

impl SchemaTable {
    /// Adds a definition found on disk. It counts as used up to `head`: what used it is not known.
    pub(super) fn found(&mut self, id: SchemaId, schema: Schema, head: u64) {
        let schema = Arc::new(schema);
        self.by_content.insert(Arc::clone(&schema), id);
        self.entries.insert(
            id,
            Entry {
                schema,
                last_used: head,
                new: false,
            },
        );
        self.next = self.next.max(id.saturating_add(1));
    }

    /// The id of `schema`, which a block that starts at `seq` uses.
    pub(super) fn use_for(&mut self, schema: &Arc<Schema>, seq: u64) -> SchemaId {
        let pointer = Arc::as_ptr(schema).addr();
        let known = self.by_pointer.get(&pointer).map(|(_, id)| *id);
        let id = known.unwrap_or_else(|| self.by_content(schema));
        if known.is_none() {
            if self.by_pointer.len() >= MOST_POINTERS {
                self.by_pointer.clear();
            }
            // The address stays taken while the `Arc` is kept.
            self.by_pointer.insert(pointer, (Arc::clone(schema), id));
        }
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.last_used = entry.last_used.max(seq);
        }
        id
    }

    fn by_content(&mut self, schema: &Arc<Schema>) -> SchemaId {
        if let Some(&id) = self.by_content.get(schema) {
            return id;
        }
        let id = self.next;
        self.next = self.next.wrapping_add(1);
        self.by_content.insert(Arc::clone(schema), id);
        self.entries.insert(
            id,
            Entry {
                schema: Arc::clone(schema),
                last_used: 0,
                new: true,
            },
        );
        id
    }

    /// The schema with an id.
    pub(super) fn get(&self, id: SchemaId) -> Option<&Arc<Schema>> {
        self.entries.get(&id).map(|entry| &entry.schema)
    }

    /// The definitions that are not on disk yet.
    pub(super) fn definitions(&self) -> Vec<Write> {
        let new = self.entries.iter().filter(|(_, entry)| entry.new);
        new.map(|(&id, entry)| definition(id, &entry.schema))
            .collect()
    }

    /// Notes that the definitions are on disk.
    pub(super) fn written(&mut self) {
        for entry in self.entries.values_mut() {
            entry.new = false;
        }
    }

    /// Has all definitions written again: it is not known which are on disk.
    pub(super) fn unwritten(&mut self) {
        for entry in self.entries.values_mut() {
            entry.new = true;
        }
    }

    /// The schemas that only blocks below `floor` used.
    pub(super) fn unused_below(&self, floor: u64) -> Vec<SchemaId> {
        let unused = |entry: &Entry| !entry.new && entry.last_used < floor;
        let entries = self.entries.iter();
        entries
            .filter(|(_, entry)| unused(entry))
            .map(|(&id, _)| id)
            .collect()
    }

    /// Forgets schemas whose definitions are gone.
    pub(super) fn forget(&mut self, ids: &[SchemaId]) {
        for id in ids {
            if let Some(entry) = self.entries.remove(id) {
                self.by_content.remove(&entry.schema);
            }
        }
        self.by_pointer.retain(|_, (_, id)| !ids.contains(id));
    }

    /// The id of the next new schema.
    pub(super) fn next(&self) -> SchemaId {
        self.next
    }

    /// Has new schemas begin at `next`, where they do not begin beyond it.
    pub(super) fn begin_at(&mut self, next: SchemaId) {
        self.next = self.next.max(next);
    }
}

/// What takes a definition out.
pub(super) fn removal(id: SchemaId) -> Write {
    Write {
        kind: Kind::Schema,
        key: id.to_be_bytes().to_vec(),
        value: None,
    }
}

fn definition(id: SchemaId, schema: &Schema) -> Write {
    let key = id.to_be_bytes();
    let mut value = envelope::begin(Kind::Schema, &key, 1);
    encode(&mut value, schema);
    Write {
        kind: Kind::Schema,
        key: key.to_vec(),
        value: Some(envelope::seal(value)),
    }
}

/// The id in the key of a definition.
pub(super) fn id_of(key: &[u8]) -> Option<SchemaId> {
    key.try_into().ok().map(SchemaId::from_be_bytes)
}

pub(super) fn encode(out: &mut Vec<u8>, schema: &Schema) {
    out.push(VERSION);
    for name in [&schema.line, &schema.device, &schema.scan] {
        put_text(out, name.as_str());
    }
    out.extend_from_slice(&schema.map.0.to_le_bytes());
    put_labels(out, &schema.labels);
    put_varint(out, schema.points.len() as u64);
    for point in &schema.points {
        put_text(out, point.name.as_str());
        out.push(type_number(point.value_type));
        put_option(out, point.unit.as_deref());
    }
}

pub(super) fn decode(bytes: &mut Bytes<'_>) -> Option<Schema> {
    if bytes.u8()? != VERSION {
        return None;
    }
    let (line, device, scan) = (bytes.name()?, bytes.name()?, bytes.name()?);
    let map = MapHash(bytes.u32()?);
    let labels = labels(bytes)?;
    let mut points = Vec::with_capacity(bytes.count(3)?);
    for _ in 0..points.capacity() {
        let (name, value_type) = (bytes.name()?, value_type(bytes.u8()?)?);
        points.push(SchemaPoint {
            name,
            value_type,
            unit: bytes.option()?.map(str::to_owned),
        });
    }
    Some(Schema {
        line,
        device,
        scan,
        labels,
        map,
        points,
    })
}

pub(super) fn put_labels(out: &mut Vec<u8>, labels: &[(String, String)]) {
    put_varint(out, labels.len() as u64);
    for (key, value) in labels {
        put_text(out, key);
        put_text(out, value);
    }
}

pub(super) fn labels(bytes: &mut Bytes<'_>) -> Option<Vec<(String, String)>> {
    let count = bytes.count(2)?;
    (0..count)
        .map(|_| Some((bytes.text()?.to_owned(), bytes.text()?.to_owned())))
        .collect()
}

/// The numbers are on disk.
const TYPES: [ValueType; 7] = [
    ValueType::Bool,
    ValueType::Int,
    ValueType::UInt,
    ValueType::F32,
    ValueType::F64,
    ValueType::Text,
    ValueType::Texts,
];

pub(super) fn type_number(value_type: ValueType) -> u8 {
    match value_type {
        ValueType::Bool => 0,
        ValueType::Int => 1,
        ValueType::UInt => 2,
        ValueType::F32 => 3,
        ValueType::F64 => 4,
        ValueType::Text => 5,
        ValueType::Texts => 6,
    }
}

pub(super) fn value_type(number: u8) -> Option<ValueType> {
    TYPES.get(usize::from(number)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::Name;

    fn schema(device: &str) -> Arc<Schema> {
        let name = |text| Name::new(text).unwrap();
        let points = TYPES.map(|value_type| SchemaPoint {
            name: name(value_type.as_str()),
            value_type,
            unit: (value_type == ValueType::F32).then(|| "°C".to_owned()),
        });
        Arc::new(Schema {
            line: name("hall"),
            device: name(device),
            scan: name("default"),
            labels: vec![("area".to_owned(), "north".to_owned())],
            map: MapHash(0x9c1e_42aa),
            points: points.to_vec(),
        })
    }

    #[test]
    fn a_definition_comes_back_as_it_was() {
        let mut out = Vec::new();
        encode(&mut out, &schema("press"));
        let mut bytes = Bytes(&out);
        assert_eq!(decode(&mut bytes).as_ref(), Some(&*schema("press")));
        assert!(bytes.is_empty());
        assert!((0..out.len()).all(|end| decode(&mut Bytes(&out[..end])).is_none()));
    }

    #[test]
    fn is_defined_once_and_found_again_by_content() {
        let mut table = SchemaTable::default();
        let press = schema("press");
        assert_eq!(table.use_for(&press, 1), 0);
        assert_eq!(
            table.use_for(&schema("press"), 2),
            0,
            "another `Arc` with the same content"
        );
        assert_eq!(table.use_for(&schema("oven"), 3), 1);
        assert_eq!(table.definitions().len(), 2);
        table.written();
        assert!(table.definitions().is_empty());

        let mut reopened = SchemaTable::default();
        reopened.found(1, Schema::clone(&schema("oven")), 3);
        assert_eq!(reopened.use_for(&schema("oven"), 4), 1);
        assert_eq!(
            reopened.use_for(&schema("lathe"), 5),
            2,
            "ids are not used twice"
        );
        assert!(reopened.unused_below(4).is_empty());
        assert_eq!(reopened.unused_below(6), [1], "2 is not on disk yet");
        reopened.forget(&[1]);
        assert!(reopened.get(1).is_none() && reopened.get(2).is_some());
        let mut again = SchemaTable::default();
        again.begin_at(reopened.next());
        assert_eq!(
            again.use_for(&schema("press"), 9),
            3,
            "also after all are forgotten"
        );
    }
}
