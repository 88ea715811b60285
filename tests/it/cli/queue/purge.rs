//! purge: what goes is asked for and told, and nothing else goes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::RangeInclusive;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use forebay::reading::{Body, Detail, Event, EventName, Outlet, RangeSet, Record};
use forebay::store::inspect::Inspection;
use serde_json::{Value, json};

use super::plant::{clock, done, lose_records, name, refused, scan, session, set, used};
use crate::harness::pty::Cable;

/// All records of a store.
fn records(dir: &Path) -> Vec<Arc<Record>> {
    let mut inspection = Inspection::open(dir).unwrap();
    let (mut found, mut next) = (Vec::new(), 0);
    loop {
        let read = inspection.read(next).unwrap();
        let Some(last) = read.last() else {
            return found;
        };
        next = last.seq + 1;
        found.extend(read);
    }
}

fn confirmed(dir: &Path, upstream: &str) -> Option<RangeSet> {
    let inspection = Inspection::open(dir).unwrap();
    inspection.confirmed(&name(upstream)).cloned()
}

fn event_of(record: &Record) -> Option<&Event> {
    match &record.body {
        Body::Event(event) => Some(event),
        _ => None,
    }
}

fn detail<'a>(event: &'a Event, key: &str) -> Option<&'a Detail> {
    event
        .detail
        .iter()
        .find(|(found, _)| found == key)
        .map(|(_, detail)| detail)
}

/// What events with the reason `purged` name from `seq` on: by `DEVICE` or `DEVICE to UPSTREAM`, `seq` and `device_seq`.
fn told(dir: &Path, from: u64) -> BTreeMap<String, (RangeSet, RangeSet)> {
    let mut told = BTreeMap::new();
    for record in records(dir).iter().filter(|record| record.seq >= from) {
        let event = event_of(record).unwrap();
        if event.name != EventName::RecordsDropped {
            continue;
        }
        assert_eq!(
            detail(event, "reason"),
            Some(&Detail::Text("purged".to_owned()))
        );
        let ranges = |key| match detail(event, key) {
            Some(Detail::Ranges(ranges)) => ranges.clone(),
            other => panic!("{other:?}"),
        };
        let upstream = detail(event, "upstream").map(|upstream| match upstream {
            Detail::Text(name) => name.clone(),
            other => panic!("{other:?}"),
        });
        let device = event
            .device
            .as_ref()
            .map_or("gateway", |name| name.as_str());
        let whom = upstream.map_or(device.to_owned(), |upstream| {
            format!("{device} to {upstream}")
        });
        let what = (ranges("seq"), ranges("device_seq"));
        assert_eq!(
            told.insert(whom, what),
            None,
            "one event a device and upstream"
        );
    }
    told
}

fn numbers(range: RangeInclusive<u64>, step: usize) -> RangeSet {
    range.step_by(step).map(|n| (n, n)).collect()
}

#[test]
fn a_purge_is_asked_for_and_says_what_would_go() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display().to_string();
    used(folder.path());
    let before = records(folder.path());
    let (code, said) = refused(&["purge", "--dir", &dir]);
    assert_eq!(code, 2);
    for part in [
        "9 records in ",
        "will never be sent: 5 to 13, read ",
        "cloud              4\n",
        "old                9\n",
        "nothing was changed",
        "add --yes",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(records(folder.path()), before);
    assert_eq!(confirmed(folder.path(), "old"), Some(set(1, 4)));
}

#[test]
fn what_is_purged_is_told_and_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let place = dir.display().to_string();
    let clock = used(dir);
    let stream = records(dir)[0].stream;
    let said = done(&["purge", "--dir", &place, "--yes"]);
    assert!(
        said.starts_with("9 records purged, which events tell when the daemon runs"),
        "{said}"
    );
    let told = told(dir, 14);
    let whom: Vec<&str> = told.keys().map(String::as_str).collect();
    let concerned = [
        "gateway",
        "meter-1",
        "meter-1 to old",
        "meter-2",
        "meter-2 to old",
    ];
    assert_eq!(whom, concerned, "{:?}", records(dir));
    // `old` misses 5 to 13, `cloud` 10 to 13; 12 is of the gateway and 13 tells that `cloud` refused 9.
    let both = (told["meter-1"].clone(), told["meter-2"].clone());
    assert_eq!(both.0, (set(10, 10), set(5, 5)));
    assert!(both.1.0.contains(11) && both.1.0.contains(13), "{both:?}");
    assert_eq!(told["meter-1 to old"], (numbers(6..=8, 2), set(3, 4)));
    assert_eq!(told["meter-2 to old"], (numbers(5..=9, 2), set(2, 4)));
    assert_eq!(told["gateway"].0, set(12, 12));
    let refused = records(dir).into_iter().filter(|record| record.seq > 13);
    let refused = refused.filter_map(|record| {
        let event = event_of(&record)?;
        (event.name == EventName::RecordsRefused).then(|| detail(event, "seq").cloned())?
    });
    let again = refused.collect::<Vec<_>>();
    assert_eq!(
        again,
        [Detail::Ranges(set(9, 9))],
        "what a purged event told is told again"
    );
    let waiting = Inspection::open(dir).unwrap().waiting().unwrap();
    for (upstream, waiting) in &waiting {
        assert!(
            waiting.iter().all(|(first, _)| first >= 14),
            "{upstream} {waiting:?}"
        );
        assert!(!waiting.is_empty(), "the events go to {upstream}");
    }
    let end = Inspection::open(dir).unwrap().end();
    let of_meter = |record: &&Arc<Record>| record.body.device() == Some(&name("meter-1"));
    let known = records(dir);
    let last = known
        .iter()
        .filter(of_meter)
        .map(|record| record.device_seq)
        .max();
    session(dir, &clock, |_, inlet| {
        inlet.put(scan(&clock, "meter-1", 5.0))
    });
    let after: Vec<_> = records(dir)
        .into_iter()
        .filter(|record| record.seq >= end)
        .collect();
    assert!(after.iter().all(|record| record.stream == stream));
    let started = event_of(&after[0]).unwrap();
    assert_eq!(started.name, EventName::GatewayStarted);
    assert_eq!(
        detail(started, "clean"),
        Some(&Detail::Bool(true)),
        "{started:?}"
    );
    assert_eq!(Some(after[1].device_seq - 1), last, "numbers go on");
}

