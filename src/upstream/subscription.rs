//! Broker -> messages: what a consumer gets, for those who check what arrived.

use bytes::Bytes;

use super::error::UpstreamError;
use super::settings::{Endpoint, Login};
use super::{amqp, mqtt};

/// Where a broker is, and as whom it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reach {
    /// The broker.
    pub endpoint: Endpoint,
    /// User and password; `None`: anonymous, AMQP guest/guest.
    pub login: Option<Login>,
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Of an MQTT broker.
    Mqtt(MqttFilter),
    /// Of an AMQP broker.
    Amqp {
        /// The virtual host.
        vhost: String,
        /// Where the messages are taken from.
        source: AmqpSource,
    },
}

/// What an MQTT broker is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MqttFilter {
    /// Topic filter, with `+` and `#` (MQTT 3.1.1, 4.7).
    pub topic: String,
}

/// Where an AMQP consumer takes its messages from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AmqpSource {
    /// An existing queue; what is taken is gone from it.
    Queue(String),
    /// What goes to an exchange from now on, by a queue of our own; nobody loses a message by it.
    Exchange {
        /// The exchange.
        exchange: String,
        /// Binding key.
        key: String,
    },
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Arrival {
    /// A message's payload.
    Message(Bytes),
    /// The broker has forgotten us meanwhile: what it was sent until now did not come.
    Interrupted,
}

/// A subscription to a broker.
pub struct Subscription(Kind);

enum Kind {
    Mqtt(Box<mqtt::subscribe::Subscription>),
    Amqp(Box<amqp::consume::Subscription>),
}

impl Subscription {
    /// Connects and asks for the messages, within 20 s.
    ///
    /// # Errors
    /// Whatever kept that from being done.
    pub async fn open(reach: &Reach, wanted: &Wanted) -> Result<Self, UpstreamError> {
        let kind = match wanted {
            Wanted::Mqtt(filter) => {
                let opened = mqtt::subscribe::Subscription::open(reach, filter).await?;
                Kind::Mqtt(Box::new(opened))
            }
            Wanted::Amqp { vhost, source } => {
                let opened = amqp::consume::Subscription::open(reach, vhost, source).await?;
                Kind::Amqp(Box::new(opened))
            }
        };
        Ok(Self(kind))
    }

    /// The next message. Dropping the future may lose one: to be polled to its end.
    ///
    /// # Errors
    /// The connection is broken; whether going on makes sense is told by [`Self::survives`].
    pub async fn next(&mut self) -> Result<Arrival, UpstreamError> {
        match &mut self.0 {
            Kind::Mqtt(subscription) => subscription.next().await,
            Kind::Amqp(subscription) => subscription.next().await,
        }
    }

    /// Whether [`Self::next`] connects again by itself after an error, and gets what came meanwhile.
    pub fn survives(&self) -> bool {
        matches!(self.0, Kind::Mqtt(_))
    }

    /// Takes leave, within a second.
    pub async fn close(self) {
        match self.0 {
            Kind::Mqtt(subscription) => subscription.close().await,
            Kind::Amqp(subscription) => subscription.close().await,
        }
    }
}
