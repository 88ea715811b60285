//! What is dropped, refused or out of room is told, to whom it concerns, and by the next event where one is gone itself.

use std::time::{Duration, Instant};

use forebay::reading::{Detail, EventName, Outlet};
use forebay::store::settings::{Start, StoreSettings};

use super::rigged::Rigged;
use super::sample::{LIMIT, event, name, scan, scan_of, told};
use super::stepping::{Stepped, assert_complete, events, fill, plain, ranges, schema, small};

#[tokio::test]
async fn a_refused_event_is_named_by_the_next_one() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.store.register(&name("cloud"), Start::Oldest);
    stepped.inlet.put(event("press", EventName::DeviceOnline));
    stepped.inlet.put(scan("press", 1, 3));
    stepped.settle();
    let refuse = |stepped: &mut Stepped, seq| {
        let reason = "too big".to_owned();
        stepped.store.refuse(&name("cloud"), seq, reason, 9);
        stepped.settle();
    };
    refuse(&mut stepped, 2);
    assert_eq!(
        events(&stepped.records(1).await, EventName::RecordsRefused),
        0
    );
    stepped.kill();
    let mut stepped = Stepped::open(rigged, &plain());
    stepped.store.register(&name("cloud"), Start::Oldest);
    refuse(&mut stepped, 3);
    let records = stepped.records(1).await;
    let last = records.last().unwrap();
    let seq = ranges(last, EventName::RecordsRefused, "seq");
    assert_eq!(seq, [(2, 3)].into_iter().collect());
}

#[tokio::test]
async fn a_removed_upstream_pins_the_backlog_until_it_is_forgotten() {
    let rigged = Rigged::with_tables(10_000);
    let mut stepped = Stepped::open(rigged.clone(), &small());
    stepped.store.register(&name("old"), Start::Oldest);
    stepped.settle();
    stepped.kill();
    let mut stepped = Stepped::open(rigged.clone(), &small());
    stepped.store.register(&name("cloud"), Start::Oldest);
    for n in 0..30 {
        stepped.inlet.put(scan("press", n, 20));
        stepped.writer.turn();
        let all = [(1, *stepped.store.head().borrow())].into_iter().collect();
        stepped.store.confirm(&name("cloud"), &all);
    }
    assert_eq!(stepped.store.status().first, 1, "it is pinned");
    fill(&mut stepped);
    stepped.settle();
    let records = stepped.records(1).await;
    let dropped = records
        .iter()
        .filter_map(|record| told(record, EventName::RecordsDropped, "upstream"));
    let dropped: Vec<Detail> = dropped.collect();
    assert!(
        dropped.contains(&Detail::Text("old".to_owned())),
        "{dropped:?}"
    );

    assert!(stepped.store.forget(&name("old")) && !stepped.store.forget(&name("old")));
    stepped.writer.close();
    let mut stepped = Stepped::open(rigged.clone(), &small());
    assert_eq!(stepped.store.status().backlogs.len(), 1);
    stepped.store.register(&name("cloud"), Start::Oldest);
    let first = stepped.store.status().first;
    for n in 0..30 {
        stepped.inlet.put(scan("press", n, 20));
        stepped.writer.turn();
        let all = [(1, *stepped.store.head().borrow())].into_iter().collect();
        stepped.store.confirm(&name("cloud"), &all);
    }
    assert!(stepped.store.status().first > first, "and goes now");
    assert_eq!(
        stepped
            .store
            .register(&name("old"), Start::Newest)
            .range_count(),
        1,
        "it begins anew"
    );
}

#[tokio::test]
async fn a_block_that_is_confirmed_in_part_stays() {
    let rigged = Rigged::with_tables(1_000);
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.store.register(&name("cloud"), Start::Oldest);
    stepped.settle();
    let first = *stepped.store.head().borrow();
    for n in 0..2 {
        stepped.inlet.put(scan("press", n, 3));
    }
    stepped.settle();
    let last = *stepped.store.head().borrow();
    assert_eq!(last, first + 2, "both in one block");
    let confirmed = [(1, last - 1)].into_iter().collect();
    stepped.store.confirm(&name("cloud"), &confirmed);
    for n in 2..30 {
        stepped.inlet.put(scan("press", n, 20));
        stepped.writer.turn();
    }
    assert!(stepped.store.status().first > 1, "what came before went");
    stepped.kill();
    let mut stepped = Stepped::open(rigged, &plain());
    stepped.settle();
    assert_eq!(stepped.records(last).await[0].seq, last);
}

#[tokio::test]
async fn what_goes_for_others_on_the_file_system_says_so() {
    let rigged = Rigged::with_tables(10_000);
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    for n in 0..30 {
        stepped.inlet.put(scan("press", n, 20));
        stepped.writer.turn();
    }
    assert_eq!(stepped.store.status().first, 1);
    rigged.set_free(Some((95_000, 2_000_000)));
    fill(&mut stepped);
    rigged.set_free(None);
    stepped.settle();
    let records = stepped.records(1).await;
    let reason = records
        .iter()
        .find_map(|record| told(record, EventName::RecordsDropped, "reason"));
    assert_eq!(reason, Some(Detail::Text("free-space".to_owned())));
}

#[test]
fn as_much_stays_free_as_is_set_but_not_more_than_half() {
    let first = |keep_free, free| {
        let rigged = Rigged::with_tables(10_000);
        let settings = StoreSettings {
            keep_free,
            ..plain()
        };
        let mut stepped = Stepped::open(rigged.clone(), &settings);
        rigged.set_free(Some((free, 2_000_000)));
        for n in 0..100 {
            stepped.inlet.put(scan("press", n, 20));
            stepped.writer.turn();
        }
        stepped.store.status().first
    };
    assert_eq!(first(None, 101_000), 1, "a twentieth");
    assert!(first(None, 99_000) > 1);
    assert_eq!(first(Some(99_000), 101_000), 1, "the least of one so small");
    assert!(first(Some(99_000), 99_000) > 1);
    assert!(first(Some(500_000), 499_000) > 1);
    assert_eq!(first(Some(5_000_000), 1_001_000), 1, "half");
}

