//! The store: what is committed stays, in order and numbered; what goes is told.

mod backlog;
mod bad_sector;
mod batches;
mod beginning;
mod bounds;
mod clocks;
mod damaged;
mod failing;
mod full_disk;
mod kills;
mod model;
mod power_cut;
mod read_only;
mod reading;
mod rebuild_room;
mod rigged;
mod sample;
mod start;
mod stepping;
mod supervised;
mod telling;
mod trouble;
mod unreadable;

use std::sync::Arc;
use std::time::Duration;

use forebay::reading::{Body, Clock, Detail, EventName, ManualClock, Outlet, RangeSet};
use forebay::store::engine::MemoryEngine;
use forebay::store::settings::Start;
use forebay::store::{self, Inlet, Store, StoreError};

use sample::{Running, description, event, name, scan, settings, told};
use stepping::{Stepped, events, plain};

fn set(pairs: &[(u64, u64)]) -> RangeSet {
    pairs.iter().copied().collect()
}

#[tokio::test]
async fn what_is_put_is_committed_in_order_and_numbered() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::open(&settings(dir.path()));
    for n in 0..100 {
        store
            .inlet
            .put(scan(if n % 2 == 0 { "press" } else { "oven" }, n, 20));
    }
    store.inlet.put(event("press", EventName::DeviceOffline));
    let records = store.records_until(102).await;
    assert!(
        matches!(&records[0].body, Body::Event(event) if event.name == EventName::GatewayStarted)
    );
    assert_eq!(
        records.iter().map(|record| record.seq).collect::<Vec<_>>(),
        (1..=102).collect::<Vec<_>>()
    );
    let presses: Vec<u64> = records
        .iter()
        .filter(|r| r.body.device() == Some(&name("press")))
        .map(|r| r.device_seq)
        .collect();
    assert_eq!(presses, (1..=51).collect::<Vec<_>>());
    assert_eq!(records[3].body, scan("press", 2, 20).body);
    let first = store.stop();

    let store = Running::open(&settings(dir.path()));
    let again = store.records_until(103).await;
    assert_eq!(again[..102], records, "from disk, as it was from memory");
    assert_eq!(
        told(&again[102], EventName::GatewayStarted, "clean"),
        Some(Detail::Bool(true))
    );
    assert_eq!(
        (again[102].stream, again[102].device_seq),
        (first.stream, 2),
        "the stream continues"
    );
    store.stop();
}

#[tokio::test]
async fn a_cursor_survives_and_begins_where_it_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::open(&settings(dir.path()));
    for n in 0..9 {
        store.inlet.put(scan("press", n, 3));
    }
    store.records_until(10).await;
    assert!(store.store.register(&name("all"), Start::Oldest).is_empty());
    assert_eq!(
        store.store.register(&name("new"), Start::Newest),
        set(&[(1, 10)])
    );
    store.store.confirm(&name("all"), &set(&[(1, 4), (7, 7)]));
    store.store.set_session(&name("all"), b"bdSeq 7".to_vec());
    let backlogs = store.store.status().backlogs;
    assert_eq!(backlogs, [(name("all"), 5), (name("new"), 0)]);
    store.stop();

    let store = Running::open(&settings(dir.path()));
    assert_eq!(
        store.store.register(&name("all"), Start::Newest),
        set(&[(1, 4), (7, 7)])
    );
    assert_eq!(
        store.store.session(&name("all")).as_deref(),
        Some(&b"bdSeq 7"[..])
    );
    assert!(store.store.cursor(&name("nobody")).is_empty());
    store.stop();
}

#[tokio::test]
async fn a_description_is_stored_once_until_it_differs() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::open(&settings(dir.path()));
    for title in ["a", "a", "b", "b", "a"] {
        store.inlet.put(description("press", title));
    }
    let records = store.records_until(4).await;
    assert_eq!(records.len(), 4, "started, a, b, a");
    store.stop();
    let store = Running::open(&settings(dir.path()));
    store.inlet.put(description("press", "a"));
    store.inlet.put(event("press", EventName::DeviceOnline));
    let records = store.records_until(6).await;
    assert!(
        matches!(&records[5].body, Body::Event(event) if event.name == EventName::DeviceOnline)
    );
    store.stop();
}

#[tokio::test]
async fn a_refused_record_is_kept_told_and_confirmed_in_one_commit() {
    let (engine, cloud) = (MemoryEngine::new(), name("cloud"));
    let mut stepped = Stepped::open(engine.clone(), &plain());
    stepped.store.register(&cloud, Start::Oldest);
    for n in 0..5 {
        stepped.inlet.put(scan("press", n, 3));
    }
    stepped.settle();
    let records = stepped.records(1).await;
    assert_eq!(records.len(), 6);
    let refuse = |store: &Store, seq, reason: &str, size| {
        store.refuse(&cloud, seq, reason.to_owned(), size);
    };
    refuse(&stepped.store, 3, "payload too large", 9000);
    refuse(&stepped.store, 4, "payload too large", 9001);
    stepped.settle();
    let all = stepped.records(7).await;
    assert_eq!(all.len(), 1);
    assert_eq!(
        told(&all[0], EventName::RecordsRefused, "seq"),
        Some(Detail::Ranges(set(&[(3, 4)])))
    );
    assert_eq!(
        told(&all[0], EventName::RecordsRefused, "device_seq"),
        Some(Detail::Ranges(set(&[(2, 3)])))
    );
    assert_eq!(
        told(&all[0], EventName::RecordsRefused, "upstream"),
        Some(Detail::Text("cloud".to_owned()))
    );
    assert_eq!(all[0].body.device(), Some(&name("press")));
    refuse(&stepped.store, 7, "no", 1);
    stepped.settle();
    assert_eq!(
        stepped.records(8).await.len(),
        0,
        "a refused event makes no event of its own"
    );
    stepped.writer.close();

    let stepped = Stepped::open(engine, &plain());
    assert_eq!(stepped.store.cursor(&cloud), set(&[(3, 4), (7, 7)]));
    let letters = stepped.store.dead_letters().unwrap();
    assert_eq!(
        letters
            .iter()
            .map(|letter| letter.record.seq)
            .collect::<Vec<_>>(),
        [3, 4, 7]
    );
    assert_eq!(
        (&letters[0].record, letters[1].payload_size),
        (&records[2], 9001)
    );
    assert_eq!(stepped.store.status().dead_letters, 3);
    let told_at_the_stop = stepped.records(8).await;
    assert_eq!(
        events(&told_at_the_stop, EventName::RecordsRefused),
        2,
        "it, and what it had told"
    );
}

