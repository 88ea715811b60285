//! The clock, injected into every task so that tests can set it.

use std::sync::{Arc, Mutex, PoisonError};

use super::{BootId, Stamp};

/// Where the time comes from.
pub trait ClockSource: Send + Sync {
    /// The present moment.
    fn now(&self) -> Stamp;

    /// The present moment, where it matters that the clock was synchronised or not just then: [`Self::now`] may know it from a
    /// moment ago.
    fn now_for_sure(&self) -> Stamp {
        self.now()
    }
}

/// A handle on the clock; cheap to clone.
#[derive(Clone)]
pub struct Clock(Arc<dyn ClockSource>);

impl Clock {
    /// A clock of the given source.
    pub fn new(source: impl ClockSource + 'static) -> Self {
        Self(Arc::new(source))
    }

    /// The present moment.
    pub fn now(&self) -> Stamp {
        self.0.now()
    }

    /// [`ClockSource::now_for_sure`]; slower.
    pub fn now_for_sure(&self) -> Stamp {
        self.0.now_for_sure()
    }
}

/// A clock that stands still until it is moved; for tests.
#[derive(Clone, Default)]
pub struct ManualClock(Arc<Mutex<Stamp>>);

impl ManualClock {
    /// A clock that shows `wall_ns` since 1970 and `boot_ns` since boot, synchronised.
    pub fn at(wall_ns: i64, boot_ns: u64) -> Self {
        Self(Arc::new(Mutex::new(Stamp {
            wall_ns,
            boot_ns,
            boot: BootId(1),
            synced: true,
        })))
    }

    /// Lets `ns` nanoseconds pass on both clocks.
    pub fn advance(&self, ns: u64) {
        let mut stamp = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        stamp.wall_ns = stamp.wall_ns.saturating_add_unsigned(ns);
        stamp.boot_ns = stamp.boot_ns.saturating_add(ns);
    }

    /// Changes the shown moment at will: a step, another boot, a lost synchronisation.
    pub fn set(&self, change: impl FnOnce(&mut Stamp)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

impl ClockSource for ManualClock {
    fn now(&self) -> Stamp {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
