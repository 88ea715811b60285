//! Flipped bits and zeroed pages in every file of a store: what they did not hit is delivered, what is lost is told exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, OpenOptions};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forebay::reading::{Body, Detail, EventName, RangeSet, Record};
use forebay::store::engine::Kind;
use forebay::store::envelope::{self, Opened};

use super::power_cut::workload::{self, Texts};
use super::power_cut::{scratch, share};
use super::sample::{LIMIT, Running, name, settings};
use super::stepping::ranges;
use crate::engine::damage::{copy, files};

/// How long a store may take to mend itself, on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What became of a file in which nothing is.
const EMPTY: &str = "empty";

/// A store with files of every kind, and what is in it.
struct Sample {
    dir: tempfile::TempDir,
    paths: Vec<PathBuf>,
    records: BTreeSet<u64>,
    /// Of those with scans, their number among the device's.
    device_seq: BTreeMap<u64, u64>,
    confirmed: u64,
    /// Where in which file the block stands that begins with this `seq`.
    blocks: Vec<(PathBuf, Range<u64>, u64)>,
}

impl Sample {
    async fn new() -> Self {
        let dir = scratch();
        for life in 0..3 {
            workload::live(dir.path(), life, life == 0).await;
        }
        let running = Running::open(&settings(dir.path()));
        let last = running.store.status().last;
        let records = running.records_until(last).await;
        let confirmed = running.store.cursor(&name("cloud")).first_missing(1) - 1;
        running.stop();
        let mut paths = Vec::new();
        files(dir.path(), &mut paths);
        paths.sort();
        let mut sample = Self {
            paths,
            records: records.iter().map(|record| record.seq).collect(),
            device_seq: numbers(&records),
            confirmed,
            blocks: Vec::new(),
            dir,
        };
        sample.find_blocks();
        sample
    }

    fn find_blocks(&mut self) {
        for path in &self.paths {
            let (bytes, mut at) = (fs::read(path).unwrap(), 0);
            while let Some(start) = envelope::find(&bytes, at) {
                at = start + 1;
                if let Opened::Value(value) = envelope::open(&bytes[start..])
                    && value.kind == Kind::Block
                {
                    at = start + value.bytes.len();
                    let first = u64::from_be_bytes(value.key.try_into().unwrap());
                    self.blocks
                        .push((path.clone(), start as u64..at as u64, first));
                }
            }
        }
    }

    /// The records of which every copy is hit.
    fn hit(&self, hits: &[Hit]) -> BTreeSet<u64> {
        let mut copies: BTreeMap<u64, bool> = BTreeMap::new();
        for (file, place, first) in &self.blocks {
            let touched = hits
                .iter()
                .any(|(path, hit)| file == path && place.start < hit.end && hit.start < place.end);
            *copies.entry(*first).or_insert(true) &= touched;
        }
        let firsts: Vec<u64> = copies.keys().copied().collect();
        let mut lost = BTreeSet::new();
        for (n, first) in firsts.iter().enumerate().filter(|(_, first)| copies[first]) {
            let end = firsts.get(n + 1).copied().unwrap_or(u64::MAX);
            lost.extend(self.records.range(*first..end));
        }
        lost
    }
}

/// What was damaged of a file of the sample.
type Hit = (PathBuf, Range<u64>);

/// Damages the copy of the sample below `work`: by turns a page and a bit of file after file, and a bit in each copy of a
/// block. What was hit; nothing: the file is empty.
fn damage_by_turns(sample: &Sample, work: &Path, n: usize, random: &mut fastrand::Rng) -> Vec<Hit> {
    let copy = |path: &PathBuf| work.join(path.strip_prefix(sample.dir.path()).unwrap());
    if n % 3 == 2 {
        let (_, _, first) = sample.blocks[random.usize(..sample.blocks.len())];
        let copies = sample.blocks.iter().filter(|(_, _, other)| *other == first);
        let hits = copies.map(|(path, place, _)| {
            let at = random.u64(place.clone());
            flip(&copy(path), at, random);
            (path.clone(), at..at + 1)
        });
        return hits.collect();
    }
    let path = &sample.paths[n / 3 % sample.paths.len()];
    let hit = damage(&copy(path), n.is_multiple_of(3), random);
    hit.map(|hit| (path.clone(), hit)).into_iter().collect()
}

/// Flips a bit of the byte at `at`.
fn flip(path: &Path, at: u64, random: &mut fastrand::Rng) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1 << random.u8(..8)], at)
        .unwrap();
}

/// Damages the copy of `path` below `dir`: a bit, or a page where it holds something. What was hit.
fn damage(path: &Path, page: bool, random: &mut fastrand::Rng) -> Option<Range<u64>> {
    let content = fs::read(path).unwrap();
    let used = content.iter().rposition(|&byte| byte != 0)? + 1;
    let at = random.usize(..used);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    if page {
        let start = at / 4096 * 4096;
        let end = (start + 4096).min(content.len());
        file.write_all_at(&vec![0; end - start], start as u64)
            .unwrap();
        Some(start as u64..end as u64)
    } else {
        flip(path, at as u64, random);
        Some(at as u64..at as u64 + 1)
    }
}

