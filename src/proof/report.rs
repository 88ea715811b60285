//! What a proof found.

use std::time::Duration;

/// Which numbers prove that nothing is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// `seq`: every record of the gateway is to arrive.
    Seq,
    /// `device_seq`: only some devices are sent there; what arrives of a device is to be complete, and so are the
    /// gateway's own events.
    Device,
}

/// What arrived, and what did not.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// What was proved by.
    pub by: By,
    /// A stream each, those of a gateway in the order of their numbers.
    pub streams: Vec<StreamReport>,
    /// Messages of a gateway without a number: retained descriptions, presence.
    pub unnumbered_messages: u64,
    /// Messages that no gateway sent, or damaged ones.
    pub foreign_messages: u64,
    /// By `seq` something is missing, but of each device everything is there.
    pub devices_complete: bool,
}

/// What arrived of a stream.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StreamReport {
    /// The gateway.
    pub gateway: String,
    /// The stream's id.
    pub stream: String,
    /// Different records.
    pub records: u64,
    /// Lowest and highest `seq`.
    pub seq: (u64, u64),
    /// The devices of which records arrived, in the order of their names.
    pub devices: Vec<String>,
    /// Numbers that neither came nor are explained: one entry, or by device one for each device that lacks some.
    pub missing: Vec<Missing>,
    /// Numbers that did not come, but are named by an event.
    pub explained: u64,
    /// Records of which not all parts came.
    pub incomplete: u64,
    /// Messages that came again with the same content.
    pub duplicates: u64,
    /// Messages that came again so late that their content could not be compared.
    pub uncompared: u64,
    /// Messages that contradict an earlier one.
    pub contradicting: u64,
    /// The first few of those.
    pub contradictions: Vec<Contradiction>,
    /// First arrivals below one already seen in their lane (live or historical).
    pub reordered: u64,
    /// Records marked as sent from the backlog.
    pub historical: u64,
    /// Records that arrived later after their reading than the terms allow.
    pub late: u64,
    /// The longest time from reading to arrival.
    pub latest: Duration,
    /// Readings that were lost before they had a number, as events tell.
    pub never_numbered: u64,
    /// Other upstreams that did not deliver some records of this stream, as events tell.
    pub elsewhere: Vec<String>,
}

/// Numbers that are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// By device: which; `None`: the gateway's own records. By `seq`: `None`.
    pub device: Option<String>,
    /// How many.
    pub count: u64,
    /// The first ranges of them, both ends included; at most [`Missing::MOST_RANGES`].
    pub ranges: Vec<(u64, u64)>,
    /// Whether there are more ranges.
    pub more: bool,
}

/// Two messages that cannot both be true.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Contradiction {
    /// This `seq` came again with other content.
    Content {
        /// Its number.
        seq: u64,
    },
    /// A `device_seq` came with two different `seq`.
    DeviceSeq {
        /// The device; `None`: the gateway's own.
        device: Option<String>,
        /// The number that came twice.
        device_seq: u64,
        /// The later message's number.
        seq: u64,
    },
}

impl Missing {
    /// Most ranges in a report.
    pub const MOST_RANGES: usize = 20;
}

impl StreamReport {
    /// How many numbers neither came nor are explained.
    pub fn missing_count(&self) -> u64 {
        self.missing.iter().map(|missing| missing.count).sum()
    }

    /// Whether every number came or is explained, and nothing contradicts.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.incomplete == 0 && self.contradicting == 0
    }
}

impl Report {
    /// Whether something arrived, every number of it came or is explained, and nothing contradicts.
    pub fn is_complete(&self) -> bool {
        self.records() > 0 && self.streams.iter().all(StreamReport::is_complete)
    }

    /// Different records of all streams.
    pub fn records(&self) -> u64 {
        self.streams.iter().map(|stream| stream.records).sum()
    }

    /// First arrivals out of order, of all streams.
    pub fn reordered(&self) -> u64 {
        self.streams.iter().map(|stream| stream.reordered).sum()
    }

    /// Messages that came again with the same content, or too late to compare it, of all streams.
    pub fn duplicates(&self) -> u64 {
        let again = |stream: &StreamReport| stream.duplicates + stream.uncompared;
        self.streams.iter().map(again).sum()
    }
}
