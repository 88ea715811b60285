//! The main job against its raw floor: 50 Modbus TCP devices x 100 registers (50 values) every 100 ms, durable, to
//! mosquitto QoS 1; `--devices 1 --every-ms 200` for evenly spaced scans. Prints CPU seconds per million values, RSS,
//! requests per cycle, latency; floor and forebay interleaved in one run, medians with least and most.
//! With `--outage 60` instead: the link to the broker is cut for so many seconds, and what comes after it is timed; over AMQP,
//! to RabbitMQ, with `--kind amqp`.
//!
//! `cargo bench --bench main_job [-- --runs 5 --seconds 10 --window 100ms --devices 50 --every-ms 100]`; needs mosquitto.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]

mod broker;
mod devices;
mod floor;
#[path = "../../tests/it/harness"]
mod harness {
    #![allow(
        dead_code,
        unused_imports,
        unreachable_pub,
        reason = "one of its brokers is used"
    )]
    pub(crate) mod certs;
    pub(crate) mod collected;
    pub(crate) mod process;
    pub(crate) mod rabbitmq;
}
mod measure;
mod outage;
#[path = "../shared/mod.rs"]
mod shared;
mod subscriber;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use measure::Figures;
use shared::{Arguments, Usage};
use subscriber::Subscriber;

pub(crate) const REGISTERS: u16 = 100;
pub(crate) const VALUES: usize = 50;

/// So many devices, each polled as often.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) devices: usize,
    pub(crate) period: Duration,
}

struct Options {
    load: Load,
    runs: usize,
    seconds: u64,
    window: String,
}

fn main() {
    let arguments = Arguments::new();
    match arguments.role() {
        Some([role]) if role == "devices" => return devices::serve(),
        Some([role, modbus, mqtt, devices, period, file]) if role == "floor" => {
            let load = Load {
                devices: devices.parse().unwrap(),
                period: Duration::from_millis(period.parse().unwrap()),
            };
            return floor::run(modbus, mqtt.parse().unwrap(), load, Path::new(file));
        }
        _ => {}
    }
    let away = arguments.value("--outage", 0);
    let options = Options {
        load: Load {
            devices: arguments.value("--devices", 50),
            period: Duration::from_millis(arguments.value("--every-ms", 100)),
        },
        runs: arguments.value("--runs", 5),
        seconds: arguments.value("--seconds", 10),
        window: arguments.value("--window", "100ms".to_owned()),
    };
    if away > 0 {
        let kind = arguments.value("--kind", "mqtt".to_owned());
        return outage::run(&options, &kind, Duration::from_secs(away));
    }
    let (mut floors, mut ours) = (Vec::new(), Vec::new());
    for run in 0..options.runs {
        floors.push(one_run(&options, Kind::Floor));
        ours.push(one_run(&options, Kind::Forebay));
        eprintln!("run {} of {} done", run + 1, options.runs);
    }
    println!(
        "{} Modbus TCP devices x {REGISTERS} registers ({VALUES} values) every {:?} -> mosquitto QoS 1, \
         commit window {}, {} runs of {} s: median (least to most)",
        options.load.devices, options.load.period, options.window, options.runs, options.seconds
    );
    Figures::print(&floors, &ours);
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Floor,
    Forebay,
}

/// Ends its process when dropped.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn one_run(options: &Options, kind: Kind) -> Figures {
    let dir = tempfile::tempdir().unwrap();
    let mqtt_port = free_port();
    let broker = start_mosquitto(dir.path(), mqtt_port);
    let (devices, modbus_port) = start_devices();
    let subscriber = Subscriber::start(mqtt_port);
    let subject = Process(match kind {
        Kind::Floor => Command::new(std::env::current_exe().unwrap())
            .args([
                "role",
                "floor",
                &modbus_port.to_string(),
                &mqtt_port.to_string(),
                &options.load.devices.to_string(),
                &options.load.period.as_millis().to_string(),
            ])
            .arg(dir.path().join("floor.bin"))
            .spawn()
            .unwrap(),
        Kind::Forebay => {
            let upstream = mqtt_upstream(mqtt_port);
            start_forebay(dir.path(), modbus_port, &upstream, options)
        }
    });
    // Connections, first descriptions and caches are not what is measured.
    std::thread::sleep(Duration::from_secs(3));
    let requests = devices.requests();
    let before = Usage::of(subject.0.id());
    subscriber.reset();
    let start = Instant::now();
    std::thread::sleep(Duration::from_secs(options.seconds));
    let after = Usage::of(subject.0.id());
    let elapsed = start.elapsed();
    let arrivals = subscriber.take();
    let requests = devices.requests() - requests;
    drop((subject, broker, devices));
    Figures::new(options.load, elapsed, &before, &after, &arrivals, requests)
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn start_mosquitto(dir: &Path, port: u16) -> Process {
    let config = dir.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nmax_queued_messages 0\n"
    );
    std::fs::write(&config, text).unwrap();
    let program = ["/usr/sbin/mosquitto", "mosquitto"]
        .into_iter()
        .find(|p| Path::new(p).exists());
    let child = Command::new(program.unwrap_or("mosquitto"))
        .arg("-c")
        .arg(&config)
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto is installed (scripts/setup)");
    let process = Process(child);
    let deadline = Instant::now() + Duration::from_secs(10);
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "mosquitto does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    process
}

/// The device server, in a process of its own so that its CPU time is not ours.
struct DeviceProcess {
    process: std::cell::RefCell<Process>,
}

fn start_devices() -> (DeviceProcess, u16) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["role", "devices"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let port = devices::read_number(child.stdout.as_mut().unwrap());
    (
        DeviceProcess {
            process: std::cell::RefCell::new(Process(child)),
        },
        port as u16,
    )
}

impl DeviceProcess {
    /// Requests answered so far.
    fn requests(&self) -> u64 {
        let child = &mut self.process.borrow_mut().0;
        child.stdin.as_mut().unwrap().write_all(b"?").unwrap();
        devices::read_number(child.stdout.as_mut().unwrap())
    }
}

fn mqtt_upstream(port: u16) -> String {
    format!(
        "[upstream.local]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\nversion = \"3.1.1\"\n"
    )
}

fn start_forebay(dir: &Path, modbus_port: u16, upstream: &str, options: &Options) -> Child {
    let mut map =
        String::from("title = \"50 floats\"\nsource = \"the bench's own device\"\n[points]\n");
    for point in 0..VALUES {
        map += &format!("v{point} = {{ holding = {}, type = \"f32\" }}\n", point * 2);
    }
    std::fs::write(dir.join("floats.toml"), map).unwrap();
    let Options { window, load, .. } = options;
    let mut text = format!(
        "[gateway]\nid = \"bench\"\nstate_dir = \"state\"\nmaps = [\".\"]\n[store]\ncommit_window = \"{window}\"\n\
         {upstream}"
    );
    let period = load.period;
    for device in 0..load.devices {
        text += &format!(
            "[line.l{device}]\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{modbus_port}\"\n\
             [device.d{device}]\nline = \"l{device}\"\nmap = \"floats\"\nevery = \"{period:?}\"\n"
        );
    }
    let config: PathBuf = dir.join("forebay.toml");
    std::fs::write(&config, text).unwrap();
    Command::new(env!("CARGO_BIN_EXE_forebay"))
        .args(["run", "--config"])
        .arg(&config)
        .env("MALLOC_ARENA_MAX", "2")
        .env("FOREBAY_LOG", "error")
        .spawn()
        .unwrap()
}
