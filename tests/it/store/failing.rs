//! Each single failure of the disk: nothing announced is lost, nothing comes twice, and what goes is told.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use forebay::reading::{Body, EventName, Outlet};
use forebay::store::engine::{Engine, Kind};
use forebay::store::settings::Start;

use super::rigged::{EIO, ENOSPC, EROFS, How, Op, Rigged};
use super::sample::{description, name, scan, scan_of, told};
use super::stepping::{
    Stepped, assert_complete, events, fill, plain, ranges, scans, schema, small,
};

#[tokio::test]
async fn an_append_that_fails_costs_nothing_and_comes_once() {
    let all = [ENOSPC, EIO, EROFS].map(|code| [How::Fails(code), How::Lies(code)]);
    for (how, at) in all
        .into_iter()
        .flatten()
        .flat_map(|how| [(how, 0), (how, 1), (how, 2)])
    {
        let rigged = Rigged::default();
        let mut stepped = Stepped::open(rigged.clone(), &plain());
        let stream = stepped.store.status().stream;
        rigged.order_after(Op::Block, at, 1, how);
        for n in 0..6 {
            stepped.inlet.put(scan("press", n, 3));
            stepped.inlet.put(description("press", &n.to_string()));
            stepped.writer.turn();
        }
        stepped.settle();
        assert!(!rigged.heal(), "{how:?} at {at} happened");
        for again in [false, true] {
            let records = stepped.records(1).await;
            assert_complete(&records);
            assert_eq!(scans(&records), 6, "{how:?} at {at}: {records:?}");
            let trouble = events(&records, EventName::DiskTrouble);
            let recovered = events(&records, EventName::DiskRecovered);
            assert_eq!((trouble, recovered), (1, 1), "{how:?} at {at}");
            assert!(records.iter().all(|record| record.stream == stream));
            let of_press = records
                .iter()
                .filter(|r| r.body.device() == Some(&name("press")));
            let numbers: Vec<u64> = of_press.map(|record| record.device_seq).collect();
            assert_eq!(numbers, (1..=12).collect::<Vec<_>>(), "{how:?} at {at}");
            if !again {
                stepped.kill();
                stepped = Stepped::open(rigged.clone(), &plain());
                stepped.settle();
            }
        }
    }
}

#[tokio::test]
async fn a_disk_that_stays_away_is_tried_again_and_the_store_never_ends() {
    for code in [ENOSPC, EIO, EROFS] {
        let rigged = Rigged::default();
        let mut stepped = Stepped::open(rigged.clone(), &plain());
        stepped.settle();
        rigged.order_after(Op::Block, 0, u32::MAX, How::Fails(code));
        rigged.order_after(Op::Open, 3, 20, How::Fails(code));
        for n in 0..50 {
            stepped.inlet.put(scan("press", n, 3));
            stepped.writer.turn();
            assert!(stepped.store.status().trouble.is_some());
        }
        rigged.heal();
        stepped.settle();
        let records = stepped.records(1).await;
        assert_complete(&records);
        assert_eq!(scans(&records), 50);
        assert_eq!(events(&records, EventName::DiskTrouble), 1);
    }
}

#[tokio::test]
async fn what_a_bound_dropped_is_told_also_after_a_crash_right_behind_it() {
    let rigged = Rigged::with_tables(10_000);
    let mut stepped = Stepped::open(rigged.clone(), &small());
    stepped.store.register(&name("cloud"), Start::Oldest);
    fill(&mut stepped);
    let gone = stepped.store.status().first - 1;
    stepped.kill();
    rigged.power_cut(0);

    let mut stepped = Stepped::open(rigged, &small());
    stepped.store.register(&name("cloud"), Start::Oldest);
    stepped.settle();
    let records = stepped.records(1).await;
    assert_eq!(records[0].seq, gone + 1);
    assert_complete(&records);
    assert!(stepped.store.cursor(&name("cloud")).contains(gone));
}

#[tokio::test]
async fn a_drop_that_fails_moves_nothing() {
    for how in [How::Fails(ENOSPC), How::Lies(EIO)] {
        let rigged = Rigged::with_tables(10_000);
        let mut stepped = Stepped::open(rigged.clone(), &small());
        stepped.store.register(&name("cloud"), Start::Oldest);
        stepped.settle();
        rigged.order(Op::Notes, how);
        let mut n = 0;
        while stepped.store.status().trouble.is_none() {
            stepped.inlet.put(scan("press", n, 20));
            stepped.writer.turn();
            n += 1;
        }
        let status = stepped.store.status();
        assert_eq!(status.first, 1, "{how:?}");
        assert!(stepped.store.cursor(&name("cloud")).is_empty(), "{how:?}");
        let records = stepped.records(1).await;
        assert_eq!(records[0].seq, 1);
        fill(&mut stepped);
        stepped.settle();
        assert_complete(&stepped.records(1).await);
        stepped.kill();
        let mut stepped = Stepped::open(rigged, &small());
        stepped.settle();
        assert_complete(&stepped.records(1).await);
    }
}

