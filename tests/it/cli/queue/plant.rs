//! Stores as a gateway leaves them, made without its devices and brokers; and the command run on them.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::time::Duration;

use forebay::reading::{
    Body, Clock, ClockSource, Event, EventName, ManualClock, MapHash, Name, Observation, Outlet,
    Quality, RangeSet, Reading, Scan, Schema, SchemaPoint, SystemClock, Value, ValueType,
};
use forebay::store::settings::{Start, StoreSettings, WhenFull};
use forebay::store::{self, Inlet, Store};

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

pub(super) fn set(first: u64, last: u64) -> RangeSet {
    [(first, last)].into_iter().collect()
}

pub(super) fn settings(dir: &Path) -> StoreSettings {
    StoreSettings {
        dir: dir.to_owned(),
        max_size: StoreSettings::LEAST_SIZE,
        max_age: None,
        keep_free: None,
        when_full: WhenFull::DropOldest,
        commit_window: Duration::ZERO,
    }
}

/// Three hours ago: ages are told in hours and minutes, which a slow test does not change.
pub(super) fn clock() -> ManualClock {
    let now = SystemClock::new().now().wall_ns;
    ManualClock::at(now - 3 * 3_600_000_000_000 - 30_000_000_000, 7_000_000_000)
}

/// Opens the store, does `work`, and stops in order. The first record is `gateway-started`.
pub(super) fn session(dir: &Path, clock: &ManualClock, work: impl FnOnce(&Store, &Inlet)) {
    let injected = Clock::new(clock.clone());
    let inlet = Inlet::new(injected.clone());
    let (store, writer) = store::open(&settings(dir), injected, &inlet).unwrap();
    work(&store, &inlet);
    store.stop();
    writer.run();
}

pub(super) fn register(store: &Store, upstreams: &[&str]) {
    for upstream in upstreams {
        store.register(&name(upstream), Start::Oldest);
    }
}

pub(super) fn event(clock: &ManualClock, device: &str, what: EventName) -> Observation {
    Observation {
        stamp: clock.now(),
        body: Body::Event(Event::device(what, name(device)).text("reason", "no answer")),
    }
}

/// A scan of a voltage and a text that could not be read.
pub(super) fn scan(clock: &ManualClock, device: &str, volts: f32) -> Observation {
    let point = |point: &str, value_type, unit: Option<&str>| SchemaPoint {
        name: name(point),
        value_type,
        unit: unit.map(str::to_owned),
    };
    let schema = Schema {
        line: name("hall"),
        device: name(device),
        scan: name("default"),
        labels: Vec::new(),
        map: MapHash(0x9c1e_42aa),
        points: vec![
            point("voltage", ValueType::F32, Some("V")),
            point("state", ValueType::Text, None),
        ],
    };
    let readings = vec![
        Some(Reading::good(Value::F32(volts))),
        Some(Reading::missing(Quality::Timeout)),
    ];
    let body = Body::Scan(Scan {
        schema: Arc::new(schema),
        readings,
        full: false,
    });
    clock.advance(1_000_000_000);
    Observation {
        stamp: clock.now(),
        body,
    }
}

/// A store with 12 records: 1 and 12 are `gateway-started`, 2 to 11 scans of two meters. `cloud` has confirmed up to 8
/// and refused 9, `old` (which no configuration names) has confirmed up to 4.
pub(super) fn used(dir: &Path) -> ManualClock {
    let clock = clock();
    session(dir, &clock, |store, inlet| {
        register(store, &["cloud", "old"]);
        for n in 0..10u8 {
            let device = if n % 2 == 0 { "meter-1" } else { "meter-2" };
            inlet.put(scan(&clock, device, 230.5 + f32::from(n)));
        }
    });
    session(dir, &clock, |store, _| {
        store.confirm(&name("cloud"), &set(1, 8));
        store.confirm(&name("old"), &set(1, 4));
        store.refuse(
            &name("cloud"),
            9,
            "PUBACK 0x97 quota exceeded".to_owned(),
            214,
        );
    });
    clock
}

/// Lets the next opening begin a new stream: the mark says that more had been durable.
pub(super) fn lose_records(dir: &Path) {
    let mark = std::fs::read(dir.join("mark")).unwrap();
    let found = store::envelope::open(&mark);
    let store::envelope::Opened::Value(found) = found else {
        panic!("{found:?}")
    };
    let ahead = store::envelope::wrap(
        found.kind,
        found.key,
        found.generation,
        &500u64.to_le_bytes(),
    );
    std::fs::write(dir.join("mark"), ahead).unwrap();
}

/// A configuration that names `cloud` and `mes`, with its state in `folder/state`.
pub(super) fn config(folder: &Path) -> String {
    let path = folder.join("forebay.toml");
    let text = "[gateway]\nid = \"hall-2\"\nstate_dir = \"state\"\n\n[upstream.cloud]\nkind = \"mqtt\"\n\
                url = \"mqtt://127.0.0.1:1\"\n\n[upstream.mes]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:2\"\n";
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

/// Runs `forebay queue`, with nobody at a terminal.
pub(super) fn queue(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forebay"))
        .arg("queue")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

/// As [`queue`], where it is done: what it printed.
pub(super) fn done(arguments: &[&str]) -> String {
    let output = queue(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

/// As [`queue`], where it is not done: exit code, and what was said.
pub(super) fn refused(arguments: &[&str]) -> (i32, String) {
    let output = queue(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), said)
}

/// Puts placeholders of the same length where the run shows: times and stream ids.
pub(super) fn masked(text: &str) -> String {
    let mut masked = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = [
            ("dddd-dd-dd dd:dd:dd", "TTTT-TT-TT TT:TT:TT"),
            ("dddd-dd-ddTdd:dd:dd.dddddd", "TIME"),
        ]
        .into_iter()
        .find(|(pattern, _)| fits(rest, pattern))
        .map(|(pattern, shown)| (pattern.len(), shown));
        let taken =
            taken.or_else(|| is_stream(masked.chars().last(), rest).then_some((8, "STREAMID")));
        match taken {
            Some((length, shown)) => {
                masked.push_str(shown);
                rest = &rest[length..];
            }
            None => {
                masked.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    masked
}

fn fits(text: &str, pattern: &str) -> bool {
    text.len() >= pattern.len()
        && text
            .bytes()
            .zip(pattern.bytes())
            .all(|(byte, wanted)| match wanted {
                b'd' => byte.is_ascii_digit(),
                wanted => byte == wanted,
            })
}

/// Eight hex digits that stand alone, and are not the hash of the map.
fn is_stream(before: Option<char>, text: &str) -> bool {
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let word = |c: char| c.is_ascii_alphanumeric() || c == '.';
    !before.is_some_and(word)
        && text.len() >= 8
        && text.bytes().take(8).all(hex)
        && !text[8..].starts_with(word)
        && !text.starts_with("9c1e42aa")
}
