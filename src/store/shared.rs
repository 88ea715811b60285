//! What the writer and the readers of a store share.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use tokio::sync::{Notify, watch};

use super::cache::{Batch, Decoded, Found, ReadLimit, Recent, Wanted};
use super::clocks::Clocks;
use super::cursor::Cursor;
use super::engine::{Engine, EngineError};
use super::holes::Cause;
use super::inlet::Queue;
use super::schema::SchemaTable;
use super::unread::Unread;
use crate::reading::{Name, RangeSet, Record, StreamId};

/// With so many confirmations of an upstream at risk, sending waits for the writer: a crash repeats them. Twice what is
/// written without delay, so that sending and writing overlap.
const MOST_AT_RISK: u64 = 2 * super::writer::MOST_UNWRITTEN;
/// With so many refusals that the writer has not taken, reading waits for it: they take memory.
const MOST_REFUSALS: usize = 1000;

pub(super) struct Shared {
    /// `None` while the writer opens it anew.
    pub(super) engine: RwLock<Option<Arc<dyn Engine>>>,
    pub(super) state: Mutex<State>,
    pub(super) schemas: Mutex<SchemaTable>,
    pub(super) head: watch::Sender<u64>,
    pub(super) queue: Arc<Queue>,
    /// Since when the writer is at one piece of work; `None`: it waits for some.
    pub(super) busy: Mutex<Option<Instant>>,
    /// Tells that notes were written, or that the state of the writer changed.
    pub(super) written: Notify,
    /// Held by whoever reads from disk.
    pub(super) reading: Mutex<()>,
    /// Reads that the disk refused.
    pub(super) unread: Mutex<Unread>,
    /// How many blocks were read from disk and decoded.
    pub(super) decoded: AtomicU64,
}

/// What changes with each commit and confirmation.
pub(super) struct State {
    pub(super) stream: StreamId,
    /// No record below this is in the store.
    pub(super) floor: u64,
    /// `seq` behind the last durable record.
    pub(super) next: u64,
    pub(super) cursors: BTreeMap<Name, Cursor>,
    pub(super) sessions: BTreeMap<Name, Session>,
    pub(super) clocks: Clocks,
    pub(super) refusals: Vec<Refusal>,
    /// What is kept of upstreams that were forgotten, so that they stay so.
    pub(super) forgotten: BTreeMap<Name, Cursor>,
    /// Since when something is to be written without a block.
    pub(super) changed: Option<Instant>,
    /// Enough is to be written that it should not wait.
    pub(super) urgent: bool,
    pub(super) recent: Recent,
    pub(super) loaded: Decoded,
    /// A reader came upon damage.
    pub(super) damaged: Option<String>,
    pub(super) stopping: bool,
    /// There is no writer any more.
    pub(super) closed: bool,
    pub(super) trouble: Option<String>,
    pub(super) disk: u64,
    pub(super) dead: usize,
}

/// A codec's small persistent value.
#[derive(Debug, Clone, Default)]
pub(super) struct Session {
    pub(super) value: Vec<u8>,
    pub(super) generation: u64,
    pub(super) changed: bool,
}

/// A record that a broker refused for good.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    pub(super) upstream: Name,
    pub(super) seq: u64,
    pub(super) reason: String,
    pub(super) payload_size: u64,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn schemas(&self) -> MutexGuard<'_, SchemaTable> {
        self.schemas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the turn to read from disk.
    pub(super) fn alone(&self) -> MutexGuard<'_, ()> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The engine; an error while it is being opened anew.
    pub(super) fn engine(&self) -> Result<Arc<dyn Engine>, EngineError> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        engine
            .clone()
            .ok_or_else(|| EngineError::Stopped("it is being opened anew".to_owned()))
    }

    /// The blocks from `from` on: [`Engine::blocks`]. Where one is damaged, or cannot be read however often it is tried, the
    /// writer learns that it has to rebuild.
    pub(super) fn blocks<'a>(
        &'a self,
        engine: &'a dyn Engine,
        from: u64,
    ) -> impl Iterator<Item = Result<(u64, Vec<u8>), EngineError>> + 'a {
        let mut place = from;
        engine.blocks(from).inspect(move |read| {
            self.was_read(place, read.as_ref().err());
            if let Ok((key, _)) = read {
                place = key.saturating_add(1);
            }
        })
    }

    /// Notes whether a block could be read: that which is at `place`, or the next.
    fn was_read(&self, place: u64, error: Option<&EngineError>) {
        let mut unread = self.unread.lock().unwrap_or_else(PoisonError::into_inner);
        match error {
            None => unread.worked(place),
            Some(EngineError::Damaged(why)) => self.found_damage(why),
            Some(error) if error.is_of_a_place() && unread.failed(place, Instant::now()) => {
                self.found_damage(&format!("the block at {place} cannot be read: {error}"));
            }
            Some(_) => (),
        }
    }

    /// Has the writer rebuild what is damaged.
    pub(super) fn found_damage(&self, why: &str) {
        let mut state = self.state();
        if state.damaged.is_none() {
            state.damaged = Some(why.to_owned());
            self.queue.ring();
        }
    }

    pub(super) fn set_engine(&self, engine: Option<Arc<dyn Engine>>) -> Option<Arc<dyn Engine>> {
        std::mem::replace(
            &mut *self.engine.write().unwrap_or_else(PoisonError::into_inner),
            engine,
        )
    }

    /// Notes since when the writer works.
    pub(super) fn set_busy(&self, busy: bool) {
        *self.busy.lock().unwrap_or_else(PoisonError::into_inner) = busy.then(Instant::now);
    }

    /// Waits for the writer until the state is as it should be.
    pub(super) async fn until(&self, is_so: impl Fn(&State) -> bool) {
        loop {
            let mut written = pin!(self.written.notified());
            written.as_mut().enable();
            if is_so(&self.state()) {
                return;
            }
            written.await;
        }
    }

    /// Notes that something is to be written without a block, and wakes the writer where it does not know yet.
    pub(super) fn changed(&self, state: &mut State, urgent: bool) {
        let first = state.changed.is_none();
        if first {
            state.changed = Some(Instant::now());
        }
        if first || (urgent && !state.urgent) {
            state.urgent |= urgent;
            self.queue.ring();
        }
    }
}

