//! What an open engine holds, and whether the store can prove that it continues exactly.

mod failed;
mod scan;

use std::sync::Arc;

use super::block::{self, Header};
use super::checkpoint::{Break, Checkpoint};
use super::clocks::Clocks;
use super::cursor::Cursor;
use super::dead_letter::Letters;
use super::directory::Place;
use super::engine::progress::Watched;
use super::engine::{Engine, EngineError, Kind, Opening, Progress, Write};
use super::envelope;
use super::holes::Holes;
use super::schema::{self, SchemaTable};
use super::shared::Session;
use crate::reading::{Event, EventName, Name, RangeSet, StreamId};

/// After damage `seq` goes on this much higher: whatever was committed and perhaps sent, and is lost, stays below.
const SKIP: u64 = 100_000;

/// What an engine holds.
pub(super) struct Loaded {
    pub(super) checkpoint: Checkpoint,
    pub(super) schemas: SchemaTable,
    pub(super) cursors: Vec<(Name, Cursor)>,
    /// What is kept of upstreams that were forgotten.
    pub(super) forgotten: Vec<(Name, Cursor)>,
    pub(super) sessions: Vec<(Name, Session)>,
    pub(super) letters: Letters,
    pub(super) clocks: Clocks,
    /// `seq` behind the last record that is there.
    pub(super) end: u64,
    /// How the last run ended, as far as it is known: in order.
    pub(super) clean: bool,
    /// Why a new stream begins; `None`: the old one continues.
    pub(super) broken: Option<Break>,
}

/// What is known from outside the engine.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Known {
    /// XXH3 of this machine's id; 0: unknown.
    pub(super) machine: u64,
    /// The stream and the highest `seq` that was once durable, as far as it was noted.
    pub(super) mark: Option<(StreamId, u64)>,
    /// The first `seq` of a batch that failed, and the `seq` behind its last: nobody was told of it, and all of it is in
    /// memory still. Empty where one was taken back: what it left is not believed either.
    pub(super) failed: Option<(u64, u64)>,
}

/// An open engine, how it came to be open, and what it holds.
pub(super) type Open = (Arc<dyn Engine>, Opening, Loaded);

/// Opens the engine in `place`, rebuilt where there is a reason to; damage that shows only in what it holds is one, and so
/// is a place on the disk that cannot be read however often it is tried. `progress` learns that it gets on.
pub(super) fn open(
    place: &Place,
    known: Known,
    rebuild: Option<String>,
    progress: Progress<'_>,
) -> Result<Open, EngineError> {
    match open_once(place, known, rebuild, progress) {
        Err(error) if error.is_of_a_place() => match place.unreadable(progress) {
            Some(why) => {
                log::error!("{why}; the store is rebuilt from what can be read");
                open_once(place, known, Some(why), progress)
            }
            None => Err(error),
        },
        opened => opened,
    }
}

fn open_once(
    place: &Place,
    known: Known,
    rebuild: Option<String>,
    progress: Progress<'_>,
) -> Result<Open, EngineError> {
    let (engine, opening) = match rebuild {
        Some(why) => place.rebuild(why, progress)?,
        None => place.open(progress)?,
    };
    match settled(&*engine, &opening, known, progress) {
        Ok(loaded) => Ok((engine, opening, loaded)),
        Err(EngineError::Damaged(why)) => {
            drop(engine);
            let (engine, opening) = place.rebuild(why, progress)?;
            let loaded = settled(&*engine, &opening, known, progress)?;
            Ok((engine, opening, loaded))
        }
        Err(error) => Err(error),
    }
}

/// What the engine holds once the batch that failed is there as a whole, or not at all.
fn settled(
    engine: &dyn Engine,
    opening: &Opening,
    known: Known,
    progress: Progress<'_>,
) -> Result<Loaded, EngineError> {
    let engine = Watched::new(engine, progress);
    failed::settle(&engine, known)?;
    load(&engine, opening, known)
}

fn removal(first: u64) -> Write {
    Write {
        kind: Kind::Block,
        key: first.to_be_bytes().to_vec(),
        value: None,
    }
}

