//! Points of a device of the configuration.

use std::process::ExitCode;

use serde_json::json;

use super::{
    Answer, ReadArguments, block_on, columns, complain, json_for, place, usage, words_for,
};
use crate::cli::columns::Cell;
use crate::cli::{FAILED, configuration, unknown, values};
use crate::config::Config;
use crate::field::once::{DeviceRead, PointRead, read_points};
use crate::field::settings::{DeviceSettings, LineSettings};
use crate::reading::Name;

pub(super) fn read(arguments: &ReadArguments) -> Answer {
    let config = configuration(&arguments.config)?;
    let Some((device, points)) = arguments.what.split_first() else {
        return Err(usage("name a device"));
    };
    let (line, device) = find(&config, device).map_err(|reason| usage(&reason))?;
    let wanted = named(device, points).map_err(|reason| usage(&reason))?;
    if !device.enabled {
        complain(&format!(
            "device {} is disabled; it is read all the same\n",
            device.name
        ));
    }
    let read = block_on(read_points(line, device, &wanted))?;
    let reads = &read.points;
    let code = if reads.iter().any(|read| !read.words.is_empty()) {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    };
    let text = if arguments.json {
        format!("{}\n", as_json(line, device, &read))
    } else {
        as_text(line, device, &read, columns::colour())
    };
    Ok((text, code))
}

fn find<'a>(
    config: &'a Config,
    name: &str,
) -> Result<(&'a LineSettings, &'a DeviceSettings), String> {
    let all = || {
        let lines = config.lines.iter();
        lines.flat_map(|line| line.devices.iter().map(move |device| (line, device)))
    };
    let found = all().find(|(_, device)| device.name.as_str() == name);
    found.ok_or_else(|| {
        unknown(
            "device",
            name,
            all().map(|(_, device)| device.name.as_str()),
        )
    })
}

fn named(device: &DeviceSettings, names: &[String]) -> Result<Vec<Name>, String> {
    let sent = || device.map.points.iter().filter(|point| point.send);
    let find = |name: &String| {
        let point = sent().find(|point| point.name.as_str() == name);
        let point = point.map(|point| point.name.clone());
        point.ok_or_else(|| unknown("point", name, sent().map(|point| point.name.as_str())))
    };
    names.iter().map(find).collect()
}

/// Why a device may be another than its map describes, most likely first.
const OTHER: [&str; 3] = [
    "the unit id, the address or the port is that of another device",
    "the map is that of another model: look for one of this device",
    "a newer model of the same registers: `identify = false` at the device takes its word for it",
];

fn as_text(
    line: &LineSettings,
    device: &DeviceSettings,
    read: &DeviceRead,
    colour: bool,
) -> String {
    let mut text = format!(
        "{} on line {}: unit {}, {}\n\n",
        device.name,
        line.name,
        device.unit,
        place(&line.transport)
    );
    let header = [
        "POINT",
        "VALUE",
        "UNIT",
        "QUALITY",
        "ADDRESS",
        "REF",
        "REGISTERS",
    ];
    let mut rows = vec![header.map(Cell::from).to_vec()];
    rows.extend(read.points.iter().map(row));
    text.push_str(&columns::columns(&rows, colour));
    if let (Some(found), Some(identity)) = (&read.other, &device.map.identity) {
        text.push_str(&format!(
            "\nthis is not the device that the map describes: there {identity}, here it is {found}\n"
        ));
        for cause in OTHER {
            text.push_str(&format!("  - {cause}\n"));
        }
    }
    let mut told = Vec::new();
    for error in read.points.iter().filter_map(|read| read.error.as_ref()) {
        if !told.contains(&error) {
            told.push(error);
            text.push_str(&format!("\n{}", words_for(error, &line.transport)));
        }
    }
    text
}

fn row(read: &PointRead) -> Vec<Cell> {
    let point = &read.point;
    let value = read.reading.value().map_or("-".to_owned(), values::text);
    vec![
        Cell::from(point.name.as_str()),
        Cell::from(value),
        Cell::from(point.unit.clone().unwrap_or_default()),
        Cell::from(read.reading.quality().to_string()),
        Cell::from(format!("{} {}", point.table.as_str(), point.address)),
        Cell::from(point.table.reference(point.address)),
        Cell::dim(hex(read).join(" ")),
    ]
}

/// Registers as four hex digits each, a bit as 0 or 1.
fn hex(read: &PointRead) -> Vec<String> {
    let words = read.words.iter();
    if read.point.table.is_bits() {
        words.map(u16::to_string).collect()
    } else {
        words.map(|word| format!("{word:04X}")).collect()
    }
}

fn as_json(line: &LineSettings, device: &DeviceSettings, read: &DeviceRead) -> serde_json::Value {
    let points: Vec<_> = read
        .points
        .iter()
        .map(|read| {
            let point = &read.point;
            json!({
                "point": point.name.as_str(),
                "value": read.reading.value().map(values::as_json),
                "unit": point.unit,
                "quality": read.reading.quality().to_string(),
                "table": point.table.as_str(),
                "address": point.address,
                "ref": point.table.reference(point.address),
                "registers": hex(read),
                "error": read.error.as_ref().map(|error| json_for(error, &line.transport)),
            })
        })
        .collect();
    json!({
        "device": device.name.as_str(),
        "line": line.name.as_str(),
        "unit": device.unit,
        "identity": device.map.identity.as_ref().map(|identity| json!({
            "expected": identity.to_string(),
            "found": read.other,
        })),
        "points": points,
    })
}
