//! Records that are kept in memory for the forwarders: the latest as they were committed, and blocks read from disk.

use std::collections::{BTreeMap, VecDeque};
use std::mem::size_of;
use std::sync::Arc;

use crate::reading::{
    Body, Detail, Name, PointDescription, Reading, Record, Scan, Value, ValueType,
};

/// Most bytes of the latest records that are kept: at 25,000 values a second, those of four seconds.
const MOST_RECENT: usize = 2 << 20;
/// Most bytes of blocks read from disk that are kept: a forwarder reads 1 MiB at once, and some may be apart.
const MOST_LOADED: usize = 4 << 20;

/// How much to read at once: whichever is reached first, but at least one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimit {
    /// Records.
    pub records: usize,
    /// About as many bytes in memory.
    pub bytes: usize,
}

/// Of which devices a reader wants the records. The gateway's own go to everybody.
#[derive(Clone, Default)]
pub struct Wanted(Option<Arc<Admits>>);

type Admits = dyn Fn(&Name) -> bool + Send + Sync;

impl Wanted {
    /// Of all.
    pub fn all() -> Self {
        Self(None)
    }

    /// Of those that `admits` says yes to.
    pub fn devices(admits: impl Fn(&Name) -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(admits)))
    }

    /// Whether the records of the device are wanted; `None`: the gateway's own.
    pub fn admits(&self, device: Option<&Name>) -> bool {
        match (&self.0, device) {
            (Some(admits), Some(device)) => admits(device),
            _ => true,
        }
    }
}

/// What a read brought.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// The records, in order.
    pub records: Vec<Arc<Record>>,
    /// Where to read on. Lower numbers from the first asked for on, that are not among the records, are not wanted or not in
    /// the store any more.
    pub next: u64,
}

/// Records gathered up to a limit.
pub(super) struct Found<'a> {
    batch: Batch,
    bytes: usize,
    limit: ReadLimit,
    wanted: &'a Wanted,
}

impl<'a> Found<'a> {
    pub(super) fn new(from: u64, limit: ReadLimit, wanted: &'a Wanted) -> Self {
        Self {
            batch: Batch {
                records: Vec::new(),
                next: from,
            },
            bytes: 0,
            limit,
            wanted,
        }
    }

    /// Whether there is nothing yet.
    pub(super) fn is_empty(&self) -> bool {
        self.batch.records.is_empty()
    }

    pub(super) fn wants_more(&self) -> bool {
        self.is_empty()
            || (self.batch.records.len() < self.limit.records && self.bytes < self.limit.bytes)
    }

    /// Where it goes on.
    pub(super) fn next(&self) -> u64 {
        self.batch.next
    }

    /// Whether records of that device are wanted.
    pub(super) fn wants(&self, device: Option<&Name>) -> bool {
        self.wanted.admits(device)
    }

    /// All below `end` was looked at.
    pub(super) fn pass(&mut self, end: u64) {
        self.batch.next = self.batch.next.max(end);
    }

    /// Takes what is wanted of a block, as far as there is room.
    pub(super) fn take(&mut self, block: &[Arc<Record>]) {
        let start = block.partition_point(|record| record.seq < self.batch.next);
        for record in block.iter().skip(start) {
            if !self.wants_more() {
                break;
            }
            if self.wanted.admits(record.body.device()) {
                self.bytes = self.bytes.saturating_add(size_of_record(record));
                self.batch.records.push(Arc::clone(record));
            }
            self.batch.next = record.seq.saturating_add(1);
        }
    }

    pub(super) fn batch(self) -> Batch {
        self.batch
    }
}

/// A block's records, of which there is at least one, and the bytes they take.
pub(super) struct Kept {
    records: Arc<[Arc<Record>]>,
    bytes: usize,
}

impl Kept {
    fn new(records: Vec<Arc<Record>>) -> Self {
        Self {
            bytes: records.iter().map(size_of_record).sum(),
            records: records.into(),
        }
    }

    fn first(&self) -> u64 {
        self.records.first().map_or(0, |first| first.seq)
    }

    fn last(&self) -> u64 {
        self.records.last().map_or(0, |last| last.seq)
    }
}

/// The latest records, block by block, up to the last durable one and without a gap.
#[derive(Default)]
pub(super) struct Recent {
    blocks: VecDeque<Kept>,
    bytes: usize,
}

