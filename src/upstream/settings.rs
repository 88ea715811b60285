//! What a connection to a broker is set to.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// The destination and how it is reached.
#[derive(Debug, Clone, PartialEq)]
pub enum UpstreamSettings {
    /// MQTT 3.1.1 or 5.
    Mqtt(MqttSettings),
    /// AMQP 0-9-1.
    Amqp(AmqpSettings),
}

impl UpstreamSettings {
    /// The brokers, in the order they are tried.
    pub fn endpoints(&self) -> &[Endpoint] {
        match self {
            Self::Mqtt(settings) => &settings.endpoints,
            Self::Amqp(settings) => &settings.endpoints,
        }
    }

    /// Most messages that may be out.
    pub fn inflight(&self) -> u16 {
        match self {
            Self::Mqtt(settings) => settings.inflight,
            Self::Amqp(settings) => settings.inflight,
        }
    }
}

/// Where a broker listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `mqtts` or `amqps`: TLS with these settings.
    pub tls: Option<TlsSettings>,
}

/// Whom to trust and how to prove who we are. Files are read at each handshake, so that they can be renewed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsSettings {
    /// PEM file of the authorities; `None`: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM files of our certificate chain and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Where a secret comes from. Read at each connection, so that it can be rotated.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// A systemd credential of this name, below `$CREDENTIALS_DIRECTORY`.
    Credential(String),
    /// The content of a file, without a trailing line end.
    File(PathBuf),
    /// An environment variable.
    Env(String),
    /// The text itself.
    Plain(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential(name) => write!(f, "Credential({name:?})"),
            Self::File(path) => write!(f, "File({path:?})"),
            Self::Env(name) => write!(f, "Env({name:?})"),
            Self::Plain(_) => f.write_str("Plain(***)"),
        }
    }
}

/// User and password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// User name.
    pub username: String,
    /// Password; MQTT allows a user without one.
    pub password: Option<Secret>,
}

/// An MQTT broker.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttSettings {
    /// The brokers, tried in order.
    pub endpoints: Vec<Endpoint>,
    /// Version of the protocol.
    pub version: MqttVersion,
    /// Client id, placeholders resolved.
    pub client_id: String,
    /// User and password.
    pub login: Option<Login>,
    /// Quality of service of every message.
    pub qos: Qos,
    /// Most messages that wait for an acknowledgement, 1 to 65,535.
    pub inflight: u16,
    /// Time between signs of life; at least 5 s.
    pub keep_alive: Duration,
    /// No acknowledgement for so long: the connection is given up and opened anew.
    pub ack_timeout: Duration,
}

/// Version of the MQTT protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1 (OASIS 2014).
    V3,
    /// MQTT 5.0 (OASIS 2019).
    V5,
}

/// MQTT quality of service that forebay offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qos {
    /// Handed to the connection, never acknowledged.
    AtMostOnce,
    /// Acknowledged by the broker.
    AtLeastOnce,
}

/// An AMQP 0-9-1 broker.
#[derive(Debug, Clone, PartialEq)]
pub struct AmqpSettings {
    /// The brokers, tried in order.
    pub endpoints: Vec<Endpoint>,
    /// Virtual host, "/" where the URL names none.
    pub vhost: String,
    /// User and password; `None`: guest/guest.
    pub login: Option<Login>,
    /// The client certificate says who we are (SASL EXTERNAL), in place of the login.
    pub external: bool,
    /// What is declared at connect.
    pub declare: Declare,
    /// What becomes of a message that the broker returns because no queue takes it.
    pub unroutable: Unroutable,
    /// Most messages that wait for a confirm, 1 to 65,535.
    pub inflight: u16,
    /// Heartbeat interval.
    pub keep_alive: Duration,
    /// No confirm for so long: the connection is given up and opened anew.
    pub ack_timeout: Duration,
}

/// What is declared at connect; nothing by default, as the operator owns the topology.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Declare {
    /// Nothing is made: what is not there keeps the connection from being used.
    pub passive: bool,
    /// Exchange and its kind.
    pub exchange: Option<(String, ExchangeKind)>,
    /// A durable queue.
    pub queue: Option<DeclareQueue>,
}

/// A durable queue to declare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclareQueue {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub queue_type: QueueType,
    /// How much it holds.
    pub limits: QueueLimits,
    /// What it is bound to.
    pub bind: Option<Binding>,
}

/// How much a queue holds; `None`: all that its broker has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueLimits {
    /// Bytes of messages (RabbitMQ `x-max-length-bytes`). A stream lets go of its oldest then; other queues take nothing more.
    pub max_size: Option<u64>,
    /// A stream lets go of what is older, in whole seconds (`x-max-age`).
    pub max_age: Option<Duration>,
}

/// How messages get from an exchange to a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The exchange, declared by us or by others.
    pub exchange: String,
    /// Binding key.
    pub key: String,
}

/// Kind of an exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExchangeKind {
    /// Routing key equals binding key.
    Direct,
    /// To all queues bound.
    Fanout,
    /// Routing key matches a pattern.
    Topic,
    /// By headers.
    Headers,
}

/// Kind of a queue (RabbitMQ `x-queue-type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueType {
    /// `classic`
    Classic,
    /// `quorum`: replicated, confirmed when a majority has it on disk.
    Quorum,
    /// `stream`
    Stream,
}

/// What becomes of an unroutable message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unroutable {
    /// Kept and sent again until a queue takes it.
    Wait,
    /// To the dead letters after so many returns.
    DeadLetter(u32),
}
