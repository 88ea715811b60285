//! Live first: the newest at once, the backlog beside it, each in order, and descriptions before what needs them.

use std::sync::Arc;
use std::time::Duration;

use forebay::forward::settings::{ForwarderSettings, Order};
use forebay::reading::{Body, Catalogue, Clock, MapHash, Schema, Stamp, SystemClock};
use forebay::upstream::settings::{MqttSettings, MqttVersion, UpstreamSettings};
use rumqttc::v5::mqttbytes::v5::PubAckReason as Reason;
use serde_json::Value;
use tokio::time::{Instant, timeout};

use super::memory::{Forwarder, Memory, description, scan, schema, settings};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::scripted::{Consent, Reply, Scripted};
use crate::harness::subscriber::Received;
use crate::upstream_contract::mqtt;

const TAKEN: Reply = Reply::Ack(Reason::Success);
const BUSY: Reply = Reply::Ack(Reason::QuotaExceeded);

fn to(port: u16, inflight: u16) -> ForwarderSettings {
    let mut settings = settings(UpstreamSettings::Mqtt(MqttSettings {
        inflight,
        ..mqtt::settings(port, MqttVersion::V5)
    }));
    settings.delivery.order = Order::LiveFirst;
    settings
}

/// With the catalogue of the one device.
fn start(settings: ForwarderSettings, store: &Memory) -> Forwarder {
    let catalogue = Catalogue::new([description("meter-3", 1)]);
    Forwarder::start_with(settings, store, catalogue)
}

fn json(payload: &str) -> Value {
    serde_json::from_str(payload).unwrap()
}

/// A minute ago.
fn long_ago() -> Stamp {
    let mut stamp = Clock::new(SystemClock::new()).now();
    stamp.boot.0 ^= 1;
    stamp.wall_ns -= 60_000_000_000;
    stamp
}

fn add_old(store: &Memory, count: u64) {
    let schema = schema("meter-3");
    for _ in 0..count {
        store.add_at(long_ago(), scan(&schema, 1.0));
    }
}

/// What came, by lane, in order: the live lane's numbers, the backlog's.
fn lanes(broker: &Scripted) -> (Vec<u64>, Vec<u64>) {
    let arrivals = broker.arrivals();
    let records = arrivals
        .iter()
        .filter(|arrival| *arrival != "-")
        .map(|arrival| json(arrival))
        .filter(|record| record["seq"].is_u64());
    let (backlog, live): (Vec<_>, Vec<_>) =
        records.partition(|record| record["historical"] == true);
    let seqs = |all: Vec<Value>| all.iter().map(|one| one["seq"].as_u64().unwrap()).collect();
    (seqs(live), seqs(backlog))
}

#[tokio::test]
async fn the_newest_goes_at_once_and_the_backlog_beside_it_each_in_order() {
    let broker = Scripted::start(|_| TAKEN).await;
    let store = Memory::new();
    add_old(&store, 2_000);
    store.add_scans(5);
    let forwarder = start(to(broker.port(), 10), &store);
    store.drained().await;
    store.add_scans(100);
    store.drained().await;
    // Behind the description.
    let first = json(&broker.arrivals()[2]);
    assert_eq!(first["seq"], 2_001, "{first}");
    let (live, backlog) = lanes(&broker);
    assert_eq!(live, (2_001..=2_105).collect::<Vec<_>>());
    assert_eq!(backlog, (1..=2_000).collect::<Vec<_>>());
    forwarder.stop().await;
}

