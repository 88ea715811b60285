//! Files -> a checked configuration; every problem at once, each with its place and mend.
//!
//! Files become trees in which every key and value knows its place (`tree`), tables are read key by key (`fields`), and
//! whatever is wrong goes to one log (`log`), which becomes the report. The reference of all keys is
//! `docs/configuration.md`, that of device maps `docs/maps.md`.

mod address;
mod canonical;
mod describe;
mod device;
mod fields;
mod gateway;
mod host;
mod library;
mod line;
mod log;
mod map;
mod problem;
pub mod render;
mod site;
mod suggest;
mod suspect;
mod tree;
mod upstream;

use std::path::Path;

pub use gateway::{DEFAULT_MAPS, GatewaySettings};
pub use host::{Host, InMemory, LARGEST_FILE, ThisMachine};
pub use line::split_address;
pub use problem::{Place, Position, Problem, Report, Severity};
pub use suggest::did_you_mean;
pub use upstream::BrokerUrl;

use crate::field::modbus::map::DeviceMap;
use crate::field::settings::LineSettings;
use crate::forward::settings::ForwarderSettings;
use crate::store::settings::StoreSettings;
use log::{Finding, Log};

/// A checked configuration: nothing impossible is in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The gateway itself.
    pub gateway: GatewaySettings,
    /// The queue on disk.
    pub store: StoreSettings,
    /// The lines with their devices, in the order of their names.
    pub lines: Vec<LineSettings>,
    /// The upstreams, in the order of their names.
    pub upstreams: Vec<ForwarderSettings>,
    /// Warnings and notes: what is legal, but worth a word.
    pub remarks: Vec<Problem>,
}

/// Loads `path`, the files of `conf.d` beside it, and the device maps that they name.
///
/// # Errors
/// The report names every problem of every file.
pub fn load(path: &Path) -> Result<Config, Report> {
    load_from(&ThisMachine, path)
}

/// As [`load`], with files and environment of `host`.
///
/// # Errors
/// The report names every problem of every file.
pub fn load_from(host: &dyn Host, path: &Path) -> Result<Config, Report> {
    let log = Log::default();
    let config = site::read(&log, host, path);
    let (problems, failed) = log.report();
    match config {
        Some(config) if !failed => Ok(Config {
            remarks: problems,
            ..config
        }),
        _ => Err(Report { problems }),
    }
}

/// Reads one device map; `name` stands for the file in problems.
///
/// # Errors
/// The report names every problem of the map.
pub fn map_from_text(name: &str, text: &str) -> Result<DeviceMap, Report> {
    let log = Log::default();
    let host = InMemory::default().file(name, text);
    let path = Path::new(name);
    let map = match library::read_file(&log, &host, path) {
        Ok(read) => read.map(|(table, file)| map::resolve(&log, &map::read(&log, &table, file))),
        Err(error) => {
            let file = log.source(path, "");
            log.push(Finding::error(file, error));
            None
        }
    };
    let (problems, failed) = log.report();
    map.filter(|_| !failed).ok_or(Report { problems })
}
