//! The store's bounds: what all upstreams have confirmed goes; beyond `max_size` and `max_age`, more does, and is told.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::Writer;
use crate::reading::{Detail, Event, EventName, Name, Observation};
use crate::store::StoreSettings;
use crate::store::directory::Place;
use crate::store::engine::EngineError;
use crate::store::holes::Holes;
use crate::store::recovery::header_of;
use crate::store::settings::WhenFull;
use crate::store::shared::Lost;
use crate::store::{block, reader, schema};

/// When the store is full, so much is freed at once: two of the engine's tables.
const STEP: u64 = 8 << 20;
/// But not more than this part of `max_size`.
const STEP_SHARE: u64 = 32;
/// Where it is not set, kept free on the file system: the smaller of this and of so large a part of it.
const RESERVE: u64 = 256 << 20;
const FEW_RESERVED: u64 = 20;
/// Kept free at the most: so large a part of the file system. With more, little or nothing would be left to the store.
const MOST_RESERVED: u64 = 2;
/// While the store is full and takes nothing new, how often it looks again; how often the age, and what others leave of
/// the file system, is looked at at the most.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is told what was not taken.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// What is left of damaged engines may take this part of `max_size`.
pub(super) const QUARANTINE: u64 = 10;

/// What was not taken of a device while the store was full.
#[derive(Debug)]
struct Away {
    count: i64,
    from: i64,
    to: i64,
}

/// How much room there is, and when to look again.
#[derive(Debug)]
pub(super) struct Room {
    /// The engine's memory when it was last looked at: it shrinks when it has become a file.
    unflushed: u64,
    measured: Option<Instant>,
    /// When it was last looked at what is free on the file system.
    looked: Option<Instant>,
    /// Others had taken of what is to stay free then.
    pressed: bool,
    /// Full, and set to drop the newest.
    full: bool,
    away: BTreeMap<Name, Away>,
    told: Option<Instant>,
    /// When the oldest record may be too old.
    pub(super) age: Option<Instant>,
    /// Something was freed that the file system has not got back.
    freed: bool,
}

impl Room {
    pub(super) fn new(place: &Place, settings: &StoreSettings) -> Self {
        place.prune_quarantine(settings.max_size / QUARANTINE);
        Self {
            unflushed: u64::MAX,
            measured: None,
            looked: None,
            pressed: false,
            full: false,
            away: BTreeMap::new(),
            told: None,
            age: settings.max_age.map(|_| Instant::now()),
            freed: false,
        }
    }

    /// When there is something to look at without anything to write.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let full = self
            .full
            .then(|| self.measured.map(|last| last + LOOK_EVERY))
            .flatten();
        full.into_iter().chain(self.age).min()
    }

    /// Whether nothing new is taken.
    pub(super) fn is_full(&self) -> bool {
        self.full
    }

    /// Whether an observation finds no room; it is counted then.
    pub(super) fn turns_away(&mut self, observation: &Observation) -> bool {
        if let (true, Some(device)) = (self.full, observation.body.device()) {
            let time = observation.stamp.wall_ns;
            let away = self.away.entry(device.clone()).or_insert(Away {
                count: 0,
                from: time,
                to: time,
            });
            away.count = away.count.saturating_add(1);
            away.from = away.from.min(time);
            away.to = away.to.max(time);
        }
        self.full
    }

    /// Whether it is time to tell what was not taken: when there is room again, else now and then.
    fn tells_away(&self) -> bool {
        let waits = self.full && self.told.is_some_and(|last| last.elapsed() < TELL_EVERY);
        !self.away.is_empty() && !waits
    }

    /// What was not taken, as events.
    pub(super) fn tell_away(&mut self) -> Vec<Event> {
        self.told = Some(Instant::now());
        let told = |(device, away): (Name, Away)| {
            Event::device(EventName::RecordsDropped, device)
                .text("reason", "store full")
                .with("count", Detail::Int(away.count))
                .with("time", Detail::Times(away.from, away.to))
        };
        std::mem::take(&mut self.away)
            .into_iter()
            .map(told)
            .collect()
    }
}

