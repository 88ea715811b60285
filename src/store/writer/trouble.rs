//! When the disk says no, or what is on it is damaged: the writer helps itself, and tells it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Writer;
use super::gather::Pending;
use super::retention::QUARANTINE;
use crate::reading::{Body, Event, EventName, Observation};
use crate::store::engine::{EngineError, Progress};
use crate::store::holes::Holes;
use crate::store::recovery::{self, Known};

/// What is to be done before anything can be written.
#[derive(Debug)]
pub(super) enum Need {
    Nothing,
    /// To open the engine anew, and not before this moment.
    Reopening(Instant),
    /// To rebuild it, for this reason.
    Rebuilding(Instant, String),
}

impl Need {
    /// The moment before which there is no point in trying.
    pub(super) fn until(&self) -> Option<Instant> {
        match self {
            Self::Nothing => None,
            Self::Reopening(until) | Self::Rebuilding(until, _) => Some(*until),
        }
    }
}

impl Writer {
    /// Notes that the engine must be opened anew, after a pause that grows with each failure. The field side goes on into
    /// the inlet meanwhile, and readers go on with what there is.
    pub(super) fn trouble(&mut self, error: EngineError) {
        let first = {
            let mut state = self.shared.state();
            state.trouble.replace(error.to_string()).is_none()
        };
        if first {
            log::error!("the store cannot be written: {error}");
            self.say(Event::gateway(EventName::DiskTrouble).text("reason", error.to_string()));
        } else {
            log::debug!("the store cannot be written still: {error}");
        }
        self.unwritten();
        let damaged = self.is_damage(&error);
        let until = Instant::now() + self.backoff.failed(Instant::now());
        self.need = match std::mem::replace(&mut self.need, Need::Nothing) {
            Need::Rebuilding(_, why) => Need::Rebuilding(until, why),
            _ if damaged => Need::Rebuilding(until, error.to_string()),
            _ => Need::Reopening(until),
        };
        self.shared.written.notify_waiters();
    }

    /// Does what must be done before anything can be written.
    pub(super) fn mend(&mut self) -> Result<(), EngineError> {
        let rebuild = match &self.need {
            Need::Nothing => return Ok(()),
            Need::Reopening(_) => None,
            Need::Rebuilding(_, why) => Some(why.clone()),
        };
        self.reopen(rebuild)?;
        self.need = Need::Nothing;
        Ok(())
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

    /// Has the engine rebuilt where a reader came upon damage.
    pub(super) fn look_for_damage(&mut self) {
        let damaged = self.shared.state().damaged.take();
        if let (Some(why), Need::Nothing | Need::Reopening(_)) = (damaged, &self.need) {
            log::error!("the store is damaged ({why}) and is rebuilt from what is intact");
            self.unwritten();
            self.need = Need::Rebuilding(Instant::now(), why);
        }
    }

    /// Opens the engine anew, `rebuild` from what is intact. What the writer knows goes on where the engine holds all of
    /// it; else a new stream begins.
    fn reopen(&mut self, rebuild: Option<String>) -> Result<(), EngineError> {
        let old = self.shared.set_engine(None);
        if let Some(old) = old {
            // fjall closes with its last handle, and a second one cannot be opened before. Who reads has it for a few blocks,
            // which is no matter of a minute: a reader that hangs on the disk is a reason to end the process, too.
            while Arc::strong_count(&old) > 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
            drop(old);
        }
        let end = self.checkpoint.end;
        let behind = self.pending.last().map(Pending::end);
        let first = self.pending.first();
        let first = first.map_or(self.checkpoint.next, Pending::first);
        let known = Known {
            machine: self.machine,
            mark: Some((self.checkpoint.stream, end.saturating_sub(1))),
            failed: Some((first, behind.unwrap_or(first))),
        };
        // What is damaged is read from end to end, however long that takes: only what does not get on is stuck.
        let step = || self.shared.set_busy(true);
        let (engine, opening, loaded) =
            recovery::open(&self.place, known, rebuild, Progress::new(&step))?;
        (self.place).prune_quarantine(self.settings.max_size / QUARANTINE);
        self.shared.set_engine(Some(engine));
        // What was cut off was the batch that failed: all that was announced is there. Between its end and the batch no
        // record ever was: where a new stream has passed over numbers, and no block is left, the batch's own checkpoint may
        // say any of these.
        let is_there = Some(loaded.end) == behind;
        if opening.rebuilt.is_none() && (is_there || (end..=first).contains(&loaded.end)) {
            if is_there {
                self.accept()?;
            } else {
                self.take_back();
                if opening.cut > 0 {
                    // The checkpoint of the torn batch may be there, and speaks of records that are not.
                    let checkpoint = self.checkpoint_write(|_| ());
                    self.shared.engine()?.append(vec![checkpoint], true)?;
                }
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
        own.extend(self.shared.queue.described());
        if Some(loaded.end) == behind {
            // The batch that was reported as failed is among what was found.
            self.pending.clear();
            self.telling = Holes::default();
        } else {
            self.take_back();
        }
        // Only now: a writer that panics before the new stream is on disk must not leave its first event to the next one,
        // which begins another.
        let taken = self.take_over(loaded);
        own.append(&mut self.own);
        self.own = own;
        taken
    }

    /// The failed append had reached the disk after all; what went with the block is made sure of.
    fn accept(&mut self) -> Result<(), EngineError> {
        let mut writes = self.shared.schemas().definitions();
        writes.extend(self.notes.iter().cloned());
        writes.push(self.checkpoint_after());
        self.shared.engine()?.append(writes, true)?;
        self.committed();
        Ok(())
    }
}
