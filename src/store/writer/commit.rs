//! One commit: what gathered becomes numbered records, blocks, and durable with one sync.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use super::gather::{FULL, Gathered, Pending};
use super::{MARK_EVERY, MOST_UNWRITTEN, WRITE_WITHIN, Writer};
use crate::reading::{Event, EventName};
use crate::store::checkpoint::Checkpoint;
use crate::store::engine::{EngineError, Kind, Write};
use crate::store::envelope;
use crate::store::holes::Holes;
use crate::store::inlet::Queue;

/// Ends the building ahead, also where the writing panics.
struct Over<'a>(&'a AtomicBool, &'a Queue);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
        self.1.ring();
    }
}

impl Writer {
    /// Commits what gathered, with all notes that wait. After an error the records are pending still.
    pub(super) fn commit(&mut self) -> Result<(), EngineError> {
        self.last_commit = Some(Instant::now());
        self.take_refusals()?;
        let many = self.gather() >= FULL;
        if many && !self.room.is_full() {
            self.write_while_building()
        } else {
            self.write()
        }
    }

    /// Where a commit is as large as a block, more is likely to come: it is built meanwhile. The disk does not wait for the
    /// processor, nor that for the disk.
    fn write_while_building(&mut self) -> Result<(), EngineError> {
        let (ahead, shared) = (Arc::clone(&self.ahead), Arc::clone(&self.shared));
        let (queue, over) = (&shared.queue, AtomicBool::new(false));
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().name("store-ahead".to_owned());
            let built =
                builder.spawn_scoped(scope, || Gathered::of(&ahead).gather_ahead(queue, &over));
            let over = Over(&over, queue);
            let written = self.write();
            drop(over);
            // Without the thread it is built later.
            if let Ok(built) = built
                && let Err(panic) = built.join()
            {
                resume_unwind(panic);
            }
            written
        })
    }

    /// Numbers what was gathered, and makes it durable.
    fn write(&mut self) -> Result<(), EngineError> {
        let blocks = self.number();
        let mut writes = self.shared.schemas().definitions();
        writes.extend(blocks);
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
    pub(super) fn checkpoint_after(&mut self) -> Write {
        let pending = self.pending.iter();
        let told: Vec<_> = pending
            .map(|block| (block.first(), block.end(), block.tells.clone()))
            .collect();
        let untold = self.checkpoint.untold.clone();
        self.checkpoint_write(|after| {
            if !told.is_empty() {
                after.untold = untold;
            }
            for (first, end, tells) in told {
                after.tell(first, end, tells);
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
        let mut gone = Vec::new();
        let recovered = {
            let mut state = self.shared.state();
            if let Some(end) = self.pending.last().map(Pending::end) {
                for block in std::mem::take(&mut self.pending) {
                    (self.checkpoint).tell(block.first(), block.end(), block.tells);
                    gone.extend(state.recent.push(block.records));
                }
                self.telling = Holes::default();
                state.next = end;
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
        if self.unsynced && self.last_sync.elapsed() >= self.sync_within() {
            self.shared.engine()?.sync()?;
            self.unsynced = false;
            self.last_sync = Instant::now();
            self.retire()?;
            self.shrink_if_freed()?;
        }
        Ok(())
    }
}
