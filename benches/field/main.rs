//! `scripts/bench field [SECONDS]`: how busy a serial line is kept, of what its characters, its silences and the device
//! allow, and with how much CPU; what a line costs over TCP beside a client that only writes and reads bytes; how soon the
//! daemon reads after its start, and what it takes while there is little to do.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench: it prints, and whatever fails ends it"
)]

mod daemon;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use forebay::field::LineTask;
use forebay::field::modbus::client::{Client, Manner};
use forebay::field::modbus::frame::{ReadRequest, crc16};
use forebay::field::modbus::map::{DeviceMap, Point, RawType, Table};
use forebay::field::modbus::wire::{Bus, Opener, Wire, opener};
use forebay::field::settings::{
    BusSettings, DeviceSettings, LineSettings, SerialSettings, Transport,
};
use forebay::field::status::Counters;
use forebay::reading::{Body, Clock, Description, MapHash, Name, Observation, Outlet, SystemClock};
use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

const REGISTERS: u16 = 20;
/// From the end of the request to the beginning of the answer, beyond the silence.
const ANSWER: Duration = Duration::from_millis(5);
/// Over TCP: 50 values of two registers.
const VALUES: u16 = 50;
const RUNS: usize = 5;

fn main() {
    let seconds = std::env::args().skip(1).find_map(|word| word.parse().ok());
    let time = Duration::from_secs(seconds.unwrap_or(5));
    println!(
        "serial line, 4 devices x {REGISTERS} registers, answers after 5 ms: floor (spins, bytes only), forebay, ratio; median (least to most) of {RUNS} runs"
    );
    for baud_rate in [9600, 19_200, 115_200] {
        let (mut floor, mut ours, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..RUNS {
            floor.push(raw_bus(baud_rate, time));
            let (busy, took) = utilisation(baud_rate, time);
            ours.push(busy);
            cpu.push(took);
        }
        compare(
            &format!("{baud_rate} baud, busy for % of what is possible"),
            floor,
            ours,
        );
        println!("    {} µs of CPU a request", show(cpu));
    }
    println!("TCP, {VALUES} f32 a request: floor (bytes only), forebay, ratio");
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    let (mut floor_cpu, mut our_cpu) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        floor.push(raw_client(time, Duration::ZERO).0);
        ours.push(requests(time));
        floor_cpu.push(raw_client(time, SCAN).1);
        our_cpu.push(line_cpu(time));
    }
    compare("requests/s", floor, ours);
    compare("CPU s per million values, 1000 scans/s", floor_cpu, our_cpu);
    let starts = (0..RUNS).map(|_| daemon::first_reading());
    println!(
        "daemon: {} ms from its start to the first reading",
        show(starts.collect())
    );
    let (cpu, woken, requests) = daemon::idle(time.max(IDLE));
    println!(
        "  idle, 10 devices every 10 s: {cpu:.3} % of a core, {woken:.1} wake-ups/s at {requests:.1} requests/s"
    );
}

/// How long an idle daemon is looked at, at the least: its CPU time is known to 10 ms, and 0.1 % of this is 60.
const IDLE: Duration = Duration::from_secs(60);

/// The period of the scans whose CPU time is measured.
const SCAN: Duration = Duration::from_millis(1);

fn compare(title: &str, floor: Vec<f64>, ours: Vec<f64>) {
    let ratio = median(&ours) / median(&floor);
    println!("  {title}: {} | {} | {ratio:.2}", show(floor), show(ours));
}