/// Who misses records when they go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Lost {
    /// Every upstream has confirmed them.
    Nobody,
    /// Some upstream that is at work, or, where there is none at all, whoever comes later.
    Somebody,
    /// Only these, which have left the configuration and were not forgotten.
    Only(Vec<Name>),
}

impl Lost {
    /// What the events say of it.
    pub(super) fn causes(self, reason: &'static str) -> impl Iterator<Item = Cause> {
        let upstreams = match self {
            Self::Nobody => Vec::new(),
            Self::Somebody => vec![None],
            Self::Only(names) => names.into_iter().map(Some).collect(),
        };
        upstreams.into_iter().map(move |upstream| Cause {
            upstream,
            ..Cause::bound(reason)
        })
    }
}

impl State {
    /// To whom `first..=last` are lost when they go.
    pub(super) fn lost_to(&self, first: u64, last: u64) -> Lost {
        let misses = |cursor: &Cursor| cursor.confirmed().first_missing(first) <= last;
        let mut attached = self.cursors.values().filter(|cursor| cursor.is_attached());
        if self.cursors.is_empty() || attached.any(misses) {
            return Lost::Somebody;
        }
        let missing = self.cursors.iter().filter(|(_, cursor)| misses(cursor));
        let names: Vec<Name> = missing.map(|(name, _)| name.clone()).collect();
        if names.is_empty() {
            Lost::Nobody
        } else {
            Lost::Only(names)
        }
    }

    /// Whether some upstream has confirmed some of `first..=last`.
    pub(super) fn is_partly_confirmed(&self, first: u64, last: u64) -> bool {
        let touches = |cursor: &Cursor| {
            let mut ranges = cursor.confirmed().iter();
            ranges.any(|(from, to)| from <= last && to >= first)
        };
        self.cursors.values().any(touches)
    }

    /// Every cursor that may have to be written.
    pub(super) fn written_cursors(&mut self) -> impl Iterator<Item = (&Name, &mut Cursor)> {
        self.cursors.iter_mut().chain(self.forgotten.iter_mut())
    }

    /// Whether the writer has taken so many refusals that reading may bring more.
    pub(super) fn may_refuse(&self) -> bool {
        self.closed || self.refusals.len() < MOST_REFUSALS
    }

    /// Whether so much of what an upstream has confirmed is written that it may be sent more.
    pub(super) fn may_send(&self, upstream: &Name) -> bool {
        let safe = |cursor: &Cursor| cursor.at_risk() < MOST_AT_RISK;
        // With the disk in trouble forwarding goes on: a crash repeats more then, but nobody waits for what is there.
        self.closed || self.trouble.is_some() || self.cursors.get(upstream).is_none_or(safe)
    }

    /// Records from memory, with their true times; `None`: they must be read from disk.
    pub(super) fn in_memory(&self, from: u64, limit: ReadLimit, wanted: &Wanted) -> Option<Batch> {
        let from = from.max(self.floor);
        let mut found = Found::new(from, limit, wanted);
        let here =
            from >= self.next || self.recent.read(&mut found) || self.loaded.read(&mut found);
        here.then(|| self.with_true_times(found.batch()))
    }

    /// Gives records the times that are known for them by now.
    pub(super) fn with_true_times(&self, mut batch: Batch) -> Batch {
        let unsure = batch.records.iter_mut();
        for record in unsure.filter(|record| !record.stamp.synced) {
            let stamp = self.clocks.truth(record.stamp);
            if stamp.synced {
                Arc::make_mut(record).stamp = stamp;
            }
        }
        batch
    }

    /// The block from memory in which `seq` is.
    pub(super) fn block(&self, seq: u64) -> Option<Arc<[Arc<Record>]>> {
        let block = self.recent.get(seq).or_else(|| self.loaded.get(seq));
        block.cloned()
    }

    /// The oldest `seq` that some upstream has not confirmed; without upstreams, the oldest there is.
    pub(super) fn oldest_unconfirmed(&self) -> u64 {
        let oldest = self.cursors.values().map(Cursor::oldest).min();
        oldest.map_or(self.floor, |oldest| {
            oldest.clamp(self.floor, self.next.max(self.floor))
        })
    }

    /// Records that an upstream has not confirmed.
    pub(super) fn backlog(&self, confirmed: &RangeSet) -> u64 {
        let inside = confirmed.iter().map(|(first, last)| {
            (last.saturating_add(1))
                .min(self.next)
                .saturating_sub(first.max(self.floor))
        });
        self.next
            .saturating_sub(self.floor)
            .saturating_sub(inside.sum())
    }
}
