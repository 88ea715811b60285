//! From an observation, which has a time, to a record, which has a place in the queue.

use std::fmt;
use std::sync::Arc;

use super::{Description, Event, Name, Scan, Stamp};

/// Random id of a run of records without a gap that nobody explains; eight hex digits in messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct StreamId(pub u32);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// What a record is about.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// Readings of a device.
    Scan(Scan),
    /// Something that happened.
    Event(Event),
    /// What a device is.
    Description(Arc<Description>),
}

impl Body {
    /// The device in whose sequence this stands; `None`: the gateway's own.
    pub fn device(&self) -> Option<&Name> {
        match self {
            Self::Scan(scan) => Some(&scan.schema.device),
            Self::Event(event) => event.device.as_ref(),
            Self::Description(description) => Some(&description.device),
        }
    }
}

/// Something seen at a time, not yet in the queue.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// When.
    pub stamp: Stamp,
    /// What.
    pub body: Body,
}

/// An observation with its place in the queue; durable before anybody sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The stream it belongs to.
    pub stream: StreamId,
    /// Place among all records of the store, from 1.
    pub seq: u64,
    /// Place among the records of its device (or of the gateway), from 1.
    pub device_seq: u64,
    /// When.
    pub stamp: Stamp,
    /// What.
    pub body: Body,
}

/// Where the field side puts what it saw.
pub trait Outlet: Send + Sync {
    /// Takes an observation. Never waits: what does not fit is counted and told, the newest is kept.
    fn put(&self, observation: Observation);
}
