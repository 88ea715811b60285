//! Builds the tasks from a configuration and stops them in order; the only place that spawns.

mod clock_watch;
mod fleet;
mod storekeeper;
mod supervise;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::clock_watch::ClockWatch;
use self::fleet::Fleet;
pub use self::storekeeper::Opener;
use self::storekeeper::{Ended, OpenStore, Storekeeper};
use self::supervise::Place;
use crate::config::Config;
use crate::field::inbox::INBOX;
use crate::field::settings::{LineSettings, Transport};
use crate::field::{LineRequest, LineTask};
use crate::forward::ForwarderTask;
use crate::forward::settings::ForwarderSettings;
use crate::health::systemd;
use crate::reading::{Body, Catalogue, Clock, Event, EventName, Name, Observation, Outlet};
use crate::store::{self, Inlet, Store, StoreError, StoreStatus};
use crate::support::backoff::Backoff;

/// How long lines may take to end: a request that is out waits for its answer or timeout no longer.
const LINES_STOP: Duration = Duration::from_secs(2);
/// How long the last records may take to reach brokers that are connected.
const LAST_FLUSH: Duration = Duration::from_secs(3);
/// How long forwarders may take to say goodbye to their brokers.
const FORWARDERS_STOP: Duration = Duration::from_secs(2);
/// How long the last commit may take; a disk that is slower than this is stuck.
const STORE_STOP: Duration = Duration::from_secs(10);
/// How often it is looked whether the brokers have confirmed the last records.
const DRAIN_LOOK: Duration = Duration::from_millis(20);
/// How often the service manager is told how things stand, at least.
const STATUS_PERIOD: Duration = Duration::from_secs(30);
/// A writer that has been at one piece of work for so long is stuck: the process ends, and is started anew.
const STALLED: Duration = Duration::from_secs(60);
/// Pauses before a store whose writer panicked is opened anew: as for any other task.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A runtime for the gateway: two threads, as one of them may be held up by encoding a burst.
///
/// # Errors
/// When the system gives no threads or no event queue.
pub fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .enable_all()
        .build()
}

/// The lines, the store and the forwarders of one configuration.
pub struct Gateway {
    config: Config,
    clock: Clock,
    inlet: Inlet,
    lines: Fleet<LineSettings>,
    inboxes: Inboxes,
    forwarders: Fleet<ForwarderSettings>,
    catalogue: watch::Sender<Catalogue>,
    store: watch::Sender<Option<Store>>,
    opener: Opener,
    /// How long the store's writer may be at one piece of work.
    patience: Duration,
}

/// Where each line takes requests.
type Inboxes = Arc<Mutex<BTreeMap<Name, mpsc::Sender<LineRequest>>>>;

/// Why a gateway cannot run. Bad devices and brokers, and a disk that answers, are no such reason.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// The store's directory belongs to another process or to a later version.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// The store's writer hangs for so long. Nothing ends a thread that hangs but the end of its process.
    #[error("the store's writer has not got on for {0:.0?}: the process ends, to be started anew")]
    Stalled(Duration),
}

impl Gateway {
    /// A gateway that does nothing yet.
    pub fn new(config: Config, clock: Clock) -> Self {
        let inlet = Inlet::new(clock.clone());
        Self {
            config,
            clock,
            inlet,
            lines: Fleet::new(),
            inboxes: Inboxes::default(),
            forwarders: Fleet::new(),
            catalogue: watch::Sender::default(),
            store: watch::Sender::default(),
            opener: Arc::new(store::open),
            patience: STALLED,
        }
    }

    /// Has the store opened by `opener`, and its writer taken for stuck after `patience` instead of a minute; for tests,
    /// with an engine that fails on order.
    pub fn with_store(mut self, opener: Opener, patience: Duration) -> Self {
        self.opener = opener;
        self.patience = patience;
        self
    }

    /// The store, once it is open.
    pub fn store(&self) -> watch::Receiver<Option<Store>> {
        self.store.subscribe()
    }

