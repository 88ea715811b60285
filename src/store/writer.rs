//! The one owner of writes: a thread that commits what has gathered, with one sync for all of it.

mod age;
mod commit;
mod gather;
mod maintenance;
mod refusals;
mod retention;
mod trouble;

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use super::cache::{Decoded, Recent};
use super::checkpoint::Checkpoint;
use super::dead_letter::Letters;
use super::directory::{self, Place};
use super::engine::{EngineError, Progress, Write};
use super::holes::Holes;
use super::inlet::{Inlet, Left};
use super::recovery::{self, Known, Loaded};
use super::shared::{Shared, State};
use super::{Store, StoreSettings};
use crate::reading::{Body, Clock, Detail, Event, EventName, Observation, StreamId};
use crate::support::backoff::Backoff;
use gather::{ENOUGH, Gathered, Pending};

pub use maintenance::Maintenance;

/// So many confirmations are written at once, without waiting for the next block.
pub(super) const MOST_UNWRITTEN: u64 = 250;
/// Fewer wait for the next block as long as this.
const WRITE_WITHIN: Duration = Duration::from_secs(1);
/// What was written without a sync is synced after this, or a commit window where that is longer, when no block comes.
const SYNC_WITHIN: Duration = Duration::from_secs(5);
/// How often the mark of the head is renewed.
const MARK_EVERY: Duration = Duration::from_secs(5);

/// The store's writer. It has a thread for itself: [`Self::run`].
pub struct Writer {
    shared: Arc<Shared>,
    place: Place,
    settings: StoreSettings,
    clock: Clock,
    machine: u64,
    checkpoint: Checkpoint,
    letters: Letters,
    /// To go before what waits in the inlet: events of the store's own, and what a failed commit had taken.
    own: VecDeque<Observation>,
    /// What a commit takes, on its way into blocks.
    gathered: Gathered,
    /// Built while the last commit was written, to go behind all of that.
    ahead: Arc<Mutex<Gathered>>,
    /// Numbered, and not yet durable; between a commit that failed and the next opening it is not known whether they are.
    pending: Vec<Pending>,
    /// Of refusals: to go with the next block.
    notes: Vec<Write>,
    /// Taken out of the checkpoint by events that are not yet durable.
    telling: Holes,
    last_commit: Option<Instant>,
    last_sync: Instant,
    last_mark: Option<Instant>,
    /// Something was written and not synced.
    unsynced: bool,
    /// The next block takes the checkpoint along.
    checkpoint_due: bool,
    room: retention::Room,
    need: trouble::Need,
    backoff: Backoff,
    /// When the engine stopped by itself of late.
    stops: Vec<Instant>,
}

impl Drop for Writer {
    /// Also after a panic: another writer can open the store then, whoever still has a handle on this one, and goes on
    /// with what this one had taken from the inlet.
    fn drop(&mut self) {
        drop(self.shared.set_engine(None));
        self.shared.state().closed = true;
        self.shared.written.notify_waiters();
        let mut own: VecDeque<_> = self.gathered.taken_out().collect();
        own.append(&mut self.own);
        own.extend(Gathered::of(&self.ahead).taken_out());
        let pending = gather::taken_out(&mut self.pending);
        if !own.is_empty() || !pending.is_empty() {
            self.shared.queue.leave(Left { pending, own });
        }
    }
}

