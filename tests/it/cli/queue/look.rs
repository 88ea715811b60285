//! status, peek and dead: word for word, and without a trace.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use forebay::reading::{Body, Clock, ClockSource, Detail, EventName, ManualClock, Outlet};
use forebay::store::inspect::Inspection;
use forebay::store::{self, Inlet};
use serde_json::{Value, json};

use super::plant::{
    clock, config, done, event, lose_records, masked, name, register, scan, session, set, settings,
    used,
};
use crate::harness::process::until;

#[test]
fn status_shows_what_waits_and_what_needs_a_person() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state/store");
    let file = config(folder.path());
    used(&dir);
    let text =
        done(&["status", "-c", &file]).replace(&folder.path().display().to_string(), "FOLDER");
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("on disk"))
        .collect();
    let expected = "\
store    FOLDER/state/store
state    stopped in order
holds    13 records, 1 to 13
oldest   TTTT-TT-TT TT:TT:TT UTC, 3 h ago
newest   TTTT-TT-TT TT:TT:TT UTC, 3 h ago
stream   STREAMID

upstream  backlog   about  oldest   dead letters
cloud           4  SIZE_C  3 h ago             1
old             9  SIZE_O  3 h ago             0  not configured
mes             -       -  -                   -  new to the store

old is not configured any more, and 5 records are kept for it alone.
  forebay queue export -c FOLDER/forebay.toml --upstream old --output old.ndjson   saves its backlog
  forebay queue forget -c FOLDER/forebay.toml old   lets it go

1 dead letter, 334 B.
  forebay queue dead list -c FOLDER/forebay.toml   says why";
    let shown = masked(&lines.join("\n"));
    assert_eq!(without_sizes(&shown), without_sizes(expected));
}

/// How large blocks are is the store's business.
fn without_sizes(text: &str) -> String {
    let size = |word: &str| word.starts_with("SIZE") || word == "B" || word == "KiB";
    let line = |line: &str| {
        let words = line.split_whitespace().filter(|word| !size(word));
        let words: Vec<_> = words
            .filter(|word| word.parse::<f64>().is_err() || word.len() < 3)
            .collect();
        words.join(" ")
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn status_as_json_has_the_same_facts() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state/store");
    let file = config(folder.path());
    used(&dir);
    let status: Value = serde_json::from_str(&done(&["status", "--json", "-c", &file])).unwrap();
    assert_eq!(status["records"], 13, "{status}");
    assert_eq!(status["clean"], true);
    assert_eq!(status["ailing"], Value::Null);
    assert_eq!(status["max_size"], 2_u64 << 30);
    assert_eq!(status["oldest"]["seq"], 1);
    assert_eq!(status["newest"]["seq"], 13);
    assert!((10_800..11_400).contains(&status["oldest"]["age_seconds"].as_i64().unwrap()));
    assert!(status["bytes"].as_u64().unwrap() > 0);
    let upstream = |at: usize| {
        let upstream = &status["upstreams"][at];
        json!([
            upstream["name"],
            upstream["known"],
            upstream["configured"],
            upstream["records"],
            upstream["pinned"],
            upstream["dead_letters"],
        ])
    };
    assert_eq!(upstream(0), json!(["cloud", true, true, 4, 0, 1]));
    assert_eq!(upstream(1), json!(["old", true, false, 9, 5, 0]));
    assert_eq!(upstream(2), json!(["mes", false, true, null, null, null]));

    let status: Value = serde_json::from_str(&done(&[
        "status",
        "--json",
        "--dir",
        &folder.path().join("state").display().to_string(),
    ]))
    .unwrap();
    assert_eq!(
        status["upstreams"][1]["configured"],
        Value::Null,
        "nobody says"
    );
}

#[test]
fn status_lists_the_streams_and_says_when_the_next_start_begins_one() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let clock = used(dir);
    lose_records(dir);
    let place = ["--dir", &dir.display().to_string()];
    let text = masked(&done(&["status", place[0], place[1]]));
    assert!(
        text.contains(
            "stream   STREAMID; the next start begins a new one: the latest records are missing"
        ),
        "{text}"
    );
    session(dir, &clock, |store, inlet| {
        register(store, &["cloud", "new"]);
        inlet.put(scan(&clock, "meter-1", 1.0));
    });
    let text = masked(&done(&["status", place[0], place[1]]));
    let streams = "\
stream     first    last  from                     to
STREAMID       1      13  TTTT-TT-TT TT:TT:TT UTC  TTTT-TT-TT TT:TT:TT UTC
STREAMID  100501  100502  TTTT-TT-TT TT:TT:TT UTC  TTTT-TT-TT TT:TT:TT UTC
";
    assert!(text.contains(streams), "{text}");
    let status: Value =
        serde_json::from_str(&done(&["status", "--json", place[0], place[1]])).unwrap();
    let records: Vec<_> = status["upstreams"].as_array().unwrap().iter().collect();
    assert_eq!(
        records[0]["records"], 6,
        "the numbers that nobody has are no backlog: {status}"
    );
    assert_eq!(records[1]["name"], "new");
    assert_eq!(records[1]["records"], 15, "{status}");
}

