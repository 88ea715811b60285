//! Proves completeness of what arrived: every number delivered or named by an event, first arrivals in order.

use std::collections::{BTreeMap, HashMap};

use forebay::reading::RangeSet;
use serde_json::Value;

/// What arrived at one destination, by stream and device.
#[derive(Default)]
pub struct Ledger {
    streams: BTreeMap<String, Numbers>,
    devices: BTreeMap<(String, String), Numbers>,
    by_number: HashMap<(String, u64), Value>,
    /// Records that arrived again.
    pub duplicates: u64,
    /// First arrivals below one already seen in their stream.
    pub out_of_order: Vec<(String, u64)>,
    /// Everything that is wrong in itself: a repeated number with other values, a number given twice.
    pub wrong: Vec<String>,
}

#[derive(Default)]
struct Numbers {
    seen: RangeSet,
    explained: RangeSet,
}

impl Numbers {
    /// The numbers from `first` to the last seen that neither came nor are explained.
    fn missing(&self, first: u64) -> Vec<(u64, u64)> {
        let Some((_, last)) = self.seen.bounds() else {
            return Vec::new();
        };
        let mut missing = RangeSet::new();
        missing.insert(first, last);
        for (first, last) in self.seen.iter().chain(self.explained.iter()) {
            missing.remove(first, last);
        }
        missing.iter().collect()
    }
}

fn ranges(value: &Value) -> RangeSet {
    let pairs = value.as_array().into_iter().flatten();
    pairs
        .map(|pair| (pair[0].as_u64().unwrap(), pair[1].as_u64().unwrap()))
        .collect()
}

impl Ledger {
    /// Takes messages in the order of their arrival; those without numbers (retained descriptions) are passed over.
    pub fn of(messages: impl IntoIterator<Item = Value>) -> Self {
        let mut ledger = Self::default();
        for message in messages {
            if message["seq"].is_u64() {
                ledger.take(message);
            }
        }
        ledger
    }

    fn take(&mut self, message: Value) {
        let stream = message["stream"].as_str().unwrap().to_owned();
        let (seq, device_seq) = (
            message["seq"].as_u64().unwrap(),
            message["device_seq"].as_u64().unwrap(),
        );
        // The gateway's own records have no device.
        let device = message["device"].as_str().unwrap_or_default().to_owned();
        if let Some(first) = self.by_number.get(&(stream.clone(), seq)) {
            self.duplicates += 1;
            for key in [
                "device",
                "device_seq",
                "values",
                "quality",
                "event",
                "detail",
            ] {
                if first[key] != message[key] {
                    self.wrong
                        .push(format!("{stream}-{seq} came again with another {key}"));
                }
            }
            return;
        }
        let numbers = self.streams.entry(stream.clone()).or_default();
        if numbers.seen.bounds().is_some_and(|(_, last)| last > seq) {
            self.out_of_order.push((stream.clone(), seq));
        }
        numbers.seen.insert(seq, seq);
        let detail = &message["detail"];
        numbers.explained.extend(&ranges(&detail["seq"]));
        let of_device = self
            .devices
            .entry((stream.clone(), device.clone()))
            .or_default();
        if of_device.seen.contains(device_seq) {
            self.wrong
                .push(format!("{stream}: {device} has number {device_seq} twice"));
        }
        of_device.seen.insert(device_seq, device_seq);
        of_device.explained.extend(&ranges(&detail["device_seq"]));
        self.by_number.insert((stream, seq), message);
    }

    /// How many different records arrived.
    pub fn len(&self) -> usize {
        self.by_number.len()
    }

    /// The messages of one event.
    pub fn events(&self, name: &str) -> Vec<&Value> {
        let mut events: Vec<_> = self
            .by_number
            .values()
            .filter(|message| message["event"] == name)
            .collect();
        events.sort_by_key(|event| event["seq"].as_u64());
        events
    }

    /// The scans of a device in the order of their numbers.
    pub fn scans(&self, device: &str) -> Vec<&Value> {
        let ours = |message: &&Value| message["device"] == device && message["values"].is_object();
        let mut scans: Vec<_> = self.by_number.values().filter(ours).collect();
        scans.sort_by_key(|scan| scan["seq"].as_u64());
        scans
    }

    /// The highest number of any stream.
    pub fn last_seq(&self) -> u64 {
        self.streams
            .values()
            .filter_map(|numbers| numbers.seen.bounds())
            .map(|(_, last)| last)
            .max()
            .unwrap_or(0)
    }

    /// How many streams.
    pub fn stream_count(&self) -> usize {
        self.streams.len()
    }

    /// Panics with the holes unless every number is there or explained, by stream and by device, in order, and nothing
    /// came twice with other content. The first stream begins at 1; later ones go on rising from where they begin.
    pub fn assert_complete(&self) {
        let mut holes = Vec::new();
        let begins = |numbers: &Numbers| numbers.seen.bounds().map_or(1, |(first, _)| first);
        let oldest = self
            .streams
            .iter()
            .min_by_key(|(_, numbers)| begins(numbers))
            .map(|(stream, _)| stream);
        let first = |stream: &String, numbers| {
            if Some(stream) == oldest {
                1
            } else {
                begins(numbers)
            }
        };
        for (stream, numbers) in &self.streams {
            let missing = numbers.missing(first(stream, numbers)).into_iter();
            holes.extend(missing.map(|(a, b)| format!("{stream}: seq {a} to {b}")));
        }
        for ((stream, device), numbers) in &self.devices {
            let missing = numbers.missing(first(stream, numbers)).into_iter();
            holes.extend(missing.map(|(a, b)| format!("{stream}: {device} device_seq {a} to {b}")));
        }
        assert!(holes.is_empty(), "missing: {holes:#?}");
        assert!(self.wrong.is_empty(), "{:#?}", self.wrong);
        assert!(
            self.out_of_order.is_empty(),
            "out of order: {:?}",
            self.out_of_order
        );
    }
}

mod tests {
    use serde_json::json;

    use super::*;

    fn record(seq: u64, device_seq: u64) -> Value {
        json!({"stream": "a", "seq": seq, "device": "d", "device_seq": device_seq, "values": {"x": seq}})
    }

    #[test]
    fn a_ledger_sees_what_is_missing_unless_it_is_explained() {
        Ledger::of([record(1, 1), record(2, 2)]).assert_complete();
        let hole = || Ledger::of([record(1, 1), record(3, 3)]).assert_complete();
        assert!(std::panic::catch_unwind(hole).is_err());
        let mut explained = record(4, 4);
        explained["detail"] = json!({"seq": [[2, 3]], "device_seq": [[2, 3]]});
        Ledger::of([record(1, 1), explained]).assert_complete();
        assert!(
            std::panic::catch_unwind(|| Ledger::of([record(2, 2), record(1, 1)]).assert_complete())
                .is_err()
        );
        assert_eq!(Ledger::of([record(1, 1), record(1, 1)]).duplicates, 1);
    }
}
