//! Changing a store by hand while no daemon runs on it: purge, forget, drop dead letters.
//!
//! No event says that the gateway started, for it has not, and whether it last stopped in order stays as it was. What a purge
//! takes is told as what a bound drops is.

use std::path::PathBuf;
use std::time::Duration;

use super::Writer;
use crate::reading::{Clock, Event, EventName, Name, RangeSet};
use crate::store::block::Header;
use crate::store::directory::Place;
use crate::store::engine::{EngineError, Kind, Write};
use crate::store::holes::{Cause, Holes};
use crate::store::recovery::header_of;
use crate::store::settings::WhenFull;
use crate::store::{Inlet, Store, StoreError, StoreSettings, reader};

/// What events give as the reason.
const PURGED: &str = "purged";

/// A store that is changed by hand. Damage was mended when it was opened, as by the daemon.
pub struct Maintenance {
    dir: PathBuf,
    store: Store,
    writer: Writer,
    /// Whether the daemon last stopped in order.
    clean: bool,
}

impl Maintenance {
    pub(in crate::store) fn begin(
        dir: PathBuf,
        place: Place,
        clock: Clock,
        clean: bool,
    ) -> Result<Self, EngineError> {
        // No bound of the store is looked after: the daemon does that by its configuration.
        let settings = StoreSettings {
            dir: dir.clone(),
            max_size: u64::MAX,
            max_age: None,
            keep_free: None,
            when_full: WhenFull::DropOldest,
            commit_window: Duration::ZERO,
        };
        let inlet = Inlet::new(clock.clone());
        let (store, mut writer) = Writer::open(place, settings, clock, &inlet)?;
        writer.own.clear();
        Ok(Self {
            dir,
            store,
            writer,
            clean,
        })
    }

    /// Takes records up to `to` out of the backlog of an upstream, or of all, where there is none: they count as confirmed,
    /// and events with the reason `purged` name them. Both are on disk at once, or neither. Where no upstream was ever
    /// known, the records themselves go, by whole blocks. `passed` learns how far it has come.
    ///
    /// # Errors
    /// [`StoreError`] where the disk cannot be read or written; nothing is purged then.
    pub fn purge(
        &mut self,
        upstream: Option<&Name>,
        to: u64,
        passed: impl FnMut(u64),
    ) -> Result<(), StoreError> {
        let purged = self.take_out(upstream, to, passed);
        purged.map_err(|error| self.failed(error))
    }

    fn take_out(
        &mut self,
        upstream: Option<&Name>,
        to: u64,
        passed: impl FnMut(u64),
    ) -> Result<(), EngineError> {
        let known: Vec<Name> = self.writer.shared.state().cursors.keys().cloned().collect();
        if known.is_empty() {
            return self
                .writer
                .drop_while(PURGED, |header, _| header.end() <= to.saturating_add(1));
        }
        let scope: Vec<Name> = match upstream {
            Some(name) => vec![name.clone()],
            None => known,
        };
        let to = to.min(self.writer.checkpoint.end.saturating_sub(1));
        let gone = self.gone(&scope, to, passed)?;
        let all: RangeSet = [(1, to)].into_iter().collect();
        for name in &scope {
            if let Some(cursor) = self.writer.shared.state().cursors.get_mut(name) {
                cursor.confirm(&all);
            }
        }
        let mut writes = self.writer.note_writes();
        let untold = gone.clone();
        writes.push(
            self.writer
                .checkpoint_write(|then| then.untold.merge(untold)),
        );
        self.append(writes)?;
        self.writer.checkpoint.untold.merge(gone);
        Ok(())
    }

    /// What the upstreams of `scope` have not confirmed up to `to`.
    fn gone(
        &self,
        scope: &[Name],
        to: u64,
        mut passed: impl FnMut(u64),
    ) -> Result<Holes, EngineError> {
        let mut gone = Holes::default();
        let mut next = self.first_missing(scope);
        for block in self.writer.shared.engine()?.blocks(next) {
            let (first, value) = block?;
            let Some(header) = header_of(&value) else {
                return Err(EngineError::Damaged(format!("the block at {first}")));
            };
            if header.first > to {
                break;
            }
            if header.end() <= next {
                continue;
            }
            self.add(&mut gone, scope, &header, &value, to);
            next = header.end();
            passed(next.saturating_sub(1).min(to));
        }
        Ok(gone)
    }

