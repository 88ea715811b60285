//! What a forwarder is set to.

use std::time::Duration;

use super::route::Template;
use crate::payload::settings::PayloadSettings;
use crate::reading::Name;
pub use crate::store::settings::Start;
use crate::upstream::settings::UpstreamSettings;

/// One upstream: what goes there, in what form, and how it is reached.
#[derive(Debug, Clone, PartialEq)]
pub struct ForwarderSettings {
    /// The upstream's name; its cursor in the store is kept under it.
    pub name: Name,
    /// The gateway's id.
    pub gateway: String,
    /// The connection.
    pub upstream: UpstreamSettings,
    /// The messages.
    pub payload: PayloadSettings,
    /// Where they go.
    pub routes: Routes,
    /// The devices whose records go there; shell patterns with `*` and `?`.
    pub devices: Vec<String>,
    /// Where an upstream that is new to the store begins.
    pub start: Start,
    /// A record sent later than this after its reading is marked historical.
    pub historical_after: Duration,
    /// The broker need not keep a message for longer than this after its reading; `None`: for ever.
    pub expiry: Option<Duration>,
    /// In which order, and how fast at most.
    pub delivery: Delivery,
    /// How soon it tries again.
    pub pace: Pace,
}

/// In which order records go out, and how fast at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Delivery {
    /// The order.
    pub order: Order,
    /// Most historical records a second; `None`: as many as the broker takes.
    pub history_rate: Option<u32>,
    /// Most bytes a second, of payloads and where they go; `None`: as many as the link takes.
    pub max_rate: Option<u64>,
}

/// Which records go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// All in sequence.
    #[default]
    OldestFirst,
    /// The newest at once, and the backlog beside them; each of the two in sequence.
    LiveFirst,
}

/// How soon a forwarder tries to connect again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Bound of the first wait after a failure; it doubles with each.
    pub first: Duration,
    /// Bound of every wait.
    pub most: Duration,
    /// Longest wait where the broker allows nothing of ours.
    pub stopped: Duration,
}

impl Default for Pace {
    /// Brokers in the cloud refuse clients that knock more often than every ten seconds for long; a broker that was away
    /// for a moment is back in one.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(500),
            most: Duration::from_secs(15),
            stopped: Duration::from_secs(120),
        }
    }
}

/// Where messages go: MQTT topics, or AMQP exchange and routing keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Routes {
    /// AMQP exchange; empty for MQTT, and for AMQP's default exchange.
    pub exchange: Template,
    /// Topic or routing key of scans.
    pub scan: Template,
    /// Of events.
    pub event: Template,
    /// Of descriptions.
    pub describe: Template,
    /// MQTT: the topic that says, retained, whether the gateway is connected; `None`: that is not told.
    pub status: Option<Template>,
}
