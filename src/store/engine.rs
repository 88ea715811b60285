//! What the store asks of the engine that keeps its values, and the form of it that lives in memory.

pub mod fjall;
mod folders;
pub mod intact;
mod journal;
pub mod memory;
mod preflight;
pub(super) mod progress;
mod salvage;
pub(super) mod unreadable;

pub use super::envelope::Kind;
pub use memory::MemoryEngine;
pub use progress::Progress;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;

/// One value to put, or to take out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// What it is.
    pub kind: Kind,
    /// Its key within the kind.
    pub key: Vec<u8>,
    /// The value in its envelope; `None`: it goes. Blocks go by [`Engine::drop_below`], one by one only where damaged.
    pub value: Option<Vec<u8>>,
}

/// A key and its value, in its envelope.
pub type Keyed = (Vec<u8>, Vec<u8>);

/// Blocks by their keys, in order. Each is read when it is asked for; behind the first error nothing comes any more.
///
/// What is put, or goes, meanwhile may be among them or not. Held for long it may keep the space of what goes.
pub type Blocks<'a> = Box<dyn Iterator<Item = Result<(u64, Vec<u8>), EngineError>> + 'a>;

/// Blocks as `next` gives them, up to the first error.
pub fn one_by_one<'a>(
    mut next: impl FnMut() -> Result<Option<(u64, Vec<u8>)>, EngineError> + 'a,
) -> Blocks<'a> {
    let mut ended = false;
    Box::new(std::iter::from_fn(move || {
        let found = if ended { None } else { next().transpose() };
        ended = !matches!(found, Some(Ok(_)));
        found
    }))
}

/// Why the engine could not do it.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The disk said no: full, broken, read-only. The same may work later.
    #[error("the disk: {0}")]
    Disk(#[from] io::Error),
    /// What is on the disk is not what was written. [`fjall::FjallEngine::rebuild`] saves what is intact.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The engine gave up after an earlier error; it must be opened anew.
    #[error("the engine stopped: {0}")]
    Stopped(String),
    /// Another process has the directory.
    #[error("another process uses {0}")]
    Locked(PathBuf),
}

impl EngineError {
    /// Whether the disk says of a place that it cannot be read: it may be that place alone, and for good.
    pub fn is_of_a_place(&self) -> bool {
        matches!(self, Self::Disk(error) if is_of_a_place(error))
    }
}

/// As [`EngineError::is_of_a_place`].
fn is_of_a_place(error: &io::Error) -> bool {
    // What a bad sector gives, and a file system whose own checksums do not fit.
    const SAID: [Errno; 4] = [Errno::IO, Errno::NODATA, Errno::BADMSG, Errno::UCLEAN];
    let code = error.raw_os_error().map(Errno::from_raw_os_error);
    code.is_some_and(|code| SAID.contains(&code))
}

/// How an engine came to be open.
#[derive(Debug, Default)]
pub struct Opening {
    /// There was none before.
    pub new: bool,
    /// Bytes that were cut off a journal's end: a torn write, or damage to the last batch.
    pub cut: u64,
    /// Why it had to be rebuilt from what is intact in its files.
    pub rebuilt: Option<String>,
    /// The folder with what is left of the damaged one.
    pub quarantine: Option<PathBuf>,
}

/// What a look at an engine's files found.
pub enum Look {
    /// There is no engine.
    Nothing,
    /// It is whole, and open. Values stay as they are; it may tidy its own files meanwhile.
    Whole(Arc<dyn Engine>, Opening),
    /// It cannot be opened as it is, for this reason. Nothing was changed.
    Ailing(String),
}

/// What an engine that is not in a directory lives on: for tests, which can have it fail as a disk does.
pub trait Medium: Send {
    /// Opens the engine; for the reason `rebuild`, of what is intact. No other is open then.
    ///
    /// # Errors
    /// As the medium has it.
    fn open(&self, rebuild: Option<String>) -> Result<(Arc<dyn Engine>, Opening), EngineError>;

    /// What [`Opening`] told is noted in the engine: until this every opening tells that something was cut or rebuilt.
    fn settle(&self);

    /// Bytes that the values take.
    fn used(&self) -> u64;

    /// Bytes that are free, and how many there are at all; `None`: no end of them.
    fn free(&self) -> Option<(u64, u64)>;
}

/// Keeps the store's values. One thread writes; any may read.
pub trait Engine: Send + Sync {
    /// Puts all of `batch` or nothing of it; with `durable` it is on the disk when this returns.
    ///
    /// # Errors
    /// After an error it is unknown whether the batch will be there after a reopen, but it is there whole or not at all.
    fn append(&self, batch: Vec<Write>, durable: bool) -> Result<(), EngineError>;

    /// Makes durable whatever was appended without.
    ///
    /// # Errors
    /// As [`Self::append`].
    fn sync(&self) -> Result<(), EngineError>;

    /// The block with the greatest key that is not above `from`, which may end below `from`, and those that follow.
    ///
    /// # Errors
    /// [`EngineError::Damaged`] where a block cannot be read.
    fn blocks(&self, from: u64) -> Blocks<'_>;

    /// The block with the greatest key.
    ///
    /// # Errors
    /// As [`Self::blocks`].
    fn last_block(&self) -> Result<Option<(u64, Vec<u8>)>, EngineError> {
        self.blocks(u64::MAX).next().transpose()
    }

    /// Every value of a kind, by key. Not for blocks.
    ///
    /// # Errors
    /// As [`Self::blocks`].
    fn values(&self, kind: Kind) -> Result<Vec<Keyed>, EngineError>;

    /// About how many bytes the blocks with keys from `key` on take; what is known without reading them.
    ///
    /// # Errors
    /// As [`Self::blocks`].
    fn bytes_from(&self, key: u64) -> Result<u64, EngineError>;

    /// Whether [`Self::drop_below`] would free anything.
    ///
    /// # Errors
    /// As [`Self::blocks`].
    fn can_drop_below(&self, key: u64) -> Result<bool, EngineError>;

    /// Frees the blocks with keys below `key`, as far as that is cheap; some may stay readable.
    ///
    /// # Errors
    /// As [`Self::append`].
    fn drop_below(&self, key: u64) -> Result<(), EngineError>;

    /// Gives freed space back to the file system now, at some cost; for a pause after a drain.
    ///
    /// # Errors
    /// As [`Self::append`].
    fn shrink(&self) -> Result<(), EngineError>;

    /// Bytes of blocks put since the engine last turned its memory into files, which is when freed space can go.
    fn unflushed(&self) -> u64;
}
