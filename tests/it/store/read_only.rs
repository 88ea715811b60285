//! A file system that can only be read: at the start, and from some moment on.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use forebay::reading::{Clock, Outlet, SystemClock};
use forebay::store::settings::Start;
use forebay::store::{self, Inlet, StoreError};

use super::bad_sector::run;
use super::sample::{Running, name, scan, settings};
use super::stepping::assert_complete;
use super::trouble::{Small, until};

#[tokio::test]
async fn a_start_on_a_file_system_that_can_only_be_read_is_told_and_works_once_it_can_be_written() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_small) = Small::mount(dir.path(), 100) else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    let settings = settings(&dir.path().join("store"));
    let store = Running::open(&settings);
    for n in 0..20 {
        store.inlet.put(scan("press", n, 20));
    }
    store.records_until(21).await;
    let old = store.stop();
    let path = dir.path().to_str().unwrap();
    run("mount", &["-o", "remount,ro", path]).unwrap();
    let clock = Clock::new(SystemClock::new());
    let inlet = Inlet::new(clock.clone());
    inlet.put(scan("press", 20, 20));
    for _ in 0..3 {
        let Some(StoreError::Disk(_, refused)) =
            store::open(&settings, clock.clone(), &inlet).err()
        else {
            panic!("it cannot be written");
        };
        assert_eq!(refused.raw_os_error(), Some(super::rigged::EROFS));
    }
    run("mount", &["-o", "remount,rw", path]).unwrap();
    let (store, writer) = store::open(&settings, clock, &inlet).unwrap();
    let writer = std::thread::spawn(|| writer.run());
    store.stop();
    writer.join().unwrap();
    let now = store.status();
    assert_eq!((now.stream, now.last), (old.stream, old.last + 2));
}

/// A disk that turns read-only when it meets an error, as those of most gateways do.
struct Card {
    image: PathBuf,
    mount: PathBuf,
}

impl Card {
    /// `None`: this process may not mount.
    fn new(dir: &Path) -> Option<Self> {
        let (image, mount) = (dir.join("image"), dir.join("card"));
        fs::File::create(&image)
            .unwrap()
            .set_len(192 << 20)
            .unwrap();
        fs::create_dir(&mount).unwrap();
        let arguments = ["-q", "-F", "-e", "remount-ro", image.to_str().unwrap()];
        run("mkfs.ext4", &arguments).ok()?;
        let card = Self { image, mount };
        card.attach().ok()?;
        Some(card)
    }

    fn attach(&self) -> std::io::Result<()> {
        let paths = [&self.image, &self.mount].map(|path| path.to_str().unwrap());
        run("mount", &["-o", "loop", paths[0], paths[1]])
    }

    /// Has the kernel meet an error.
    fn fail(&self) {
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let line = mounts
            .lines()
            .find(|line| line.split(' ').nth(1) == self.mount.to_str());
        let device = line.unwrap().split(' ').next().unwrap();
        let device = device.rsplit('/').next().unwrap();
        let trigger = format!("/sys/fs/ext4/{device}/trigger_fs_error");
        fs::write(trigger, "a test").unwrap();
    }

    /// What a start of the machine does.
    fn mend(&self) {
        run("umount", &[self.mount.to_str().unwrap()]).unwrap();
        // It says by its exit code that there was something to mend.
        let _ = run("fsck.ext4", &["-p", self.image.to_str().unwrap()]);
        self.attach().unwrap();
    }
}

impl Drop for Card {
    fn drop(&mut self) {
        // Lazily: a failing test has files open there.
        let _ = Command::new("umount").arg("-l").arg(&self.mount).output();
    }
}

#[tokio::test]
async fn a_file_system_that_turns_read_only_is_told_and_what_was_announced_is_there_when_it_is_mended()
 {
    let dir = super::power_cut::scratch();
    let Some(card) = Card::new(dir.path()) else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    let settings = settings(&card.mount.join("store"));
    let store = Running::open(&settings);
    store.store.register(&name("cloud"), Start::Oldest);
    for n in 0..20 {
        store.inlet.put(scan("press", n, 20));
        store.store.flushed().await;
    }
    card.fail();
    let mut put = 20;
    until("it is told", || {
        put += 1;
        store.inlet.put(scan("press", put, 20));
        store.store.status().trouble.is_some()
    })
    .await;
    let status = store.store.status();
    let trouble = status.trouble.unwrap();
    assert!(trouble.contains("Read-only"), "{trouble}");
    let records = store.records_until(status.last).await;
    assert_eq!(records.len() as u64, status.last, "what is there is sent");
    let looked = store.store.stalled_for();
    assert!(looked < Duration::from_secs(30), "it tries: {looked:?}");
    store.stop();

    card.mend();
    let store = Running::open(&settings);
    let again = store.records_until(status.last).await;
    assert_eq!(again, records, "nothing that was announced is lost");
    let last = store.store.status().last;
    let all = store.records_until(last).await;
    assert_complete(&all);
    assert!(all.iter().all(|record| record.stream == status.stream));
    store.stop();
}
