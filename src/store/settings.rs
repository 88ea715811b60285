//! What the store is set to.

use std::path::PathBuf;
use std::time::Duration;

/// The queue on disk and its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// The directory; made where it does not exist.
    pub dir: PathBuf,
    /// Most bytes that the directory may take, all files counted by allocated blocks; at least [`Self::LEAST_SIZE`].
    pub max_size: u64,
    /// Records older than this are dropped; `None`: never by age.
    pub max_age: Option<Duration>,
    /// What is dropped when the store is full.
    pub when_full: WhenFull,
    /// Bytes that are to stay free on the file system, whoever uses the rest; at least [`Self::LEAST_FREE`]. More than half of the
    /// file system counts as half of it. `None`: the smaller of 256 MiB and a twentieth of it.
    pub keep_free: Option<u64>,
    /// Least time between two syncs. The first commit after a pause does not wait; zero: as fast as the disk syncs.
    pub commit_window: Duration,
}

impl StoreSettings {
    /// The engine's own files need this much to be bounded at all.
    pub const LEAST_SIZE: u64 = 256 << 20;
    /// To let anything go takes room first: a disk that the store itself has filled to the last byte could not be emptied again.
    pub const LEAST_FREE: u64 = 16 << 20;
}

/// What is dropped when the store is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// The oldest records make room.
    DropOldest,
    /// New scans are not taken.
    DropNewest,
}

/// Where an upstream that is new to the store begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Behind the newest record: what is in the store already is not sent.
    Newest,
    /// At the oldest record.
    Oldest,
}