#[tokio::test]
async fn what_is_live_finds_room_beside_the_backlog_also_where_the_broker_grants_little() {
    let consent = Consent {
        receive_maximum: Some(4),
        ..Consent::default()
    };
    let never_the_backlog = |payload: &str| match json(payload)["historical"] == true {
        true => Reply::Never,
        false => TAKEN,
    };
    let broker = Scripted::consenting(consent, never_the_backlog).await;
    let store = Memory::new();
    add_old(&store, 100);
    let mut forwarder = start(to(broker.port(), 100), &store);
    let mut counts = broker.counts();
    let full = timeout(super::BOUND, counts.wait_for(|counts| counts.most_out >= 2));
    full.await.unwrap().unwrap();
    store.add_scans(10);
    forwarder.wait_for(|status| status.confirmed >= 10).await;
    let (live, backlog) = lanes(&broker);
    assert_eq!(live, (101..=110).collect::<Vec<_>>());
    assert_eq!(backlog, [1, 2]);
    let connections = broker.arrivals().iter().filter(|a| *a == "-").count();
    assert_eq!(connections, 1, "no answer was waited for in vain");
    forwarder.stop().await;
}

#[tokio::test]
async fn a_rate_holds_the_backlog_and_not_what_is_live() {
    let broker = Scripted::start(|_| TAKEN).await;
    let store = Memory::new();
    add_old(&store, 200);
    let mut settings = to(broker.port(), 50);
    settings.delivery.history_rate = Some(100);
    let begun = Instant::now();
    let mut forwarder = start(settings, &store);
    forwarder.wait_for(|status| status.confirmed > 0).await;
    store.add_scans(500);
    forwarder.wait_for(|status| status.confirmed > 500).await;
    let (live, backlog) = lanes(&broker);
    // A tenth of a second's worth may go at once.
    let most = 100.0 * (begun.elapsed().as_secs_f64() + 0.1) + 1.0;
    assert!(backlog.len() as f64 <= most, "{} > {most}", backlog.len());
    assert!(!live.is_empty());
    store.drained().await;
    assert!(begun.elapsed() > Duration::from_millis(1_850));
    let (live, backlog) = lanes(&broker);
    assert_eq!(live, (201..=700).collect::<Vec<_>>());
    assert_eq!(backlog, (1..=200).collect::<Vec<_>>());
    forwarder.stop().await;
}

#[tokio::test]
async fn a_rate_of_bytes_holds_both() {
    for order in [Order::OldestFirst, Order::LiveFirst] {
        let broker = Scripted::start(|_| TAKEN).await;
        let store = Memory::new();
        add_old(&store, 50);
        store.add_scans(50);
        let mut settings = to(broker.port(), 50);
        settings.delivery.order = order;
        settings.delivery.max_rate = Some(10_000);
        let begun = Instant::now();
        let forwarder = start(settings, &store);
        store.drained().await;
        let sizes = broker.arrivals();
        let bytes: usize = sizes[1..sizes.len() - 1].iter().map(String::len).sum();
        let most = 10_000.0 * (begun.elapsed().as_secs_f64() + 0.1);
        assert!(bytes as f64 <= most, "{bytes} > {most}");
        forwarder.stop().await;
    }
}

#[tokio::test]
async fn after_a_break_the_newest_goes_first_again() {
    let mut closed = false;
    let broker = Scripted::start(move |payload| {
        if json(payload)["seq"] == 500 && !std::mem::replace(&mut closed, true) {
            return Reply::Close;
        }
        TAKEN
    })
    .await;
    let store = Memory::new();
    add_old(&store, 1_000);
    let mut forwarder = start(to(broker.port(), 10), &store);
    forwarder.wait_for(|status| status.confirmed > 100).await;
    store.add_scans(3);
    forwarder.wait_for(|status| status.connects == 2).await;
    store.add_scans(3);
    store.drained().await;
    let (live, mut backlog) = lanes(&broker);
    assert!(live.is_sorted(), "{live:?}");
    backlog.sort_unstable();
    backlog.dedup();
    assert_eq!(backlog, (1..=1_000).collect::<Vec<_>>());
    forwarder.stop().await;
}

