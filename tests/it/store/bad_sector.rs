//! A sector that the disk does not read, for good: what else there is is delivered, and the hole is told.
//!
//! The sector is a real one to the store: a file system with checksums stands on an image of a disk, a sector of the image is
//! overwritten behind its back, and from then on the kernel answers each read of it with EIO.

use std::fs::{self, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::reading::{
    Body, Clock, EventName, Outlet, RangeSet, Reading, Record, SystemClock, Value,
};
use forebay::store::settings::{Start, StoreSettings};
use forebay::store::{self, Inlet, StoreError};

use super::power_cut::scratch;
use super::sample::{LIMIT, Running, name, scan, settings, told};
use super::stepping::ranges;

/// How long anything that must happen may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);
const SECTOR: usize = 4096;

/// A disk with bad sectors.
struct Disk {
    image: PathBuf,
    mount: PathBuf,
    _dir: tempfile::TempDir,
}

pub(super) fn run(program: &str, arguments: &[&str]) -> io::Result<()> {
    let output = Command::new(program).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    output
        .status
        .success()
        .then_some(())
        .ok_or_else(|| io::Error::other(text))
}

impl Disk {
    /// `None`: this process may not mount.
    fn new() -> Option<Self> {
        let dir = scratch();
        let (image, mount) = (dir.path().join("image"), dir.path().join("disk"));
        let file = fs::File::create(&image).unwrap();
        file.set_len(256 << 20).unwrap();
        fs::create_dir(&mount).unwrap();
        let single = ["-q", "-m", "single", "-d", "single"];
        let arguments: Vec<&str> = single.into_iter().chain(image.to_str()).collect();
        run("mkfs.btrfs", &arguments).expect("btrfs-progs is installed");
        let disk = Self {
            image,
            mount,
            _dir: dir,
        };
        disk.attach().ok()?;
        Some(disk)
    }

    fn attach(&self) -> io::Result<()> {
        let paths = [&self.image, &self.mount].map(|path| path.to_str().unwrap());
        // Small files, too, have sectors of their own.
        let options = "loop,max_inline=0";
        run("mount", &["-o", options, paths[0], paths[1]])
    }

    fn detach(&self) {
        run("umount", &[self.mount.to_str().unwrap()]).unwrap();
    }

    /// The sector at `at` of a file cannot be read any more; nor can another with the same content.
    fn lose(&self, path: &Path, at: u64) {
        let mut sector = vec![0; SECTOR];
        let file = fs::File::open(path).unwrap();
        if file.read_at(&mut sector, at).is_err() {
            return;
        }
        drop(file);
        self.detach();
        let image = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&self.image)
            .unwrap();
        let (mut place, mut found) = (0, 0);
        let mut chunk = vec![0; 256 * SECTOR];
        while (&image).read_exact(&mut chunk).is_ok() {
            for (n, bytes) in chunk.chunks(SECTOR).enumerate() {
                if bytes == sector {
                    let at = place + (n * SECTOR) as u64;
                    image.write_all_at(b"not what was written", at).unwrap();
                    found += 1;
                }
            }
            place += chunk.len() as u64;
        }
        assert!(found > 0, "the sector is somewhere in the image");
        self.attach().unwrap();
        let file = fs::File::open(path).unwrap();
        let error = file.read_at(&mut sector, at).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(super::rigged::EIO));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: a failing test has files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.mount).output();
    }
}

/// Commits `count` blocks of about 25 kB that do not get smaller by compression.
pub(super) async fn fill(store: &Running, count: usize) {
    let mut random = fastrand::Rng::with_seed(7);
    let mut head = store.store.head();
    for n in 0..count {
        let device = ["press", "oven"][n % 2];
        let mut observation = scan(device, 0, 50);
        let Body::Scan(scan) = &mut observation.body else {
            unreachable!()
        };
        for reading in &mut scan.readings {
            let text = std::iter::repeat_with(|| random.alphanumeric()).take(500);
            let text: String = text.collect();
            *reading = Some(Reading::good(Value::Text(text.into())));
        }
        let before = *head.borrow_and_update();
        store.inlet.put(observation);
        let committed = tokio::time::timeout(PATIENCE, head.wait_for(|head| *head > before));
        committed.await.unwrap().unwrap();
    }
}

/// The largest file of a kind in the engine, by what is in it.
pub(super) fn largest(dir: &Path, part: &str) -> PathBuf {
    let mut paths = Vec::new();
    crate::engine::damage::files(&dir.join("engine"), &mut paths);
    paths.retain(|path| path.to_str().unwrap().contains(part));
    let used = |path: &PathBuf| {
        let bytes = fs::read(path).unwrap();
        bytes.iter().rposition(|&byte| byte != 0)
    };
    paths.into_iter().max_by_key(used).unwrap()
}