    fn first_missing(&self, scope: &[Name]) -> u64 {
        let state = self.writer.shared.state();
        let cursors = scope.iter().filter_map(|name| state.cursors.get(name));
        let oldest = cursors.map(|cursor| cursor.confirmed().first_missing(state.floor));
        oldest.min().unwrap_or(state.floor)
    }

    /// Adds what is gone of a block. One that nobody has confirmed anything of is told as a whole.
    fn add(&self, gone: &mut Holes, scope: &[Name], header: &Header, value: &[u8], to: u64) {
        let last = header.end().saturating_sub(1);
        let whole = last <= to
            && !header.has_events()
            && !self
                .writer
                .shared
                .state()
                .is_partly_confirmed(header.first, last);
        let records = (!whole)
            .then(|| reader::decode(&self.writer.shared, value))
            .flatten();
        let Some(records) = records else {
            let causes = self.causes(scope, header.first);
            causes
                .iter()
                .for_each(|cause| gone.add_block(header, cause));
            return;
        };
        for record in records.iter().filter(|record| record.seq <= to) {
            let causes = self.causes(scope, record.seq);
            causes
                .iter()
                .for_each(|cause| gone.add_record(record, cause));
        }
    }

    /// Of a record that upstreams of `scope` miss: it concerns all, or each of these.
    fn causes(&self, scope: &[Name], seq: u64) -> Vec<Cause> {
        let state = self.writer.shared.state();
        let misses = |name: &&Name| {
            let cursor = state.cursors.get(*name);
            cursor.is_some_and(|cursor| !cursor.confirmed().contains(seq))
        };
        let missing: Vec<&Name> = scope.iter().filter(misses).collect();
        if missing.len() == state.cursors.len() {
            return vec![Cause::bound(PURGED)];
        }
        let causes = missing.into_iter().map(|name| Cause {
            upstream: Some(name.clone()),
            ..Cause::bound(PURGED)
        });
        causes.collect()
    }

    /// Forgets an upstream: [`Store::forget`]. Whether it was known.
    pub fn forget(&mut self, upstream: &Name) -> bool {
        self.store.forget(upstream)
    }

    /// Drops the dead letters at these places. Rebuilt from a damaged database, the store may have them again.
    ///
    /// # Errors
    /// [`StoreError`] where the disk cannot be written.
    pub fn drop_dead_letters(&mut self, places: &[u64]) -> Result<(), StoreError> {
        let removal = |place: &u64| Write {
            kind: Kind::DeadLetter,
            key: place.to_be_bytes().to_vec(),
            value: None,
        };
        let writes = places.iter().map(removal).collect();
        self.append(writes).map_err(|error| self.failed(error))
    }

    /// Commits what is to be told, and gives back what is free. The bytes that the directory then takes.
    ///
    /// # Errors
    /// [`StoreError`] where the disk cannot be written. What was purged stays so, and is told by the next start.
    pub fn close(mut self) -> Result<u64, StoreError> {
        let closed = self.finish();
        closed.map_err(|error| self.failed(error))?;
        self.writer.set_mark();
        Ok(self.writer.place.used())
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        if self.writer.checkpoint.untold.is_due() {
            // The first record of a stream tells how the one before ended.
            if let Some(broken) = &self.writer.checkpoint.broken {
                let event = broken.tell(Event::gateway(EventName::RecordsLost));
                self.writer.say(event);
            }
            self.writer.commit()?;
        }
        let mut writes = self.writer.note_writes();
        let clean = self.clean;
        writes.push(self.writer.checkpoint_write(|last| last.clean = clean));
        self.append(writes)?;
        self.writer.retire()?;
        self.writer.shrink_if_freed()
    }

    fn append(&mut self, writes: Vec<Write>) -> Result<(), EngineError> {
        self.writer.shared.engine()?.append(writes, true)?;
        self.writer.wrote();
        Ok(())
    }

    fn failed(&self, error: EngineError) -> StoreError {
        match error {
            EngineError::Disk(error) => StoreError::Disk(self.dir.clone(), error),
            error => StoreError::Engine(self.dir.clone(), error),
        }
    }
}
