//! What a message says about its place, and what it explains.

use serde_json::{Map, Value};
use xxhash_rust::xxh3::xxh3_64;

use crate::reading::{EventName, RangeSet};

/// A record's message, or a part of one.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) gateway: String,
    pub(super) stream: String,
    /// `None`: the gateway's own.
    pub(super) device: Option<String>,
    pub(super) seq: u64,
    pub(super) device_seq: u64,
    pub(super) historical: bool,
    /// Nanoseconds since 1970, where the gateway's clock could be trusted.
    pub(super) time_ns: Option<i128>,
    /// This part (from 1) of so many.
    pub(super) part: Option<(u32, u32)>,
    /// Of all but `time`, `clock` and `historical`, which may differ when a record comes again.
    pub(super) fingerprint: u64,
    pub(super) told: Told,
}

/// What an event tells of other records.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Told {
    pub(super) seq: RangeSet,
    pub(super) device_seq: RangeSet,
    /// Only this upstream has not delivered them.
    pub(super) upstream: Option<String>,
    /// Records that were lost before they had a number.
    pub(super) unnumbered: u64,
    pub(super) begin: Option<Begin>,
}

/// What the first event of a stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Begin {
    /// The store is new: numbers begin at 1.
    New,
    /// Another stream ended before it; its last number that was in the store.
    After { stream: String, last: u64 },
}

/// What a payload is to the proof.
pub(super) enum Read {
    Message(Box<Message>),
    /// Of a gateway, but no record: retained descriptions, presence.
    Unnumbered,
    /// Nothing of a gateway.
    Foreign,
}

/// Reads a payload.
pub(super) fn read(payload: &[u8]) -> Read {
    let Ok(Value::Object(mut object)) = serde_json::from_slice(payload) else {
        return Read::Foreign;
    };
    if !object.contains_key("gateway") {
        return Read::Foreign;
    }
    match numbered(&mut object) {
        Some(message) => Read::Message(Box::new(message)),
        None if object.contains_key("seq") => Read::Foreign,
        None => Read::Unnumbered,
    }
}

fn numbered(object: &mut Map<String, Value>) -> Option<Message> {
    let number = |object: &Map<String, Value>, key: &str| number(object.get(key)?);
    let (seq, device_seq) = (number(object, "seq")?, number(object, "device_seq")?);
    let text = |key: &str| object.get(key).and_then(Value::as_str).map(str::to_owned);
    let (gateway, stream, device) = (text("gateway")?, text("stream")?, text("device"));
    let time = text("time").and_then(|time| time.parse::<jiff::Timestamp>().ok());
    let part = match object.get("part") {
        None => None,
        Some(part) => Some(read_part(part)?),
    };
    let told = told(object);
    let historical = object.remove("historical") == Some(Value::Bool(true));
    let synced = object.remove("clock").is_none();
    object.remove("time");
    Some(Message {
        gateway,
        stream,
        device,
        seq,
        device_seq,
        historical,
        time_ns: time.filter(|_| synced).map(jiff::Timestamp::as_nanosecond),
        part,
        fingerprint: fingerprint(object),
        told,
    })
}

/// Keys are in the order of their names, so the same content has the same text.
fn fingerprint(object: &Map<String, Value>) -> u64 {
    let text = serde_json::to_vec(object).unwrap_or_default();
    xxh3_64(&text)
}

/// A number, which stands in quotes beyond 2^53 where the upstream says `integers = "text"`.
fn number(value: &Value) -> Option<u64> {
    value
        .as_u64()
        .or_else(|| value.as_str().and_then(|text| text.parse().ok()))
}

fn read_part(part: &Value) -> Option<(u32, u32)> {
    let [part, of] = part.as_array()?.as_slice() else {
        return None;
    };
    let (part, of) = (number(part)?.try_into().ok()?, number(of)?.try_into().ok()?);
    (1..=of).contains(&part).then_some((part, of))
}

fn told(object: &Map<String, Value>) -> Told {
    let event = object.get("event").and_then(Value::as_str);
    let name = event.and_then(|name| name.parse::<EventName>().ok());
    let (Some(name), Some(Value::Object(detail))) = (name, object.get("detail")) else {
        return Told::default();
    };
    let text = |key: &str| detail.get(key).and_then(Value::as_str).map(str::to_owned);
    let explains = matches!(
        name,
        EventName::RecordsDropped
            | EventName::RecordsRefused
            | EventName::RecordsLost
            | EventName::BufferOverflow
    );
    let mut told = Told::default();
    if explains {
        told.seq = ranges(detail.get("seq"));
        told.device_seq = ranges(detail.get("device_seq"));
        told.upstream = text("upstream");
        told.unnumbered = detail.get("count").and_then(number).unwrap_or(0);
    }
    if explains || name == EventName::GatewayStarted {
        told.seq.extend(&ranges(detail.get("hole")));
        let last = detail.get("previous_last").and_then(number);
        told.begin = match (text("previous"), text("reason")) {
            (Some(stream), _) => Some(Begin::After {
                stream,
                last: last.unwrap_or(0),
            }),
            (None, Some(_)) if name == EventName::GatewayStarted => Some(Begin::New),
            _ => None,
        };
    }
    told
}

fn ranges(value: Option<&Value>) -> RangeSet {
    let pairs = value.and_then(Value::as_array).into_iter().flatten();
    let range = |pair: &Value| match pair.as_array()?.as_slice() {
        [first, last] => Some((number(first)?, number(last)?)),
        _ => None,
    };
    pairs.filter_map(range).collect()
}