impl Writer {
    /// Looks after the bounds, where there is a reason to.
    pub(super) fn tend(&mut self) -> Result<(), EngineError> {
        let unflushed = self.shared.engine()?.unflushed();
        let turned_over = unflushed < self.room.unflushed;
        self.room.unflushed = unflushed;
        let look_again = self.room.full
            && self
                .room
                .measured
                .is_none_or(|last| last.elapsed() >= LOOK_EVERY);
        if turned_over {
            self.retire()?;
        }
        if turned_over || look_again || self.is_pressed() {
            self.bound_size()?;
        }
        if self.room.age.is_some_and(|due| due <= Instant::now()) {
            self.bound_age()?;
        }
        if self.room.tells_away() {
            let told = self.room.tell_away();
            told.into_iter().for_each(|event| self.say(event));
        }
        Ok(())
    }

    /// Whether others have taken of what is to stay free since the last look. A store that writes little would not notice
    /// before its next table, and then the disk may be full: nothing can be let go any more.
    fn is_pressed(&mut self) -> bool {
        let recent = |last: Instant| last.elapsed() < LOOK_EVERY;
        if self.room.looked.is_some_and(recent) {
            return false;
        }
        self.room.looked = Some(Instant::now());
        let missing = self.missing();
        let pressed = missing > 0;
        if pressed && !self.room.pressed {
            log::warn!(
                "{} MiB less are free on the file system of {} than `keep_free` says: `when_full` decides what gives way",
                missing.div_ceil(1 << 20),
                self.settings.dir.display()
            );
        }
        self.room.pressed = pressed;
        pressed
    }

    /// How many bytes less are free on the file system than are to stay so.
    fn missing(&self) -> u64 {
        self.place.free().map_or(0, |(free, size)| {
            let few = size / FEW_RESERVED;
            let reserve = match self.settings.keep_free {
                None => RESERVE.min(few),
                Some(set) => set.clamp(StoreSettings::LEAST_FREE.min(few), size / MOST_RESERVED),
            };
            reserve.saturating_sub(free)
        })
    }

    /// Frees what all upstreams have confirmed. The counters are on disk before the blocks go that show them.
    pub(super) fn retire(&mut self) -> Result<(), EngineError> {
        let oldest = self
            .shared
            .state()
            .oldest_unconfirmed()
            .min(self.checkpoint.end);
        let engine = self.shared.engine()?;
        if oldest <= self.checkpoint.floor || !engine.can_drop_below(oldest)? {
            return Ok(());
        }
        // A block goes by its first number: the one in which `oldest` stands has to stay.
        let block = self.shared.blocks(&*engine, oldest).next().transpose()?;
        let within = |value: &[u8]| header_of(value).is_none_or(|header| header.end() > oldest);
        let oldest = match block {
            Some((first, value)) if first < oldest && within(&value) => first,
            _ => oldest,
        };
        if oldest <= self.checkpoint.floor || !engine.can_drop_below(oldest)? {
            return Ok(());
        }
        drop(engine);
        self.free_below(oldest, Holes::default())
    }

    /// Lets all blocks below `floor` go. That they are gone, and what is untold of them, is on disk before.
    fn free_below(&mut self, floor: u64, gone: Holes) -> Result<(), EngineError> {
        let mut writes = self.note_writes();
        let unused = self.shared.schemas().unused_below(floor);
        writes.extend(unused.iter().map(|id| schema::removal(*id)));
        let untold = gone.clone();
        writes.push(self.checkpoint_write(|then| {
            then.floor = floor;
            then.untold.merge(untold);
        }));
        let engine = self.shared.engine()?;
        engine.append(writes, true)?;
        self.notes.clear();
        self.unsynced = false;
        self.last_sync = Instant::now();
        self.checkpoint.floor = floor;
        self.checkpoint.untold.merge(gone);
        {
            let mut state = self.shared.state();
            state.floor = floor;
            state.clocks.forget_below(floor);
            (state.cursors.values_mut()).for_each(|cursor| cursor.pass(floor));
        }
        // Only now: who meets a block whose schema is gone sees by the floor that the block is, too.
        self.shared.schemas().forget(&unused);
        self.wrote();
        self.room.freed = true;
        engine.drop_below(floor)
    }

    /// What was freed while nothing new came goes back to the file system at once; else new tables take it along.
    pub(super) fn shrink_if_freed(&mut self) -> Result<(), EngineError> {
        if self.room.freed {
            self.shrink()
        } else {
            Ok(())
        }
    }

