//! A start on a directory that is not as it should be: told, and nothing is destroyed.

use std::fs;

use forebay::reading::{Clock, Outlet, SystemClock};
use forebay::store::{self, Inlet, StoreError};

use super::sample::{Running, scan, settings};

#[tokio::test]
async fn a_directory_that_cannot_be_had_is_told_and_opens_once_it_can() {
    let dir = tempfile::tempdir().unwrap();
    let in_the_way = dir.path().join("state");
    fs::write(&in_the_way, "not a directory").unwrap();
    let settings = settings(&in_the_way.join("queue"));
    let clock = Clock::new(SystemClock::new());
    let inlet = Inlet::new(clock.clone());
    inlet.put(scan("press", 1, 5));
    for _ in 0..3 {
        let refused = store::open(&settings, clock.clone(), &inlet).err();
        assert!(matches!(refused, Some(StoreError::Disk(..))), "{refused:?}");
    }
    assert_eq!(fs::read_to_string(&in_the_way).unwrap(), "not a directory");
    fs::remove_file(&in_the_way).unwrap();
    let (store, writer) = store::open(&settings, clock, &inlet).unwrap();
    let writer = std::thread::spawn(|| writer.run());
    store.stop();
    writer.join().unwrap();
    assert_eq!(store.status().last, 2, "what waited meanwhile is there");
}

#[tokio::test]
async fn what_is_beside_the_engine_may_be_missing_or_garbage() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let (mut last, mut stream) = (0, None);
    for beside in [None, Some(None), Some(Some(b"\0\xffgarbage".as_slice()))] {
        for name in ["lock", "format", "mark"] {
            match beside {
                None => (),
                Some(None) => fs::remove_file(dir.path().join(name)).unwrap(),
                Some(Some(garbage)) => fs::write(dir.path().join(name), garbage).unwrap(),
            }
        }
        let store = Running::open(&settings);
        let status = store.store.status();
        // The event that tells of the start may be there already.
        assert!((last..=last + 1).contains(&status.last) && status.first == 1);
        assert_eq!(*stream.get_or_insert(status.stream), status.stream);
        for n in 0..20 {
            store.inlet.put(scan("press", n, 5));
        }
        store.store.flushed().await;
        let all = store.records_until(last + 21).await;
        assert!(all.iter().zip(1..).all(|(record, seq)| record.seq == seq));
        last = store.stop().last;
    }
}

#[tokio::test]
async fn a_damaged_format_is_not_taken_for_a_later_version() {
    let dir = tempfile::tempdir().unwrap();
    let settings = settings(dir.path());
    let stream = Running::open(&settings).stop().stream;
    let path = dir.path().join("format");
    let line = fs::read(&path).unwrap();
    let digit = line.iter().position(|byte| *byte == b'1').unwrap();
    for bit in 0..8 {
        let mut damaged = line.clone();
        damaged[digit] ^= 1 << bit;
        fs::write(&path, damaged).unwrap();
        let clock = Clock::new(SystemClock::new());
        let (store, _writer) = store::open(&settings, clock.clone(), &Inlet::new(clock)).unwrap();
        assert_eq!(store.status().stream, stream);
        assert_eq!(fs::read(&path).unwrap(), line, "mended");
    }
}
