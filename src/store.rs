//! Records on disk: the queue between the field and the brokers.
//!
//! Lines put what they see into the [`Inlet`]. One thread, the [`Writer`], commits what has gathered as a block, with one
//! sync, and only then announces it. Forwarders read through the [`Store`], which also keeps what each upstream has
//! confirmed. What is on disk, its bounds and what a crash can cost: `docs/store.md`.

mod block;
mod bytes;
mod cache;
mod checkpoint;
mod clocks;
mod cursor;
mod dead_letter;
mod directory;
pub mod engine;
pub mod envelope;
mod holes;
mod inlet;
pub mod inspect;
mod reader;
mod recovery;
mod schema;
pub mod settings;
mod shared;
mod unread;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::reading::{Clock, Name, RangeSet, Record, Stamp, StreamId};
use cursor::Cursor;
use directory::Place;
use shared::{Refusal, Shared, State};

pub use cache::{Batch, ReadLimit, Wanted};
pub use dead_letter::DeadLetter;
pub use directory::{format_line, holder};
pub use inlet::{Inlet, MOST_WAITING};
pub use reader::ReadError;
pub use settings::{Start, StoreSettings};
pub use writer::{Maintenance, Writer};

use engine::{EngineError, Kind, Medium};

/// How often a flush is looked for: at a stop, so neither cost nor delay matters much.
const FLUSH_LOOK: Duration = Duration::from_millis(5);

/// Why a store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be read or written now; the same may work later.
    #[error("the store's directory {0}: {1}")]
    Disk(PathBuf, std::io::Error),
    /// Another process has it open.
    #[error("the store in {0} is in use by another process")]
    InUse(PathBuf),
    /// There is none. Only those who look at a store meet this; the daemon makes one.
    #[error("there is no store in {0}")]
    Missing(PathBuf),
    /// A later version of forebay made it. It was left untouched.
    #[error("the store in {0} has format {1}, which this version does not know")]
    Newer(PathBuf, u32),
    /// The engine does not open, and what is intact could not be moved into a new one; the same may work later.
    #[error("the store in {0}: {1}")]
    Engine(PathBuf, EngineError),
}

/// Opens the store, or makes one. What is damaged is mended first; then a new stream begins, which its first event says.
///
/// Blocks for as long as the disk takes. Observations may go into `inlet` before and meanwhile. Nothing is committed until
/// [`Writer::run`].
///
/// # Errors
/// [`StoreError`] says whether to try again later.
pub fn open(
    settings: &StoreSettings,
    clock: Clock,
    inlet: &Inlet,
) -> Result<(Store, Writer), StoreError> {
    let place = Place::take(&settings.dir)?;
    Writer::open(place, settings.clone(), clock, inlet)
        .map_err(|error| StoreError::Engine(settings.dir.clone(), error))
}

/// As [`open`], with all values on `medium`; for tests. The directory of `settings` is not used.
///
/// # Errors
/// See [`open`].
pub fn open_on(
    medium: impl Medium + 'static,
    settings: &StoreSettings,
    clock: Clock,
    inlet: &Inlet,
) -> Result<(Store, Writer), StoreError> {
    let place = Place::Other(Box::new(medium));
    Writer::open(place, settings.clone(), clock, inlet)
        .map_err(|error| StoreError::Engine(settings.dir.clone(), error))
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// The present stream.
    pub stream: StreamId,
    /// No record below this `seq` is in the store.
    pub first: u64,
    /// `seq` of the newest durable record; 0: there was none yet.
    pub last: u64,
    /// Records that each upstream has not confirmed.
    pub backlogs: Vec<(Name, u64)>,
    /// Bytes that the directory takes, by allocated blocks, when last looked at.
    pub bytes: u64,
    /// How many records are kept that a broker refused.
    pub dead_letters: usize,
    /// How many blocks forwarders have had read from disk and decoded, since the start.
    pub decoded: u64,
    /// Why nothing can be written at present.
    pub trouble: Option<String>,
}

