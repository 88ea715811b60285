//! The device maps that are shipped: registers as the documents have them become the values that they mean, and every
//! point of every map is read back from a simulated device by the line's own task.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use forebay::config;
use forebay::field::modbus::map::{Bits, DeviceMap, Names, Point, RawType, Scale, Table};
use forebay::reading::{Body, Reading, Value, ValueRef};
use forebay::simulator::device::SimulatedDevice;

use super::rig::*;

const EVERY: Duration = Duration::from_secs(1);

fn shipped(name: &str) -> DeviceMap {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/maps");
    let text = std::fs::read_to_string(folder.join(format!("{name}.toml"))).unwrap();
    config::map_from_text(name, &text).unwrap_or_else(|report| panic!("{report}"))
}

fn all() -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/maps");
    let files = std::fs::read_dir(folder).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names
        .map(|name| name.strip_suffix(".toml").unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// What the line tells of every point of a device.
async fn readings(map: DeviceMap, device: SimulatedDevice) -> BTreeMap<String, Reading> {
    let sent = map.points.iter().filter(|point| point.send).count();
    let settings = line(
        tcp(1),
        Duration::from_secs(1),
        vec![device_settings(1, map, EVERY)],
    );
    let line = run_in_memory(settings, vec![device]);
    line.outbox
        .wait(0, |seen| {
            let mut all = BTreeMap::new();
            for observation in seen {
                let Body::Scan(scan) = &observation.body else {
                    continue;
                };
                let points = scan.schema.points.iter().zip(&scan.readings);
                all.extend(points.filter_map(|(point, reading)| {
                    Some((point.name.as_str().to_owned(), reading.clone()?))
                }));
            }
            (all.len() == sent).then_some(all)
        })
        .await
}

/// Some value of its own for the point with this index, and as a number where it is one.
fn own_value(point: &Point, index: usize, factors: &BTreeMap<usize, i64>) -> Value {
    let number = i64::try_from(index).unwrap() + 1;
    match (&point.transform.names, &point.raw, point.transform.bits) {
        (Some(Names::Enum(codes)), ..) => {
            let (_, text) = &codes[index % codes.len()];
            return Value::Text(text.as_str().into());
        }
        (Some(Names::Flags(flags)), ..) => {
            let (_, name) = &flags[index % flags.len()];
            return Value::Texts(Box::new([name.as_str().into()]));
        }
        (_, RawType::Text(_), _) => return Value::Text(format!("S{index}").into()),
        (_, RawType::Bool, _) | (_, _, Some(Bits::One(_))) => {
            return Value::Bool(index.is_multiple_of(2));
        }
        (_, _, Some(Bits::Range(..))) => return Value::Int(number % 4),
        (_, RawType::F32 | RawType::F64, _) => return Value::F64(number as f64 * 1.5),
        _ => {}
    }
    match point.transform.scale {
        None => Value::Int(number),
        Some(Scale::Number(scale)) => Value::F64(number as f64 * scale.to_f64()),
        Some(Scale::Power10(factor)) => {
            Value::F64(number as f64 * 10_f64.powi(factors[&factor] as i32))
        }
        Some(Scale::Point(factor, times)) => {
            Value::F64(number as f64 * factors[&factor] as f64 * times.to_f64())
        }
    }
}

fn is_same(read: ValueRef<'_>, given: ValueRef<'_>) -> bool {
    match (read.number(), given.number()) {
        (Some(read), Some(given)) => (read - given).abs() <= given.abs() * 1e-6,
        _ => read == given,
    }
}

#[tokio::test(start_paused = true)]
async fn every_point_of_every_map_is_read_back() {
    let names = all();
    assert!(names.len() > 10, "{names:?}");
    for name in names {
        let map = shipped(&name);
        let device = SimulatedDevice::of(1, &map);
        let mut factors = BTreeMap::new();
        for (index, point) in map.points.iter().enumerate() {
            if map.scaled_by(index).is_some() {
                factors.insert(index, -1);
                assert!(
                    device.set_point(point, &Value::Int(-1), None),
                    "{name}: {}",
                    point.name
                );
            }
        }
        let mut given = BTreeMap::new();
        for (index, point) in map
            .points
            .iter()
            .enumerate()
            .filter(|(_, point)| point.send)
        {
            let value = own_value(point, index, &factors);
            let factor = match point.transform.scale {
                Some(Scale::Power10(factor) | Scale::Point(factor, _)) => {
                    Some(factors[&factor] as f64)
                }
                _ => None,
            };
            assert!(
                device.set_point(point, &value, factor),
                "{name}: {}",
                point.name
            );
            given.insert(point.name.as_str().to_owned(), value);
        }
        let read = readings(map, device).await;
        for (point, given) in &given {
            let reading = &read[point];
            let value = reading
                .value()
                .unwrap_or_else(|| panic!("{name}: {point}: {reading:?}"));
            assert!(
                is_same(value, given.as_ref()),
                "{name}: {point}: {given:?} came back as {value:?}"
            );
        }
    }
}

/// The value for people, or the quality of a null.
fn shown(reading: &Reading) -> String {
    match reading.value() {
        Some(Value::Bool(bit)) => bit.to_string(),
        Some(Value::Int(number)) => number.to_string(),
        Some(Value::UInt(number)) => number.to_string(),
        Some(Value::F32(number)) => number.to_string(),
        Some(Value::F64(number)) => number.to_string(),
        Some(Value::Text(text)) => text.to_string(),
        Some(Value::Texts(texts)) => texts.join(", "),
        None => reading.quality().to_string(),
    }
}

/// Sets `TABLE ADDRESS = WORD WORD…`.
fn hold(device: &SimulatedDevice, held: &str) {
    let (place, words) = held.split_once(" = ").unwrap();
    let (table, address) = place.trim().split_once(' ').unwrap();
    let table = Table::ALL
        .into_iter()
        .find(|t| t.as_str() == table)
        .unwrap();
    let address = match address.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16).unwrap(),
        None => address.parse().unwrap(),
    };
    let words = words.split_whitespace();
    let words: Vec<u16> = words
        .map(|word| u16::from_str_radix(word, 16).unwrap())
        .collect();
    device.set(table, address, &words);
}

#[tokio::test(start_paused = true)]
async fn registers_become_the_values_that_the_documents_give_them() {
    let cases = include_str!("../cases/maps.txt");
    let cases = cases
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    let mut tested: Vec<&str> = Vec::new();
    for case in cases {
        let (name, rest) = case.split_once(": ").unwrap();
        let (held, expected) = rest.split_once(" -> ").unwrap();
        let (point, expected) = expected.split_once(" = ").unwrap();
        let map = shipped(name);
        let device = SimulatedDevice::of(1, &map);
        for held in held.split("; ") {
            hold(&device, held);
        }
        let read = readings(map, device).await;
        assert_eq!(shown(&read[point]), expected, "{case}");
        tested.push(name);
    }
    for name in all() {
        let simulated = name == "demo-press";
        assert!(
            simulated || tested.contains(&name.as_str()),
            "{name} has no known values"
        );
    }
}