#[test]
fn an_empty_store_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display().to_string();
    session(folder.path(), &clock(), |_, _| ());
    let place = ["--dir", &dir];
    assert!(done(&["status", place[0], place[1]]).contains("The store knows no upstream"));
    assert_eq!(
        done(&["peek", "--from", "2", place[0], place[1]]),
        "no such records\n"
    );
    assert_eq!(
        done(&["dead", "list", place[0], place[1]]),
        "no dead letters\n"
    );
    assert_eq!(
        done(&["dead", "list", "--json", place[0], place[1]]),
        "[]\n"
    );
    assert_eq!(done(&["export", "--from", "2", place[0], place[1]]), "");
}

#[test]
fn peek_shows_a_line_a_record() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display().to_string();
    let clock = used(folder.path());
    session(folder.path(), &clock, |_, inlet| {
        inlet.put(event(&clock, "meter-1", EventName::DeviceOffline));
    });
    let shown = masked(&done(&["peek", "--dir", &dir, "-n", "3"]));
    let expected = "\
seq  time                     device   what
  1  TTTT-TT-TT TT:TT:TT UTC  -        gateway-started clean=true reason=\"new store\"
  2  TTTT-TT-TT TT:TT:TT UTC  meter-1  default: voltage=230.5 V, state=null (timeout)
  3  TTTT-TT-TT TT:TT:TT UTC  meter-2  default: voltage=231.5 V, state=null (timeout)
";
    assert_eq!(shown, expected);
    let shown = masked(&done(&[
        "peek",
        "--dir",
        &dir,
        "--upstream",
        "cloud",
        "-n",
        "2",
    ]));
    assert!(
        shown.contains(" 10  ") && shown.contains(" 11  ") && !shown.contains(" 12  "),
        "{shown}"
    );
    let shown = done(&["peek", "--dir", &dir, "--device", "meter-1", "--from", "12"]);
    assert!(
        shown.contains("device-offline reason=\"no answer\""),
        "{shown}"
    );
    let messages: Value =
        serde_json::from_str(&done(&["peek", "--json", "--dir", &dir, "-n", "2"])).unwrap();
    assert_eq!(
        messages[1]["values"],
        json!({"voltage": 230.5, "state": null})
    );
    assert_eq!(messages[1]["historical"], true);
    assert_eq!(messages.as_array().unwrap().len(), 2);
}

#[test]
fn dead_letters_are_listed_and_shown_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state/store");
    let file = config(folder.path());
    used(&dir);
    let shown = masked(&done(&["dead", "list", "-c", &file]));
    let expected = "\
seq  refused                  by     device   message  reason
  9  TTTT-TT-TT TT:TT:TT UTC  cloud  meter-2    214 B  PUBACK 0x97 quota exceeded
