//! An MQTT 5 client that collects what a broker hands out.

use std::time::Duration;

use bytes::Bytes;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{Filter, Packet, Publish, RetainForwardRule};
use rumqttc::v5::{AsyncClient, Event, EventLoop, MqttOptions};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::collected::Collected;

/// Most messages that the broker has out to a subscriber: what it has not acknowledged comes again when the broker finds
/// it silent, as after a freeze, and is no repetition of the publisher's.
const UNACKNOWLEDGED: u16 = 20;

/// A message that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Received {
    /// Topic.
    pub topic: String,
    /// The bytes.
    pub payload: Bytes,
    /// As the publisher set it.
    pub retain: bool,
    /// MQTT 5 user properties.
    pub user_properties: Vec<(String, String)>,
    /// MQTT 5 content type.
    pub content_type: Option<String>,
    /// MQTT 5 message expiry interval, seconds: what is left of it.
    pub expires_in: Option<u32>,
}

impl Received {
    /// The payload as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap()
    }
}

/// A subscription with quality of service 1 and a session that outlives the connection. It connects again by
/// itself; retained messages come once, at its first subscription.
pub struct Subscriber {
    collected: Collected<Received>,
    client: AsyncClient,
    task: JoinHandle<()>,
}

impl Subscriber {
    /// Connects to a loopback port and waits until the broker has taken the subscription.
    pub async fn start(port: u16, filter: &str) -> Self {
        let name = format!("subscriber-{:016x}", fastrand::u64(..));
        let mut options = MqttOptions::new(name, "127.0.0.1", port);
        options
            .set_clean_start(false)
            .set_session_expiry_interval(Some(3600))
            .set_receive_maximum(Some(UNACKNOWLEDGED))
            .set_max_packet_size(Some(16 << 20))
            .set_keep_alive(Duration::from_secs(5));
        let (client, connection) = AsyncClient::new(options, 10_000);
        let collected = Collected::new();
        let (ready, mut is_ready) = watch::channel(false);
        let collector = Collector {
            filter: filter.to_owned(),
            client: client.clone(),
            collected: collected.clone(),
            ready,
        };
        let task = tokio::spawn(collector.run(connection));
        let subscribed = timeout(Duration::from_secs(10), is_ready.wait_for(|ready| *ready)).await;
        subscribed.expect("no subscription within 10 s").unwrap();
        Self {
            collected,
            client,
            task,
        }
    }

    /// What has arrived so far, in order.
    pub fn received(&self) -> Vec<Received> {
        self.collected.all()
    }

    /// Waits until what has arrived fulfils the condition, and returns it; panics after `bound`.
    pub async fn wait_for(
        &self,
        bound: Duration,
        fulfilled: impl FnMut(&[Received]) -> bool,
    ) -> Vec<Received> {
        self.collected.wait_for(bound, fulfilled).await
    }

    /// Publishes with quality of service 1.
    pub fn publish(&self, topic: &str, payload: &[u8], retain: bool) {
        let payload = payload.to_vec();
        let sent = self
            .client
            .try_publish(topic, QoS::AtLeastOnce, retain, payload);
        sent.unwrap();
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Collector {
    filter: String,
    client: AsyncClient,
    collected: Collected<Received>,
    ready: watch::Sender<bool>,
}

impl Collector {
    async fn run(self, mut connection: EventLoop) {
        loop {
            match connection.poll().await {
                Ok(Event::Incoming(packet)) => self.take(packet),
                Ok(Event::Outgoing(_)) => {}
                Err(_) => sleep(Duration::from_millis(100)).await,
            }
        }
    }

    fn take(&self, packet: Packet) {
        match packet {
            Packet::ConnAck(_) => {
                let filter = Filter {
                    path: self.filter.clone(),
                    qos: QoS::AtLeastOnce,
                    preserve_retain: true,
                    retain_forward_rule: RetainForwardRule::OnNewSubscribe,
                    ..Filter::default()
                };
                self.client.try_subscribe_many([filter]).unwrap();
            }
            Packet::SubAck(_) => {
                self.ready.send_replace(true);
            }
            Packet::Publish(publish) => {
                self.collected.push(received(&publish));
            }
            _ => {}
        }
    }
}

fn received(publish: &Publish) -> Received {
    let properties = publish.properties.clone().unwrap_or_default();
    Received {
        topic: String::from_utf8(publish.topic.to_vec()).unwrap(),
        payload: publish.payload.clone(),
        retain: publish.retain,
        user_properties: properties.user_properties,
        content_type: properties.content_type,
        expires_in: properties.message_expiry_interval,
    }
}
