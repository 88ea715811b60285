//! Records that a broker does not take, and says so only by closing: they become dead letters, and the queue moves on.

use std::time::Duration;

use forebay::forward::Link;
use forebay::forward::route::Template;
use forebay::forward::settings::ForwarderSettings;
use forebay::reading::EventName;
use forebay::upstream::settings::{AmqpSettings, MqttVersion, Unroutable, UpstreamSettings};
use rumqttc::v5::mqttbytes::v5::PubAckReason as Reason;

use super::memory::{Forwarder, Memory, large, scan, schema, settings};
use crate::harness::mosquitto::{Mosquitto, MosquittoSettings};
use crate::harness::proxy::Proxy;
use crate::harness::rabbitmq::RabbitMq;
use crate::harness::scripted::{Reply, Scripted};
use crate::upstream::amqp;
use crate::upstream_contract::mqtt;

const TAKEN: Reply = Reply::Ack(Reason::Success);

fn to(port: u16, version: MqttVersion) -> ForwarderSettings {
    settings(UpstreamSettings::Mqtt(mqtt::settings(port, version)))
}

fn to_amqp(settings: AmqpSettings) -> ForwarderSettings {
    let template = |text| Template::parse(text).unwrap();
    let mut forwarder = super::memory::settings(UpstreamSettings::Amqp(settings));
    forwarder.routes.exchange = template("amq.topic");
    forwarder.routes.scan = template("{device}");
    forwarder
}

fn seq(payload: &str) -> u64 {
    let json: serde_json::Value = serde_json::from_str(payload).unwrap();
    json["seq"].as_u64().unwrap()
}

fn refused(store: &Memory) -> Vec<u64> {
    let mut seqs: Vec<_> = store.refused().into_iter().map(|(seq, _)| seq).collect();
    seqs.sort_unstable();
    seqs
}

#[tokio::test]
async fn those_over_which_the_connection_is_closed_again_and_again_are_dead_letters() {
    let broker = Scripted::start(|payload| match seq(payload) {
        7 | 8 => Reply::Close,
        20 => Reply::AckAndClose(Reason::NotAuthorized),
        _ => TAKEN,
    })
    .await;
    let store = Memory::new();
    store.add_scans(40);
    let forwarder = Forwarder::start(to(broker.port(), MqttVersion::V5), &store);
    store.drained().await;
    assert_eq!(refused(&store), [7, 8, 20]);
    let reason = &store.refused()[0].1;
    assert!(reason.contains("closed the connection 5 times"), "{reason}");
    assert!(store.events().is_empty());
    forwarder.stop().await;
}

