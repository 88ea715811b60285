//! `forebay demo`: the whole product on a fresh machine. Simulated devices and an embedded broker on loopback ports,
//! the same gateway as in production between them, and an outage that comes and goes.

mod arrivals;
mod outage;
mod view;

use std::io::{self, IsTerminal, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use self::arrivals::Arrivals;
use self::outage::Outages;
use self::view::Frame;
use super::run::Signals;
use super::{FAILED, logging};
use crate::config::{self, Config, InMemory};
use crate::gateway::{self, Gateway};
use crate::reading::{Clock, SystemClock};
use crate::simulator::broker::{Arrival, Broker, Control, Link};
use crate::simulator::device::serve_tcp;
use crate::simulator::plant::PlantDevice;
use crate::store::Store;
use crate::support::units::parse_duration;

const PRESS_MAP: &str = include_str!("../../config/maps/demo-press.toml");
const METER_MAP: &str = include_str!("../../config/maps/eastron-sdm630.toml");

/// How often the simulated values move; faster than they are polled.
const STEP: Duration = Duration::from_millis(100);
/// How often the view is drawn.
const FRAME: Duration = Duration::from_millis(500);

/// What the demo shows.
#[derive(Debug, Args)]
pub struct DemoArguments {
    /// How long the broker is away, and how long it is there; "none": no outages
    #[arg(long, value_name = "AWAY/THERE", default_value = "10s/20s")]
    outage: Outages,
    /// End after so long; else with Ctrl-C
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    duration: Option<Duration>,
}

/// Runs the demo.
pub fn run(arguments: &DemoArguments) -> ExitCode {
    // Log lines would tear the view; whoever asks for them gets them.
    if std::env::var_os("FOREBAY_LOG").is_some() {
        logging::start();
    }
    let result = Scratch::new().and_then(|scratch| {
        let runtime = gateway::runtime()?;
        runtime.block_on(demo(arguments, &scratch.0))
    });
    match result {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::from(FAILED),
        Err(error) => {
            let _ = writeln!(io::stderr(), "demo: {error}");
            ExitCode::from(FAILED)
        }
    }
}

/// A folder for the store, gone with the demo.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("forebay-demo-{}", std::process::id()));
        std::fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is a temporary file: the system's own cleaning takes it.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Runs everything until the end is asked for; how many records had not arrived by then.
async fn demo(arguments: &DemoArguments, folder: &Path) -> io::Result<u64> {
    let any_port = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (press_line, meter_line) = (
        TcpListener::bind(any_port).await?,
        TcpListener::bind(any_port).await?,
    );
    let (broker, control, arrivals) = Broker::bind(any_port).await?;
    let ports = (
        press_line.local_addr()?.port(),
        meter_line.local_addr()?.port(),
        control.address().port(),
    );
    let config = configuration(folder, ports).map_err(io::Error::other)?;

    let (press, meter) = (
        plant_device(&config, "press")?,
        plant_device(&config, "meter")?,
    );
    let (press_served, meter_served) = (vec![press.device().clone()], vec![meter.device().clone()]);
    let gateway = Gateway::new(config, Clock::new(SystemClock::new()));
    let (stop, stop_broker) = (CancellationToken::new(), CancellationToken::new());
    let mut show = Show::new(arguments.outage, gateway.store(), arrivals);

    let gateway_ran = async {
        let end = gateway.run(stop.clone()).await;
        stop.cancel();
        stop_broker.cancel();
        end.map_err(io::Error::other)
    };
    let surroundings = async {
        tokio::select! {
            end = serve_tcp(press_line, press_served) => end,
            end = serve_tcp(meter_line, meter_served) => end,
            () = press.run(STEP) => Ok(()),
            () = meter.run(STEP) => Ok(()),
            () = broker.run(stop_broker.clone()) => Ok(()),
        }
    };
    let signals = Signals::new()?;
    let until = async {
        match arguments.duration {
            Some(duration) => {
                stop.run_until_cancelled(tokio::time::sleep(duration)).await;
                stop.cancel();
            }
            None => stop.cancelled().await,
        }
    };
    let (gateway_end, surroundings_end, (), (), ()) = tokio::join!(
        gateway_ran,
        surroundings,
        signals.until_stop(&stop),
        until,
        show.run(&control, &stop, &stop_broker)
    );
    gateway_end?;
    surroundings_end?;
    Ok(show.arrivals.missing())
}

fn configuration(
    folder: &Path,
    (press, meter, broker): (u16, u16, u16),
) -> Result<Config, config::Report> {
    let text = format!(
        r#"
[gateway]
id = "demo"
state_dir = {folder:?}
maps = ["maps"]
[line.press-plc]
protocol = "modbus-tcp"
address = "127.0.0.1:{press}"
[line.meters]
protocol = "modbus-tcp"
address = "127.0.0.1:{meter}"
[device.press]
line = "press-plc"
map = "demo-press"
every = "200ms"
[device.meter]
line = "meters"
map = "eastron-sdm630"
every = "1s"
[upstream.embedded]
kind = "mqtt"
url = "mqtt://127.0.0.1:{broker}"
version = "3.1.1"
keep_alive = "5s"
"#
    );
    let host = InMemory::default()
        .file("/demo/forebay.toml", text)
        .file("/demo/maps/demo-press.toml", PRESS_MAP)
        .file("/demo/maps/eastron-sdm630.toml", METER_MAP);
    config::load_from(&host, Path::new("/demo/forebay.toml"))
}

/// The device of this name, simulated.
fn plant_device(config: &Config, name: &str) -> io::Result<PlantDevice> {
    let devices = config.lines.iter().flat_map(|line| &line.devices);
    let device = devices
        .into_iter()
        .find(|device| device.name.as_str() == name);
    let device = device.ok_or_else(|| io::Error::other(format!("no device {name}")))?;
    Ok(PlantDevice::new(device.unit, Arc::clone(&device.map)))
}

/// The view: what arrived, drawn again and again, and the outages.
struct Show {
    outages: Outages,
    store: watch::Receiver<Option<Store>>,
    tap: mpsc::Receiver<Arrival>,
    arrivals: Arrivals,
    start: Instant,
    terminal: bool,
}

impl Show {
    fn new(
        outages: Outages,
        store: watch::Receiver<Option<Store>>,
        tap: mpsc::Receiver<Arrival>,
    ) -> Self {
        Self {
            outages,
            store,
            tap,
            arrivals: Arrivals::default(),
            start: Instant::now(),
            terminal: io::stdout().is_terminal(),
        }
    }

    async fn run(
        &mut self,
        control: &Control,
        stop: &CancellationToken,
        stop_broker: &CancellationToken,
    ) {
        let mut frames = tokio::time::interval(FRAME);
        let mut drawn = 0;
        loop {
            tokio::select! {
                Some(arrival) = self.tap.recv() => self.arrivals.take(&arrival.payload),
                _ = frames.tick() => {
                    // The end is not held up by an outage: what is stored is delivered first.
                    let away = !stop.is_cancelled() && self.outages.at(self.start.elapsed()).is_some_and(|(away, _)| away);
                    control.link(if away { Link::Refused } else { Link::Up });
                    // On a terminal each frame, else a line every other second.
                    if self.terminal || drawn % 4 == 0 {
                        self.draw();
                    }
                    drawn += 1;
                }
                () = stop_broker.cancelled() => break,
            }
        }
        while let Ok(arrival) = self.tap.try_recv() {
            self.arrivals.take(&arrival.payload);
        }
        self.draw();
    }

    fn draw(&self) {
        let status = self.store.borrow().as_ref().map(Store::status);
        let backlogs = status.iter().flat_map(|status| &status.backlogs);
        let frame = Frame {
            running: self.start.elapsed(),
            outage: self.outages.at(self.start.elapsed()),
            stored: status.as_ref().map_or(0, |status| status.last),
            backlog: backlogs.map(|(_, records)| *records).sum(),
            disk: status.as_ref().map_or(0, |status| status.bytes),
            now: jiff::Timestamp::now(),
            size: terminal_size(),
        };
        let text = if self.terminal {
            // Home, each line cleared to its end, the rest of the screen cleared.
            let screen = view::screen(&self.arrivals, &frame, true).replace('\n', "\x1b[K\n");
            format!("\x1b[H{screen}\x1b[J")
        } else {
            format!("{}\n", view::line(&self.arrivals, &frame))
        };
        // Whoever watched may have gone; the demo ends by its own means.
        let mut out = io::stdout().lock();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// Lines and columns; those of old where nobody says.
fn terminal_size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => (size.ws_row.into(), size.ws_col.into()),
        _ => (24, 80),
    }
}
