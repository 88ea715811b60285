//! Opening the engine to look at what it holds, mending nothing.

use std::path::Path;
use std::sync::Arc;

use fjall::AbstractTree;

use super::super::folders::{DAMAGED, LIVE, is_changed};
use super::super::memory::number;
use super::super::preflight;
use super::FjallEngine;
use super::errors::{guarded, is_of_the_disk};
use crate::store::engine::{EngineError, Look, Opening, Progress};

impl FjallEngine {
    /// Opens the engine in `dir` where that changes no value in it.
    ///
    /// The caller holds a lock on `dir`.
    ///
    /// # Errors
    /// [`EngineError::Disk`] where files cannot be read, [`EngineError::Locked`].
    pub fn look(dir: &Path) -> Result<Look, EngineError> {
        let live = dir.join(LIVE);
        if dir.join(DAMAGED).exists() {
            return Ok(Look::Ailing("a rebuild was interrupted".to_owned()));
        }
        if !live.exists() {
            return Ok(Look::Nothing);
        }
        match preflight::torn(&live, Progress::UNWATCHED) {
            Ok(torn) if torn.is_empty() => (),
            Ok(_) => return Ok(Look::Ailing("a journal's end is torn".to_owned())),
            Err(error) if error.is_of_a_place() => return Ok(Look::Ailing(error.to_string())),
            Err(EngineError::Disk(error)) if is_of_the_disk(&error) => return Err(error.into()),
            Err(error) => return Ok(Look::Ailing(error.to_string())),
        }
        let cut = u64::from(is_changed(dir));
        match Self::open_live(&live, Progress::UNWATCHED) {
            Ok(engine) => Ok(Look::Whole(
                Arc::new(engine),
                Opening {
                    cut,
                    ..Opening::default()
                },
            )),
            Err(EngineError::Locked(path)) => Err(EngineError::Locked(path)),
            // Also on a disk that can only be read.
            Err(error) => Ok(Look::Ailing(error.to_string())),
        }
    }

    /// By the sizes of the tables; of one that begins below `key`, the part that `key` is from its end.
    pub(super) fn about_bytes_from(&self, key: u64) -> Result<u64, EngineError> {
        let share = |first: u64, last: u64, size: u64| match last.checked_sub(first.max(key)) {
            None => 0,
            Some(_) if key <= first => size,
            Some(left) => {
                let part = u128::from(size) * u128::from(left.saturating_add(1))
                    / u128::from((last - first).saturating_add(1));
                u64::try_from(part).unwrap_or(size)
            }
        };
        guarded(|| {
            let (mut bytes, mut end) = (0u64, 0);
            for table in self.blocks.tree.current_version().iter_tables() {
                let range = &table.metadata.key_range;
                let (first, last) = (number(range.min())?, number(range.max())?);
                bytes = bytes.saturating_add(share(first, last, table.metadata.file_size));
                end = end.max(last.saturating_add(1));
            }
            let last = self.blocks.last_key_value().map(fjall::Guard::key);
            if let Some(last) = last.transpose()? {
                let memory = self.blocks.tree.active_memtable().size();
                bytes = bytes.saturating_add(share(end, number(&last)?.max(end), memory));
            }
            Ok(bytes)
        })
    }
}
