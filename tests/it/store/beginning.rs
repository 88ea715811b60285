//! The first moments of a store, and of a stream: whatever ends them, nothing is told to be lost that never was there.

use std::sync::Arc;

use forebay::reading::{Detail, EventName, Outlet, Record};

use super::rigged::{EIO, ENOSPC, How, Op, Rigged};
use super::sample::{scan, told};
use super::stepping::{Stepped, events, plain, ranges, scans};

#[tokio::test]
async fn a_store_that_ended_before_its_first_record_has_lost_nothing() {
    let all = [
        How::Torn(0),
        How::Torn(0b1),
        How::Torn(0b10),
        How::Torn(0b111),
        How::Fails(EIO),
        How::Lies(ENOSPC),
    ];
    for (how, powerless, rebuilt) in all.into_iter().flat_map(|how| {
        [(false, false), (false, true), (true, false), (true, true)]
            .map(|(powerless, rebuilt)| (how, powerless, rebuilt))
    }) {
        let rigged = Rigged::default();
        let mut stepped = Stepped::open(rigged.clone(), &plain());
        stepped.inlet.put(scan("press", 1, 3));
        rigged.order(Op::Block, how);
        stepped.writer.turn();
        stepped.kill();
        if powerless {
            rigged.power_cut(0);
        }
        if rebuilt {
            rigged.order(Op::Open, How::Damaged);
        }

        let case = format!("{how:?}, {powerless}, {rebuilt}");
        let mut stepped = Stepped::open(rigged, &plain());
        stepped.inlet.put(scan("press", 2, 3));
        stepped.settle();
        let records = stepped.records(1).await;
        for lost in [EventName::RecordsLost, EventName::RecordsDropped] {
            assert_eq!(events(&records, lost), 0, "{case}: {records:?}");
        }
        let started = records.iter().rev();
        let mut started = started.filter(|r| told(r, EventName::GatewayStarted, "clean").is_some());
        let first = started.next().unwrap();
        let hole = ranges(first, EventName::GatewayStarted, "hole");
        for seq in 1..first.seq {
            let there = records.iter().any(|record| record.seq == seq);
            assert_ne!(there, hole.contains(seq), "{case}: {seq} in {hole:?}");
        }
    }
}

#[tokio::test]
async fn a_store_that_never_wrote_a_record_is_new_still() {
    for kept in 0..3 {
        let rigged = Rigged::default();
        let stepped = Stepped::open(rigged.clone(), &plain());
        stepped.kill();
        rigged.power_cut(kept);
        let mut stepped = Stepped::open(rigged, &plain());
        stepped.settle();
        let records = stepped.records(1).await;
        assert_eq!(records.len(), 1, "{records:?}");
        let detail = |key| told(&records[0], EventName::GatewayStarted, key);
        assert_eq!(detail("clean"), Some(Detail::Bool(true)));
        assert_eq!(detail("reason"), Some(Detail::Text("new store".to_owned())));
        assert_eq!((detail("previous"), detail("hole")), (None, None));
    }
}

#[tokio::test]
async fn a_stream_whose_first_batch_is_torn_begins_once_also_where_no_block_is_left() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.inlet.put(scan("press", 1, 3));
    stepped.settle();
    stepped.kill();
    rigged.lose_block(0);
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    let stream = stepped.store.status().stream;
    stepped.inlet.put(scan("press", 2, 3));
    // All but the block: the schema is known.
    rigged.order(Op::Block, How::Torn(0b1111_1110));
    stepped.writer.turn();
    assert!(!rigged.heal() && stepped.store.status().trouble.is_some());
    stepped.settle();
    let records = stepped.records(1).await;
    assert_eq!(scans(&records), 1);
    assert!(records.iter().all(|record| record.stream == stream));
    let hole = ranges(&records[0], EventName::GatewayStarted, "hole");
    assert_eq!(hole.first_missing(1), records[0].seq);

    stepped.kill();
    let mut stepped = Stepped::open(rigged, &plain());
    stepped.settle();
    let records = stepped.records(1).await;
    assert!(records.iter().all(|record| record.stream == stream));
    let tells = |record: &&Arc<Record>| told(record, EventName::GatewayStarted, "hole").is_some();
    assert_eq!(records.iter().filter(tells).count(), 1, "{records:?}");
}
