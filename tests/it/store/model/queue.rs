//! The queue in memory that the store is held against: what was put, announced, received, confirmed and told.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use forebay::reading::{Body, Detail, EventName, Name, RangeSet, Record, Value};
use forebay::store::Store;

use crate::store::sample::name;

pub(super) const UPSTREAMS: [&str; 2] = ["cloud", "mes"];

/// What one upstream has got.
#[derive(Default)]
pub(super) struct Consumer {
    received: BTreeMap<u64, Arc<Record>>,
    /// Acknowledged to the store, or refused, at any time.
    done: RangeSet,
    /// The same of this life, and what its cursor began with.
    now: RangeSet,
    /// Of those, what was so before the last record was announced, which the store wrote along with it.
    sure: RangeSet,
    /// Numbers that events named, and by device.
    named: RangeSet,
    named_of: BTreeMap<Option<Name>, RangeSet>,
    /// Where it reads on in this life.
    pub(super) next: u64,
}

#[derive(Default)]
pub(super) struct Queue {
    /// The device of each scan that was put; the number is its value.
    put: Vec<u8>,
    /// Every record that was ever announced.
    announced: BTreeMap<u64, Arc<Record>>,
    scans: BTreeMap<i64, u64>,
    pub(super) consumers: [Consumer; 2],
    /// Damage took these: cursors pass over them.
    lost: RangeSet,
    /// Of those, the numbers of a device that nothing shows any more: none of its records stands behind them.
    unknowable: BTreeMap<Option<Name>, RangeSet>,
}

impl Queue {
    /// A new scan's number.
    pub(super) fn number(&mut self, device: u8) -> i64 {
        self.put.push(device);
        self.put.len() as i64 - 1
    }

    /// What the store has announced.
    pub(super) fn announce(&mut self, record: &Arc<Record>) {
        if let Some(before) = self.announced.insert(record.seq, Arc::clone(record)) {
            assert_eq!(before, *record, "a record never changes");
        }
        if let Body::Scan(scan) = &record.body {
            let Some(Value::Int(number)) = scan.readings[0].as_ref().unwrap().value() else {
                panic!("no scan of ours: {record:?}");
            };
            let device = self.put[number as usize];
            assert_eq!(scan.schema.device, name(&format!("d{device}")));
            let before = self.scans.insert(number, record.seq);
            assert!(
                before.is_none_or(|before| before == record.seq),
                "scan {number} is {before:?} and {}",
                record.seq
            );
        }
    }

    /// Damage takes a block.
    pub(super) fn damage(&mut self, block: Range<u64>) {
        self.lost.insert(block.start, block.end - 1);
        for (_, record) in self.announced.range(block.clone()) {
            let device = record.body.device();
            let mut behind = self.announced.range(block.end..);
            if !behind
                .any(|(seq, later)| later.body.device() == device && !self.lost.contains(*seq))
            {
                let unknowable = self.unknowable.entry(device.cloned()).or_default();
                unknowable.insert(record.device_seq, record.device_seq);
            }
        }
    }

    /// The last that was announced.
    pub(super) fn last(&self) -> u64 {
        self.announced.keys().next_back().copied().unwrap_or(0)
    }

    /// What was done by now goes with the next block.
    pub(super) fn done_by_now(&self) -> [RangeSet; 2] {
        [0, 1].map(|upstream| self.consumers[upstream].now.clone())
    }

    /// A block came after this was done.
    pub(super) fn is_sure(&mut self, done: [RangeSet; 2]) {
        for (consumer, done) in self.consumers.iter_mut().zip(done) {
            consumer.sure.extend(&done);
        }
    }

    /// An upstream is done with a record.
    pub(super) fn finish(&mut self, upstream: usize, seq: u64) {
        let consumer = &mut self.consumers[upstream];
        consumer.done.insert(seq, seq);
        consumer.now.insert(seq, seq);
    }

    /// A life begins with this cursor.
    pub(super) fn begin(&mut self, upstream: usize, cursor: RangeSet) {
        let consumer = &mut self.consumers[upstream];
        consumer.next = cursor.first_missing(1);
        consumer.now = cursor;
    }

    /// An upstream gets a record.
    pub(super) fn receive(&mut self, upstream: usize, record: &Arc<Record>) {
        let announced = self.announced.get(&record.seq);
        assert_eq!(announced, Some(record), "announced before it is sent");
        let consumer = &mut self.consumers[upstream];
        consumer.received.insert(record.seq, Arc::clone(record));
        let Body::Event(event) = &record.body else {
            return;
        };
        let fact = |key: &str| event.detail.iter().find(|(known, _)| known == key);
        let mine = match fact("upstream") {
            Some((_, Detail::Text(name))) => name == UPSTREAMS[upstream],
            _ => true,
        };
        let ranges = |key| match fact(key) {
            Some((_, Detail::Ranges(ranges))) => ranges.clone(),
            _ => RangeSet::new(),
        };
        match event.name {
            EventName::RecordsDropped | EventName::RecordsRefused | EventName::RecordsLost
                if mine =>
            {
                consumer.named.extend(&ranges("hole"));
                consumer.named.extend(&ranges("seq"));
                let device = consumer.named_of.entry(event.device.clone()).or_default();
                device.extend(&ranges("device_seq"));
            }
            EventName::GatewayStarted => consumer.named.extend(&ranges("hole")),
            _ => (),
        }
    }

    /// The store was opened: no cursor is ahead, and none forgot what was written.
    pub(super) fn check_cursors(&self, store: &Store) {
        let first = store.status().first;
        for (consumer, upstream) in self.consumers.iter().zip(UPSTREAMS) {
            let cursor = store.cursor(&name(upstream));
            for seq in self.announced.keys().filter(|seq| **seq >= first) {
                if cursor.contains(*seq) && self.lost.is_empty() {
                    assert!(consumer.done.contains(*seq), "{upstream} is ahead at {seq}");
                }
                if consumer.sure.contains(*seq) {
                    assert!(cursor.contains(*seq), "{upstream} would get {seq} again");
                }
            }
        }
    }

    /// All is delivered: every number up to the last was received or is named, to each upstream.
    pub(super) fn check_complete(&self) {
        let last = self.last();
        for (consumer, upstream) in self.consumers.iter().zip(UPSTREAMS) {
            let mut known = consumer.named.clone();
            let mut devices = consumer.named_of.clone();
            for record in consumer.received.values() {
                known.insert(record.seq, record.seq);
                let device = devices.entry(record.body.device().cloned()).or_default();
                device.insert(record.device_seq, record.device_seq);
            }
            assert_eq!(
                known.first_missing(1),
                last + 1,
                "{upstream}: a number is neither received nor named: {known:?}"
            );
            for (device, known) in &mut devices {
                if let Some(unknowable) = self.unknowable.get(device) {
                    known.extend(unknowable);
                }
                let last = known.bounds().map_or(0, |(_, last)| last);
                assert!(
                    known.first_missing(1) == last + 1,
                    "{upstream}: a number of {device:?} is neither received nor named: {known:?}"
                );
            }
        }
    }
}
