//! The store's bounds: nothing beyond them, and all that goes because of them is told.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::reading::{
    Body, BootId, Clock, Detail, EventName, ManualClock, Name, Observation, Outlet, RangeSet,
    Reading, Record, Scan, Schema, Stamp, Value,
};
use forebay::store::settings::{Start, StoreSettings, WhenFull};

use super::sample::{LIMIT, Running, name, scan, settings, told};

/// How long anything that must happen may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub(super) fn allocated(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => allocated(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    };
    entries.map(size).sum()
}

/// A scan whose text does not get smaller by compression.
fn bulky(schema: &Arc<Schema>, bytes: usize, random: &mut fastrand::Rng) -> Observation {
    let text: String = std::iter::repeat_with(|| random.alphanumeric())
        .take(bytes)
        .collect();
    let readings = vec![Some(Reading::good(Value::Text(text.into())))];
    let stamp = Stamp {
        wall_ns: 1,
        boot_ns: 1,
        boot: BootId(1),
        synced: true,
    };
    Observation {
        stamp,
        body: Body::Scan(Scan {
            schema: Arc::clone(schema),
            readings,
            full: false,
        }),
    }
}

fn schema_of(device: &str) -> Arc<Schema> {
    match scan(device, 0, 1).body {
        Body::Scan(scan) => scan.schema,
        _ => unreachable!(),
    }
}

/// Puts `total` bytes through in scans of 20 kB of two devices; the most that the directory took meanwhile.
async fn fill(store: &Running, dir: &Path, total: usize) -> u64 {
    const EACH: usize = 20_000;
    let (schemas, mut random) = (
        [schema_of("press"), schema_of("oven")],
        fastrand::Rng::with_seed(1),
    );
    let (mut head, mut most) = (store.store.head(), 0);
    for n in 0..total / EACH {
        let before = *head.borrow_and_update();
        store.inlet.put(bulky(&schemas[n % 2], EACH, &mut random));
        if n % 100 == 99 {
            // The next batch after this one is on disk: the inlet never overflows.
            tokio::time::timeout(PATIENCE, head.wait_for(|head| *head > before))
                .await
                .unwrap()
                .unwrap();
            most = most.max(allocated(dir));
        }
    }
    most
}

async fn all(store: &Running) -> Vec<Arc<Record>> {
    let mut found: Vec<Arc<Record>> = Vec::new();
    loop {
        let from = found.last().map_or(1, |record| record.seq + 1);
        let read = store.store.read(from, LIMIT).await.unwrap();
        if read.is_empty() {
            return found;
        }
        found.extend(read);
    }
}

fn ranges(record: &Record, key: &str) -> Option<RangeSet> {
    match told(record, EventName::RecordsDropped, key) {
        Some(Detail::Ranges(ranges)) => Some(ranges),
        _ => None,
    }
}

/// The numbers that are there or told, with those that were confirmed from the first on: of all, and by device.
fn known(records: &[Arc<Record>]) -> (RangeSet, BTreeMap<Option<Name>, RangeSet>) {
    let mut seqs: RangeSet = [(2, 11)].into_iter().collect();
    let mut devices: BTreeMap<Option<Name>, RangeSet> = BTreeMap::new();
    for record in records {
        seqs.insert(record.seq, record.seq);
        let of_device = devices.entry(record.body.device().cloned()).or_default();
        of_device.insert(record.device_seq, record.device_seq);
        if let (Some(seq), Some(device_seq)) = (ranges(record, "seq"), ranges(record, "device_seq"))
        {
            seqs.extend(&seq);
            of_device.extend(&device_seq);
        }
    }
    (seqs, devices)
}

