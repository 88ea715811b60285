//! Against a Modbus server of others: values equal what it was given, for every type, order and transformation, over
//! TCP and over RTU on a serial line.

use std::time::Duration;

use forebay::field::modbus::map::{
    Bits, Byte, DateTimeForm, DeviceMap, Names, Order, Point, RawType, Scale, Table, Transform,
    Zone,
};
use forebay::field::settings::Transport;
use forebay::reading::{Body, EventName, Quality, Reading, Value};
use serde_json::{Map, json};

use super::rig::*;
use crate::harness::modbus::ModbusServer;
use crate::harness::pty::Cable;

const EVERY: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(1);

/// A point, what the server is given for it, and the reading that must come of it.
struct Case {
    raw: RawType,
    order: &'static str,
    given: serde_json::Value,
    transform: Transform,
    expected: Reading,
}

fn order(name: &str) -> Order {
    Order {
        words_reversed: matches!(name, "CDAB" | "DCBA"),
        bytes_swapped: matches!(name, "BADC" | "DCBA"),
    }
}

fn good(value: Value) -> Reading {
    Reading::good(value)
}

fn text(text: &str) -> Value {
    Value::Text(text.into())
}

/// Every type in every order, packed by the server's own struct module.
fn types() -> Vec<Case> {
    let typed = [
        (
            RawType::U16,
            json!({"type": "u16", "value": 54_321}),
            Value::Int(54_321),
        ),
        (
            RawType::I16,
            json!({"type": "i16", "value": -1234}),
            Value::Int(-1234),
        ),
        (
            RawType::U32,
            json!({"type": "u32", "value": 4_000_000_001_u32}),
            Value::Int(4_000_000_001),
        ),
        (
            RawType::I32,
            json!({"type": "i32", "value": -123_456_789}),
            Value::Int(-123_456_789),
        ),
        (
            RawType::U64,
            json!({"type": "u64", "value": u64::MAX - 5}),
            Value::UInt(u64::MAX - 5),
        ),
        (
            RawType::I64,
            json!({"type": "i64", "value": i64::MIN + 5}),
            Value::Int(i64::MIN + 5),
        ),
        (
            RawType::F32,
            json!({"type": "f32", "value": 230.1}),
            Value::F32(230.1),
        ),
        (
            RawType::F64,
            json!({"type": "f64", "value": -0.1}),
            Value::F64(-0.1),
        ),
        (
            RawType::Bcd16,
            json!({"type": "bcd16", "value": 9071}),
            Value::Int(9071),
        ),
        (
            RawType::Bcd32,
            json!({"type": "bcd32", "value": 12_345_678}),
            Value::Int(12_345_678),
        ),
        (
            RawType::Sm16,
            json!({"type": "sm16", "value": -77}),
            Value::Int(-77),
        ),
        (
            RawType::Mod10,
            json!({"type": "mod10-32", "value": -12_340_567}),
            Value::Int(-12_340_567),
        ),
        (
            RawType::PfQuadrant,
            json!({"type": "f32", "value": 1.3}),
            Value::F32(0.7),
        ),
        (
            RawType::U8(Byte::High),
            json!({"type": "u16", "value": 0xAB12}),
            Value::Int(0xAB),
        ),
        (
            RawType::I8(Byte::Low),
            json!({"type": "u16", "value": 0x12FE}),
            Value::Int(-2),
        ),
        (
            RawType::DateTime(DateTimeForm::Unix32, Zone(jiff::tz::TimeZone::UTC)),
            json!({"type": "u32", "value": 1_700_000_000}),
            text("2023-11-14T22:13:20Z"),
        ),
    ];
    let orders = ["ABCD", "CDAB", "BADC", "DCBA"];
    let typed = typed.into_iter().flat_map(|(raw, given, value)| {
        orders.map(|order| {
            let mut given = given.clone();
            given["order"] = json!(order);
            case(raw.clone(), order, given, good(value.clone()))
        })
    });
    let texts = [
        case(
            RawType::Text(4),
            "ABCD",
            json!({"type": "string", "value": "SN 42\u{e4} "}),
            good(text("SN 42\u{e4}")),
        ),
        case(
            RawType::Text(2),
            "BADC",
            json!({"type": "string", "order": "BADC", "value": "abcd"}),
            good(text("abcd")),
        ),
        case(
            RawType::Bytes(2),
            "ABCD",
            json!({"type": "raw", "value": "00ff12ab"}),
            good(text("00ff12ab")),
        ),
    ];
    typed.chain(texts).collect()
}

