//! What answers lead to: against a broker that answers as a script says.

use std::time::Duration;

use forebay::forward::Link;
use forebay::forward::route::Template;
use forebay::forward::settings::ForwarderSettings;
use forebay::reading::{Clock, EventName, SystemClock};
use forebay::upstream::settings::{Login, MqttSettings, MqttVersion, Secret, UpstreamSettings};
use rumqttc::v5::mqttbytes::v5::PubAckReason as Reason;

use super::memory::{BOUND, Forwarder, Memory, scan, schema, settings};
use crate::harness::mosquitto::{Mosquitto, MosquittoSettings};
use crate::harness::scripted::{Reply, Scripted};
use crate::harness::subscriber::Received;
use crate::upstream_contract::mqtt;

const TAKEN: Reply = Reply::Ack(Reason::Success);

fn to(broker: &Scripted, inflight: u16) -> ForwarderSettings {
    let ack_timeout = Duration::from_millis(500);
    settings(UpstreamSettings::Mqtt(MqttSettings {
        inflight,
        ack_timeout,
        ..mqtt::settings(broker.port(), MqttVersion::V5)
    }))
}

fn seq(payload: &str) -> u64 {
    let json: serde_json::Value = serde_json::from_str(payload).unwrap();
    json["seq"].as_u64().unwrap()
}

/// The sequence numbers that came on each connection.
fn arrivals(broker: &Scripted) -> Vec<Vec<u64>> {
    let mut connections = Vec::new();
    for arrival in broker.arrivals() {
        if arrival == "-" {
            connections.push(Vec::new());
        } else {
            connections.last_mut().unwrap().push(seq(&arrival));
        }
    }
    connections
}

#[tokio::test]
async fn nothing_more_is_sent_while_the_store_is_behind_with_confirmations() {
    let store = Memory::new();
    let behind = store.clone();
    let broker = Scripted::start(move |payload| {
        behind.set_behind(seq(payload) == 3);
        TAKEN
    })
    .await;
    store.add_scans(20);
    let mut forwarder = Forwarder::start(to(&broker, 1), &store);
    forwarder.wait_for(|status| status.confirmed == 3).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(arrivals(&broker), [[1, 2, 3]]);
    store.set_behind(false);
    store.drained().await;
    assert_eq!(arrivals(&broker), [(1..=20).collect::<Vec<_>>()]);
    forwarder.stop().await;
}

#[tokio::test]
async fn after_a_retryable_refusal_it_goes_back_to_the_oldest_unconfirmed() {
    let mut busy = 2;
    let broker = Scripted::start(move |payload| {
        if seq(payload) == 3 && busy > 0 {
            busy -= 1;
            return Reply::Ack(Reason::QuotaExceeded);
        }
        TAKEN
    })
    .await;
    let store = Memory::new();
    store.add_scans(20);
    let mut forwarder = Forwarder::start(to(&broker, 4), &store);
    store.drained().await;
    let all = arrivals(&broker);
    assert_eq!(all.len(), 1, "a refusal is no reason to leave");
    // Twice the third is refused while at most three more are out; those are taken and not repeated.
    let mut expected: Vec<u64> = (1..=20).collect();
    let mut sent = all[0].clone();
    let repeated = sent.iter().filter(|seq| **seq == 3).count();
    assert_eq!(repeated, 3);
    let place = sent.iter().rposition(|seq| *seq == 3).unwrap();
    assert!(sent[..place].iter().all(|seq| *seq <= 9), "{sent:?}");
    sent.sort_unstable();
    expected.splice(2..3, [3, 3, 3]);
    assert_eq!(sent, expected);
    assert!(store.refused().is_empty());
    let status = forwarder.wait_for(|status| status.confirmed == 20).await;
    assert!(status.last_error.unwrap().contains("quota"));
    forwarder.stop().await;
}

#[tokio::test]
async fn a_connection_cut_in_the_middle_of_a_window_is_repeated_from_the_oldest() {
    let mut cut = 2;
    let broker = Scripted::start(move |payload| match seq(payload) {
        7 if cut > 0 => {
            cut -= 1;
            Reply::Close
        }
        4..=6 if cut > 0 => Reply::Never,
        _ => TAKEN,
    })
    .await;
    let store = Memory::new();
    store.add_scans(30);
    let forwarder = Forwarder::start(to(&broker, 10), &store);
    store.drained().await;
    let all = arrivals(&broker);
    assert_eq!(all.len(), 3);
    for connection in &all[1..] {
        assert_eq!(connection[0], 4);
        assert!(connection.is_sorted(), "{connection:?}");
    }
    forwarder.stop().await;
}

