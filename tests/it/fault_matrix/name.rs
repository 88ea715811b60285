//! A broker whose name leads nowhere, then elsewhere, then to it: the daemon with an upstream of each kind in both orders.

use std::net::TcpListener;
use std::time::Duration;

use forebay::upstream::settings::MqttVersion;
use tokio::time::{sleep, timeout};

use super::proved;
use crate::field::rig;
use crate::forward::memory::BOUND;
use crate::harness::gateway::Gateway;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::rabbitmq::{Consumed, Consumer, RabbitMq};
use crate::harness::subscriber::{Received, Subscriber};

const NAME: &str = "broker.forebay.test";
/// A loopback address at which no broker listens.
const ELSEWHERE: &str = "127.0.0.77";
const MAP: &str = "title = \"one\"\nsource = \"made for the tests\"\n[points]\na = { holding = 0, type = \"u16\" }\n";
const ORDERS: [&str; 2] = ["oldest-first", "live-first"];
/// The last of the gateway's records when it stops in order.
const LAST: &str = "\"event\":\"gateway-stopping\"";

fn mqtt(port: u16, version: MqttVersion, nth: usize) -> (String, String) {
    let (short, long) = match version {
        MqttVersion::V3 => ("three", "3.1.1"),
        MqttVersion::V5 => ("five", "5"),
    };
    let name = format!("{short}-{nth}");
    let upstream = format!(
        "[upstream.{name}]\nkind = \"mqtt\"\nurl = \"mqtt://{NAME}:{port}\"\nversion = \"{long}\"\nstart = \"oldest\"\n\
         delivery = \"{}\"\ntopic = \"{{upstream}}/{{device}}/{{scan}}\"\nevent_topic = \"{{upstream}}/event\"\n\
         describe_topic = \"{{upstream}}/{{device}}/describe\"\n",
        ORDERS[nth]
    );
    (name, upstream)
}

fn amqp(broker: &RabbitMq, nth: usize) -> (String, String) {
    let name = format!("queue-{nth}");
    let upstream = format!(
        "[upstream.{name}]\nkind = \"amqp\"\nurl = \"amqp://{NAME}:{}/{}\"\nexchange = \"amq.topic\"\nstart = \"oldest\"\n\
         delivery = \"{}\"\nrouting_key = \"{{upstream}}.{{device}}.{{scan}}\"\nevent_routing_key = \"{{upstream}}.event\"\n\
         describe_routing_key = \"{{upstream}}.{{device}}.describe\"\n",
        broker.port(),
        broker.vhost(),
        ORDERS[nth]
    );
    (name, upstream)
}

/// Where an upstream's records arrive.
enum Destination {
    Topic(Subscriber),
    Queue(Consumer),
}

impl Destination {
    /// All that arrived, once so much did.
    async fn arrived(&self, fulfilled: impl Fn(&[Vec<u8>]) -> bool) -> Vec<Vec<u8>> {
        let look = async {
            loop {
                let all: Vec<Vec<u8>> = match self {
                    Self::Topic(subscriber) => {
                        let all = subscriber.received();
                        all.iter()
                            .map(|one: &Received| one.payload.to_vec())
                            .collect()
                    }
                    Self::Queue(consumer) => {
                        let all = consumer.received();
                        all.into_iter().map(|one: Consumed| one.payload).collect()
                    }
                };
                if fulfilled(&all) {
                    return all;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(BOUND, look).await.expect("not all came")
    }
}

/// Waits until somebody has knocked so often.
async fn knocked(listener: TcpListener, times: usize) {
    let knocks = tokio::task::spawn_blocking(move || {
        (0..times).for_each(|_| drop(listener.accept().unwrap()));
    });
    timeout(BOUND, knocks).await.expect("nobody came").unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs unshare, mosquitto, rabbitmq"]
async fn a_name_that_is_wrong_and_then_right_costs_nothing() {
    if !Gateway::may_name_hosts() {
        eprintln!(
            "skipped: this process may not give a daemon host names of its own (unshare --mount)"
        );
        return;
    }
    let (mosquitto, rabbitmq) = (Mosquitto::start(), RabbitMq::shared());
    let device = rig::device(1, 1);
    let (port, _server) = rig::serve(0, vec![device.clone()]).await;
    let mut config = format!(
        "[line.plant]\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{port}\"\n\
         [device.press]\nline = \"plant\"\nmap = \"one\"\nevery = \"50ms\"\n"
    );
    let mut destinations = Vec::new();
    for nth in 0..ORDERS.len() {
        for version in [MqttVersion::V3, MqttVersion::V5] {
            let (name, upstream) = mqtt(mosquitto.port(), version, nth);
            let subscriber = mosquitto.subscribe(&format!("{name}/#")).await;
            destinations.push(Destination::Topic(subscriber));
            config.push_str(&upstream);
        }
        let (name, upstream) = amqp(&rabbitmq, nth);
        let client = rabbitmq.client().await;
        client.queue(&name).await;
        client.bind(&name, "amq.topic", &format!("{name}.#")).await;
        destinations.push(Destination::Queue(client.consume(&name).await));
        config.push_str(&upstream);
    }
    let elsewhere = [mosquitto.port(), rabbitmq.port()]
        .map(|port| TcpListener::bind((ELSEWHERE, port)).unwrap());

    let mut gateway = Gateway::new(&config, &[("one", MAP)]);
    gateway.name_hosts("127.0.0.1 localhost\n");
    gateway.launch();
    let away = || gateway.log().matches("broker is away").count();
    let noticed = async {
        while away() < destinations.len() || device.requests() < 50 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(BOUND, noticed).await.expect("all names were right");
    gateway.name_hosts(&format!("{ELSEWHERE} {NAME}\n"));
    let [at_mosquitto, at_rabbitmq] = elsewhere;
    tokio::join!(knocked(at_mosquitto, 4), knocked(at_rabbitmq, 2));
    gateway.name_hosts(&format!("127.0.0.1 {NAME}\n"));
    for destination in &destinations {
        destination.arrived(|all| !all.is_empty()).await;
    }
    // All are connected: once each has what was read until now, it has caught up, and gets the rest as it is read.
    let polls = device.requests();
    for destination in &destinations {
        destination.arrived(|all| all.len() as u64 > polls).await;
    }
    assert!(gateway.stop().success(), "{}", gateway.log());
    for destination in &destinations {
        let last = |all: &[Vec<u8>]| {
            all.iter()
                .rev()
                .take(20)
                .any(|one| String::from_utf8_lossy(one).contains(LAST))
        };
        let report = proved(&destination.arrived(last).await);
        assert!(
            report.is_complete() && report.reordered() == 0,
            "{report:#?}"
        );
    }
    assert_eq!(
        gateway.log().matches("broker is away").count(),
        destinations.len(),
        "{}",
        gateway.log()
    );
}
