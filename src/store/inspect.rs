//! Looking at a store that no daemon runs on: how much waits for whom, what the records are.
//!
//! Nothing that is in the store changes: no stream begins, no event is written, nothing damaged is mended. Where the
//! engine cannot be opened without that, what is intact in its files is shown, and [`Inspection::ailing`] says why.

mod overview;

use std::path::Path;
use std::sync::Arc;

use super::block::{self, Header};
use super::directory::{self, Place};
use super::engine::intact::IntactFiles;
use super::engine::{Engine, EngineError, Kind, Look, Opening};
use super::recovery::{self, Known, Loaded};
use super::{DeadLetter, Maintenance, StoreError, dead_letter, envelope};
use crate::reading::{Clock, Name, RangeSet, Record, StreamId};

pub use overview::{Backlog, Overview, Seen, StreamSpan};

/// A store that is looked at. Its lock is held meanwhile, so no daemon starts on it.
pub struct Inspection {
    place: Place,
    engine: Arc<dyn Engine>,
    loaded: Loaded,
    stream: StreamId,
    ailing: Option<String>,
}

/// A dead letter and where it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct KeptLetter {
    /// Its place among the dead letters, from 0; rises with each.
    pub place: u64,
    /// Bytes that it takes in the store.
    pub bytes: u64,
    /// The letter.
    pub letter: DeadLetter,
}

