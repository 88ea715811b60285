use proptest::prelude::*;

use super::*;
use crate::reading::{
    Description, Detail, Event, EventName, MapHash, PointDescription, PointKind, Quality, Reading,
    SchemaPoint, Value, ValueType,
};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn schema(device: &str, points: usize) -> Arc<Schema> {
    let point = |n: usize| SchemaPoint {
        name: name(&format!("p{n}")),
        value_type: ValueType::F32,
        unit: None,
    };
    Arc::new(Schema {
        line: name("hall"),
        device: name(device),
        scan: name("default"),
        labels: Vec::new(),
        map: MapHash(1),
        points: (0..points).map(point).collect(),
    })
}

fn description(device: &str) -> Arc<Description> {
    let point = |wrap| PointDescription {
        name: name("energy"),
        value_type: ValueType::F64,
        scan: name("slow"),
        title: None,
        unit: Some("kWh".to_owned()),
        kind: PointKind::Counter { wrap },
        codes: vec![(-1, "off".to_owned())],
    };
    Arc::new(Description {
        device: name(device),
        line: name("hall"),
        map: MapHash(2),
        title: Some("Meter".to_owned()),
        labels: vec![("area".to_owned(), "n".to_owned())],
        points: vec![point(None), point(Some(1 << 40))],
    })
}

fn readings() -> Vec<Option<Reading>> {
    vec![
        None,
        Some(Reading::good(Value::Bool(true))),
        Some(Reading::good(Value::Int(-2))),
        Some(Reading::good(Value::UInt(u64::MAX))),
        Some(Reading::good(Value::F32(230.1))),
        Some(Reading::with_quality(
            Value::F64(-1.5e300),
            Quality::OutOfRange,
        )),
        Some(Reading::good(Value::Text("läuft".into()))),
        Some(Reading::with_quality(
            Value::Texts(["a".into(), "b".into()].into()),
            Quality::UnknownCode,
        )),
        Some(Reading::missing(Quality::Exception(2))),
        Some(Reading::missing(Quality::Timeout)),
    ]
}

/// Numbers the bodies from `seq` on, and those of each device from 100 on.
fn records(seq: u64, bodies: Vec<(Stamp, Body)>) -> Vec<Arc<Record>> {
    let mut counters = HashMap::new();
    let number = |(n, (stamp, body)): (usize, (Stamp, Body))| {
        let counter = counters.entry(body.device().cloned()).or_insert(99);
        *counter += 1;
        Arc::new(Record {
            stream: StreamId(0x5f3a_9c1e),
            seq: seq + n as u64,
            device_seq: *counter,
            stamp,
            body,
        })
    };
    bodies.into_iter().enumerate().map(number).collect()
}

fn stamp(wall_ns: i64, boot_ns: u64, synced: bool) -> Stamp {
    Stamp {
        wall_ns,
        boot_ns,
        boot: BootId(0xb007),
        synced,
    }
}

fn sample() -> Vec<Arc<Record>> {
    let scan = |full| {
        Body::Scan(Scan {
            schema: schema("press", 10),
            readings: readings(),
            full,
        })
    };
    let dropped = Event::device(EventName::RecordsDropped, name("oven"))
        .text("reason", "max_size")
        .with(
            "seq",
            Detail::Ranges([(1, 7), (9, 9)].into_iter().collect()),
        )
        .with("time", Detail::Times(-5, i64::MAX))
        .with("count", Detail::Int(-8))
        .with("clean", Detail::Bool(true));
    records(
        81_723,
        vec![
            (
                stamp(1_700_000_000_000_000_000, 5_000, true),
                Body::Event(Event::gateway(EventName::GatewayStarted)),
            ),
            (
                stamp(1_700_000_000_100_000_000, 6_000, true),
                Body::Description(description("press")),
            ),
            (stamp(1_700_000_000_050_000_000, 5_500, false), scan(true)),
            (stamp(-7, 7_000, true), Body::Event(dropped)),
        ],
    )
}

fn decode_with(value: &[u8], known: &[Arc<Schema>]) -> Option<Vec<Arc<Record>>> {
    decode(envelope::exactly(value)?.payload, |id| {
        known.get(id as usize).cloned()
    })
}