#[tokio::test]
async fn the_oldest_make_room_and_every_number_is_there_or_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    // Below what configuration allows, so that the test need not write as much.
    settings.max_size = 96 << 20;
    let store = Running::open(&settings);
    store.store.register(&name("cloud"), Start::Oldest);
    store
        .store
        .confirm(&name("cloud"), &[(2, 11)].into_iter().collect());
    let most = fill(&store, dir.path(), 240_000_000).await;
    assert!(
        most <= settings.max_size + (128 << 20),
        "{} MiB",
        most >> 20
    );
    store.inlet.put(scan("last", 1, 1));
    let mut head = store.store.head();
    while all(&store).await.last().unwrap().body.device() != Some(&name("last")) {
        head.changed().await.unwrap();
    }
    store.stop();

    let store = Running::open(&settings);
    let mut records = all(&store).await;
    assert!(
        records[0].seq > 1000,
        "much was dropped: {}",
        records[0].seq
    );
    // The open store drops while it is read, and tells it with the commit that follows.
    let mut head = store.store.head();
    let devices = loop {
        let (seqs, devices) = known(&records);
        if seqs.range_count() == 1 {
            break devices;
        }
        let next = records.last().unwrap().seq + 1;
        tokio::time::timeout(PATIENCE, head.wait_for(|head| *head >= next))
            .await
            .unwrap_or_else(|_| panic!("a number is neither there nor told: {seqs:?}"))
            .unwrap();
        records.extend(store.store.read(next, LIMIT).await.unwrap());
    };
    for (device, numbers) in &devices {
        let from = if *device == Some(name("press")) || *device == Some(name("oven")) {
            6
        } else {
            1
        };
        assert_eq!(
            numbers.first_missing(from),
            numbers.bounds().unwrap().1 + 1,
            "{device:?}: {numbers:?}"
        );
    }
    let told_confirmed = records
        .iter()
        .filter_map(|record| ranges(record, "seq"))
        .any(|seq| seq.contains(5));
    assert!(!told_confirmed, "what all had confirmed was not dropped");
    // The open store may have dropped more since the records were read.
    let cursor = store.store.cursor(&name("cloud")).first_missing(1);
    assert!(cursor >= records[0].seq, "the cursor moved on: {cursor}");
    store.stop();
}

#[tokio::test]
async fn the_newest_are_turned_away_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.max_size = 40 << 20;
    settings.when_full = WhenFull::DropNewest;
    let store = Running::open(&settings);
    store.store.register(&name("cloud"), Start::Oldest);
    let schema = schema_of("press");
    let (mut random, start) = (fastrand::Rng::with_seed(2), Instant::now());
    let mut offered = 0;
    while store.store.status().bytes <= settings.max_size {
        assert!(start.elapsed() < PATIENCE);
        for _ in 0..20 {
            store.inlet.put(bulky(&schema, 20_000, &mut random));
            offered += 1;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for _ in 0..20 {
        store.inlet.put(bulky(&schema, 20_000, &mut random));
        offered += 1;
    }
    let mut head = store.store.head();
    let dropped = loop {
        head.borrow_and_update();
        let records = all(&store).await;
        let counts = records
            .iter()
            .filter_map(|record| told(record, EventName::RecordsDropped, "count"));
        if let Some(Detail::Int(count)) = { counts }.next_back() {
            break count;
        }
        tokio::time::timeout(PATIENCE, head.changed())
            .await
            .expect("it is told")
            .unwrap();
    };
    let kept = all(&store)
        .await
        .iter()
        .filter(|record| matches!(record.body, Body::Scan(_)))
        .count() as i64;
    assert!(
        dropped > 0 && kept + dropped <= offered,
        "{kept} kept, {dropped} turned away, {offered} offered"
    );
    assert_eq!(all(&store).await[0].seq, 1, "the oldest stay");
    store.stop();
}

#[tokio::test]
async fn records_beyond_their_age_go_and_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(1_000_000_000_000, 5_000_000_000);
    let mut settings = settings(dir.path());
    settings.max_age = Some(Duration::from_secs(2));
    let store = Running::open_with(&settings, Clock::new(clock.clone()));
    let put = |synced| {
        let mut observation = bulky(&schema_of("press"), 10, &mut fastrand::Rng::with_seed(3));
        observation.stamp = Clock::new(clock.clone()).now();
        observation.stamp.synced = synced;
        store.inlet.put(observation);
    };
    put(true);
    store.records_until(2).await;
    clock.advance(10_000_000_000);
    put(false);
    let mut head = store.store.head();
    tokio::time::timeout(PATIENCE, head.wait_for(|head| *head >= 4))
        .await
        .unwrap()
        .unwrap();
    let records = all(&store).await;
    assert_eq!(records[0].seq, 3, "the first two are too old");
    let reasons: Vec<_> = records
        .iter()
        .filter_map(|record| told(record, EventName::RecordsDropped, "reason"))
        .collect();
    // One for the device, and one for the gateway, which had said that it started.
    assert_eq!(reasons, vec![Detail::Text("max_age".to_owned()); 2]);
    store.stop();
}