impl Inspection {
    /// Opens the store in `dir` to look at it. One whose engine is not whole takes as long as the disk takes to read
    /// all of it.
    ///
    /// # Errors
    /// [`StoreError::Missing`], [`StoreError::InUse`], [`StoreError::Newer`], [`StoreError::Disk`]; damage is none.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let (place, why) = match Self::look(dir, Place::find(dir)?)? {
            Ok(inspection) => return Ok(inspection),
            Err(ailing) => ailing,
        };
        let (engine, loaded) =
            intact(dir, &why, known(&place)).map_err(|error| failed(dir, error))?;
        Self::new(place, engine, loaded, Some(why)).map_err(|error| failed(dir, error))
    }

    /// Opens the store where it is whole; else gives the place back, and says why it is not.
    fn look(dir: &Path, place: Place) -> Result<Result<Self, (Place, String)>, StoreError> {
        let (engine, opening) = match place.look().map_err(|error| failed(dir, error))? {
            Look::Nothing => return Err(StoreError::Missing(dir.to_owned())),
            Look::Ailing(why) => return Ok(Err((place, why))),
            Look::Whole(engine, opening) => (engine, opening),
        };
        match recovery::load(&*engine, &opening, known(&place)) {
            Ok(loaded) => Self::new(place, engine, loaded, None)
                .map(Ok)
                .map_err(|error| failed(dir, error)),
            Err(error) => match damage_in(&error) {
                Some(why) => Ok(Err((place, why))),
                None => Err(failed(dir, error)),
            },
        }
    }

    fn new(
        place: Place,
        engine: Arc<dyn Engine>,
        loaded: Loaded,
        ailing: Option<String>,
    ) -> Result<Self, EngineError> {
        // What was loaded has the stream that would begin now; the one that is there is asked for.
        let found = recovery::checkpoint(&*engine)?.map(|found| found.stream);
        let last = engine.last_block()?;
        let last = last.and_then(|(_, value)| Some(recovery::header_of(&value)?.stream));
        Ok(Self {
            stream: found.or(last).unwrap_or_default(),
            place,
            engine,
            loaded,
            ailing,
        })
    }

    /// As [`Self::open`]; `None`: it is not whole, and what is intact is not looked for.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_whole(dir: &Path) -> Result<Option<Self>, StoreError> {
        Ok(Self::look(dir, Place::find(dir)?)?.ok())
    }

    /// Goes on to change the store. Its lock stays held. What is damaged is mended, and a new stream begins then.
    ///
    /// # Errors
    /// [`StoreError`] where the disk cannot be read or written.
    pub fn maintain(self, clock: Clock) -> Result<Maintenance, StoreError> {
        let (dir, clean) = (self.dir().to_owned(), self.loaded.clean);
        // fjall closes with its last handle, and a second one cannot be opened before.
        drop(self.engine);
        Maintenance::begin(dir.clone(), self.place, clock, clean)
            .map_err(|error| failed(&dir, error))
    }

    /// Why only what is intact is shown; `None`: the store is whole, as far as it was looked at.
    pub fn ailing(&self) -> Option<&str> {
        self.ailing.as_deref()
    }

    /// No record below this `seq` is in the store, and none from [`Self::end`] on.
    pub fn floor(&self) -> u64 {
        self.loaded.checkpoint.floor.max(1)
    }

    /// The `seq` behind the last record.
    pub fn end(&self) -> u64 {
        self.loaded.end
    }

    /// The upstreams that the store knows.
    pub fn upstreams(&self) -> impl Iterator<Item = &Name> {
        self.loaded.cursors.iter().map(|(name, _)| name)
    }

    /// What an upstream has confirmed; `None`: the store does not know it.
    pub fn confirmed(&self, upstream: &Name) -> Option<&RangeSet> {
        let mut cursors = self.loaded.cursors.iter();
        let (_, cursor) = cursors.find(|(name, _)| name == upstream)?;
        Some(cursor.confirmed())
    }

    /// The records of the block that `seq` is in, or else of the next, from `seq` on; none: there are no more. A damaged
    /// block is passed over, and [`Self::ailing`] says so from then on.
    ///
    /// # Errors
    /// [`StoreError`] where the disk cannot be read.
    pub fn read(&mut self, seq: u64) -> Result<Vec<Arc<Record>>, StoreError> {
        let read = self.read_once(seq);
        let damage = read.as_ref().err().and_then(damage_in);
        let read = match damage.filter(|_| self.ailing.is_none()) {
            Some(why) => {
                let found = intact(self.dir(), &why, known(&self.place));
                let (engine, loaded) = found.map_err(|error| self.failed(error))?;
                (self.engine, self.loaded, self.ailing) = (engine, loaded, Some(why));
                self.read_once(seq)
            }
            None => read,
        };
        read.map_err(|error| self.failed(error))
    }

    fn read_once(&self, seq: u64) -> Result<Vec<Arc<Record>>, EngineError> {
        let mut next = seq.max(self.floor());
        if next >= self.end() {
            return Ok(Vec::new());
        }
        for block in self.engine.blocks(next) {
            let (first, value) = block?;
            match self.decode(&value) {
                Some(mut records) => {
                    records.retain(|record| record.seq >= next);
                    if !records.is_empty() {
                        return Ok(records);
                    }
                }
                None if self.ailing.is_some() => next = next.max(first.saturating_add(1)),
                None => return Err(EngineError::Damaged(format!("the block at {first}"))),
            }
        }
        Ok(Vec::new())
    }

    fn decode(&self, value: &[u8]) -> Option<Vec<Arc<Record>>> {
        let payload = envelope::exactly(value)?.payload;
        let known = |id| self.loaded.schemas.get(id).map(Arc::clone);
        let mut records = block::decode(payload, known)?;
        records.iter_mut().for_each(|record| self.correct(record));
        Some(records)
    }

    /// Gives a record its true time, where that is known by now.
    fn correct(&self, record: &mut Arc<Record>) {
        if !record.stamp.synced {
            let stamp = self.loaded.clocks.truth(record.stamp);
            Arc::make_mut(record).stamp = stamp;
        }
    }

    /// The header of the block that `seq` is in, or else of the next.
    fn header(&self, seq: u64) -> Result<Option<Header>, EngineError> {
        for block in self.engine.blocks(seq) {
            let header = recovery::header_of(&block?.1);
            let header = header.filter(|header| header.end() > seq);
            if header.is_some() {
                return Ok(header);
            }
        }
        Ok(None)
    }

    /// The records that brokers refused, the oldest first; damaged ones are passed over.
    ///
    /// # Errors
    /// [`StoreError`] where the disk cannot be read, or the database with them is damaged.
    pub fn dead_letters(&self) -> Result<Vec<KeptLetter>, StoreError> {
        let values = self.engine.values(Kind::DeadLetter);
        let values = values.map_err(|error| self.failed(error))?;
        let letters = values.into_iter().filter_map(|(key, value)| {
            let place = u64::from_be_bytes(key.as_slice().try_into().ok()?);
            let bytes = value.len() as u64;
            let mut letter = dead_letter::read(vec![(key, value)]).pop()?;
            self.correct(&mut letter.record);
            Some(KeptLetter {
                place,
                bytes,
                letter,
            })
        });
        Ok(letters.collect())
    }

    fn dir(&self) -> &Path {
        match &self.place {
            Place::Disk { dir, .. } => dir,
            _ => Path::new(""),
        }
    }

    fn failed(&self, error: EngineError) -> StoreError {
        failed(self.dir(), error)
    }
}

/// What of an engine is not as it was written, or cannot be read.
fn damage_in(error: &EngineError) -> Option<String> {
    match error {
        EngineError::Damaged(why) => Some(why.clone()),
        error => error.is_of_a_place().then(|| error.to_string()),
    }
}

fn known(place: &Place) -> Known {
    Known {
        machine: directory::machine(),
        mark: place.mark(),
        failed: None,
    }
}

fn failed(dir: &Path, error: EngineError) -> StoreError {
    match error {
        EngineError::Disk(error) => StoreError::Disk(dir.to_owned(), error),
        EngineError::Locked(_) => StoreError::InUse(dir.to_owned()),
        error => StoreError::Engine(dir.to_owned(), error),
    }
}

/// What is intact of an engine that cannot be opened as it is.
fn intact(dir: &Path, why: &str, known: Known) -> Result<(Arc<dyn Engine>, Loaded), EngineError> {
    let engine = IntactFiles::find(dir)?;
    let opening = Opening {
        rebuilt: Some(why.to_owned()),
        ..Opening::default()
    };
    let loaded = recovery::load(&engine, &opening, known)?;
    Ok((Arc::new(engine), loaded))
}
