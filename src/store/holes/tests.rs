use super::*;
use crate::reading::{Description, MapHash, Stamp, StreamId};

fn record(seq: u64, body: Body) -> Record {
    let stamp = Stamp {
        wall_ns: i64::try_from(seq).unwrap() * 10,
        ..Stamp::default()
    };
    Record {
        stream: StreamId(1),
        seq,
        device_seq: seq,
        stamp,
        body,
    }
}

fn event(seq: u64, name: EventName) -> Record {
    let press = Name::new("press").unwrap();
    record(seq, Body::Event(Event::device(name, press)))
}

fn description(seq: u64) -> Record {
    let description = Description {
        device: Name::new("press").unwrap(),
        line: Name::new("hall").unwrap(),
        map: MapHash(7),
        title: None,
        labels: Vec::new(),
        points: Vec::new(),
    };
    record(seq, Body::Description(description.into()))
}

fn refused_by(upstream: &str) -> Cause {
    Cause {
        fate: Fate::Refused,
        upstream: Name::new(upstream).ok(),
        reason: "too big".to_owned(),
    }
}

fn again(holes: &Holes) -> Holes {
    let mut out = Vec::new();
    holes.put(&mut out);
    Holes::found(&mut Bytes(&out)).unwrap()
}

#[test]
fn a_dropped_event_waits_for_the_next_to_name_it() {
    let (mut holes, full) = (Holes::default(), Cause::bound("max_size"));
    holes.add_record(&event(4, EventName::DeviceOnline), &full);
    assert!(holes.take_due().is_empty() && !holes.is_empty());
    holes.add_record(&description(5), &full);
    let told = holes.take_due().events();
    assert_eq!(
        format!("{:?}", told[0].detail),
        r#"[("reason", Text("max_size")), ("seq", Ranges([4..=5])), ("device_seq", Ranges([4..=5])), ("time", Times(40, 50))]"#
    );
    assert!(holes.is_empty());
}

#[test]
fn an_event_that_told_of_others_hands_on_what_it_told() {
    let (mut holes, full) = (Holes::default(), Cause::bound("max_size"));
    holes.add_record(&description(5), &refused_by("cloud"));
    let told = holes.take_due().events().remove(0);
    let teller = record(9, Body::Event(told.clone()));
    holes.add_record(&teller, &full);
    let events = holes.take_due().events();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(
        events.contains(&told),
        "as it was, with upstream and reason"
    );

    holes.add_record(&teller, &refused_by("cloud"));
    assert!(
        !holes.is_due(),
        "or a broker that refuses everything would get one after the other for ever"
    );
}

#[test]
fn the_end_of_a_stream_is_told_again() {
    let end = Event::gateway(EventName::GatewayStarted)
        .with("clean", Detail::Bool(false))
        .text("reason", "cut")
        .text("previous", "00000007")
        .with("previous_last", Detail::Int(3))
        .with("hole", Detail::Ranges([(4, 9)].into_iter().collect()));
    let mut holes = Holes::default();
    holes.add_record(&record(10, Body::Event(end)), &Cause::bound("max_size"));
    let told = again(&holes).take_due().events();
    assert_eq!(told[0].name, EventName::RecordsLost);
    assert_eq!(
        format!("{:?}", told[0].detail),
        r#"[("reason", Text("cut")), ("previous", Text("00000007")), ("previous_last", Int(3)), ("hole", Ranges([4..=9]))]"#
    );
    for n in 0..100 {
        holes.add_break(Break {
            hole: [(n * 10, n * 10 + 4)].into_iter().collect(),
            ..Break::default()
        });
    }
    assert_eq!(holes.breaks.len(), MOST_BREAKS);
    let mut all = RangeSet::new();
    holes.breaks.iter().for_each(|end| all.extend(&end.hole));
    assert!((0..100).all(|n| all.contains(n * 10)), "{all:?}");
}

#[test]
fn comes_back_as_it_was_written() {
    let mut holes = Holes::default();
    assert_eq!(again(&holes), holes);
    holes.add_record(
        &event(4, EventName::DeviceOnline),
        &Cause::bound("max_size"),
    );
    holes.add_count(
        &Cause {
            reason: "dead-letters".to_owned(),
            ..refused_by("cloud")
        },
        7,
    );
    assert_eq!(again(&holes), holes);
    holes.add_record(&description(6), &refused_by("mes"));
    assert_eq!(again(&holes), holes);
}

#[test]
fn many_ranges_become_fewer_that_cover_them() {
    let (mut holes, full) = (Holes::default(), Cause::bound("max_size"));
    let seqs: Vec<u64> = (1..=500)
        .map(|n| n * 2 + u64::from(n > 250) * 1000)
        .collect();
    for seq in &seqs {
        holes.add_record(&description(*seq), &full);
    }
    let hole = holes.gone.values().next().unwrap();
    assert!(hole.seq.range_count() <= MOST_RANGES);
    assert!(seqs.iter().all(|seq| hole.seq.contains(*seq)));
    assert!(
        !hole.seq.contains(1000),
        "the widest gap is the last to close"
    );
}