#[tokio::test]
async fn a_drained_store_is_small_and_stays_drained() {
    let dir = tempfile::tempdir().unwrap();
    let settings = StoreSettings {
        commit_window: Duration::from_millis(1),
        ..settings(dir.path())
    };
    let store = Running::open(&settings);
    store.store.register(&name("cloud"), Start::Oldest);
    fill(&store, dir.path(), 100_000_000).await;
    store.store.flushed().await;
    let last = all(&store).await.last().unwrap().seq;
    store
        .store
        .confirm(&name("cloud"), &[(1, last)].into_iter().collect());
    let start = Instant::now();
    while allocated(dir.path()) > 80 << 20 {
        assert!(
            start.elapsed() < PATIENCE,
            "{} MiB",
            allocated(dir.path()) >> 20
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.stop();
    let start = Instant::now();
    let store = Running::open(&settings);
    println!(
        "drained: {} MiB, opened in {:?}",
        allocated(dir.path()) >> 20,
        start.elapsed()
    );
    let confirmed = store.store.register(&name("cloud"), Start::Oldest);
    assert!(confirmed.first_missing(1) > last, "{confirmed:?}");
    store.stop();
}

#[tokio::test]
async fn a_store_with_nothing_to_write_does_not_wake_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::open(&settings(dir.path()));
    store.store.register(&name("cloud"), Start::Oldest);
    store.inlet.put(scan("press", 1, 3));
    let last = store.records_until(2).await.last().unwrap().seq;
    store
        .store
        .confirm(&name("cloud"), &[(1, last)].into_iter().collect());
    // Its threads are those of this process that are not the test's own: the writer and the engine's worker.
    let switches = || -> u64 {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        let ours = tasks.filter(|task| {
            let comm = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            comm.starts_with("writer") || comm.starts_with("fjall")
        });
        let counts = ours.map(|task| {
            let status = fs::read_to_string(task.path().join("status")).unwrap_or_default();
            let line = status
                .lines()
                .find(|line| line.starts_with("voluntary"))
                .unwrap_or_default();
            line.split_whitespace()
                .nth(1)
                .map_or(0, |count| count.parse::<u64>().unwrap())
        });
        counts.sum()
    };
    // The cursor is written within a second and synced within five more.
    let mut before = switches();
    assert!(before > 0, "the threads were found");
    let start = Instant::now();
    loop {
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = switches();
        if now == before {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "{before} -> {now}");
        before = now;
    }
    store.stop();
}

#[tokio::test]
async fn what_is_left_of_damaged_databases_stays_below_a_tenth() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let aside = |n: u32| dir.path().join(format!("quarantine/{n}"));
    for (n, megabytes) in [(1, [9, 12]), (2, [8, 3])] {
        fs::create_dir_all(aside(n).join("tables")).unwrap();
        fs::write(aside(n).join("report.txt"), "why").unwrap();
        for megabytes in megabytes {
            let table = aside(n).join(format!("tables/{megabytes}"));
            fs::write(table, vec![1; megabytes << 20]).unwrap();
        }
    }
    Running::open(&settings).stop();
    for (n, megabytes, stays) in [(1, 12, false), (1, 9, true), (2, 8, true), (2, 3, true)] {
        let table = aside(n).join(format!("tables/{megabytes}"));
        assert_eq!(table.exists(), stays, "{}", table.display());
    }
    assert!(
        [1, 2]
            .map(aside)
            .iter()
            .all(|folder| folder.join("report.txt").exists())
    );
}
