//! What has arrived at the embedded broker: the latest values, and whether anything is missing.

#![allow(
    clippy::indexing_slicing,
    reason = "indexing a JSON value that is not there gives null"
)]

use std::collections::{BTreeMap, VecDeque};

use serde_json::Value;

use crate::reading::RangeSet;

/// Most events that are remembered for the view.
const EVENTS: usize = 5;

/// Everything the view shows of what arrived.
#[derive(Default)]
pub(super) struct Arrivals {
    pub(super) devices: BTreeMap<String, Device>,
    /// The latest events, the newest last.
    pub(super) events: VecDeque<String>,
    pub(super) records: u64,
    pub(super) duplicates: u64,
    /// Records that came more than ten seconds after their reading.
    pub(super) historical: u64,
    seen: RangeSet,
}

/// The latest of a device.
#[derive(Default)]
pub(super) struct Device {
    /// Point, value and quality where it is not good, in the order of the message.
    pub(super) values: Vec<(String, String)>,
    /// When the latest scan was read.
    pub(super) time: Option<jiff::Timestamp>,
    pub(super) scans: u64,
}

impl Arrivals {
    /// Takes a message's payload.
    pub(super) fn take(&mut self, payload: &[u8]) {
        let Ok(message) = serde_json::from_slice::<Value>(payload) else {
            return;
        };
        // Retained descriptions have no number: they are no records.
        let Some(seq) = message["seq"].as_u64() else {
            return;
        };
        if self.seen.contains(seq) {
            self.duplicates += 1;
            return;
        }
        self.seen.insert(seq, seq);
        self.records += 1;
        self.historical += u64::from(message["historical"] == true);
        let device = message["device"].as_str();
        if let Some(event) = message["event"].as_str() {
            let time = message["time"]
                .as_str()
                .and_then(|time| time.get(11..19))
                .unwrap_or_default();
            self.note(format!("{time}  {event}  {}", device.unwrap_or_default()));
        } else if let (Some(device), Some(values)) = (device, message["values"].as_object()) {
            let latest = self.devices.entry(device.to_owned()).or_default();
            latest.take(&message, values);
        }
    }

    fn note(&mut self, event: String) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    /// How many numbers up to the highest one that arrived are missing.
    pub(super) fn missing(&self) -> u64 {
        self.seen
            .bounds()
            .map_or(0, |(_, last)| last.saturating_sub(self.seen.len()))
    }
}

impl Device {
    fn take(&mut self, message: &Value, values: &serde_json::Map<String, Value>) {
        self.scans += 1;
        let time = message["time"].as_str().and_then(|text| text.parse().ok());
        if time < self.time {
            return;
        }
        self.time = time;
        for (point, value) in values {
            let shown = match &message["quality"][point.as_str()] {
                Value::String(quality) => format!("{} ({quality})", show(value)),
                _ => show(value),
            };
            match self.values.iter_mut().find(|(name, _)| name == point) {
                Some((_, old)) => *old = shown,
                None => self.values.push((point.clone(), shown)),
            }
        }
    }
}

fn show(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(show).collect::<Vec<_>>().join(" "),
        Value::Bool(on) => if *on { "on" } else { "off" }.to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_record_is_counted_until_it_arrives() {
        let mut arrivals = Arrivals::default();
        let scan = |seq: u64| {
            format!(
                r#"{{"seq":{seq},"device":"m","time":"2026-11-20T09:00:0{seq}Z","values":{{"u":{seq}}}}}"#
            )
        };
        for seq in [1, 3, 3] {
            arrivals.take(scan(seq).as_bytes());
        }
        assert_eq!(
            (arrivals.records, arrivals.missing(), arrivals.duplicates),
            (2, 1, 1)
        );
        arrivals.take(scan(2).as_bytes());
        assert_eq!(arrivals.missing(), 0);
        let newest = arrivals.devices.get("m").unwrap();
        assert_eq!(newest.values, [("u".to_owned(), "3".to_owned())]);
    }
}