fn median(runs: &[f64]) -> f64 {
    let mut sorted = runs.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn show(runs: Vec<f64>) -> String {
    let least = runs.iter().copied().fold(f64::INFINITY, f64::min);
    let most = runs.iter().copied().fold(0.0, f64::max);
    format!("{:.2} ({least:.2} to {most:.2})", median(&runs))
}

/// Counts scans and forgets them.
#[derive(Default)]
struct Count(AtomicU64);

impl Outlet for Count {
    fn put(&self, observation: Observation) {
        if let Body::Scan(scan) = observation.body {
            assert!(scan.readings.iter().flatten().all(|r| r.value().is_some()));
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn device(unit: u8, points: u16, raw: RawType, every: Duration) -> DeviceSettings {
    let width = raw.width();
    let point = |number: u16| {
        let place = (Table::HoldingRegister, number * width);
        let own = name(&format!("p{number}"));
        Point::plain(own, name("default"), place, raw.clone())
    };
    let name_ = name(&format!("d{unit}"));
    DeviceSettings {
        unit,
        description: Arc::new(Description {
            device: name_.clone(),
            line: name("line"),
            map: MapHash(1),
            title: None,
            labels: Vec::new(),
            points: Vec::new(),
        }),
        name: name_,
        map: Arc::new(DeviceMap {
            points: (0..points).map(point).collect(),
            ..DeviceMap::default()
        }),
        scans: BTreeMap::from([(name("default"), Some(every))]),
        timeout: None,
        retries: None,
        delay: Duration::ZERO,
        enabled: true,
    }
}

/// Runs a line on this thread for `time`; gives how many scans it told, and the CPU time of this thread.
fn run(
    opener: Opener,
    transport: Transport,
    devices: Vec<DeviceSettings>,
    time: Duration,
) -> (u64, Duration) {
    let settings = LineSettings {
        name: name("line"),
        transport,
        timeout: Duration::from_secs(1),
        retries: 0,
        devices,
    };
    let count = Arc::new(Count::default());
    let cancel = CancellationToken::new();
    let (_sender, inbox) = tokio::sync::mpsc::channel(1);
    let clock = Clock::new(SystemClock::new());
    let outlet = Arc::clone(&count);
    let task = LineTask::over(opener, settings, clock, outlet, inbox, cancel.clone());
    runtime().block_on(async {
        let measure = async {
            // The first answers tell what there is to plan with.
            tokio::time::sleep(Duration::from_secs(1)).await;
            let (cpu, scans) = (thread_cpu(), count.0.load(Ordering::Relaxed));
            tokio::time::sleep(time).await;
            let told = count.0.load(Ordering::Relaxed) - scans;
            (told, thread_cpu() - cpu)
        };
        tokio::select! {
            () = task.run() => unreachable!(),
            measured = measure => measured,
        }
    })
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn thread_cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

/// The share of the line's time that a saturated line uses, in percent, and the CPU time of a request, in microseconds.
fn utilisation(baud_rate: u32, time: Duration) -> (f64, f64) {
    let (bus, one) = bus(baud_rate);
    let (character, silence) = (bus.character(), bus.silence());
    let opener: Opener = Box::new(move || {
        let (ours, theirs) = UnixStream::pair().unwrap();
        std::thread::spawn(move || serve_bus(theirs, character, silence));
        Box::pin(async move {
            ours.set_nonblocking(true)?;
            Ok(Box::new(tokio::net::UnixStream::from_std(ours)?) as Box<dyn Wire>)
        })
    });
    let transport = Transport::ModbusRtu(SerialSettings {
        port: "unused".into(),
        bus,
        rs485: None,
    });
    let every = one * 3;
    let devices = (1..=4).map(|unit| device(unit, REGISTERS, RawType::U16, every));
    let (scans, cpu) = run(opener, transport, devices.collect(), time);
    let busy = one.as_secs_f64() * scans as f64 / time.as_secs_f64();
    (busy * 100.0, cpu.as_secs_f64() * 1e6 / scans as f64)
}

/// The bus of a speed, and what a request and its answer take on it at the least.
fn bus(baud_rate: u32) -> (BusSettings, Duration) {
    let bus = BusSettings {
        baud_rate,
        ..BusSettings::default()
    };
    let answer = 5 + 2 * u32::from(REGISTERS);
    let one = bus.character() * (8 + answer) + bus.silence() * 2 + ANSWER;
    (bus, one)
}

/// The share of the line's time, in percent, that one uses who asks again as soon as the bus allows, and spins for that.
fn raw_bus(baud_rate: u32, time: Duration) -> f64 {
    let (bus, one) = bus(baud_rate);
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let (character, silence) = (bus.character(), bus.silence());
    std::thread::spawn(move || serve_bus(theirs, character, silence));
    let count = u8::try_from(REGISTERS).unwrap();
    let request = [1, 3, 0, 0, 0, count, 0, 0];
    let mut answer = vec![0; 5 + 2 * usize::from(REGISTERS)];
    let (began, mut scans) = (Instant::now(), 0_u32);
    while began.elapsed() < time {
        let due = Instant::now() + silence;
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        ours.write_all(&request).unwrap();
        ours.read_exact(&mut answer).unwrap();
        scans += 1;
    }
    one.as_secs_f64() * f64::from(scans) / began.elapsed().as_secs_f64() * 100.0
}

/// The devices of a bus, and the time of its characters.
fn serve_bus(mut line: UnixStream, character: Duration, silence: Duration) {
    let mut request = [0; 8];
    while line.read_exact(&mut request).is_ok() {
        let count = request[5] * 2;
        let mut answer = vec![request[0], request[1], count];
        answer.extend((0..count).map(|byte| byte / 2));
        answer.extend(crc16(&answer).to_le_bytes());
        let characters = u32::try_from(request.len() + answer.len()).unwrap();
        let due = Instant::now() + character * characters + silence + ANSWER;
        std::thread::sleep(
            due.saturating_duration_since(Instant::now() + Duration::from_micros(200)),
        );
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        if line.write_all(&answer).is_err() {
            return;
        }
    }
}

/// A device over TCP that does nothing but answer.
fn serve_tcp() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let (mut request, data) = ([0; 12], VALUES * 4);
        while stream.read_exact(&mut request).is_ok() {
            let mut answer = request[..4].to_vec();
            answer.extend((data + 3).to_be_bytes());
            answer.extend([request[6], request[7], u8::try_from(data).unwrap()]);
            answer.extend((0..data).map(|byte| [0x43, 0x66, 0x19, 0x9A][usize::from(byte) % 4]));
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    });
    port
}

/// Requests per second, and CPU seconds per million values, of writing and reading bytes.
fn raw_client(time: Duration, every: Duration) -> (f64, f64) {
    let port = serve_tcp();
    runtime().block_on(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut stream = tokio::net::TcpStream::from_std(stream).unwrap();
        let mut answer = vec![0; 9 + usize::from(VALUES) * 4];
        let count = u8::try_from(VALUES * 2).unwrap();
        let (began, cpu, mut requests) = (Instant::now(), thread_cpu(), 0_u32);
        let mut ticks = tokio::time::interval(every.max(Duration::from_millis(1)));
        while began.elapsed() < time {
            if !every.is_zero() {
                ticks.tick().await;
            }
            let request = [0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, count];
            stream.write_all(&request).await.unwrap();
            stream.read_exact(&mut answer).await.unwrap();
            requests += 1;
        }
        let cpu = (thread_cpu() - cpu).as_secs_f64();
        let values = f64::from(requests) * f64::from(VALUES) / 1e6;
        (
            f64::from(requests) / began.elapsed().as_secs_f64(),
            cpu / values,
        )
    })
}

/// Requests per second of the client.
fn requests(time: Duration) -> f64 {
    let transport = tcp(serve_tcp());
    let mut client = Client::new(opener(&transport), Bus::of(&transport), Duration::ZERO);
    let manner = Manner {
        timeout: Duration::from_secs(1),
        retries: 0,
        delay: Duration::ZERO,
        lenient: false,
        offline: false,
    };
    let request = ReadRequest::new(1, Table::HoldingRegister, 0, VALUES * 2).unwrap();
    let counters = Counters::default();
    runtime().block_on(async {
        let (began, mut requests) = (Instant::now(), 0_u32);
        while began.elapsed() < time {
            client.read(request, &manner, &counters).await.unwrap();
            requests += 1;
        }
        f64::from(requests) / began.elapsed().as_secs_f64()
    })
}

fn tcp(port: u16) -> Transport {
    Transport::ModbusTcp {
        host: "127.0.0.1".into(),
        port,
    }
}

/// CPU seconds per million values of a line that polls, decodes and tells.
fn line_cpu(time: Duration) -> f64 {
    let transport = tcp(serve_tcp());
    let devices = vec![device(1, VALUES, RawType::F32, SCAN)];
    let (scans, cpu) = run(opener(&transport), transport, devices, time);
    cpu.as_secs_f64() / (scans as f64 * f64::from(VALUES) / 1e6)
}
