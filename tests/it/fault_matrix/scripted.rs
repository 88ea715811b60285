//! Acknowledgements that are late, in another order, or failures: a broker that answers by a script.

use std::collections::HashMap;
use std::time::Duration;

use forebay::forward::settings::Order;
use forebay::reading::Catalogue;
use forebay::upstream::settings::{MqttSettings, MqttVersion, UpstreamSettings};
use rumqttc::v5::mqttbytes::v5::PubAckReason as Reason;
use serde_json::Value;

use super::{WINDOW, proved};
use crate::forward::memory::{self, Forwarder, Memory, description};
use crate::harness::scripted::{Reply, Scripted};
use crate::upstream_contract::mqtt;

const TAKEN: Reply = Reply::Ack(Reason::Success);

/// How the broker answers the n-th time that a record comes.
type Answers = fn(seq: u64, time: u32) -> Reply;

/// Ways to answer; in the end all are taken.
const CASES: [(&str, Answers); 4] = [
    ("in another order", |seq, time| {
        if seq % 3 == 0 && time == 0 {
            Reply::Later
        } else {
            TAKEN
        }
    }),
    ("some never", |seq, time| {
        if seq % 20 == 0 && time == 0 {
            Reply::Never
        } else {
            TAKEN
        }
    }),
    ("failures that pass", |seq, time| match (seq % 25, time) {
        (0, 0) => Reply::Ack(Reason::QuotaExceeded),
        (0, 1) => Reply::Ack(Reason::UnspecifiedError),
        _ => TAKEN,
    }),
    ("closed by each tenth", |seq, time| {
        if seq % 10 == 0 && time == 0 {
            Reply::Close
        } else {
            TAKEN
        }
    }),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn however_it_is_answered_no_record_is_lost_or_misplaced() {
    for (name, answers) in CASES {
        for order in [Order::OldestFirst, Order::LiveFirst] {
            println!("{name}, {order:?}");
            run(answers, order).await;
        }
    }
}

async fn run(answers: Answers, order: Order) {
    let mut times: HashMap<u64, u32> = HashMap::new();
    let broker = Scripted::start(move |payload| {
        let message: Value = serde_json::from_str(payload).unwrap();
        let Some(seq) = message["seq"].as_u64() else {
            return TAKEN;
        };
        let time = times.entry(seq).or_default();
        *time += 1;
        answers(seq, *time - 1)
    })
    .await;
    let mut settings = memory::settings(UpstreamSettings::Mqtt(MqttSettings {
        inflight: WINDOW,
        ack_timeout: Duration::from_millis(500),
        ..mqtt::settings(broker.port(), MqttVersion::V5)
    }));
    settings.delivery.order = order;
    let store = Memory::new();
    store.add_scans(60);
    let catalogue = Catalogue::new([description("meter-3", 1)]);
    let forwarder = Forwarder::start_with(settings, &store, catalogue);
    store.drained().await;
    store.add_scans(40);
    store.drained().await;
    let arrivals = broker
        .arrivals()
        .into_iter()
        .filter(|arrival| arrival != "-");
    let payloads: Vec<Vec<u8>> = arrivals.map(String::into_bytes).collect();
    let report = proved(&payloads);
    assert!(
        report.is_complete() && report.records() == 100,
        "{report:#?}"
    );
    assert_eq!(report.reordered(), 0, "{report:#?}");
    assert!(store.refused().is_empty(), "{:?}", store.refused());
    forwarder.stop().await;
}
