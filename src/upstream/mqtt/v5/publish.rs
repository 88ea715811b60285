//! The packet that carries a message, written in place: a drained backlog is nothing else, and rumqttc's own wants each
//! property as texts of their own.

use std::fmt::{Arguments, Write};
use std::time::Duration;

use bytes::{BufMut, BytesMut};

use crate::upstream::message::{Message, Properties};
use crate::upstream::mqtt::{MAX_PACKET, length_bytes, with_header};

/// Type and quality of service (MQTT 5.0, 3.3.1).
const PUBLISH: u8 = 0x30;
const AT_LEAST_ONCE: u8 = 0x02;
/// Identifiers of properties (MQTT 5.0, 2.2.2.2).
const MESSAGE_EXPIRY: u8 = 0x02;
const CONTENT_TYPE: u8 = 0x03;
const USER_PROPERTY: u8 = 0x26;

/// A topic longer than 65,535 bytes, or more of all than a packet can have.
#[derive(Debug, thiserror::Error)]
#[error("a message that no packet can carry")]
pub(in crate::upstream::mqtt) struct TooLong;

/// A message, under a packet id with quality of service 1: how many bytes it took.
///
/// # Errors
/// [`TooLong`]; nothing is written then.
pub(in crate::upstream::mqtt) fn publish(
    message: &Message,
    id: Option<u16>,
    out: &mut BytesMut,
) -> Result<usize, TooLong> {
    let (properties, remaining) = lengths(message, id.is_some());
    let topic = &*message.address.key;
    let topic_length = u16::try_from(topic.len()).map_err(|_| TooLong)?;
    let size = with_header(remaining);
    if size > MAX_PACKET {
        return Err(TooLong);
    }
    out.reserve(size);
    let quality = id.map_or(0, |_| AT_LEAST_ONCE);
    out.put_u8(PUBLISH | quality | u8::from(message.retain));
    put_length(out, remaining);
    out.put_u16(topic_length);
    out.put_slice(topic.as_bytes());
    if let Some(id) = id {
        out.put_u16(id);
    }
    put_length(out, properties);
    put_properties(message, out);
    out.put_slice(&message.payload);
    Ok(size)
}

/// Bytes of the packet that carries `message` (MQTT 5.0, 3.3).
pub(in crate::upstream::mqtt) fn size(message: &Message, acknowledged: bool) -> usize {
    with_header(lengths(message, acknowledged).1)
}

/// The lengths that stand in the packet: that of the properties, and the remaining one.
fn lengths(message: &Message, acknowledged: bool) -> (usize, usize) {
    // An identifier byte, then a length of two bytes before each text; the expiry interval has four bytes.
    let mut properties = 1 + 2 + message.content_type.len();
    properties += message.expires_in.map_or(0, |_| 1 + 4);
    pairs(message.properties.as_ref(), |name, length, _| {
        properties += 1 + 2 + name.len() + 2 + usize::from(length);
    });
    let id = if acknowledged { 2 } else { 0 };
    let before = 2 + message.address.key.len() + id + length_bytes(properties) + properties;
    (properties, before + message.payload.len())
}

fn put_properties(message: &Message, out: &mut BytesMut) {
    if let Some(left) = message.expires_in {
        // Whole seconds, and at least one: what is too old already is for those who are there.
        let seconds = u32::try_from(left.max(Duration::from_secs(1)).as_secs());
        out.put_u8(MESSAGE_EXPIRY);
        out.put_u32(seconds.unwrap_or(u32::MAX));
    }
    out.put_u8(CONTENT_TYPE);
    put_text(out, message.content_type);
    pairs(message.properties.as_ref(), |name, length, value| {
        out.put_u8(USER_PROPERTY);
        put_text(out, name);
        out.put_u16(length);
        // Writing to memory cannot fail.
        let _ = out.write_fmt(value);
    });
}

/// The record's place as user properties, named as AMQP's headers: name, value and the value's length.
fn pairs(place: Option<&Properties>, mut each: impl FnMut(&'static str, u16, Arguments<'_>)) {
    let Some(place) = place else {
        return;
    };
    let (seq, device_seq) = (place.seq, place.device_seq);
    each("stream", 8, format_args!("{}", place.stream));
    each("seq", digits(seq), format_args!("{seq}"));
    each(
        "device_seq",
        digits(device_seq),
        format_args!("{device_seq}"),
    );
    let historical = if place.historical { "true" } else { "false" };
    let length = if place.historical { 4 } else { 5 };
    each("historical", length, format_args!("{historical}"));
    if let Some((nth, of)) = place.part {
        let length = digits(nth.into()) + 1 + digits(of.into());
        each("part", length, format_args!("{nth}/{of}"));
    }
}

