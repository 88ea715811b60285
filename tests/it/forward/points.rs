//! `message = "point"`: a message a reading, the record confirmed with the last of them.

use std::sync::Arc;

use forebay::forward::route::Template;
use forebay::forward::settings::{ForwarderSettings, Order};
use forebay::payload::settings::MessageKind;
use forebay::reading::{
    Body, Catalogue, Quality, Reading, Scan, Schema, SchemaPoint, Value, ValueType,
};
use forebay::upstream::settings::{MqttVersion, UpstreamSettings};
use rumqttc::v5::mqttbytes::v5::PubAckReason as Reason;
use serde_json::json;

use super::BOUND;
use super::memory::{Forwarder, Memory, description, name, schema, settings};
use crate::harness::mosquitto::Mosquitto;
use crate::harness::scripted::{Reply, Scripted};
use crate::upstream_contract::mqtt;

const TAKEN: Reply = Reply::Ack(Reason::Success);

fn to(port: u16) -> ForwarderSettings {
    let mut settings = settings(UpstreamSettings::Mqtt(mqtt::settings(
        port,
        MqttVersion::V5,
    )));
    settings.payload.message = MessageKind::Point;
    settings.routes.scan = Template::parse("t/{device}/{point}").unwrap();
    settings
}

/// Three points; the second is not reported, the third not readable.
pub(crate) fn add(store: &Memory, count: u64) {
    let points = ["a", "b", "c"].map(|point| SchemaPoint {
        name: name(point),
        value_type: ValueType::F64,
        unit: None,
    });
    let schema = Arc::new(Schema {
        points: points.to_vec(),
        ..Schema::clone(&schema("meter-3"))
    });
    for n in 0..count {
        let readings = vec![
            Some(Reading::good(Value::F64(n as f64))),
            None,
            Some(Reading::missing(Quality::Timeout)),
        ];
        store.add(Body::Scan(Scan {
            schema: Arc::clone(&schema),
            readings,
            full: false,
        }));
    }
}

fn place(payload: &str) -> (u64, u64) {
    let json: serde_json::Value = serde_json::from_str(payload).unwrap();
    (
        json["seq"].as_u64().unwrap(),
        json["part"][0].as_u64().unwrap(),
    )
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn each_reading_goes_to_its_own_topic_and_says_which_part_it_is() {
    let broker = Mosquitto::start();
    let subscriber = broker.subscribe("t/#").await;
    let store = Memory::new();
    add(&store, 100);
    let mut forwarder = Forwarder::start(to(broker.port()), &store);
    store.drained().await;
    let all = subscriber.wait_for(BOUND, |all| all.len() >= 200).await;
    for (n, pair) in all.chunks(2).enumerate() {
        let [a, c] = pair else { panic!("{pair:?}") };
        assert_eq!(
            (a.topic.as_str(), c.topic.as_str()),
            ("t/meter-3/a", "t/meter-3/c")
        );
        let (a, last) = (a.json(), c.json());
        assert_eq!((&a["seq"], &a["part"]), (&json!(n + 1), &json!([1, 2])));
        assert_eq!(a["values"], json!({"a": n as f64}));
        assert_eq!(
            (&last["seq"], &last["part"]),
            (&json!(n + 1), &json!([2, 2]))
        );
        assert_eq!(last["values"], json!({"c": null}));
        assert_eq!(
            (&a["quality"], &last["quality"]),
            (&json!(null), &json!({"c": "timeout"}))
        );
        let part = c.user_properties.last().unwrap();
        assert_eq!((part.0.as_str(), part.1.as_str()), ("part", "2/2"));
    }
    let status = forwarder.wait_for(|status| status.confirmed == 100).await;
    assert_eq!(status.submitted, 200);
    forwarder.stop().await;
}

#[tokio::test]
async fn a_record_is_done_with_its_last_part_and_refused_with_any() {
    for (inflight, order) in [
        (1, Order::OldestFirst),
        (3, Order::LiveFirst),
        (10, Order::OldestFirst),
    ] {
        let mut busy = 3;
        let broker = Scripted::start(move |payload| match place(payload) {
            (4, 2) => Reply::Ack(Reason::PayloadFormatInvalid),
            (7, 2) if busy > 0 => {
                busy -= 1;
                Reply::Ack(Reason::QuotaExceeded)
            }
            _ => TAKEN,
        })
        .await;
        let store = Memory::new();
        add(&store, 20);
        let mut settings = to(broker.port());
        settings.delivery.order = order;
        if let UpstreamSettings::Mqtt(mqtt) = &mut settings.upstream {
            mqtt.inflight = inflight;
        }
        let catalogue = Catalogue::new([description("meter-4", 1)]);
        settings.devices = vec!["meter-3".to_owned()];
        let mut forwarder = Forwarder::start_with(settings, &store, catalogue);
        store.drained().await;
        let refused = store.refused();
        assert_eq!(refused.len(), 1, "{refused:?}");
        assert_eq!(refused[0].0, 4);
        assert!(refused[0].1.starts_with("part 2 of 2: "), "{refused:?}");
        let mut came: Vec<_> = broker
            .arrivals()
            .iter()
            .filter(|arrival| *arrival != "-")
            .map(|arrival| place(arrival))
            .collect();
        // Both parts again after each refusal for now.
        assert_eq!(came.iter().filter(|place| **place == (7, 1)).count(), 4);
        came.sort_unstable();
        came.dedup();
        let all: Vec<_> = (1..=20).flat_map(|seq| [(seq, 1), (seq, 2)]).collect();
        assert_eq!(came, all);
        forwarder.wait_for(|status| status.confirmed == 19).await;
        forwarder.stop().await;
    }
}
