//! What runs while its system calls are recorded: a store that is filled, drained, closed and opened again.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forebay::reading::{
    Body, Clock, EventName, MapHash, Observation, Outlet, Reading, Record, Scan, Schema,
    SchemaPoint, SystemClock, Value, ValueType,
};
use forebay::store::settings::Start;

use super::super::sample::{Running, name, settings};

/// Where the child keeps its store; without it, [`child`] does nothing.
pub(super) const DIR: &str = "FOREBAY_TEST_POWER_DIR";
/// Which of its lives the child lives, one after the other.
pub(super) const LIVES: &str = "FOREBAY_TEST_POWER_LIVES";
/// Scans in each life.
const SCANS: u64 = 60;
/// Each tenth scan has so many bytes, so that the engine's memory becomes a file in the third life.
const LARGE: usize = 280_000;
const EACH: u64 = 10;
/// Three of ten have so many readings more that each fills a block; they are put at once, so that one commit has several.
const FULL: usize = 20_000;

/// Runs in a process of its own. Says `head N` when all up to `N` were announced, and `confirm N` before it confirms all up
/// to `N`; each in one write.
#[test]
fn child() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    for life in std::env::var(LIVES).unwrap().split(' ') {
        let life = life.parse().unwrap();
        runtime.block_on(live(Path::new(&dir), life, life != 1));
    }
}

/// Not through the test harness's own buffer.
fn say(line: &str) {
    std::io::stderr().lock().write_all(line.as_bytes()).unwrap();
}

pub(in super::super) async fn live(dir: &Path, life: u64, confirms: bool) {
    let mut settings = settings(dir);
    settings.commit_window = Duration::from_millis(1);
    let running = Running::open(&settings);
    let (store, cloud, schema) = (&running.store, name("cloud"), schema());
    let begin = store.register(&cloud, Start::Oldest).first_missing(1);
    let head = async || {
        store.flushed().await;
        let head = *store.head().borrow();
        say(&format!("head {head}\n"));
        head
    };
    for n in life * SCANS + 1..=(life + 1) * SCANS {
        running.inlet.put(scan(&schema, n));
        if n % 3 == 0 {
            head().await;
        }
    }
    let head = head().await;
    // The first life leaves half for the next, the last a little.
    let upto = match life {
        _ if !confirms => 0,
        0 => begin + head / 2,
        _ => head - 10,
    };
    for step in (begin..=upto).step_by(5) {
        say(&format!("confirm {step}\n"));
        store.confirm(&cloud, &[(1, step)].into_iter().collect());
    }
    if confirms && life == 2 && std::env::var_os("FOREBAY_LONG").is_some() {
        // What was confirmed is written without a block, synced after 5 s, and then what it was confirmed of is freed.
        tokio::time::sleep(Duration::from_secs(8)).await;
    }
    running.stop();
}

pub(super) fn schema() -> Arc<Schema> {
    Arc::new(Schema {
        line: name("hall"),
        device: name("press"),
        scan: name("default"),
        labels: Vec::new(),
        map: MapHash(7),
        points: vec![SchemaPoint {
            name: name("text"),
            value_type: ValueType::Text,
            unit: None,
        }],
    })
}

/// The `n`th scan of the only device, so that `device_seq` is `n`.
pub(super) fn scan(schema: &Arc<Schema>, n: u64) -> Observation {
    let readings = readings(n);
    Observation {
        stamp: Clock::new(SystemClock::new()).now(),
        body: Body::Scan(Scan {
            schema: Arc::clone(schema),
            readings,
            full: false,
        }),
    }
}

fn readings(n: u64) -> Vec<Option<Reading>> {
    let mut readings = vec![Some(Reading::good(Value::Text(text(n).into())))];
    if (4..=6).contains(&(n % EACH)) {
        readings.resize(FULL, None);
    }
    readings
}

/// Does not get smaller by compression.
fn text(n: u64) -> String {
    let mut random = fastrand::Rng::with_seed(n);
    let length = match n % EACH {
        7 => LARGE,
        // Some pages, of which each may be lost.
        4..=6 => 9_000,
        _ => 200,
    };
    std::iter::repeat_with(|| random.alphanumeric())
        .take(length)
        .collect()
}

/// The texts of all scans.
pub(in super::super) struct Texts(Vec<Vec<Option<Reading>>>);

impl Texts {
    pub(in super::super) fn new() -> Self {
        Self((0..=3 * SCANS).map(readings).collect())
    }

    /// Whether a record is what was put under its number.
    pub(in super::super) fn is_genuine(&self, record: &Record) -> bool {
        match &record.body {
            Body::Scan(scan) => self.0.get(record.device_seq as usize) == Some(&scan.readings),
            Body::Event(event) => event.device.is_none() || event.name == EventName::RecordsLost,
            Body::Description(_) => false,
        }
    }
}
