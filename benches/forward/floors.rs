//! The floors: the client libraries as their users use them, and a socket that gets one write for many messages.

use bytes::Bytes;
use rumqttc::v5::mqttbytes::v5 as packets_5;
use rumqttc::{AsyncClient, Event, MqttOptions, NetworkOptions, Packet, QoS, v5};
use tokio::runtime::Builder;

use crate::figures::{Figures, Start};
use crate::shared::confirms::Confirms;
use crate::shared::socket::{self, Socket};
use crate::{PLACE, Target};

/// Of all of forebay's messages.
const CONTENT_TYPE: &str = "application/json";

/// A window of publishes, one poll after the other.
pub(crate) fn rumqttc(target: &Target, records: usize, messages: &[Bytes]) -> Figures {
    let mut options = MqttOptions::new("raw", "127.0.0.1", target.port);
    options
        .set_inflight(target.inflight)
        .set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = AsyncClient::new(options, target.inflight.into());
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let start = Start::now();
        let (mut next, mut out, mut done) = (0, 0, 0);
        while done < records {
            while out < target.inflight && next < records {
                let message = messages[next % messages.len()].clone();
                client
                    .publish_bytes(PLACE, QoS::AtLeastOnce, false, message)
                    .await
                    .unwrap();
                (next, out) = (next + 1, out + 1);
            }
            if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.unwrap() {
                (out, done) = (out - 1, done + 1);
            }
        }
        start.end(records)
    })
}

/// The same over MQTT 5, with the properties that forebay gives its messages.
pub(crate) fn rumqttc_5(target: &Target, records: usize, messages: &[Bytes]) -> Figures {
    let mut options = v5::MqttOptions::new("raw", "127.0.0.1", target.port);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    options
        .set_outgoing_inflight_upper_limit(target.inflight)
        .set_network_options(network);
    let (client, mut events) = v5::AsyncClient::new(options, target.inflight.into());
    let qos = v5::mqttbytes::QoS::AtLeastOnce;
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let start = Start::now();
        let (mut next, mut out, mut done) = (0, 0, 0);
        while done < records {
            while out < target.inflight && next < records {
                let message = messages[next % messages.len()].clone();
                let properties = packets_5::PublishProperties {
                    content_type: Some(CONTENT_TYPE.to_owned()),
                    user_properties: place(next),
                    ..Default::default()
                };
                client
                    .publish_bytes_with_properties(PLACE, qos, false, message, properties)
                    .await
                    .unwrap();
                (next, out) = (next + 1, out + 1);
            }
            let event = events.poll().await.unwrap();
            if let v5::Event::Incoming(packets_5::Packet::PubAck(_)) = event {
                (out, done) = (out - 1, done + 1);
            }
        }
        start.end(records)
    })
}

/// The user properties of a record.
fn place(seq: usize) -> Vec<(String, String)> {
    let seq = (seq + 2).to_string();
    [
        ("stream", "5f3a9c1e".to_owned()),
        ("seq", seq.clone()),
        ("device_seq", seq),
        ("historical", "true".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// A socket that gets one write for many messages.
pub(crate) fn socket(target: &Target, records: usize, messages: &[Bytes]) -> Figures {
    let mut broker = Socket::connect(target.port);
    let start = Start::now();
    broker.publish(PLACE, target.inflight, records, messages);
    start.end(records)
}

/// The same over MQTT 5, with the properties that forebay gives its messages, or with none.
pub(crate) fn socket_5(target: &Target, records: usize, messages: &[Bytes], bare: bool) -> Figures {
    let with_properties = |(seq, message): (usize, &Bytes)| {
        let mut whole = match bare {
            true => vec![0],
            false => socket::properties(CONTENT_TYPE, &place(seq)),
        };
        whole.extend_from_slice(message);
        whole
    };
    let messages: Vec<_> = messages.iter().enumerate().map(with_properties).collect();
    let mut broker = Socket::connect_5(target.port);
    let start = Start::now();
    broker.publish(PLACE, target.inflight, records, &messages);
    start.end(records)
}

/// A window of messages as forebay makes them; the oldest confirm is waited for.
pub(crate) fn lapin(target: &Target, records: usize, messages: &[Bytes]) -> Figures {
    forebay::gateway::runtime().unwrap().block_on(async {
        let mut broker = Confirms::connect(target.port, &target.vhost).await;
        let start = Start::now();
        broker
            .publish(("", PLACE), target.inflight, records, messages)
            .await;
        let figures = start.end(records);
        broker.close().await;
        figures
    })
}