impl Writer {
    pub(super) fn open(
        place: Place,
        settings: StoreSettings,
        clock: Clock,
        inlet: &Inlet,
    ) -> Result<(Store, Self), EngineError> {
        let machine = directory::machine();
        let known = Known {
            machine,
            mark: place.mark(),
            failed: inlet.queue().failed(),
        };
        let (engine, _, mut loaded) = recovery::open(&place, known, None, Progress::UNWATCHED)?;
        let shared = Arc::new(Shared {
            engine: RwLock::new(Some(engine)),
            state: Mutex::new(first_state(&loaded.checkpoint)),
            schemas: Mutex::default(),
            head: watch::Sender::new(0),
            queue: inlet.queue(),
            busy: Mutex::default(),
            written: Notify::new(),
            reading: Mutex::default(),
            unread: Mutex::default(),
            decoded: AtomicU64::new(0),
        });
        let mut writer = Self {
            shared: Arc::clone(&shared),
            room: retention::Room::new(&place, &settings),
            place,
            settings,
            clock,
            machine,
            checkpoint: Checkpoint::default(),
            letters: Letters::default(),
            own: VecDeque::new(),
            gathered: Gathered::default(),
            ahead: Arc::default(),
            pending: Vec::new(),
            notes: Vec::new(),
            telling: Holes::default(),
            last_commit: None,
            last_sync: Instant::now(),
            last_mark: None,
            unsynced: false,
            checkpoint_due: true,
            need: trouble::Need::Nothing,
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(10)),
            stops: Vec::new(),
        };
        let started = writer.started(&loaded);
        writer.letters = std::mem::take(&mut loaded.letters);
        let there = loaded.stands_at();
        writer.take_over(loaded)?;
        writer.say(started);
        writer.own.extend(shared.queue.described());
        writer.go_on_from(there);
        Ok((Store { shared }, writer))
    }

    /// Takes what a writer that panicked had taken and not committed; `there`: the stream and the end of what is on disk.
    fn go_on_from(&mut self, there: (StreamId, u64)) {
        let Some(left) = self.shared.queue.left() else {
            return;
        };
        // Of the batch that was under way all is there, or nothing.
        let first = left.pending.first();
        if !first.is_some_and(|first| first.stream == there.0 && first.seq < there.1) {
            self.own.extend(gather::unnumbered(left.pending));
        }
        self.own.extend(left.own);
    }

    /// Commits until [`Store::stop`], then once more what has gathered by then.
    pub fn run(mut self) {
        self.shared.set_busy(true);
        while !self.shared.state().stopping {
            self.turn();
            self.shared.set_busy(false);
            self.wait();
            self.shared.set_busy(true);
        }
        self.close();
    }

    /// One round of [`Self::run`]: whatever is due, without waiting for more.
    pub fn turn(&mut self) {
        if let Err(error) = self.round() {
            self.trouble(error);
        }
    }

    fn round(&mut self) -> Result<(), EngineError> {
        self.look_for_damage();
        self.mend()?;
        if self.has_records() && self.window_is_over() {
            self.commit()?;
        } else {
            self.write_notes()?;
        }
        self.tend()
    }

    /// Commits what has gathered, and notes that the stop was in order.
    pub fn close(mut self) {
        match self.mend().and_then(|()| self.last_round()) {
            Ok(()) => self.set_mark(),
            Err(error) => log::error!("the store could not be closed in order: {error}"),
        }
        self.shared.set_busy(false);
    }

    fn last_round(&mut self) -> Result<(), EngineError> {
        let away = self.room.tell_away();
        away.into_iter().for_each(|event| self.say(event));
        self.checkpoint.untold.make_due();
        while self.has_records() {
            self.commit()?;
        }
        let mut writes = self.note_writes();
        writes.push(self.checkpoint_write(|last| last.clean = true));
        self.shared.engine()?.append(writes, true)?;
        self.wrote();
        Ok(())
    }

    /// Whether a block would not be empty.
    fn has_records(&self) -> bool {
        !self.own.is_empty()
            || self.checkpoint.untold.is_due()
            || self.shared.queue.has_any()
            || !self.shared.state().refusals.is_empty()
    }

    fn window_is_over(&self) -> bool {
        self.last_commit
            .is_none_or(|last| last.elapsed() >= self.settings.commit_window)
            || self.shared.queue.has(ENOUGH)
    }

    /// The least time between two syncs of what alone is no reason for one.
    fn sync_within(&self) -> Duration {
        SYNC_WITHIN.max(self.settings.commit_window)
    }

    /// Sleeps until something is due. Without anything to write there is no deadline, and no wake-up.
    fn wait(&self) {
        if let Some(until) = self.need.until() {
            while Instant::now() < until && !self.shared.state().stopping {
                self.shared.queue.wait(usize::MAX, Some(until));
            }
            return;
        }
        let has_own = !self.own.is_empty()
            || self.checkpoint.untold.is_due()
            || !self.shared.state().refusals.is_empty();
        let window = self
            .last_commit
            .map(|last| last + self.settings.commit_window)
            .filter(|end| *end > Instant::now());
        let wanted = window.is_none();
        if wanted && has_own {
            return;
        }
        let block = if has_own || (!wanted && self.shared.queue.has_any()) {
            window
        } else {
            None
        };
        let notes = {
            let state = self.shared.state();
            if state.urgent || state.stopping || state.damaged.is_some() {
                return;
            }
            state.changed.map(|since| since + WRITE_WITHIN)
        };
        let sync = self.unsynced.then(|| self.last_sync + self.sync_within());
        // In a window the arrivals do not wake this thread before they are too many to wait, so its end does.
        let window = if wanted { None } else { window };
        let until = [block, window, notes, sync, self.room.next_look()]
            .into_iter()
            .flatten()
            .min();
        let least = if wanted { 1 } else { ENOUGH };
        self.shared.queue.wait(least, until);
    }

    /// Queues an event of the store's own.
    fn say(&mut self, event: Event) {
        self.own.push_back(Observation {
            stamp: self.clock.now(),
            body: Body::Event(event),
        });
    }

    fn started(&self, loaded: &Loaded) -> Event {
        let new = loaded
            .broken
            .as_ref()
            .is_some_and(|broken| broken.previous.is_none());
        let event = Event::gateway(EventName::GatewayStarted)
            .with("clean", Detail::Bool(loaded.clean || new));
        match &loaded.broken {
            Some(broken) => broken.tell(event),
            None => event,
        }
    }

    /// Makes what was loaded the present state. A new stream is on disk before its first record.
    fn take_over(&mut self, loaded: Loaded) -> Result<(), EngineError> {
        if let Some(broken) = &loaded.broken {
            log::info!(
                "a new stream {} begins: {}",
                loaded.checkpoint.stream,
                broken.reason
            );
        }
        let before = std::mem::replace(&mut self.checkpoint, loaded.checkpoint);
        let now = &mut self.checkpoint;
        now.next_dead = now.next_dead.max(before.next_dead);
        now.next_schema = now.next_schema.max(before.next_schema);
        now.untold.merge(before.untold);
        let mut schemas = loaded.schemas;
        schemas.begin_at(now.next_schema);
        *self.shared.schemas() = schemas;
        let mut state = self.shared.state();
        for (name, cursor) in loaded.cursors {
            if !state.forgotten.contains_key(&name) {
                state.cursors.entry(name).or_insert(cursor);
            }
        }
        for (name, cursor) in loaded.forgotten {
            if !state.cursors.contains_key(&name) {
                state.forgotten.entry(name).or_insert(cursor);
            }
        }
        for (name, session) in loaded.sessions {
            state.sessions.entry(name).or_insert(session);
        }
        // After a reopen what is in memory goes further.
        if state.clocks.is_empty() {
            state.clocks = loaded.clocks;
        }
        state
            .clocks
            .ended(self.clock.now().boot, self.checkpoint.end);
        if let Some(broken) = &loaded.broken {
            state
                .cursors
                .values_mut()
                .for_each(|cursor| cursor.confirm(&broken.hole));
        }
        state.stream = self.checkpoint.stream;
        state.next = self.checkpoint.next;
        state.dead = self.letters.count();
        state.floor = self.checkpoint.floor.max(1);
        let floor = state.floor;
        // The floor is on disk before the cursors that a bound has moved.
        (state.cursors.values_mut()).for_each(|cursor| cursor.pass(floor));
        state.recent.clear();
        state.loaded.clear();
        let head = self.checkpoint.end.saturating_sub(1);
        drop(state);
        self.shared.head.send_replace(head);
        if loaded.broken.is_some() {
            let mut writes = self.note_writes();
            writes.push(self.checkpoint_write(|_| ()));
            self.shared.engine()?.append(writes, true)?;
            self.wrote();
        }
        self.place.settle()
    }
}

fn first_state(checkpoint: &Checkpoint) -> State {
    State {
        stream: checkpoint.stream,
        floor: checkpoint.floor,
        next: checkpoint.next,
        cursors: Default::default(),
        sessions: Default::default(),
        clocks: Default::default(),
        refusals: Vec::new(),
        forgotten: Default::default(),
        changed: None,
        urgent: false,
        recent: Recent::default(),
        loaded: Decoded::default(),
        damaged: None,
        stopping: false,
        closed: false,
        trouble: None,
        disk: 0,
        dead: 0,
    }
}
