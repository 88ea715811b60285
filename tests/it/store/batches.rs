//! A commit of several blocks: they go in one sync, and where it fails all of their records come once.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::reading::{
    Body, Clock, Detail, EventName, Outlet, RangeSet, Reading, Record, SystemClock, Value,
};
use forebay::store::Inlet;
use forebay::store::settings::{Start, StoreSettings};

use super::rigged::{EIO, ENOSPC, How, Op, Rigged};
use super::sample::{description, name, scan, told};
use super::stepping::{Stepped, assert_complete, events, fill, plain, ranges, scans, small};

/// Scans of which each fills a block.
fn put_full(stepped: &Stepped, numbers: std::ops::Range<u64>) {
    for n in numbers {
        let mut full = scan("press", n, 3);
        if let Body::Scan(scan) = &mut full.body {
            scan.readings.resize(20_000, None);
        }
        stepped.inlet.put(full);
    }
}

#[tokio::test]
async fn all_that_gathered_goes_in_one_sync_block_by_block() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.settle();
    assert_eq!(rigged.batches(), [1], "the start");
    put_full(&stepped, 0..4);
    stepped.writer.turn();
    assert_eq!(rigged.batches(), [1, 4]);
    put_full(&stepped, 4..9);
    stepped.writer.turn();
    stepped.writer.turn();
    assert_eq!(
        rigged.batches(),
        [1, 4, 5],
        "half of what the inlet holds in one, the rest in the next"
    );
    let records = stepped.records(1).await;
    assert_complete(&records);
    assert_eq!(scans(&records), 9);
}

#[tokio::test]
async fn long_texts_fill_a_block_before_its_readings_do() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.settle();
    for n in 0..25 {
        let mut long = scan("press", n, 3);
        if let Body::Scan(scan) = &mut long.body {
            let text = Value::Text("x".repeat(100 << 10).into());
            scan.readings[2] = Some(Reading::good(text));
        }
        stepped.inlet.put(long);
    }
    stepped.writer.turn();
    assert_eq!(rigged.batches(), [1, 3], "of a mebibyte and a little more");
    let records = stepped.records(1).await;
    assert_complete(&records);
    assert_eq!(scans(&records), 25);
}

#[tokio::test]
async fn of_a_batch_of_blocks_all_comes_once_however_it_fails() {
    let torn = [0, 0b1111_1111, 0b111, 0b1001, 0b1_0101, 0b10, 0b1110_1110];
    let hows = torn.map(How::Torn);
    let plainly = [How::Fails(ENOSPC), How::Lies(EIO)];
    for how in hows.into_iter().chain(plainly) {
        for rebuilt in [false, true] {
            let rigged = Rigged::default();
            let mut stepped = Stepped::open(rigged.clone(), &plain());
            stepped.settle();
            let stream = stepped.store.status().stream;
            rigged.order(Op::Block, how);
            put_full(&stepped, 0..4);
            stepped.inlet.put(description("press", "a"));
            stepped.writer.turn();
            assert!(stepped.store.status().trouble.is_some());
            if rebuilt {
                rigged.order(Op::Open, How::Damaged);
            }
            stepped.settle();
            for _ in 0..2 {
                let records = stepped.records(1).await;
                assert_eq!(scans(&records), 4, "{how:?}");
                let of_press = records
                    .iter()
                    .filter(|r| r.body.device() == Some(&name("press")));
                let numbers: Vec<u64> = of_press.map(|record| record.device_seq).collect();
                let count = numbers.len() as u64;
                assert_eq!(numbers, (1..=count).collect::<Vec<_>>(), "{how:?}");
                if !rebuilt {
                    assert_eq!(count, 5, "{how:?}");
                    assert_complete(&records);
                    assert!(records.iter().all(|record| record.stream == stream));
                }
                stepped.kill();
                stepped = Stepped::open(rigged.clone(), &plain());
                stepped.settle();
            }
        }
    }
}

