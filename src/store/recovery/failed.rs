//! The batch whose append failed in this process, or in which a writer panicked: nobody was told of its records, and all of
//! them are in memory still.

use super::{Known, header_of, removal, schemas};
use crate::store::engine::{Engine, EngineError};

/// Has all of it be there, or nothing: where it was torn, the blocks that were saved of it go again, or their records would
/// come twice.
pub(super) fn settle(engine: &dyn Engine, known: Known) -> Result<(), EngineError> {
    let Some((first, end)) = known.failed else {
        return Ok(());
    };
    let schemas = schemas(engine, end)?;
    let (mut next, mut found) = (Some(first), Vec::new());
    // It was the last batch: behind it is nothing.
    for block in engine.blocks(first) {
        let (key, value) = block?;
        if key < first {
            continue;
        }
        found.push(removal(key));
        let header = header_of(&value).filter(|header| header.is_readable(&schemas));
        next = header
            .filter(|_| next == Some(key))
            .map(|header| header.end());
    }
    if found.is_empty() || next == Some(end) {
        return Ok(());
    }
    engine.append(found, true)
}