#[tokio::test]
async fn what_others_take_of_the_reserve_is_given_way_to_before_the_disk_is_full() {
    let rigged = Rigged::with_tables(10_000);
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    for n in 0.. {
        stepped.inlet.put(scan("press", n, 20));
        stepped.writer.turn();
        // The engine has just made a table: its next one is far away.
        if n > 200 && (1..2_000).contains(&rigged.unflushed()) {
            break;
        }
    }
    assert_eq!(stepped.store.status().first, 1);
    rigged.set_free(Some((0, 2_000_000)));
    let start = Instant::now();
    while stepped.store.status().first == 1 {
        assert!(start.elapsed() < Duration::from_secs(30), "nothing went");
        stepped.writer.turn();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // What others take is more than the store has: only what frees nothing is left.
    let first = stepped.store.status().first;
    let last = stepped.store.status().last;
    assert!(first <= last, "{first} of {last}");
    assert_eq!(stepped.store.status().trouble, None);
    rigged.set_free(None);
    stepped.settle();
    let records = stepped.records(1).await;
    assert_complete(&records);
    let reason = records
        .iter()
        .find_map(|record| told(record, EventName::RecordsDropped, "reason"));
    assert_eq!(reason, Some(Detail::Text("free-space".to_owned())));
}

#[tokio::test]
async fn a_thousand_refusals_that_are_not_on_disk_hold_up_reading_for_all() {
    let mut stepped = Stepped::open(Rigged::default(), &plain());
    stepped.store.register(&name("cloud"), Start::Oldest);
    let schema = schema("press");
    for n in 0..1_100 {
        stepped.inlet.put(scan_of(&schema, n));
    }
    stepped.settle();
    let store = stepped.store.clone();
    let refuse = |seq| store.refuse(&name("cloud"), seq, "no".to_owned(), 9);
    (2..=1_000).for_each(refuse);
    assert!(!store.read(1, LIMIT).await.unwrap().is_empty(), "999");
    refuse(1_001);
    let mut read = std::pin::pin!(store.read(1, LIMIT));
    let mut waits = async || {
        let read = read.as_mut();
        tokio::time::timeout(Duration::ZERO, read).await.is_err()
    };
    assert!(waits().await, "1,000");
    refuse(1_002);
    assert!(waits().await, "and more");
    stepped.writer.turn();
    assert!(!read.await.unwrap().is_empty(), "they are on disk");
    assert_eq!(store.status().dead_letters, 1_001);
}

#[tokio::test]
async fn the_oldest_dead_letter_that_makes_room_is_told() {
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    stepped.store.register(&name("cloud"), Start::Oldest);
    let schema = schema("press");
    for n in 0..10_020 {
        stepped.inlet.put(scan_of(&schema, n));
    }
    stepped.settle();
    for seq in 2..=10_011 {
        stepped
            .store
            .refuse(&name("cloud"), seq, "no".to_owned(), 9);
    }
    stepped.settle();
    let letters = stepped.store.dead_letters().unwrap();
    assert_eq!(letters.len(), 10_000);
    assert_eq!(letters[0].record.seq, 12);
    let records = stepped.records(10_000).await;
    let count = records
        .iter()
        .find_map(|record| told(record, EventName::RecordsDropped, "count"));
    assert_eq!(count, Some(Detail::Int(10)));
}

#[tokio::test]
async fn the_oldest_dead_letters_make_room_and_it_is_told_whose() {
    const MOST: u64 = 10_000;
    const MORE: u64 = 500;
    let rigged = Rigged::default();
    let mut stepped = Stepped::open(rigged.clone(), &plain());
    let (cloud, mes) = (name("cloud"), name("mes"));
    for upstream in [&cloud, &mes] {
        stepped.store.register(upstream, Start::Oldest);
    }
    let schema = schema("press");
    for n in 0..MOST / 2 + MORE {
        stepped.inlet.put(scan_of(&schema, n));
    }
    stepped.settle();
    let last = *stepped.store.head().borrow();
    for upstream in [&cloud, &mes] {
        for seq in last - (MOST / 2 + MORE) + 1..=last {
            let reason = "too big".to_owned();
            stepped.store.refuse(upstream, seq, reason, 9);
        }
        stepped.settle();
    }
    let letters = stepped.store.dead_letters().unwrap();
    let of_cloud = letters.iter().filter(|letter| letter.upstream == cloud);
    let kept = (letters.len() as u64, of_cloud.count() as u64);
    assert_eq!(kept, (MOST, MOST / 2 - MORE));
    let mut gone = 0;
    for record in stepped.records(1).await {
        let fact = |key| told(&record, EventName::RecordsDropped, key);
        let Some(Detail::Int(count)) = fact("count") else {
            continue;
        };
        let text = |text: &str| Some(Detail::Text(text.to_owned()));
        let why = (fact("reason"), fact("upstream"));
        assert_eq!(why, (text("dead-letters"), text("cloud")));
        assert_eq!(record.body.device(), None);
        gone += count as u64;
    }
    assert_eq!(gone, 2 * MORE);
    stepped.kill();
    let stepped = Stepped::open(rigged, &plain());
    assert_eq!(stepped.store.dead_letters().unwrap(), letters);
}
