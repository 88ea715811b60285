//! What a line does while it is open, and what it tells while it is not.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use super::device::Device;
use super::error::{FieldError, Verdict};
use super::inbox::LineRequest;
use super::keeper::Keeper;
use super::modbus::client::{Client, Manner};
use super::probing::Probing;
use super::schedule::{Next, Schedule, Took};
use super::settings::LineSettings;
use super::status::{DeviceStatus, Flag, LineStatus};
use super::told::Told;
use crate::reading::{
    Body, Clock, Event, EventName, Name, Observation, Outlet, Quality, Scan, Stamp,
};

/// Why a session ended: the connection is gone.
#[derive(Debug)]
pub(super) struct SessionEnd {
    pub(super) cause: String,
}

impl SessionEnd {
    /// The end that an error means, if any.
    pub(super) fn of(error: &FieldError) -> Option<Self> {
        (error.verdict() == Verdict::Broken).then(|| Self {
            cause: error.cause(),
        })
    }
}

/// The devices of a line and what they have told.
pub(super) struct Session {
    pub(super) settings: LineSettings,
    pub(super) clock: Clock,
    outlet: Arc<dyn Outlet>,
    pub(super) status: Arc<LineStatus>,
    pub(super) devices: Vec<Device>,
    pub(super) schedule: Schedule,
    pub(super) probing: Probing,
    /// Why the line is down; `None`: it is up, or was never tried.
    down: Option<String>,
    pub(super) keeper: Keeper,
    pub(super) told: Told,
}

impl Session {
    pub(super) fn new(settings: LineSettings, clock: Clock, outlet: Arc<dyn Outlet>) -> Self {
        let devices: Vec<_> = settings
            .devices
            .iter()
            .map(|device| Device::new(&settings, device))
            .collect();
        let status = LineStatus {
            line: settings.name.clone(),
            up: Flag::default(),
            other: Default::default(),
            devices: devices
                .iter()
                .map(|device| DeviceStatus {
                    device: device.name.clone(),
                    online: Flag::default(),
                    counters: Default::default(),
                })
                .collect(),
        };
        Self {
            settings,
            clock,
            outlet,
            status: Arc::new(status),
            devices,
            schedule: Schedule::default(),
            probing: Probing::default(),
            down: None,
            keeper: Keeper::default(),
            told: Told::default(),
        }
    }

    /// Keeps what the devices teach in `folder`, and begins with what is kept there.
    pub(super) fn learn_from(&mut self, folder: &Path) {
        self.keeper = Keeper::new(folder, &self.settings.devices);
        for (index, device) in self.devices.iter_mut().enumerate() {
            device.remember(self.keeper.load(index), &self.settings.transport);
        }
    }

    pub(super) fn status(&self) -> Arc<LineStatus> {
        Arc::clone(&self.status)
    }

    /// Tells what the devices are, and of those that are switched off that they are.
    pub(super) fn introduce(&mut self) {
        let now = self.clock.now();
        for (index, device) in self.devices.iter_mut().enumerate() {
            self.outlet.put(Observation {
                stamp: now,
                body: Body::Description(Arc::clone(&device.description)),
            });
            for (number, class) in device.classes.iter_mut().enumerate() {
                if device.enabled {
                    let cost = class.cost.of_plan(&class.plan);
                    self.schedule.add((index, number), class.period, cost, now);
                } else if let Some(scan) = class.missing(Quality::Disabled, now.boot_ns) {
                    let body = Body::Scan(scan);
                    self.outlet.put(Observation { stamp: now, body });
                }
            }
        }
    }

    /// Polls over the open `client` until the connection is gone.
    pub(super) async fn run(
        &mut self,
        client: &mut Client,
        inbox: &mut mpsc::Receiver<LineRequest>,
    ) -> SessionEnd {
        self.schedule.opened(self.clock.now());
        for device in &mut self.devices {
            device.identifying.forget();
        }
        loop {
            // After each read one request has its turn, so that neither keeps the other from the line.
            if let Ok(request) = inbox.try_recv()
                && let Err(end) = self.serve(client, request).await
            {
                return end;
            }
            let now = self.clock.now();
            self.summarise_in_time(now);
            let probe = self.probing.next();
            let result = match (self.schedule.next(now), probe) {
                (_, Some((device, due))) if due <= now.boot_ns => self.probe(client, device).await,
                (Next::Now(device, class), _) => self.step(client, device, class).await,
                (next, probe) => {
                    let at = match next {
                        Next::At(at) => Some(at),
                        _ => None,
                    };
                    let at = at.into_iter().chain(probe.map(|(_, due)| due)).min();
                    match until(at, now, inbox).await {
                        Some(request) => self.serve(client, request).await,
                        None => Ok(()),
                    }
                }
            };
            if let Err(end) = result {
                return end;
            }
        }
    }