#[tokio::test]
async fn acknowledgements_out_of_order_are_as_good() {
    let broker = Scripted::start(|payload| match seq(payload) % 5 {
        1 | 3 => Reply::Later,
        _ => TAKEN,
    })
    .await;
    let store = Memory::new();
    store.add_scans(1_000);
    let forwarder = Forwarder::start(to(&broker, 7), &store);
    store.drained().await;
    assert_eq!(arrivals(&broker), [(1..=1_000).collect::<Vec<_>>()]);
    forwarder.stop().await;
}

#[tokio::test]
async fn one_answer_that_never_comes_ends_the_connection_though_others_come() {
    let mut silent = true;
    let broker = Scripted::start(move |payload| match seq(payload) {
        2 if std::mem::take(&mut silent) => Reply::Never,
        _ => TAKEN,
    })
    .await;
    let store = Memory::new();
    store.add_scans(10);
    let mut forwarder = Forwarder::start(to(&broker, 5), &store);
    store.drained().await;
    let all = arrivals(&broker);
    assert_eq!(all.len(), 2);
    assert_eq!(all[1], [2], "what was confirmed is not repeated");
    let status = forwarder.wait_for(|status| status.confirmed == 10).await;
    assert_eq!(status.connects, 2);
    forwarder.stop().await;
}

#[tokio::test]
async fn what_is_refused_for_good_is_a_dead_letter_and_the_queue_moves_on() {
    let broker = Scripted::start(|payload| match seq(payload) {
        5 => Reply::Ack(Reason::PayloadFormatInvalid),
        9 => Reply::Ack(Reason::TopicNameInvalid),
        _ => TAKEN,
    })
    .await;
    let store = Memory::new();
    store.add_scans(10);
    let forwarder = Forwarder::start(to(&broker, 1), &store);
    store.drained().await;
    let seqs: Vec<_> = store.refused().into_iter().map(|(seq, _)| seq).collect();
    assert_eq!(seqs, [5, 9]);
    assert_eq!(arrivals(&broker)[0].len(), 10);
    forwarder.stop().await;
}

#[tokio::test]
async fn what_is_not_allowed_while_another_is_taken_is_a_dead_letter() {
    for inflight in [1, 10] {
        let broker = Scripted::start(|payload| match payload.contains("\"press\"") {
            true => Reply::Ack(Reason::NotAuthorized),
            false => TAKEN,
        })
        .await;
        let store = Memory::new();
        let (allowed, forbidden) = (schema("meter-3"), schema("press"));
        for n in 0..30_u32 {
            store.add(scan(
                if n.is_multiple_of(3) {
                    &forbidden
                } else {
                    &allowed
                },
                n.into(),
            ));
        }
        let forwarder = Forwarder::start(to(&broker, inflight), &store);
        store.drained().await;
        // The first ones were repeated once, until it was known that the topic is meant.
        let mut seqs: Vec<_> = store.refused().into_iter().map(|(seq, _)| seq).collect();
        seqs.sort_unstable();
        assert_eq!(seqs, (0..10).map(|n| 3 * n + 1).collect::<Vec<_>>());
        assert!(store.events().is_empty());
        forwarder.stop().await;
    }
}

#[tokio::test]
async fn what_is_allowed_again_in_the_middle_of_a_window_is_no_dead_letter() {
    for inflight in [1, 10] {
        // Permission is withdrawn at one message, and comes back at another.
        let mut count = 0;
        let broker = Scripted::start(move |_| {
            count += 1;
            match count {
                10..16 => Reply::Ack(Reason::NotAuthorized),
                _ => TAKEN,
            }
        })
        .await;
        let store = Memory::new();
        let schemas = ["meter-3", "press", "oven"].map(schema);
        for n in 0..30_u32 {
            store.add(scan(&schemas[n as usize % 3], n.into()));
        }
        let forwarder = Forwarder::start(to(&broker, inflight), &store);
        store.drained().await;
        assert!(store.refused().is_empty(), "{:?}", store.refused());
        assert!(store.events().is_empty());
        forwarder.stop().await;
    }
}

