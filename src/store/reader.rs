//! Reading records back: from memory where they are, else from disk, off the async threads.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::block;
use super::cache::{Batch, Found, ReadLimit, Wanted};
use super::engine::EngineError;
use super::envelope;
use super::recovery::header_of;
use super::shared::Shared;
use crate::reading::Record;

/// Bytes of blocks that one read looks at where little of them is wanted; then others have their turn.
const MOST_LOOKED_AT: usize = 8 << 20;

/// Why records cannot be read now. The same call works again once the store has helped itself.
#[derive(Debug, thiserror::Error)]
#[error("cannot read from the store: {0}")]
pub struct ReadError(String);

impl From<EngineError> for ReadError {
    fn from(error: EngineError) -> Self {
        Self(error.to_string())
    }
}

/// The wanted records with `seq >= from`, in order.
pub(super) async fn read(
    shared: &Arc<Shared>,
    from: u64,
    limit: ReadLimit,
    wanted: Wanted,
) -> Result<Batch, ReadError> {
    if let Some(batch) = shared.state().in_memory(from, limit, &wanted) {
        return Ok(batch);
    }
    let shared = Arc::clone(shared);
    let read = tokio::task::spawn_blocking(move || read_disk(&shared, from, limit, &wanted));
    let read = read.await.map_err(|error| ReadError(error.to_string()))?;
    Ok(read?)
}

/// As [`read`], of all devices, where the thread may wait for the disk.
pub(super) fn records(
    shared: &Shared,
    from: u64,
    limit: ReadLimit,
) -> Result<Vec<Arc<Record>>, EngineError> {
    let wanted = Wanted::all();
    let known = shared.state().in_memory(from, limit, &wanted);
    let batch = match known {
        Some(batch) => batch,
        None => read_disk(shared, from, limit, &wanted)?,
    };
    Ok(batch.records)
}

/// As [`read`], from disk. With their true times, as far as these are known by now.
fn read_disk(
    shared: &Shared,
    from: u64,
    limit: ReadLimit,
    wanted: &Wanted,
) -> Result<Batch, EngineError> {
    // Of two readers near each other the second finds decoded what the first has read.
    let _alone = shared.alone();
    let (from, end) = {
        let state = shared.state();
        (from.max(state.floor), state.next)
    };
    let (mut found, mut looked_at) = (Found::new(from, limit, wanted), 0usize);
    let engine = shared.engine()?;
    let mut blocks = shared.blocks(&*engine, from);
    while found.next() < end && found.wants_more() && looked_at < MOST_LOOKED_AT {
        let looked = match blocks.next() {
            // One that is not yet announced may be there already.
            Some(Ok((first, value))) if first < end => {
                looked_at = looked_at.saturating_add(value.len());
                look(shared, first, &value, &mut found)
            }
            Some(Err(error)) => Err(error),
            // Nothing is there any more.
            Some(Ok(_)) | None => {
                found.pass(end);
                Ok(())
            }
        };
        match looked {
            Ok(()) => {}
            // What is before that goes out. Whoever reads on begins there, and learns it.
            Err(_) if !found.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    drop(blocks);
    Ok(shared.state().with_true_times(found.batch()))
}

/// Takes what is wanted of the block of records from `first` on.
fn look(
    shared: &Shared,
    first: u64,
    value: &[u8],
    found: &mut Found<'_>,
) -> Result<(), EngineError> {
    if take(shared, value, found).is_some() {
        return Ok(());
    }
    let floor = shared.state().floor;
    if first < floor {
        // It was dropped meanwhile, and what it needs went with it.
        found.pass(floor);
        return Ok(());
    }
    Err(damaged(shared, first))
}

/// Takes what is wanted of a block, which is decoded only if something is. `None`: it is damaged.
fn take(shared: &Shared, value: &[u8], found: &mut Found<'_>) -> Option<()> {
    let header = header_of(value)?;
    if header.end() <= found.next() {
        return Some(());
    }
    let mut devices = header.devices.iter().map(|span| span.device.as_ref());
    if !devices.any(|device| found.wants(device)) {
        found.pass(header.end());
        return Some(());
    }
    let known = shared.state().block(header.first);
    let records = match known {
        Some(records) => records,
        None => {
            let records = decode(shared, value)?;
            shared.decoded.fetch_add(1, Ordering::Relaxed);
            shared.state().loaded.push(records)
        }
    };
    found.take(&records);
    Some(())
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

fn damaged(shared: &Shared, first: u64) -> EngineError {
    let why = format!("the block at {first}");
    shared.found_damage(&why);
    EngineError::Damaged(why)
}