impl Recent {
    /// Adds the block that follows: those that go for it, to be freed without the lock.
    pub(super) fn push(&mut self, block: Vec<Arc<Record>>) -> Vec<Kept> {
        let block = Kept::new(block);
        self.bytes = self.bytes.saturating_add(block.bytes);
        self.blocks.push_back(block);
        let mut gone = Vec::new();
        while self.bytes > MOST_RECENT
            && self.blocks.len() > 1
            && let Some(oldest) = self.blocks.pop_front()
        {
            self.bytes = self.bytes.saturating_sub(oldest.bytes);
            gone.push(oldest);
        }
        gone
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// The block in which `seq` is.
    pub(super) fn get(&self, seq: u64) -> Option<&Arc<[Arc<Record>]>> {
        let place = self.blocks.partition_point(|block| block.last() < seq);
        let block = self.blocks.get(place)?;
        (block.first() <= seq).then_some(&block.records)
    }

    /// Takes the records from where `found` goes on. Whether they are here: else they begin later.
    pub(super) fn read(&self, found: &mut Found<'_>) -> bool {
        let from = found.next();
        if self.blocks.front().is_none_or(|block| from < block.first()) {
            return false;
        }
        let start = self.blocks.partition_point(|block| block.last() < from);
        for block in self.blocks.iter().skip(start) {
            if !found.wants_more() {
                break;
            }
            found.take(&block.records);
        }
        true
    }
}

/// Blocks that were read from disk.
#[derive(Default)]
pub(super) struct Decoded {
    /// By their first record.
    blocks: BTreeMap<u64, Kept>,
    /// The same, in the order in which they came.
    order: VecDeque<u64>,
    bytes: usize,
}

impl Decoded {
    /// Keeps a block that is not here, for other upstreams near by and for the next read.
    pub(super) fn push(&mut self, block: Vec<Arc<Record>>) -> Arc<[Arc<Record>]> {
        let block = Kept::new(block);
        let (first, records) = (block.first(), Arc::clone(&block.records));
        self.bytes = self.bytes.saturating_add(block.bytes);
        self.order.push_back(first);
        self.blocks.insert(first, block);
        while self.bytes > MOST_LOADED && self.order.len() > 1 {
            let oldest = self.order.pop_front();
            let oldest = oldest.and_then(|oldest| self.blocks.remove(&oldest));
            self.bytes = (self.bytes).saturating_sub(oldest.map_or(0, |oldest| oldest.bytes));
        }
        records
    }

    /// The block in which `seq` is.
    pub(super) fn get(&self, seq: u64) -> Option<&Arc<[Arc<Record>]>> {
        let (_, block) = self.blocks.range(..=seq).next_back()?;
        (block.last() >= seq).then_some(&block.records)
    }

    /// Takes the records from where `found` goes on. Whether the first is here.
    pub(super) fn read(&self, found: &mut Found<'_>) -> bool {
        let start = found.next();
        while found.wants_more()
            && let Some(records) = self.get(found.next())
        {
            found.take(records);
        }
        found.next() > start
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// About what a record takes in memory, without what it shares.
fn size_of_record(record: &Arc<Record>) -> usize {
    const SHARED: usize = size_of::<Arc<Record>>() + 2 * size_of::<usize>() + size_of::<Record>();
    const POINT: usize = size_of::<PointDescription>() + 32;
    SHARED
        + match &record.body {
            Body::Scan(scan) => scan.readings.len() * size_of::<Option<Reading>>() + texts(scan),
            Body::Event(event) => {
                let facts = event.detail.iter();
                facts
                    .map(|(key, fact)| size_of::<(String, Detail)>() + key.len() + detail(fact))
                    .sum()
            }
            Body::Description(description) => description.points.len() * POINT,
        }
}

/// Only readings that can have a text are looked at: all the others have long left the processor's cache.
fn texts(scan: &Scan) -> usize {
    let readings = scan.schema.points.iter().zip(&scan.readings);
    let texts = readings
        .filter(|(point, _)| matches!(point.value_type, ValueType::Text | ValueType::Texts));
    let texts = texts.filter_map(|(_, reading)| reading.as_ref());
    texts.map(text_of).sum()
}

fn text_of(reading: &Reading) -> usize {
    let boxed = |text: &str| size_of::<Box<str>>() + text.len();
    match reading.value() {
        Some(Value::Text(text)) => boxed(text),
        Some(Value::Texts(texts)) => {
            size_of::<Box<[Box<str>]>>() + texts.iter().map(|text| boxed(text)).sum::<usize>()
        }
        _ => 0,
    }
}

fn detail(fact: &Detail) -> usize {
    match fact {
        Detail::Text(text) => text.len(),
        Detail::Ranges(ranges) => ranges.range_count() * 2 * size_of::<u64>(),
        Detail::Bool(_) | Detail::Int(_) | Detail::Times(..) => 0,
    }
}

#[cfg(test)]
mod tests;
