//! A power cut at any instant: all that was announced is there, nothing is invented, no cursor is ahead, and the store opens.
//!
//! The system calls of a run are recorded with strace: what was written, cut, synced, made, renamed and removed, with what
//! the run had announced by then. Then the power goes: just before and just after each sync, and in between. For each cut a
//! folder is made as the disk may have it, and a store is opened there.
//!
//! # The model
//!
//! - What a returned `fsync` or `fdatasync` of a file covers, its data and its length, is there. Only what had been written
//!   when the sync began counts.
//! - Of each 4 KiB page that was written since, the disk has any state from the synced one to the latest, whatever it has of
//!   other pages, written before or after; some pages have sectors of 512 bytes of two such states.
//! - The length of a file is that of any moment since its last sync. What lies behind what was written is zero.
//! - A name that was made, renamed or removed is there or not, each for itself, until its folder is synced. Syncing a file
//!   does not make its name durable. A rename happens whole or not at all.
//! - What was synced stays: the disk keeps what it has acknowledged.
//!
//! No file system is as careless as that in everything; each is in something. `strace` must be installed and allowed to trace.

mod content;
mod disk;
mod trace;
pub(super) mod workload;

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use forebay::reading::{Clock, Outlet, Record, SystemClock};
use forebay::store::settings::Start;
use forebay::store::{self, Inlet, Store};

use super::sample::{LIMIT, name, settings};
use disk::{Disk, Fate};
use workload::Texts;

/// Images are made in memory where there is such a place: what is tested is what is on them, not the disk below.
pub(super) fn scratch() -> tempfile::TempDir {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() {
        tempfile::tempdir_in(shared).unwrap()
    } else {
        tempfile::tempdir().unwrap()
    }
}

/// A run of the child on `dir`, recorded.
fn run(dir: &Path, lives: &str) -> Disk {
    let mut disk = Disk::of(dir);
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args([
        "--exact",
        "store::power_cut::workload::child",
        "--nocapture",
    ]);
    child.env(workload::DIR, dir).env(workload::LIVES, lives);
    trace::record(child, dir, &mut disk);
    disk
}

/// What was announced and confirmed before the run, and the numbers that no record has.
#[derive(Clone, Default)]
struct Known {
    head: u64,
    confirmed: u64,
    skipped: Range<u64>,
}

/// Cuts the power `count` times.
fn cut_often(disk: &Disk, count: usize, known: &Known, seed: u64) {
    let (boundaries, between) = disk.cuts();
    let mut random = fastrand::Rng::with_seed(seed);
    let mut cuts = Vec::new();
    // Each boundary once before any of them again, with another fate; a quarter lies in between.
    let mut fates = Fate::ALL.iter().copied().cycle();
    while cuts.len() < count {
        let mut round = boundaries.clone();
        random.shuffle(&mut round);
        for (n, cut) in round.into_iter().enumerate() {
            cuts.push((cut, fates.next().unwrap()));
            if n % 3 == 0 && !between.is_empty() {
                cuts.push((
                    between[random.usize(..between.len())],
                    fates.next().unwrap(),
                ));
            }
        }
        fates.next();
    }
    cuts.truncate(count);
    println!(
        "power cut: {count} images, {} syncs, {} operations",
        boundaries.len() / 2,
        disk.count()
    );
    let (next, texts) = (AtomicUsize::new(0), Texts::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(&(cut, fate)) = cuts.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let image = scratch();
                    let seed = seed ^ cut as u64;
                    disk.image(cut, fate, &mut fastrand::Rng::with_seed(seed), image.path());
                    let (head, confirmed) = disk.promised(cut);
                    let promised = Known {
                        head: head.max(known.head),
                        confirmed: confirmed.max(known.confirmed),
                        skipped: known.skipped.clone(),
                    };
                    let what = format!("cut at {cut}, {fate:?}, seed {seed}");
                    check(image.path(), &promised, &texts, &what);
                }
            });
        }
    });
}

/// Opens the store in an image, reads all of it, and has it go on.
fn check(dir: &Path, promised: &Known, texts: &Texts, what: &str) {
    let clock = Clock::new(SystemClock::new());
    let inlet = Inlet::new(clock.clone());
    let (store, writer) = store::open(&settings(dir), clock, &inlet)
        .unwrap_or_else(|error| panic!("{what}: refused: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let found = runtime.block_on(all(&store, what));
    for record in &found {
        assert!(texts.is_genuine(record), "{what}: invented: {record:?}");
    }
    let there: BTreeSet<u64> = found.iter().map(|record| record.seq).collect();
    let cursor = store.cursor(&name("cloud"));
    let unconfirmed = promised.confirmed + 1..promised.head + 1;
    for seq in unconfirmed.filter(|seq| !promised.skipped.contains(seq)) {
        assert!(
            there.contains(&seq),
            "{what}: {seq} was announced and is lost"
        );
        assert!(!cursor.contains(seq), "{what}: {seq} was never confirmed");
    }
    store.register(&name("cloud"), Start::Oldest);
    let writer = std::thread::spawn(|| writer.run());
    inlet.put(workload::scan(&workload::schema(), 0));
    store.stop();
    writer.join().unwrap();
    let status = store.status();
    assert_eq!(status.trouble, None, "{what}");
    assert!(
        status.last > promised.head && status.last >= found.last().map_or(0, |last| last.seq) + 2,
        "{what}: {status:?}"
    );
}

async fn all(store: &Store, what: &str) -> Vec<Arc<Record>> {
    let mut found: Vec<Arc<Record>> = Vec::new();
    loop {
        let next = found.last().map_or(1, |record| record.seq + 1);
        match store.read(next, LIMIT).await {
            Ok(read) if read.is_empty() => return found,
            Ok(read) => found.extend(read),
            Err(error) => panic!("{what}: from {next}: {error}"),
        }
    }
}

pub(super) fn share(long: usize, ci: usize) -> usize {
    if std::env::var_os("FOREBAY_LONG").is_some() {
        long
    } else {
        ci
    }
}

#[test]
#[ignore = "needs strace"]
fn a_power_cut_costs_nothing_that_was_announced() {
    let dir = scratch();
    let disk = run(dir.path(), "0 1 2");
    cut_often(&disk, share(1500, 150), &Known::default(), 1);
}

#[test]
#[ignore = "needs strace"]
fn a_power_cut_during_a_rebuild_costs_nothing_either() {
    let dir = scratch();
    let before = run(dir.path(), "0");
    let (head, confirmed) = before.promised(before.count());
    // No block is in it, and nothing can be opened without it.
    let marker = dir.path().join("engine/version");
    let file = fs::OpenOptions::new().write(true).open(marker).unwrap();
    file.write_all_at(b"X", 0).unwrap();
    let disk = run(dir.path(), "1");
    assert!(
        dir.path().join("quarantine/1").exists(),
        "nothing was rebuilt"
    );
    let known = Known {
        head,
        confirmed,
        skipped: head + 1..first_beyond(dir.path(), head),
    };
    assert!(
        known.skipped.end > head + 1000,
        "a new stream begins far beyond"
    );
    cut_often(&disk, share(500, 50), &known, 2);
}

/// The first record behind `head` in the store in `dir`.
fn first_beyond(dir: &Path, head: u64) -> u64 {
    let clock = Clock::new(SystemClock::new());
    let (store, _writer) = store::open(&settings(dir), clock.clone(), &Inlet::new(clock)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let found = runtime.block_on(all(&store, "after the run"));
    let beyond = found.iter().find(|record| record.seq > head);
    beyond.unwrap().seq
}
