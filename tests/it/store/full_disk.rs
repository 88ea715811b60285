//! An hour of a plant on a small disk that others fill, and give back: the directory stays within its bound, the store comes
//! back by itself, and each scan is delivered or told, at an upstream that keeps up and at one that was away all along.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::payload::settings::{CodecKind, MessageKind, PayloadSettings};
use forebay::payload::{Codec, Part};
use forebay::proof::{Ledger, Terms};
use forebay::reading::{
    Body, Clock, Detail, EventName, ManualClock, Name, Outlet, Reading, Record, Schema, Value,
};
use forebay::store::Store;
use forebay::store::settings::{Start, StoreSettings};

use super::bounds::allocated;
use super::sample::{LIMIT, Running, name, scan, scan_of, settings, told};
use super::trouble::{Small, until};
use crate::harness::share;

/// How long anything that must happen may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);
const DEVICES: usize = 20;
/// Beside a text that does not get smaller by compression.
const POINTS: usize = 150;
const TEXT: usize = 6_000;
const MIB: u64 = 1 << 20;

fn schemas() -> Vec<Arc<Schema>> {
    let schema = |n| match scan(&format!("press-{n}"), 0, POINTS).body {
        Body::Scan(scan) => scan.schema,
        _ => unreachable!(),
    };
    (0..DEVICES).map(schema).collect()
}

/// What one upstream has got.
struct Upstream {
    name: Name,
    codec: Codec,
    ledger: Ledger,
    next: u64,
    /// Scans that arrived of each device, and those that events say never had a number.
    scans: BTreeMap<Name, i64>,
    overflowed: BTreeMap<Name, i64>,
}

impl Upstream {
    fn new(upstream: &str) -> Self {
        let payload = PayloadSettings {
            codec: CodecKind::Json,
            integers_as_text: false,
            message: MessageKind::Scan,
        };
        let terms = Terms {
            upstream: Some(upstream.to_owned()),
            from_start: true,
            ..Terms::default()
        };
        Self {
            name: name(upstream),
            codec: Codec::new(payload, "hall-2"),
            ledger: Ledger::new(terms),
            next: 1,
            scans: BTreeMap::new(),
            overflowed: BTreeMap::new(),
        }
    }

    /// Takes and confirms all there is.
    async fn drain(&mut self, store: &Store) {
        loop {
            let read = store.read(self.next, LIMIT).await.unwrap();
            let Some(last) = read.last().map(|last| last.seq) else {
                return;
            };
            read.iter().for_each(|record| self.take(record));
            let confirmed = [(1, last)].into_iter().collect();
            store.confirm(&self.name, &confirmed);
            self.next = last + 1;
        }
    }

    fn take(&mut self, record: &Record) {
        let message = self.codec.encode(record, Part::WHOLE, false);
        self.ledger.take(&message, None);
        let Some(device) = record.body.device().cloned() else {
            return;
        };
        if matches!(record.body, Body::Scan(_)) {
            *self.scans.entry(device).or_default() += 1;
        } else if let Some(Detail::Int(count)) = told(record, EventName::BufferOverflow, "count") {
            *self.overflowed.entry(device).or_default() += count;
        }
    }
}

/// The plant, the disk, and what is sampled.
struct Plant {
    running: Running,
    clock: ManualClock,
    schemas: Vec<Arc<Schema>>,
    put: u64,
    dir: PathBuf,
    ballast: PathBuf,
    /// The most that the directory took.
    most: u64,
}

impl Plant {
    /// `seconds` of its life, with a scan of each device in each. While the disk is well they go no faster than it takes them.
    async fn live(&mut self, seconds: u64, upstream: &mut Upstream) {
        let mut head = self.running.store.head();
        for _ in 0..seconds {
            self.clock.advance(1_000_000_000);
            let before = *head.borrow_and_update();
            for n in 0..DEVICES {
                self.put(n);
            }
            let trouble = || self.running.store.status().trouble.is_some();
            let start = Instant::now();
            while *head.borrow() == before && !trouble() {
                assert!(start.elapsed() < PATIENCE, "neither committed nor told");
                let _ = tokio::time::timeout(Duration::from_millis(5), head.changed()).await;
            }
            upstream.drain(&self.running.store).await;
            self.most = self.most.max(allocated(&self.dir));
        }
    }