/// All there is, once an event tells a hole: the hole, and of each device's numbers those that are there or told.
pub(super) async fn all(running: &Running) -> (Vec<Arc<Record>>, RangeSet) {
    let (mut found, start) = (Vec::<Arc<Record>>::new(), Instant::now());
    loop {
        assert!(start.elapsed() < PATIENCE, "{} records", found.len());
        let next = found.last().map_or(1, |record| record.seq + 1);
        let read = running.store.read(next, LIMIT).await.unwrap_or_default();
        let at_its_end = read.is_empty();
        found.extend(read);
        let hole = found.iter().find_map(|record| {
            let told = [EventName::GatewayStarted, EventName::RecordsLost];
            let holes = told.map(|event| ranges(record, event, "hole"));
            holes.into_iter().find(|hole| !hole.is_empty())
        });
        if let Some(hole) = hole.filter(|_| at_its_end) {
            return (found, hole);
        }
        // As a forwarder does.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Of a device's numbers, each is there or told with `device_seq`, and none is both.
fn assert_device_complete(records: &[Arc<Record>], device: &str) {
    let device = name(device);
    let (mut there, mut lost) = (RangeSet::new(), RangeSet::new());
    for record in records {
        if record.body.device() == Some(&device) {
            there.insert(record.device_seq, record.device_seq);
            lost.extend(&ranges(record, EventName::RecordsLost, "device_seq"));
        }
    }
    for (first, last) in lost.iter() {
        for number in first..=last {
            assert!(!there.contains(number), "{number}: {there:?} and {lost:?}");
        }
    }
    there.extend(&lost);
    assert_eq!(there.range_count(), 1, "{there:?}");
    assert_eq!(there.first_missing(1), there.bounds().unwrap().1 + 1);
}

fn within(disk: &Disk) -> StoreSettings {
    settings(&disk.mount.join("store"))
}

#[tokio::test]
#[ignore = "needs mkfs.btrfs"]
async fn a_bad_sector_in_the_journal_costs_the_blocks_on_it_and_the_store_starts() {
    let Some(disk) = Disk::new() else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    let settings = within(&disk);
    let store = Running::open(&settings);
    store.store.register(&name("cloud"), Start::Oldest);
    fill(&store, 40).await;
    let old = store.stop();
    let journal = largest(&settings.dir, ".jnl");
    disk.lose(&journal, 100 * SECTOR as u64);

    let store = Running::open(&settings);
    let (found, hole) = all(&store).await;
    let there: RangeSet = found.iter().map(|r| (r.seq, r.seq)).collect();
    let lost: Vec<u64> = (1..=old.last).filter(|seq| !there.contains(*seq)).collect();
    assert!(!lost.is_empty() && lost.len() <= 2, "{lost:?}");
    for seq in 1..=old.last {
        assert_eq!(hole.contains(seq), lost.contains(&seq), "{seq}: {hole:?}");
    }
    let first = found.iter().find(|record| record.stream != old.stream);
    let reason = told(first.unwrap(), EventName::GatewayStarted, "reason");
    let reason = format!("{reason:?}");
    assert!(reason.contains("cannot be read at byte 409600"), "{reason}");
    for device in ["press", "oven"] {
        assert_device_complete(&found, device);
    }
    let aside = settings.dir.join("quarantine/1");
    let kept = fs::read(aside.join(journal.file_name().unwrap()));
    assert!(kept.is_err(), "what cannot be read was moved, not copied");
    fill(&store, 2).await;
    assert_eq!(store.stop().trouble, None);
}

#[tokio::test]
#[ignore = "needs mkfs.btrfs"]
async fn a_bad_sector_in_a_table_does_not_hold_up_forwarding_for_ever() {
    let Some(disk) = Disk::new() else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    let settings = within(&disk);
    let store = Running::open(&settings);
    store.store.register(&name("cloud"), Start::Oldest);
    fill(&store, 240).await;
    let old = store.stop();
    disk.lose(&largest(&settings.dir, "/tables/"), 1 << 20);

    // Nothing shows at the start: the sector is first read when its records are.
    let store = Running::open(&settings);
    assert_eq!(store.store.status().stream, old.stream);
    let (found, _) = all(&store).await;
    let there: RangeSet = found.iter().map(|r| (r.seq, r.seq)).collect();
    assert_eq!(there.first_missing(1), old.last + 2, "the journal had it");
    assert!(settings.dir.join("quarantine/1").exists());
    assert_eq!(store.stop().trouble, None);
}

#[tokio::test]
#[ignore = "needs mkfs.btrfs"]
async fn a_disk_that_reads_nothing_is_not_rebuilt_around() {
    let Some(disk) = Disk::new() else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    let settings = within(&disk);
    let store = Running::open(&settings);
    fill(&store, 5).await;
    store.stop();
    let mut paths = Vec::new();
    crate::engine::damage::files(&settings.dir.join("engine"), &mut paths);
    for path in paths {
        if fs::metadata(&path).unwrap().len() > 0 {
            disk.lose(&path, 0);
        }
    }
    let clock = Clock::new(SystemClock::new());
    let refused = store::open(&settings, clock.clone(), &Inlet::new(clock)).err();
    assert!(
        matches!(refused, Some(StoreError::Engine(..))),
        "{refused:?}"
    );
    assert!(!settings.dir.join("quarantine").exists());
}