/// Decimal digits of a number: 20 at most.
fn digits(number: u64) -> u16 {
    let power = number.checked_ilog10().unwrap_or(0);
    u16::try_from(power).unwrap_or(0) + 1
}

/// One of our own names, which are short.
fn put_text(out: &mut BytesMut, text: &'static str) {
    out.put_u16(u16::try_from(text.len()).unwrap_or(0));
    out.put_slice(text.as_bytes());
}

/// A variable byte integer (MQTT 5.0, 1.5.5).
fn put_length(out: &mut BytesMut, mut length: usize) {
    while length > 0x7F {
        let [low, ..] = length.to_le_bytes();
        out.put_u8(low | 0x80);
        length >>= 7;
    }
    let [low, ..] = length.to_le_bytes();
    out.put_u8(low);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use proptest::prelude::*;
    use rumqttc::v5::mqttbytes::QoS;
    use rumqttc::v5::mqttbytes::v5::{Packet, Publish, PublishProperties};

    use super::*;
    use crate::reading::StreamId;
    use crate::upstream::message::Address;

    fn message(topic: &str, payload: usize, properties: Option<Properties>) -> Message {
        Message {
            token: 1,
            address: Address {
                exchange: Arc::from(""),
                key: Arc::from(topic),
            },
            payload: Bytes::from(vec![b' '; payload]),
            retain: false,
            content_type: "application/json",
            expires_in: None,
            properties,
        }
    }

    fn properties() -> impl Strategy<Value = Properties> {
        let number = prop_oneof![Just(0), Just(9), Just(10), any::<u64>()];
        let part = prop::option::of((any::<u32>(), any::<u32>()));
        let all = (any::<u32>(), number.clone(), number, any::<bool>(), part);
        all.prop_map(|(stream, seq, device_seq, historical, part)| Properties {
            stream: StreamId(stream),
            seq,
            device_seq,
            part,
            historical,
            timestamp_ms: 0,
        })
    }

    /// What the packet says, in words of the client library.
    fn read(message: &Message, id: Option<u16>) -> Publish {
        let mut packet = BytesMut::from(&b"before"[..]);
        let size = publish(message, id, &mut packet).unwrap();
        let mut packet = packet.split_off(6);
        assert_eq!(
            (size, super::size(message, id.is_some())),
            (packet.len(), size)
        );
        let Packet::Publish(publish) = Packet::read(&mut packet, None).unwrap() else {
            panic!("no PUBLISH");
        };
        assert!(packet.is_empty());
        publish
    }

    proptest! {
        #[test]
        fn a_packet_says_all_of_a_message(
            topic in "[a-z/]{1,150}",
            payload in prop_oneof![0usize..400, 16_000usize..17_000, Just(2_097_152)],
            place in prop::option::of(properties()),
            id in prop::option::of(1u16..),
            retain in any::<bool>(),
            expires_ms in prop::option::of(prop_oneof![0u64..3_000, Just(u64::MAX)]),
        ) {
            let message = Message {
                retain,
                expires_in: expires_ms.map(Duration::from_millis),
                ..message(&topic, payload, place)
            };
            let publish = read(&message, id);
            prop_assert_eq!((&publish.topic[..], &publish.payload), (topic.as_bytes(), &message.payload));
            prop_assert_eq!((publish.pkid, publish.retain, publish.dup), (id.unwrap_or(0), retain, false));
            prop_assert_eq!(publish.qos == QoS::AtLeastOnce, id.is_some());
            let pairs = place.map_or(Vec::new(), |place| {
                let mut pairs = vec![
                    ("stream".to_owned(), place.stream.to_string()),
                    ("seq".to_owned(), place.seq.to_string()),
                    ("device_seq".to_owned(), place.device_seq.to_string()),
                    ("historical".to_owned(), place.historical.to_string()),
                ];
                let part = place.part.map(|(nth, of)| ("part".to_owned(), format!("{nth}/{of}")));
                pairs.extend(part);
                pairs
            });
            let seconds = |ms: u64| u32::try_from((ms / 1_000).max(1)).unwrap_or(u32::MAX);
            let expected = PublishProperties {
                content_type: Some("application/json".to_owned()),
                message_expiry_interval: expires_ms.map(seconds),
                user_properties: pairs,
                ..PublishProperties::default()
            };
            prop_assert_eq!(publish.properties, Some(expected));
        }
    }

    #[test]
    fn what_no_packet_can_carry_is_not_begun() {
        let mut out = BytesMut::new();
        let topic = "a".repeat(65_536);
        assert!(publish(&message(&topic, 0, None), Some(1), &mut out).is_err());
        let huge = Message {
            payload: Bytes::from(vec![0; 268_435_455]),
            ..message("a", 0, None)
        };
        assert!(publish(&huge, Some(1), &mut out).is_err());
        assert!(out.is_empty());
    }
}
