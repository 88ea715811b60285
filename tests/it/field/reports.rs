//! What a line tells where points report by exception, and which qualities it can give.

use std::collections::BTreeSet;
use std::time::Duration;

use forebay::field::modbus::map::{
    Change, DeviceMap, Names, Point, RawType, ReportRule, Scale, Table,
};
use forebay::reading::{Body, EventName, Observation, Quality, Reading, Scan, Value};
use forebay::simulator::device::Behaviour;
use serde_json::json;

use super::rig::*;
use crate::harness::modbus::ModbusServer;

const EVERY: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_millis(500);

fn ruled(address: u16, change: Change, heartbeat: Duration) -> Point {
    Point {
        report: Some(ReportRule { change, heartbeat }),
        ..point(address)
    }
}

/// A register with a deadband of 5, and one that is sent when it changes.
fn two(heartbeat: Duration) -> DeviceMap {
    let five = Change::Absolute("5".parse().unwrap());
    DeviceMap {
        points: vec![ruled(0, five, heartbeat), ruled(1, Change::Any, heartbeat)],
        ..DeviceMap::default()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn scan(observation: &Observation) -> Option<Scan> {
    match &observation.body {
        Body::Scan(scan) => Some(scan.clone()),
        _ => None,
    }
}

/// The next scan that is told, and whether it is complete; a point that is left out is `None`.
async fn next(line: &Running, from: &mut usize) -> (Vec<Option<Reading>>, bool) {
    let (at, scan) = line
        .outbox
        .wait(*from, |seen| {
            let mut scans = seen.iter().enumerate();
            scans.find_map(|(at, seen)| Some((at, scan(seen)?)))
        })
        .await;
    *from += at + 1;
    (scan.readings, scan.full)
}

/// Waits until the device has answered `more` requests, and makes sure that nothing was told meanwhile.
async fn silence(line: &Running, from: usize, more: u64) {
    let answers = || line.status.devices[0].counters.answers.get();
    let until = answers() + more;
    let waiting = async {
        while answers() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .expect("the device goes on being asked");
    assert_eq!(line.outbox.all()[from..], []);
}

fn good(number: i64) -> Option<Reading> {
    Some(Reading::good(Value::Int(number)))
}

#[tokio::test]
#[ignore = "needs pymodbus"]
async fn only_changes_are_told_and_the_first_scan_after_an_absence_is_complete() {
    let units = json!({"1": {"holding": {"0": [100, 7]}}});
    let mut server = ModbusServer::tcp(0, &units);
    let port = server.port;
    let line = run(line(
        tcp(port),
        TIMEOUT,
        vec![device_settings(1, two(HOUR), EVERY)],
    ));
    let mut from = 0;
    assert_eq!(
        next(&line, &mut from).await,
        (vec![good(100), good(7)], true)
    );
    silence(&line, from, 5).await;
    server.set(1, "holding", 0, &json!([105]));
    silence(&line, from, 5).await;
    server.set(1, "holding", 0, &json!([106]));
    assert_eq!(next(&line, &mut from).await, (vec![good(106), None], false));
    server.set(1, "holding", 1, &json!([8]));
    assert_eq!(next(&line, &mut from).await, (vec![None, good(8)], false));
    drop(server);
    let gone = Some(Reading::missing(Quality::NoConnection));
    assert_eq!(
        next(&line, &mut from).await,
        (vec![gone.clone(), gone], false)
    );
    // Scans fall due all the time, and say nothing new.
    tokio::time::sleep(EVERY * 10).await;
    assert!(
        line.outbox.all()[from..]
            .iter()
            .all(|seen| scan(seen).is_none())
    );
    let _server = ModbusServer::tcp(port, &units);
    assert_eq!(
        next(&line, &mut from).await,
        (vec![good(100), good(7)], true)
    );
    assert_eq!(
        line.outbox.events(),
        [EventName::LineDown, EventName::LineUp]
    );
}

#[tokio::test(start_paused = true)]
async fn an_unchanged_device_is_told_of_at_each_heartbeat_also_while_it_is_away() {
    let simulated = device(1, 10);
    let heartbeat = Duration::from_secs(10);
    let settings = line(
        tcp(1),
        TIMEOUT,
        vec![device_settings(1, two(heartbeat), Duration::from_secs(1))],
    );
    let line = run_in_memory(settings, vec![simulated.clone()]);
    let full = async |count: usize, quality: Quality| {
        line.outbox
            .wait(line.outbox.len(), |seen| {
                let scans: Vec<Scan> = seen.iter().filter_map(scan).collect();
                let right = |scan: &&Scan| {
                    let mut readings = scan.readings.iter().flatten();
                    scan.full && readings.all(|reading| reading.quality() == quality)
                };
                (scans.iter().filter(right).count() == count).then_some(())
            })
            .await;
    };
    full(4, Quality::Good).await;
    let stamps = |line: &Running| -> Vec<u64> {
        let scans = line.outbox.scans_of("d1").into_iter();
        scans.map(|(stamp, _)| stamp.boot_ns / 1_000_000).collect()
    };
    let stamps = stamps(&line);
    let apart = stamps.windows(2).map(|pair| pair[1] - pair[0]);
    for apart in apart {
        assert!((9_400..=10_600).contains(&apart), "{apart} ms");
    }
    simulated.behave(Behaviour {
        silent: true,
        ..Behaviour::default()
    });
    full(3, Quality::Timeout).await;
    let nulls = line.outbox.scans_of("d1");
    let nulls = nulls.iter().filter(|(_, scan)| {
        scan.readings[0]
            .as_ref()
            .is_some_and(|reading| reading.quality() == Quality::Timeout)
    });
    assert_eq!(nulls.count(), 4, "the change, and three heartbeats");
}

/// Points that the device answers for, and that have no good value all the same.
fn doubtful() -> (DeviceMap, Vec<u16>) {
    let mut points: Vec<Point> = (0..5).map(point).collect();
    points[0].transform.invalid = vec![0x8000];
    points[1].transform.max = Some("10".parse().unwrap());
    points[2].transform.names = Some(Names::Enum(vec![(1, "running".to_owned())]));
    points[3].transform.scale = Some(Scale::Power10(4));
    points[4].raw = RawType::I16;
    points.push(Point {
        raw: RawType::F32,
        ..point(5)
    });
    let map = DeviceMap {
        points,
        ..DeviceMap::default()
    };
    (map, vec![0x8000, 11, 2, 5, 31, 0x7FC0, 0])
}

#[tokio::test(start_paused = true)]
async fn every_quality_that_a_register_can_have_is_reached() {
    let simulated = device(1, 0);
    let (map, words) = doubtful();
    simulated.set(Table::HoldingRegister, 0, &words);
    let settings = line(tcp(1), TIMEOUT, vec![device_settings(1, map, EVERY)]);
    let line = run_in_memory(settings, vec![simulated.clone()]);
    let mut from = 0;
    let (readings, _) = next(&line, &mut from).await;
    let mut seen: BTreeSet<Quality> = readings.iter().flatten().map(Reading::quality).collect();
    for (behaviour, quality) in [
        (
            Behaviour {
                silent: true,
                ..Behaviour::default()
            },
            Quality::Timeout,
        ),
        (
            Behaviour {
                noise: vec![0x55; 20],
                ..Behaviour::default()
            },
            Quality::Crc,
        ),
        (
            Behaviour {
                exception: Some(4),
                ..Behaviour::default()
            },
            Quality::Exception(4),
        ),
        (
            Behaviour {
                reset: true,
                ..Behaviour::default()
            },
            Quality::NoConnection,
        ),
    ] {
        simulated.behave(behaviour);
        line.outbox.wait_for("d1", quality).await;
        seen.insert(quality);
        simulated.behave(Behaviour::default());
        line.outbox
            .wait(line.outbox.len(), |seen| {
                let mut scans = seen.iter().filter_map(scan);
                scans.any(|scan| scan.readings[4] == good(31)).then_some(())
            })
            .await;
    }
    assert_eq!(
        seen,
        [
            Quality::Good,
            Quality::Invalid,
            Quality::OutOfRange,
            Quality::UnknownCode,
            Quality::NoScale,
            Quality::NotANumber,
            Quality::Timeout,
            Quality::Crc,
            Quality::Exception(4),
            Quality::NoConnection,
        ]
        .into()
    );
}

#[tokio::test(start_paused = true)]
async fn a_cause_is_told_once_for_each_change() {
    let simulated = device(1, 10);
    let settings = line(
        tcp(1),
        TIMEOUT,
        vec![device_settings(1, alone([0, 3]), EVERY)],
    );
    let line = run_in_memory(settings, vec![simulated.clone()]);
    line.outbox.wait_for("d1", Quality::Good).await;
    for code in [4, 6] {
        simulated.behave(Behaviour {
            exception: Some(code),
            ..Behaviour::default()
        });
        for _ in 0..5 {
            line.outbox.wait_for("d1", Quality::Exception(code)).await;
        }
    }
    simulated.behave(Behaviour {
        silent: true,
        ..Behaviour::default()
    });
    for _ in 0..5 {
        line.outbox.wait_for("d1", Quality::Timeout).await;
    }
    simulated.behave(Behaviour::default());
    line.outbox.wait_for("d1", Quality::Good).await;
    let told: Vec<String> = line
        .outbox
        .all()
        .into_iter()
        .filter_map(|seen| match seen.body {
            Body::Event(event) => Some(format!("{} {:?}", event.name, event.detail)),
            _ => None,
        })
        .collect();
    let count = |name: EventName, cause: &str| {
        let cause = format!("Text({cause:?})");
        let of = told
            .iter()
            .filter(|told| told.starts_with(name.as_str()) && told.contains(&cause));
        of.count()
    };
    // The points of both blocks in one event for each trouble.
    assert_eq!(
        count(EventName::PointUnreadable, "exception-4"),
        1,
        "{told:#?}"
    );
    assert_eq!(
        count(EventName::PointUnreadable, "exception-6"),
        1,
        "{told:#?}"
    );
    assert_eq!(count(EventName::DeviceOffline, "timeout"), 1, "{told:#?}");
    assert_eq!(count(EventName::DeviceOnline, "line"), 1, "{told:#?}");
    assert_eq!(told.len(), 4, "{told:#?}");
}
