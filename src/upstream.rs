//! Messages -> broker: one connection to one destination, and what it answered.

pub mod amqp;
pub mod error;
mod link;
pub mod message;
pub mod mqtt;
pub mod probe;
pub mod secret;
pub mod settings;
pub mod subscription;
pub mod tls;

use error::UpstreamError;
use message::{Assurance, Incoming, Message};
use settings::UpstreamSettings;

/// A connection to one broker, from its opening to its end; a new one is a new value.
///
/// Nothing is repeated in here: what was not answered when it ends is unknown, and the forwarder sends it again.
pub enum Connection {
    /// MQTT 3.1.1 or 5.
    Mqtt(Box<mqtt::Connection>),
    /// AMQP 0-9-1.
    Amqp(Box<amqp::Connection>),
}

impl Connection {
    /// Connects to the endpoint of this index (counted modulo the number of endpoints), authenticates, and waits for the
    /// broker's consent. `will` is published by the broker when the connection breaks; kinds without wills ignore it.
    /// Takes a bounded time.
    ///
    /// # Errors
    /// Whatever kept the connection from being made; [`UpstreamError::verdict`] says what to do.
    pub async fn open(
        settings: &UpstreamSettings,
        endpoint: usize,
        will: Option<Message>,
    ) -> Result<Self, UpstreamError> {
        match settings {
            UpstreamSettings::Mqtt(settings) => mqtt::Connection::open(settings, endpoint, will)
                .await
                .map(|connection| Self::Mqtt(Box::new(connection))),
            UpstreamSettings::Amqp(settings) => amqp::Connection::open(settings, endpoint)
                .await
                .map(|connection| Self::Amqp(Box::new(connection))),
        }
    }

    /// Takes a message to send. Its answer comes from [`Self::next`], which also does the sending. Never called for more
    /// messages than the settings' `inflight` without an answer.
    ///
    /// # Errors
    /// The connection is broken and is to be given up.
    pub fn submit(&mut self, message: Message) -> Result<(), UpstreamError> {
        match self {
            Self::Mqtt(connection) => connection.submit(message),
            Self::Amqp(connection) => connection.submit(message),
        }
    }

    /// Drives the connection until something comes in. Cancel-safe: dropping the future loses nothing. To be polled all the
    /// time, as signs of life are exchanged in here.
    ///
    /// # Errors
    /// The connection is broken and is to be given up.
    pub async fn next(&mut self) -> Result<Incoming, UpstreamError> {
        match self {
            Self::Mqtt(connection) => connection.next().await,
            Self::Amqp(connection) => connection.next().await,
        }
    }

    /// Most messages that the broker lets be out, where it told a limit. Of more that are submitted the last ones wait.
    pub fn max_out(&self) -> Option<u16> {
        match self {
            Self::Mqtt(connection) => connection.max_out(),
            Self::Amqp(_) => None,
        }
    }

    /// Most bytes of a message, address and properties included, where the broker told a limit. What is larger is answered
    /// with [`message::Answer::Refused`] and never sent.
    pub fn max_message_size(&self) -> Option<usize> {
        match self {
            Self::Mqtt(connection) => connection.max_message_size(),
            Self::Amqp(connection) => connection.max_message_size(),
        }
    }

    /// What an answer on this connection assures.
    pub fn assurance(&self) -> Assurance {
        match self {
            Self::Mqtt(connection) => connection.assurance(),
            Self::Amqp(connection) => connection.assurance(),
        }
    }

    /// Whether the broker keeps [`Message::retain`] messages for later subscribers.
    pub fn retains(&self) -> bool {
        match self {
            Self::Mqtt(connection) => connection.retains(),
            Self::Amqp(_) => false,
        }
    }

    /// Takes leave in order, within about a second; what is unanswered stays so.
    pub async fn close(self) {
        match self {
            Self::Mqtt(connection) => connection.close().await,
            Self::Amqp(connection) => connection.close().await,
        }
    }
}