    /// Polls, stores and forwards until `stop` is cancelled, then stops in order: field, commit, a last flush to the
    /// brokers, cursors.
    ///
    /// # Errors
    /// [`GatewayError`] when the store cannot be had and waiting would not mend it, or its writer hangs.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), GatewayError> {
        let _clock_watch = self.watch_clock().drop_guard();
        // Lines first: a slow disk must not cost readings, they wait in the inlet.
        self.apply_lines().await;
        systemd::ready();
        let keeper = Storekeeper::new(
            &self.config,
            self.clock.clone(),
            self.inlet.clone(),
            Arc::clone(&self.opener),
        );
        let mut open = None;
        let mut restarts = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE);
        while let Some(opened) = stop.run_until_cancelled(alive_while(keeper.open())).await {
            let opened = open.insert(opened?);
            restarts.connected(Instant::now());
            self.store.send_replace(Some(opened.store.clone()));
            self.apply_forwarders(&opened.store).await;
            match stop.run_until_cancelled(self.attend(opened)).await {
                None => break,
                Some(Ended::Stalled(time)) => return Err(GatewayError::Stalled(time)),
                Some(Ended::Panicked(reason)) => self.tell_restart(&reason),
            }
            // The writer is gone, and forwarders hold the old store: all of it is built anew.
            self.forwarders.stop(FORWARDERS_STOP).await;
            self.store.send_replace(None);
            open = None;
            let pause = tokio::time::sleep(restarts.failed(Instant::now()));
            stop.run_until_cancelled(alive_while(pause)).await;
        }
        systemd::stopping();
        self.finish(open).await;
        Ok(())
    }

    /// Returns when the writer has ended by itself, which it never does unless it panicked, or hangs.
    async fn attend(&self, open: &mut OpenStore) -> Ended {
        let mut ticks = signs_of_life();
        let store = open.store.clone();
        let mut ended = std::pin::pin!(open.ended(self.patience));
        loop {
            tokio::select! {
                ended = &mut ended => return ended,
                _ = ticks.tick() => self.report(&store),
            }
        }
    }

    fn tell_restart(&self, reason: &str) {
        tracing::error!("store: internal error, it is opened anew: {reason}");
        self.tell(
            Event::gateway(EventName::TaskRestarted)
                .text("task", "store")
                .text("reason", reason),
        );
    }

    /// Tells the service manager how things stand, and that the gateway lives: with a writer that is stuck it does not
    /// for long.
    fn report(&self, store: &Store) {
        let status = store.status();
        let backlog = self.backlog(&status);
        let (lines, upstreams) = (self.config.lines.len(), self.config.upstreams.len());
        let trouble = status
            .trouble
            .map(|reason| format!(", disk: {reason}"))
            .unwrap_or_default();
        systemd::status(&format!(
            "{lines} lines, {upstreams} upstreams, {} records, backlog {backlog}{trouble}",
            status.last
        ));
        systemd::watchdog();
    }

    /// Starts the task that watches the wall clock; what is returned stops it.
    fn watch_clock(&self) -> CancellationToken {
        let stop = CancellationToken::new();
        let (clock, outlet, store) = (self.clock.clone(), self.inlet.clone(), self.store.clone());
        let (tell, ended) = ((clock.clone(), outlet.clone()), stop.clone());
        let make = move || {
            let watch = ClockWatch::new(clock.clone(), outlet.clone(), store.subscribe());
            let ended = ended.clone();
            async move {
                ended
                    .run_until_cancelled(watch.run())
                    .await
                    .unwrap_or_default()
            }
        };
        let title = "clock watch".to_owned();
        drop(supervise::spawn(
            title,
            Place::Runtime,
            tell,
            stop.clone(),
            make,
        ));
        stop
    }

    async fn apply_lines(&mut self) {
        let wanted: BTreeMap<_, _> = self
            .config
            .lines
            .iter()
            .map(|line| (line.name.clone(), line.clone()))
            .collect();
        let devices = self.config.lines.iter().flat_map(|line| &line.devices);
        self.catalogue.send_replace(Catalogue::new(
            devices.map(|device| device.description.clone()),
        ));
        let (clock, inlet, inboxes) = (&self.clock, &self.inlet, &self.inboxes);
        let learned = self.config.gateway.learned();
        let start =
            |line: &LineSettings, stop| start_line(line, (&learned, clock), inlet, inboxes, stop);
        self.lines.apply(wanted, LINES_STOP, start).await;
        lock(inboxes).retain(|name, _| self.config.lines.iter().any(|line| line.name == *name));
    }

    async fn apply_forwarders(&mut self, store: &Store) {
        let wanted: BTreeMap<_, _> = self
            .config
            .upstreams
            .iter()
            .map(|upstream| (upstream.name.clone(), upstream.clone()))
            .collect();
        let (clock, inlet, catalogue) = (&self.clock, &self.inlet, &self.catalogue);
        let start = |settings: &ForwarderSettings, stop: CancellationToken| {
            let (settings, store, catalogue) =
                (settings.clone(), store.clone(), catalogue.subscribe());
            let (outlet, task_clock, task_stop) = (inlet.clone(), clock.clone(), stop.clone());
            let title = format!("upstream {}", settings.name);
            let make = move || {
                ForwarderTask::new(
                    settings.clone(),
                    store.clone(),
                    catalogue.clone(),
                    Arc::new(outlet.clone()),
                    task_clock.clone(),
                    task_stop.clone(),
                )
                .run()
            };
            supervise::spawn(
                title,
                Place::Runtime,
                (clock.clone(), inlet.clone()),
                stop,
                make,
            )
        };
        self.forwarders.apply(wanted, FORWARDERS_STOP, start).await;
    }

    /// The largest backlog of a configured upstream. One that was removed from the configuration keeps its cursor, but
    /// nobody waits for it.
    fn backlog(&self, status: &StoreStatus) -> u64 {
        let configured = |name: &Name| {
            self.config
                .upstreams
                .iter()
                .any(|upstream| upstream.name == *name)
        };
        let backlogs = status.backlogs.iter().filter(|(name, _)| configured(name));
        backlogs.map(|(_, records)| *records).max().unwrap_or(0)
    }

    /// Waits until all that was put is committed, and every upstream has confirmed all of it.
    async fn drained(&self, store: &Store) {
        store.flushed().await;
        let mut looks = tokio::time::interval(DRAIN_LOOK);
        while self.backlog(&store.status()) > 0 {
            looks.tick().await;
        }
    }

    fn tell(&self, event: Event) {
        self.inlet.put(Observation {
            stamp: self.clock.now(),
            body: Body::Event(event),
        });
    }

    async fn finish(mut self, open: Option<OpenStore>) {
        self.lines.stop(LINES_STOP).await;
        self.tell(Event::gateway(EventName::GatewayStopping));
        let Some(open) = open else { return };
        if tokio::time::timeout(LAST_FLUSH, self.drained(&open.store))
            .await
            .is_err()
        {
            tracing::info!("stopping with a backlog, which is sent after the next start");
        }
        self.forwarders.stop(FORWARDERS_STOP).await;
        open.close(STORE_STOP).await;
    }
}

