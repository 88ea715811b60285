//! `forebay plan`: which requests read the points, and what they take of the time of each line.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::columns::{self, Cell};
use super::read::place;
use super::{DEFAULT_CONFIG, WRONG_USAGE, configuration, unknown};
use crate::config::Config;
use crate::field::learned::LearnedFile;
use crate::field::load::{ClassLoad, loads};
use crate::field::modbus::cost::LEAST_TCP;
use crate::field::modbus::frame::ReadRequest;
use crate::field::modbus::identity::Identity;
use crate::field::modbus::known::Known;
use crate::field::modbus::plan::Block;
use crate::field::settings::{DeviceSettings, LineSettings};
use crate::support::units::format_duration;

/// What to plan.
#[derive(Debug, Args)]
pub struct PlanArguments {
    /// A device or a line; all of them where nothing is named
    name: Option<String>,
    /// Configuration file; `conf.d/*.toml` beside it is read too
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the plan of a line, a device, or everything.
pub fn run(arguments: &PlanArguments) -> ExitCode {
    let config = match configuration(&arguments.config) {
        Ok(config) => config,
        Err(code) => return code,
    };
    let lines = match chosen(&config, arguments.name.as_deref()) {
        Ok(lines) => lines,
        Err(reason) => {
            let _ = writeln!(io::stderr(), "error: {reason}");
            return ExitCode::from(WRONG_USAGE);
        }
    };
    let text = if arguments.json {
        let lines: Vec<_> = lines.iter().map(LinePlan::as_json).collect();
        format!("{}\n", json!({ "lines": lines }))
    } else {
        let colour = columns::colour();
        let lines: Vec<_> = lines.iter().map(|line| line.as_text(colour)).collect();
        lines.join("\n")
    };
    // Whoever reads this may have gone (`forebay plan | head`).
    let _ = io::stdout().lock().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// A line, its load, and the devices of it that are shown.
struct LinePlan<'a> {
    line: &'a LineSettings,
    /// Of all its devices that are polled.
    load: f64,
    devices: Vec<(&'a DeviceSettings, Vec<ClassLoad>, Known)>,
}

fn chosen<'a>(config: &'a Config, name: Option<&str>) -> Result<Vec<LinePlan<'a>>, String> {
    let learned = config.gateway.learned();
    let plans: Vec<LinePlan> = config
        .lines
        .iter()
        .filter_map(|line| LinePlan::of(line, &learned, name))
        .collect();
    match name {
        Some(name) if plans.is_empty() => {
            let lines = config.lines.iter();
            let names = lines.flat_map(|line| {
                let devices = line.devices.iter().map(|device| device.name.as_str());
                devices.chain([line.name.as_str()])
            });
            Err(unknown("device or line", name, names))
        }
        _ => Ok(plans),
    }
}

impl<'a> LinePlan<'a> {
    /// The plan of `line`, or of what `name` names on it; `None`: nothing is named so.
    fn of(line: &'a LineSettings, learned: &Path, name: Option<&str>) -> Option<Self> {
        let whole = name.is_none_or(|name| line.name.as_str() == name);
        let planned = line.devices.iter().map(|device| {
            let known = LearnedFile::new(learned, device).load();
            (device, loads(&line.transport, device, &known), known)
        });
        let planned: Vec<_> = planned.collect();
        let polled = planned.iter().filter(|(device, ..)| device.enabled);
        let load = polled
            .flat_map(|(_, classes, _)| classes)
            .map(ClassLoad::load)
            .sum();
        let shown = |device: &DeviceSettings| whole || Some(device.name.as_str()) == name;
        let devices: Vec<_> = planned
            .into_iter()
            .filter(|(device, ..)| shown(device))
            .collect();
        (whole || !devices.is_empty()).then_some(Self {
            line,
            load,
            devices,
        })
    }

    fn as_text(&self, colour: bool) -> String {
        let mut text = format!(
            "line {}: {}, load {:.1} %\n{}\n",
            self.line.name,
            place(&self.line.transport),
            self.load * 100.0,
            self.arithmetic()
        );
        for (device, classes, known) in &self.devices {
            let title = device
                .map
                .title
                .as_deref()
                .unwrap_or("a map without a title");
            let off = if device.enabled { "" } else { ", disabled" };
            text.push_str(&format!(
                "\ndevice {}: unit {}, {title}{off}\n",
                device.name, device.unit
            ));
            text.push_str(&limits(known));
            if let Some(identity) = &device.map.identity {
                text.push_str(&format!("  asked at each connect: {identity}\n"));
            }
            for class in classes {
                text.push_str(&format!("  {}\n", heading(class)));
                let rows = rows(device, class);
                for line in columns::columns(&rows, colour).lines() {
                    text.push_str(&format!("    {line}\n"));
                }
                for (point, code) in class.refused(&device.map) {
                    let at = format!("{} {}", point.table.as_str(), point.address);
                    text.push_str(&format!(
                        "    not read: {} ({at}) is refused with exception {code}\n",
                        point.name
                    ));
                }
            }
        }
        text
    }

