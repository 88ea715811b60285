//! What a test asks of the broker itself: queues, exchanges, messages.

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use tokio::task::JoinHandle;

use std::time::Duration;

use super::super::collected::Collected;

/// What a test does at the broker on its own account.
pub struct Client {
    channel: Channel,
    _connection: Connection,
}

impl Client {
    /// As guest, in this virtual host.
    pub(super) async fn of(port: u16, vhost: &str) -> Self {
        let vhost = vhost.replace('/', "%2f");
        let uri = format!("amqp://guest:guest@127.0.0.1:{port}/{vhost}");
        let connection = Connection::connect(&uri, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self {
            channel,
            _connection: connection,
        }
    }

    /// A durable classic queue.
    pub async fn queue(&self, name: &str) {
        self.queue_with(name, &[]).await;
    }

    /// A durable queue with arguments.
    pub async fn queue_with(&self, name: &str, arguments: &[(&str, AMQPValue)]) {
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        self.channel
            .queue_declare(name.into(), options, table)
            .await
            .unwrap();
    }

    /// Deletes a queue with what is in it.
    pub async fn delete_queue(&self, name: &str) {
        self.channel
            .queue_delete(name.into(), Default::default())
            .await
            .unwrap();
    }

    /// Deletes an exchange with its bindings.
    pub async fn delete_exchange(&self, name: &str) {
        self.channel
            .exchange_delete(name.into(), Default::default())
            .await
            .unwrap();
    }

    /// A durable exchange of this kind.
    pub async fn exchange(&self, name: &str, kind: lapin::ExchangeKind) {
        let options = lapin::options::ExchangeDeclareOptions {
            durable: true,
            ..Default::default()
        };
        let declared =
            self.channel
                .exchange_declare(name.into(), kind, options, FieldTable::default());
        declared.await.unwrap();
    }

    /// Binds a queue to an exchange.
    pub async fn bind(&self, queue: &str, exchange: &str, key: &str) {
        let options = Default::default();
        let bound = self.channel.queue_bind(
            queue.into(),
            exchange.into(),
            key.into(),
            options,
            FieldTable::default(),
        );
        bound.await.unwrap();
    }

    /// Publishes a message to an exchange, without asking what became of it.
    pub async fn publish(&self, exchange: &str, key: &str, payload: &[u8]) {
        let (options, properties) = (Default::default(), Default::default());
        let published =
            self.channel
                .basic_publish(exchange.into(), key.into(), options, payload, properties);
        published.await.unwrap();
    }

    /// Consumes a queue, acknowledging what comes.
    pub async fn consume(self, queue: &str) -> Consumer {
        let options = BasicConsumeOptions::default();
        let mut deliveries = self
            .channel
            .basic_consume(queue.into(), "".into(), options, FieldTable::default())
            .await
            .unwrap();
        let collected = Collected::new();
        let into = collected.clone();
        let task = tokio::spawn(async move {
            let _client = self;
            while let Some(Ok(delivery)) = deliveries.next().await {
                into.push(Consumed::from(&delivery));
                if delivery.ack(BasicAckOptions::default()).await.is_err() {
                    return;
                }
            }
        });
        Consumer { collected, task }
    }
}

/// Collects what is in a queue and what comes, until dropped.
pub struct Consumer {
    collected: Collected<Consumed>,
    task: JoinHandle<()>,
}

impl Consumer {
    /// What has arrived so far, in order.
    pub fn received(&self) -> Vec<Consumed> {
        self.collected.all()
    }

    /// Waits until what has arrived fulfils the condition, and returns it; panics after `bound`.
    pub async fn wait_for(
        &self,
        bound: Duration,
        fulfilled: impl FnMut(&[Consumed]) -> bool,
    ) -> Vec<Consumed> {
        self.collected.wait_for(bound, fulfilled).await
    }

    /// Ends consuming and returns all that arrived. A message is collected before it is acknowledged: none can be gone
    /// from the queue and missing here.
    pub async fn stop(mut self) -> Vec<Consumed> {
        self.task.abort();
        let _ended = (&mut self.task).await;
        self.collected.all()
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A message that was consumed.
#[derive(Debug, Clone, PartialEq)]
pub struct Consumed {
    /// As published.
    pub exchange: String,
    /// As published.
    pub routing_key: String,
    /// Property `message-id`.
    pub message_id: Option<String>,
    /// Property `content-type`.
    pub content_type: Option<String>,
    /// Property `delivery-mode`.
    pub delivery_mode: Option<u8>,
    /// Property `timestamp`.
    pub timestamp: Option<u64>,
    /// Headers.
    pub headers: FieldTable,
    /// The bytes.
    pub payload: Vec<u8>,
}

impl Consumed {
    /// The payload as JSON.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.payload).unwrap()
    }

    /// A header that is a number.
    pub fn number(&self, header: &str) -> Option<i64> {
        self.headers.inner().get(header)?.as_long_long_int()
    }
}

impl From<&Delivery> for Consumed {
    fn from(delivery: &Delivery) -> Self {
        let properties = &delivery.properties;
        Self {
            exchange: delivery.exchange.to_string(),
            routing_key: delivery.routing_key.to_string(),
            message_id: properties.message_id().as_ref().map(ToString::to_string),
            content_type: properties.content_type().as_ref().map(ToString::to_string),
            delivery_mode: *properties.delivery_mode(),
            timestamp: *properties.timestamp(),
            headers: properties.headers().clone().unwrap_or_default(),
            payload: delivery.data.clone(),
        }
    }
}
