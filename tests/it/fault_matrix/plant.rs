//! The other end of the path: a device that is polled into a real store, whatever happens at the broker.

use std::sync::Arc;
use std::time::Duration;

use forebay::field::LineTask;
use forebay::field::inbox::INBOX;
use forebay::forward::settings::ForwarderSettings;
use forebay::reading::Catalogue;
use forebay::simulator::device::SimulatedDevice;
use forebay::store::engine::MemoryEngine;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::field::rig;
use crate::forward::memory::{Forwarder, description, scan, schema};
use crate::forward::opened::Opened;

/// Between two polls.
const EVERY: Duration = Duration::from_millis(50);

/// A device, the line that polls it, and the store that it is polled into.
pub(super) struct Plant {
    opened: Opened,
    device: SimulatedDevice,
    cancel: CancellationToken,
    tasks: JoinSet<()>,
    _server: JoinSet<std::io::Result<()>>,
}

/// How often the device had been asked, and when.
pub(super) struct Polls(u64, Instant);

impl Plant {
    pub(super) async fn start() -> Self {
        let opened = Opened::new(&MemoryEngine::default());
        let device = rig::device(1, 1);
        let (port, server) = rig::serve(0, vec![device.clone()]).await;
        let polled = rig::device_settings(1, rig::alone([0]), EVERY);
        let line = rig::line(rig::tcp(port), Duration::from_secs(10), vec![polled]);
        let cancel = CancellationToken::new();
        // Nobody asks for anything beside the polls.
        let (_, inbox) = mpsc::channel(INBOX);
        let outlet = Arc::new(opened.inlet.clone());
        let line = LineTask::new(line, opened.clock.clone(), outlet, inbox, cancel.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(line.run());
        Self {
            opened,
            device,
            cancel,
            tasks,
            _server: server,
        }
    }

    pub(super) fn forwarder(&self, settings: ForwarderSettings) -> Forwarder {
        let catalogue = Catalogue::new([description("meter-3", 1)]);
        self.opened.forwarder(settings, catalogue)
    }

    /// Commits so many scans at once beside those that are polled: more than a window has room for.
    pub(super) async fn add_scans(&self, count: u64) {
        let schema = schema("meter-3");
        (0..count).for_each(|n| self.opened.put(scan(&schema, n as f64)));
        self.opened.store.flushed().await;
    }

    /// The number of the last record.
    pub(super) fn last(&self) -> u64 {
        *self.opened.store.head().borrow()
    }

    /// Waits until all that is committed by now is confirmed.
    pub(super) async fn drained(&self, forwarder: &mut Forwarder) {
        let last = self.last();
        let drained = forwarder.wait_for(|status| status.oldest_unconfirmed > last);
        drained.await;
    }

    /// Polls no longer; all that was read is committed.
    pub(super) async fn stop(&mut self) {
        self.cancel.cancel();
        while self.tasks.join_next().await.is_some() {}
        self.opened.store.flushed().await;
    }

    pub(super) fn dead_letters(&self) -> usize {
        self.opened.store.dead_letters().unwrap().len()
    }

    pub(super) fn polls(&self) -> Polls {
        Polls(self.device.requests(), Instant::now())
    }

    /// Asserts that polling went on since then. A loaded machine costs some polls; an upstream that holds up the field
    /// side costs all of them.
    pub(super) fn assert_polled_since(&self, Polls(before, since): &Polls) {
        let polls = self.device.requests() - before;
        let elapsed = since.elapsed();
        let due = elapsed.as_millis() / EVERY.as_millis();
        assert!(
            u128::from(polls) + 5 >= due / 2,
            "{polls} polls in {elapsed:?}, {due} were due"
        );
    }
}
