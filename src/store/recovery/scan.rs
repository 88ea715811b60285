//! What the blocks themselves say: how far each device has counted, and which numbers are missing between them.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::reading::{Body, Name, RangeSet, StreamId};
use crate::store::block::{self, Header, body};
use crate::store::checkpoint::Checkpoint;
use crate::store::engine::{Engine, EngineError};
use crate::store::envelope;
use crate::store::holes::Holes;
use crate::store::schema::SchemaTable;

use super::{SKIP, damaged, header_of, removal};

/// What is missing between the blocks.
#[derive(Default)]
pub(super) struct Gone {
    /// Of all numbers. Between two streams it was told once, and the block that told it may be what is missing now.
    pub(super) hole: RangeSet,
    /// Of each device's, as far as blocks on both sides show it.
    lost: Holes,
    /// Where each device stood when it was last seen.
    seen: BTreeMap<Option<Name>, Seen>,
    /// How many records can have been in the hole: a new stream begins beyond numbers that none ever had.
    most: u64,
    /// Of the block before, and behind it.
    before: Option<(StreamId, u64)>,
}

/// How far the devices had counted by a checkpoint.
pub(super) struct Counted {
    stream: StreamId,
    /// All below this counts.
    covered: u64,
    devices: Vec<(Option<Name>, u64)>,
}

impl Counted {
    pub(super) fn by(checkpoint: &Checkpoint) -> Self {
        let counters = checkpoint.counters.iter();
        let devices = counters.map(|(device, counter)| (device.clone(), counter.next));
        Self {
            stream: checkpoint.stream,
            covered: checkpoint.next,
            devices: devices.collect(),
        }
    }
}

/// A device's last block.
#[derive(Clone, Copy)]
struct Seen {
    /// `device_seq` of the next record.
    next: u64,
    /// `seq` behind the block.
    end: u64,
    /// When its latest record was read.
    latest: i64,
}

impl Gone {
    /// What is missing of each device in `range`, and behind it as far as `counted` says that they had counted.
    ///
    /// Of a device that no block shows before a hole it is not known how many of its numbers the hole has taken: then so
    /// many are named as can have been in it.
    pub(super) fn of_devices(&mut self, counted: &Counted, range: Range<u64>) -> Holes {
        let before = self.before.unwrap_or((counted.stream, range.start));
        let end = counted.covered.max(range.end);
        self.miss(before, (counted.stream, end));
        for (device, next) in &counted.devices {
            self.note(device, *next, end, None);
        }
        let mut lost = std::mem::take(&mut self.lost);
        lost.make_due();
        lost
    }

    /// Adds what is missing between two places, each of a stream.
    fn miss(&mut self, (before, end): (StreamId, u64), (stream, first): (StreamId, u64)) {
        self.hole.insert(end, first.saturating_sub(1));
        let skipped = if before == stream { 0 } else { SKIP };
        let missing = first.saturating_sub(end).saturating_sub(skipped);
        self.most = self.most.saturating_add(missing);
    }

    /// Notes what is missing of a device before its record `next`, in the holes below `to`.
    fn note(&mut self, device: &Option<Name>, next: u64, to: u64, earliest: Option<i64>) {
        let seen = self.seen.get(device).copied();
        let first = match seen {
            Some(seen) => seen.next,
            None => next.saturating_sub(self.most).max(1),
        };
        if first >= next {
            return;
        }
        let from = seen.map_or(1, |seen| seen.end);
        let within = self.hole.iter().filter_map(|(first, last)| {
            let (first, last) = (first.max(from), last.min(to.saturating_sub(1)));
            (first <= last).then_some((first, last))
        });
        let seq: RangeSet = within.collect();
        let device_seq = [(first, next.saturating_sub(1))].into_iter().collect();
        let time = seen.map(|seen| seen.latest).zip(earliest);
        self.lost.add_lost(device.clone(), seq, device_seq, time);
    }

    /// Takes up a block that is there; `from`: where the first one should begin.
    fn pass(&mut self, header: &Header, from: Option<u64>) {
        let before = self.before.or(from.map(|from| (header.stream, from)));
        if let Some(before) = before {
            self.miss(before, (header.stream, header.first));
        }
        for span in &header.devices {
            self.note(
                &span.device,
                span.first,
                header.first,
                Some(header.earliest),
            );
        }
        self.before = Some((header.stream, header.end()));
        self.see(header);
    }

    fn see(&mut self, header: &Header) {
        for span in &header.devices {
            let now = Seen {
                next: span.first.saturating_add(span.count),
                end: header.end(),
                latest: header.latest,
            };
            self.seen.insert(span.device.clone(), now);
        }
    }
}

/// Counts on from the checkpoint through the blocks from `from` on; where the first should begin at `start`, what is missing
/// before it is found. With `check`, blocks that cannot be read are taken out.
pub(super) fn scan(
    engine: &dyn Engine,
    checkpoint: &mut Checkpoint,
    schemas: &SchemaTable,
    (from, start): (u64, Option<u64>),
    check: bool,
) -> Result<Gone, EngineError> {
    let mut gone = Gone::default();
    if check {
        look_before(engine, from, &mut gone)?;
    }
    let mut next = from;
    for block in engine.blocks(from) {
        let (first, value) = block?;
        let header = header_of(&value).filter(|header| header.is_readable(schemas));
        // One that begins below may reach beyond: a cursor stands anywhere in a block.
        let passed = header.as_ref().is_none_or(|header| header.end() <= next);
        if first < next && passed {
            continue;
        }
        next = next.max(first.saturating_add(1));
        let Some(header) = header else {
            if !check {
                return Err(damaged(first));
            }
            engine.append(vec![removal(first)], false)?;
            continue;
        };
        next = header.end().max(next);
        gone.pass(&header, start);
        count(checkpoint, &header, &value, schemas);
    }
    Ok(gone)
}

/// Where the devices stood at `from`: the blocks right before it show it, where they are there still.
fn look_before(engine: &dyn Engine, from: u64, gone: &mut Gone) -> Result<(), EngineError> {
    let mut end = 0;
    for block in engine.blocks(0) {
        let (first, value) = block?;
        if first >= from {
            break;
        }
        let Some(header) = header_of(&value) else {
            continue;
        };
        if first != end {
            gone.seen.clear();
        }
        end = header.end();
        gone.see(&header);
    }
    if end < from {
        gone.seen.clear();
    }
    Ok(())
}

/// Whether blocks cover `first..end` without a gap.
pub(super) fn is_whole(engine: &dyn Engine, first: u64, end: u64) -> Result<bool, EngineError> {
    let mut next = first;
    let mut blocks = engine.blocks(first);
    while next < end {
        let Some((key, value)) = blocks.next().transpose()? else {
            return Ok(false);
        };
        match header_of(&value) {
            Some(header) if key <= next => next = next.max(header.end()),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn count(checkpoint: &mut Checkpoint, header: &Header, value: &[u8], schemas: &SchemaTable) {
    for span in &header.devices {
        let counter = checkpoint.counters.entry(span.device.clone()).or_default();
        counter.next = counter.next.max(span.first.saturating_add(span.count));
    }
    if !header.has_descriptions() || header.stream != checkpoint.stream {
        return;
    }
    let payload = envelope::exactly(value)
        .map(|value| value.payload)
        .unwrap_or_default();
    let records = block::decode(payload, |id| schemas.get(id).map(Arc::clone)).unwrap_or_default();
    for record in records {
        if let Body::Description(description) = &record.body {
            let counter = checkpoint.counters.entry(Some(description.device.clone()));
            counter.or_default().described = body::fingerprint(description);
        }
    }
}
