//! The demo's screen: what arrives, the backlog, the outage. Pure: text from state.

use std::fmt::Write;
use std::time::Duration;

use super::arrivals::{Arrivals, Device};

/// What the view shows beside the arrivals.
pub(super) struct Frame {
    /// Since the start.
    pub(super) running: Duration,
    /// Whether the broker is away, and how long until that changes; `None`: no outages.
    pub(super) outage: Option<(bool, Duration)>,
    /// Records committed to disk.
    pub(super) stored: u64,
    /// Records that the broker has not acknowledged.
    pub(super) backlog: u64,
    /// Bytes of the store on disk.
    pub(super) disk: u64,
    /// Now, for the age of what arrived last.
    pub(super) now: jiff::Timestamp,
    /// Lines and columns of the terminal.
    pub(super) size: (usize, usize),
}

/// Widest bar of the backlog.
const BAR: u64 = 40;

/// The whole screen; `colour` for a terminal.
pub(super) fn screen(arrivals: &Arrivals, frame: &Frame, colour: bool) -> String {
    let mut text = String::new();
    let paint = |code: &str, text: &str| {
        if colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let seconds = frame.running.as_secs();
    let _ = writeln!(
        text,
        "{}  {seconds} s",
        paint(
            "1",
            "forebay demo: 2 simulated devices -> disk -> embedded MQTT broker"
        )
    );
    let link = match frame.outage {
        Some((true, left)) => paint("1;31", &format!("AWAY, back in {} s", left.as_secs() + 1)),
        Some((false, left)) => {
            format!("{}, away in {} s", paint("32", "there"), left.as_secs() + 1)
        }
        None => paint("32", "there"),
    };
    let _ = writeln!(text, "broker   {link}");
    let bar = "#".repeat(
        usize::try_from((frame.backlog / 10).clamp(u64::from(frame.backlog > 0), BAR)).unwrap_or(0),
    );
    let _ = writeln!(
        text,
        "backlog  {:>6} records {}",
        frame.backlog,
        paint("33", &bar)
    );
    let _ = writeln!(
        text,
        "stored   {:>6} records, {} KiB on disk   arrived {}, of them {} late   missing {}   twice {}",
        frame.stored,
        frame.disk / 1024,
        arrivals.records,
        arrivals.historical,
        arrivals.missing(),
        arrivals.duplicates
    );
    let rows = rows_each(frame.size.0, arrivals);
    for (name, device) in &arrivals.devices {
        let _ = writeln!(text);
        device_lines(&mut text, &paint("1", name), device, frame, rows);
    }
    if !arrivals.events.is_empty() {
        let _ = writeln!(text, "\n{}", paint("1", "events"));
        for event in &arrivals.events {
            let _ = writeln!(text, "  {event}");
        }
    }
    text
}

/// How many rows of values each device gets, so that the screen does not scroll.
fn rows_each(lines: usize, arrivals: &Arrivals) -> usize {
    // Four lines above, events below, and of each device an empty line, its own, and one that counts the rest.
    let devices = arrivals.devices.len().max(1);
    let taken = 4 + 2 + arrivals.events.len() + 1 + devices * 3;
    (lines.saturating_sub(taken) / devices).max(1)
}

/// Room for a point's name and value.
const NAME: usize = 20;
const VALUE: usize = 18;

fn device_lines(text: &mut String, name: &str, device: &Device, frame: &Frame, rows: usize) {
    let age = device
        .time
        .map(|time| frame.now.duration_since(time).as_secs_f64());
    let lag = age.map_or_else(String::new, |age| format!("newest value {age:.1} s old"));
    let _ = writeln!(text, "{name}   {} scans, {lag}", device.scans);
    let columns = (frame.size.1 / (NAME + VALUE + 2)).max(1);
    for row in device.values.chunks(columns).take(rows) {
        let mut line = String::new();
        for (point, value) in row {
            let _ = write!(line, "  {point:<NAME$}{value:<VALUE$}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    let rest = device.values.len().saturating_sub(rows * columns);
    if rest > 0 {
        let _ = writeln!(text, "  and {rest} more points");
    }
}

/// One line, for output that is no terminal.
pub(super) fn line(arrivals: &Arrivals, frame: &Frame) -> String {
    let link = match frame.outage {
        Some((true, _)) => "away",
        _ => "there",
    };
    format!(
        "{:>4} s  broker {link:<5}  stored {:>6}  arrived {:>6}  backlog {:>5}  missing {}  twice {}",
        frame.running.as_secs(),
        frame.stored,
        arrivals.records,
        frame.backlog,
        arrivals.missing(),
        arrivals.duplicates
    )
}