    /// How the time of a request comes about.
    fn arithmetic(&self) -> String {
        match self.line.transport.bus() {
            Some(bus) => {
                let turnaround = match bus.turnaround {
                    Duration::ZERO => String::new(),
                    turnaround => format!(" + {} turnaround", format_duration(turnaround)),
                };
                format!(
                    "a read of n bytes takes (13 + n) characters of {} + 2 silences of {}{turnaround}, and the delay of the device; its answer time comes on top",
                    format_args!("{:.3} ms", bus.character().as_secs_f64() * 1_000.0),
                    format_args!("{:.3} ms", bus.silence().as_secs_f64() * 1_000.0)
                )
            }
            None => format!(
                "a read counts as {}, and the delay of the device; a slower answer takes longer",
                format_duration(LEAST_TCP)
            ),
        }
    }

    fn as_json(&self) -> serde_json::Value {
        let devices = self.devices.iter().map(|(device, classes, known)| {
            let classes = classes.iter().map(|class| class_json(device, class));
            json!({
                "device": device.name.as_str(),
                "unit": device.unit,
                "enabled": device.enabled,
                "identity": device.map.identity.as_ref().map(Identity::to_string),
                "registers_per_read": known.registers_per_read,
                "bits_per_read": known.bits_per_read,
                "answer_seconds": known.answer_time.map(|time| time.as_secs_f64()),
                "classes": classes.collect::<Vec<_>>(),
            })
        });
        json!({
            "line": self.line.name.as_str(),
            "load": self.load,
            "devices": devices.collect::<Vec<_>>(),
        })
    }
}

/// What the device was found to give at once, where that is less than its map says, and how long it takes.
fn limits(known: &Known) -> String {
    let limit = |most: Option<u16>, what| {
        most.map_or_else(String::new, |most| {
            format!("  learned: at most {most} {what} in a read\n")
        })
    };
    let answers = known.answer_time.map_or_else(String::new, |time| {
        format!(
            "  learned: begins to answer after {}, which is reckoned with\n",
            milliseconds(time)
        )
    });
    limit(known.registers_per_read, "registers") + &limit(known.bits_per_read, "bits") + &answers
}

fn heading(class: &ClassLoad) -> String {
    let requests = match class.requests.len() {
        1 => "1 request".to_owned(),
        requests => format!("{requests} requests"),
    };
    let time = milliseconds(class.time());
    match class.period {
        Some(period) => format!(
            "class {} every {}: {requests}, {time}, load {:.1} %",
            class.class,
            format_duration(period),
            class.load() * 100.0
        ),
        None => format!("class {} at each connect: {requests}, {time}", class.class),
    }
}

fn rows(device: &DeviceSettings, class: &ClassLoad) -> Vec<Vec<Cell>> {
    let header = [
        "TABLE",
        "ADDRESS",
        "REF",
        "COUNT",
        "TIME",
        "POINTS AND THEIR ADDRESSES",
    ];
    let mut rows = vec![header.map(Cell::from).to_vec()];
    for (number, (block, time)) in class.plan.blocks.iter().zip(&class.requests).enumerate() {
        let points = class.points(&device.map, number).into_iter();
        let points = points.map(|point| format!("{}={}", point.name, point.address));
        let last = last(block);
        let (from, to) = (
            block.table.reference(block.address),
            block.table.reference(last),
        );
        rows.push(vec![
            Cell::from(block.table.as_str()),
            Cell::from(format!("{}-{last}", block.address)),
            Cell::from(format!("{from}-{to}")),
            Cell::from(block.count.to_string()),
            Cell::from(milliseconds(*time)),
            Cell::dim(points.collect::<Vec<_>>().join(" ")),
        ]);
    }
    rows
}

fn last(block: &Block) -> u16 {
    block.address.saturating_add(block.count.saturating_sub(1))
}

fn class_json(device: &DeviceSettings, class: &ClassLoad) -> serde_json::Value {
    let blocks = class.plan.blocks.iter().zip(&class.requests).enumerate();
    let requests = blocks.map(|(number, (block, time))| {
        let points = class.points(&device.map, number).into_iter().map(|point| {
            json!({
                "point": point.name.as_str(),
                "address": point.address,
                "ref": point.table.reference(point.address),
            })
        });
        let request = ReadRequest::new(device.unit, block.table, block.address, block.count);
        json!({
            "function": request.map(ReadRequest::function),
            "table": block.table.as_str(),
            "address": block.address,
            "ref": block.table.reference(block.address),
            "count": block.count,
            "seconds": time.as_secs_f64(),
            "points": points.collect::<Vec<_>>(),
        })
    });
    json!({
        "class": class.class.as_str(),
        "every_seconds": class.period.map(|period| period.as_secs_f64()),
        "seconds": class.time().as_secs_f64(),
        "load": class.load(),
        "refused": class.refused(&device.map).into_iter().map(|(point, code)| {
            json!({ "point": point.name.as_str(), "exception": code })
        }).collect::<Vec<_>>(),
        "requests": requests.collect::<Vec<_>>(),
    })
}

/// As an engineer writes it: "60.3 ms".
fn milliseconds(duration: Duration) -> String {
    format!("{:.2} ms", duration.as_secs_f64() * 1_000.0)
}
