//! One commit: what gathered becomes numbered records, a block, and durable.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::{MARK_EVERY, MOST_READINGS, MOST_UNWRITTEN, SYNC_WITHIN, WRITE_WITHIN, Writer};
use crate::reading::{Body, BootId, Event, EventName, Observation, Record};
use crate::store::block::{self, body};
use crate::store::checkpoint::Checkpoint;
use crate::store::engine::{EngineError, Kind, Write};
use crate::store::envelope;

impl Writer {
    /// Commits what gathered, with all notes that wait. After an error the records are pending still.
    pub(super) fn commit(&mut self) -> Result<(), EngineError> {
        self.last_commit = Some(Instant::now());
        self.take_refusals()?;
        self.number();
        let mut writes = Vec::new();
        if let Some(first) = self.pending.first().map(|record| record.seq) {
            let mut schemas = self.shared.schemas();
            let value = block::encode(&self.pending, |schema| schemas.use_for(schema, first));
            writes.extend(schemas.definitions());
            writes.push(Write {
                kind: Kind::Block,
                key: first.to_be_bytes().to_vec(),
                value,
            });
        }
        writes.extend(self.note_writes());
        if self.checkpoint_due {
            writes.push(self.checkpoint_after());
        }
        if !writes.is_empty() {
            self.shared.engine()?.append(writes, true)?;
            self.committed();
        }
        Ok(())
    }

    /// The checkpoint as it is on disk now, but for `change`. What it says becomes so only once it is durable.
    pub(super) fn checkpoint_write(&mut self, change: impl FnOnce(&mut Checkpoint)) -> Write {
        let mut written = self.checkpoint.clone();
        written.next_schema = self.shared.schemas().next();
        written.untold.merge(self.telling.clone());
        let unconfirmed = self.shared.state().oldest_unconfirmed();
        written.told.retain(|told| told.end > unconfirmed);
        change(&mut written);
        let write = written.write();
        self.checkpoint.generation = written.generation;
        write
    }

    /// The checkpoint as it is once the pending records are durable: what they tell is told.
    fn checkpoint_after(&mut self) -> Write {
        let ends = self.pending.first().zip(self.pending.last());
        let block = ends.map(|(first, last)| (first.seq, last.seq.saturating_add(1)));
        let (untold, telling) = (self.checkpoint.untold.clone(), self.telling.clone());
        self.checkpoint_write(|after| {
            if let Some((first, end)) = block {
                after.untold = untold;
                after.tell(first, end, telling);
            }
        })
    }

    /// What follows a durable append of the pending records.
    pub(super) fn committed(&mut self) {
        self.shared.schemas().written();
        self.notes.clear();
        self.unsynced = false;
        self.last_sync = Instant::now();
        self.backoff.connected(Instant::now());
        let recovered = {
            let mut state = self.shared.state();
            if let Some((first, last)) = self.pending.first().zip(self.pending.last()) {
                let end = last.seq.saturating_add(1);
                // The first record of a stream tells how the one before ended; a checkpoint goes along with it.
                let telling = std::mem::take(&mut self.telling);
                self.checkpoint.tell(first.seq, end, telling);
                state.next = end;
                state.recent.push(std::mem::take(&mut self.pending));
                self.shared.head.send_replace(end.saturating_sub(1));
            }
            state.dead = self.letters.count();
            state.trouble.take().is_some()
        };
        self.checkpoint_due = false;
        self.wrote();
        if recovered {
            log::info!("the store can be written again");
            self.say(Event::gateway(EventName::DiskRecovered));
        }
        if self
            .last_mark
            .is_none_or(|last| last.elapsed() >= MARK_EVERY)
        {
            self.set_mark();
        }
    }

    pub(super) fn set_mark(&mut self) {
        self.last_mark = Some(Instant::now());
        if let Err(error) = self.place.set_mark(
            self.checkpoint.stream,
            self.checkpoint.end.saturating_sub(1),
        ) {
            log::debug!("the mark of the store's head cannot be written: {error}");
        }
    }