fn case(raw: RawType, order: &'static str, given: serde_json::Value, expected: Reading) -> Case {
    Case {
        raw,
        order,
        given,
        transform: Transform::default(),
        expected,
    }
}

fn transformed(word: u16, expected: Reading, change: impl FnOnce(&mut Transform)) -> Case {
    let mut case = case(RawType::I16, "ABCD", json!(word), expected);
    change(&mut case.transform);
    case
}

fn transformations() -> Vec<Case> {
    let number = |text: &str| text.parse().unwrap();
    let missing = Reading::missing;
    vec![
        transformed(0x8000, missing(Quality::Invalid), |t| {
            t.invalid = vec![0x8000]
        }),
        transformed(0b1000, good(Value::Bool(true)), |t| {
            t.bits = Some(Bits::One(3))
        }),
        transformed(0xABCD, good(Value::Int(0xC)), |t| {
            t.bits = Some(Bits::Range(4, 7))
        }),
        transformed(2301, good(Value::F64(230.1)), |t| {
            t.scale = Some(Scale::Number(number("0.1")))
        }),
        transformed(23, good(Value::Int(230)), |t| {
            t.scale = Some(Scale::Number(number("10.0")))
        }),
        transformed(100, good(Value::F64(-30.5)), |t| {
            t.scale = Some(Scale::Number(number("0.1")));
            t.offset = Some(number("-40.5"));
        }),
        transformed(2, good(text("fault")), |t| {
            t.names = Some(Names::Enum(vec![
                (1, "running".into()),
                (2, "fault".into()),
            ]));
        }),
        transformed(
            5,
            Reading::with_quality(
                Value::Texts(Box::new(["overload".into()])),
                Quality::UnknownCode,
            ),
            |t| {
                t.names = Some(Names::Flags(vec![(0, "overload".into())]));
            },
        ),
        transformed(
            500,
            Reading::with_quality(Value::Int(500), Quality::OutOfRange),
            |t| {
                t.max = Some(number("499"));
            },
        ),
    ]
}

/// The map of the cases, what the server holds, and the readings to expect, in the order of the map.
fn laid_out() -> (DeviceMap, serde_json::Value, Vec<Reading>) {
    let (mut points, mut held, mut expected) = (Vec::new(), Map::new(), Vec::new());
    let mut address = 0;
    for case in types().into_iter().chain(transformations()) {
        let width = case.raw.width();
        held.insert(address.to_string(), json!([case.given]));
        points.push(Point {
            raw: case.raw,
            order: order(case.order),
            transform: case.transform,
            ..point(address)
        });
        expected.push(case.expected);
        address += width;
    }
    // A factor that is read with its point.
    held.insert(
        address.to_string(),
        json!([1234, {"type": "i16", "value": -2}]),
    );
    let factor = points.len() + 1;
    let mut scaled = point(address);
    scaled.transform.scale = Some(Scale::Power10(factor));
    points.extend([
        scaled,
        Point {
            raw: RawType::I16,
            ..point(address + 1)
        },
    ]);
    expected.extend([good(Value::F64(12.34)), good(Value::Int(-2))]);
    // The other three tables.
    let on = |table, raw, at, name_: &str| Point {
        table,
        raw,
        name: name(name_),
        ..point(at)
    };
    points.push(on(Table::Coil, RawType::Bool, 3, "coil"));
    points.push(on(Table::DiscreteInput, RawType::Bool, 17, "discrete"));
    points.push(on(Table::InputRegister, RawType::U16, 30, "input"));
    expected.extend([
        good(Value::Bool(true)),
        good(Value::Bool(true)),
        good(Value::Int(4711)),
    ]);
    let units = json!({"1": {
        "holding": held,
        "coil": {"3": [1]},
        "discrete": {"17": [1]},
        "input": {"30": [4711]},
    }});
    let map = DeviceMap {
        points,
        ..DeviceMap::default()
    };
    (map, units, expected)
}

