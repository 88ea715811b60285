//! The floors: the client libraries as their users use them, and a socket that gets one write for many messages.

use bytes::Bytes;
use rumqttc::{AsyncClient, Event, MqttOptions, NetworkOptions, Packet, QoS};
use tokio::runtime::Builder;

use crate::figures::{Figures, Start};
use crate::shared::confirms::Confirms;
use crate::shared::socket::Socket;
use crate::{PLACE, Target};

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

/// A socket that gets one write for many messages.
pub(crate) fn socket(target: &Target, records: usize, messages: &[Bytes]) -> Figures {
    let mut broker = Socket::connect(target.port);
    let start = Start::now();
    broker.publish(PLACE, target.inflight, records, messages);
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
