//! rumqttc for MQTT 5.

use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectProperties, LastWill, LastWillProperties, Packet, PublishProperties,
};
use rumqttc::v5::{AsyncClient, ConnectionError, Event, EventLoop, MqttOptions};
use rumqttc::{NetworkOptions, Outgoing};

use super::{Access, Events, Granted, MAX_INCOMING, OPEN_TIMEOUT, Signal, reason};
use crate::upstream::error::UpstreamError;
use crate::upstream::message::{Message, Properties};
use crate::upstream::settings::{MqttSettings, Qos};

pub(super) struct Client(AsyncClient);

pub(super) struct Loop {
    events: EventLoop,
    qos: Qos,
    keep_alive: std::time::Duration,
    packet_ids: u16,
    /// What ended the connection, until all that came before it is told.
    broken: Option<UpstreamError>,
}

/// A client for one connection; nothing happens before its loop is polled.
pub(super) fn start(settings: &MqttSettings, access: Access, capacity: usize) -> (Client, Loop) {
    let keep_alive = super::keep_alive(settings);
    let packet_ids = super::packet_ids(settings);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    let mut properties = ConnectProperties::new();
    properties.max_packet_size = Some(MAX_INCOMING);
    let mut options = MqttOptions::new(settings.client_id.clone(), access.host, access.port);
    options
        .set_transport(access.transport)
        .set_clean_start(true)
        .set_keep_alive(keep_alive)
        .set_connection_timeout(OPEN_TIMEOUT.as_secs())
        .set_network_options(network)
        .set_connect_properties(properties)
        // Without it the library sets up room for 65,535 messages, some megabytes.
        .set_outgoing_inflight_upper_limit(packet_ids);
    if let Some((user, password)) = access.login {
        options.set_credentials(user, password);
    }
    if let Some(will) = access.will {
        options.set_last_will(last_will(&will));
    }
    let (client, events) = AsyncClient::new(options, capacity);
    let looped = Loop {
        events,
        qos: settings.qos,
        keep_alive,
        packet_ids,
        broken: None,
    };
    (Client(client), looped)
}

/// Decimal digits of a number.
fn digits(number: u64) -> usize {
    number
        .checked_ilog10()
        .map_or(1, |power| power as usize + 1)
}

/// Bytes of the packet that carries `message` (MQTT 5.0, 3.3).
pub(super) fn size(message: &Message, qos: Qos) -> usize {
    let id = match qos {
        Qos::AtMostOnce => 0,
        Qos::AtLeastOnce => 2,
    };
    // An identifier byte, then a length of two bytes before each text; the expiry interval has four bytes.
    let mut properties = 1 + 2 + message.content_type.len();
    properties += message.expires_in.map_or(0, |_| 1 + 4);
    if let Some(place) = &message.properties {
        let pair = |name: &str, value: usize| 1 + 2 + name.len() + 2 + value;
        let [stream, seq, device_seq, historical, part] = NAMES;
        properties += pair(stream, 8) + pair(seq, digits(place.seq));
        properties += pair(device_seq, digits(place.device_seq));
        properties += pair(historical, if place.historical { 4 } else { 5 });
        properties += place.part.map_or(0, |(nth, of)| {
            pair(part, digits(nth.into()) + 1 + digits(of.into()))
        });
    }
    let properties = super::length_bytes(properties) + properties;
    super::with_header(2 + message.address.key.len() + id + properties + message.payload.len())
}

