use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::proof::Contradiction;

fn record(seq: u64, device: &str, device_seq: u64) -> Value {
    json!({"v": 1, "gateway": "g", "device": device, "stream": "a", "seq": seq, "device_seq": device_seq,
           "time": "2026-11-20T09:00:00Z", "values": {"x": seq}})
}

fn event(stream: &str, seq: u64, device_seq: u64, name: &str, detail: Value) -> Value {
    json!({"v": 1, "gateway": "g", "stream": stream, "seq": seq, "device_seq": device_seq,
           "time": "2026-11-20T09:00:00Z", "event": name, "detail": detail})
}

fn proved(terms: Terms, messages: impl IntoIterator<Item = Value>) -> Report {
    let mut ledger = Ledger::new(terms);
    for message in messages {
        ledger.take(message.to_string().as_bytes(), None);
    }
    ledger.report()
}

fn by(by: By) -> Terms {
    Terms {
        by,
        ..Terms::default()
    }
}

fn from_start() -> Terms {
    Terms {
        from_start: true,
        ..Terms::default()
    }
}

/// A line that lacks numbers: the device, and ranges.
type Lacking<'a> = (Option<&'a str>, &'a [(u64, u64)]);

/// Missing ranges of all lines.
fn missing(report: &Report) -> Vec<Lacking<'_>> {
    let lines = report.streams.iter().flat_map(|stream| &stream.missing);
    lines
        .map(|missing| (missing.device.as_deref(), &missing.ranges[..]))
        .collect()
}

#[test]
fn nothing_proves_nothing() {
    assert!(!proved(Terms::default(), []).is_complete());
}

#[test]
fn a_hole_is_missing_until_its_record_comes_or_an_event_names_it() {
    let report = proved(Terms::default(), [record(1, "d", 1), record(4, "d", 4)]);
    assert_eq!(missing(&report), [(None, &[(2, 3)][..])]);
    assert!(!report.is_complete());
    let report = proved(
        Terms::default(),
        [
            record(1, "d", 1),
            record(4, "d", 4),
            record(3, "d", 3),
            record(2, "d", 2),
        ],
    );
    assert!(report.is_complete());
    assert_eq!(report.reordered(), 2);
    let told = event(
        "a",
        5,
        1,
        "records-dropped",
        json!({"seq": [[2, 3]], "device_seq": [[2, 3]]}),
    );
    let report = proved(
        Terms::default(),
        [record(1, "d", 1), record(4, "d", 4), told],
    );
    assert!(report.is_complete());
    assert_eq!(report.streams[0].explained, 2);
}

#[test]
fn only_events_of_loss_explain() {
    let told = event("a", 3, 1, "config-changed", json!({"seq": [[2, 2]]}));
    assert!(!proved(Terms::default(), [record(1, "d", 1), told]).is_complete());
}

#[test]
fn numbers_begin_at_one_where_that_is_asked() {
    let late = [record(7, "d", 7), record(8, "d", 8)];
    assert!(proved(Terms::default(), late.clone()).is_complete());
    let report = proved(from_start(), late);
    assert_eq!(missing(&report), [(None, &[(1, 6)][..])]);
}

#[test]
fn what_another_upstream_refused_is_no_reason_for_a_hole_here() {
    let refused = event(
        "a",
        3,
        1,
        "records-refused",
        json!({"upstream": "cloud", "seq": [[2, 2]], "device_seq": []}),
    );
    let messages = [record(1, "d", 1), refused];
    let report = proved(Terms::default(), messages.clone());
    assert_eq!(missing(&report), [(None, &[(2, 2)][..])]);
    assert_eq!(report.streams[0].elsewhere, ["cloud"]);
    let cloud = Terms {
        upstream: Some("cloud".to_owned()),
        ..Terms::default()
    };
    assert!(proved(cloud, messages).is_complete());
}

#[test]
fn by_device_each_device_is_a_line_of_its_own() {
    // The upstream carries d and e, not f; of e one is missing. The gateway's own record is its third.
    let own = event("a", 9, 3, "config-changed", json!({}));
    let messages = [
        record(1, "d", 1),
        record(3, "d", 2),
        record(4, "e", 1),
        record(7, "e", 3),
        own,
    ];
    let report = proved(by(By::Device), messages.clone());
    assert_eq!(missing(&report), [(Some("e"), &[(2, 2)][..])]);
    assert!(!proved(Terms::default(), messages).devices_complete);
    let filtered = proved(Terms::default(), [record(1, "d", 1), record(3, "d", 2)]);
    assert!(!filtered.is_complete() && filtered.devices_complete);
    let told = json!({"v": 1, "gateway": "g", "device": "e", "stream": "a", "seq": 8, "device_seq": 4, "event": "records-dropped",
                      "time": "2026-11-20T09:00:00Z", "detail": {"seq": [[5, 6]], "device_seq": [[2, 2]]}});
    let messages = [record(4, "e", 1), record(7, "e", 3), told];
    assert!(proved(by(By::Device), messages).is_complete());
}