/// Reads all but the blocks, and of those what the checkpoint does not cover.
pub(super) fn load(
    engine: &dyn Engine,
    opening: &Opening,
    known: Known,
) -> Result<Loaded, EngineError> {
    let mut found = checkpoint(engine)?;
    let has_checkpoint = found.is_some();
    let mut checkpoint = found.take().unwrap_or_default();
    let last = engine
        .last_block()?
        .map(|(first, value)| header_of(&value).ok_or_else(|| damaged(first)))
        .transpose()?;
    // The checkpoint of a batch that failed may be there without its blocks.
    let failed = known.failed.map_or(u64::MAX, |(first, _)| first);
    let bare = checkpoint.end.min(failed);
    let end = last.as_ref().map_or(bare, Header::end).max(1);
    let schemas = schemas(engine, end)?;
    let rebuilt = opening.rebuilt.is_some();
    let from = if rebuilt || !has_checkpoint {
        checkpoint.floor
    } else if opening.cut > 0 {
        // Of a torn batch some blocks may be there, and the checkpoint behind them. What the mark covers was synced before.
        let safe = known.mark.map(|(_, seq)| seq.saturating_add(1));
        safe.unwrap_or(checkpoint.floor).min(checkpoint.next)
    } else {
        checkpoint.next
    };
    let (forgotten, cursors): (Vec<_>, Vec<_>) = named(engine, Kind::Cursor, Cursor::found)?
        .into_iter()
        .partition(|(_, cursor)| cursor.is_forgotten());
    // What all had confirmed may have gone without a note of it.
    let confirmed = cursors
        .iter()
        .map(|(_, cursor)| cursor.oldest())
        .min()
        .unwrap_or(1);
    let from = from.max(if rebuilt { confirmed } else { 1 });
    let counted = scan::Counted::by(&checkpoint);
    let start = (rebuilt || opening.cut > 0).then_some(from.max(1));
    let mut gone = scan::scan(engine, &mut checkpoint, &schemas, (from, start), rebuilt)?;
    let lost = match start {
        Some(start) => gone.of_devices(&counted, start..end),
        None => Holes::default(),
    };
    let mut loaded = Loaded {
        end,
        clean: checkpoint.clean,
        schemas,
        cursors,
        forgotten,
        sessions: named(engine, Kind::Session, |value, generation| {
            Some(Session {
                value: value.to_vec(),
                generation,
                changed: false,
            })
        })?,
        letters: Letters::found(&engine.values(Kind::DeadLetter)?),
        clocks: clocks(engine)?,
        // Told until it is committed.
        broken: checkpoint.broken.clone(),
        checkpoint,
    };
    let reason = if last.is_none()
        && !has_checkpoint
        && !rebuilt
        && opening.cut == 0
        && known.mark.is_none()
    {
        Some("new store".to_owned())
    } else {
        reason(&loaded.checkpoint, opening, known, end, has_checkpoint)
    };
    loaded.checkpoint.machine = known.machine;
    loaded.checkpoint.next = loaded.checkpoint.next.max(end);
    loaded.checkpoint.end = end;
    loaded.checkpoint.next_dead = loaded.checkpoint.next_dead.max(loaded.letters.next());
    if let Some(reason) = reason {
        let previous = has_checkpoint
            .then_some(loaded.checkpoint.stream)
            .or(last.map(|last| last.stream))
            .or(known.mark.map(|(stream, _)| stream));
        loaded.tell_again(engine)?;
        loaded.checkpoint.untold.merge(lost);
        loaded.begin_stream(reason, previous, end, gone.hole, known);
    }
    loaded.checkpoint.clean = false;
    Ok(loaded)
}

impl Loaded {
    /// The stream of the records that are on disk, and the `seq` behind the last.
    pub(super) fn stands_at(&self) -> (StreamId, u64) {
        let ended = self.broken.as_ref().and_then(|broken| broken.previous);
        (ended.unwrap_or(self.checkpoint.stream), self.end)
    }

    /// What was told in blocks that are gone with the stream is to be told anew, and what was not told yet of the end of
    /// a stream before.
    fn tell_again(&mut self, engine: &dyn Engine) -> Result<(), EngineError> {
        let state = &mut self.checkpoint;
        let before = state.broken.take();
        // Before a new store there was nothing to lose.
        if let Some(before) = before.filter(|before| before.previous.is_some()) {
            let event = before.tell(Event::gateway(EventName::RecordsLost));
            state.untold.add_told(&event);
        }
        for told in std::mem::take(&mut state.told) {
            // What a bound has taken of them it has handed on.
            let from = told.first.max(state.floor);
            if scan::is_whole(engine, from, told.end)? {
                state.told.push(told);
            } else if told.end > state.floor {
                state.untold.merge(told.holes);
            }
        }
        state.untold.make_due();
        Ok(())
    }

