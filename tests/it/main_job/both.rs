//! Two lines, two brokers at once.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::points;
use super::rig::*;
use crate::harness::gateway::Gateway;
use crate::harness::ledger::Ledger;
use crate::harness::modbus::ModbusServer;
use crate::harness::pty::Cable;
use crate::harness::rabbitmq::{Consumed, RabbitMq};
use crate::harness::subscriber::Received;
use crate::harness::verifier::Verifier;

const EVERY: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs pymodbus, socat, mosquitto, rabbitmq"]
async fn every_record_reaches_both_brokers_with_the_values_that_the_devices_were_given() {
    let points = points::all();
    let cable = Cable::new();
    let tcp = ModbusServer::tcp(0, &json!({"1": points.tables}));
    let _rtu = ModbusServer::rtu(&cable.there(), 115_200, &json!({"7": points.tables}));
    let (mosquitto, rabbit) = (mosquitto(), RabbitMq::shared());
    topology(&rabbit, "all").await;
    let subscriber = mosquitto.subscribe("forebay/#").await;
    let consumer = rabbit.client().await.consume("all").await;
    topology(&rabbit, "audit").await;

    let serial = format!(
        "[line.bus]\nprotocol = \"modbus-rtu\"\nport = {:?}\nbaud_rate = 115200\nparity = \"none\"\ntimeout = \"1s\"\n\
         [device.serial]\nline = \"bus\"\nunit = 7\nmap = \"every-type\"\nevery = \"500ms\"\n",
        cable.here()
    );
    let tcp_line = tcp_device("net", tcp.port, "every-type", "200ms");
    let (mqtt, amqp) = (
        mqtt_upstream(mosquitto.port(), "5"),
        amqp_upstream(rabbit.port(), rabbit.vhost()),
    );
    let mut gateway = Gateway::new(
        &format!("{serial}{tcp_line}{mqtt}{amqp}"),
        &[("every-type", &points.map)],
    );
    gateway.start();
    subscriber.wait_for(BOUND, |all| all.len() > 10).await;
    let at_mosquitto = format!("mqtt://127.0.0.1:{}", mosquitto.port());
    let listening = Verifier::start(&[&at_mosquitto, "--ordered", "--until-idle", "5s"]);
    sleep(Duration::from_secs(share(60, 15))).await;
    stop(&mut gateway);

    let arrived = all_of(&subscriber).await;
    let consumed = all_of_amqp(&consumer).await;
    let (over_mqtt, over_amqp) = (ledger_of(&arrived), ledger_of_amqp(&consumed));
    for ledger in [&over_mqtt, &over_amqp] {
        ledger.assert_complete();
        assert_eq!(ledger.duplicates(), 0);
        assert_eq!(ledger.stream_count(), 1);
        assert_period(ledger, "net", EVERY, "nothing");
        assert_values(ledger, &points);
    }
    assert_eq!(over_mqtt.len(), over_amqp.len());
    assert_numbers_beside_the_payload(&arrived, &consumed);
    let last = over_mqtt.report().streams[0].seq.1;
    let at_rabbit = format!("amqp://127.0.0.1:{}/{}", rabbit.port(), rabbit.vhost());
    let (queue, idle) = (["--queue", "audit"], ["--until-idle", "5s"]);
    let auditing = Verifier::start(&[
        &at_rabbit,
        "--from-start",
        "--ordered",
        queue[0],
        queue[1],
        idle[0],
        idle[1],
    ]);
    for verifier in [listening, auditing] {
        let (code, result) = verifier.ended(BOUND);
        assert_eq!(
            (code, &result["streams"][0]["seq"][1]),
            (Some(0), &json!(last)),
            "{result}"
        );
    }
}

fn assert_values(ledger: &Ledger, points: &points::Points) {
    for device in ["net", "serial"] {
        let scans = ledger.scans(device);
        assert!(scans.len() >= 10, "{device}: {} scans", scans.len());
        for scan in scans {
            for (point, value) in &points.values {
                assert_eq!(&scan["values"][point], value, "{device} {point}: {scan}");
                let quality = points.quality.get(point).cloned().unwrap_or_default();
                assert_eq!(scan["quality"][point], quality, "{device} {point}: {scan}");
            }
            assert_eq!(
                scan["values"].as_object().unwrap().len(),
                points.values.len()
            );
        }
    }
}

/// `stream`, `seq` and `device_seq` stand beside the payload too: as user properties, and as headers.
fn assert_numbers_beside_the_payload(arrived: &[Received], consumed: &[Consumed]) {
    let records = arrived
        .iter()
        .filter(|message| message.json()["seq"].is_u64());
    for message in records {
        let payload = message.json();
        let property = |key: &str| {
            message
                .user_properties
                .iter()
                .find(|(name, _)| name == key)
                .map(|(_, value)| value.clone())
        };
        assert_eq!(property("seq"), Some(payload["seq"].to_string()));
        assert_eq!(
            property("device_seq"),
            Some(payload["device_seq"].to_string())
        );
        assert_eq!(property("stream").as_deref(), payload["stream"].as_str());
    }
    for message in consumed {
        let payload = message.json();
        assert_eq!(message.number("seq"), payload["seq"].as_i64());
        assert_eq!(message.number("device_seq"), payload["device_seq"].as_i64());
    }
}
