//! Making an engine: a new one, or one of what is intact in the files of another.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::super::folders::{
    DAMAGED, LIVE, NEW, is_reported, mark_changed, quarantine, report, sync_folder,
};
use super::super::memory::number;
use super::super::{Engine, EngineError, Kind, Opening, Progress, Write, salvage, unreadable};
use super::{FjallEngine, MEMTABLE};

/// The journal grows to about this before it makes room.
const JOURNAL: u64 = 64 << 20;

impl FjallEngine {
    /// Makes a new engine of every intact value in the files of the one in `dir`, which moves to `quarantine`.
    ///
    /// Interrupted at any point it is resumed by the next [`Self::open`]. Needs as much space again as the values take.
    /// `progress` learns that it gets on.
    ///
    /// # Errors
    /// [`EngineError::Disk`]; the old files are all there still.
    pub fn rebuild(
        dir: &Path,
        why: String,
        progress: Progress<'_>,
    ) -> Result<(Self, Opening), EngineError> {
        let (live, damaged) = (dir.join(LIVE), dir.join(DAMAGED));
        mark_changed(dir)?;
        if live.exists() {
            // One that is there still was replaced by the live one already.
            quarantine(dir)?;
            fs::rename(&live, &damaged)?;
            sync_folder(dir)?;
        }
        // One that was interrupted is said to have been; its own reason stands there already.
        if !is_reported(&damaged) {
            report(&damaged, &format!("This database was given up: {why}."));
        }
        let files = unreadable::files(&damaged, progress)?;
        has_room(dir, &files)?;
        let mut taken = Taken::default();
        let fill = |engine: &Self| engine.fill_from(&files, progress, &mut taken);
        let engine = Self::create_with(dir, progress, fill)?;
        report(&damaged, &taken.to_string());
        let quarantine = quarantine(dir)?;
        Ok((
            engine,
            Opening {
                rebuilt: Some(why),
                quarantine,
                ..Opening::default()
            },
        ))
    }

    pub(super) fn create(dir: &Path, progress: Progress<'_>) -> Result<Self, EngineError> {
        Self::create_with(dir, progress, |_| Ok(()))
    }

    /// A power cut while fjall makes a database leaves one that never opens: so it is made under another name.
    fn create_with(
        dir: &Path,
        progress: Progress<'_>,
        fill: impl FnOnce(&Self) -> Result<(), EngineError>,
    ) -> Result<Self, EngineError> {
        let (new, live) = (dir.join(NEW), dir.join(LIVE));
        if new.exists() {
            fs::remove_dir_all(&new)?;
        }
        if let Err(error) = Self::make(&new, progress, fill) {
            // Others on the file system need the room meanwhile.
            let _ = fs::remove_dir_all(&new);
            return Err(error);
        }
        fs::rename(&new, &live)?;
        sync_folder(dir)?;
        Self::open_live(&live, progress)
    }

    fn make(
        new: &Path,
        progress: Progress<'_>,
        fill: impl FnOnce(&Self) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let engine = Self::open_live(new, progress)?;
        fill(&engine)?;
        progress.step();
        engine.sync()?;
        progress.step();
        // fjall does not sync the folder after it has made a keyspace in it.
        sync_folder(&new.join("keyspaces"))?;
        Ok(sync_folder(new)?)
    }

    fn fill_from(
        &self,
        files: &[PathBuf],
        progress: Progress<'_>,
        taken: &mut Taken,
    ) -> Result<(), EngineError> {
        let mut notes = salvage::Saved::new();
        for path in files {
            salvage::scan(path, progress, |_, found| {
                if found.kind == Kind::Block {
                    taken.block(number(found.key)?);
                    let write = Write {
                        kind: found.kind,
                        key: found.key.to_vec(),
                        value: Some(found.bytes.to_vec()),
                    };
                    let put = self.append(vec![write], false);
                    progress.step();
                    return put;
                }
                salvage::keep(&mut notes, found);
                Ok(())
            })?;
        }
        taken.notes = notes.len();
        self.put_back(&notes)
    }
}

/// What was intact in a damaged engine.
#[derive(Default)]
struct Taken {
    /// The `seq` of the first records of the first and the last block.
    blocks: Option<(u64, u64)>,
    notes: usize,
}

impl Taken {
    fn block(&mut self, seq: u64) {
        let (first, last) = self.blocks.unwrap_or((seq, seq));
        self.blocks = Some((first.min(seq), last.max(seq)));
    }
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Taken over is what was intact: {} notes", self.notes)?;
        match self.blocks {
            Some((first, last)) => write!(
                f,
                ", and blocks from record {first} to the block that begins with record {last}."
            ),
            None => write!(f, ", and no block."),
        }
    }
}

/// Whether there is room for what a rebuild writes at least: tried without, it would wear the disk each time and end the
/// same. The tables are written anew, and all that is written goes through a journal.
fn has_room(dir: &Path, files: &[PathBuf]) -> io::Result<()> {
    let mut tables = 0u64;
    for file in files {
        if file.extension().is_none_or(|end| end != "jnl") {
            tables = tables.saturating_add(fs::metadata(file)?.len());
        }
    }
    let needed = (tables.saturating_add(tables.min(JOURNAL))).saturating_sub(2 * MEMTABLE);
    let found = rustix::fs::statvfs(dir)?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    if free < needed {
        let text = format!(
            "a rebuild needs {} MiB free at least, {} MiB are",
            needed >> 20,
            free >> 20
        );
        return Err(io::Error::new(io::ErrorKind::StorageFull, text));
    }
    Ok(())
}