#[tokio::test]
async fn another_process_or_a_later_version_is_told_clearly() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::open(&settings(dir.path()));
    let clock = Clock::new(ManualClock::at(0, 0));
    let open = || {
        store::open(
            &settings(dir.path()),
            clock.clone(),
            &Inlet::new(clock.clone()),
        )
        .err()
        .unwrap()
    };
    assert!(matches!(open(), StoreError::InUse(_)));
    store.stop();
    std::fs::write(dir.path().join("format"), store::format_line(2)).unwrap();
    assert_eq!(
        open().to_string(),
        format!(
            "the store in {} has format 2, which this version does not know",
            dir.path().display()
        )
    );
}

#[tokio::test]
async fn the_memory_engine_serves_tests_of_others() {
    let (memory, dir) = (MemoryEngine::new(), tempfile::tempdir().unwrap());
    for round in 1..=3u64 {
        let store = Running::open_in(&memory, &settings(dir.path()));
        store.inlet.put(scan("press", 1, 3));
        let records = store.records_until(round * 2).await;
        assert_eq!(records.last().unwrap().device_seq, round);
        store.stop();
    }
}

#[tokio::test]
async fn the_first_commit_is_immediate_and_the_next_waits_for_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.commit_window = Duration::from_secs(2);
    let store = Running::open(&settings);
    let mut head = store.store.head();
    head.wait_for(|head| *head == 1).await.unwrap();
    tokio::time::sleep(Duration::from_millis(2_050)).await;
    let start = std::time::Instant::now();
    store.inlet.put(scan("press", 1, 3));
    head.wait_for(|head| *head == 2).await.unwrap();
    assert!(
        start.elapsed() < Duration::from_secs(1),
        "{:?}",
        start.elapsed()
    );
    let first = std::time::Instant::now();
    for n in 0..5 {
        store.inlet.put(scan("press", n, 3));
    }
    head.changed().await.unwrap();
    assert_eq!(*head.borrow_and_update(), 7, "all that gathered in one");
    assert!(
        first.elapsed() > Duration::from_secs(1),
        "{:?}",
        first.elapsed()
    );
    store.stop();
}

#[tokio::test]
async fn half_of_what_may_wait_does_not_wait_for_the_window() {
    let dir = tempfile::tempdir().unwrap();
    let mut settings = settings(dir.path());
    settings.commit_window = Duration::from_secs(60);
    let store = Running::open(&settings);
    store.records_until(1).await;
    for n in 0..3 {
        store.inlet.put(scan("press", n, 35_000));
    }
    store.records_until(4).await;
    store.stop();
}

#[tokio::test]
async fn another_machine_begins_a_new_stream_and_numbers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let store = Running::open(&settings(dir.path()));
    store.inlet.put(scan("press", 1, 3));
    store.records_until(2).await;
    let old = store.stop();
    // Synced records that vanished without an error look the same: the mark is ahead of what is there.
    let mark = std::fs::read(dir.path().join("mark")).unwrap();
    let ahead = store::envelope::wrap(
        store::engine::Kind::State,
        b"mark",
        u64::from(old.stream.0),
        &500u64.to_le_bytes(),
    );
    assert_eq!(mark.len(), ahead.len());
    std::fs::write(dir.path().join("mark"), ahead).unwrap();

    let store = Running::open(&settings(dir.path()));
    let next = store.records_from(3, 1).await;
    assert_ne!(next[0].stream, old.stream);
    assert!(next[0].seq > 500);
    let detail = |key| told(&next[0], EventName::GatewayStarted, key);
    assert_eq!(
        detail("previous"),
        Some(Detail::Text(old.stream.to_string()))
    );
    assert_eq!(detail("previous_last"), Some(Detail::Int(2)));
    assert_eq!(
        detail("hole"),
        Some(Detail::Ranges(set(&[(3, next[0].seq - 1)])))
    );
    let new = store.stop();
    let store = Running::open(&settings(dir.path()));
    assert_eq!(store.stop().stream, new.stream, "and it continues");
}

#[test]
fn a_handle_can_be_shared() {
    fn shared<T: Send + Sync + Clone + 'static>() {}
    fn sent<T: Send + 'static>() {}
    shared::<Store>();
    shared::<Inlet>();
    sent::<store::Writer>();
    sent::<Arc<forebay::reading::Record>>();
}