#[test]
fn a_block_comes_back_as_it_was() {
    let value = encode(&sample(), |_| 0).unwrap();
    assert_eq!(decode_with(&value, &[schema("press", 10)]), Some(sample()));
    assert_eq!(
        decode_with(&value, &[]),
        None,
        "without its schema it cannot be read"
    );
    let (header, _) = header(envelope::exactly(&value).unwrap().payload).unwrap();
    assert_eq!((header.first, header.end()), (81_723, 81_727));
    assert_eq!(
        (header.earliest, header.latest),
        (-7, 1_700_000_000_100_000_000)
    );
    assert!(header.has_descriptions() && !header.synced());
    let spans: Vec<String> = header
        .devices
        .iter()
        .map(|span| format!("{:?} {}+{}", span.device, span.first, span.count))
        .collect();
    assert_eq!(
        spans,
        [
            "None 100+1",
            "Some(\"press\") 100+2",
            "Some(\"oven\") 100+1"
        ]
    );
}

/// Blocks of this version must be readable for ever: this one was written by it.
const FROZEN: &[u8] = include_bytes!("fixture-v1.bin");

#[test]
fn its_bytes_are_frozen() {
    assert_eq!(decode_with(FROZEN, &[schema("press", 10)]), Some(sample()));
    let value = encode(&sample(), |_| 0).unwrap();
    assert!(
        value == FROZEN,
        "the format changed: a new version, and a fixture beside this one"
    );
}

#[test]
fn a_long_block_is_compressed() {
    let scans = (0..50).map(|n| {
        let readings = (0..50u8)
            .map(|p| Some(Reading::good(Value::F32(f32::from(p) * 0.5))))
            .collect();
        let scan = Scan {
            schema: schema("press", 50),
            readings,
            full: false,
        };
        (
            stamp(1_700_000_000_000_000_000 + n, 5_000, true),
            Body::Scan(scan),
        )
    });
    let records = records(1, scans.collect());
    let value = encode(&records, |_| 0).unwrap();
    assert!(value.len() < 50 * 50 * 2, "{}", value.len());
    assert_eq!(decode_with(&value, &[schema("press", 50)]), Some(records));
}

fn any_reading() -> impl Strategy<Value = Option<Reading>> {
    let value = prop_oneof![
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Int),
        any::<u64>().prop_map(Value::UInt),
        (-1e30f32..1e30).prop_map(Value::F32),
        (-1e300f64..1e300).prop_map(Value::F64),
        ".{0,9}".prop_map(|text| Value::Text(text.into())),
    ];
    prop_oneof![
        Just(None),
        value.clone().prop_map(|value| Some(Reading::good(value))),
        value.prop_map(|value| Some(Reading::with_quality(value, Quality::OutOfRange))),
        any::<u8>().prop_map(|code| Some(Reading::missing(Quality::Exception(code)))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_scans_come_back(
        scans in prop::collection::vec((0usize..3, any::<i64>(), any::<u64>(), any::<bool>(), prop::collection::vec(any_reading(), 0..20)), 1..30),
        first in 1u64..1 << 60,
    ) {
        let known = [schema("a", 1), schema("b", 2), schema("c", 3)];
        let bodies = scans.into_iter().map(|(which, wall, boot, synced, readings)| {
            let scan = Scan { schema: Arc::clone(&known[which]), readings, full: synced };
            (stamp(wall, boot, synced), Body::Scan(scan))
        });
        let records = records(first, bodies.collect());
        let id = |schema: &Arc<Schema>| known.iter().zip(0..).find(|(known, _)| *known == schema).unwrap().1;
        let value = encode(&records, id).unwrap();
        prop_assert_eq!(decode_with(&value, &known), Some(records));
    }

    #[test]
    fn no_bytes_make_it_panic(mut payload in prop::collection::vec(any::<u8>(), 0..300), at in 0usize..400) {
        let value = encode(&sample(), |_| 0).unwrap();
        let sound = envelope::exactly(&value).unwrap().payload;
        let _ = decode(&payload, |_| Some(schema("press", 10)));
        let mut bent = sound.to_vec();
        let at = at.min(bent.len());
        bent.truncate(at);
        bent.append(&mut payload);
        let _ = decode(&bent, |_| Some(schema("press", 10)));
    }
}