#[test]
fn the_first_event_of_a_new_stream_names_the_hole_before_it() {
    let mut next = record(100_011, "d", 9);
    next["stream"] = json!("b");
    let begin = |hole: Value| {
        event(
            "b",
            100_010,
            1,
            "gateway-started",
            json!({"reason": "rebuilt", "previous": "a", "previous_last": 3, "hole": hole}),
        )
    };
    let old = || [record(1, "d", 1), record(2, "d", 2), record(3, "d", 3)];
    let whole = begin(json!([[4, 100_009]]));
    let report = proved(
        from_start(),
        old().into_iter().chain([whole.clone(), next.clone()]),
    );
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.streams[1].explained, 100_006);
    // What is lost of the old stream is named by the new one, too.
    let whole = begin(json!([[2, 2], [4, 100_009]]));
    let report = proved(
        from_start(),
        [record(1, "d", 1), record(3, "d", 3), whole, next.clone()],
    );
    assert!(report.is_complete(), "{report:?}");
    // Without that event the hole is a hole.
    let report = proved(from_start(), old().into_iter().chain([next]));
    assert_eq!(missing(&report), [(None, &[(4, 100_010)][..])]);
}

#[test]
fn a_new_store_begins_anew() {
    let begin = event(
        "b",
        1,
        1,
        "gateway-started",
        json!({"clean": true, "reason": "new store"}),
    );
    let mut next = record(2, "d", 1);
    next["stream"] = json!("b");
    let report = proved(
        from_start(),
        [record(1, "d", 1), record(2, "d", 2), begin, next],
    );
    assert!(report.is_complete(), "{report:?}");
    assert_eq!(report.streams.len(), 2);
}

#[test]
fn device_numbers_go_on_from_stream_to_stream() {
    let mut next = record(100, "d", 4);
    next["stream"] = json!("b");
    let report = proved(by(By::Device), [record(1, "d", 1), record(2, "d", 2), next]);
    assert_eq!(missing(&report), [(Some("d"), &[(3, 3)][..])]);
}

#[test]
fn a_repetition_may_differ_in_time_clock_and_historical_only() {
    let mut again = record(1, "d", 1);
    again["historical"] = json!(true);
    again["time"] = json!("2026-11-20T09:00:01Z");
    again["clock"] = json!("unsynced");
    let report = proved(Terms::default(), [record(1, "d", 1), again.clone()]);
    assert!(report.is_complete());
    assert_eq!((report.duplicates(), report.records()), (1, 1));
    again["values"] = json!({"x": 2});
    let report = proved(Terms::default(), [record(1, "d", 1), again]);
    assert!(!report.is_complete());
    assert_eq!(
        report.streams[0].contradictions,
        [Contradiction::Content { seq: 1 }]
    );
    let report = proved(Terms::default(), [record(1, "d", 1), record(2, "d", 1)]);
    let twice = Contradiction::DeviceSeq {
        device: Some("d".to_owned()),
        device_seq: 1,
        seq: 2,
    };
    assert_eq!(report.streams[0].contradictions, [twice]);
}

#[test]
fn each_lane_has_its_own_order() {
    let historical = |seq| {
        let mut record = record(seq, "d", seq);
        record["historical"] = json!(true);
        record
    };
    let live = |seq| record(seq, "d", seq);
    let side_by_side = [
        live(5),
        historical(1),
        live(6),
        historical(2),
        historical(3),
        live(7),
        historical(4),
    ];
    let report = proved(from_start(), side_by_side);
    assert!(report.is_complete());
    assert_eq!((report.reordered(), report.streams[0].historical), (0, 4));
    let report = proved(
        from_start(),
        [live(1), historical(3), live(4), historical(2)],
    );
    assert_eq!(report.reordered(), 1);
}

