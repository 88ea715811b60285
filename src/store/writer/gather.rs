//! What gathered on its way into blocks: built, numbered, and taken back where the disk did not take it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Writer;
use crate::reading::{Body, Observation, Record};
use crate::store::block::{Draft, Packed, body};
use crate::store::engine::{Kind, Write};
use crate::store::holes::Holes;
use crate::store::inlet::{MOST_WAITING, Queue, weight};

/// A block is full with so many readings, an observation counted as the inlet does: larger ones get little smaller, and
/// whoever reads a hundred records decodes all of it.
pub(super) const FULL: usize = 20_000;
/// It is full with so many bytes, too: with long texts, few readings are many.
const FULL_BYTES: usize = 1 << 20;
/// Most readings that one commit takes, but for what one that failed had taken: half of what the inlet holds, so that the
/// other half takes what comes while the disk syncs.
const MOST_GATHERED: usize = MOST_WAITING / 2;
/// So many do not wait for the window, which could be longer than the inlet lasts. Fewer than a commit takes: where more come
/// all the time, the disk is not idle until the last of them is there.
pub(super) const ENOUGH: usize = MOST_WAITING * 2 / 5;

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

/// What goes into a block, each with the place of its device there.
type Placed = Vec<(usize, Observation)>;

/// A block that still grows.
#[derive(Debug, Default)]
struct Growing {
    observations: Placed,
    draft: Draft,
    weight: usize,
}

/// Observations built into blocks, without numbers. They stay so until a commit takes them, whatever becomes of others.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    full: VecDeque<(Placed, Packed)>,
    last: Growing,
    /// To be built next. Here, so that a panic on the way takes along none but the one that it is about.
    incoming: VecDeque<Observation>,
    /// Of the blocks.
    weight: usize,
}

impl Gathered {
    fn put(&mut self, observation: Observation) {
        // A block is of one boot; there is a second one in tests only.
        let boot = self.last.draft.boot();
        if boot.is_some_and(|boot| boot != observation.stamp.boot) {
            self.close();
        }
        let last = &mut self.last;
        let Some(place) = last.draft.put(observation.stamp, &observation.body) else {
            log::error!("a scan is too large for the store: it has more readings than a block");
            return;
        };
        let weight = weight(&observation);
        self.weight += weight;
        last.weight += weight;
        last.observations.push((place, observation));
        if last.weight >= FULL || last.draft.len() >= FULL_BYTES {
            self.close();
        }
    }

    /// What comes next begins a block.
    fn close(&mut self) {
        let packed = std::mem::take(&mut self.last.draft).pack();
        let last = std::mem::take(&mut self.last);
        if !last.observations.is_empty() {
            self.full.push_back((last.observations, packed));
        }
    }

    /// Adds what comes behind this.
    fn append(&mut self, behind: &mut Self) {
        if behind.weight == 0 {
            return;
        }
        self.close();
        let mut behind = std::mem::take(behind);
        self.full.append(&mut behind.full);
        self.last = behind.last;
        self.incoming.append(&mut behind.incoming);
        self.weight += behind.weight;
    }

    /// What is built ahead, for whoever builds it or takes it over.
    pub(super) fn of(ahead: &Mutex<Self>) -> MutexGuard<'_, Self> {
        ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds blocks of scans that wait or come, as many as one commit takes, until it is `over`, which the bell
    /// tells. Scans only: what events tell and which descriptions are wanted depends on what is durable by then.
    pub(super) fn gather_ahead(&mut self, queue: &Queue, over: &AtomicBool) {
        while self.weight < MOST_GATHERED {
            queue.wait_behind(FULL);
            if over.load(Ordering::Relaxed) {
                return;
            }
            let most = FULL.min(MOST_GATHERED - self.weight);
            // The bell may have rung for the writer: then there is nothing yet, or little.
            let Some(scans) = queue.take_ahead(most) else {
                return;
            };
            self.incoming.extend(scans);
            while let Some(scan) = self.incoming.pop_front() {
                self.put(scan);
            }
        }
    }

    /// The observations, as they came.
    pub(super) fn taken_out(&mut self) -> impl Iterator<Item = Observation> {
        let all = std::mem::take(self);
        let full = all.full.into_iter().map(|(observations, _)| observations);
        let built = full.chain([all.last.observations]).flatten();
        let built = built.map(|(_, observation)| observation);
        built.chain(all.incoming)
    }
}

