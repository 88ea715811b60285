//! Forwarding: nothing lost, nothing skipped, in order.

mod live;
pub(crate) mod memory;
pub(crate) mod opened;
pub(crate) mod points;
mod refusals;
mod rules;
mod stored;

use std::collections::BTreeSet;
use std::time::Duration;

use forebay::forward::Link;
use forebay::forward::settings::ForwarderSettings;
use forebay::reading::{Body, Catalogue, Clock, ClockSource, SystemClock};
use forebay::upstream::settings::{MqttSettings, MqttVersion, UpstreamSettings};
use memory::{BOUND, Forwarder, Memory, description, name, scan, schema, settings};

use crate::harness::mosquitto::Mosquitto;
use crate::harness::process::free_port;
use crate::harness::subscriber::Received;
use crate::upstream_contract::mqtt;

fn to(broker: &Mosquitto, change: impl FnOnce(&mut MqttSettings)) -> ForwarderSettings {
    let mut mqtt = mqtt::settings(broker.port(), MqttVersion::V5);
    change(&mut mqtt);
    settings(UpstreamSettings::Mqtt(mqtt))
}

/// Sequence numbers in the order of their first arrival, greetings left out.
fn first_arrivals(all: &[Received]) -> Vec<u64> {
    let mut seen = BTreeSet::new();
    let numbers = all
        .iter()
        .filter_map(|received| received.json()["seq"].as_u64());
    numbers.filter(|seq| seen.insert(*seq)).collect()
}

