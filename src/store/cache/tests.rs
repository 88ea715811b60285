use super::*;
use crate::reading::{Event, EventName, MapHash, Schema, SchemaPoint, Stamp, StreamId};

fn block(first: u64, count: u64, text: usize) -> Vec<Arc<Record>> {
    let record = |seq| {
        let event = Event::gateway(EventName::LineUp).text("why", "x".repeat(text));
        Arc::new(Record {
            stream: StreamId(1),
            seq,
            device_seq: seq,
            stamp: Stamp::default(),
            body: Body::Event(event),
        })
    };
    (first..first + count).map(record).collect()
}

const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

const ONE: ReadLimit = ReadLimit { records: 1, ..ALL };

#[test]
fn what_is_kept_is_bounded_in_bytes() {
    let (mut recent, mut decoded) = (Recent::default(), Decoded::default());
    for n in 0..100 {
        drop(recent.push(block(n * 10, 10, 10_000)));
        decoded.push(block(n * 10, 10, 10_000));
    }
    assert!(recent.bytes <= MOST_RECENT && decoded.bytes <= MOST_LOADED);
    assert!(
        recent.blocks.len() > 15 && decoded.blocks.len() > 30,
        "and used"
    );
    let of = |kept: &Kept| kept.records.iter().map(size_of_record).sum::<usize>();
    assert_eq!(recent.bytes, recent.blocks.iter().map(of).sum::<usize>());
    assert_eq!(
        decoded.bytes,
        decoded.blocks.values().map(of).sum::<usize>()
    );
    let huge = decoded.push(block(5_000, 10, 1 << 20));
    assert_eq!(
        (huge.len(), decoded.blocks.len()),
        (10, 1),
        "the last one stays"
    );
}

#[test]
fn the_texts_of_a_scan_are_counted() {
    let name = |text: &str| Name::new(text).unwrap();
    let point = |value_type| SchemaPoint {
        name: name("point"),
        value_type,
        unit: None,
    };
    let types = [ValueType::Int, ValueType::Text, ValueType::Texts];
    let schema = Arc::new(Schema {
        line: name("hall"),
        device: name("press"),
        scan: name("default"),
        labels: Vec::new(),
        map: MapHash(0),
        points: types.map(point).into(),
    });
    let scan = |text: &str, list: &[&str]| Scan {
        schema: Arc::clone(&schema),
        readings: [
            Value::Int(1),
            Value::Text(text.into()),
            Value::Texts(list.iter().map(|&text| text.into()).collect()),
        ]
        .map(|value| Some(Reading::good(value)))
        .into(),
        full: false,
    };
    let boxes = |count| count * size_of::<Box<str>>();
    assert_eq!(texts(&scan("", &[])), boxes(2));
    let some = scan("four", &["one", "three"]);
    assert_eq!(texts(&some), 4 + 3 + 5 + boxes(4));
    let nothing = Scan {
        readings: vec![None; 3],
        ..scan("", &[])
    };
    assert_eq!(texts(&nothing), 0);
}

#[test]
fn blocks_that_follow_each_other_are_read_in_one_go() {
    let mut decoded = Decoded::default();
    for first in [1, 6, 21] {
        decoded.push(block(first, 5, 1));
    }
    let wanted = Wanted::all();
    let read = |from, limit| {
        let mut found = Found::new(from, limit, &wanted);
        let here = decoded.read(&mut found);
        let batch = found.batch();
        let numbers: Vec<u64> = batch.records.iter().map(|record| record.seq).collect();
        (here, numbers, batch.next)
    };
    assert_eq!(read(3, ALL), (true, (3..=10).collect(), 11));
    assert_eq!(read(3, ONE), (true, vec![3], 4));
    assert_eq!(read(11, ALL), (false, vec![], 11));
}
