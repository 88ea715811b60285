//! The store's directory: who has it, of which version it is, what it takes, how far it once was.
//!
//! | file | what |
//! |---|---|
//! | `lock` | locked by the process that uses the store |
//! | `format` | `forebay store 1 `, then the XXH3 of `forebay store 1` in hex; a higher number is of a later version, and left untouched |
//! | `mark` | the highest `seq` that was durable a few seconds ago: shows when synced records vanished without an error |
//! | `engine/` | the database |
//! | `quarantine/` | what is left of damaged ones |

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use xxhash_rust::xxh3::xxh3_64;

use super::StoreError;
use super::engine::{
    Engine, EngineError, Kind, Look, Medium, Opening, Progress, fjall as disk, unreadable,
};
use super::envelope;
use crate::reading::StreamId;

const FORMAT: u32 = 1;
const FORMAT_LINE: &str = "forebay store ";
/// What the blocks of a file's size are counted in, whatever the file system (`stat(2)`).
const SECTOR: u64 = 512;

/// Where a store keeps its values.
pub(super) enum Place {
    /// In a directory, which stays locked as long as this lives.
    Disk { dir: PathBuf, _lock: File },
    /// Wherever a test has it.
    Other(Box<dyn Medium>),
}

impl Place {
    /// Takes the directory, making it where it is missing.
    pub(super) fn take(dir: &Path) -> Result<Self, StoreError> {
        let disk = |error| StoreError::Disk(dir.to_owned(), error);
        fs::create_dir_all(dir).map_err(disk)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("lock"))
            .map_err(disk)?;
        match lock.try_lock() {
            Ok(()) => (),
            Err(fs::TryLockError::WouldBlock) => return Err(StoreError::InUse(dir.to_owned())),
            Err(fs::TryLockError::Error(error)) => return Err(disk(error)),
        }
        let format = dir.join("format");
        match fs::read_to_string(&format)
            .ok()
            .and_then(|text| number(&text))
        {
            Some(version) if version > FORMAT => {
                return Err(StoreError::Newer(dir.to_owned(), version));
            }
            Some(_) => (),
            // New, or damaged: nothing depends on it but the refusal above.
            None => fs::write(&format, format_line(FORMAT)).map_err(disk)?,
        }
        Ok(Self::Disk {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// Takes the directory of a store that is there, and changes nothing in it.
    pub(super) fn find(dir: &Path) -> Result<Self, StoreError> {
        let disk = |error| StoreError::Disk(dir.to_owned(), error);
        match fs::read_dir(dir) {
            Ok(_) => (),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(StoreError::Missing(dir.to_owned()));
            }
            Err(error) => return Err(disk(error)),
        }
        let format = fs::read_to_string(dir.join("format")).unwrap_or_default();
        if let Some(version) = number(&format).filter(|version| *version > FORMAT) {
            return Err(StoreError::Newer(dir.to_owned(), version));
        }
        // Without the file nobody has it; it is not made, as the disk may be one that can only be read.
        let lock = File::open(dir.join("lock"))
            .or_else(|_| File::open(dir))
            .map_err(disk)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self::Disk {
                dir: dir.to_owned(),
                _lock: lock,
            }),
            Err(fs::TryLockError::WouldBlock) => Err(StoreError::InUse(dir.to_owned())),
            Err(fs::TryLockError::Error(error)) => Err(disk(error)),
        }
    }

    /// Opens the engine.
    pub(super) fn open(
        &self,
        progress: Progress<'_>,
    ) -> Result<(Arc<dyn Engine>, Opening), EngineError> {
        match self {
            Self::Other(medium) => medium.open(None),
            Self::Disk { dir, .. } => disk::FjallEngine::open(dir, progress)
                .map(|(engine, opening)| (Arc::new(engine) as Arc<dyn Engine>, opening)),
        }
    }

    /// Opens the engine where that changes no value in it.
    pub(super) fn look(&self) -> Result<Look, EngineError> {
        match self {
            Self::Other(medium) => {
                let (engine, opening) = medium.open(None)?;
                Ok(Look::Whole(engine, opening))
            }
            Self::Disk { dir, .. } => disk::FjallEngine::look(dir),
        }
    }

    /// Rebuilds the engine from what is intact. It must not be open.
    pub(super) fn rebuild(
        &self,
        why: String,
        progress: Progress<'_>,
    ) -> Result<(Arc<dyn Engine>, Opening), EngineError> {
        match self {
            Self::Other(medium) => medium.open(Some(why)),
            Self::Disk { dir, .. } => disk::FjallEngine::rebuild(dir, why, progress)
                .map(|(engine, opening)| (Arc::new(engine) as Arc<dyn Engine>, opening)),
        }
    }

    /// Which place in the engine's files cannot be read, however often it is tried. It must not be open.
    pub(super) fn unreadable(&self, progress: Progress<'_>) -> Option<String> {
        match self {
            Self::Other(_) => None,
            Self::Disk { dir, .. } => unreadable::lasting(dir, progress),
        }
    }

    /// Notes that what the last opening told is in the engine now.
    pub(super) fn settle(&self) -> Result<(), EngineError> {
        match self {
            Self::Other(medium) => {
                medium.settle();
                Ok(())
            }
            Self::Disk { dir, .. } => disk::FjallEngine::settle(dir),
        }
    }

    /// Bytes that the directory takes, by allocated blocks.
    pub(super) fn used(&self) -> u64 {
        match self {
            Self::Other(medium) => medium.used(),
            Self::Disk { dir, .. } => allocated(dir),
        }
    }

    /// Keeps what is left of damaged engines within `most` bytes: the largest files go first, so their reports stay.
    pub(super) fn prune_quarantine(&self, most: u64) {
        let Self::Disk { dir, .. } = self else {
            return;
        };
        let mut files = Vec::new();
        sizes(&dir.join("quarantine"), &mut files);
        files.sort();
        let mut total: u64 = files.iter().map(|(size, _)| size).sum();
        while total > most {
            let Some((size, path)) = files.pop() else {
                break;
            };
            log::warn!("{} makes room in the quarantine", path.display());
            if fs::remove_file(&path).is_ok() {
                total = total.saturating_sub(size);
            }
        }
    }

    /// Bytes free on the file system for this process, and the file system's size.
    pub(super) fn free(&self) -> Option<(u64, u64)> {
        match self {
            Self::Other(medium) => medium.free(),
            Self::Disk { dir, .. } => {
                let found = rustix::fs::statvfs(dir).ok()?;
                Some((
                    found.f_bavail.saturating_mul(found.f_frsize),
                    found.f_blocks.saturating_mul(found.f_frsize),
                ))
            }
        }
    }

    /// The mark, where there is an intact one.
    pub(super) fn mark(&self) -> Option<(StreamId, u64)> {
        let Self::Disk { dir, .. } = self else {
            return None;
        };
        let bytes = fs::read(dir.join("mark")).ok()?;
        let found = envelope::exactly(&bytes)?;
        let stream = u32::try_from(found.generation).ok()?;
        Some((
            StreamId(stream),
            u64::from_le_bytes(found.payload.try_into().ok()?),
        ))
    }

    /// Writes the mark, in place and without a sync: a torn one is no mark.
    pub(super) fn set_mark(&self, stream: StreamId, seq: u64) -> io::Result<()> {
        let Self::Disk { dir, .. } = self else {
            return Ok(());
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(dir.join("mark"))?;
        file.write_all_at(
            &envelope::wrap(Kind::State, b"mark", stream.0.into(), &seq.to_le_bytes()),
            0,
        )
    }
}