pub(super) async fn values_equal_what_the_server_was_given(
    transport: Transport,
    start: impl Fn(&serde_json::Value) -> ModbusServer,
) {
    let (map, units, expected) = laid_out();
    let mut server = start(&units);
    let transport = match transport {
        Transport::ModbusTcp { .. } => tcp(server.port),
        Transport::ModbusRtuOverTcp { .. } => rtu_over_tcp(server.port),
        serial => serial,
    };
    let names: Vec<_> = map
        .points
        .iter()
        .map(|point| (point.name.clone(), point.raw.clone(), point.order))
        .collect();
    let line = run(line(
        transport,
        TIMEOUT,
        vec![device_settings(1, map, EVERY)],
    ));
    let last_scan = |seen: &[forebay::reading::Observation]| match &seen.last()?.body {
        Body::Scan(scan) => Some(scan.readings.clone()),
        _ => None,
    };
    for _ in 0..10 {
        let readings = line.outbox.wait(line.outbox.len(), last_scan).await;
        for ((reading, expected), name) in readings.iter().zip(&expected).zip(&names) {
            assert_eq!(reading.as_ref(), Some(expected), "{name:?}");
        }
        assert_eq!(readings.len(), expected.len());
    }
    // What the server is given later is what is read then.
    server.set(1, "input", 30, &json!([4712]));
    let changed = |seen: &[forebay::reading::Observation]| {
        let last = last_scan(seen)?.pop()??;
        (last == good(Value::Int(4712))).then_some(())
    };
    line.outbox.wait(line.outbox.len(), changed).await;
    drop(server);
    line.outbox
        .wait(line.outbox.len(), |seen| {
            let readings = last_scan(seen)?;
            readings
                .iter()
                .flatten()
                .all(|r| r.value().is_none())
                .then_some(())
        })
        .await;
}

#[tokio::test]
#[ignore = "needs pymodbus"]
async fn values_equal_what_the_server_was_given_over_tcp() {
    values_equal_what_the_server_was_given(tcp(0), |units| ModbusServer::tcp(0, units)).await;
}

#[tokio::test]
#[ignore = "needs pymodbus and socat"]
async fn values_equal_what_the_server_was_given_over_rtu() {
    let cable = Cable::new();
    let there = cable.there();
    let start = |units: &serde_json::Value| ModbusServer::rtu(&there, 115_200, units);
    values_equal_what_the_server_was_given(rtu(&cable.here()), start).await;
}

#[tokio::test]
#[ignore = "needs pymodbus"]
async fn values_equal_what_the_server_was_given_over_rtu_in_tcp() {
    let start = |units: &serde_json::Value| ModbusServer::rtu_over_tcp(0, units);
    values_equal_what_the_server_was_given(rtu_over_tcp(0), start).await;
}

#[tokio::test]
#[ignore = "needs pymodbus"]
async fn a_server_that_is_restarted_is_found_again() {
    let units = json!({"1": {"holding": {"0": [word_at(1, 0)]}}});
    let server = ModbusServer::tcp(0, &units);
    let port = server.port;
    let line = run(line(
        tcp(port),
        TIMEOUT,
        vec![device_settings(1, alone([0]), EVERY)],
    ));
    line.outbox.wait_for("d1", Quality::Good).await;
    drop(server);
    line.outbox.wait_for("d1", Quality::NoConnection).await;
    let _server = ModbusServer::tcp(port, &units);
    line.outbox.wait_for("d1", Quality::Good).await;
    assert_eq!(
        line.outbox.events(),
        [EventName::LineDown, EventName::LineUp]
    );
    assert_no_wrong_value(&line.outbox, [1]);
}