#[tokio::test]
async fn a_broker_that_closes_over_everything_makes_no_dead_letter() {
    let mut closings = 30;
    let broker = Scripted::start(move |_| {
        closings -= i32::from(closings > 0);
        if closings > 0 { Reply::Close } else { TAKEN }
    })
    .await;
    let store = Memory::new();
    store.add_scans(40);
    let forwarder = Forwarder::start(to(broker.port(), MqttVersion::V5), &store);
    store.drained().await;
    assert!(store.refused().is_empty());
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn one_too_large_for_a_broker_that_only_closes_over_it_is_a_dead_letter() {
    let broker = Mosquitto::start_with(&MosquittoSettings {
        general: vec!["max_packet_size 2000".to_owned()],
        ..MosquittoSettings::default()
    });
    for version in [MqttVersion::V3, MqttVersion::V5] {
        let store = Memory::new();
        store.add_scans(10);
        store.add(large(3_000));
        store.add_scans(10);
        let forwarder = Forwarder::start(to(broker.port(), version), &store);
        store.drained().await;
        assert_eq!(refused(&store), [11], "{version:?}");
        forwarder.stop().await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn one_too_large_for_the_queue_broker_is_a_dead_letter_and_costs_no_connection() {
    let broker = RabbitMq::own();
    broker.eval("persistent_term:put(max_message_size, 2000), application:set_env(rabbit, max_message_size, 2000).");
    let client = broker.client().await;
    client.queue("q").await;
    client.bind("q", "amq.topic", "#").await;
    let consumer = client.consume("q").await;
    let store = Memory::new();
    store.add_scans(200);
    for _ in 0..2 {
        store.add(large(3_000));
    }
    store.add_scans(100);
    let mut forwarder = Forwarder::start(to_amqp(amqp::of(&broker)), &store);
    store.drained().await;
    assert_eq!(refused(&store), [201, 202]);
    let reason = &store.refused()[0].1;
    assert!(reason.contains("PRECONDITION_FAILED"), "{reason}");
    consumer
        .wait_for(super::BOUND, |all| all.len() >= 300)
        .await;
    let status = forwarder.wait_for(|status| status.confirmed == 300).await;
    assert_eq!(status.connects, 1);
    forwarder.stop().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_key_that_is_not_allowed_makes_dead_letters_and_no_key_at_all_stops() {
    let broker = RabbitMq::shared();
    let client = broker.client().await;
    client.queue("q").await;
    client.bind("q", "amq.topic", "#").await;
    let allow = |pattern: &str| {
        broker.eval(&format!(
            r#"rabbit_auth_backend_internal:set_topic_permissions(
                <<"guest">>, <<"{}">>, <<"amq.topic">>, <<"{pattern}">>, <<".*">>, <<"test">>)."#,
            broker.vhost()
        ));
    };
    allow("^meter-3$");
    let store = Memory::new();
    let (allowed, forbidden) = (schema("meter-3"), schema("press"));
    for n in 0..30_u32 {
        let one = if n.is_multiple_of(10) {
            &forbidden
        } else {
            &allowed
        };
        store.add(scan(one, n.into()));
    }
    let forwarder = Forwarder::start(to_amqp(amqp::of(&broker)), &store);
    store.drained().await;
    assert_eq!(refused(&store), [1, 11, 21]);
    assert!(store.events().is_empty());
    forwarder.stop().await;
    // A channel that is open keeps for a while what it was allowed. Also where the backlog is larger than the window.
    for (stops, inflight) in [(1, 100), (2, 7)] {
        allow("^nothing$");
        store.add_scans(60);
        let settings = AmqpSettings {
            inflight,
            ..amqp::of(&broker)
        };
        let mut forwarder = Forwarder::start(to_amqp(settings), &store);
        forwarder
            .wait_for(|status| status.link == Link::Stopped)
            .await;
        let told: Vec<_> = store.events().iter().map(|event| event.name).collect();
        assert_eq!(told, vec![EventName::UpstreamStopped; stops]);
        allow(".*");
        store.drained().await;
        assert_eq!(refused(&store).len(), 3);
        forwarder.stop().await;
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn returns_are_counted_across_connections() {
    let broker = RabbitMq::shared();
    let client = broker.client().await;
    client.queue("q").await;
    client.bind("q", "amq.topic", "meter-3").await;
    let proxy = Proxy::to(broker.port()).await;
    let settings = AmqpSettings {
        unroutable: Unroutable::DeadLetter(4),
        ..amqp::settings(proxy.port(), broker.vhost())
    };
    let store = Memory::new();
    store.add(scan(&schema("press"), 1.0));
    store.add_scans(10);
    let mut forwarder = Forwarder::start(to_amqp(settings), &store);
    // Each connection sees one or two of the returns.
    for connects in 1..=2 {
        let held_up = |status: &forebay::forward::ForwarderStatus| {
            status.connects >= connects && status.confirmed == 10 && status.last_error.is_some()
        };
        forwarder.wait_for(held_up).await;
        proxy.cut();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    store.drained().await;
    assert_eq!(refused(&store), [1]);
    let reason = &store.refused()[0].1;
    assert!(reason.ends_with("it came back 4 times"), "{reason}");
    forwarder.stop().await;
}