#[test]
fn a_record_in_parts_is_there_with_its_last_part() {
    let part = |seq: u64, part: u64| {
        let mut record = record(seq, "d", seq);
        record["part"] = json!([part, 2]);
        record["values"] = json!({"x": part});
        record
    };
    let all = [
        part(1, 1),
        part(1, 2),
        part(2, 2),
        part(2, 2),
        part(2, 1),
        part(2, 1),
    ];
    let report = proved(from_start(), all.clone());
    assert!(report.is_complete(), "{report:?}");
    assert_eq!((report.records(), report.duplicates()), (2, 2));
    let report = proved(from_start(), all.into_iter().take(3));
    assert_eq!(report.streams[0].incomplete, 1);
    assert!(!report.is_complete());
}

#[test]
fn what_is_late_and_what_is_no_record() {
    let mut ledger = Ledger::new(Terms::default());
    let second = 1_000_000_000;
    let read = 1_763_629_200 * second + 31_536_000 * second;
    ledger.take(
        record(1, "d", 1).to_string().as_bytes(),
        Some(read + second),
    );
    ledger.take(
        record(2, "d", 2).to_string().as_bytes(),
        Some(read + 11 * second),
    );
    let mut untrusted = record(3, "d", 3);
    untrusted["clock"] = json!("unsynced");
    ledger.take(untrusted.to_string().as_bytes(), Some(read + 99 * second));
    ledger.take(br#"{"v":1,"gateway":"g","device":"d","describe":{}}"#, None);
    for foreign in [&b"on"[..], br#"{"x":1}"#, br#"{"gateway":"g","seq":"x"}"#] {
        ledger.take(foreign, None);
    }
    let report = ledger.report();
    assert_eq!(
        (report.streams[0].late, report.streams[0].latest.as_secs()),
        (1, 11)
    );
    assert_eq!(
        (report.unnumbered_messages, report.foreign_messages),
        (1, 3)
    );
}

proptest! {
    /// Whatever is lost, repeated and reordered: missing is exactly what was lost and not named.
    #[test]
    fn missing_is_what_was_lost_and_not_named(
        records in prop::collection::vec((0usize..3, any::<bool>(), any::<bool>()), 2..60),
        named in prop::collection::btree_set(1u64..60, 0..10),
        rotate in 0usize..60,
    ) {
        let mut counters = [0; 3];
        let (mut sent, mut lost) = (Vec::new(), Vec::new());
        for (place, (device, loses, repeats)) in records.iter().enumerate() {
            let seq = place as u64 + 1;
            counters[*device] += 1;
            if *loses {
                lost.push(seq);
                continue;
            }
            let message = record(seq, ["d", "e", "f"][*device], counters[*device]);
            sent.extend(std::iter::repeat_n(message, 1 + usize::from(*repeats)));
        }
        let last = records.len() as u64 + 1;
        let ranges: Vec<_> = named.iter().map(|seq| [seq, seq]).collect();
        sent.push(event("a", last, 1, "records-lost", json!({"seq": ranges})));
        let repeated = sent.len() as u64 - (last - lost.len() as u64);
        let middle = rotate % sent.len();
        sent.rotate_left(middle);
        let report = proved(from_start(), sent);
        let expected: Vec<u64> = lost.into_iter().filter(|seq| !named.contains(seq)).collect();
        let found: Vec<u64> = report.streams[0].missing.iter().flat_map(|missing| missing.ranges.clone()).flat_map(|(a, b)| a..=b).collect();
        let count = report.streams[0].missing_count();
        prop_assert_eq!(count, expected.len() as u64);
        prop_assert_eq!(&found[..], &expected[..found.len()]);
        prop_assert_eq!(report.duplicates(), repeated);
        prop_assert_eq!(report.is_complete(), expected.is_empty());
    }
}

#[test]
fn what_damage_took_of_a_device_is_named_in_the_new_stream_by_the_devices_numbers() {
    // The upstream carries d only; of the gateway's events it has all.
    let begin = event(
        "b",
        100_010,
        1,
        "gateway-started",
        json!({"reason": "rebuilt", "previous": "a", "previous_last": 9, "hole": [[3, 5], [10, 100_009]]}),
    );
    let lost = json!({"v": 1, "gateway": "g", "device": "d", "stream": "b", "seq": 100_011, "device_seq": 6, "event": "records-lost",
                      "time": "2026-11-20T09:00:00Z", "detail": {"reason": "damage", "seq": [[3, 5]], "device_seq": [[2, 4]]}});
    let old = [record(1, "d", 1), record(8, "d", 5)];
    let told = proved(
        by(By::Device),
        old.clone().into_iter().chain([begin.clone(), lost]),
    );
    assert!(told.is_complete(), "{told:?}");
    let untold = proved(by(By::Device), old.into_iter().chain([begin]));
    assert_eq!(missing(&untold), [(Some("d"), &[(2, 4)][..])]);
}
