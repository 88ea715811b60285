//! At real brokers.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::record;
use crate::harness::certs::Certs;
use crate::harness::mosquitto::{Mosquitto, MosquittoSettings, MosquittoTls};
use crate::harness::rabbitmq::RabbitMq;
use crate::harness::verifier::Verifier;

const BOUND: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mosquitto"]
async fn at_an_mqtt_broker_it_proves_what_comes_also_across_a_restart() {
    let mut broker = Mosquitto::start();
    let publisher = broker.subscribe("none").await;
    let publish = |seq: u64| {
        publisher.publish(
            "forebay/x",
            record(seq, "a", seq).to_string().as_bytes(),
            false,
        )
    };
    let retained = record(7, "a", 7).to_string();
    publisher.publish("forebay/describe", retained.as_bytes(), true);
    let earlier = broker.subscribe("forebay/describe").await;
    earlier.wait_for(BOUND, |all| all.len() == 1).await;
    let url = format!("mqtt://127.0.0.1:{}", broker.port());
    let verifier = Verifier::start(&[&url, "--from-start", "--until-idle", "10s"]);
    (1..=50).for_each(&publish);
    broker.stop();
    broker.restart();
    (51..=100).for_each(&publish);
    let (code, result) = verifier.ended(BOUND);
    assert_eq!(
        (code, &result["records"]),
        (Some(0), &json!(100)),
        "{result}"
    );
    // The readings are of yesterday.
    assert_eq!(result["streams"][0]["late"], json!(100), "{result}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mosquitto"]
async fn with_tls_and_a_password_and_what_is_missing_there() {
    let certs = Certs::new();
    let server = certs.server();
    let broker = Mosquitto::start_with(&MosquittoSettings {
        users: vec![("auditor".to_owned(), "secret".to_owned())],
        tls: Some(MosquittoTls {
            ca: certs.ca(),
            cert: server.cert,
            key: server.key,
            client_certificate: false,
        }),
        ..MosquittoSettings::default()
    });
    let publisher = broker.subscribe("none").await;
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let (url, ca) = (format!("mqtts://localhost:{}", broker.port()), certs.ca());
    let verifier = Verifier::start(&[
        &url,
        "--topic",
        "plant/+",
        "--username",
        "auditor",
        "--password-file",
        password.to_str().unwrap(),
        "--ca",
        ca.to_str().unwrap(),
        "--until-idle",
        "3s",
    ]);
    for seq in [1, 2, 5] {
        publisher.publish(
            "plant/x",
            record(seq, "a", seq).to_string().as_bytes(),
            false,
        );
    }
    let (code, result) = verifier.ended(BOUND);
    assert_eq!(code, Some(1), "{result}");
    assert_eq!(
        result["streams"][0]["missing_ranges"][0]["ranges"],
        json!([[3, 4]]),
        "{result}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn at_an_amqp_broker_it_takes_a_copy_from_an_exchange_or_empties_a_queue() {
    let broker = RabbitMq::shared();
    let client = broker.client().await;
    client
        .exchange("telemetry", lapin::ExchangeKind::Topic)
        .await;
    client.queue("all").await;
    client.bind("all", "telemetry", "#").await;
    let url = format!("amqp://127.0.0.1:{}/{}", broker.port(), broker.vhost());
    let copy = Verifier::start(&[&url, "--exchange", "telemetry", "--from-start"]);
    for seq in 1..=20 {
        client
            .publish(
                "telemetry",
                "a.default",
                record(seq, "a", seq).to_string().as_bytes(),
            )
            .await;
    }
    let taker = Verifier::start(&[&url, "--queue", "all", "--from-start", "--until-idle", "3s"]);
    let (code, result) = taker.ended(BOUND);
    assert_eq!(
        (code, &result["records"]),
        (Some(0), &json!(20)),
        "{result}"
    );
    let (code, result) = copy.interrupt();
    assert_eq!(
        (code, &result["records"]),
        (Some(0), &json!(20)),
        "{result}"
    );
}

#[test]
#[ignore = "needs rabbitmq"]
fn what_is_not_there_is_for_the_consumer_to_check() {
    let broker = RabbitMq::shared();
    let url = format!("amqp://127.0.0.1:{}/{}", broker.port(), broker.vhost());
    for place in ["queue", "exchange"] {
        let output = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["verify", &url, &format!("--{place}"), "nowhere"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        let told = format!("NOT_FOUND - no {place} 'nowhere'");
        assert!(
            output.status.code() == Some(1) && text.contains(&told),
            "{text}"
        );
        let advice = ": check its name, and the virtual host (the path of the URL)\n";
        assert!(text.contains(advice) && !text.contains("declare"), "{text}");
    }
}