fn up_to(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn a_backlog_drains_by_itself_and_new_records_follow() {
    for version in [MqttVersion::V3, MqttVersion::V5] {
        let broker = Mosquitto::start();
        let subscriber = broker.subscribe("t/#").await;
        let store = Memory::new();
        store.add_scans(1_500);
        let mut forwarder = Forwarder::start(to(&broker, |mqtt| mqtt.version = version), &store);
        store.drained().await;
        store.add_scans(100);
        store.drained().await;
        let all = subscriber.wait_for(BOUND, |all| all.len() >= 1_600).await;
        assert_eq!(first_arrivals(&all), up_to(1_600));
        assert_eq!(all.len(), 1_600, "repeated without need");
        let status = forwarder.wait_for(|status| status.confirmed == 1_600).await;
        assert_eq!((status.submitted, status.connects), (1_600, 1));
        forwarder.stop().await;
    }
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn nothing_is_lost_when_the_broker_goes_and_comes() {
    let mut broker = Mosquitto::start();
    let subscriber = broker.subscribe("t/#").await;
    let store = Memory::new();
    let mut forwarder = Forwarder::start(to(&broker, |mqtt| mqtt.inflight = 50), &store);
    for outage in 1..=3 {
        store.add_scans(2_000);
        forwarder
            .wait_for(|status| status.confirmed > (outage - 1) * 2_500 + 100)
            .await;
        broker.stop();
        store.add_scans(500);
        forwarder
            .wait_for(|status| status.link == Link::Connecting)
            .await;
        broker.restart();
        store.drained().await;
    }
    let all = subscriber
        .wait_for(BOUND, |all| first_arrivals(all).len() >= 7_500)
        .await;
    assert_eq!(first_arrivals(&all), up_to(7_500));
    let status = forwarder.wait_for(|status| status.confirmed == 7_500).await;
    assert!(status.submitted <= 7_500 + 3 * 50, "{status:?}");
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn a_frozen_broker_is_given_up_and_the_cursor_stands_still() {
    let mut broker = Mosquitto::start();
    let subscriber = broker.subscribe("t/#").await;
    let store = Memory::new();
    store.add_scans(10);
    let ack_timeout = Duration::from_millis(500);
    let mut forwarder =
        Forwarder::start(to(&broker, |mqtt| mqtt.ack_timeout = ack_timeout), &store);
    store.drained().await;
    broker.freeze();
    store.add_scans(100);
    let status = forwarder
        .wait_for(|status| status.link == Link::Connecting)
        .await;
    assert_eq!((status.confirmed, status.oldest_unconfirmed), (10, 11));
    assert!(status.last_error.unwrap().contains("acknowledgement"));
    assert_eq!(store.cursor(), [(1, 10)].into_iter().collect());
    broker.thaw();
    store.drained().await;
    let all = subscriber
        .wait_for(BOUND, |all| first_arrivals(all).len() >= 110)
        .await;
    assert_eq!(first_arrivals(&all), up_to(110));
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn stopped_in_order_and_started_again_it_repeats_nothing() {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe("t/#").await;
    let store = Memory::new();
    store.add_scans(5_000);
    for round in 1..=4 {
        let mut forwarder = Forwarder::start(to(&broker, |_| ()), &store);
        forwarder.wait_for(|status| status.confirmed > 300).await;
        forwarder.stop().await;
        assert_eq!(store.cursor().range_count(), 1, "round {round}");
    }
    let forwarder = Forwarder::start(to(&broker, |_| ()), &store);
    store.drained().await;
    let all = subscriber.wait_for(BOUND, |all| all.len() >= 5_000).await;
    assert_eq!((first_arrivals(&all), all.len()), (up_to(5_000), 5_000));
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn current_descriptions_greet_and_older_ones_do_not_take_their_place() {
    let broker = Mosquitto::start();
    let store = Memory::new();
    store.add(Body::Description(description("meter-3", 1)));
    store.add(Body::Description(description("meter-3", 2)));
    let current = Catalogue::new([description("meter-3", 2), description("press", 9)]);
    let mut settings = to(&broker, |_| ());
    settings.devices = vec!["meter-*".to_owned()];
    let subscriber = broker.subscribe("t/#").await;
    let forwarder = Forwarder::start_with(settings, &store, current);
    store.drained().await;
    let all = subscriber.wait_for(BOUND, |all| all.len() >= 3).await;
    let told: Vec<_> = all
        .iter()
        .map(|received| {
            (
                received.retain,
                received.json()["map"].clone(),
                received.json()["seq"].as_u64(),
            )
        })
        .collect();
    let expected = [
        (true, "00000002".into(), None),
        (false, "00000001".into(), Some(1)),
        (true, "00000002".into(), Some(2)),
    ];
    assert_eq!(told, expected);
    assert!(
        all.iter()
            .all(|received| received.topic == "t/hall-2/meter-3/describe")
    );
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn what_was_read_long_ago_is_marked() {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe("t/#").await;
    let store = Memory::new();
    let now = SystemClock::new().now();
    let mut old = now;
    old.boot_ns = old.boot_ns.saturating_sub(11_000_000_000);
    // The wall clock was set meanwhile: the age is taken on the steady one.
    old.wall_ns += 3_600_000_000_000;
    let mut earlier_boot = now;
    earlier_boot.boot.0 ^= 1;
    earlier_boot.wall_ns -= 11_000_000_000;
    let schema = schema("meter-3");
    for stamp in [old, earlier_boot, Clock::new(SystemClock::new()).now()] {
        store.add_at(stamp, scan(&schema, 1.0));
    }
    let forwarder = Forwarder::start(to(&broker, |_| ()), &store);
    let all = subscriber.wait_for(BOUND, |all| all.len() == 3).await;
    let marks: Vec<_> = all
        .iter()
        .map(|received| received.json()["historical"].as_bool())
        .collect();
    assert_eq!(marks, [Some(true), Some(true), None]);
    let property = &all[0].user_properties[3];
    assert_eq!(
        (property.0.as_str(), property.1.as_str()),
        ("historical", "true")
    );
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn brokers_are_tried_in_order() {
    let broker = Mosquitto::start();
    let store = Memory::new();
    store.add_scans(10);
    let settings = to(&broker, |mqtt| {
        let mut dead = mqtt.endpoints[0].clone();
        dead.port = free_port();
        mqtt.endpoints.insert(0, dead);
    });
    let forwarder = Forwarder::start(settings, &store);
    store.drained().await;
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn records_for_others_and_records_that_are_gone_are_passed_over() {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe("t/#").await;
    let store = Memory::new();
    let (ours, others) = (schema("meter-3"), schema("press"));
    // More than one reading ahead in a row are not for it.
    for n in 0..2_000_u32 {
        store.add(scan(
            if n.is_multiple_of(100) {
                &ours
            } else {
                &others
            },
            n.into(),
        ));
    }
    store.drop_record(101);
    store.drop_record(2_000);
    store.fail_reads(1);
    let mut settings = to(&broker, |_| ());
    settings.devices = vec![name("meter-3").to_string()];
    let forwarder = Forwarder::start(settings, &store);
    let all = subscriber.wait_for(BOUND, |all| all.len() >= 19).await;
    let expected: Vec<u64> = (0..20)
        .map(|n| n * 100 + 1)
        .filter(|seq| *seq != 101)
        .collect();
    assert_eq!(first_arrivals(&all), expected);
    // The last one is gone; the next one shows it.
    store.add_scans(1);
    store.drained().await;
    assert_eq!(store.cursor(), [(1, 2_001)].into_iter().collect());
    forwarder.stop().await;
}
