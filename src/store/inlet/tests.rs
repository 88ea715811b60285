use super::*;
use crate::reading::{ManualClock, MapHash, Scan, Schema, Stamp};

pub(in crate::store) fn scan(device: &str, at: i64, readings: usize) -> Observation {
    let name = |text| Name::new(text).unwrap();
    let schema = Schema {
        line: name("hall"),
        device: name(device),
        scan: name("default"),
        labels: Vec::new(),
        map: MapHash(0),
        points: Vec::new(),
    };
    let scan = Scan {
        schema: Arc::new(schema),
        readings: vec![None; readings],
        full: false,
    };
    Observation {
        stamp: Stamp {
            wall_ns: at,
            ..Stamp::default()
        },
        body: Body::Scan(scan),
    }
}

pub(in crate::store) fn event(at: i64) -> Observation {
    let stamp = Stamp {
        wall_ns: at,
        ..Stamp::default()
    };
    Observation {
        stamp,
        body: Body::Event(Event::gateway(EventName::LineUp)),
    }
}

#[test]
fn keeps_the_order_of_arrival() {
    let inlet = Inlet::new(Clock::new(ManualClock::at(0, 0)));
    for at in 1..=4 {
        inlet.put(scan("press", at * 2, 1));
        inlet.put(event(at * 2 + 1));
    }
    let times: Vec<i64> = inlet
        .queue()
        .take(usize::MAX)
        .iter()
        .map(|o| o.stamp.wall_ns)
        .collect();
    assert_eq!(times, [2, 3, 4, 5, 6, 7, 8, 9]);
    assert!(!inlet.queue().has_any());
}

#[test]
fn lets_the_oldest_scans_go_and_tells_it() {
    let inlet = Inlet::new(Clock::new(ManualClock::at(0, 0)));
    inlet.put(event(1));
    let each = MOST_WAITING / 10 - OVERHEAD;
    for at in 2..15 {
        inlet.put(scan(if at % 2 == 0 { "press" } else { "oven" }, at, each));
    }
    let taken = inlet.queue().take(usize::MAX);
    let events: Vec<String> = taken
        .iter()
        .filter_map(|o| match &o.body {
            Body::Event(event) => Some(format!(
                "{} {:?} {:?}",
                event.name, event.device, event.detail
            )),
            _ => None,
        })
        .collect();
    assert_eq!(
        events,
        [
            r#"buffer-overflow Some("oven") [("count", Int(2)), ("time", Times(3, 5))]"#,
            r#"buffer-overflow Some("press") [("count", Int(2)), ("time", Times(2, 4))]"#,
            "line-up None []",
        ]
    );
    assert_eq!(
        taken.last().unwrap().stamp.wall_ns,
        14,
        "the newest is kept"
    );
}

#[test]
fn scans_are_taken_ahead_of_nothing_else() {
    let inlet = Inlet::new(Clock::new(ManualClock::at(0, 0)));
    let ahead = || (inlet.queue().take_ahead(usize::MAX)).map(|taken| taken.len());
    assert_eq!(ahead(), Some(0), "more may come");
    inlet.put(scan("press", 1, 1));
    inlet.put(event(2));
    inlet.put(scan("press", 3, 1));
    assert_eq!(ahead(), Some(1));
    assert_eq!(ahead(), None, "the event is first");
    assert_eq!(inlet.queue().take(usize::MAX).len(), 2);
    assert_eq!(ahead(), Some(0));
    for at in 4..15 {
        inlet.put(scan("press", at, MOST_WAITING / 10 - OVERHEAD));
    }
    assert_eq!(ahead(), None, "what fell out is told first");
}
