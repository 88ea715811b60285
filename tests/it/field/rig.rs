//! A line under test: simulated devices whose every register tells its address, and a judge of what comes out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forebay::field::inbox::INBOX;
use forebay::field::modbus::map::{DeviceMap, Point, Quirks, RawType, Table};
use forebay::field::modbus::wire::{Opener, Wire};
use forebay::field::settings::{
    BusSettings, DeviceSettings, LineSettings, Parity, SerialSettings, Transport,
};
use forebay::field::{LineRequest, LineTask};
use forebay::reading::{
    Body, BootId, Clock, ClockSource, Description, EventName, MapHash, Name, Observation, Outlet,
    Quality, Scan, Stamp, SystemClock, Value,
};
use forebay::simulator::device::{SimulatedDevice, serve_mbap, serve_rtu, serve_tcp};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What an outlet has got, and a signal that there is more.
pub(super) struct Outbox {
    seen: Mutex<Vec<Observation>>,
    count: watch::Sender<usize>,
}

impl Outbox {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            seen: Mutex::default(),
            count: watch::Sender::new(0),
        })
    }

    pub(super) fn all(&self) -> Vec<Observation> {
        self.seen.lock().unwrap().clone()
    }

    pub(super) fn scans_of(&self, device: &str) -> Vec<(Stamp, Scan)> {
        let all = self.all().into_iter();
        all.filter_map(|observation| match observation.body {
            Body::Scan(scan) if scan.schema.device.as_str() == device => {
                Some((observation.stamp, scan))
            }
            _ => None,
        })
        .collect()
    }

    pub(super) fn events(&self) -> Vec<EventName> {
        let all = self.all().into_iter();
        all.filter_map(|observation| match observation.body {
            Body::Event(event) => Some(event.name),
            _ => None,
        })
        .collect()
    }

    /// Waits until `condition` holds of what came from now on (the index of the first new one is given).
    pub(super) async fn wait<T>(
        &self,
        from: usize,
        condition: impl Fn(&[Observation]) -> Option<T>,
    ) -> T {
        let mut count = self.count.subscribe();
        let waiting = async {
            loop {
                count.borrow_and_update();
                if let Some(found) = condition(self.all().get(from..).unwrap_or_default()) {
                    return found;
                }
                count.changed().await.unwrap();
            }
        };
        // Beyond the longest wait between two probes.
        tokio::time::timeout(Duration::from_secs(90), waiting)
            .await
            .unwrap_or_else(|_| {
                panic!(
                    "not in 90 s; last: {:#?}",
                    self.all().iter().rev().take(3).collect::<Vec<_>>()
                )
            })
    }

    /// Waits for a scan of `device` in which all readings have `quality`.
    pub(super) async fn wait_for(&self, device: &str, quality: Quality) {
        let from = self.len();
        self.wait(from, |seen| {
            let mut scans = seen.iter().filter_map(|o| match &o.body {
                Body::Scan(scan) if scan.schema.device.as_str() == device => Some(scan),
                _ => None,
            });
            let all = |scan: &Scan| {
                scan.readings
                    .iter()
                    .flatten()
                    .all(|r| r.quality() == quality)
            };
            scans.any(all).then_some(())
        })
        .await;
    }

    pub(super) fn len(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

impl Outlet for Outbox {
    fn put(&self, observation: Observation) {
        self.seen.lock().unwrap().push(observation);
        self.count.send_modify(|count| *count += 1);
    }
}

/// A clock that goes with the runtime's, also where that is paused.
struct RuntimeClock(tokio::time::Instant);

impl ClockSource for RuntimeClock {
    fn now(&self) -> Stamp {
        let elapsed = u64::try_from(self.0.elapsed().as_nanos()).unwrap();
        Stamp {
            wall_ns: 1_700_000_000_000_000_000 + i64::try_from(elapsed).unwrap(),
            boot_ns: elapsed,
            boot: BootId(1),
            synced: true,
        }
    }
}

pub(super) fn runtime_clock() -> Clock {
    Clock::new(RuntimeClock(tokio::time::Instant::now()))
}

/// The full count of a heavy test, or the share that every change pays for.
pub(super) fn share(long: u64, ci: u64) -> u64 {
    let is_long = std::env::var_os("FOREBAY_LONG").is_some();
    if is_long { long } else { ci }
}

/// What each register holds that has not been set to anything else.
pub(super) fn word_at(unit: u8, address: u16) -> u16 {
    address.wrapping_mul(31).wrapping_add(u16::from(unit) << 11) | 1
}

/// A device with `registers` holding registers from 0, and the same as input registers.
pub(crate) fn device(unit: u8, registers: u16) -> SimulatedDevice {
    let device = SimulatedDevice::new(unit);
    let words: Vec<u16> = (0..registers)
        .map(|address| word_at(unit, address))
        .collect();
    device.set(Table::HoldingRegister, 0, &words);
    device.set(Table::InputRegister, 0, &words);
    device
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A point `pADDRESS` of one holding register.
pub(super) fn point(address: u16) -> Point {
    let own = name(&format!("p{address}"));
    let place = (Table::HoldingRegister, address);
    Point::plain(own, name("default"), place, RawType::U16)
}

/// A map of one-register points, each in a request of its own.
pub(crate) fn alone(addresses: impl IntoIterator<Item = u16>) -> DeviceMap {
    DeviceMap {
        points: addresses.into_iter().map(point).collect(),
        quirks: Quirks {
            alone: true,
            ..Quirks::default()
        },
        ..DeviceMap::default()
    }
}

pub(crate) fn device_settings(unit: u8, map: DeviceMap, every: Duration) -> DeviceSettings {
    let device = name(&format!("d{unit}"));
    let classes: BTreeMap<_, _> = map
        .points
        .iter()
        .map(|point| (point.scan.clone(), Some(every)))
        .collect();
    DeviceSettings {
        unit,
        description: Arc::new(Description {
            device: device.clone(),
            line: name("line"),
            map: MapHash(7),
            title: None,
            labels: Vec::new(),
            points: Vec::new(),
        }),
        name: device,
        map: Arc::new(map),
        scans: classes,
        timeout: None,
        retries: None,
        delay: Duration::ZERO,
        enabled: true,
    }
}

pub(crate) fn line(
    transport: Transport,
    timeout: Duration,
    devices: Vec<DeviceSettings>,
) -> LineSettings {
    LineSettings {
        name: name("line"),
        transport,
        timeout,
        retries: 1,
        devices,
    }
}

pub(crate) fn tcp(port: u16) -> Transport {
    Transport::ModbusTcp {
        host: "127.0.0.1".into(),
        port,
    }
}

/// A bus that is too fast to matter.
const BUS: BusSettings = BusSettings {
    baud_rate: 115_200,
    data_bits: 8,
    parity: Parity::None,
    stop_bits: 1,
    turnaround: Duration::ZERO,
};

pub(super) fn rtu(port: &std::path::Path) -> Transport {
    let port = port.into();
    Transport::ModbusRtu(SerialSettings {
        port,
        bus: BUS,
        rs485: None,
    })
}

pub(super) fn rtu_over_tcp(port: u16) -> Transport {
    Transport::ModbusRtuOverTcp {
        host: "127.0.0.1".into(),
        port,
        bus: BUS,
    }
}

/// A line in memory that ends at `devices`, with the framing of `transport`.
pub(super) fn in_memory(transport: &Transport, devices: Vec<SimulatedDevice>) -> Opener {
    let rtu = transport.bus().is_some();
    Box::new(move || {
        let (ours, theirs) = tokio::io::duplex(4096);
        let devices = devices.clone();
        tokio::spawn(async move {
            let _ = if rtu {
                serve_rtu(theirs, devices).await
            } else {
                serve_mbap(theirs, devices).await
            };
        });
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Wire>) })
    })
}