#[test]
fn a_purge_of_one_upstream_leaves_the_others_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let place = dir.display().to_string();
    used(dir);
    let arguments = [
        "purge",
        "--dir",
        &place,
        "--upstream",
        "old",
        "--to",
        "9",
        "--yes",
        "--json",
    ];
    let said: Value = serde_json::from_str(&done(&arguments)).unwrap();
    assert_eq!(said["purged"], 5, "{said}");
    assert_eq!(said["upstreams"], json!([{"name": "old", "purged": 5}]));
    assert_eq!((&said["first"], &said["last"]), (&json!(5), &json!(9)));
    assert_eq!(confirmed(dir, "old"), Some(set(1, 9)));
    assert_eq!(confirmed(dir, "cloud"), Some(set(1, 9)));
    let expected = BTreeMap::from([
        ("meter-1 to old".to_owned(), (numbers(6..=8, 2), set(3, 4))),
        ("meter-2 to old".to_owned(), (numbers(5..=9, 2), set(2, 4))),
    ]);
    assert_eq!(told(dir, 14), expected);
    assert_eq!(done(&[&arguments[..8], &[]].concat()), "nothing to purge\n");
}

#[test]
fn a_purge_stops_before_the_time_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let place = dir.display().to_string();
    used(dir);
    assert_eq!(
        done(&["purge", "--dir", &place, "--before", "4h", "--yes"]),
        "nothing to purge\n"
    );
    let line = done(&["export", "--dir", &place, "--from", "8", "--to", "8"]);
    let message: Value = serde_json::from_str(&line).unwrap();
    let before = message["time"].as_str().unwrap();
    done(&["purge", "--dir", &place, "--before", before, "--yes"]);
    assert_eq!(confirmed(dir, "old"), Some(set(1, 7)));
    assert_eq!(confirmed(dir, "cloud"), Some(set(1, 9)));
}

#[test]
fn a_purge_where_no_upstream_is_known_takes_the_records() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let place = dir.display().to_string();
    let clock = clock();
    session(dir, &clock, |_, inlet| {
        inlet.put(scan(&clock, "meter-1", 1.0))
    });
    done(&["purge", "--dir", &place, "--yes"]);
    let left = records(dir);
    assert!(left.iter().all(|record| record.seq > 2), "{left:?}");
    let told = told(dir, 3);
    assert_eq!(told["meter-1"].1, set(1, 1));
}

#[test]
fn the_end_of_a_stream_is_told_before_what_a_purge_takes() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let place = dir.display().to_string();
    let clock = used(dir);
    lose_records(dir);
    done(&["purge", "--dir", &place, "--yes"]);
    let after: Vec<_> = records(dir)
        .into_iter()
        .filter(|record| record.seq > 13)
        .collect();
    let lost = event_of(&after[0]).unwrap();
    assert_eq!(lost.name, EventName::RecordsLost, "{after:?}");
    assert_eq!(detail(lost, "previous_last"), Some(&Detail::Int(13)));
    assert!(after[0].seq > 500);
    assert_eq!(event_of(&after[1]).unwrap().name, EventName::RecordsDropped);
    let end = after.last().unwrap().seq + 1;
    session(dir, &clock, |_, _| ());
    let all = records(dir);
    let started = event_of(all.iter().find(|record| record.seq == end).unwrap()).unwrap();
    assert_eq!(started.name, EventName::GatewayStarted);
    assert_eq!(
        detail(started, "previous"),
        None,
        "it is told once: {started:?}"
    );
}

#[test]
#[ignore = "needs socat"]
fn a_terminal_is_asked_and_only_yes_is_yes() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    used(dir);
    for (answer, code, left) in [("\n", 1, 9), ("n\n", 1, 9), ("y\n", 0, 0)] {
        let cable = Cable::new();
        let terminal = || {
            File::options()
                .read(true)
                .write(true)
                .open(cable.here())
                .unwrap()
        };
        let mut person = File::options()
            .read(true)
            .write(true)
            .open(cable.there())
            .unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["queue", "purge", "--dir", &dir.display().to_string()])
            .stdin(terminal())
            .stderr(terminal())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let (mut seen, mut bytes) = (String::new(), [0; 256]);
        while !seen.contains("[y/N] ") {
            let length = person.read(&mut bytes).unwrap();
            seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        assert!(seen.contains("9 records in "), "{seen}");
        person.write_all(answer.as_bytes()).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{answer:?}");
        let waiting = Inspection::open(dir).unwrap().waiting().unwrap();
        let old = waiting
            .iter()
            .find(|(upstream, _)| *upstream == name("old"))
            .unwrap();
        let old = old
            .1
            .iter()
            .filter(|(first, _)| *first <= 13)
            .map(|(first, last)| last - first + 1);
        assert_eq!(old.sum::<u64>(), left, "{answer:?}");
    }
}
