//! What the scenarios share.

use std::time::Duration;

use crate::harness::gateway::Gateway;
use crate::harness::ledger::Ledger;
use crate::harness::mosquitto::Mosquitto;
use crate::harness::rabbitmq::{Consumed, Consumer, RabbitMq};
use crate::harness::subscriber::{Received, Subscriber};

/// How long anything that must happen may take on a loaded machine.
pub(super) const BOUND: Duration = Duration::from_secs(120);

pub(super) use crate::harness::share;

/// `[upstream.local]`: MQTT on this loopback port, quick to notice that a broker is gone.
pub(super) fn mqtt_upstream(port: u16, version: &str) -> String {
    format!(
        "[upstream.local]\nkind = \"mqtt\"\nurl = \"mqtt://127.0.0.1:{port}\"\nversion = \"{version}\"\n\
         keep_alive = \"5s\"\nack_timeout = \"5s\"\ninflight = 50\n"
    )
}

/// `[upstream.mes]`: AMQP to the exchange `telemetry` of this broker.
pub(super) fn amqp_upstream(port: u16, vhost: &str) -> String {
    let vhost = vhost.replace('/', "%2F");
    format!(
        "[upstream.mes]\nkind = \"amqp\"\nurl = \"amqp://127.0.0.1:{port}/{vhost}\"\nexchange = \"telemetry\"\n\
         routing_key = \"{{device}}.{{scan}}\"\nevent_routing_key = \"event\"\n\
         describe_routing_key = \"{{device}}.describe\"\nkeep_alive = \"5s\"\nack_timeout = \"5s\"\ninflight = 50\n"
    )
}

/// A TCP line with one device of this map.
pub(super) fn tcp_device(name: &str, port: u16, map: &str, every: &str) -> String {
    format!(
        "[line.{name}-line]\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{port}\"\n\
         [device.{name}]\nline = \"{name}-line\"\nmap = \"{map}\"\nevery = \"{every}\"\n"
    )
}

/// Exchange `telemetry`, and a queue that takes all of it.
pub(super) async fn topology(broker: &RabbitMq, queue: &str) {
    let client = broker.client().await;
    client
        .exchange("telemetry", lapin::ExchangeKind::Topic)
        .await;
    client.queue(queue).await;
    client.bind(queue, "telemetry", "#").await;
}

/// What arrived over MQTT.
pub(super) fn ledger_of(messages: &[Received]) -> Ledger {
    Ledger::of(messages.iter().map(Received::json))
}

/// What arrived over AMQP.
pub(super) fn ledger_of_amqp(messages: &[Consumed]) -> Ledger {
    Ledger::of(messages.iter().map(Consumed::json))
}

/// The last of the gateway's records when it stops in order. Looked for among the newest only: this is asked at every
/// arrival.
const LAST: &[u8] = b"\"event\":\"gateway-stopping\"";

fn is_last(payload: &[u8]) -> bool {
    payload.windows(LAST.len()).any(|part| part == LAST)
}

/// All that arrived over MQTT, once the gateway's last record is among it.
pub(super) async fn all_of(subscriber: &Subscriber) -> Vec<Received> {
    let complete = |all: &[Received]| {
        all.iter()
            .rev()
            .take(20)
            .any(|message| is_last(&message.payload))
    };
    subscriber.wait_for(BOUND, complete).await
}

/// All that arrived over AMQP, once the gateway's last record is among it.
pub(super) async fn all_of_amqp(consumer: &Consumer) -> Vec<Consumed> {
    let complete = |all: &[Consumed]| {
        all.iter()
            .rev()
            .take(20)
            .any(|message| is_last(&message.payload))
    };
    consumer.wait_for(BOUND, complete).await
}

/// Waits until a scan arrives that was read just now: the backlog is through, and how many had arrived by then.
pub(super) async fn live(subscriber: &Subscriber) -> usize {
    let fresh = |all: &[Received]| all.last().is_some_and(|last| is_fresh(&last.json()));
    subscriber.wait_for(BOUND, fresh).await.len()
}

/// As [`live`], over AMQP.
pub(super) async fn live_amqp(consumer: &Consumer) {
    let fresh = |all: &[Consumed]| all.last().is_some_and(|last| is_fresh(&last.json()));
    consumer.wait_for(BOUND, fresh).await;
}

fn is_fresh(message: &serde_json::Value) -> bool {
    let time = message["time"].as_str().map(str::parse::<jiff::Timestamp>);
    time.and_then(Result::ok)
        .is_some_and(|time| jiff::Timestamp::now().duration_since(time).as_secs_f64() < 1.0)
}

/// Stops the daemon and asserts that it ended in order.
pub(super) fn stop(gateway: &mut Gateway) {
    let status = gateway.stop();
    assert!(status.success(), "{status}");
}

/// Asserts that a device's scans kept their period while `what` happened.
pub(super) fn assert_period(ledger: &Ledger, device: &str, period: Duration, what: &str) {
    let times: Vec<jiff::Timestamp> = ledger
        .scans(device)
        .iter()
        .map(|scan| scan["time"].as_str().unwrap().parse().unwrap())
        .collect();
    assert!(times.len() > 10, "{what}: only {} scans", times.len());
    let span = times[times.len() - 1]
        .duration_since(times[0])
        .as_secs_f64();
    let expected = span / period.as_secs_f64();
    let lost = expected - (times.len() - 1) as f64;
    // A loaded machine may hold up a process, and the device that it asks; an upstream that holds up polling does so for as long
    // as it is away: a quarter of the time and more, in one piece.
    assert!(
        lost.abs() <= 0.15 * expected + 2.0,
        "{what}: {lost:.1} of {expected:.0} scans were not made"
    );
    let gaps = times
        .windows(2)
        .map(|pair| pair[1].duration_since(pair[0]).as_secs_f64());
    let longest = gaps.fold(0.0, f64::max);
    assert!(
        longest < period.as_secs_f64() * 2.0 + 3.0,
        "{what}: {longest:.2} s between two scans"
    );
}

/// A broker under MQTT that can be taken away; for the scenarios that need nothing else of it.
pub(super) fn mosquitto() -> Mosquitto {
    Mosquitto::start()
}
