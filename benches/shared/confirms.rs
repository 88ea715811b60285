//! The floor of AMQP: the client library with a window of persistent, mandatory messages, and the properties that forebay
//! gives them.

use std::collections::VecDeque;

use futures_util::FutureExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, PublisherConfirm};

/// A connection with a channel that confirms.
pub(crate) struct Confirms {
    connection: Connection,
    channel: Channel,
}

impl Confirms {
    pub(crate) async fn connect(port: u16, vhost: &str) -> Self {
        let uri = uri(port, vhost);
        let connection = Connection::connect(&uri, Default::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let options = ConfirmSelectOptions::default();
        channel.confirm_select(options).await.unwrap();
        Self {
            connection,
            channel,
        }
    }

    /// Publishes `count` messages to an exchange with a key, those of `messages` in turn, and at most `inflight` of them
    /// unanswered: the oldest confirm is waited for. The broker has confirmed all by the end.
    pub(crate) async fn publish(
        &mut self,
        (exchange, key): (&str, &str),
        inflight: u16,
        count: usize,
        messages: &[impl AsRef<[u8]>],
    ) {
        let mut out = VecDeque::new();
        let options = BasicPublishOptions {
            mandatory: true,
            ..Default::default()
        };
        for seq in 0..count {
            if out.len() == usize::from(inflight) {
                taken(out.pop_front()).await;
                while let Some(Some(done)) = out.front_mut().map(FutureExt::now_or_never) {
                    assert!(done.unwrap().is_ack());
                    out.pop_front();
                }
            }
            let message = messages[seq % messages.len()].as_ref();
            let (exchange, key) = (exchange.into(), key.into());
            let published =
                (self.channel).basic_publish(exchange, key, options, message, properties(seq));
            out.push_back(published.await.unwrap());
        }
        while !out.is_empty() {
            taken(out.pop_front()).await;
        }
    }

    pub(crate) async fn close(self) {
        self.connection.close(200, "".into()).await.unwrap();
    }
}

/// Where user guest finds a virtual host.
pub(crate) fn uri(port: u16, vhost: &str) -> String {
    let vhost = vhost.replace('/', "%2f");
    format!("amqp://guest:guest@127.0.0.1:{port}/{vhost}")
}

async fn taken(confirm: Option<PublisherConfirm>) {
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
