use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::payload::settings::{CodecKind, MessageKind};
use crate::reading::{
    BootId, EventName, MapHash, Name, Quality, Reading, Schema, SchemaPoint, StreamId,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn json(integers_as_text: bool) -> Json {
    let settings = PayloadSettings {
        codec: CodecKind::Json,
        integers_as_text,
        message: MessageKind::Scan,
    };
    Json::new(settings, "hall-2")
}

fn stamp(synced: bool) -> Stamp {
    Stamp {
        wall_ns: 1_795_165_200_123_456_789,
        boot_ns: 5,
        boot: BootId(1),
        synced,
    }
}

fn record(body: Body) -> Record {
    Record {
        stream: StreamId(0x5f3a_9c1e),
        seq: 81_723,
        device_seq: 4_019,
        stamp: stamp(true),
        body,
    }
}

fn scan(points: Vec<(&str, Option<Reading>)>) -> Scan {
    let schema_point = |point: &str| SchemaPoint {
        name: name(point),
        value_type: ValueType::F64,
        unit: None,
    };
    let schema = Schema {
        line: name("meters"),
        device: name("meter-3"),
        scan: name("default"),
        labels: Vec::new(),
        map: MapHash(0x9c1e_42aa),
        points: points
            .iter()
            .map(|(point, _)| schema_point(point))
            .collect(),
    };
    Scan {
        schema: Arc::new(schema),
        readings: points.into_iter().map(|(_, reading)| reading).collect(),
        full: false,
    }
}

fn description() -> Description {
    let point = |point: &str, value_type, kind| PointDescription {
        name: name(point),
        value_type,
        scan: name("default"),
        title: None,
        unit: None,
        kind,
        codes: Vec::new(),
    };
    let mut energy = point(
        "energy",
        ValueType::F32,
        PointKind::Counter { wrap: Some(9_999) },
    );
    energy.unit = Some("kWh".to_owned());
    energy.title = Some("Energy \"total\"".to_owned());
    let mut state = point("state", ValueType::Text, PointKind::Gauge);
    state.codes = vec![(-1, "unknown".to_owned()), (0, "stopped".to_owned())];
    let mut warnings = point("warnings", ValueType::Texts, PointKind::Gauge);
    warnings.codes = vec![(0, "overload".to_owned())];
    let pulses = point("pulses", ValueType::UInt, PointKind::Counter { wrap: None });
    Description {
        device: name("meter-3"),
        line: name("meters"),
        map: MapHash(0x9c1e_42aa),
        title: Some("Three-phase meter".to_owned()),
        labels: vec![("area".to_owned(), "press".to_owned())],
        points: vec![energy, state, warnings, pulses],
    }
}

/// Compares with the golden file of this name; the file is data for consumers too, so it is never written from here.
#[track_caller]
fn assert_golden(file: &str, message: &Bytes) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cases/payload")
        .join(file);
    let golden = std::fs::read_to_string(&path).unwrap_or_default();
    let message = std::str::from_utf8(message).unwrap();
    assert_eq!(message, golden.trim_end(), "{}", path.display());
    serde_json::from_str::<serde_json::Value>(message).unwrap();
}

#[test]
fn the_example_of_the_contract() {
    let scan = scan(vec![
        ("voltage_l1", Some(Reading::good(Value::F64(230.1)))),
        ("current_l1", Some(Reading::missing(Quality::Timeout))),
    ]);
    assert_golden(
        "scan.json",
        &json(false).encode(&record(Body::Scan(scan)), None, false),
    );
}

#[test]
fn every_type_and_mark() {
    let mut scan = scan(vec![
        ("bool", Some(Reading::good(Value::Bool(true)))),
        ("int", Some(Reading::good(Value::Int(-5)))),
        ("uint", Some(Reading::good(Value::UInt(u64::MAX)))),
        ("f32", Some(Reading::good(Value::F32(0.1)))),
        ("unchanged", None),
        (
            "text",
            Some(Reading::good(Value::Text("a\"b\\c\nd\u{1}é".into()))),
        ),
        (
            "flags",
            Some(Reading::with_quality(
                Value::Texts(["overload".into(), "phase-loss".into()].into()),
                Quality::UnknownCode,
            )),
        ),
        ("refused", Some(Reading::missing(Quality::Exception(2)))),
    ]);
    scan.full = true;
    let mut record = record(Body::Scan(scan));
    record.stamp = stamp(false);
    assert_golden("scan-all.json", &json(true).encode(&record, None, true));
}

