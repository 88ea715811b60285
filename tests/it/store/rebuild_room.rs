//! A rebuild without the room for it: told, tried again, and done when there is room; nothing is lost meanwhile.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use forebay::reading::{Body, Clock, Outlet, SystemClock};
use forebay::store::settings::{Start, StoreSettings};
use forebay::store::{self, Inlet};

use super::bad_sector::{all, fill, largest};
use super::sample::{LIMIT, Running, name, scan, settings};
use super::trouble::{Small, until};

/// A store of 10 MB on a file system of 100 MB.
async fn sample(dir: &Path) -> (StoreSettings, u64) {
    let settings = settings(&dir.join("store"));
    let store = Running::open(&settings);
    store.store.register(&name("cloud"), Start::Oldest);
    fill(&store, 400).await;
    (settings, store.stop().last)
}

/// Leaves 4 MiB of the file system.
fn take_the_room(dir: &Path) {
    let ballast = dir.join("ballast");
    let _ = fs::write(&ballast, vec![1; 100 << 20]);
    let file = OpenOptions::new().write(true).open(&ballast).unwrap();
    let taken = file.metadata().unwrap().len();
    file.set_len(taken - (4 << 20)).unwrap();
}

fn give_the_room(dir: &Path) {
    fs::remove_file(dir.join("ballast")).unwrap();
}

#[tokio::test]
async fn a_start_that_must_rebuild_without_room_is_told_and_works_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_small) = Small::mount(dir.path(), 100) else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    let (settings, last) = sample(dir.path()).await;
    fs::write(settings.dir.join("engine/version"), "garbage").unwrap();
    take_the_room(dir.path());
    let clock = Clock::new(SystemClock::new());
    let inlet = Inlet::new(clock.clone());
    for _ in 0..3 {
        let refused = store::open(&settings, clock.clone(), &inlet).err();
        let text = refused.expect("there is no room").to_string();
        assert!(text.contains("a rebuild needs"), "{text}");
        assert!(!settings.dir.join("engine.new").exists(), "nothing is left");
    }
    give_the_room(dir.path());
    let store = Running::open(&settings);
    let (found, hole) = all(&store).await;
    let there: BTreeSet<u64> = found.iter().map(|record| record.seq).collect();
    assert!(
        (1..=last).all(|seq| there.contains(&seq)),
        "nothing is lost"
    );
    assert!((1..=last).all(|seq| !hole.contains(seq)), "{hole:?}");
    store.stop();
}

#[tokio::test]
async fn damage_found_while_running_waits_for_the_room_and_so_do_new_scans() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_small) = Small::mount(dir.path(), 100) else {
        eprintln!("skipped: this process may not mount a file system");
        return;
    };
    let (settings, last) = sample(dir.path()).await;
    let store = Running::open(&settings);
    take_the_room(dir.path());
    let table = largest(&settings.dir, "/tables/");
    let file = OpenOptions::new().write(true).open(table).unwrap();
    file.write_all_at(&[0xaa; 64], 1 << 20).unwrap();
    let mut next = 1;
    while let Ok(read) = store.store.read(next, LIMIT).await {
        next = read.last().expect("it meets the damage").seq + 1;
    }
    until("the trouble is told", || {
        let trouble = store.store.status().trouble;
        trouble.is_some_and(|text| text.contains("a rebuild needs"))
    })
    .await;
    for n in 0..50 {
        store.inlet.put(scan("lathe", n, 20));
    }
    assert!(store.store.status().trouble.is_some(), "it waits");
    give_the_room(dir.path());
    until("the store comes back", || {
        store.store.status().trouble.is_none()
    })
    .await;
    store.store.flushed().await;
    let (found, hole) = all(&store).await;
    let there: BTreeSet<u64> = found.iter().map(|record| record.seq).collect();
    assert!(
        (1..=last).all(|seq| there.contains(&seq)),
        "nothing is lost"
    );
    assert!((1..=last).all(|seq| !hole.contains(seq)), "{hole:?}");
    let lathes = found.iter().filter(
        |record| matches!(&record.body, Body::Scan(scan) if scan.schema.device == name("lathe")),
    );
    assert_eq!(lathes.count(), 50, "what came meanwhile");
    store.stop();
}