    fn shrink(&mut self) -> Result<(), EngineError> {
        self.room.freed = false;
        self.shared.engine()?.shrink()?;
        self.measure();
        Ok(())
    }

    fn measure(&mut self) -> u64 {
        let used = self.place.used();
        self.room.measured = Some(Instant::now());
        self.shared.state().disk = used;
        used
    }

    /// How many bytes too many there are, in the directory or on the file system it shares with others, and which it is.
    fn excess(&mut self) -> (u64, &'static str) {
        let used = self.measure();
        let short = self.missing();
        let over = used.saturating_sub(self.settings.max_size);
        if short > over {
            (short, "free-space")
        } else {
            (over, "max_size")
        }
    }

    fn bound_size(&mut self) -> Result<(), EngineError> {
        let (engine, floor) = (self.shared.engine()?, self.checkpoint.floor);
        // A crash may have come between the note that blocks go and their going.
        if engine.can_drop_below(floor)? {
            engine.drop_below(floor)?;
            self.room.freed = true;
        }
        drop(engine);
        let (excess, _) = self.excess();
        match self.settings.when_full {
            WhenFull::DropNewest => self.room.full = excess > 0,
            WhenFull::DropOldest if excess > 0 => {
                if self.room.freed {
                    self.shrink()?;
                }
                let (excess, reason) = self.excess();
                if excess > 0 {
                    let step = STEP.min(self.settings.max_size / STEP_SHARE);
                    self.drop_oldest(excess.saturating_add(step), reason)?;
                    self.shrink_if_freed()?;
                }
            }
            WhenFull::DropOldest => (),
        }
        Ok(())
    }

    /// Drops the oldest blocks that take about `bytes` together, but none that is in the engine's memory and journal
    /// only: it would free nothing, however much others take.
    fn drop_oldest(&mut self, bytes: u64, reason: &'static str) -> Result<(), EngineError> {
        let engine = self.shared.engine()?;
        if !engine.can_drop_below(self.checkpoint.end)? {
            return Ok(());
        }
        let on_disk = engine
            .bytes_from(self.checkpoint.floor)?
            .saturating_sub(engine.unflushed());
        let (most, mut dropped) = (bytes.min(on_disk), 0u64);
        drop(engine);
        self.drop_while(reason, |header, size| {
            let more = dropped < most;
            dropped = dropped.saturating_add(if header.count > 0 { size } else { 0 });
            more
        })
    }

    /// Drops blocks from the oldest on while `more` says so of a block and its size. Those that all upstreams confirmed
    /// go untold.
    pub(super) fn drop_while(
        &mut self,
        reason: &'static str,
        mut more: impl FnMut(&block::Header, u64) -> bool,
    ) -> Result<(), EngineError> {
        let mut gone = Holes::default();
        let (mut floor, start) = (self.shared.state().floor, self.checkpoint.floor);
        let engine = self.shared.engine()?;
        for block in self.shared.blocks(&*engine, floor) {
            let (first, value) = block?;
            let Some(header) = header_of(&value) else {
                return Err(EngineError::Damaged(format!("the block at {first}")));
            };
            if header.end() <= floor {
                continue;
            }
            if header.end() > self.checkpoint.end || !more(&header, value.len() as u64) {
                break;
            }
            self.note_drop(&mut gone, &header, &value, reason);
            floor = header.end();
            self.shared.set_busy(true);
        }
        drop(engine);
        if floor <= start.max(1) {
            return Ok(());
        }
        self.free_below(floor, gone)
    }

    /// Adds what of a block is lost to somebody.
    fn note_drop(
        &self,
        gone: &mut Holes,
        header: &block::Header,
        value: &[u8],
        reason: &'static str,
    ) {
        let (first, last) = (header.first, header.end().saturating_sub(1));
        let lost = self.shared.state().lost_to(first, last);
        if lost == Lost::Nobody {
            return;
        }
        let partly = self.shared.state().is_partly_confirmed(first, last);
        let records = (partly || header.has_events())
            .then(|| reader::decode(&self.shared, value))
            .flatten();
        let Some(records) = records else {
            (lost.causes(reason)).for_each(|cause| gone.add_block(header, &cause));
            return;
        };
        for record in &records {
            let lost = self.shared.state().lost_to(record.seq, record.seq);
            (lost.causes(reason)).for_each(|cause| gone.add_record(record, &cause));
        }
    }
}
