//! An engine that keeps its values in memory: for tests, and as the statement of what an engine does.

use std::collections::BTreeMap;
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Blocks, Engine, EngineError, Keyed, Kind, Medium, Opening, Write, one_by_one};

#[derive(Default)]
struct Values {
    blocks: BTreeMap<u64, Vec<u8>>,
    notes: BTreeMap<(Kind, Vec<u8>), Vec<u8>>,
}

/// An engine in memory. A clone shares the values: what one wrote the other finds, as after a reopen.
#[derive(Clone, Default)]
pub struct MemoryEngine(Arc<Mutex<Values>>);

impl MemoryEngine {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The block behind `before`, which it becomes; where that is none yet, the first of [`Engine::blocks`] from `from` on.
    pub fn follower(&self, from: u64, before: &mut Option<u64>) -> Option<(u64, Vec<u8>)> {
        follower(&self.values_of().blocks, from, before)
    }

    fn values_of(&self) -> MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Medium for MemoryEngine {
    fn open(&self, rebuild: Option<String>) -> Result<(Arc<dyn Engine>, Opening), EngineError> {
        let opening = Opening {
            rebuilt: rebuild,
            ..Opening::default()
        };
        Ok((Arc::new(self.clone()), opening))
    }

    fn settle(&self) {}

    fn used(&self) -> u64 {
        let values = self.values_of();
        let (blocks, notes) = (values.blocks.values(), values.notes.values());
        blocks.chain(notes).map(|value| value.len() as u64).sum()
    }

    fn free(&self) -> Option<(u64, u64)> {
        None
    }
}

/// The key of a block as a number.
pub(super) fn number(key: &[u8]) -> Result<u64, EngineError> {
    key.try_into()
        .map(u64::from_be_bytes)
        .map_err(|_| EngineError::Damaged("the key of a block has not 8 bytes".to_owned()))
}

/// As [`MemoryEngine::follower`].
pub(super) fn follower<T: Clone>(
    blocks: &BTreeMap<u64, T>,
    from: u64,
    before: &mut Option<u64>,
) -> Option<(u64, T)> {
    let above = |key| blocks.range((Excluded(key), Unbounded)).next();
    let (&key, block) = match *before {
        Some(before) => above(before)?,
        None => (blocks.range(..=from).next_back()).or_else(|| above(from))?,
    };
    *before = Some(key);
    Some((key, block.clone()))
}

impl Engine for MemoryEngine {
    fn append(&self, batch: Vec<Write>, _durable: bool) -> Result<(), EngineError> {
        let mut values = self.values_of();
        for write in batch {
            match (write.kind, write.value) {
                (Kind::Block, Some(value)) => {
                    drop(values.blocks.insert(number(&write.key)?, value))
                }
                (Kind::Block, None) => drop(values.blocks.remove(&number(&write.key)?)),
                (kind, Some(value)) => drop(values.notes.insert((kind, write.key), value)),
                (kind, None) => drop(values.notes.remove(&(kind, write.key))),
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn blocks(&self, from: u64) -> Blocks<'_> {
        let mut before = None;
        one_by_one(move || Ok(self.follower(from, &mut before)))
    }

    fn values(&self, kind: Kind) -> Result<Vec<Keyed>, EngineError> {
        let values = self.values_of();
        let of_kind = values
            .notes
            .range((kind, Vec::new())..)
            .take_while(|((found, _), _)| *found == kind);
        Ok(of_kind
            .map(|((_, key), value)| (key.clone(), value.clone()))
            .collect())
    }

    fn bytes_from(&self, key: u64) -> Result<u64, EngineError> {
        let values = self.values_of();
        Ok(values
            .blocks
            .range(key..)
            .map(|(_, value)| value.len() as u64)
            .sum())
    }

    fn can_drop_below(&self, key: u64) -> Result<bool, EngineError> {
        let values = self.values_of();
        Ok(values.blocks.range(..key).next().is_some())
    }

    fn drop_below(&self, key: u64) -> Result<(), EngineError> {
        let mut values = self.values_of();
        values.blocks = values.blocks.split_off(&key);
        Ok(())
    }

    fn shrink(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn unflushed(&self) -> u64 {
        0
    }
}
