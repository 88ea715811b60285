//! `forebay simulate`: device maps served as Modbus devices, with values that move and faults to order.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::run::Signals;
use super::{FAILED, WRONG_USAGE, unknown};
use crate::config::{self, DEFAULT_MAPS, render};
use crate::field::modbus::map::{DeviceMap, Table};
use crate::gateway;
use crate::simulator::device::{Behaviour, PseudoTerminal, SimulatedDevice, serve_tcp};
use crate::simulator::generator::{FORMS, Generator, Signal};
use crate::simulator::plant::PlantDevice;
use crate::support::units::parse_duration;

/// What to simulate.
#[derive(Debug, Args)]
pub struct SimulateArguments {
    /// Device maps, by path or by name; MAP@UNIT gives the unit id, else they count from 1
    #[arg(required = true, value_name = "MAP")]
    maps: Vec<String>,
    /// Serve Modbus TCP on this address; port 0 takes a free one
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:5020",
        conflicts_with = "pty"
    )]
    tcp: SocketAddr,
    /// Serve Modbus RTU on a pseudo terminal, with a link to it of this name
    #[arg(long, value_name = "LINK")]
    pty: Option<PathBuf>,
    /// Folders in which maps are looked for by name
    #[arg(long = "maps", value_name = "FOLDER", default_values = DEFAULT_MAPS)]
    folders: Vec<PathBuf>,
    #[arg(long = "set", value_name = "POINT=GENERATOR", help = SET)]
    set: Vec<Setting>,
    /// How often values move
    #[arg(long, value_name = "DURATION", default_value = "1s", value_parser = parse_duration)]
    step: Duration,
    /// Begin random values and faults with this number: the same one gives the same run
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// End after so long; else with Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
    #[command(flatten)]
    faults: Faults,
}

const SET: &str = "How a point moves, where not like that of a plant: constant:VALUE, ramp:FROM:TO:PERIOD, \
                   sine:MEAN:AMPLITUDE:PERIOD, walk:START:STEP or counter:START:PER_SECOND";

/// What the devices do wrong.
#[derive(Debug, Args)]
#[command(next_help_heading = "Faults")]
struct Faults {
    /// No answer
    #[arg(long)]
    silent: bool,
    /// Answers come so late, and requests go on being taken meanwhile
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    late: Option<Duration>,
    /// Requests are refused with this exception code
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u8).range(1..))]
    exception: Option<u8>,
    /// A bit of each answer is wrong, so that the checksum of RTU does not fit
    #[arg(long)]
    wrong_crc: bool,
    /// Bytes of no frame come before each answer
    #[arg(long)]
    noise: bool,
    /// Answers come in two parts, so long apart
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    torn: Option<Duration>,
    /// Answers come twice
    #[arg(long)]
    twice: bool,
    /// TCP connections are reset in place of an answer
    #[arg(long, conflicts_with = "pty")]
    reset: bool,
    /// Share of the requests that meet these faults, 0 to 1
    #[arg(long, default_value_t = 1.0, value_parser = share)]
    share: f64,
    /// Places that do not exist, as in holding:100-110; may be given several times
    #[arg(long, value_name = "TABLE:FIRST-LAST")]
    hole: Vec<Hole>,
    /// Requests and answers take the time of a serial bus with this speed
    #[arg(long, value_name = "BITS PER SECOND", value_parser = clap::value_parser!(u32).range(50..))]
    baud: Option<u32>,
}

fn share(text: &str) -> Result<f64, String> {
    let share: Option<f64> = text.parse().ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "a share is 0 to 1".to_owned())
}

/// POINT=GENERATOR.
#[derive(Debug, Clone)]
struct Setting {
    point: String,
    generator: Generator,
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (point, generator) = text
            .split_once('=')
            .ok_or_else(|| format!("write POINT=GENERATOR, where GENERATOR is {FORMS}"))?;
        Ok(Self {
            point: point.to_owned(),
            generator: generator.parse()?,
        })
    }
}