#[tokio::test]
async fn a_refused_record_that_cannot_be_read_stays_refused() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.inlet.put(scan("press", 1, 3));
    stepped.settle();
    stepped.kill();
    // The record is on disk only.
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.store.register(&name("cloud"), Start::Oldest);
    stepped.settle();
    rigged.order_after(Op::Read, 0, 2, How::Fails(EIO));
    stepped
        .store
        .refuse(&name("cloud"), 2, "too big".to_owned(), 9);
    stepped.writer.turn();
    assert!(stepped.store.status().trouble.is_some());
    assert!(!stepped.store.cursor(&name("cloud")).contains(2));
    assert!(stepped.store.dead_letters().unwrap().is_empty());
    stepped.settle();
    assert!(stepped.store.cursor(&name("cloud")).contains(2));
    let letters = stepped.store.dead_letters().unwrap();
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].record.seq, 2);
    let records = stepped.records(1).await;
    assert_eq!(events(&records, EventName::RecordsRefused), 1);
}

#[tokio::test]
async fn the_id_of_a_forgotten_schema_is_not_used_again() {
    let rigged = Rigged::with_tables(2_000);
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.store.register(&name("cloud"), Start::Oldest);
    let ids = |rigged: &Rigged| -> Vec<u8> {
        let schemas = rigged.engine().values(Kind::Schema).unwrap();
        schemas.iter().map(|(key, _)| key[3]).collect()
    };
    for n in 0..60 {
        let device = if n == 0 { "press" } else { "oven" };
        stepped.inlet.put(scan(device, n, 20));
        stepped.writer.turn();
        let last = *stepped.store.head().borrow();
        let all = [(1, last)].into_iter().collect();
        stepped.store.confirm(&name("cloud"), &all);
    }
    assert_eq!(ids(&rigged), [1], "the first is forgotten");
    stepped.kill();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.inlet.put(scan("lathe", 1, 20));
    stepped.settle();
    assert_eq!(ids(&rigged), [1, 2]);
}

#[tokio::test]
async fn a_stream_that_begins_in_a_running_store_has_the_descriptions() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    for (device, title) in [("press", "old"), ("press", "new"), ("oven", "oven")] {
        stepped.inlet.put(description(device, title));
    }
    stepped.inlet.put(scan("press", 1, 3));
    stepped.settle();
    let old = stepped.store.status();
    stepped.kill();
    let inlet = forebay::store::Inlet::new(forebay::reading::Clock::new(
        forebay::reading::SystemClock::new(),
    ));
    inlet.put(description("press", "new"));
    inlet.put(description("oven", "oven"));
    let mut stepped = Stepped::open_with(rigged.clone(), &plain(), &inlet);
    stepped.settle();
    rigged.order(Op::Read, How::Damaged);
    assert!(stepped.store.read(1, super::sample::LIMIT).await.is_err());
    inlet.put(scan("press", 2, 3));
    stepped.settle();
    let records = stepped.records(1).await;
    let new: Vec<_> = records.iter().filter(|r| r.stream != old.stream).collect();
    assert!(told(new[0], EventName::RecordsLost, "previous").is_some());
    let titles: Vec<_> = new
        .iter()
        .filter_map(|record| match &record.body {
            Body::Description(description) => description.title.as_deref(),
            _ => None,
        })
        .collect();
    assert_eq!(titles, ["oven", "new"], "before the data, each once");
    assert!(matches!(new.last().unwrap().body, Body::Scan(_)));
    assert_eq!(scans(&records), 2);
}