/// What `format` holds in a store of this version.
pub fn format_line(version: u32) -> String {
    let text = format!("{FORMAT_LINE}{version}");
    format!("{text} {:016x}\n", xxh3_64(text.as_bytes()))
}

/// The version in an intact `format`. A flipped bit makes a later version of an earlier one, which nobody could open.
fn number(text: &str) -> Option<u32> {
    let version = text.strip_prefix(FORMAT_LINE)?.split(' ').next()?;
    let version = version.parse().ok()?;
    (text == format_line(version)).then_some(version)
}

/// The files below `dir` and the bytes that each takes.
fn sizes(dir: &Path, found: &mut Vec<(u64, PathBuf)>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => sizes(&entry.path(), found),
            Ok(meta) => found.push((meta.blocks() * SECTOR, entry.path())),
            Err(_) => (),
        }
    }
}

/// Bytes that all files below `dir` take. Files may come and go meanwhile.
fn allocated(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else {
        return 0;
    };
    let sizes = entries.flatten().map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => {
            allocated(&entry.path()).saturating_add(meta.blocks() * SECTOR)
        }
        Ok(meta) => meta.blocks() * SECTOR,
        Err(_) => 0,
    });
    sizes.sum()
}

/// XXH3 of the machine's id; 0 where it has none.
pub(super) fn machine() -> u64 {
    let id = fs::read_to_string("/etc/machine-id").unwrap_or_default();
    if id.trim().is_empty() {
        0
    } else {
        xxh3_64(id.trim().as_bytes()).max(1)
    }
}

/// The process that has the store in `dir`, where the kernel tells.
pub fn holder(dir: &Path) -> Option<u32> {
    let inode = fs::metadata(dir.join("lock")).ok()?.ino();
    let locks = fs::read_to_string("/proc/locks").ok()?;
    // `1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF`
    let mut held = locks.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (kind, process) = (words.next()?, words.nth(2)?);
        let file: u64 = words.next()?.rsplit(':').next()?.parse().ok()?;
        (kind == "FLOCK" && file == inode).then(|| process.parse().ok())?
    });
    held.next()
}