    /// Awaits `other` while the line is closed. Where it is down, scans that fall due have no values and requests are
    /// refused; where it is only being opened, they wait.
    pub(super) async fn meanwhile<T>(
        &mut self,
        inbox: &mut mpsc::Receiver<LineRequest>,
        other: impl Future<Output = T>,
    ) -> T {
        let mut other = std::pin::pin!(other);
        loop {
            let now = self.clock.now();
            let Some(cause) = self.down.clone() else {
                return other.await;
            };
            let at = match self.schedule.next(now) {
                Next::Now(device, class) => {
                    self.give_up(device, class, Quality::NoConnection);
                    continue;
                }
                Next::At(at) => Some(at),
                Next::Nothing => None,
            };
            tokio::select! {
                done = &mut other => return done,
                request = until(at, now, inbox) => if let Some(request) = request {
                    request.refuse(&cause);
                },
            }
        }
    }

    /// Notes that the line is gone: told once.
    pub(super) fn went_down(&mut self, cause: String) {
        for (index, class) in self.unfinished() {
            self.give_up(index, class, Quality::NoConnection);
        }
        if self.down.is_none() {
            let line = &self.settings.name;
            tracing::warn!("line {line} is down: {cause}");
            let event = Event::gateway(EventName::LineDown);
            self.tell(event.text("line", line.as_str()).text("cause", &cause));
        }
        self.status.up.set(false);
        self.down = Some(cause);
    }

    /// The classes whose scans are being read.
    fn unfinished(&self) -> Vec<(usize, usize)> {
        let devices = self.devices.iter().enumerate();
        let classes = devices.flat_map(|(index, device)| {
            let classes = device.classes.iter().enumerate();
            classes.filter_map(move |(number, class)| class.pass.as_ref().map(|_| (index, number)))
        });
        classes.collect()
    }

    /// Notes that the line carried a request without breaking.
    pub(super) fn came_up(&mut self, now: Stamp) {
        self.status.up.set(true);
        if self.down.take().is_none() {
            return;
        }
        let line = self.settings.name.clone();
        tracing::info!("line {line} is up again");
        self.tell(Event::gateway(EventName::LineUp).text("line", line.as_str()));
        for (index, device) in self.devices.iter_mut().enumerate() {
            device.forget_reports();
            self.schedule.at_once(index, now);
        }
    }

    async fn serve(&mut self, client: &mut Client, request: LineRequest) -> Result<(), SessionEnd> {
        let (request, answer) = match request {
            LineRequest::Read { request, answer } => (request, answer),
            LineRequest::TryAgain { device, answer } => {
                let _ = answer.send(self.try_again(&device));
                return Ok(());
            }
        };
        let of_unit = |device: &&super::settings::DeviceSettings| device.unit == request.unit();
        let name = self.settings.devices.iter().find(of_unit).map(|d| &d.name);
        let device = self
            .devices
            .iter()
            .find(|device| Some(&device.name) == name);
        let manner = device.map_or(
            Manner {
                timeout: self.settings.timeout,
                retries: self.settings.retries,
                delay: Duration::ZERO,
                lenient: false,
                offline: true,
            },
            |device| device.manner,
        );
        let result = client.read(request, &manner, &self.status.other).await;
        let end = result.as_ref().err().and_then(SessionEnd::of);
        let _ = answer.send(result);
        end.map_or(Ok(()), Err)
    }

    /// Forgets what was learned of a device; `false`: there is no such device.
    fn try_again(&mut self, name: &Name) -> bool {
        let mut devices = self.devices.iter_mut();
        let device = devices.find(|device| device.name == *name);
        let found = device.map(|device| device.lessons.forget()).is_some();
        tracing::info!("device {name}: what it has refused is tried again");
        found
    }

    pub(super) fn put_missing(&mut self, index: usize, class: usize, quality: Quality) {
        let now = self.clock.now();
        if let Some(device) = self.devices.get_mut(index)
            && let Some(class) = device.classes.get_mut(class)
            && let Some(scan) = class.missing(quality, now.boot_ns)
        {
            self.put(now, scan);
        }
        self.schedule.served(index, class, Took::Nothing, now);
        self.tell_overload();
    }

    pub(super) fn put(&self, stamp: Stamp, scan: Scan) {
        let body = Body::Scan(scan);
        self.outlet.put(Observation { stamp, body });
    }

    pub(super) fn tell(&self, event: Event) {
        self.outlet.put(Observation {
            stamp: self.clock.now(),
            body: Body::Event(event),
        });
    }
}

/// Waits for `at` (`boot_ns`) or a request; for ever where there is neither.
async fn until(
    at: Option<u64>,
    now: Stamp,
    inbox: &mut mpsc::Receiver<LineRequest>,
) -> Option<LineRequest> {
    let sleep = async {
        match at {
            Some(at) => {
                tokio::time::sleep(Duration::from_nanos(at.saturating_sub(now.boot_ns))).await;
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = sleep => None,
        // Nobody left who could ask: only the schedule counts.
        request = inbox.recv(), if !inbox.is_closed() || !inbox.is_empty() => request,
    }
}