#[tokio::test]
async fn what_is_built_beside_a_commit_comes_behind_it_however_that_ends() {
    let ends = [
        None,
        Some(How::Fails(ENOSPC)),
        Some(How::Lies(EIO)),
        Some(How::Torn(0b1001)),
        Some(How::Panics),
        Some(How::PanicsAfter),
    ];
    for how in ends {
        let rigged = Rigged::default();
        let mut stepped = Stepped::open(rigged.clone(), &plain());
        stepped.settle();
        // Far longer than it takes to build what waits beside the commit: three blocks, and the first part of a fourth.
        rigged.set_pace(Duration::from_millis(100));
        how.into_iter().for_each(|how| rigged.order(Op::Block, how));
        put_full(&stepped, 0..8);
        stepped.inlet.put(scan("press", 8, 3));
        stepped.inlet.put(description("press", "a"));
        stepped.inlet.put(scan("oven", 9, 3));
        let inlet = stepped.inlet.clone();
        let turned = catch_unwind(AssertUnwindSafe(|| stepped.writer.turn()));
        rigged.set_pace(Duration::ZERO);
        if turned.is_err() {
            stepped.kill();
            stepped = Stepped::open_with(rigged, &plain(), &inlet);
        }
        stepped.settle();
        let records = stepped.records(1).await;
        assert_complete(&records);
        let what = records.iter().filter_map(|record| match &record.body {
            Body::Scan(scan) => match scan.readings[0].as_ref()?.value()? {
                Value::Int(n) => Some(n / 1_000_003),
                _ => None,
            },
            // With descriptions a new writer begins.
            Body::Description(_) | Body::Event(_) => None,
        });
        let what: Vec<i64> = what.collect();
        assert_eq!(what, (0..10).collect::<Vec<_>>(), "{how:?}");
        let of_press = records
            .iter()
            .filter(|record| record.body.device() == Some(&name("press")));
        let numbers: Vec<u64> = of_press.map(|record| record.device_seq).collect();
        assert_eq!(numbers, (1..=10).collect::<Vec<_>>(), "{how:?}");
    }
}

#[tokio::test]
async fn what_was_taken_ahead_counts_as_waiting() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.settle();
    rigged.set_pace(Duration::from_millis(100));
    rigged.order(Op::Block, How::Fails(ENOSPC));
    put_full(&stepped, 0..9);
    stepped.writer.turn();
    // Five could not be committed, four were built ahead: five more have room, of eight three fall out.
    put_full(&stepped, 9..17);
    stepped.settle();
    let records = stepped.records(1).await;
    assert_complete(&records);
    assert_eq!(scans(&records), 14);
    let lost = records
        .iter()
        .find_map(|record| told(record, EventName::BufferOverflow, "count"));
    assert_eq!(lost, Some(Detail::Int(3)));
}

#[tokio::test]
async fn however_often_a_commit_fails_no_more_is_held_than_fits() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.settle();
    rigged.set_pace(Duration::from_millis(20));
    rigged.order_after(Op::Block, 0, 8, How::Fails(EIO));
    for round in 0..8 {
        put_full(&stepped, round * 10..round * 10 + 10);
        stepped.writer.turn();
        assert!(stepped.store.status().trouble.is_some());
    }
    stepped.settle();
    let records = stepped.records(1).await;
    assert_complete(&records);
    let count = |record: &Arc<Record>| match told(record, EventName::BufferOverflow, "count") {
        Some(Detail::Int(count)) => usize::try_from(count).unwrap(),
        _ => 0,
    };
    let lost: usize = records.iter().map(count).sum();
    assert_eq!(scans(&records) + lost, 80, "the rest is told");
    assert!(scans(&records) <= 16, "a commit and the inlet: {lost} lost");
    let largest = rigged.batches().into_iter().max();
    assert!(largest.is_some_and(|most| most <= 7), "{largest:?}");
}

#[tokio::test]
async fn a_kill_in_a_batch_of_blocks_leaves_an_exact_hole() {
    for bits in [0b11, 0b101, 0b1001, 0b1_0101, 0b1010, 0b1111_0111] {
        let rigged = Rigged::default();
        let mut stepped = Stepped::open(rigged.clone(), &plain());
        stepped.store.register(&name("cloud"), Start::Oldest);
        stepped.settle();
        let head = *stepped.store.head().borrow();
        rigged.order(Op::Block, How::Torn(bits));
        put_full(&stepped, 0..4);
        stepped.writer.turn();
        stepped.kill();

        let mut stepped = Stepped::open(rigged, &plain());
        stepped.store.register(&name("cloud"), Start::Oldest);
        stepped.settle();
        let records = stepped.records(1).await;
        let first = records
            .iter()
            .find(|record| told(record, EventName::GatewayStarted, "hole").is_some())
            .expect("a new stream begins");
        let hole = ranges(first, EventName::GatewayStarted, "hole");
        for seq in 1..first.seq {
            let there = records.iter().any(|record| record.seq == seq);
            assert_ne!(there, hole.contains(seq), "{bits:b}: {seq} in {hole:?}");
            assert!(there || seq > head, "{bits:b}: {seq} was announced");
        }
    }
}

