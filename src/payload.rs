//! Records -> bytes. A codec is a session: it begins with a connection's greetings and may keep state until its end.

mod json;
pub mod settings;

use std::sync::Arc;

use bytes::Bytes;

use crate::reading::{Body, Catalogue, Description, Name, Reading, Record, Scan, Schema, Stamp};
use json::Json;
use settings::{CodecKind, MessageKind, PayloadSettings};

/// The codec of an upstream, with the state of its session.
#[derive(Debug)]
pub struct Codec {
    message: MessageKind,
    codec: Kind,
}

/// The codecs there are.
#[derive(Debug)]
enum Kind {
    /// One JSON object a message; `docs/payload.md` describes it.
    Json(Json),
}

/// The state of the gateway at an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It is connected.
    Online,
    /// It has taken leave.
    Stopped,
    /// The connection broke: the broker says so in its place.
    Lost,
}

/// Which of a record's messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// From 1 on.
    pub nth: u32,
    /// How many there are.
    pub of: u32,
}

impl Part {
    /// The only one.
    pub const WHOLE: Self = Self { nth: 1, of: 1 };

    /// The point and the reading that this part of a scan carries; `None`: nothing was reported.
    pub fn reading<'s>(&self, scan: &'s Scan) -> Option<(&'s Name, &'s Reading)> {
        let nth = usize::try_from(self.nth.checked_sub(1)?).ok()?;
        let points = scan.schema.points.iter().zip(&scan.readings);
        let mut reported =
            points.filter_map(|(point, reading)| Some((&point.name, reading.as_ref()?)));
        reported.nth(nth)
    }
}

/// What is published at each connection, beside the records: no record, so without numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct Greeting {
    /// What it describes, and where it goes: the place of this device's descriptions.
    pub description: Arc<Description>,
    /// The bytes.
    pub payload: Bytes,
}

impl Codec {
    /// A codec for the messages of `gateway`.
    pub fn new(settings: PayloadSettings, gateway: &str) -> Self {
        let codec = match settings.codec {
            CodecKind::Json => Kind::Json(Json::new(settings, gateway)),
        };
        Self {
            message: settings.message,
            codec,
        }
    }

    /// Begins a session on a new connection, at `now`: what is to be published first, retained. `catalogue` has the
    /// devices that go to this upstream.
    pub fn open(&mut self, catalogue: &Catalogue, now: Stamp) -> Vec<Greeting> {
        let greetings = catalogue.iter();
        greetings
            .map(|description| self.copy(description, now))
            .collect()
    }

    /// A copy of a device's description, at `now`.
    pub fn copy(&mut self, description: &Arc<Description>, now: Stamp) -> Greeting {
        Greeting {
            description: Arc::clone(description),
            payload: match &mut self.codec {
                Kind::Json(json) => json.greeting(description, now),
            },
        }
    }

    /// What a scan's schema tells of its device, at `now`: the points of one scan class with type and unit, where the
    /// description itself is gone. No record either.
    pub fn sketch(&mut self, schema: &Schema, now: Stamp) -> Bytes {
        match &mut self.codec {
            Kind::Json(json) => json.sketch(schema, now),
        }
    }

    /// Of how many messages a record is, at least one.
    pub fn parts(&self, record: &Record) -> u32 {
        match (self.message, &record.body) {
            (MessageKind::Point, Body::Scan(scan)) => {
                let readings = scan.readings.iter().flatten().count();
                u32::try_from(readings).unwrap_or(u32::MAX).max(1)
            }
            _ => 1,
        }
    }

    /// A message of a record. `historical`: it is sent from the backlog.
    pub fn encode(&mut self, record: &Record, part: Part, historical: bool) -> Bytes {
        let point = match self.message {
            MessageKind::Scan => None,
            MessageKind::Point => Some(part),
        };
        match &mut self.codec {
            Kind::Json(json) => json.encode(record, point, historical),
        }
    }

    /// The point that a message carries alone, where messages carry one.
    pub fn point<'r>(&self, record: &'r Record, part: Part) -> Option<&'r Name> {
        match (self.message, &record.body) {
            (MessageKind::Point, Body::Scan(scan)) => part.reading(scan).map(|(name, _)| name),
            _ => None,
        }
    }

    /// The state of the gateway at an upstream, since `now`; `None`: nobody can know when. No record either.
    pub fn status(&mut self, upstream: &Name, status: Status, now: Option<Stamp>) -> Bytes {
        match &mut self.codec {
            Kind::Json(json) => json.status(upstream, status, now),
        }
    }

    /// A message that tests the way to `upstream`: no record, so without numbers.
    pub fn trial(&mut self, upstream: &Name, now: Stamp) -> Bytes {
        match &mut self.codec {
            Kind::Json(json) => json.trial(upstream, now),
        }
    }

    /// MIME type of the messages.
    pub fn content_type(&self) -> &'static str {
        match &self.codec {
            Kind::Json(_) => "application/json",
        }
    }

    /// Ends the session: the connection broke or is about to be closed.
    pub fn close(&mut self) {
        match &self.codec {
            Kind::Json(_) => {}
        }
    }
}