#[tokio::test]
async fn where_nothing_is_allowed_it_stops_tells_it_once_and_loses_nothing() {
    let mut tries = 0;
    let broker = Scripted::start(move |_| {
        tries += 1;
        if tries > 60 {
            TAKEN
        } else {
            Reply::Ack(Reason::NotAuthorized)
        }
    })
    .await;
    let store = Memory::new();
    store.add_scans(200);
    let mut forwarder = Forwarder::start(to(&broker, 10), &store);
    let status = forwarder
        .wait_for(|status| status.link == Link::Stopped)
        .await;
    assert!(status.last_error.unwrap().contains("not authorised"));
    store.drained().await;
    assert!(store.refused().is_empty() && arrivals(&broker).len() >= 3);
    let events = store.events();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].name, EventName::UpstreamStopped);
    forwarder.stop().await;
}

#[tokio::test]
async fn where_its_state_is_refused_that_is_told_and_the_records_go_on() {
    let broker = Scripted::start(|payload| match payload.contains("\"status\"") {
        true => Reply::Ack(Reason::NotAuthorized),
        false => TAKEN,
    })
    .await;
    let store = Memory::new();
    store.add_scans(10);
    let mut settings = to(&broker, 4);
    settings.routes.status = Some(Template::parse("state/{upstream}").unwrap());
    let mut forwarder = Forwarder::start(settings, &store);
    store.drained().await;
    let status = forwarder
        .wait_for(|status| status.last_error.is_some())
        .await;
    assert!(status.last_error.unwrap().contains("not authorised"));
    assert!(store.refused().is_empty() && store.events().is_empty());
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn a_wrong_password_stops_the_upstream_and_is_told_once() {
    let users = vec![("forebay".to_owned(), "right".to_owned())];
    let broker = Mosquitto::start_with(&MosquittoSettings {
        users,
        ..Default::default()
    });
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "wrong\n").unwrap();
    let upstream = MqttSettings {
        login: Some(Login {
            username: "forebay".to_owned(),
            password: Some(Secret::File(password.clone())),
        }),
        ..mqtt::settings(broker.port(), MqttVersion::V3)
    };
    let store = Memory::new();
    store.add_scans(10);
    let mut forwarder = Forwarder::start(settings(UpstreamSettings::Mqtt(upstream)), &store);
    forwarder
        .wait_for(|status| status.link == Link::Stopped)
        .await;
    forwarder
        .wait_for(|status| status.link == Link::Connecting)
        .await;
    forwarder
        .wait_for(|status| status.link == Link::Stopped)
        .await;
    assert!(store.cursor().is_empty());
    std::fs::write(&password, "right\n").unwrap();
    store.drained().await;
    assert_eq!(store.events().len(), 1);
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn a_records_life_at_the_broker_began_with_its_reading() {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe("t/#").await;
    let upstream = mqtt::settings(broker.port(), MqttVersion::V5);
    let mut settings = settings(UpstreamSettings::Mqtt(upstream));
    settings.expiry = Some(Duration::from_secs(3_600));
    let store = Memory::new();
    let mut stamp = Clock::new(SystemClock::new()).now();
    store.add_at(stamp, scan(&schema("meter-3"), 1.0));
    stamp.boot_ns -= 10_000_000_000;
    store.add_at(stamp, scan(&schema("meter-3"), 2.0));
    let forwarder = Forwarder::start(settings, &store);
    let scans = |all: &[Received]| -> Vec<u32> {
        let scans = all
            .iter()
            .filter(|one| one.topic == "t/hall-2/meter-3/default");
        scans.filter_map(|one| one.expires_in).collect()
    };
    let all = subscriber
        .wait_for(BOUND, |all| scans(all).len() == 2)
        .await;
    let lives = scans(&all);
    let (young, old) = (lives[0].max(lives[1]), lives[0].min(lives[1]));
    // Whole seconds, and the broker rounds as well.
    assert!(
        young <= 3_600 && (9..=11).contains(&(young - old)),
        "{young}, {old}"
    );
    forwarder.stop().await;
}
