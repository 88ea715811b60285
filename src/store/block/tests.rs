use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::reading::{
    Description, Detail, Event, EventName, MapHash, PointDescription, PointKind, Quality, Reading,
    Scan, SchemaPoint, Stamp, Value, ValueType,
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

/// Readings of every kind; those with numbers `n` steps on.
fn readings(n: u8) -> Vec<Option<Reading>> {
    let odd = n % 2 == 1;
    vec![
        (!odd).then(|| Reading::good(Value::Bool(true))),
        Some(Reading::good(Value::Bool(odd))),
        Some(Reading::good(Value::Int(i64::from(n) - 2))),
        Some(Reading::good(Value::UInt(u64::MAX - u64::from(n)))),
        Some(Reading::good(Value::F32(0.333_333_34 + f32::from(n) * 0.1))),
        Some(Reading::good(Value::F32(230.1))),
        Some(Reading::with_quality(
            Value::F64(-1.5e300),
            Quality::OutOfRange,
        )),
        Some(Reading::good(Value::F64(
            f64::from(2_301 + u16::from(n)) / 10.0,
        ))),
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

fn scan(schema: &Arc<Schema>, n: u8, full: bool) -> Body {
    Body::Scan(Scan {
        schema: Arc::clone(schema),
        readings: readings(n),
        full,
    })
}

fn known() -> [Arc<Schema>; 2] {
    [schema("press", 12), schema("oven", 12)]
}

fn id(schema: &Arc<Schema>) -> SchemaId {
    u32::from(schema.device.as_str() == "oven")
}

fn sample() -> Vec<Arc<Record>> {
    let [press, oven] = known();
    let dropped = Event::device(EventName::RecordsDropped, name("oven"))
        .text("reason", "max_size")
        .with(
            "seq",
            Detail::Ranges([(1, 7), (9, 9)].into_iter().collect()),
        )
        .with("time", Detail::Times(-5, i64::MAX))
        .with("count", Detail::Int(-8))
        .with("clean", Detail::Bool(true));
    let started = Body::Event(Event::gateway(EventName::GatewayStarted));
    let at = 1_700_000_000_000_000_000;
    records(
        81_723,
        vec![
            (stamp(at, 5_000, true), started),
            (
                stamp(at + 100_000_000, 6_000, true),
                Body::Description(description("press")),
            ),
            (stamp(at + 50_000_000, 5_500, false), scan(&press, 0, true)),
            (stamp(at + 50_001_000, 6_500, true), scan(&oven, 1, false)),
            (stamp(at + 50_002_000, 7_500, true), scan(&press, 3, false)),
            (stamp(-7, 7_000, true), Body::Event(dropped)),
        ],
    )
}

/// Long enough that it is compressed.
fn long_sample() -> Vec<Arc<Record>> {
    let [press, oven] = known();
    let bodies = (0..40).map(|n| {
        let schema = if n % 3 == 0 { &oven } else { &press };
        (stamp(i64::from(n), 7, true), scan(schema, n, false))
    });
    records(7, bodies.collect())
}

fn decode_with(value: &[u8], known: &[Arc<Schema>]) -> Option<Vec<Arc<Record>>> {
    decode(envelope::exactly(value)?.payload, |id| {
        known.get(id as usize).cloned()
    })
}

#[test]
fn a_block_comes_back_as_it_was() {
    let value = encode(&sample(), id).unwrap();
    assert_eq!(decode_with(&value, &known()), Some(sample()));
    assert_eq!(
        decode_with(&value, &[]),
        None,
        "without its schema it cannot be read"
    );
    let (header, _) = header(envelope::exactly(&value).unwrap().payload).unwrap();
    assert_eq!((header.first, header.end()), (81_723, 81_729));
    assert_eq!(
        (header.earliest, header.latest),
        (-7, 1_700_000_000_100_000_000)
    );
    assert!(header.has_descriptions() && header.has_events() && !header.synced());
    let spans: Vec<String> = header
        .devices
        .iter()
        .map(|span| format!("{:?} {}+{}", span.device, span.first, span.count))
        .collect();
    assert_eq!(
        spans,
        [
            "None 100+1",
            "Some(\"press\") 100+3",
            "Some(\"oven\") 100+2"
        ]
    );
}

/// Blocks of this version must be readable for ever: these were written by it.
const FROZEN: &[u8] = include_bytes!("fixture-v1.bin");
const FROZEN_LONG: &[u8] = include_bytes!("fixture-v1-long.bin");

#[test]
fn its_bytes_are_frozen() {
    for (records, frozen) in [(sample(), FROZEN), (long_sample(), FROZEN_LONG)] {
        let value = encode(&records, id).unwrap();
        assert_eq!(decode_with(frozen, &known()), Some(records));
        assert!(
            unpacked(&value) == unpacked(frozen),
            "the format changed: a new version, and fixtures beside these"
        );
    }
}

/// Header and body: another version of the compression may choose other bytes for the same.
fn unpacked(value: &[u8]) -> (Header, Vec<u8>) {
    let (header, stored) = header(envelope::exactly(value).unwrap().payload).unwrap();
    let body = match header.flags & COMPRESSED {
        0 => stored.0.to_vec(),
        _ => lz4_flex::block::decompress(stored.0, header.body).unwrap(),
    };
    (header, body)
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
        (any::<i32>(), 0..8)
            .prop_map(|(whole, decimals)| Value::F64(f64::from(whole) / 10f64.powi(decimals))),
        (any::<i16>(), 0..5)
            .prop_map(|(whole, decimals)| Value::F32(f32::from(whole) / 10f32.powi(decimals))),
        Just(Value::F64(-0.0)),
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
        let value = encode(&sample(), id).unwrap();
        let sound = envelope::exactly(&value).unwrap().payload;
        let _ = decode(&payload, |_| Some(schema("press", 12)));
        let mut bent = sound.to_vec();
        let at = at.min(bent.len());
        bent.truncate(at);
        bent.append(&mut payload);
        let _ = decode(&bent, |_| Some(schema("press", 12)));
    }

    #[test]
    fn no_single_change_makes_it_panic(long: bool, at: prop::sample::Index, byte: u8) {
        let value = encode(&if long { long_sample() } else { sample() }, id).unwrap();
        let mut bent = envelope::exactly(&value).unwrap().payload.to_vec();
        let at = at.index(bent.len());
        bent[at] = byte;
        let _ = decode(&bent, |id| known().get(id as usize).cloned());
    }
}

#[test]
fn what_is_claimed_without_bytes_behind_it_is_refused_before_memory_is_taken_for_it() {
    let value = encode(&sample(), id).unwrap();
    let sound = envelope::exactly(&value).unwrap().payload.to_vec();
    let stored = header(&sound).unwrap().1.0.len();
    let (count, body) = (14..18, sound.len() - stored - 4..sound.len() - stored);
    for place in [count, body] {
        let mut bent = sound.clone();
        bent[place].fill(0xff);
        assert_eq!(decode(&bent, |id| known().get(id as usize).cloned()), None);
    }
    let (many, mut memory) = (1 << 20, readings::Memory::default());
    let kinds = vec![0; many];
    let (mut kinds, mut values) = (Bytes(&kinds), Bytes(&[]));
    memory.begin(0, None).unwrap();
    assert_eq!(memory.take(&mut kinds, &mut values, 0, many + 1), None);
    assert!(memory.take(&mut kinds, &mut values, 0, many).is_some());
    let copies = (1..100).take_while(|&place| memory.begin(place, Some(0)).is_some());
    assert!(
        copies.count() < 4,
        "also where nothing but places claims it"
    );
}