/// All records, as soon as the store has mended itself.
async fn all(running: &Running, what: &str) -> Vec<Arc<Record>> {
    let read = async {
        loop {
            let mut found: Vec<Arc<Record>> = Vec::new();
            loop {
                let next = found.last().map_or(1, |record| record.seq + 1);
                match running.store.read(next, LIMIT).await {
                    Ok(read) if read.is_empty() => return found,
                    Ok(read) => found.extend(read),
                    Err(_) => break,
                }
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let read = tokio::time::timeout(PATIENCE, read).await;
    read.unwrap_or_else(|_| panic!("{what}: never mended"))
}

/// The scans' numbers among the device's, by `seq`.
fn numbers(records: &[Arc<Record>]) -> BTreeMap<u64, u64> {
    let scans = records
        .iter()
        .filter(|record| matches!(record.body, Body::Scan(_)));
    scans
        .map(|record| (record.seq, record.device_seq))
        .collect()
}

/// The device's numbers that the records tell to be missing.
fn told_of_device(records: &[Arc<Record>]) -> RangeSet {
    let mut missing = RangeSet::new();
    for record in records {
        missing.extend(&ranges(record, EventName::RecordsLost, "device_seq"));
    }
    missing
}

/// What the records tell to be missing, of numbers up to `last`.
fn told(records: &[Arc<Record>], last: u64) -> BTreeSet<u64> {
    let mut missing = RangeSet::new();
    for record in records {
        let Body::Event(event) = &record.body else {
            continue;
        };
        if !matches!(
            event.name,
            EventName::GatewayStarted | EventName::RecordsLost
        ) {
            continue;
        }
        for (key, detail) in &event.detail {
            if let ("hole", Detail::Ranges(hole)) = (key.as_str(), detail) {
                missing.extend(hole);
            }
        }
    }
    (1..=last).filter(|&seq| missing.contains(seq)).collect()
}

async fn round(sample: &Sample, n: usize, texts: &Texts) -> String {
    let mut random = fastrand::Rng::with_seed(n as u64);
    let work = scratch();
    copy(sample.dir.path(), work.path());
    let hits = damage_by_turns(sample, work.path(), n, &mut random);
    if hits.is_empty() {
        return EMPTY.to_owned();
    }
    let what = format!("round {n}: {hits:?}");
    let running = Running::open(&settings(work.path()));
    let found = all(&running, &what).await;
    running.stop();
    // The event that tells it may have come with the mending.
    let running = Running::open(&settings(work.path()));
    let found_again = all(&running, &what).await;
    running.stop();
    let last = *sample.records.last().unwrap();
    let there: BTreeSet<u64> = found.iter().map(|record| record.seq).collect();
    let again: BTreeSet<u64> = found_again.iter().map(|record| record.seq).collect();
    assert!(
        again.range(sample.confirmed + 1..).count() >= there.range(sample.confirmed + 1..).count(),
        "{what}: what was read is gone"
    );
    for record in &found_again {
        assert!(texts.is_genuine(record), "{what}: invented: {record:?}");
    }
    // What was confirmed may go at any time.
    let owed = |all: &BTreeSet<u64>| -> BTreeSet<u64> {
        all.range(sample.confirmed + 1..).copied().collect()
    };
    let lost: BTreeSet<u64> = owed(&sample.records).difference(&there).copied().collect();
    let most = sample.hit(&hits);
    assert!(lost.is_subset(&most), "{what}: lost {lost:?}, hit {most:?}");
    assert_eq!(
        owed(&told(&found_again, last)),
        lost,
        "{what}: what is told to be missing"
    );
    let told = told_of_device(&found_again);
    for (seq, device_seq) in sample.device_seq.range(sample.confirmed + 1..) {
        assert_eq!(
            told.contains(*device_seq),
            lost.contains(seq),
            "{what}: {device_seq} of the device, told is {told:?}"
        );
    }
    if lost.is_empty() {
        "nothing lost".to_owned()
    } else {
        "a block lost".to_owned()
    }
}

#[test]
fn damage_anywhere_costs_what_it_hit_and_is_told_exactly() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    };
    let (sample, texts) = (runtime().block_on(Sample::new()), Texts::new());
    let (next, damaged, images) = (AtomicUsize::new(0), AtomicUsize::new(0), share(1000, 100));
    let outcomes = std::sync::Mutex::new(BTreeMap::<String, usize>::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while damaged.load(Ordering::Relaxed) < images {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let outcome = runtime().block_on(round(&sample, n, &texts));
                    // An empty file cannot be damaged: that is no image.
                    if outcome != EMPTY {
                        damaged.fetch_add(1, Ordering::Relaxed);
                    }
                    *outcomes.lock().unwrap().entry(outcome).or_default() += 1;
                }
            });
        }
    });
    println!(
        "damage: {} files, {:?}",
        sample.paths.len(),
        outcomes.into_inner().unwrap()
    );
}