impl Writer {
    /// Takes what waits on its way into blocks, as much as one commit takes: how many readings those have.
    pub(super) fn gather(&mut self) -> usize {
        let told = self.tell();
        self.own.extend(told);
        while let Some(observation) = self.own.pop_front() {
            self.put(observation);
        }
        // Behind what a failed commit had taken the rest stays where it counts as waiting.
        let ahead = Arc::clone(&self.ahead);
        let mut ahead = Gathered::of(&ahead);
        let room = MOST_GATHERED.saturating_sub(self.gathered.weight);
        if self.gathered.weight < FULL || ahead.weight < room {
            self.gathered.append(&mut ahead);
            let room = MOST_GATHERED.saturating_sub(self.gathered.weight);
            self.gathered.incoming.extend(self.shared.queue.take(room));
            while let Some(observation) = self.gathered.incoming.pop_front() {
                self.put(observation);
            }
        }
        self.gathered.weight
    }

    /// Gives each record of what was gathered its numbers: the blocks to write.
    pub(super) fn number(&mut self) -> Vec<Write> {
        debug_assert!(self.pending.is_empty(), "the engine was opened anew since");
        self.gathered.close();
        let mut writes = Vec::with_capacity(self.gathered.full.len());
        while let Some((observations, packed)) = self.gathered.full.pop_front() {
            writes.push(self.numbered(observations, &packed));
        }
        self.gathered.weight = 0;
        writes
    }

    fn put(&mut self, observation: Observation) {
        if self.is_wanted(&observation) {
            self.gathered.put(observation);
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

    /// Gives the records of a block their numbers, after which they are pending.
    fn numbered(&mut self, observations: Placed, packed: &Packed) -> Write {
        let (stream, first) = (self.checkpoint.stream, self.checkpoint.next);
        let counters = &mut self.checkpoint.counters;
        let firsts: Vec<u64> = (packed.devices().iter())
            .map(|share| {
                let counter = counters.entry(share.device.clone()).or_default();
                let first = counter.next;
                counter.next = first.saturating_add(share.count);
                first
            })
            .collect();
        let mut next = firsts.clone();
        let number = |(seq, (place, observation)): (u64, (usize, Observation))| {
            let device_seq = next.get_mut(place).map_or(0, |next| {
                let device_seq = *next;
                *next = device_seq.saturating_add(1);
                device_seq
            });
            Arc::new(Record {
                stream,
                seq,
                device_seq,
                stamp: observation.stamp,
                body: observation.body,
            })
        };
        self.pending.push(Pending {
            records: (first..).zip(observations).map(number).collect(),
            tells: Holes::default(),
        });
        if let Some(pending) = self.pending.last_mut() {
            pending.tells = told_by(&pending.records);
            self.checkpoint.next = pending.end();
            self.checkpoint_due |= !pending.tells.is_empty();
        }
        let mut schemas = self.shared.schemas();
        let value = packed.seal(stream, first, &firsts, |schema| {
            schemas.use_for(schema, first)
        });
        Write {
            kind: Kind::Block,
            key: first.to_be_bytes().to_vec(),
            value: Some(value),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{Clock, ManualClock, Outlet};
    use crate::store::Inlet;
    use crate::store::inlet::tests::{event, scan};

    #[test]
    fn as_much_as_one_commit_takes_is_built_ahead() {
        let inlet = Inlet::new(Clock::new(ManualClock::at(0, 0)));
        (0..7).for_each(|_| inlet.put(scan("press", 0, FULL)));
        let (queue, mut ahead) = (inlet.queue(), Gathered::default());
        ahead.gather_ahead(&queue, &AtomicBool::new(false));
        assert_eq!(ahead.full.len(), 5);
        assert!(queue.has(7 * FULL), "it counts as waiting");
        assert_eq!(queue.take(usize::MAX).len(), 2);
        assert!(!queue.has_any());
        assert_eq!(ahead.taken_out().count(), 5);
    }

    #[test]
    fn nothing_is_built_ahead_of_an_event() {
        let inlet = Inlet::new(Clock::new(ManualClock::at(0, 0)));
        inlet.put(scan("press", 0, FULL));
        inlet.put(event(0));
        (0..2).for_each(|_| inlet.put(scan("press", 0, FULL)));
        let (queue, mut ahead) = (inlet.queue(), Gathered::default());
        ahead.gather_ahead(&queue, &AtomicBool::new(false));
        assert_eq!(ahead.full.len(), 1);
        let taken = queue.take(usize::MAX);
        assert!(matches!(taken[0].body, Body::Event(_)) && taken.len() == 3);
    }
}
