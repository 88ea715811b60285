//! Over TLS, with a certificate of our own.

use serde_json::json;

use super::rig::*;
use crate::harness::certs::{Certs, Identity};
use crate::harness::gateway::Gateway;
use crate::harness::modbus::ModbusServer;
use crate::harness::mosquitto::{Mosquitto, MosquittoSettings, MosquittoTls};
use crate::harness::rabbitmq::RabbitMq;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs pymodbus, mosquitto, rabbitmq"]
async fn both_brokers_over_tls_with_a_client_certificate_and_a_password() {
    let certs = Certs::new();
    let (server, client) = (certs.server(), certs.client("hall-2"));
    let mosquitto = Mosquitto::start_with(&MosquittoSettings {
        users: vec![("hall-2".to_owned(), "secret".to_owned())],
        tls: Some(MosquittoTls {
            ca: certs.ca(),
            cert: server.cert.clone(),
            key: server.key.clone(),
            client_certificate: true,
        }),
        ..MosquittoSettings::default()
    });
    let rabbit = RabbitMq::shared();
    topology(&rabbit, "all").await;
    let amqps = rabbit.listen_tls(&certs, &server);
    let subscriber = mosquitto.subscribe("forebay/#").await;
    let consumer = rabbit.client().await.consume("all").await;
    let device = ModbusServer::tcp(0, &json!({"1": {"holding": {"0": [7]}}}));

    let tls = tls_line(&certs, &client);
    let line = tcp_device("press", device.port, "one", "100ms");
    let config = format!(
        "{line}[upstream.local]\nkind = \"mqtt\"\nurl = \"mqtts://localhost:{}\"\nversion = \"5\"\n\
         username = \"hall-2\"\npassword = {{ file = \"password\" }}\n{tls}\
         [upstream.mes]\nkind = \"amqp\"\nurl = \"amqps://localhost:{amqps}/{}\"\nexchange = \"telemetry\"\n\
         routing_key = \"{{device}}\"\n{tls}",
        mosquitto.port(),
        rabbit.vhost()
    );
    let map = "title = \"one\"\nsource = \"made for the tests\"\n[points]\na = { holding = 0, type = \"u16\" }\n";
    let mut gateway = Gateway::new(&config, &[("one", map)]);
    std::fs::write(gateway.folder().join("password"), "secret\n").unwrap();
    gateway.start();
    subscriber.wait_for(BOUND, |all| all.len() > 20).await;
    consumer.wait_for(BOUND, |all| all.len() > 20).await;
    stop(&mut gateway);
    let arrived = all_of(&subscriber).await;
    let consumed = all_of_amqp(&consumer).await;
    ledger_of(&arrived).assert_complete();
    ledger_of_amqp(&consumed).assert_complete();
    assert!(!gateway.log().contains("secret"), "{}", gateway.log());
}

fn tls_line(certs: &Certs, client: &Identity) -> String {
    format!(
        "tls = {{ ca = {:?}, cert = {:?}, key = {:?} }}\n",
        certs.ca(),
        client.cert,
        client.key
    )
}