    fn begin_stream(
        &mut self,
        reason: String,
        previous: Option<StreamId>,
        end: u64,
        mut hole: RangeSet,
        known: Known,
    ) {
        let state = &mut self.checkpoint;
        let confirmed = self
            .cursors
            .iter()
            .filter_map(|(_, cursor)| cursor.confirmed().bounds())
            .map(|(_, last)| last);
        let marked = known.mark.map_or(0, |(_, seq)| seq);
        let seen = confirmed
            .chain([marked, state.next.saturating_sub(1)])
            .max()
            .unwrap_or(0);
        if previous.is_some() {
            state.next = end.max(seen.saturating_add(1)).saturating_add(SKIP);
            hole.insert(end, state.next.saturating_sub(1));
        }
        // What is lost for good must not keep a cursor from moving on.
        for (_, cursor) in &mut self.cursors {
            cursor.confirm(&hole);
        }
        state.stream = loop {
            let stream = StreamId(fastrand::u32(1..));
            if Some(stream) != previous {
                break stream;
            }
        };
        state
            .counters
            .values_mut()
            .for_each(|counter| counter.described = 0);
        let broken = Break {
            reason,
            previous,
            last: end.saturating_sub(1),
            hole,
        };
        self.checkpoint.broken = Some(broken.clone());
        self.broken = Some(broken);
    }
}

fn reason(
    found: &Checkpoint,
    opening: &Opening,
    known: Known,
    end: u64,
    has_checkpoint: bool,
) -> Option<String> {
    if let Some(why) = &opening.rebuilt {
        return Some(format!("rebuilt: {why}"));
    }
    if opening.cut > 0 {
        return Some(format!("{} bytes were cut off a journal", opening.cut));
    }
    if !has_checkpoint || end < found.end {
        return Some("records are missing".to_owned());
    }
    if let Some((stream, seq)) = known.mark
        && stream == found.stream
        && seq >= end.max(found.end)
    {
        return Some("the latest records are missing".to_owned());
    }
    let other = found.machine != known.machine && found.machine != 0 && known.machine != 0;
    other.then(|| "another machine".to_owned())
}

fn damaged(first: u64) -> EngineError {
    EngineError::Damaged(format!("the block at {first}"))
}

pub(super) fn header_of(value: &[u8]) -> Option<Header> {
    block::header(envelope::exactly(value)?.payload).map(|(header, _)| header)
}

pub(super) fn checkpoint(engine: &dyn Engine) -> Result<Option<Checkpoint>, EngineError> {
    let values = engine.values(Kind::State)?;
    let found = values
        .iter()
        .filter_map(|(_, value)| envelope::exactly(value));
    Ok(found
        .filter_map(|value| Checkpoint::found(value.payload, value.generation))
        .max_by_key(|found| found.generation))
}

fn clocks(engine: &dyn Engine) -> Result<Clocks, EngineError> {
    let values = engine.values(Kind::Clocks)?;
    let value = values
        .first()
        .and_then(|(_, value)| envelope::exactly(value));
    let found = value.and_then(|value| Clocks::found(value.payload, value.generation));
    Ok(found.unwrap_or_default())
}

fn schemas(engine: &dyn Engine, head: u64) -> Result<SchemaTable, EngineError> {
    let mut table = SchemaTable::default();
    for (key, value) in engine.values(Kind::Schema)? {
        let schema = envelope::exactly(&value)
            .and_then(|value| schema::decode(&mut super::bytes::Bytes(value.payload)));
        if let (Some(id), Some(schema)) = (schema::id_of(&key), schema) {
            table.found(id, schema, head);
        }
    }
    Ok(table)
}

fn named<T>(
    engine: &dyn Engine,
    kind: Kind,
    decode: impl Fn(&[u8], u64) -> Option<T>,
) -> Result<Vec<(Name, T)>, EngineError> {
    let values = engine.values(kind)?;
    let found = values.iter().filter_map(|(key, value)| {
        let value = envelope::exactly(value)?;
        Some((
            Name::new(std::str::from_utf8(key).ok()?).ok()?,
            decode(value.payload, value.generation)?,
        ))
    });
    Ok(found.collect())
}
