//! What is intact in the files of an engine that cannot be opened as it is. Nothing on disk is changed.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::folders::{DAMAGED, LIVE};
use super::memory::{follower, number};
use super::salvage::{self, Saved};
use super::{Blocks, Engine, EngineError, Keyed, Kind, Progress, Write, one_by_one};
use crate::store::envelope;

/// Where a block stands.
#[derive(Debug, Clone)]
struct Spot {
    file: Arc<PathBuf>,
    at: u64,
    length: usize,
}

/// The intact values in the files of an engine, found by looking through all of them once. Blocks stay on disk, and only
/// where they are is kept. What had been taken out of the engine may be there again.
pub struct IntactFiles {
    blocks: Mutex<BTreeMap<u64, Spot>>,
    notes: Saved,
}

impl IntactFiles {
    /// Looks through the files of the engine in `dir`, and of one whose rebuild was interrupted. Takes as long as the disk
    /// takes to read them. What cannot be read is passed over.
    ///
    /// # Errors
    /// [`EngineError::Disk`] where nothing can be read, not even names.
    pub fn find(dir: &Path) -> Result<Self, EngineError> {
        let (mut blocks, mut notes) = (BTreeMap::new(), Saved::new());
        for folder in [DAMAGED, LIVE] {
            let folder = dir.join(folder);
            if !folder.exists() {
                continue;
            }
            for path in salvage::list(&folder, Progress::UNWATCHED)?.files {
                let file = Arc::new(path);
                salvage::scan(&file, Progress::UNWATCHED, |at, found| {
                    if found.kind == Kind::Block {
                        let spot = Spot {
                            file: Arc::clone(&file),
                            at,
                            length: found.bytes.len(),
                        };
                        blocks.insert(number(found.key)?, spot);
                    } else {
                        salvage::keep(&mut notes, found);
                    }
                    Ok::<(), EngineError>(())
                })?;
            }
        }
        Ok(Self {
            blocks: Mutex::new(blocks),
            notes,
        })
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<u64, Spot>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Spot {
    fn read(&self) -> Result<Vec<u8>, EngineError> {
        let mut bytes = vec![0; self.length];
        File::open(&*self.file)?.read_exact_at(&mut bytes, self.at)?;
        match envelope::exactly(&bytes) {
            Some(_) => Ok(bytes),
            None => Err(EngineError::Damaged(format!(
                "{} changed while it was read",
                self.file.display()
            ))),
        }
    }
}

fn read_only<T>() -> Result<T, EngineError> {
    Err(EngineError::Stopped("it is only looked at".to_owned()))
}

impl Engine for IntactFiles {
    /// Blocks may be taken out, of what is shown; nothing can be put.
    fn append(&self, batch: Vec<Write>, _durable: bool) -> Result<(), EngineError> {
        for write in batch {
            if write.kind != Kind::Block || write.value.is_some() {
                return read_only();
            }
            self.places().remove(&number(&write.key)?);
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn blocks(&self, from: u64) -> Blocks<'_> {
        let mut before = None;
        one_by_one(move || {
            let found = follower(&self.places(), from, &mut before);
            found.map(|(key, spot)| Ok((key, spot.read()?))).transpose()
        })
    }

    fn values(&self, kind: Kind) -> Result<Vec<Keyed>, EngineError> {
        let of_kind = self.notes.iter().filter(|((found, _), _)| *found == kind);
        Ok(of_kind
            .map(|((_, key), (_, value))| (key.clone(), value.clone()))
            .collect())
    }

    fn bytes_from(&self, key: u64) -> Result<u64, EngineError> {
        let places = self.places();
        Ok(places
            .range(key..)
            .map(|(_, spot)| spot.length as u64)
            .sum())
    }

    fn can_drop_below(&self, _key: u64) -> Result<bool, EngineError> {
        Ok(false)
    }

    fn drop_below(&self, _key: u64) -> Result<(), EngineError> {
        read_only()
    }

    fn shrink(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn unflushed(&self) -> u64 {
        0
    }
}