/// A running line; it stops when this is dropped.
pub(super) struct Running {
    pub(super) outbox: Arc<Outbox>,
    pub(super) inbox: mpsc::Sender<LineRequest>,
    pub(super) status: Arc<forebay::field::status::LineStatus>,
    _task: JoinSet<()>,
}

pub(super) fn run(settings: LineSettings) -> Running {
    start(|outbox, inbox, cancel| {
        let clock = Clock::new(SystemClock::new());
        LineTask::new(settings, clock, outbox, inbox, cancel)
    })
}

/// Runs the line over `opener`, on the runtime's clock.
pub(super) fn run_over(opener: Opener, settings: LineSettings) -> Running {
    start(|outbox, inbox, cancel| {
        LineTask::over(opener, settings, runtime_clock(), outbox, inbox, cancel)
    })
}

/// Runs a line that keeps what it learns in `folder`.
pub(super) fn run_learning(settings: LineSettings, folder: &std::path::Path) -> Running {
    start(|outbox, inbox, cancel| {
        let clock = Clock::new(SystemClock::new());
        LineTask::new(settings, clock, outbox, inbox, cancel).learning_in(folder)
    })
}

/// Serves `devices` over TCP on `port`; 0: a free one.
pub(crate) async fn serve(
    port: u16,
    devices: Vec<SimulatedDevice>,
) -> (u16, JoinSet<std::io::Result<()>>) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut server = JoinSet::new();
    server.spawn(serve_tcp(listener, devices));
    (port, server)
}

/// Runs the line in memory, on the runtime's clock.
pub(super) fn run_in_memory(settings: LineSettings, devices: Vec<SimulatedDevice>) -> Running {
    let opener = in_memory(&settings.transport, devices);
    run_over(opener, settings)
}

fn start(
    task: impl FnOnce(Arc<Outbox>, mpsc::Receiver<LineRequest>, CancellationToken) -> LineTask,
) -> Running {
    let outbox = Outbox::new();
    let (sender, receiver) = mpsc::channel(INBOX);
    let task = task(Arc::clone(&outbox), receiver, CancellationToken::new());
    let status = task.status();
    let mut tasks = JoinSet::new();
    tasks.spawn(task.run());
    Running {
        outbox,
        inbox: sender,
        status,
        _task: tasks,
    }
}

/// Every value that was told is that of its own register; gives how many there were.
pub(super) fn assert_no_wrong_value(outbox: &Outbox, units: impl IntoIterator<Item = u8>) -> usize {
    let mut values = 0;
    for unit in units {
        for (_, scan) in outbox.scans_of(&format!("d{unit}")) {
            for (point, reading) in scan.schema.points.iter().zip(&scan.readings) {
                let address: u16 = point.name.as_str()[1..].parse().unwrap();
                let Some(value) = reading.as_ref().and_then(|reading| reading.value()) else {
                    continue;
                };
                let right = Value::Int(word_at(unit, address).into());
                assert_eq!(value, right, "{}", point.name);
                values += 1;
            }
        }
    }
    values
}

/// How many scans of `device` have values throughout.
pub(super) fn good_scans(outbox: &Outbox, device: &str) -> usize {
    let scans = outbox.scans_of(device).into_iter();
    let good = |scan: &Scan| {
        scan.readings
            .iter()
            .flatten()
            .all(|r| r.quality() == Quality::Good)
    };
    scans.filter(|(_, scan)| good(scan)).count()
}
