//! A real store, its values in memory.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use forebay::forward::settings::ForwarderSettings;
use forebay::reading::{Body, Catalogue, Clock, Observation, Outlet, SystemClock};
use forebay::store::engine::MemoryEngine;
use forebay::store::settings::{StoreSettings, WhenFull};
use forebay::store::{Inlet, Store, open_on};

use super::memory::Forwarder;

/// An open store and its writer.
pub(crate) struct Opened {
    pub(crate) store: Store,
    pub(crate) inlet: Inlet,
    pub(crate) clock: Clock,
    writer: Option<JoinHandle<()>>,
}

impl Opened {
    pub(crate) fn new(memory: &MemoryEngine) -> Self {
        let clock = Clock::new(SystemClock::new());
        let inlet = Inlet::new(clock.clone());
        let settings = StoreSettings {
            dir: PathBuf::new(),
            max_size: StoreSettings::LEAST_SIZE,
            max_age: None,
            keep_free: None,
            when_full: WhenFull::DropOldest,
            commit_window: Duration::from_millis(1),
        };
        let (store, writer) = open_on(memory.clone(), &settings, clock.clone(), &inlet).unwrap();
        let writer = Some(std::thread::spawn(move || writer.run()));
        Self {
            store,
            inlet,
            clock,
            writer,
        }
    }

    /// Takes a body of now.
    pub(crate) fn put(&self, body: Body) {
        let stamp = self.clock.now();
        self.inlet.put(Observation { stamp, body });
    }

    /// A forwarder on it, as if it belonged to a gateway with these devices.
    pub(crate) fn forwarder(&self, settings: ForwarderSettings, catalogue: Catalogue) -> Forwarder {
        let outlet = Arc::new(self.inlet.clone());
        Forwarder::run(settings, self.store.clone(), catalogue, outlet)
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.store.stop();
        self.writer.take().unwrap().join().unwrap();
    }
}