    /// Takes what gathered and gives each record its numbers.
    fn number(&mut self) {
        let mut taken: Vec<Observation> = self.own.drain(..).collect();
        taken.extend(self.tell(taken.first().map(|first| first.stamp.boot)));
        let weight: usize = taken.iter().map(crate::store::inlet::weight).sum();
        if weight < MOST_READINGS {
            taken.extend(self.shared.queue.take(MOST_READINGS - weight));
        }
        // A block is of one boot; there is a second one in tests only.
        let boot = taken.first().map(|observation| observation.stamp.boot);
        if let Some(other) = taken
            .iter()
            .position(|observation| Some(observation.stamp.boot) != boot)
        {
            self.own.extend(taken.drain(other..));
        }
        let mut pending = Vec::with_capacity(taken.len());
        for observation in taken {
            if self.is_wanted(&observation) {
                pending.push(Arc::new(self.numbered(observation)));
            }
        }
        self.pending = pending;
    }

    /// Events of what is due to be told, where they fit into a block of that boot. Until they are durable it stays untold.
    fn tell(&mut self, boot: Option<BootId>) -> Vec<Observation> {
        let stamp = self.clock.now();
        if boot.is_some_and(|boot| boot != stamp.boot) {
            return Vec::new();
        }
        let due = self.checkpoint.untold.take_due();
        let events = due.events();
        self.checkpoint_due |= !due.is_empty();
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
        let pending = std::mem::take(&mut self.pending);
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

    /// Cursors and sessions that changed, and dead letters. Then [`Self::wrote`], or after an error [`Self::unwritten`].
    pub(super) fn note_writes(&mut self) -> Vec<Write> {
        let mut writes = self.notes.clone();
        let mut state = self.shared.state();
        state.changed = None;
        state.urgent = false;
        for (name, cursor) in state.written_cursors() {
            if !cursor.changed() {
                continue;
            }
            if cursor.is_forgotten() {
                writes.push(Write {
                    kind: Kind::Session,
                    key: name.as_str().as_bytes().to_vec(),
                    value: None,
                });
            }
            writes.push(cursor.write(name));
        }
        writes.extend(state.clocks.write());
        for (name, session) in state
            .sessions
            .iter_mut()
            .filter(|(_, session)| session.changed)
        {
            session.changed = false;
            session.generation = session.generation.saturating_add(1);
            let key = name.as_str().as_bytes();
            let value = envelope::wrap(Kind::Session, key, session.generation, &session.value);
            writes.push(Write {
                kind: Kind::Session,
                key: key.to_vec(),
                value: Some(value),
            });
        }
        writes
    }

    /// What [`Self::note_writes`] gave is there.
    pub(super) fn wrote(&self) {
        let mut state = self.shared.state();
        (state.written_cursors()).for_each(|(_, cursor)| cursor.written());
        drop(state);
        self.shared.written.notify_waiters();
    }

    /// Has everything but the records written again: it is not known what is there.
    pub(super) fn unwritten(&mut self) {
        self.checkpoint_due = true;
        self.unsynced = false;
        self.shared.schemas().unwritten();
        let mut state = self.shared.state();
        (state.written_cursors()).for_each(|(_, cursor)| cursor.touch());
        state
            .sessions
            .values_mut()
            .for_each(|session| session.changed = true);
        state.clocks.touch();
        state.changed = Some(Instant::now());
    }

    /// Writes cursors and sessions without a block and without a sync, where they have waited long enough; syncs what
    /// was written so.
    pub(super) fn write_notes(&mut self) -> Result<(), EngineError> {
        let due = {
            let state = self.shared.state();
            let many = state
                .cursors
                .values()
                .any(|cursor| cursor.unwritten() >= MOST_UNWRITTEN);
            state.urgent
                || many
                || state
                    .changed
                    .is_some_and(|since| since.elapsed() >= WRITE_WITHIN)
        };
        // A cursor never goes before the dead letter that moved it.
        if due && self.notes.is_empty() {
            let writes = self.note_writes();
            if !writes.is_empty() {
                self.shared.engine()?.append(writes, false)?;
                self.wrote();
                self.unsynced = true;
            }
        }
        if self.unsynced && self.last_sync.elapsed() >= SYNC_WITHIN {
            self.shared.engine()?.sync()?;
            self.unsynced = false;
            self.last_sync = Instant::now();
            self.retire()?;
            self.shrink_if_freed()?;
        }
        Ok(())
    }
}

/// Records as they came, without their numbers.
pub(super) fn unnumbered(records: Vec<Arc<Record>>) -> impl Iterator<Item = Observation> {
    let records = records.into_iter().map(Arc::unwrap_or_clone);
    records.map(|record| Observation {
        stamp: record.stamp,
        body: record.body,
    })
}
