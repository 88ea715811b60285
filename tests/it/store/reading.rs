//! What is read from disk is decoded once, for all who want it, and not at all where nobody does.

use std::path::Path;

use forebay::reading::Outlet;
use forebay::store::settings::Start;
use forebay::store::{ReadLimit, Wanted};

use crate::harness::share;

use super::rigged::{EIO, How, Op, Rigged};
use super::sample::{LIMIT, Running, name, scan, settings};
use super::stepping::{Stepped, fill, plain};

const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

const FEW: ReadLimit = ReadLimit {
    records: 7,
    bytes: usize::MAX,
};

/// A store opened again after `count` blocks of one scan each, `device(n)` for the n-th, behind the one of its first event.
async fn reopened(dir: &Path, count: u64, device: impl Fn(u64) -> &'static str) -> Running {
    let store = Running::open(&settings(dir));
    store.records_until(1).await;
    for n in 1..=count {
        store.inlet.put(scan(device(n), n, 20));
        store.records_until(n + 1).await;
    }
    store.stop();
    let store = Running::open(&settings(dir));
    store.records_from(count + 2, 1).await;
    store
}

#[tokio::test]
async fn a_block_is_decoded_once_for_all_who_read_near_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopened(dir.path(), 60, |_| "press").await;
    let before = store.store.status().decoded;
    let upstream = async |lag: u64| {
        let mut from = 1;
        while from <= 61 {
            let read = store.store.read(from, FEW).await.unwrap();
            assert_eq!(read[0].seq, from);
            from = read.last().unwrap().seq + 1;
            for _ in 0..lag {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::join!(upstream(0), upstream(1), upstream(20), upstream(0));
    upstream(0).await;
    assert_eq!(
        store.store.status().decoded - before,
        61,
        "one block a record"
    );
    store.stop();
}

#[tokio::test]
async fn blocks_of_other_devices_are_passed_over_undecoded() {
    let dir = tempfile::tempdir().unwrap();
    let device = |n| if n % 10 == 5 { "press" } else { "oven" };
    let store = reopened(dir.path(), 60, device).await;
    let before = store.store.status().decoded;
    let wanted = Wanted::devices(|device| *device == name("press"));
    let (mut from, mut found) = (2, Vec::new());
    while from <= 61 {
        let batch = store
            .store
            .read_of(from, FEW, wanted.clone())
            .await
            .unwrap();
        assert!(batch.next > from);
        found.extend(batch.records.iter().map(|record| record.seq));
        from = batch.next;
    }
    // The last is the event of the second start, which everybody gets.
    assert_eq!(found, [6, 16, 26, 36, 46, 56, 62]);
    assert_eq!(store.store.status().decoded - before, 6);
    store.stop();
}

#[tokio::test]
async fn where_nothing_is_wanted_a_read_tells_how_far_it_looked() {
    let dir = tempfile::tempdir().unwrap();
    let store = reopened(dir.path(), 10, |_| "oven").await;
    let nothing = Wanted::devices(|_| false);
    let batch = store.store.read_of(2, FEW, nothing).await.unwrap();
    // The first eleven are on disk, the event of the second start is in memory as well.
    let events: Vec<u64> = batch.records.iter().map(|record| record.seq).collect();
    assert_eq!((events, batch.next), (vec![12], 13));
    store.stop();
}

#[tokio::test]
async fn what_comes_before_a_block_that_cannot_be_read_is_given() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.settle();
    for n in 0..5 {
        stepped.inlet.put(scan("press", n, 3));
        stepped.writer.turn();
    }
    assert_eq!(rigged.batches(), [1; 6]);
    stepped.kill();
    let stepped = Stepped::open(rigged.clone(), &plain());
    rigged.order_after(Op::Read, 3, 2, How::Fails(EIO));
    let read = stepped.store.read(1, LIMIT).await.unwrap();
    let numbers: Vec<u64> = read.iter().map(|record| record.seq).collect();
    assert_eq!(numbers, [1, 2, 3]);
    assert!(stepped.store.read(4, LIMIT).await.is_err());
    assert_eq!(stepped.store.read(4, LIMIT).await.unwrap()[0].seq, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_dropped_under_a_reader_is_no_damage() {
    for _ in 0..share(50, 5) {
        let rigged = Rigged::with_tables(10_000);
        let mut stepped = Stepped::open(rigged.clone(), &plain());
        stepped.store.register(&name("cloud"), Start::Oldest);
        // More than stays in memory. Each block has a schema of its own, which goes with it.
        for n in 0..600 {
            stepped.inlet.put(scan(&format!("press-{n}"), n, 500));
            stepped.writer.turn();
        }
        let before = stepped.store.status();
        let store = stepped.store.clone();
        let reader = tokio::spawn(async move { store.read(1, ALL).await.map(drop) });
        while stepped.store.status().decoded == before.decoded {
            std::thread::yield_now();
        }
        let confirmed = [(1, before.last)].into_iter().collect();
        stepped.store.confirm(&name("cloud"), &confirmed);
        fill(&mut stepped);
        reader.await.unwrap().unwrap();
        stepped.settle();
        assert_eq!(stepped.store.status().stream, before.stream);
    }
}