    fn put(&mut self, device: usize) {
        let mut observation = scan_of(&self.schemas[device], self.put);
        observation.stamp = Clock::new(self.clock.clone()).now();
        let Body::Scan(scan) = &mut observation.body else {
            unreachable!()
        };
        let text = std::iter::repeat_with(fastrand::alphanumeric).take(TEXT);
        let text: String = text.collect();
        scan.readings[0] = Some(Reading::good(Value::Text(text.into())));
        self.running.inlet.put(observation);
        self.put += 1;
    }

    /// Others take all that is left, and again what the store gives way.
    fn others_take_all(&self) {
        use std::io::Write;
        let file = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.ballast);
        let (mut file, chunk) = (file.unwrap(), vec![1; 1 << 20]);
        while file.write_all(&chunk).is_ok() {}
    }
}

fn small(dir: &Path, max_size: u64) -> StoreSettings {
    StoreSettings {
        max_size,
        ..settings(dir)
    }
}

#[tokio::test]
async fn an_hour_on_a_disk_that_others_fill_leaves_each_scan_delivered_or_told() {
    let (hour, dir) = (share(3_600, 300), tempfile::tempdir().unwrap());
    // So much that a commit of all that waited does not go before the upstream that keeps up has read it.
    let max_size = share(96, 56) * MIB;
    let Some(_small) = Small::mount(dir.path(), share(320, 160) as u32) else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    let store = dir.path().join("store");
    let clock = ManualClock::at(1_000_000_000_000, 5_000_000_000);
    let settings = small(&store, max_size);
    let mut plant = Plant {
        running: Running::open_with(&settings, Clock::new(clock.clone())),
        clock,
        schemas: schemas(),
        put: 0,
        dir: store,
        ballast: dir.path().join("ballast"),
        most: 0,
    };
    let (mut cloud, mut away) = (Upstream::new("cloud"), Upstream::new("mes"));
    for upstream in [&cloud, &away] {
        plant.running.store.register(&upstream.name, Start::Oldest);
    }
    plant.live(hour / 3, &mut cloud).await;
    let (start, mut seconds) = (Instant::now(), 0);
    while plant.running.store.status().trouble.is_none() {
        assert!(start.elapsed() < PATIENCE, "the disk is full");
        plant.others_take_all();
        plant.live(1, &mut cloud).await;
        seconds += 1;
    }
    plant
        .live((hour / 3).saturating_sub(seconds), &mut cloud)
        .await;
    fs::remove_file(&plant.ballast).unwrap();
    until("the store comes back", || {
        plant.running.store.status().trouble.is_none()
    })
    .await;
    plant.live(hour / 3, &mut cloud).await;
    plant.running.store.flushed().await;
    let status = plant.running.stop();
    assert_eq!(status.trouble, None);

    let running = Running::open_with(&settings, Clock::new(plant.clock.clone()));
    for upstream in [&mut cloud, &mut away] {
        running.store.register(&upstream.name, Start::Oldest);
        // What a bound drops meanwhile is told by an event that is behind it.
        let (mut head, start) = (running.store.head(), Instant::now());
        upstream.drain(&running.store).await;
        while !upstream.ledger.report().is_complete() {
            assert!(
                start.elapsed() < PATIENCE,
                "{:#?}",
                upstream.ledger.report()
            );
            let _ = tokio::time::timeout(Duration::from_millis(100), head.changed()).await;
            upstream.drain(&running.store).await;
        }
    }
    running.stop();
    let report = cloud.ledger.report();
    assert_eq!(report.streams.len(), 1, "one stream, whatever the disk did");
    // An event that is dropped hands its count on to the next: who had it already gets it again, who was away has it once.
    let (scans, overflowed): (i64, i64) =
        (cloud.scans.values().sum(), away.overflowed.values().sum());
    println!(
        "{} scans put, {scans} delivered, {overflowed} overflowed; {} explained to the one that was away; {} MiB at most",
        plant.put,
        away.ledger.report().streams[0].explained,
        plant.most / MIB
    );
    for device in &plant.schemas {
        let of = |counts: &BTreeMap<Name, i64>| counts.get(&device.device).copied().unwrap_or(0);
        let known = of(&cloud.scans) + of(&away.overflowed);
        assert_eq!(
            known,
            (plant.put as usize / DEVICES) as i64,
            "{}",
            device.device
        );
    }
    assert!(overflowed > 0, "the memory was full as well");
    assert!(away.ledger.report().streams[0].explained > 0);
    assert!(plant.most <= max_size + 132 * MIB, "{}", plant.most / MIB);
}
