//! With a real store, its values in memory: from the inlet to the broker.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use forebay::forward::settings::{ForwarderSettings, Order, Start};
use forebay::forward::{ForwarderStatus, Link, Source};
use forebay::reading::{Body, Catalogue, MapHash, Name, RangeSet, Schema};
use forebay::store::engine::MemoryEngine;
use forebay::store::{Batch, ReadLimit, Wanted};
use forebay::upstream::settings::{MqttVersion, UpstreamSettings};
use rumqttc::v5::mqttbytes::v5::PubAckReason as Reason;
use serde_json::Value;
use tokio::sync::watch;

use super::memory::{BOUND, Forwarder, Memory, description, name, scan, schema, settings};
use super::opened::Opened;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::scripted::{Reply, Scripted};
use crate::harness::subscriber::Received;
use crate::upstream_contract::mqtt;

fn to(port: u16) -> ForwarderSettings {
    settings(UpstreamSettings::Mqtt(mqtt::settings(
        port,
        MqttVersion::V5,
    )))
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn all_that_was_committed_arrives_across_an_outage_and_a_restart() {
    let mut broker = Mosquitto::start();
    let subscriber = broker.subscribe("t/#").await;
    let memory = MemoryEngine::default();
    let schemas = [schema("meter-3"), schema("press")];
    for run in 0..3 {
        let opened = Opened::new(&memory);
        let mut forwarder = opened.forwarder(to(broker.port()), Catalogue::default());
        let put = |count: u32| {
            (0..count).for_each(|n| opened.put(scan(&schemas[n as usize % 2], n.into())))
        };
        put(500);
        forwarder.wait_for(|status| status.confirmed >= 500).await;
        broker.stop();
        put(500);
        forwarder
            .wait_for(|status| status.link == Link::Connecting)
            .await;
        broker.restart();
        // The event of the start is one more; in the second and third run what the first left behind is done already.
        forwarder.wait_for(|status| status.confirmed == 1_001).await;
        forwarder.stop().await;
        assert_eq!(opened.store.status().backlogs[0].1, 0, "run {run}");
    }
    // Some come twice, as their acknowledgements were lost with the broker: each new arrival is looked at once.
    let (mut looked, mut different) = (0, std::collections::BTreeSet::new());
    let complete = |all: &[Received]| {
        let new = all[looked..]
            .iter()
            .map(|received| received.json()["seq"].as_u64());
        different.extend(new);
        looked = all.len();
        different.len() >= 3_003
    };
    let all = subscriber.wait_for(BOUND, complete).await;
    let mut records: BTreeMap<u64, Value> = BTreeMap::new();
    for received in &all {
        let json = received.json();
        records.insert(json["seq"].as_u64().unwrap(), json);
    }
    assert_eq!(
        records.keys().copied().collect::<Vec<_>>(),
        (1..=3_003).collect::<Vec<_>>()
    );
    for device in [Value::from("meter-3"), Value::from("press"), Value::Null] {
        let ours = records.values().filter(|record| record["device"] == device);
        let numbers: Vec<_> = ours
            .map(|record| record["device_seq"].as_u64().unwrap())
            .collect();
        assert_eq!(
            numbers,
            (1..=numbers.len() as u64).collect::<Vec<_>>(),
            "{device}"
        );
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_kept_and_told() {
    let broker = Scripted::start(|payload| {
        let json: Value = serde_json::from_str(payload).unwrap();
        Reply::Ack(if json["seq"] == 5 {
            Reason::PayloadFormatInvalid
        } else {
            Reason::Success
        })
    })
    .await;
    let opened = Opened::new(&MemoryEngine::default());
    let mut forwarder = opened.forwarder(to(broker.port()), Catalogue::default());
    let schema = schema("meter-3");
    (0..10_u32).for_each(|n| opened.put(scan(&schema, n.into())));
    // Ten scans and the event of the start, one of them refused, and the event that tells it.
    forwarder
        .wait_for(|status| status.confirmed == 11 && status.refused == 1)
        .await;
    forwarder.stop().await;
    let told = broker
        .arrivals()
        .into_iter()
        .find(|arrival| arrival.contains("records-refused"));
    let told: Value = serde_json::from_str(&told.unwrap()).unwrap();
    assert_eq!(told["detail"]["seq"], serde_json::json!([[5, 5]]), "{told}");
    let letters = opened.store.dead_letters().unwrap();
    assert_eq!(letters.len(), 1);
}

#[tokio::test]
async fn the_cursor_moves_over_what_other_upstreams_get() {
    let broker = Scripted::start(|_| Reply::Ack(Reason::Success)).await;
    let memory = MemoryEngine::default();
    let schemas = [schema("meter-3"), schema("press")];
    {
        let opened = Opened::new(&memory);
        // Also what comes behind the last record of its own.
        let put = |which: usize, count: u32| {
            (0..count).for_each(|n| opened.put(scan(&schemas[which], n.into())));
        };
        put(0, 700);
        put(1, 3);
        put(0, 700);
        opened.store.flushed().await;
    }
    for run in 0..2_u64 {
        let opened = Opened::new(&memory);
        let mut settings = to(broker.port());
        settings.devices = vec!["pre*".to_owned()];
        let mut forwarder = opened.forwarder(settings, Catalogue::default());
        // The events of both starts and three scans; then nothing but the event of another start.
        let expected = if run == 0 { 5 } else { 1 };
        let done = forwarder.wait_for(|status| {
            status.confirmed == expected && opened.store.status().backlogs[0].1 == 0
        });
        done.await;
        forwarder.stop().await;
    }
    let arrivals = broker.arrivals();
    let records = arrivals.iter().filter(|arrival| arrival.contains("seq"));
    assert_eq!(records.count(), 6, "{arrivals:?}");
}

/// Device and its number of each record of a device that arrived, in order.
fn device_records(broker: &Scripted) -> Vec<(String, u64)> {
    let arrivals = broker.arrivals().into_iter();
    let records = arrivals.filter_map(|arrival| {
        let json: Value = serde_json::from_str(&arrival).ok()?;
        Some((
            json["device"].as_str()?.to_owned(),
            json["device_seq"].as_u64()?,
        ))
    });
    records.collect()
}

#[tokio::test]
async fn a_filter_that_changes_at_a_restart_holds_from_then_on() {
    // The first two of the meter get no answer in the first run.
    let mut withheld = 2;
    let broker = Scripted::start(move |payload| {
        let withhold = withheld > 0 && payload.contains("meter-3");
        withheld -= i32::from(withhold);
        if withhold {
            Reply::Never
        } else {
            Reply::Ack(Reason::Success)
        }
    })
    .await;
    let memory = MemoryEngine::default();
    let schemas = [schema("meter-3"), schema("press")];
    let runs = [&["meter-*"][..], &["press"], &[], &["meter-3"]];
    for (run, devices) in runs.into_iter().enumerate() {
        let opened = Opened::new(&memory);
        (0..20_u32).for_each(|n| opened.put(scan(&schemas[n as usize % 2], n.into())));
        opened.store.flushed().await;
        let mut settings = to(broker.port());
        settings.devices = devices.iter().map(|&device| device.to_owned()).collect();
        let mut forwarder = opened.forwarder(settings, Catalogue::default());
        let left = if run == 0 { 2 } else { 0 };
        let done = |_: &ForwarderStatus| opened.store.status().backlogs[0].1 == left;
        forwarder.wait_for(done).await;
        forwarder.stop().await;
    }
    let of = |device: &str, first: u64, last: u64| {
        let device = device.to_owned();
        (first..=last).map(move |device_seq| (device.clone(), device_seq))
    };
    let mut expected: Vec<_> = of("meter-3", 1, 10).collect();
    // What was not answered is not for this upstream any more; what was passed over stays so.
    expected.extend(of("press", 11, 20));
    expected.extend((21..=30).flat_map(|n| of("meter-3", n, n).chain(of("press", n, n))));
    expected.extend(of("meter-3", 31, 40));
    assert_eq!(device_records(&broker), expected);
}

#[tokio::test]
async fn a_device_that_a_filter_adds_is_described_before_its_first_scan() {
    let broker = Scripted::start(|_| Reply::Ack(Reason::Success)).await;
    let memory = MemoryEngine::default();
    let catalogue = || ["meter-3", "press"].map(|device| description(device, 1));
    for (run, devices) in ["meter-3", "*"].into_iter().enumerate() {
        let opened = Opened::new(&memory);
        if run == 0 {
            for description in catalogue() {
                opened.put(Body::Description(description));
            }
        }
        opened.put(scan(&schema("press"), 1.0));
        opened.put(scan(&schema("meter-3"), 1.0));
        opened.store.flushed().await;
        let mut settings = to(broker.port());
        settings.devices = vec![devices.to_owned()];
        let mut forwarder = opened.forwarder(settings, Catalogue::new(catalogue()));
        let done = |_: &ForwarderStatus| opened.store.status().backlogs[0].1 == 0;
        forwarder.wait_for(done).await;
        forwarder.stop().await;
    }
    let arrivals = broker.arrivals();
    let press: Vec<_> = arrivals
        .iter()
        .filter(|one| one.contains("\"press\""))
        .collect();
    assert!(press[0].contains("\"describe\""), "{press:?}");
    let scans = press.iter().filter(|one| one.contains("\"values\""));
    assert_eq!(
        scans.count(),
        1,
        "that of the first run was not for this upstream"
    );
}

#[tokio::test]
async fn scans_of_an_older_map_whose_description_was_passed_over_bring_their_own() {
    for order in [Order::OldestFirst, Order::LiveFirst] {
        let broker = Scripted::start(|_| Reply::Ack(Reason::Success)).await;
        let memory = MemoryEngine::default();
        let of_map = |map, class| {
            Arc::new(Schema {
                map: MapHash(map),
                scan: name(class),
                ..Schema::clone(&schema("press"))
            })
        };
        let classes = ["default", "slow"];
        let put = |opened: &Opened, map| {
            opened.put(Body::Description(description("press", map)));
            for class in classes.into_iter().cycle().take(6) {
                opened.put(scan(&of_map(map, class), 1.0));
            }
        };
        let forward = async |opened: &Opened, devices: &str, map| {
            let mut settings = to(broker.port());
            settings.delivery.order = order;
            settings.devices = vec![devices.to_owned()];
            let catalogue = Catalogue::new([description("press", map)]);
            let mut forwarder = opened.forwarder(settings, catalogue);
            let done = |_: &ForwarderStatus| opened.store.status().backlogs[0].1 == 0;
            forwarder.wait_for(done).await;
            forwarder.stop().await;
        };
        // Its first description is not for this upstream; the scans behind it are none of its business yet, either.
        {
            let opened = Opened::new(&memory);
            put(&opened, 1);
            opened.store.flushed().await;
            forward(&opened, "meter-3", 1).await;
            // These it does not see before its filter and the map change.
            put(&opened, 1);
            opened.store.flushed().await;
        }
        let opened = Opened::new(&memory);
        put(&opened, 2);
        opened.store.flushed().await;
        forward(&opened, "*", 2).await;

        let (mut described, mut sketched, mut scans) = (Vec::new(), Vec::new(), 0);
        for arrival in broker.arrivals() {
            let Ok(json) = serde_json::from_str::<Value>(&arrival) else {
                continue;
            };
            let of = |key: &str| json[key].as_str().unwrap_or_default().to_owned();
            if json["describe"]["partial"] == true {
                let point = &json["describe"]["points"]["voltage"];
                assert_eq!(point["type"], "f64", "{json}");
                let class = point["scan"].as_str().unwrap().to_owned();
                sketched.push((of("map"), class));
            } else if json["describe"].is_object() {
                described.push(of("map"));
            } else if json["values"].is_object() {
                scans += 1;
                let known =
                    described.contains(&of("map")) || sketched.contains(&(of("map"), of("scan")));
                assert!(known, "{order:?}: {json}");
            }
        }
        assert_eq!(scans, 12, "{order:?}");
        sketched.sort();
        let expected = classes.map(|class| ("00000001".to_owned(), class.to_owned()));
        assert_eq!(sketched, expected, "{order:?}: once each");
    }
}

/// A store whose writer moves the head while a read begins, under the lock that the read waits for.
#[derive(Clone)]
struct Moving {
    store: Memory,
    head: Arc<watch::Sender<u64>>,
    held_up: Arc<AtomicBool>,
}

impl Source for Moving {
    type Error = String;

    fn head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    fn register(&self, upstream: &Name, start: Start) -> RangeSet {
        self.store.register(upstream, start)
    }

    async fn read(&self, from: u64, limit: ReadLimit, wanted: Wanted) -> Result<Batch, String> {
        let (moved, is_moved) = mpsc::channel();
        let head = Arc::clone(&self.head);
        std::thread::spawn(move || {
            head.send_modify(|_| ());
            let _ = moved.send(());
        });
        if is_moved.recv_timeout(Duration::from_secs(10)).is_err() {
            self.held_up.store(true, Ordering::Relaxed);
        }
        self.store.read(from, limit, wanted).await
    }

    fn may_send(&self, upstream: &Name) -> bool {
        self.store.may_send(upstream)
    }

    async fn sendable(&self, upstream: &Name) {
        self.store.sendable(upstream).await;
    }

    fn confirm(&self, upstream: &Name, confirmed: &RangeSet) {
        self.store.confirm(upstream, confirmed);
    }

    fn refuse(&self, upstream: &Name, seq: u64, reason: String, payload_size: u64) {
        self.store.refuse(upstream, seq, reason, payload_size);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_moves_its_head_while_a_read_waits_for_it() {
    let broker = Scripted::start(|_| Reply::Ack(Reason::Success)).await;
    let store = Memory::new();
    store.add_scans(10);
    let source = Moving {
        store: store.clone(),
        head: Arc::new(watch::Sender::new(10)),
        held_up: Arc::default(),
    };
    let forwarder = Forwarder::on(to(broker.port()), source.clone(), Arc::new(store.clone()));
    store.drained().await;
    forwarder.stop().await;
    assert!(!source.held_up.load(Ordering::Relaxed));
}
