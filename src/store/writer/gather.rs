//! What gathered on its way into blocks: cut where one is full, numbered, and taken back where the disk did not take it.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Writer;
use crate::reading::{Body, Observation, Record};
use crate::store::block::body;
use crate::store::holes::Holes;
use crate::store::inlet::{MOST_WAITING, weight};

/// A block is full with so many readings, an observation counted as the inlet does: larger ones get little smaller, and
/// whoever reads a hundred records decodes all of it.
const FULL: usize = 20_000;
/// So many readings do not wait for the window, which could be longer than the inlet lasts, and are the most that one commit
/// takes out of it. Half of what it holds: the other half takes what comes while the disk syncs.
pub(super) const MOST_GATHERED: usize = MOST_WAITING / 2;

/// A block's records: numbered, and not yet durable.
#[derive(Debug)]
pub(super) struct Pending {
    /// At least one.
    pub(super) records: Vec<Arc<Record>>,
    /// What events among them tell.
    pub(super) tells: Holes,
}

impl Pending {
    /// `seq` of the first record.
    pub(super) fn first(&self) -> u64 {
        self.records.first().map_or(0, |first| first.seq)
    }

    /// `seq` behind the last record.
    pub(super) fn end(&self) -> u64 {
        let last = self.records.last();
        last.map_or(0, |last| last.seq.saturating_add(1))
    }
}

/// Observations, cut into blocks.
#[derive(Default)]
struct Gathered {
    blocks: Vec<Vec<Observation>>,
    /// Of the last block.
    weight: usize,
    /// Of those before.
    before: usize,
}

impl Gathered {
    fn put(&mut self, observation: Observation) {
        // A block is of one boot; there is a second one in tests only.
        let goes = |block: &&mut Vec<Observation>| {
            let boot = block.first().map(|first| first.stamp.boot);
            self.weight < FULL && boot == Some(observation.stamp.boot)
        };
        let weight = weight(&observation);
        match self.blocks.last_mut().filter(goes) {
            Some(block) => block.push(observation),
            None => {
                self.before += std::mem::take(&mut self.weight);
                self.blocks.push(vec![observation]);
            }
        }
        self.weight += weight;
    }
}

impl Writer {
    /// Takes what gathered, block by block, and gives each record its numbers.
    pub(super) fn number(&mut self) {
        let mut gathered = Gathered::default();
        self.own.drain(..).for_each(|own| gathered.put(own));
        self.tell().into_iter().for_each(|told| gathered.put(told));
        let room = MOST_GATHERED.saturating_sub(gathered.before + gathered.weight);
        if room > 0 {
            let taken = self.shared.queue.take(room);
            taken.into_iter().for_each(|one| gathered.put(one));
        }
        for block in gathered.blocks {
            let mut records = Vec::with_capacity(block.len());
            for observation in block {
                if self.is_wanted(&observation) {
                    records.push(Arc::new(self.numbered(observation)));
                }
            }
            if records.is_empty() {
                continue;
            }
            let tells = told_by(&records);
            self.checkpoint_due |= !tells.is_empty();
            self.pending.push(Pending { records, tells });
        }
    }

    /// Events of what is due to be told. Until they are durable it stays untold.
    fn tell(&mut self) -> Vec<Observation> {
        let stamp = self.clock.now();
        let due = self.checkpoint.untold.take_due();
        let events = due.events();
        self.telling.merge(due);
        let told = events.into_iter().map(|event| Observation {
            stamp,
            body: Body::Event(event),
        });
        told.collect()
    }

    /// A description is kept only where it differs from the last one of its device in this stream; a scan not while the
    /// store is full and drops the newest.
    fn is_wanted(&mut self, observation: &Observation) -> bool {
        match &observation.body {
            Body::Event(_) => true,
            Body::Scan(_) => !self.room.turns_away(observation),
            Body::Description(description) => {
                let counter = self
                    .checkpoint
                    .counters
                    .entry(Some(description.device.clone()))
                    .or_default();
                let fingerprint = body::fingerprint(description).max(1);
                std::mem::replace(&mut counter.described, fingerprint) != fingerprint
            }
        }
    }

    fn numbered(&mut self, observation: Observation) -> Record {
        let device = observation.body.device().cloned();
        let seq = self.checkpoint.next;
        self.checkpoint.next = seq.saturating_add(1);
        let counter = self.checkpoint.counters.entry(device).or_default();
        let device_seq = counter.next;
        counter.next = device_seq.saturating_add(1);
        Record {
            stream: self.checkpoint.stream,
            seq,
            device_seq,
            stamp: observation.stamp,
            body: observation.body,
        }
    }

    /// What is pending is not on disk: it waits for the next commit, before all else, and gets its numbers then.
    pub(super) fn take_back(&mut self) {
        let pending = taken_out(&mut self.pending);
        if let Some(first) = pending.first() {
            self.checkpoint.next = first.seq;
        }
        for record in &pending {
            let device = record.body.device().cloned();
            if let Some(counter) = self.checkpoint.counters.get_mut(&device) {
                counter.next = counter.next.min(record.device_seq);
                if matches!(record.body, Body::Description(_)) {
                    counter.described = 0;
                }
            }
        }
        let mut own: VecDeque<Observation> = unnumbered(pending).collect();
        own.append(&mut self.own);
        self.own = own;
    }
}

/// What the events among some records tell: that of a stream's end as well.
fn told_by(records: &[Arc<Record>]) -> Holes {
    let mut holes = Holes::default();
    for record in records {
        if let Body::Event(event) = &record.body {
            holes.add_told(event);
        }
    }
    holes
}

/// The records of pending blocks, none of which is pending any more.
pub(super) fn taken_out(pending: &mut Vec<Pending>) -> Vec<Arc<Record>> {
    let blocks = std::mem::take(pending).into_iter();
    blocks.flat_map(|block| block.records).collect()
}

/// Records as they came, without their numbers.
pub(super) fn unnumbered(records: Vec<Arc<Record>>) -> impl Iterator<Item = Observation> {
    let records = records.into_iter().map(Arc::unwrap_or_clone);
    records.map(|record| Observation {
        stamp: record.stamp,
        body: record.body,
    })
}
