//! What MQTT 5 lets the broker ask for, and what of a message it keeps to.

use std::time::Duration;

use forebay::reading::{Body, Catalogue};
use forebay::upstream::Connection;
use forebay::upstream::message::Answer;
use forebay::upstream::settings::{MqttSettings, MqttVersion, UpstreamSettings};
use rumqttc::v5::mqttbytes::v5::PubAckReason;
use tokio::time::{Instant, sleep, timeout};

use crate::forward::memory::{self, Forwarder, Memory, description};
use crate::harness::mosquitto::{Mosquitto, MosquittoSettings};
use crate::harness::scripted::{Consent, Reply, Scripted};
use crate::upstream_contract::mqtt::{settings, topic};
use crate::upstream_contract::{BOUND, answer, message, next, open};

async fn connect(settings: MqttSettings) -> Connection {
    open(&UpstreamSettings::Mqtt(settings)).await
}

#[tokio::test]
async fn no_more_is_out_than_the_broker_takes() {
    let consent = Consent {
        receive_maximum: Some(3),
        ..Consent::default()
    };
    let broker = Scripted::consenting(consent, |_| Reply::Ack(PubAckReason::Success)).await;
    let mut connection = connect(settings(broker.port(), MqttVersion::V5)).await;
    for n in 0..10 {
        connection.submit(message(&topic("t/1"), n)).unwrap();
    }
    for n in 0..10 {
        assert_eq!(answer(&mut connection).await, (n, Answer::Confirmed));
    }
    assert_eq!(broker.counts().borrow().most_out, 3);
}

#[tokio::test]
async fn an_answer_that_is_late_holds_up_no_other() {
    let mut count = 0;
    let broker = Scripted::start(move |_| {
        count += 1;
        match count {
            1 => Reply::Never,
            _ => Reply::Ack(PubAckReason::Success),
        }
    })
    .await;
    // Packet ids go round several times.
    let mut connection = connect(settings(broker.port(), MqttVersion::V5)).await;
    connection.submit(message(&topic("t/1"), 0)).unwrap();
    for n in 1..200 {
        connection.submit(message(&topic("t/1"), n)).unwrap();
        assert_eq!(answer(&mut connection).await, (n, Answer::Confirmed));
    }
}

#[tokio::test]
async fn signs_of_life_come_as_often_as_the_broker_wants() {
    let consent = Consent {
        keep_alive: Some(1),
        ..Consent::default()
    };
    let broker = Scripted::consenting(consent, |_| Reply::Never).await;
    let hourly = MqttSettings {
        keep_alive: Duration::from_secs(3_600),
        ..settings(broker.port(), MqttVersion::V5)
    };
    let mut connection = connect(hourly).await;
    let mut counts = broker.counts();
    let asked = timeout(BOUND, counts.wait_for(|counts| counts.pings >= 2));
    tokio::select! {
        incoming = next(&mut connection) => panic!("{incoming:?}"),
        asked = asked => assert!(asked.is_ok(), "none came"),
    }
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn a_broker_that_retains_nothing_gets_descriptions_all_the_same() {
    let broker = Mosquitto::start_with(&MosquittoSettings {
        general: vec!["retain_available false".to_owned()],
        ..MosquittoSettings::default()
    });
    let subscriber = broker.subscribe("t/#").await;
    let upstream = settings(broker.port(), MqttVersion::V5);
    let connection = connect(upstream.clone()).await;
    assert!(!connection.retains());
    connection.close().await;
    let store = Memory::new();
    store.add(Body::Description(description("meter-3", 1)));
    store.add_scans(5);
    let mut forwarder = Forwarder::start_with(
        memory::settings(UpstreamSettings::Mqtt(upstream)),
        &store,
        Catalogue::new([description("meter-3", 1)]),
    );
    store.drained().await;
    let all = subscriber.wait_for(BOUND, |all| all.len() >= 6).await;
    assert!(store.refused().is_empty() && all[0].json()["describe"].is_object());
    let status = forwarder.wait_for(|status| status.confirmed == 6).await;
    assert_eq!(status.connects, 1);
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn what_has_expired_is_not_handed_to_a_late_subscriber() {
    let broker = Mosquitto::start();
    let mut connection = connect(settings(broker.port(), MqttVersion::V5)).await;
    let early = broker.subscribe("t/#").await;
    for (n, life) in [(1, Some(3)), (2, Some(3_600)), (3, None)] {
        let mut retained = message(&topic(&format!("t/{n}")), n);
        retained.retain = true;
        retained.expires_in = life.map(Duration::from_secs);
        connection.submit(retained).unwrap();
        assert_eq!(answer(&mut connection).await, (n, Answer::Confirmed));
    }
    let all = early.wait_for(BOUND, |all| all.len() == 3).await;
    let lives: Vec<_> = all.iter().map(|one| one.expires_in).collect();
    let as_set = matches!(lives[..], [Some(1..=3), Some(3_000..=3_600), None]);
    assert!(as_set, "{lives:?}");
    let start = Instant::now();
    loop {
        let late = broker.subscribe("t/#").await;
        let kept = late.wait_for(BOUND, |all| all.len() >= 2).await;
        if kept.iter().all(|one| one.payload != "1") {
            break;
        }
        assert!(start.elapsed() < BOUND, "it never expires");
        sleep(Duration::from_millis(200)).await;
    }
}
