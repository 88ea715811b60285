//! One line, one task: open, run a session, wait, again.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::inbox::LineRequest;
use super::modbus::client::Client;
use super::modbus::wire::{Bus, Opener, opener};
use super::session::Session;
use super::settings::LineSettings;
use super::status::LineStatus;
use crate::reading::{Clock, Outlet};
use crate::support::backoff::Backoff;

/// The owner of a line: polls its devices until it is cancelled.
pub struct LineTask {
    session: Session,
    client: Client,
    inbox: mpsc::Receiver<LineRequest>,
    cancel: CancellationToken,
}

/// First and longest wait before a line is opened again. A plug that is put back, or a controller that has started,
/// is found within the longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl LineTask {
    /// The task of the line `settings`.
    pub fn new(
        settings: LineSettings,
        clock: Clock,
        outlet: Arc<dyn Outlet>,
        inbox: mpsc::Receiver<LineRequest>,
        cancel: CancellationToken,
    ) -> Self {
        let opener = opener(&settings.transport);
        Self::over(opener, settings, clock, outlet, inbox, cancel)
    }

    /// The same over anything that carries bytes; framing and silences are those of `settings.transport`.
    pub fn over(
        opener: Opener,
        settings: LineSettings,
        clock: Clock,
        outlet: Arc<dyn Outlet>,
        inbox: mpsc::Receiver<LineRequest>,
        cancel: CancellationToken,
    ) -> Self {
        let pauses = settings
            .devices
            .iter()
            .map(|d| d.map.quirks.pause_after_connect);
        let pause = pauses.max().unwrap_or_default();
        Self {
            client: Client::new(opener, Bus::of(&settings.transport), pause),
            session: Session::new(settings, clock, outlet),
            inbox,
            cancel,
        }
    }

    /// Keeps what its devices teach in `folder`, a file each, and begins with what is kept there.
    pub fn learning_in(mut self, folder: &Path) -> Self {
        self.session.learn_from(folder);
        self
    }

    /// What the line does, for whoever shows it.
    pub fn status(&self) -> Arc<LineStatus> {
        self.session.status()
    }

    /// Polls until cancelled. Nothing in the field ends it.
    pub async fn run(mut self) {
        let cancel = self.cancel.clone();
        tokio::select! {
            // A request that is out is dropped: the order to stop must not wait for a dead device.
            () = cancel.cancelled() => {}
            () = self.poll() => {}
        }
        self.session.sum_up();
    }

    async fn poll(&mut self) {
        let (session, client, inbox) = (&mut self.session, &mut self.client, &mut self.inbox);
        let mut backoff = Backoff::new(BACKOFF.0, BACKOFF.1);
        session.introduce();
        loop {
            match session.meanwhile(inbox, client.open()).await {
                Ok(()) => {
                    backoff.connected(Instant::now());
                    let end = session.run(client, inbox).await;
                    session.went_down(end.cause);
                }
                Err(error) => session.went_down(error.cause()),
            }
            // Before the wait: the port must be free when the adapter is plugged in again.
            client.close();
            let wait = backoff.failed(Instant::now());
            session.meanwhile(inbox, tokio::time::sleep(wait)).await;
        }
    }
}

impl std::fmt::Debug for LineTask {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineTask")
            .field("status", &self.session.status())
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
