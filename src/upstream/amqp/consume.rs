//! The other side: a consumer, for those who check what arrived.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::types::{FieldTable, ShortString};
use lapin::{AsyncTcpStream, Channel, ConnectionProperties, Consumer};
use tokio::time::timeout;

use super::access::uri_of;
use super::failure::failure_to_consume;
use super::link::{self, Cut};
use super::{CLOSE_TIMEOUT, OPEN_TIMEOUT};
use crate::upstream::error::UpstreamError;
use crate::upstream::subscription::{AmqpSource, Arrival, Reach};

/// Messages that the broker sends ahead of our acknowledgements.
const AHEAD: u16 = 500;
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A consumer of a queue, or of an exchange by a queue of its own that goes with the connection.
pub(in crate::upstream) struct Subscription {
    /// First, so that it is dropped first: from then on nothing of the library waits for the broker.
    _cut: Cut,
    library: lapin::Connection,
    consumer: Consumer,
}

impl Subscription {
    /// Connects and begins to consume, within 20 s.
    pub(in crate::upstream) async fn open(
        reach: &Reach,
        vhost: &str,
        source: &AmqpSource,
    ) -> Result<Self, UpstreamError> {
        timeout(OPEN_TIMEOUT, Self::connect(reach, vhost, source))
            .await
            .map_err(|_| UpstreamError::Timeout("connecting", OPEN_TIMEOUT))?
    }

    async fn connect(
        reach: &Reach,
        vhost: &str,
        source: &AmqpSource,
    ) -> Result<Self, UpstreamError> {
        let uri = uri_of(&reach.endpoint, vhost, reach.login.as_ref(), KEEP_ALIVE)?;
        let (stream, cut) = link::open(&reach.endpoint).await?;
        let stream = Mutex::new(Some(stream));
        let connect = async move |_, _| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            let ended = || std::io::Error::other("the broker closed the connection at once").into();
            stream.map(AsyncTcpStream::Plain).ok_or_else(ended)
        };
        let properties =
            ConnectionProperties::default().with_connection_name("forebay verify".into());
        let library = lapin::Connection::connector(uri, link::runtime(), connect, properties)
            .await
            .map_err(|error| failure_to_consume(&error).without_certificate(&reach.endpoint))?;
        let consumer = consume(&library, source)
            .await
            .map_err(|error| failure_to_consume(&error))?;
        Ok(Self {
            _cut: cut,
            library,
            consumer,
        })
    }

    /// The next message, which is acknowledged at once. After an error the consumer is of no use any more.
    pub(in crate::upstream) async fn next(&mut self) -> Result<Arrival, UpstreamError> {
        let delivery = match self.consumer.next().await {
            Some(Ok(delivery)) => delivery,
            Some(Err(error)) => return Err(failure_to_consume(&error)),
            None => {
                let reason = "the broker ended the consumer: was the queue deleted?";
                return Err(UpstreamError::Closed(reason.to_owned()));
            }
        };
        let acknowledged = delivery.ack(BasicAckOptions::default()).await;
        acknowledged.map_err(|error| failure_to_consume(&error))?;
        Ok(Arrival::Message(delivery.data.into()))
    }

    /// Takes leave, within a second.
    pub(in crate::upstream) async fn close(self) {
        // Too late or already broken: cutting the stream is a leave as well, only less polite.
        let _ = timeout(CLOSE_TIMEOUT, self.library.close(REPLY_SUCCESS, "".into())).await;
    }
}

async fn consume(
    library: &lapin::Connection,
    source: &AmqpSource,
) -> Result<Consumer, lapin::Error> {
    let channel = library.create_channel().await?;
    channel.basic_qos(AHEAD, BasicQosOptions::default()).await?;
    let queue = match source {
        AmqpSource::Queue(queue) => queue.as_str().into(),
        AmqpSource::Exchange { exchange, key } => own_queue(&channel, exchange, key).await?,
    };
    let (tag, options) = ("".into(), BasicConsumeOptions::default());
    channel
        .basic_consume(queue, tag, options, FieldTable::default())
        .await
}

/// A queue that nobody else sees and that goes with the connection.
async fn own_queue(
    channel: &Channel,
    exchange: &str,
    key: &str,
) -> Result<ShortString, lapin::Error> {
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare("".into(), options, FieldTable::default());
    let name = declared.await?.name().clone();
    let (exchange, key) = (exchange.into(), key.into());
    let options = QueueBindOptions::default();
    channel
        .queue_bind(name.clone(), exchange, key, options, FieldTable::default())
        .await?;
    Ok(name)
}