#[tokio::test]
async fn a_refusal_in_one_lane_holds_up_that_lane_only() {
    let mut busy = 4;
    let broker = Scripted::start(move |payload| {
        let stuck = json(payload)["seq"] == 3 && busy > 0;
        busy -= i32::from(stuck);
        if stuck { BUSY } else { TAKEN }
    })
    .await;
    let store = Memory::new();
    add_old(&store, 100);
    let mut forwarder = start(to(broker.port(), 4), &store);
    forwarder
        .wait_for(|status| status.last_error.is_some())
        .await;
    store.add_scans(50);
    forwarder.wait_for(|status| status.confirmed >= 52).await;
    store.drained().await;
    let (live, backlog) = lanes(&broker);
    assert_eq!(live, (101..=150).collect::<Vec<_>>());
    assert_eq!(backlog.iter().filter(|seq| **seq == 3).count(), 5);
    let last = backlog.iter().rposition(|seq| *seq == 3).unwrap();
    assert!(backlog[last..].is_sorted(), "{backlog:?}");
    assert_eq!(backlog.len(), 104);
    forwarder.stop().await;
}

#[tokio::test]
async fn where_the_link_lags_the_live_lane_leaves_what_is_old_to_the_backlog() {
    let broker = Scripted::start(|_| TAKEN).await;
    let store = Memory::new();
    store.add_scans(1);
    let forwarder = start(to(broker.port(), 10), &store);
    store.drained().await;
    add_old(&store, 300);
    store.add_scans(1);
    store.drained().await;
    let (live, backlog) = lanes(&broker);
    assert_eq!(live, [1, 302]);
    assert_eq!(backlog, (2..=301).collect::<Vec<_>>());
    forwarder.stop().await;
}

#[tokio::test]
async fn no_scan_goes_before_the_description_that_it_needs() {
    let mut busy = 2;
    let broker = Scripted::start(move |payload| {
        let stuck = payload.contains("\"describe\"") && busy > 0;
        busy -= i32::from(stuck);
        if stuck { BUSY } else { TAKEN }
    })
    .await;
    let store = Memory::new();
    let of_map = |map| {
        Arc::new(Schema {
            map: MapHash(map),
            ..Schema::clone(&schema("meter-3"))
        })
    };
    // In the backlog the device has an older map, which is described there.
    store.add_at(long_ago(), Body::Description(description("meter-3", 1)));
    store.add_at(long_ago(), scan(&of_map(1), 1.0));
    store.add(scan(&of_map(1), 2.0));
    store.add(scan(&of_map(2), 3.0));
    let current = Catalogue::new([description("meter-3", 2)]);
    let forwarder = Forwarder::start_with(to(broker.port(), 2), &store, current);
    store.drained().await;
    let mut described: Vec<Value> = Vec::new();
    let (mut refused, mut scans) = (2, 0);
    for arrival in broker.arrivals().iter().filter(|arrival| *arrival != "-") {
        let record = json(arrival);
        if record["describe"].is_object() {
            if refused == 0 {
                described.push(record["map"].clone());
            }
            refused -= i32::from(refused > 0);
        } else {
            scans += 1;
            assert!(described.contains(&record["map"]), "{record}");
        }
    }
    assert_eq!(scans, 3);
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn a_broker_that_comes_back_has_live_data_while_the_backlog_follows() {
    let mut broker = Mosquitto::start();
    let subscriber = broker.subscribe("t/#").await;
    let store = Memory::new();
    let mut settings = to(broker.port(), 50);
    settings.delivery.history_rate = Some(1_000);
    let mut forwarder = start(settings, &store);
    store.add_scans(10);
    store.drained().await;
    broker.stop();
    add_old(&store, 2_000);
    broker.restart();
    forwarder.wait_for(|status| status.connects == 2).await;
    let newest = store.add(scan(&schema("meter-3"), 7.0));
    let arrived = |all: &[Received]| all.iter().any(|one| one.json()["seq"] == newest);
    let all = subscriber.wait_for(super::BOUND, arrived).await;
    assert!(all.len() < 2_000, "the backlog went first");
    store.drained().await;
    let all = subscriber
        .wait_for(super::BOUND, |all| all.len() >= 2_011)
        .await;
    let mut seqs: Vec<_> = all
        .iter()
        .filter_map(|one| one.json()["seq"].as_u64())
        .collect();
    seqs.sort_unstable();
    seqs.dedup();
    assert_eq!(seqs, super::up_to(newest));
    forwarder.stop().await;
}