";
    assert_eq!(shown, expected);
    assert_eq!(
        done(&["dead", "list", "-c", &file, "--upstream", "old"]),
        "no dead letters\n"
    );
    let letter: Value = serde_json::from_str(&done(&["dead", "show", "9", "-c", &file])).unwrap();
    assert_eq!(letter["reason"], "PUBACK 0x97 quota exceeded");
    assert_eq!(letter["message"]["gateway"], "hall-2");
    assert_eq!(letter["message"]["values"]["voltage"], 237.5);
    let list: Value =
        serde_json::from_str(&done(&["dead", "list", "--json", "-c", &file])).unwrap();
    assert_eq!(list[0]["seq"], 9);
    assert_eq!(list[0]["message_bytes"], 214);
}

#[test]
fn looking_changes_nothing_in_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let clock = used(dir);
    let killed = killed_image(dir, &clock);
    let dir = killed.path();
    let held = || {
        let mut inspection = Inspection::open(dir).unwrap();
        let confirmed = inspection.confirmed(&name("cloud")).cloned();
        let overview = inspection.overview().unwrap();
        (overview.stream, inspection.end(), overview.clean, confirmed)
    };
    let before = held();
    let place = dir.display().to_string();
    for command in [
        &["status"][..],
        &["peek"],
        &["export"],
        &["dead", "list"],
        &["dead", "show", "9"],
    ] {
        done(&[command, &["--dir", &place]].concat());
        assert_eq!(held(), before, "{command:?}");
    }
    assert_eq!((before.2, &before.3), (false, &Some(set(1, 9))));
    session(dir, &clock, |_, _| ());
    let mut inspection = Inspection::open(dir).unwrap();
    assert_eq!(
        inspection.end(),
        before.1 + 1,
        "the start is told, and nothing else"
    );
    let last = inspection.read(before.1).unwrap().remove(0);
    assert_eq!(last.stream, before.0);
    let Body::Event(event) = &last.body else {
        panic!("{last:?}")
    };
    let clean = (event.name == EventName::GatewayStarted).then_some(&event.detail[0].1);
    assert_eq!(
        clean,
        Some(&Detail::Bool(false)),
        "the crash is still to be seen"
    );
}

#[test]
fn times_are_the_true_ones_as_far_as_they_are_known() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().display().to_string();
    let clock = clock();
    let now = clock.now().wall_ns;
    clock.set(|stamp| (stamp.wall_ns, stamp.synced) = (5_000_000_000, false));
    session(folder.path(), &clock, |_, inlet| {
        inlet.put(scan(&clock, "meter-1", 1.0))
    });
    let text = done(&["peek", "--dir", &dir]);
    assert!(text.contains("1970-01-01 00:00:06 UTC?  meter-1"), "{text}");
    let text = done(&["status", "--dir", &dir]);
    assert!(
        text.contains("by a clock that was not synchronised"),
        "{text}"
    );
    clock.set(|stamp| (stamp.wall_ns, stamp.synced) = (now, true));
    session(folder.path(), &clock, |store, _| {
        store.trust_clock(clock.now())
    });
    let text = done(&["peek", "--dir", &dir, "-n", "2"]);
    assert!(!text.contains("1970") && !text.contains('?'), "{text}");
    assert!(
        done(&["status", "--dir", &dir]).contains(" UTC, 3 h"),
        "of the record, not of the sending"
    );
}

/// The directory of a store as it is while its daemon runs: what a kill would leave.
fn killed_image(dir: &Path, clock: &ManualClock) -> tempfile::TempDir {
    let injected = Clock::new(clock.clone());
    let inlet = Inlet::new(injected.clone());
    let (store, writer) = store::open(&settings(dir), injected, &inlet).unwrap();
    let running = std::thread::spawn(|| writer.run());
    until(Duration::from_secs(20), || {
        (*store.head().borrow() >= 14).then_some(())
    })
    .expect("it starts");
    let image = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-a")
        .arg(dir.join("."))
        .arg(image.path())
        .status();
    assert!(copied.unwrap().success());
    store.stop();
    running.join().unwrap();
    image
}
