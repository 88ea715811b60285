//! What is handed to a connection, and what came of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::reading::StreamId;

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// AMQP exchange; empty for MQTT and for AMQP's default exchange.
    pub exchange: Arc<str>,
    /// MQTT topic or AMQP routing key.
    pub key: Arc<str>,
}

/// A message to submit.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// The forwarder's own number: the answer comes back under it, whatever ids the protocol uses.
    pub token: u64,
    /// Where it goes.
    pub address: Address,
    /// The bytes.
    pub payload: Bytes,
    /// MQTT: the broker keeps it for later subscribers.
    pub retain: bool,
    /// MIME type of the payload.
    pub content_type: &'static str,
    /// The broker need not keep it for longer than this. MQTT 5: message expiry interval; AMQP: expiration.
    pub expires_in: Option<Duration>,
    /// Place of the record it carries; `None` for what is no record (greetings).
    pub properties: Option<Properties>,
}

/// The record's place and time, beside the payload: AMQP headers, MQTT 5 user properties.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Properties {
    /// Stream.
    pub stream: StreamId,
    /// Place among all records.
    pub seq: u64,
    /// Place among the device's records.
    pub device_seq: u64,
    /// Which of the record's messages, from 1 on, and how many they are; `None`: it is the only one.
    pub part: Option<(u32, u32)>,
    /// Sent from the backlog.
    pub historical: bool,
    /// Time of the reading, milliseconds since 1970.
    pub timestamp_ms: i64,
}

/// What became of a submitted message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The broker has taken responsibility.
    Confirmed,
    /// Handed to the connection; the protocol has no acknowledgement for it.
    Sent,
    /// Not taken now, for this reason: to be sent again.
    Retry(String),
    /// Taken by the broker, but nobody there wants it, for this reason: to be sent again, a bounded number of times where
    /// the settings say so.
    Returned(String),
    /// Never to be taken, for this reason: a dead letter.
    Refused(String),
    /// Nothing of ours is taken until somebody changes something.
    Stop(String),
}

/// What a destination assures by its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Assurance {
    /// The broker's own acknowledgement.
    Broker,
    /// An acknowledgement of the peer that consumes.
    Peer,
    /// Nothing: at most once.
    None,
}

/// What happened on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// The message of this token got its answer.
    Answer(u64, Answer),
    /// The broker takes nothing for now (AMQP `connection.blocked`), for this reason: no timeouts run meanwhile.
    Blocked(String),
    /// It takes messages again.
    Unblocked,
}
