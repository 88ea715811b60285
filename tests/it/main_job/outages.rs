//! Brokers that go away, hang, cut the connection, or have no queue: polling goes on, nothing is lost.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::rig::*;
use crate::harness::gateway::Gateway;
use crate::harness::ledger::Ledger;
use crate::harness::modbus::ModbusServer;
use crate::harness::proxy::Proxy;
use crate::harness::rabbitmq::{Consumed, RabbitMq};
use crate::harness::subscriber::Subscriber;

const EVERY: Duration = Duration::from_millis(50);
const MAP: &str = "title = \"counter\"\nsource = \"made for the tests\"\n[points]\n\
                   a = { holding = 0, type = \"u16\" }\nb = { holding = 1, type = \"f32\" }\n";

fn device() -> (ModbusServer, String) {
    let server = ModbusServer::tcp(0, &json!({"1": {"holding": {"0": [7, 0x4366, 0x199A]}}}));
    let line = tcp_device("press", server.port, "counter", "50ms");
    (server, line)
}

fn away() -> Duration {
    Duration::from_secs(share(30, 8))
}

async fn finish(gateway: &mut Gateway, subscriber: &Subscriber) -> Ledger {
    live(subscriber).await;
    stop(gateway);
    ledger_of(&all_of(subscriber).await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs pymodbus, mosquitto"]
async fn an_mqtt_broker_that_is_stopped_and_one_that_is_frozen_cost_nothing() {
    let (_server, line) = device();
    let mut broker = mosquitto();
    let subscriber = broker.subscribe("forebay/#").await;
    let mut gateway = Gateway::new(
        &format!("{line}{}", mqtt_upstream(broker.port(), "3.1.1")),
        &[("counter", MAP)],
    );
    gateway.start();
    subscriber.wait_for(BOUND, |all| all.len() > 50).await;
    broker.stop();
    sleep(away()).await;
    broker.restart();
    live(&subscriber).await;
    broker.freeze();
    sleep(away()).await;
    broker.thaw();
    let ledger = finish(&mut gateway, &subscriber).await;
    ledger.assert_complete();
    // What was out when the broker stopped, froze, or was given up.
    assert!(
        ledger.duplicates() <= 3 * 50,
        "{} records came twice",
        ledger.duplicates()
    );
    assert_period(&ledger, "press", EVERY, "the broker was away");
    assert_eq!(
        gateway.log().matches("ERROR").count(),
        0,
        "{}",
        gateway.log()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs pymodbus, mosquitto"]
async fn connections_cut_in_the_middle_of_a_window_cost_nothing() {
    let (_server, line) = device();
    let broker = mosquitto();
    let subscriber = broker.subscribe("forebay/#").await;
    let proxy = Proxy::to(broker.port()).await;
    let mut gateway = Gateway::new(
        &format!("{line}{}", mqtt_upstream(proxy.port(), "5")),
        &[("counter", MAP)],
    );
    gateway.start();
    live(&subscriber).await;
    for cut in 0..share(20, 5) {
        // While nobody takes anything a window's worth gathers; the link breaks somewhere in it.
        proxy.pause();
        sleep(Duration::from_millis(500)).await;
        proxy.cut_after(i64::try_from(700 + cut * 611).unwrap());
        proxy.resume();
        let back = || gateway.log().matches("broker is back").count() as u64 > cut;
        tokio::time::timeout(BOUND, async {
            while !back() {
                sleep(Duration::from_millis(50)).await;
            }
        })
        .await
        .expect("the cut is noticed and mended");
    }
    let ledger = finish(&mut gateway, &subscriber).await;
    ledger.assert_complete();
    assert!(
        ledger.duplicates() <= share(20, 5) * 50,
        "{} records came twice",
        ledger.duplicates()
    );
    assert_period(&ledger, "press", EVERY, "the link was cut");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs pymodbus, rabbitmq"]
async fn an_amqp_broker_that_is_stopped_frozen_or_without_the_queue_costs_nothing() {
    let (_server, line) = device();
    let broker = RabbitMq::own();
    broker
        .client()
        .await
        .exchange("telemetry", lapin::ExchangeKind::Topic)
        .await;
    let mut gateway = Gateway::new(
        &format!("{line}{}", amqp_upstream(broker.port(), broker.vhost())),
        &[("counter", MAP)],
    );
    gateway.start();
    // No queue takes anything yet: the broker returns all of it.
    sleep(Duration::from_secs(share(20, 4))).await;
    topology(&broker, "all").await;
    let first = broker.client().await.consume("all").await;
    first.wait_for(BOUND, |all| all.len() > 100).await;
    // All that it acknowledged is gone from the queue: what it has is complete only once it has ended.
    let before = first.stop().await;
    broker.stop();
    sleep(away()).await;
    broker.start();
    broker.freeze();
    sleep(away()).await;
    broker.thaw();
    let second = broker.client().await.consume("all").await;
    live_amqp(&second).await;
    stop(&mut gateway);
    let rest = all_of_amqp(&second).await;
    let ledger = Ledger::of(before.iter().chain(&rest).map(Consumed::json));
    ledger.assert_complete();
    assert_period(&ledger, "press", EVERY, "the broker was away");
}