#[tokio::test]
async fn what_a_torn_batch_leaves_is_settled_before_the_next() {
    for (bits, hindered) in (0..=u8::MAX).flat_map(|bits| [(bits, false), (bits, true)]) {
        let rigged = Rigged::default();
        let mut stepped = Stepped::open(rigged.clone(), &plain());
        stepped.settle();
        let stream = stepped.store.status().stream;
        rigged.order(Op::Block, How::Torn(bits));
        put_full(&stepped, 0..3);
        stepped.writer.turn();
        // The schema goes first, the blocks follow.
        let blocks = bits >> 1 & 0b111;
        let whole = blocks == 0b111 && bits & 1 == 1;
        let goes_again = blocks != 0 && !whole;
        if hindered {
            rigged.order(Op::Notes, How::Fails(ENOSPC));
            stepped.writer.turn();
        }
        let removals = u32::from(goes_again && !hindered);
        rigged.order_after(Op::Block, removals, 1, How::Fails(ENOSPC));
        stepped.writer.turn();
        assert!(!rigged.heal(), "{bits:b}: nothing followed the batch");
        stepped.kill();

        let mut stepped = Stepped::open(rigged, &plain());
        put_full(&stepped, 3..6);
        stepped.settle();
        assert_eq!(stepped.store.status().stream, stream, "{bits:b}");
        let records = stepped.records(1).await;
        assert_complete(&records);
        assert_eq!(scans(&records), if whole { 6 } else { 3 }, "{bits:b}");
        let of_press = records
            .iter()
            .filter(|record| record.body.device() == Some(&name("press")));
        let numbers: Vec<u64> = of_press.map(|record| record.device_seq).collect();
        assert_eq!(numbers, (1..=numbers.len() as u64).collect::<Vec<_>>());
    }
}

/// A store that has dropped records, and whose batch that tells it gets onto the disk like this.
fn dropping(rigged: &Rigged, how: How) -> Stepped {
    let mut stepped = Stepped::open(rigged.clone(), &small());
    stepped.store.register(&name("cloud"), Start::Oldest);
    fill(&mut stepped);
    rigged.order(Op::Block, how);
    stepped.writer.turn();
    assert!(!rigged.heal() && stepped.store.status().trouble.is_some());
    stepped
}

/// What events tell to be dropped: each number once.
fn told_once(records: &[Arc<Record>]) -> RangeSet {
    let mut told = RangeSet::new();
    for record in records {
        let dropped = ranges(record, EventName::RecordsDropped, "seq");
        for (first, last) in dropped.iter() {
            assert!((first..=last).all(|seq| !told.contains(seq)), "{records:?}");
        }
        told.extend(&dropped);
    }
    told
}

/// All records after the batch was settled, the process ended before anything else got onto the disk, and the next one began.
async fn after_the_next_start(rigged: Rigged, mut stepped: Stepped) -> Vec<Arc<Record>> {
    let stream = stepped.store.status().stream;
    rigged.order(Op::Block, How::Fails(ENOSPC));
    stepped.writer.turn();
    assert!(!rigged.heal());
    stepped.kill();
    let mut stepped = Stepped::open(rigged, &small());
    stepped.settle();
    let records = stepped.records(1).await;
    assert_eq!(stepped.store.status().stream, stream, "nothing is missing");
    assert_eq!(events(&records, EventName::RecordsLost), 0);
    assert_complete(&records);
    records
}

#[tokio::test]
async fn what_a_batch_told_that_turns_out_whole_is_not_told_again() {
    let rigged = Rigged::with_tables(10_000);
    // The block, and nothing of what went with it.
    let stepped = dropping(&rigged, How::Torn(0b1));
    let records = after_the_next_start(rigged, stepped).await;
    assert_eq!(told_once(&records).first_missing(1), records[0].seq);
}

#[tokio::test]
async fn the_checkpoint_of_a_batch_that_is_not_there_is_taken_back() {
    let rigged = Rigged::with_tables(10_000);
    // All but the block.
    let stepped = dropping(&rigged, How::Torn(0b1111_1110));
    let records = after_the_next_start(rigged, stepped).await;
    assert_eq!(told_once(&records).first_missing(1), records[0].seq);
}

#[test]
fn confirmations_alone_have_the_disk_synced_no_oftener_than_the_window_says() {
    let (cloud, confirmed) = (name("cloud"), [(1, 1)].into_iter().collect());
    let confirming = |window| {
        let rigged = Rigged::default();
        let settings = StoreSettings {
            commit_window: window,
            ..plain()
        };
        let inlet = Inlet::new(Clock::new(SystemClock::new()));
        let mut stepped = Stepped::open_as_set(rigged.clone(), &settings, &inlet);
        stepped.store.register(&cloud, Start::Oldest);
        stepped.writer.turn();
        stepped.store.confirm(&cloud, &confirmed);
        rigged.order(Op::Sync, How::Fails(EIO));
        (rigged, stepped)
    };
    let (often, mut of_often) = confirming(Duration::ZERO);
    let (seldom, mut of_seldom) = confirming(Duration::from_secs(60));
    let start = Instant::now();
    while of_often.store.status().trouble.is_none() {
        assert!(start.elapsed() < Duration::from_secs(50), "it never synced");
        of_often.writer.turn();
        of_seldom.writer.turn();
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!often.heal() && seldom.heal(), "its order stands");
    assert_eq!(of_seldom.store.status().trouble, None);
}