/// The store, for those who read it. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// `seq` of the newest durable record, 0 before the first; changes with each commit.
    pub fn head(&self) -> watch::Receiver<u64> {
        self.shared.head.subscribe()
    }

    /// Makes `upstream` known and returns what it has confirmed. One that is new begins as `start` says.
    pub fn register(&self, upstream: &Name, start: Start) -> RangeSet {
        let mut state = self.shared.state();
        let from = match start {
            Start::Oldest => state.floor,
            Start::Newest => state.next,
        };
        let known = state.cursors.contains_key(upstream);
        let before = state.forgotten.remove(upstream);
        let cursor = state
            .cursors
            .entry(upstream.clone())
            .or_insert_with(|| Cursor::starting_at(from, before.as_ref()));
        cursor.attach();
        let confirmed = cursor.confirmed().clone();
        if !known {
            self.shared.changed(&mut state, true);
        }
        confirmed
    }

    /// What an upstream has confirmed, as ranges from the first record on. Empty for one that is not known.
    pub fn cursor(&self, upstream: &Name) -> RangeSet {
        self.shared
            .state()
            .cursors
            .get(upstream)
            .map(|cursor| cursor.confirmed().clone())
            .unwrap_or_default()
    }

    /// Durable records with `seq >= from`, in order, up to `limit`; none where `from` is beyond the head. What is no
    /// longer in the store is passed over, so the first may be higher than `from`. What was read before the clock became
    /// synchronised, in the same boot, comes with its true time ([`Self::trust_clock`]).
    ///
    /// Waits for the writer while it has not taken 1,000 refusals.
    ///
    /// # Errors
    /// The disk, or damage that the writer is mending: to be tried again.
    pub async fn read(&self, from: u64, limit: ReadLimit) -> Result<Vec<Arc<Record>>, ReadError> {
        Ok(self.read_of(from, limit, Wanted::all()).await?.records)
    }

    /// As [`Self::read`], of some devices only; blocks in which there is nothing of them are passed over undecoded. Where
    /// little is wanted, a read may bring nothing although there is more behind [`Batch::next`].
    ///
    /// # Errors
    /// As [`Self::read`].
    pub async fn read_of(
        &self,
        from: u64,
        limit: ReadLimit,
        wanted: Wanted,
    ) -> Result<Batch, ReadError> {
        self.shared.until(State::may_refuse).await;
        reader::read(&self.shared, from, limit, wanted).await
    }

    /// Whether an upstream may be sent more: less than 500 of its confirmations are not written, or the disk is in trouble.
    /// A crash then repeats 500 records at most, beside those that are out.
    pub fn may_send(&self, upstream: &Name) -> bool {
        self.shared.state().may_send(upstream)
    }

    /// Waits until [`Self::may_send`].
    pub async fn sendable(&self, upstream: &Name) {
        self.shared.until(|state| state.may_send(upstream)).await;
    }

    /// Adds to what an upstream has confirmed. Never waits; on disk with the next block, or after 250 confirmations or
    /// a second.
    pub fn confirm(&self, upstream: &Name, confirmed: &RangeSet) {
        let mut state = self.shared.state();
        if let Some(cursor) = state.cursors.get_mut(upstream) {
            cursor.confirm(confirmed);
            let urgent = cursor.unwritten() >= writer::MOST_UNWRITTEN;
            self.shared.changed(&mut state, urgent);
        }
    }

    /// Forgets an upstream that is no longer configured: its cursor and its session go, and what only it had not
    /// confirmed is free. Whether it was known. Its dead letters stay. On disk at once, and at a stop for sure.
    pub fn forget(&self, upstream: &Name) -> bool {
        let mut state = self.shared.state();
        let Some(mut cursor) = state.cursors.remove(upstream) else {
            return false;
        };
        cursor.forget();
        state.forgotten.insert(upstream.clone(), cursor);
        state.sessions.remove(upstream);
        self.shared.changed(&mut state, true);
        true
    }

    /// Puts a record among the dead letters because `upstream` refused it for good, and takes it for confirmed, in one
    /// commit, which also has the event that tells it.
    pub fn refuse(&self, upstream: &Name, seq: u64, reason: String, payload_size: u64) {
        let mut state = self.shared.state();
        state.refusals.push(Refusal {
            upstream: upstream.clone(),
            seq,
            reason,
            payload_size,
        });
        drop(state);
        self.shared.queue.ring();
    }

    /// Notes that the wall clock can be trusted as of `now`, where that is `synced`. What was read in the same boot before has
    /// its true time from then on, also after a restart. Never waits; on disk with the next block, or soon without one.
    pub fn trust_clock(&self, now: Stamp) {
        let mut state = self.shared.state();
        if state.clocks.trust(now) {
            self.shared.changed(&mut state, true);
        }
    }

    /// When `stamp` was, as far as it is known by now.
    pub fn true_time(&self, stamp: Stamp) -> Stamp {
        self.shared.state().clocks.truth(stamp)
    }

    /// How the store is.
    pub fn status(&self) -> StoreStatus {
        let state = self.shared.state();
        let backlogs = state
            .cursors
            .iter()
            .map(|(name, cursor)| (name.clone(), state.backlog(cursor.confirmed())));
        StoreStatus {
            stream: state.stream,
            first: state.floor,
            last: *self.shared.head.borrow(),
            backlogs: backlogs.collect(),
            bytes: state.disk,
            dead_letters: state.dead,
            decoded: self.shared.decoded.load(Ordering::Relaxed),
            trouble: state.trouble.clone(),
        }
    }

    /// The small value that an upstream's codec keeps from one connection to the next.
    pub fn session(&self, upstream: &Name) -> Option<Vec<u8>> {
        self.shared
            .state()
            .sessions
            .get(upstream)
            .map(|session| session.value.clone())
    }

    /// Sets that value. Never waits; on disk as cursors are.
    pub fn set_session(&self, upstream: &Name, value: Vec<u8>) {
        let mut state = self.shared.state();
        let session = state.sessions.entry(upstream.clone()).or_default();
        session.value = value;
        session.changed = true;
        self.shared.changed(&mut state, false);
    }

    /// The records that brokers refused, the oldest first. Reads the disk.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, ReadError> {
        Ok(dead_letter::read(
            self.shared.engine()?.values(Kind::DeadLetter)?,
        ))
    }

    /// Waits until what was put into the inlet before is durable. Bounded by the commit window, unless the disk is in
    /// trouble.
    pub async fn flushed(&self) {
        let mut looks = tokio::time::interval(FLUSH_LOOK);
        // In this order: the writer takes from the queue only while it is busy, and rests only when all is committed, or with
        // the disk in trouble.
        while self.shared.queue.has_any()
            || !self.stalled_for().is_zero()
            || self.shared.state().trouble.is_some()
        {
            looks.tick().await;
        }
    }

    /// Asks the writer to commit what has gathered and to return.
    pub fn stop(&self) {
        self.shared.state().stopping = true;
        self.shared.queue.ring();
    }

    /// How long the writer has been at one piece of work; zero while it waits for some. The gateway ends the process when
    /// this passes a minute: a disk that answers at all is far faster.
    pub fn stalled_for(&self) -> Duration {
        let busy = *self
            .shared
            .busy
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        busy.map_or(Duration::ZERO, |since| since.elapsed())
    }
}