impl Client {
    /// Whether the message was taken; the room for it is the caller's matter.
    pub(super) fn publish(&self, message: Message, qos: Qos) -> bool {
        let properties = publish_properties(&message);
        let qos = match qos {
            Qos::AtMostOnce => QoS::AtMostOnce,
            Qos::AtLeastOnce => QoS::AtLeastOnce,
        };
        let topic = &*message.address.key;
        self.0
            .try_publish_with_properties(topic, qos, message.retain, message.payload, properties)
            .is_ok()
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
    fn signal(&mut self, event: Event) -> Result<Option<Signal>, UpstreamError> {
        Ok(match event {
            Event::Incoming(Packet::PubAck(ack)) => {
                let text = ack
                    .properties
                    .and_then(|properties| properties.reason_string);
                Some(Signal::Answered(ack.pkid, reason::answer(ack.reason, text)))
            }
            Event::Incoming(Packet::ConnAck(ack)) => Some(Signal::Connected(self.granted(&ack)?)),
            Event::Outgoing(Outgoing::Publish(id)) => Some(Signal::Sent(id)),
            Event::Outgoing(Outgoing::Disconnect) => Some(Signal::Left),
            _ => None,
        })
    }

    fn granted(&mut self, ack: &ConnAck) -> Result<Granted, UpstreamError> {
        let properties = ack.properties.as_ref();
        let told = |tell: fn(&rumqttc::v5::mqttbytes::v5::ConnAckProperties) -> Option<u16>| {
            properties.and_then(tell)
        };
        if self.qos == Qos::AtLeastOnce && properties.is_some_and(|told| told.max_qos == Some(0)) {
            let reason = "quality of service 0 only".to_owned();
            return Err(UpstreamError::Rejected(reason));
        }
        let keep_alive = match told(|properties| properties.server_keep_alive) {
            Some(0) => {
                // The broker wants no signs of life; the library would take zero as "all the time".
                self.events.options.set_keep_alive(self.keep_alive);
                self.keep_alive
            }
            Some(seconds) => std::time::Duration::from_secs(seconds.into()),
            None => self.keep_alive,
        };
        Ok(Granted {
            packet_ids: told(|properties| properties.receive_max)
                .map_or(self.packet_ids, |most| most.clamp(1, self.packet_ids)),
            max_packet_size: properties
                .and_then(|properties| properties.max_packet_size)
                .and_then(|most| usize::try_from(most).ok()),
            retains: properties.is_none_or(|told| told.retain_available != Some(0)),
            keep_alive,
        })
    }
}

/// The user properties, named as AMQP's headers.
const NAMES: [&str; 5] = ["stream", "seq", "device_seq", "historical", "part"];

/// The record's place.
fn user_properties(properties: &Properties) -> Vec<(String, String)> {
    let [stream, seq, device_seq, historical, part] = NAMES.map(str::to_owned);
    let mut pairs = vec![
        (stream, properties.stream.to_string()),
        (seq, properties.seq.to_string()),
        (device_seq, properties.device_seq.to_string()),
        (historical, properties.historical.to_string()),
    ];
    if let Some((nth, of)) = properties.part {
        pairs.push((part, format!("{nth}/{of}")));
    }
    pairs
}

fn publish_properties(message: &Message) -> PublishProperties {
    // Whole seconds, and at least one: what is too old already is for those who are there.
    let seconds = |left: std::time::Duration| left.as_secs().clamp(1, u32::MAX.into());
    let expiry = message.expires_in.map(seconds);
    PublishProperties {
        content_type: Some(message.content_type.to_owned()),
        message_expiry_interval: expiry.and_then(|seconds| u32::try_from(seconds).ok()),
        user_properties: message
            .properties
            .as_ref()
            .map(user_properties)
            .unwrap_or_default(),
        ..PublishProperties::default()
    }
}

fn last_will(will: &Message) -> LastWill {
    let properties = LastWillProperties {
        delay_interval: None,
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: Some(will.content_type.to_owned()),
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    LastWill::new(
        &*will.address.key,
        will.payload.clone(),
        QoS::AtLeastOnce,
        will.retain,
        Some(properties),
    )
}

fn broken(error: ConnectionError) -> UpstreamError {
    match error {
        ConnectionError::ConnectionRefused(code) => reason::refused_v5(code),
        ConnectionError::MqttState(error) => reason::broken_v5(error),
        ConnectionError::Tls(error) => UpstreamError::Tls(error.to_string()),
        ConnectionError::Io(error) => UpstreamError::Connection(error.to_string()),
        ConnectionError::Timeout(_) => UpstreamError::Timeout("connecting", OPEN_TIMEOUT),
        ConnectionError::NotConnAck(packet) => {
            UpstreamError::Closed(format!("{packet:?} in place of CONNACK"))
        }
        error => UpstreamError::Connection(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use rumqttc::v5::mqttbytes::v5::Publish;

    use super::*;
    use crate::reading::StreamId;
    use crate::upstream::message::Address;

    #[test]
    fn the_size_is_that_of_the_packet() {
        for (seq, historical, payload, place) in [
            (0, true, 0, true),
            (9, false, 100, true),
            (10, false, 16_300, true),
            (u64::MAX, true, 2_097_000, true),
            (1, false, 127, false),
        ] {
            let properties = Properties {
                stream: StreamId(1),
                seq,
                device_seq: seq,
                part: historical.then_some((7, 1_200)),
                historical,
                timestamp_ms: 0,
            };
            let message = Message {
                token: 1,
                address: Address {
                    exchange: Arc::from(""),
                    key: Arc::from("a/b"),
                },
                payload: Bytes::from(vec![b' '; payload]),
                retain: false,
                content_type: "application/json",
                expires_in: historical.then_some(std::time::Duration::from_secs(9)),
                properties: place.then_some(properties),
            };
            let properties = publish_properties(&message);
            let body = message.payload.clone();
            let mut publish = Publish::new("a/b", QoS::AtLeastOnce, body, Some(properties));
            publish.pkid = 1;
            assert_eq!(size(&message, Qos::AtLeastOnce), publish.size());
        }
    }
}
