//! Records -> bytes. A codec is a session: it begins with a connection's greetings and may keep state until its end.

mod json;
pub mod settings;

use std::sync::Arc;

use bytes::Bytes;

use crate::reading::{Catalogue, Description, Record, Stamp};
use json::Json;
use settings::{CodecKind, PayloadSettings};

/// The codecs there are, each with the state of its session.
#[derive(Debug)]
pub enum Codec {
    /// One JSON object a record; `docs/payload.md` describes it.
    Json(Json),
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
        match settings.codec {
            CodecKind::Json => Self::Json(Json::new(settings, gateway)),
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
            payload: match self {
                Self::Json(json) => json.greeting(description, now),
            },
        }
    }

    /// The message of a record. `historical`: it is sent from the backlog.
    pub fn encode(&mut self, record: &Record, historical: bool) -> Bytes {
        match self {
            Self::Json(json) => json.encode(record, historical),
        }
    }

    /// MIME type of the messages.
    pub fn content_type(&self) -> &'static str {
        match self {
            Self::Json(_) => "application/json",
        }
    }

    /// Ends the session: the connection broke or is about to be closed.
    pub fn close(&mut self) {
        match self {
            Self::Json(_) => {}
        }
    }
}