/// When the service manager is to be told that the gateway lives.
fn signs_of_life() -> tokio::time::Interval {
    let period = systemd::watchdog_interval().unwrap_or(STATUS_PERIOD);
    tokio::time::interval(period.min(STATUS_PERIOD))
}

/// Runs `work`, and tells the service manager meanwhile that the gateway lives: a disk that is away, or a long
/// recovery, is no reason to stop polling.
async fn alive_while<T>(work: impl Future<Output = T>) -> T {
    let mut ticks = signs_of_life();
    let mut work = std::pin::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {
                systemd::status("polling; the store is not open yet");
                systemd::watchdog();
            }
        }
    }
}

fn start_line(
    line: &LineSettings,
    (learned, clock): (&Path, &Clock),
    inlet: &Inlet,
    inboxes: &Inboxes,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let place = match line.transport {
        Transport::ModbusTcp { .. } | Transport::ModbusRtuOverTcp { .. } => Place::Runtime,
        Transport::ModbusRtu(_) => Place::OwnThread,
    };
    let (line, inboxes) = (line.clone(), inboxes.clone());
    let (outlet, task_clock, task_stop) = (inlet.clone(), clock.clone(), stop.clone());
    let learned = learned.to_owned();
    let title = format!("line {}", line.name);
    let make = move || {
        let (sender, inbox) = mpsc::channel(INBOX);
        lock(&inboxes).insert(line.name.clone(), sender);
        LineTask::new(
            line.clone(),
            task_clock.clone(),
            Arc::new(outlet.clone()),
            inbox,
            task_stop.clone(),
        )
        .learning_in(&learned)
        .run()
    };
    supervise::spawn(title, place, (clock.clone(), inlet.clone()), stop, make)
}

fn lock(inboxes: &Inboxes) -> std::sync::MutexGuard<'_, BTreeMap<Name, mpsc::Sender<LineRequest>>> {
    inboxes.lock().unwrap_or_else(PoisonError::into_inner)
}
