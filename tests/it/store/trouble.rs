//! A full disk and damage: the store helps itself, tells it, and loses nothing it had announced.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::reading::{Body, Detail, EventName, Outlet, RangeSet, Record};
use forebay::store::settings::{Start, StoreSettings};

use super::sample::{LIMIT, Running, name, scan, settings, told};

const PATIENCE: Duration = Duration::from_secs(30);

/// A small file system in memory, gone with this.
pub(super) struct Small(PathBuf);

impl Small {
    /// `None`: this process may not mount.
    pub(super) fn mount(dir: &Path, megabytes: u32) -> Option<Self> {
        let options = format!("size={megabytes}m");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(dir)
            .output()
            .ok()?;
        mounted.status.success().then(|| Self(dir.to_owned()))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a failing test has files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

pub(super) async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_store_comes_back_when_it_does() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_small) = Small::mount(dir.path(), 100) else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    let store = Running::open(&StoreSettings {
        dir: dir.path().join("store"),
        ..settings(dir.path())
    });
    store.store.register(&name("cloud"), Start::Oldest);
    store.inlet.put(scan("press", 0, 50));
    store.records_until(2).await;
    let ballast = dir.path().join("ballast");
    let filled = fs::write(&ballast, vec![1; 100 << 20]);
    assert!(filled.is_err(), "the disk is full now");

    let mut put = 0;
    until("the disk is told to be full", || {
        put += 1;
        store.inlet.put(scan("press", put, 50));
        store.store.status().trouble.is_some()
    })
    .await;
    let before = store.store.status();
    assert_eq!(
        store.records_until(before.last).await.len() as u64,
        before.last,
        "what is there can be read"
    );
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        store.store.stalled_for() < Duration::from_secs(10),
        "it tries, it does not hang"
    );

    fs::remove_file(&ballast).unwrap();
    until("the store comes back", || {
        store.store.status().trouble.is_none()
    })
    .await;
    let last = 2 + put + 2;
    let records = store.records_until(last).await;
    assert_eq!(
        records.iter().map(|r| r.seq).collect::<Vec<_>>(),
        (1..=records.len() as u64).collect::<Vec<_>>()
    );
    let mut presses = records.iter().filter(|r| matches!(r.body, Body::Scan(_)));
    assert!(
        presses.all(|r| r.stream == before.stream),
        "one stream: the writer knows what it had announced"
    );
    assert_eq!(
        records
            .iter()
            .filter(|r| matches!(r.body, Body::Scan(_)))
            .count() as u64,
        1 + put,
        "nothing is lost"
    );
    let events = |what| {
        records
            .iter()
            .filter(|r| matches!(&r.body, Body::Event(e) if e.name == what))
            .count()
    };
    assert_eq!(
        (
            events(EventName::DiskTrouble),
            events(EventName::DiskRecovered)
        ),
        (1, 1)
    );
    store.stop();
}

/// The files below `dir` whose path holds `part`.
fn files(dir: &Path, part: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), part, found);
        } else if entry.path().to_string_lossy().contains(part) {
            found.push(entry.path());
        }
    }
}

fn hole_in(record: &Record) -> Option<RangeSet> {
    let at_start = told(record, EventName::GatewayStarted, "hole");
    match at_start.or_else(|| told(record, EventName::RecordsLost, "hole")) {
        Some(Detail::Ranges(hole)) => Some(hole),
        _ => None,
    }
}

/// Fills a store, damages one block in its table, and perhaps also in its journal, and reads all: what is found, what is
/// lost of what was there, and the hole that is told.
async fn damaged(journal_too: bool) -> (Vec<Arc<Record>>, Vec<u64>, RangeSet) {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::open(&settings(dir.path()));
    store.store.register(&name("cloud"), Start::Oldest);
    let mut random = fastrand::Rng::with_seed(7);
    let mut head = store.store.head();
    let mut values = scan("press", 0, 50);
    for _ in 0..400 {
        let Body::Scan(scan) = &mut values.body else {
            unreachable!()
        };
        for reading in &mut scan.readings {
            let text: String = std::iter::repeat_with(|| random.alphanumeric())
                .take(500)
                .collect();
            *reading = Some(forebay::reading::Reading::good(
                forebay::reading::Value::Text(text.into()),
            ));
        }
        let before = *head.borrow_and_update();
        store.inlet.put(values.clone());
        head.wait_for(|head| *head > before).await.unwrap();
    }
    let old = store.stop();

    let mut tables = Vec::new();
    files(&dir.path().join("engine"), "/tables/", &mut tables);
    tables.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
    let bytes = fs::read(&tables[0]).unwrap();
    let hit = &bytes[1 << 20..(1 << 20) + 64];
    tables.truncate(1);
    if journal_too {
        files(&dir.path().join("engine"), ".jnl", &mut tables);
    }
    for path in &tables {
        let content = fs::read(path).unwrap();
        let file = OpenOptions::new().write(true).open(path).unwrap();
        if let Some(at) = content.windows(hit.len()).position(|bytes| bytes == hit) {
            file.write_all_at(&[0xaa; 64], at as u64).unwrap();
        }
    }

    let store = Running::open(&settings(dir.path()));
    let (mut next, start) = (1, Instant::now());
    let mut found: Vec<Arc<Record>> = Vec::new();
    while !found.iter().any(|record| hole_in(record).is_some()) {
        assert!(start.elapsed() < PATIENCE, "{} records", found.len());
        // The first read meets the damage; the store mends itself, and the same read goes on.
        if let Ok(read) = store.store.read(next, LIMIT).await {
            next = read.last().map_or(next, |last| last.seq + 1);
            found.extend(read);
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let hole = found.iter().find_map(|record| hole_in(record)).unwrap();
    let lost: Vec<u64> = (1..=old.last)
        .filter(|seq| !found.iter().any(|r| r.seq == *seq))
        .collect();
    assert_ne!(found.last().unwrap().stream, old.stream);
    let report = fs::read_to_string(dir.path().join("quarantine/1/report.txt")).unwrap();
    let lines: Vec<&str> = report.lines().collect();
    assert!(
        lines[0].starts_with("This database was given up: "),
        "{report}"
    );
    assert!(lines[1].contains("blocks from record 1 to "), "{report}");
    assert_eq!(lines.len(), 2, "{report}");
    store.stop();
    (found, lost, hole)
}

#[tokio::test]
async fn damage_found_while_reading_is_mended_from_what_is_intact() {
    let (found, lost, _) = damaged(false).await;
    assert!(lost.is_empty(), "the journal still had it: {lost:?}");
    assert!(
        found
            .iter()
            .any(|record| told(record, EventName::RecordsLost, "hole").is_some())
    );
}

#[tokio::test]
async fn damage_found_at_the_start_costs_one_block_and_is_told() {
    let (found, lost, hole) = damaged(true).await;
    assert!(!lost.is_empty() && lost.len() <= 3, "{lost:?}");
    assert!(
        lost.iter().all(|seq| hole.contains(*seq)),
        "{lost:?} in {hole:?}"
    );
    assert!(
        found
            .iter()
            .any(|record| told(record, EventName::GatewayStarted, "hole").is_some())
    );
}
