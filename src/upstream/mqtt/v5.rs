//! The packets of MQTT 5.

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::QoS;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Connect, ConnectProperties, ConnectReturnCode, LastWill,
    LastWillProperties, Login, Packet, PublishProperties,
};
use rumqttc::v5::mqttbytes::{Error, v5::Publish};

use super::{Granted, Hello, Signal, reason};
use crate::upstream::error::UpstreamError;
use crate::upstream::message::{Message, Properties};

/// Says who connects, and what we take.
pub(super) fn connect(hello: &Hello, out: &mut BytesMut) -> Result<usize, Error> {
    let mut properties = ConnectProperties::new();
    properties.max_packet_size = u32::try_from(super::MAX_INCOMING).ok();
    let connect = Connect {
        keep_alive: hello.keep_alive_seconds(),
        client_id: hello.client_id.clone(),
        clean_start: hello.clean,
        properties: Some(properties),
    };
    let login = (hello.login.as_ref()).map(|(user, password)| Login::new(user, password));
    connect.write(&hello.will.as_ref().map(last_will), &login, out)
}

/// The broker's consent. `acknowledged`: we want quality of service 1.
pub(super) fn granted(packet: BytesMut, acknowledged: bool) -> Result<Granted, UpstreamError> {
    let properties = match read(packet)? {
        Packet::ConnAck(ConnAck {
            code: ConnectReturnCode::Success,
            properties,
            ..
        }) => properties,
        Packet::ConnAck(refused) => return Err(reason::refused_v5(refused.code)),
        other => return Err(super::not_connack(&other)),
    };
    let Some(told) = properties else {
        return Ok(Granted::default());
    };
    if acknowledged && told.max_qos == Some(0) {
        let reason = "quality of service 0 only".to_owned();
        return Err(UpstreamError::Rejected(reason));
    }
    let seconds = |seconds: u16| Duration::from_secs(seconds.into());
    let ConnAckProperties {
        receive_max,
        max_packet_size,
        retain_available,
        server_keep_alive,
        ..
    } = told;
    Ok(Granted {
        receive_maximum: receive_max,
        max_packet_size: max_packet_size.and_then(|most| usize::try_from(most).ok()),
        retains: retain_available != Some(0),
        // Zero: it wants no signs of life. We want some of it.
        keep_alive: server_keep_alive.filter(|told| *told > 0).map(seconds),
    })
}

/// A message, under a packet id with quality of service 1.
pub(super) fn publish(
    message: Message,
    id: Option<u16>,
    out: &mut BytesMut,
) -> Result<usize, Error> {
    let qos = match id {
        None => QoS::AtMostOnce,
        Some(_) => QoS::AtLeastOnce,
    };
    let properties = publish_properties(&message);
    let mut publish = Publish::new(
        &*message.address.key,
        qos,
        message.payload,
        Some(properties),
    );
    publish.pkid = id.unwrap_or_default();
    publish.retain = message.retain;
    publish.write(out)
}

/// What a packet of the broker says to us.
///
/// # Errors
/// It is a DISCONNECT, or none of MQTT 5.
pub(super) fn signal(packet: BytesMut) -> Result<Option<Signal>, UpstreamError> {
    match read(packet)? {
        Packet::PubAck(ack) => {
            let text = ack
                .properties
                .and_then(|properties| properties.reason_string);
            let answer = reason::answer(ack.reason, text);
            Ok(Some(Signal::Answered(ack.pkid, answer)))
        }
        Packet::Disconnect(told) => {
            let text = told
                .properties
                .and_then(|properties| properties.reason_string);
            Err(reason::disconnected(told.reason_code, text))
        }
        _ => Ok(None),
    }
}

/// A whole packet.
fn read(mut packet: BytesMut) -> Result<Packet, UpstreamError> {
    Packet::read(&mut packet, None).map_err(|error| super::malformed(&error))
}

/// Decimal digits of a number.
fn digits(number: u64) -> usize {
    number
        .checked_ilog10()
        .map_or(1, |power| power as usize + 1)
}

/// Bytes of the packet that carries `message` (MQTT 5.0, 3.3).
pub(super) fn size(message: &Message, acknowledged: bool) -> usize {
    let id = if acknowledged { 2 } else { 0 };
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
    let seconds = |left: Duration| left.as_secs().clamp(1, u32::MAX.into());
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

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
                expires_in: historical.then_some(Duration::from_secs(9)),
                properties: place.then_some(properties),
            };
            let mut packet = BytesMut::new();
            publish(message.clone(), Some(1), &mut packet).unwrap();
            assert_eq!(size(&message, true), packet.len());
            let mut packet = BytesMut::new();
            publish(message.clone(), None, &mut packet).unwrap();
            assert_eq!(size(&message, false), packet.len());
        }
    }
}
