//! When the disk says no, or what is on it is damaged: the writer helps itself, and tells it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Writer;
use crate::reading::{Body, Event, EventName, Observation};
use crate::store::engine::EngineError;
use crate::store::recovery::{self, Known};

impl Writer {
    /// Opens the engine anew and leaves the pending records to the next commit, after a pause that grows with each
    /// failure. The field side goes on into the inlet meanwhile.
    pub(super) fn trouble(&mut self, error: EngineError) {
        let first = {
            let mut state = self.shared.state();
            state.trouble.replace(error.to_string()).is_none()
        };
        if first {
            log::error!("the store cannot be written: {error}");
            self.say(Event::gateway(EventName::DiskTrouble).text("reason", error.to_string()));
        }
        self.unwritten();
        self.unsynced = false;
        let rebuild = self.is_damage(&error).then(|| error.to_string());
        self.pause();
        if let Err(error) = self.reopen(rebuild) {
            log::debug!("the store does not open: {error}");
            self.shared.state().trouble = Some(error.to_string());
        }
    }

    /// Whether opening the engine anew will not do. One that stops again and again, with room on the disk, meets damage
    /// in its own work, which it does not name.
    fn is_damage(&mut self, error: &EngineError) -> bool {
        const OFTEN: usize = 4;
        const LATELY: Duration = Duration::from_secs(600);
        const ROOM: u64 = 64 << 20;
        if matches!(error, EngineError::Stopped(_))
            && self.place.free().is_none_or(|(free, _)| free > ROOM)
        {
            self.stops.retain(|stop| stop.elapsed() < LATELY);
            self.stops.push(Instant::now());
        }
        let often = self.stops.len() >= OFTEN;
        if often {
            self.stops.clear();
        }
        often || matches!(error, EngineError::Damaged(_))
    }

    /// Waits before the next attempt. It is no work that the watchdog should miss.
    fn pause(&mut self) {
        let until = Instant::now() + self.backoff.failed(Instant::now());
        self.shared.set_busy(false);
        while Instant::now() < until && !self.shared.state().stopping {
            self.shared.queue.wait(false, Some(until));
        }
        self.shared.set_busy(true);
    }

    /// Rebuilds the engine where a reader came upon damage.
    pub(super) fn rebuild_if_damaged(&mut self) {
        let damaged = self.shared.state().damaged.take();
        if let Some(why) = damaged {
            log::error!("the store is damaged ({why}) and is rebuilt from what is intact");
            self.unwritten();
            if let Err(error) = self.reopen(Some(why)) {
                self.trouble(error);
            }
        }
    }

    /// Opens the engine anew, `rebuild` from what is intact. What the writer knows goes on where the engine holds all of
    /// it; else a new stream begins.
    fn reopen(&mut self, rebuild: Option<String>) -> Result<(), EngineError> {
        let old = self.shared.set_engine(None);
        if let Some(old) = old {
            // fjall closes with its last handle, and a second one cannot be opened before.
            while Arc::strong_count(&old) > 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(old);
        }
        let end = self.checkpoint.end;
        let known = Known {
            machine: self.machine,
            mark: Some((self.checkpoint.stream, end.saturating_sub(1))),
        };
        let (engine, opening, loaded) = recovery::open(&self.place, known, rebuild)?;
        self.room.prune_quarantine(&self.place);
        self.shared.set_engine(Some(engine));
        let behind = self.pending.last().map(|last| last.seq.saturating_add(1));
        // What was cut off was the batch that failed: all that was announced is there.
        if opening.rebuilt.is_none() && (loaded.end == end || Some(loaded.end) == behind) {
            if loaded.end != end {
                self.accept()?;
            }
            return self.place.settle();
        }
        // The first record of a new stream says so, before those that are pending.
        let event = loaded
            .broken
            .as_ref()
            .map(|broken| broken.tell(Event::gateway(EventName::RecordsLost)));
        let mut own = VecDeque::new();
        own.extend(event.map(|event| Observation {
            stamp: self.clock.now(),
            body: Body::Event(event),
        }));
        own.extend(self.unnumbered());
        own.append(&mut self.own);
        self.own = own;
        self.checkpoint_due = true;
        self.take_over(loaded)
    }

    /// The failed append had reached the disk after all; what went with the block is made sure of.
    fn accept(&mut self) -> Result<(), EngineError> {
        let mut writes = self.shared.schemas().definitions();
        writes.extend(self.notes.iter().cloned());
        if !writes.is_empty() {
            self.shared.engine()?.append(writes, true)?;
        }
        self.committed();
        Ok(())
    }
}
