//! forebay's store: filled as fast as it takes it, then drained.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::reading::{
    Body, Clock, MapHash, Name, Observation, Outlet, RangeSet, Reading, Scan, Schema, SchemaPoint,
    Stamp, SystemClock, Value, ValueType,
};
use forebay::store::settings::{Start as Where, StoreSettings, WhenFull};
use forebay::store::{self, Inlet, ReadLimit, Store};

use crate::LONE;
use crate::figures::{Figures, Start};
use crate::plant::{BYTES, DEVICES, VALUES};

/// Most records that are put and not durable: as many as the inlet holds, twice what a commit takes, so that nothing falls out of
/// it and the next commit does not wait for more.
const OUT: usize = 3_448;
const LIMIT: ReadLimit = ReadLimit {
    records: 512,
    bytes: 1 << 20,
};

/// Fills and drains a store in `dir` with a commit window of so many milliseconds.
pub(crate) fn run(dir: &Path, window: &str) -> Figures {
    let settings = StoreSettings {
        dir: dir.join("store"),
        max_size: 4 << 30,
        max_age: None,
        keep_free: None,
        when_full: WhenFull::DropOldest,
        commit_window: Duration::from_millis(window.parse().unwrap_or(0)),
    };
    let clock = Clock::new(SystemClock::new());
    let inlet = Inlet::new(clock.clone());
    let (store, writer) = store::open(&settings, clock.clone(), &inlet).unwrap();
    let writer = std::thread::spawn(move || writer.run());
    let records = std::fs::read(dir.join("records")).unwrap();
    let schemas: Vec<Arc<Schema>> = (0..DEVICES).map(schema).collect();
    let scans = records.chunks(BYTES).enumerate();
    // The time is counted on from here: asking the kernel whether it is true takes longer than to make a scan.
    let began = clock.now();
    let scans =
        scans.map(|(n, record)| scan(&schemas[n % DEVICES], record, later(began, n as u64)));
    // The floors have theirs ready, too.
    let scans: Vec<Observation> = scans.collect();
    let out = if window == LONE { 1 } else { OUT };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        let name = Name::new("bench").unwrap();
        store.register(&name, Where::Oldest);
        // The event of the start is not counted.
        store.head().wait_for(|head| *head == 1).await.unwrap();
        let (start, count) = (Start::now(), scans.len());
        let (syncs, waited) = fill(&store, &inlet, scans.into_iter(), count, out).await;
        let elapsed = start.elapsed() - waited;
        drain(&store, &name).await;
        // Also what the confirmations cost.
        store.stop();
        writer.join().unwrap();
        start.end(count, syncs, elapsed)
    })
}

/// About 2 ms a scan behind `began`.
fn later(began: Stamp, n: u64) -> Stamp {
    let passed = n * 2_000_000 + n * 7_919 % 200_000;
    Stamp {
        wall_ns: began.wall_ns + passed as i64,
        boot_ns: began.boot_ns + passed,
        ..began
    }
}

fn scan(schema: &Arc<Schema>, record: &[u8], stamp: Stamp) -> Observation {
    let value = |bytes: &[u8]| Value::F32(f32::from_le_bytes(bytes.try_into().unwrap()));
    let readings = record
        .chunks(4)
        .map(|bytes| Some(Reading::good(value(bytes))));
    Observation {
        stamp,
        body: Body::Scan(Scan {
            schema: Arc::clone(schema),
            readings: readings.collect(),
            full: false,
        }),
    }
}

fn schema(device: usize) -> Arc<Schema> {
    let name = |text: String| Name::new(&text).unwrap();
    let point = |point| SchemaPoint {
        name: name(format!("v{point}")),
        value_type: ValueType::F32,
        unit: None,
    };
    Arc::new(Schema {
        line: name(format!("l{device}")),
        device: name(format!("d{device}")),
        scan: name("default".to_owned()),
        labels: Vec::new(),
        map: MapHash(7),
        points: (0..VALUES).map(point).collect(),
    })
}

/// Puts all scans, most `out` ahead of what is durable: how many commits were seen, and how long the last one, which was not
/// full, waited for the end of its window.
async fn fill(
    store: &Store,
    inlet: &Inlet,
    mut scans: impl Iterator<Item = Observation>,
    all: usize,
    out: usize,
) -> (usize, Duration) {
    let mut head = store.head();
    let (first, mut syncs, mut put) = (*head.borrow_and_update(), 0, 0);
    loop {
        let durable = (*head.borrow_and_update() - first) as usize;
        let before = Instant::now();
        for scan in scans.by_ref().take(out - (put - durable)) {
            inlet.put(scan);
            put += 1;
        }
        head.changed().await.unwrap();
        syncs += 1;
        if (*head.borrow() - first) as usize == all {
            let last = if out == 1 {
                Duration::ZERO
            } else {
                before.elapsed()
            };
            return (syncs, last);
        }
    }
}

async fn drain(store: &Store, name: &Name) {
    let (mut from, last) = (1, *store.head().borrow());
    while from <= last {
        let read = store.read(from, LIMIT).await.unwrap();
        let next = read.last().unwrap().seq + 1;
        let mut confirmed = RangeSet::new();
        confirmed.insert(from, next - 1);
        store.confirm(name, &confirmed);
        from = next;
    }
}