#[test]
fn events_of_the_gateway_and_of_a_device() {
    let event = Event::gateway(EventName::RecordsDropped)
        .text("reason", "max_size")
        .with(
            "seq",
            Detail::Ranges([(1, 5), (9, 9)].into_iter().collect()),
        )
        .with(
            "time",
            Detail::Times(1_795_165_200_000_000_000, 1_795_165_201_000_000_000),
        )
        .with("clean", Detail::Bool(false))
        .with("count", Detail::Int(6));
    let message = json(false).encode(&record(Body::Event(event)), None, false);
    assert_golden("event-gateway.json", &message);
    let event = Event::device(EventName::DeviceOffline, name("meter-3"));
    let message = json(false).encode(&record(Body::Event(event)), None, false);
    assert_golden("event-device.json", &message);
}

#[test]
fn descriptions_as_a_record_and_as_a_greeting() {
    let description = Arc::new(description());
    let body = Body::Description(Arc::clone(&description));
    let mut json = json(false);
    assert_golden("description.json", &json.encode(&record(body), None, false));
    assert_golden("greeting.json", &json.greeting(&description, stamp(true)));
}

#[test]
fn what_a_schema_tells_of_its_device() {
    let points = vec![("energy", None), ("state", None)];
    let mut schema = Schema::clone(&scan(points).schema);
    schema.labels = vec![("area".to_owned(), "press".to_owned())];
    schema.points[0].unit = Some("kWh".to_owned());
    assert_golden("sketch.json", &json(false).sketch(&schema, stamp(true)));
}

#[test]
fn a_test_message_has_no_numbers() {
    assert_golden("test.json", &json(false).trial(&name("cloud"), stamp(true)));
}

#[test]
fn a_long_message_is_whole() {
    let long = "x".repeat(200_000);
    let scan = scan(vec![(
        "text",
        Some(Reading::good(Value::Text(long.clone().into()))),
    )]);
    let mut json = json(false);
    for _ in 0..3 {
        let message = json.encode(&record(Body::Scan(scan.clone())), None, false);
        let value: serde_json::Value = serde_json::from_slice(&message).unwrap();
        assert_eq!(value["values"]["text"], long.as_str());
    }
}

#[test]
fn a_part_carries_one_reading_and_its_own_quality() {
    let scan = scan(vec![
        ("a", Some(Reading::good(Value::Int(1)))),
        ("unchanged", None),
        ("c", Some(Reading::missing(Quality::Timeout))),
    ]);
    let record = record(Body::Scan(scan));
    let mut json = json(false);
    let mut part = |nth, of| {
        let message = json.encode(&record, Some(Part { nth, of }), false);
        let json: serde_json::Value = serde_json::from_slice(&message).unwrap();
        [&json["part"], &json["values"], &json["quality"]].map(Clone::clone)
    };
    let null = serde_json::Value::Null;
    let pair = |nth: u32| serde_json::json!([nth, 2]);
    assert_eq!(
        part(1, 2),
        [pair(1), serde_json::json!({"a": 1}), null.clone()]
    );
    assert_eq!(
        part(2, 2),
        [
            pair(2),
            serde_json::json!({"c": null}),
            serde_json::json!({"c": "timeout"})
        ]
    );
    let [_, values, quality] = part(3, 3);
    assert_eq!((values, quality), (serde_json::json!({}), null));
}

#[test]
fn the_state_says_why_and_a_will_knows_no_time() {
    let upstream = name("cloud");
    let online = json(false).status(&upstream, Status::Online, Some(stamp(true)));
    assert_eq!(
        online,
        r#"{"v":1,"gateway":"hall-2","upstream":"cloud","time":"2026-11-20T09:00:00.123456Z","status":"online","reason":"connected"}"#
    );
    let lost = json(false).status(&upstream, Status::Lost, None);
    assert_eq!(
        lost,
        r#"{"v":1,"gateway":"hall-2","upstream":"cloud","status":"offline","reason":"connection-lost"}"#
    );
}
