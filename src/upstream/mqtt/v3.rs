//! rumqttc for MQTT 3.1.1.

use futures_util::FutureExt;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, Outgoing, Packet, QoS,
    StateError,
};

use super::{Access, Events, Granted, MAX_INCOMING, MAX_OUTGOING, OPEN_TIMEOUT, Signal, reason};
use crate::upstream::error::UpstreamError;
use crate::upstream::message::{Answer, Message};
use crate::upstream::settings::{MqttSettings, Qos};

pub(super) struct Client(AsyncClient);

pub(super) struct Loop {
    events: EventLoop,
    granted: Granted,
    /// What ended the connection, until all that came before it is told.
    broken: Option<UpstreamError>,
}

/// A client for one connection; nothing happens before its loop is polled.
pub(super) fn start(settings: &MqttSettings, access: Access, capacity: usize) -> (Client, Loop) {
    let mut options = MqttOptions::new(settings.client_id.clone(), access.host, access.port);
    options
        .set_transport(access.transport)
        .set_clean_session(true)
        .set_keep_alive(super::keep_alive(settings))
        .set_inflight(super::packet_ids(settings))
        .set_max_packet_size(MAX_INCOMING as usize, MAX_OUTGOING);
    if let Some((user, password)) = access.login {
        options.set_credentials(user, password);
    }
    if let Some(will) = access.will {
        let (topic, qos) = (&*will.address.key, QoS::AtLeastOnce);
        options.set_last_will(LastWill::new(topic, will.payload, qos, will.retain));
    }
    let (client, mut events) = AsyncClient::new(options, capacity);
    let mut network = rumqttc::NetworkOptions::new();
    network.set_tcp_nodelay(true);
    network.set_connection_timeout(OPEN_TIMEOUT.as_secs());
    events.set_network_options(network);
    let granted = Granted {
        packet_ids: super::packet_ids(settings),
        max_packet_size: None,
        retains: true,
        keep_alive: super::keep_alive(settings),
    };
    let looped = Loop {
        events,
        granted,
        broken: None,
    };
    (Client(client), looped)
}

/// Bytes of the packet that carries `message` (MQTT 3.1.1, 3.3).
pub(super) fn size(message: &Message, qos: Qos) -> usize {
    let id = match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 2,
    };
    super::with_header(2 + message.address.key.len() + id + message.payload.len())
}

impl Client {
    /// Whether the message was taken; the room for it is the caller's matter.
    pub(super) fn publish(&self, message: Message, qos: Qos) -> bool {
        let topic = message.address.key.to_string();
        let publish = self
            .0
            .publish_bytes(topic, quality(qos), message.retain, message.payload);
        matches!(publish.now_or_never(), Some(Ok(())))
    }

    /// Whether the leave was taken.
    pub(super) fn leave(&self) -> bool {
        self.0.try_disconnect().is_ok()
    }
}

impl Events for Loop {
    async fn poll(&mut self) -> Result<Option<Signal>, UpstreamError> {
        if self.broken.is_none() {
            match self.events.poll().await {
                Ok(event) => return self.signal(event),
                Err(error) => self.broken = Some(broken(error)),
            }
        }
        // What came in together with the end counts too: the library still has it.
        match (self.events.state.events.pop_front(), self.broken.take()) {
            (Some(event), broken) => {
                self.broken = broken;
                self.signal(event)
            }
            (None, Some(error)) => Err(error),
            (None, None) => Ok(None),
        }
    }
}

impl Loop {
    fn signal(&self, event: Event) -> Result<Option<Signal>, UpstreamError> {
        Ok(match event {
            Event::Incoming(Packet::PubAck(ack)) => {
                Some(Signal::Answered(ack.pkid, Answer::Confirmed))
            }
            Event::Incoming(Packet::ConnAck(_)) => Some(Signal::Connected(self.granted)),
            Event::Outgoing(Outgoing::Publish(id)) => Some(Signal::Sent(id)),
            Event::Outgoing(Outgoing::Disconnect) => Some(Signal::Left),
            _ => None,
        })
    }
}

fn quality(qos: Qos) -> QoS {
    match qos {
        Qos::AtMostOnce => QoS::AtMostOnce,
        Qos::AtLeastOnce => QoS::AtLeastOnce,
    }
}

/// What ended a connection.
pub(super) fn broken(error: ConnectionError) -> UpstreamError {
    match error {
        ConnectionError::ConnectionRefused(code) => reason::refused_v3(code),
        ConnectionError::Tls(error) => UpstreamError::Tls(error.to_string()),
        ConnectionError::Io(error) => UpstreamError::Connection(error.to_string()),
        ConnectionError::NetworkTimeout => UpstreamError::Timeout("connecting", OPEN_TIMEOUT),
        ConnectionError::FlushTimeout => UpstreamError::Timeout("sending", OPEN_TIMEOUT),
        ConnectionError::NotConnAck(packet) => {
            UpstreamError::Closed(format!("{packet:?} in place of CONNACK"))
        }
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            UpstreamError::Silent("no answer to a sign of life".to_owned())
        }
        error => UpstreamError::Connection(error.to_string()),
    }
}