/// TABLE:FIRST or TABLE:FIRST-LAST.
#[derive(Debug, Clone)]
struct Hole(Table, RangeInclusive<u16>);

impl FromStr for Hole {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{text:?} names no places; write TABLE:FIRST-LAST, as in holding:100-110");
        let (word, range) = text.split_once(':').ok_or_else(wrong)?;
        let table = Table::ALL.into_iter().find(|table| table.as_str() == word);
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let number = |text: &str| text.parse::<u16>().map_err(|_| wrong());
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(wrong());
        }
        Ok(Self(table.ok_or_else(wrong)?, first..=last))
    }
}

/// Simulates until it is told to stop.
pub fn run(arguments: &SimulateArguments) -> ExitCode {
    let devices = match devices(arguments) {
        Ok(devices) => devices,
        Err((reason, code)) => {
            let _ = write!(io::stderr(), "{reason}");
            return ExitCode::from(code);
        }
    };
    let result = gateway::runtime().and_then(|runtime| runtime.block_on(serve(arguments, devices)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "simulate: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// A device that is simulated, and the map that it has.
struct Simulated {
    map: String,
    plant: PlantDevice,
}

fn devices(arguments: &SimulateArguments) -> Result<Vec<Simulated>, (String, u8)> {
    let usage = |reason: String| (format!("error: {reason}\n"), WRONG_USAGE);
    let mut unset: Vec<&Setting> = arguments.set.iter().collect();
    let mut devices: Vec<Simulated> = Vec::new();
    for (text, next) in arguments.maps.iter().zip(1_u8..=247) {
        let (name, unit) = match text.rsplit_once('@') {
            Some((name, unit)) => (name, unit.parse().ok()),
            None => (text.as_str(), Some(next)),
        };
        let unit = unit.ok_or_else(|| usage(format!("{text:?}: a unit id is 0 to 255")))?;
        if devices
            .iter()
            .any(|device| device.plant.device().unit() == unit)
        {
            return Err(usage(format!(
                "{text:?}: the unit id {unit} is given twice"
            )));
        }
        let map = load(name, &arguments.folders)?;
        let mut signals = BTreeMap::new();
        for (index, point) in map.points.iter().enumerate() {
            let own = |setting: &&Setting| setting.point == point.name.as_str();
            if let Some(setting) = arguments.set.iter().rfind(own) {
                let seed = arguments
                    .seed
                    .wrapping_add(u64::from(unit) << 32 | index as u64);
                signals.insert(index, Signal::new(setting.generator.clone(), seed));
                unset.retain(|unset| unset.point != setting.point);
            }
        }
        let names = map.points.iter().map(|point| point.name.as_str());
        if let (Some(setting), true) = (unset.first(), usize::from(next) == arguments.maps.len()) {
            return Err(usage(unknown("point", &setting.point, names)));
        }
        let plant = PlantDevice::with(unit, Arc::new(map), signals);
        arguments.faults.apply(plant.device(), arguments.seed);
        devices.push(Simulated {
            map: name.to_owned(),
            plant,
        });
    }
    Ok(devices)
}

/// The map of this name or path.
fn load(name: &str, folders: &[PathBuf]) -> Result<DeviceMap, (String, u8)> {
    let failed = |reason: String| (format!("error: {reason}\n"), FAILED);
    let is_path = name.contains('/') || name.ends_with(".toml");
    let path = if is_path {
        PathBuf::from(name)
    } else {
        let files = folders
            .iter()
            .map(|folder| folder.join(format!("{name}.toml")));
        let mut there = files.filter(|file| file.exists());
        there.next().ok_or_else(|| {
            let help = match config::did_you_mean(name, names(folders).iter().map(String::as_str)) {
                Some(near) => format!("did you mean {near:?}?"),
                None => "write the path of a map, or name another folder with --maps".to_owned(),
            };
            let looked = folders.iter().map(|f| f.display().to_string());
            let looked: Vec<_> = looked.collect();
            failed(format!(
                "there is no map {name:?} in {}\n  help: {help}",
                looked.join(" or ")
            ))
        })?
    };
    let text = std::fs::read_to_string(&path)
        .map_err(|error| failed(format!("{} cannot be read: {error}", path.display())))?;
    config::map_from_text(&path.display().to_string(), &text).map_err(|report| {
        let text = render::to_text(&report.problems, false);
        (text, super::check::BAD_CONFIGURATION)
    })
}

/// The maps that can be named.
fn names(folders: &[PathBuf]) -> Vec<String> {
    let entries = folders.iter().filter_map(|folder| folder.read_dir().ok());
    let files = entries.flatten().flatten().map(|entry| entry.file_name());
    let names = files.filter_map(|file| Some(file.to_str()?.strip_suffix(".toml")?.to_owned()));
    names.collect()
}

/// Bytes that begin no frame, and none that a checksum could fit.
const NOISE: [u8; 5] = [0x00, 0xFF, 0x55, 0xAA, 0x00];

impl Faults {
    fn apply(&self, device: &SimulatedDevice, seed: u64) {
        for Hole(table, places) in &self.hole {
            device.remove(*table, places.clone());
        }
        let usual = Behaviour {
            // Start, eight bits, parity, stop.
            character: self
                .baud
                .map_or(Duration::ZERO, |baud| Duration::from_secs(11) / baud),
            ..Behaviour::default()
        };
        let faulty = Behaviour {
            silent: self.silent,
            late: self.late.unwrap_or_default(),
            exception: self.exception,
            wrong_bit: self.wrong_crc,
            noise: if self.noise {
                NOISE.to_vec()
            } else {
                Vec::new()
            },
            twice: self.twice,
            torn: self.torn,
            reset: self.reset,
            ..usual.clone()
        };
        device.behave(usual);
        device.behave_sometimes(faulty, self.share, seed ^ u64::from(device.unit()));
    }
}

async fn serve(arguments: &SimulateArguments, devices: Vec<Simulated>) -> io::Result<()> {
    let served: Vec<SimulatedDevice> = devices.iter().map(|d| d.plant.device().clone()).collect();
    let mut link = None;
    let mut text = String::new();
    for Simulated { map, plant } in &devices {
        text.push_str(&format!("{map}: unit {}\n", plant.device().unit()));
    }
    let line: std::pin::Pin<Box<dyn Future<Output = io::Result<()>>>> = match &arguments.pty {
        Some(path) => {
            let terminal = PseudoTerminal::open()?;
            link = Some(Link::new(path, terminal.path())?);
            text.push_str(&format!("serving modbus-rtu on {}\n", path.display()));
            Box::pin(terminal.serve(served.clone()))
        }
        None => {
            let listener = TcpListener::bind(arguments.tcp).await?;
            text.push_str(&format!(
                "serving modbus-tcp on {}\n",
                listener.local_addr()?
            ));
            Box::pin(serve_tcp(listener, served.clone()))
        }
    };
    // Who started this waits for these lines.
    io::stdout().lock().write_all(text.as_bytes())?;
    io::stdout().flush()?;
    let stop = CancellationToken::new();
    let signals = Signals::new()?;
    let moving = devices
        .into_iter()
        .map(|device| device.plant.run(arguments.step));
    let moving = futures_util::future::join_all(moving);
    let ended = tokio::select! {
        end = line => end,
        _ = moving => Ok(()),
        () = signals.until_stop(&stop) => Ok(()),
        () = until(arguments.duration) => Ok(()),
    };
    drop(link);
    for device in served {
        // Nobody may listen any more.
        let _ = writeln!(
            io::stdout(),
            "unit {}: {} requests",
            device.unit(),
            device.requests()
        );
    }
    ended
}

async fn until(duration: Option<Duration>) {
    match duration {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// A link to the terminal, gone with the simulation.
struct Link(PathBuf);

impl Link {
    fn new(path: &Path, terminal: &Path) -> io::Result<Self> {
        // One that a simulation left behind that was killed; anything else stays and is an error.
        if path.is_symlink() {
            std::fs::remove_file(path)?;
        }
        std::os::unix::fs::symlink(terminal, path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
