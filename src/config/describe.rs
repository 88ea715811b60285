//! What consumers are told of a device, and the hash that names it.

use std::fmt::Write;

use xxhash_rust::xxh3::xxh3_64;

use crate::field::modbus::map::{DeviceMap, Names, Point};
use crate::reading::{Description, MapHash, Name, PointDescription};

/// The description of a device with its resolved map.
pub(super) fn describe(
    device: &Name,
    line: &Name,
    labels: Vec<(String, String)>,
    map: &DeviceMap,
) -> Description {
    let sent = map.points.iter().filter(|point| point.send);
    Description {
        device: device.clone(),
        line: line.clone(),
        map: hash(device, line, map),
        title: map.title.clone(),
        labels,
        points: sent.map(describe_point).collect(),
    }
}

fn describe_point(point: &Point) -> PointDescription {
    let codes = match &point.transform.names {
        Some(Names::Enum(codes)) => codes.clone(),
        Some(Names::Flags(flags)) => flags
            .iter()
            .map(|(bit, name)| (i64::from(*bit), name.clone()))
            .collect(),
        None => Vec::new(),
    };
    PointDescription {
        name: point.name.clone(),
        value_type: point.value_type(),
        scan: point.scan.clone(),
        title: point.title.clone(),
        unit: point.unit.clone(),
        kind: point.kind,
        codes,
    }
}

/// Over everything that gives a value its meaning, also of factors that are not sent; not over how it is read in time.
///
/// The text is this function's own: its form may not change, or every device would be described anew after an upgrade.
fn hash(device: &Name, line: &Name, map: &DeviceMap) -> MapHash {
    let mut text = String::from("forebay map 1\n");
    let title = map.title.as_deref().unwrap_or_default();
    let _ = writeln!(text, "{device} {line} {}", super::canonical::text_of(title));
    for point in &map.points {
        write_point(&mut text, point);
    }
    let [a, b, c, d, ..] = xxh3_64(text.as_bytes()).to_be_bytes();
    MapHash(u32::from_be_bytes([a, b, c, d]))
}

fn write_point(out: &mut String, point: &Point) {
    use super::canonical as form;
    let _ = write!(
        out,
        "{} {} {} {} {}{} {}",
        point.name,
        point.table.as_str(),
        point.address,
        form::raw(&point.raw),
        u8::from(point.order.words_reversed),
        u8::from(point.order.bytes_swapped),
        point.scan,
    );
    let _ = write!(out, " send={}", point.send);
    let title = point.title.as_deref().unwrap_or_default();
    let unit = point.unit.as_deref().unwrap_or_default();
    let _ = write!(
        out,
        " title={} unit={}",
        form::text_of(title),
        form::text_of(unit)
    );
    let _ = write!(out, " {}", form::kind(point.kind));
    let _ = write!(out, " {}", form::report(point.report));
    form::transform(out, &point.transform);
    out.push('\n');
}
