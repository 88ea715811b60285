//! A message as AMQP 0-9-1 has it.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::upstream::message::{Message, Properties};

/// Kept on disk by durable queues (AMQP 0-9-1, basic class: delivery-mode).
const PERSISTENT: u8 = 2;

/// A message ready for the library.
pub(super) struct Publish {
    pub(super) id: String,
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    pub(super) properties: BasicProperties,
}

impl Publish {
    /// # Errors
    /// The message cannot be sent, for this reason: a name is longer than the protocol's 255 bytes.
    pub(super) fn new(message: &Message) -> Result<Self, String> {
        let id = message_id(message);
        let properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_message_id(short("message id", &id)?)
            .with_content_type(short("content type", message.content_type)?);
        let properties = match message.expires_in {
            None => properties,
            Some(left) => {
                let milliseconds = left.as_millis().to_string();
                properties.with_expiration(short("expiration", &milliseconds)?)
            }
        };
        let properties = match &message.properties {
            None => properties,
            Some(place) => properties
                .with_headers(headers(place))
                // The protocol has whole seconds only; the header has the rest.
                .with_timestamp(u64::try_from(place.timestamp_ms / 1000).unwrap_or_default()),
        };
        Ok(Self {
            id,
            exchange: short("exchange", &message.address.exchange)?,
            routing_key: short("routing key", &message.address.key)?,
            properties,
        })
    }
}

/// `STREAM-SEQ` or `STREAM-SEQ-PART`, by which a receiver tells repeats; what is no record has only our own number.
fn message_id(message: &Message) -> String {
    match &message.properties {
        Some(Properties {
            stream,
            seq,
            part: Some((part, _)),
            ..
        }) => format!("{stream}-{seq}-{part}"),
        Some(Properties { stream, seq, .. }) => format!("{stream}-{seq}"),
        None => message.token.to_string(),
    }
}

fn headers(place: &Properties) -> FieldTable {
    let mut headers = FieldTable::default();
    headers.insert(
        "stream".into(),
        AMQPValue::LongString(place.stream.to_string().into()),
    );
    headers.insert("seq".into(), number(place.seq));
    headers.insert("device_seq".into(), number(place.device_seq));
    if let Some((part, parts)) = place.part {
        let part = format!("{part}/{parts}");
        headers.insert("part".into(), AMQPValue::LongString(part.into()));
    }
    headers.insert("historical".into(), AMQPValue::Boolean(place.historical));
    headers.insert(
        "timestamp_in_ms".into(),
        AMQPValue::LongLongInt(place.timestamp_ms),
    );
    headers
}

/// As brokers understand it: they know no unsigned 64 bits. A sequence never gets that far.
fn number(value: u64) -> AMQPValue {
    AMQPValue::LongLongInt(i64::try_from(value).unwrap_or(i64::MAX))
}

fn short(what: &str, text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text)
        .map_err(|_| format!("its {what} has {} bytes, AMQP takes 255", text.len()))
}