#[tokio::test]
async fn a_writer_that_panics_leaves_what_it_had_taken_to_the_next() {
    for how in [How::Panics, How::PanicsAfter] {
        let rigged = Rigged::default();
        let mut stepped = Stepped::open(rigged.clone(), &plain());
        stepped.settle();
        let inlet = stepped.inlet.clone();
        for n in 0..5 {
            inlet.put(scan("press", n, 3));
        }
        inlet.put(description("press", "a"));
        rigged.order(Op::Block, how);
        let mut writer = stepped.writer;
        let end = catch_unwind(AssertUnwindSafe(move || writer.turn()));
        assert!(end.is_err());
        let mut stepped = Stepped::open_with(rigged, &plain(), &inlet);
        stepped.settle();
        let records = stepped.records(1).await;
        assert_complete(&records);
        assert_eq!(scans(&records), 5, "{how:?}");
    }
}

#[tokio::test]
async fn a_slow_disk_holds_up_sending_before_a_crash_could_repeat_too_much() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.store.register(&name("cloud"), Start::Oldest);
    let schema = schema("press");
    for n in 0..9_000 {
        stepped.inlet.put(scan_of(&schema, n));
        if n % 3000 == 0 {
            stepped.writer.turn();
        }
    }
    stepped.settle();
    let Stepped { store, writer, .. } = stepped;
    rigged.set_pace(Duration::from_millis(100));
    let thread = std::thread::spawn(|| writer.run());
    let (mut next, mut most) = (1, 0);
    loop {
        let limit = forebay::store::ReadLimit {
            records: 100,
            bytes: 1 << 20,
        };
        let read = store.read(next, limit).await.unwrap();
        let Some(last) = read.last().map(|last| last.seq) else {
            break;
        };
        for seq in next..=last {
            store.sendable(&name("cloud")).await;
            store.confirm(&name("cloud"), &[(seq, seq)].into_iter().collect());
        }
        next = last + 1;
        let there = Stepped::open(rigged.clone(), &plain());
        most = most.max(last.saturating_sub(there.store.cursor(&name("cloud")).len()));
    }
    store.stop();
    thread.join().unwrap();
    assert!(next > 9_000);
    assert!(most <= 500, "{most} would come again after a crash");
}

#[tokio::test]
async fn a_rebuild_that_finds_no_block_at_all_tells_the_hole() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.inlet.put(scan("press", 1, 3));
    stepped.settle();
    let last = stepped.records(1).await.last().unwrap().seq;
    stepped.kill();
    rigged.lose_block(0);
    assert!(rigged.engine().last_block().unwrap().is_none());

    let mut stepped = Stepped::open(rigged, &plain());
    stepped.settle();
    let first = &stepped.records(1).await[0];
    assert!(first.seq > last);
    let hole = ranges(first, EventName::GatewayStarted, "hole");
    assert_eq!(hole, [(1, first.seq - 1)].into_iter().collect());
}

#[tokio::test]
async fn a_block_whose_append_was_reported_as_failed_comes_once_also_after_a_rebuild() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.store.register(&name("cloud"), Start::Oldest);
    stepped.settle();
    rigged.order(Op::Block, How::Lies(EIO));
    stepped.inlet.put(scan("press", 1, 3));
    stepped.writer.turn();
    assert!(stepped.store.status().trouble.is_some());
    rigged.order(Op::Open, How::Damaged);
    stepped.settle();
    assert!(!rigged.heal(), "it was rebuilt");
    for again in [false, true] {
        let records = stepped.records(1).await;
        assert_eq!(scans(&records), 1, "{records:?}");
        assert_eq!(events(&records, EventName::RecordsLost), 1);
        if !again {
            stepped.kill();
            stepped = Stepped::open(rigged.clone(), &plain());
            stepped.settle();
        }
    }
}

#[tokio::test]
async fn a_stream_that_never_began_is_not_told_of_by_the_next_writer() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    let stream = stepped.store.status().stream;
    rigged.order(Op::Block, How::Fails(ENOSPC));
    rigged.order(Op::Notes, How::Panics);
    stepped.writer.turn();
    // Found when the engine is opened anew; the first that a new stream writes panics.
    rigged.order(Op::Read, How::Damaged);
    let mut writer = stepped.writer;
    let end = catch_unwind(AssertUnwindSafe(move || writer.turn()));
    assert!(end.is_err());
    let mut stepped = Stepped::open_with(rigged, &plain(), &stepped.inlet);
    stepped.settle();
    // The rebuild is not settled, so this one begins a stream of its own, and tells of that alone.
    let records = stepped.records(1).await;
    let first = records.first().unwrap();
    assert_ne!(first.stream, stream);
    let hole = ranges(first, EventName::GatewayStarted, "hole");
    assert_eq!(hole.first_missing(1), first.seq, "{hole:?}");
    assert_eq!(events(&records, EventName::RecordsLost), 0, "{records:?}");
}
