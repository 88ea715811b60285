//! Opens the store, keeps its writer on a thread of its own, closes it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::supervise::panic_text;
use crate::config::Config;
use crate::forward::settings::ForwarderSettings;
use crate::reading::{Clock, Name};
use crate::store::settings::{Start, StoreSettings};
use crate::store::{Inlet, Store, StoreError, Writer};
use crate::support::backoff::Backoff;

/// Pauses between attempts to open a store that the disk does not give.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How often it is looked whether the writer gets on.
const LOOK: Duration = Duration::from_secs(5);

/// What opens the store once; [`crate::store::open`] but in tests.
pub type Opener =
    Arc<dyn Fn(&StoreSettings, Clock, &Inlet) -> Result<(Store, Writer), StoreError> + Send + Sync>;

/// How it is that the writer of an open store works no more.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It panicked, for this reason.
    Panicked(String),
    /// It hangs, for so long.
    Stalled(Duration),
}

/// Opens the store until it succeeds.
pub(super) struct Storekeeper {
    settings: StoreSettings,
    upstreams: Vec<(Name, Start)>,
    clock: Clock,
    inlet: Inlet,
    opener: Opener,
}

/// A store with its writer at work.
pub(super) struct OpenStore {
    pub(super) store: Store,
    ended: oneshot::Receiver<String>,
}

impl Storekeeper {
    pub(super) fn new(config: &Config, clock: Clock, inlet: Inlet, opener: Opener) -> Self {
        let begins = |upstream: &ForwarderSettings| (upstream.name.clone(), upstream.start);
        Self {
            settings: config.store.clone(),
            upstreams: config.upstreams.iter().map(begins).collect(),
            clock,
            inlet,
            opener,
        }
    }

    /// Opens the store, however long the disk takes to come back; told once when it fails, once when it succeeds.
    ///
    /// # Errors
    /// Only what no waiting mends: the directory is another process's or a later version's.
    pub(super) async fn open(&self) -> Result<OpenStore, StoreError> {
        let mut backoff = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut told = false;
        loop {
            match self.attempt().await {
                Ok(open) => {
                    if told {
                        tracing::info!("store {}: opened", self.settings.dir.display());
                    }
                    return Ok(open);
                }
                Err(error @ (StoreError::InUse(..) | StoreError::Newer(..))) => return Err(error),
                Err(error) if told => tracing::debug!("store: {error}"),
                Err(error) => {
                    told = true;
                    tracing::error!("{error}; tried again until it opens");
                }
            }
            tokio::time::sleep(backoff.failed(Instant::now())).await;
        }
    }

    async fn attempt(&self) -> Result<OpenStore, StoreError> {
        let (settings, clock, inlet) = (
            self.settings.clone(),
            self.clock.clone(),
            self.inlet.clone(),
        );
        let opener = Arc::clone(&self.opener);
        // Recovery reads files: not on a thread that polls.
        let opening = tokio::task::spawn_blocking(move || opener(&settings, clock, &inlet));
        let dir = &self.settings.dir;
        let failed = |error| StoreError::Disk(dir.clone(), error);
        let (store, writer) = opening
            .await
            .map_err(|panic| failed(std::io::Error::other(panic)))??;
        // Before the first commit, so that an upstream of a new store misses nothing of it, wherever it begins.
        for (upstream, start) in &self.upstreams {
            store.register(upstream, *start);
        }
        let (tell, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        let work = move || {
            let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| writer.run()));
            let reason = end.err().map(|panic| panic_text(panic.as_ref()));
            drop(tell.send(reason.unwrap_or_else(|| "stopped".to_owned())));
        };
        thread.spawn(work).map_err(failed)?;
        Ok(OpenStore { store, ended })
    }
}

impl OpenStore {
    /// Waits until the writer has ended by itself, or has been at one piece of work for `limit`.
    pub(super) async fn ended(&mut self, limit: Duration) -> Ended {
        let store = self.store.clone();
        let mut looks = tokio::time::interval(LOOK.min(limit));
        loop {
            tokio::select! {
                reason = self.writer_ended() => return Ended::Panicked(reason),
                _ = looks.tick() => {
                    let stalled = store.stalled_for();
                    if stalled >= limit {
                        return Ended::Stalled(stalled);
                    }
                }
            }
        }
    }

    /// Waits until the writer has ended; why.
    async fn writer_ended(&mut self) -> String {
        (&mut self.ended)
            .await
            .unwrap_or_else(|_| "the writer's thread ended".to_owned())
    }

    /// Has the writer commit the rest, write the cursors and end, within `bound`.
    pub(super) async fn close(mut self, bound: Duration) {
        self.store.stop();
        if tokio::time::timeout(bound, self.writer_ended())
            .await
            .is_err()
        {
            tracing::error!("store: the disk did not take the last commit within {bound:?}");
        }
    }
}
