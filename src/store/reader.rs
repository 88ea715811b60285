//! Reading records back: from memory where they are, else from disk, off the async threads.

use std::sync::Arc;

use super::block;
use super::engine::EngineError;
use super::envelope;
use super::shared::{Found, ReadLimit, Shared};
use crate::reading::Record;

/// Bytes of blocks that are read from disk at once.
const READ_AHEAD: usize = 256 << 10;

/// Why records cannot be read now. The same call works again once the store has helped itself.
#[derive(Debug, thiserror::Error)]
#[error("cannot read from the store: {0}")]
pub struct ReadError(String);

impl From<EngineError> for ReadError {
    fn from(error: EngineError) -> Self {
        Self(error.to_string())
    }
}

/// Records with `seq >= from`, in order.
pub(super) async fn read(
    shared: &Arc<Shared>,
    from: u64,
    limit: ReadLimit,
) -> Result<Vec<Arc<Record>>, ReadError> {
    let from = {
        let state = shared.state();
        let from = from.max(state.floor);
        if let Some(found) = state.in_memory(from, limit) {
            return Ok(found);
        }
        from
    };
    let shared = Arc::clone(shared);
    let read = tokio::task::spawn_blocking(move || read_disk(&shared, from, limit));
    let read = read.await.map_err(|error| ReadError(error.to_string()))?;
    Ok(read?)
}

/// As [`read`], from disk. With their true times, as far as these are known by now.
pub(super) fn read_disk(
    shared: &Shared,
    from: u64,
    limit: ReadLimit,
) -> Result<Vec<Arc<Record>>, EngineError> {
    let next = shared.state().next;
    let values = shared
        .engine()?
        .blocks(from, READ_AHEAD)
        .inspect_err(|error| tell(shared, error))?;
    let mut blocks = Vec::with_capacity(values.len());
    for (first, value) in values {
        // A block that is not yet announced may be there already.
        if first >= next {
            break;
        }
        match decode(shared, &value) {
            Some(records) => blocks.push(records),
            None => {
                let error = EngineError::Damaged(format!("the block at {first}"));
                tell(shared, &error);
                return Err(error);
            }
        }
    }
    let mut found = Found::new(limit);
    let mut records = blocks.iter().flatten().filter(|record| record.seq >= from);
    while found.wants_more() {
        let Some(record) = records.next() else { break };
        found.push(record);
    }
    drop(records);
    let mut state = shared.state();
    state.keep_loaded(blocks);
    Ok(state.with_true_times(found.records))
}

/// The records of a block's value.
pub(super) fn decode(shared: &Shared, value: &[u8]) -> Option<Vec<Arc<Record>>> {
    let payload = envelope::exactly(value)?.payload;
    let (header, _) = block::header(payload)?;
    let known: Vec<_> = {
        let schemas = shared.schemas();
        header
            .schemas
            .iter()
            .map(|(id, _)| (*id, schemas.get(*id).cloned()))
            .collect()
    };
    block::decode(payload, |id| {
        known.iter().find(|(known, _)| *known == id)?.1.clone()
    })
}

/// Has the writer rebuild what is damaged.
fn tell(shared: &Shared, error: &EngineError) {
    if let EngineError::Damaged(why) = error {
        let mut state = shared.state();
        if state.damaged.is_none() {
            state.damaged = Some(why.clone());
            shared.queue.ring();
        }
    }
}
