//! The one owner of writes: a thread that commits what has gathered, with one sync for all of it.

mod age;
mod commit;
mod drops;
mod refusals;
mod retention;
mod trouble;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::checkpoint::Checkpoint;
use super::dead_letter::Letters;
use super::directory::{self, Place};
use super::engine::{EngineError, Write};
use super::inlet::Inlet;
use super::recovery::{self, Known, Loaded};
use super::shared::{Recent, Shared, State};
use super::{Store, StoreSettings};
use crate::reading::{Body, Clock, Detail, Event, EventName, Observation, Record};
use crate::support::backoff::Backoff;

/// So many confirmations are written at once, without waiting for the next block.
pub(super) const MOST_UNWRITTEN: u64 = 500;
/// Fewer wait for the next block as long as this.
const WRITE_WITHIN: Duration = Duration::from_secs(1);
/// What was written without a sync is synced after this, when no block comes.
const SYNC_WITHIN: Duration = Duration::from_secs(5);
/// How often the mark of the head is renewed.
const MARK_EVERY: Duration = Duration::from_secs(5);
/// Most readings in a block; more that gathered go into the next one at once.
const MOST_READINGS: usize = 20_000;

/// The store's writer. It has a thread for itself: [`Self::run`].
pub struct Writer {
    shared: Arc<Shared>,
    place: Place,
    settings: StoreSettings,
    clock: Clock,
    machine: u64,
    checkpoint: Checkpoint,
    letters: Letters,
    /// Events of the store's own, to go before what waits in the inlet.
    own: VecDeque<Observation>,
    /// Numbered, and not yet durable.
    pending: Vec<Arc<Record>>,
    /// Of refusals: to go with the next block.
    notes: Vec<Write>,
    /// What is to be told of numbers that are gone, and was not worth an event of its own.
    untold: drops::Holes,
    last_commit: Option<Instant>,
    last_sync: Instant,
    last_mark: Option<Instant>,
    /// Something was written and not synced.
    unsynced: bool,
    /// The next block takes the checkpoint along.
    checkpoint_due: bool,
    room: retention::Room,
    backoff: Backoff,
    /// When the engine stopped by itself of late.
    stops: Vec<Instant>,
}

impl Drop for Writer {
    /// Also after a panic: another writer can open the store then, whoever still has a handle on this one.
    fn drop(&mut self) {
        drop(self.shared.set_engine(None));
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
        };
        let (engine, _, mut loaded) = recovery::open(&place, known, None)?;
        let shared = Arc::new(Shared {
            engine: RwLock::new(Some(engine)),
            state: Mutex::new(first_state(&loaded.checkpoint)),
            schemas: Mutex::default(),
            head: watch::Sender::new(0),
            queue: inlet.queue(),
            busy: Mutex::default(),
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
            pending: Vec::new(),
            notes: Vec::new(),
            untold: drops::Holes::default(),
            last_commit: None,
            last_sync: Instant::now(),
            last_mark: None,
            unsynced: false,
            checkpoint_due: true,
            backoff: Backoff::new(Duration::from_millis(200), Duration::from_secs(10)),
            stops: Vec::new(),
        };
        let started = writer.started(&loaded);
        writer.letters = std::mem::take(&mut loaded.letters);
        writer.take_over(loaded)?;
        writer.say(started);
        Ok((Store { shared }, writer))
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
        self.finish();
        self.shared.set_busy(false);
    }

    /// One round: whatever is due.
    fn turn(&mut self) {
        self.rebuild_if_damaged();
        let result = if self.has_records() && self.window_is_over() {
            self.commit()
        } else {
            self.write_notes()
        };
        let result = result.and_then(|()| self.tend());
        if let Err(error) = result {
            self.trouble(error);
        }
    }

    /// Whether a block would not be empty.
    fn has_records(&self) -> bool {
        !self.pending.is_empty()
            || !self.own.is_empty()
            || self.shared.queue.has_any()
            || !self.shared.state().refusals.is_empty()
    }

    fn window_is_over(&self) -> bool {
        self.last_commit
            .is_none_or(|last| last.elapsed() >= self.settings.commit_window)
    }

    /// Sleeps until something is due. Without anything to write there is no deadline, and no wake-up.
    fn wait(&self) {
        let has_own = !self.pending.is_empty()
            || !self.own.is_empty()
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
            if state.urgent || state.stopping {
                return;
            }
            state.changed.map(|since| since + WRITE_WITHIN)
        };
        let sync = self.unsynced.then(|| self.last_sync + SYNC_WITHIN);
        // In a window the arrivals do not wake this thread, so its end does.
        let window = if wanted { None } else { window };
        let until = [block, window, notes, sync, self.room.next_look()]
            .into_iter()
            .flatten()
            .min();
        self.shared.queue.wait(wanted, until);
    }

    /// The last round: everything on disk, and a note that the stop was in order.
    fn finish(&mut self) {
        let now = |event| Observation {
            stamp: self.clock.now(),
            body: Body::Event(event),
        };
        let untold: Vec<Observation> = self.untold.take_all().into_iter().map(now).collect();
        self.own.extend(untold);
        let mut result = Ok(());
        while result.is_ok() && self.has_records() {
            result = self.commit();
        }
        let result = result.and_then(|()| {
            self.checkpoint.clean = true;
            let mut writes = self.note_writes();
            writes.push(self.checkpoint.write());
            self.shared.engine()?.append(writes, true)
        });
        match result {
            Ok(()) => self.set_mark(),
            Err(error) => log::error!("the store could not be closed in order: {error}"),
        }
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
        let next_dead = self.checkpoint.next_dead;
        self.checkpoint = loaded.checkpoint;
        self.checkpoint.next_dead = self.checkpoint.next_dead.max(next_dead);
        *self.shared.schemas() = loaded.schemas;
        let mut state = self.shared.state();
        for (name, cursor) in loaded.cursors {
            state.cursors.entry(name).or_insert(cursor);
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
        state.recent.clear();
        state.loaded.clear();
        let head = self.checkpoint.end.saturating_sub(1);
        drop(state);
        self.shared.head.send_replace(head);
        if loaded.broken.is_some() {
            let mut writes = self.note_writes();
            writes.push(self.checkpoint.write());
            self.shared.engine()?.append(writes, true)?;
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
        changed: None,
        urgent: false,
        recent: Recent::default(),
        loaded: VecDeque::new(),
        damaged: None,
        stopping: false,
        trouble: None,
        disk: 0,
        dead: 0,
    }
}
