//! The floors: the client libraries as their users use them, and a socket that gets one write for many messages.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::FutureExt;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use rumqttc::{AsyncClient, Event, MqttOptions, NetworkOptions, Packet, QoS};
use tokio::runtime::Builder;

use crate::figures::{Figures, Start};
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

/// A window of persistent, mandatory messages with the properties that forebay gives them; the oldest confirm is waited for.
pub(crate) fn lapin(target: &Target, records: usize, messages: &[Bytes]) -> Figures {
    let runtime = forebay::gateway::runtime().unwrap();
    let uri = format!(
        "amqp://guest:guest@127.0.0.1:{}/{}",
        target.port, target.vhost
    );
    runtime.block_on(async {
        let connection = lapin::Connection::connect(&uri, Default::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        let start = Start::now();
        let mut out = VecDeque::new();
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        for seq in 0..records {
            if out.len() == usize::from(target.inflight) {
                taken(out.pop_front()).await;
                while let Some(Some(done)) = out.front_mut().map(FutureExt::now_or_never) {
                    assert!(done.unwrap().is_ack());
                    out.pop_front();
                }
            }
            let message = &messages[seq % messages.len()];
            let published =
                channel.basic_publish("".into(), PLACE.into(), options, message, properties(seq));
            out.push_back(published.await.unwrap());
        }
        while !out.is_empty() {
            taken(out.pop_front()).await;
        }
        let figures = start.end(records);
        connection.close(200, "".into()).await.unwrap();
        figures
    })
}

async fn taken(confirm: Option<lapin::PublisherConfirm>) {
    assert!(confirm.unwrap().await.unwrap().is_ack());
}

fn properties(seq: usize) -> BasicProperties {
    let mut headers = FieldTable::default();
    let number = AMQPValue::LongLongInt(seq as i64);
    headers.insert("stream".into(), AMQPValue::LongString("5f3a9c1e".into()));
    headers.insert("seq".into(), number.clone());
    headers.insert("device_seq".into(), number);
    headers.insert("historical".into(), AMQPValue::Boolean(true));
    headers.insert(
        "timestamp_in_ms".into(),
        AMQPValue::LongLongInt(1_800_000_000_000),
    );
    BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(format!("5f3a9c1e-{seq}").into())
        .with_content_type("application/json".into())
        .with_headers(headers)
        .with_timestamp(1_800_000_000)
}
