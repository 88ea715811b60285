//! What arrived at one destination: proved complete by the product's own books, and kept for what they do not look at, the
//! values.

use std::collections::BTreeMap;

use forebay::proof::{self, Report, Terms};
use serde_json::Value;

/// What arrived.
pub struct Ledger {
    /// The first message of each number, by stream and `seq`.
    records: BTreeMap<(String, u64), Value>,
    report: Report,
}

impl Ledger {
    /// Takes messages in the order of their arrival. Numbers are to begin at 1.
    pub fn of(messages: impl IntoIterator<Item = Value>) -> Self {
        let terms = Terms {
            from_start: true,
            ..Terms::default()
        };
        Self::with(terms, messages)
    }

    /// The same, to be proved on these terms.
    pub fn with(terms: Terms, messages: impl IntoIterator<Item = Value>) -> Self {
        let mut proof = proof::Ledger::new(terms);
        let mut records = BTreeMap::new();
        for message in messages {
            proof.take(message.to_string().as_bytes(), None);
            if let (Some(stream), Some(seq)) = (message["stream"].as_str(), message["seq"].as_u64())
            {
                records.entry((stream.to_owned(), seq)).or_insert(message);
            }
        }
        Self {
            records,
            report: proof.report(),
        }
    }

    /// What was found.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// How many different records arrived.
    pub fn len(&self) -> usize {
        self.records.len()
    }

    /// How many arrived again.
    pub fn duplicates(&self) -> u64 {
        self.report.duplicates()
    }

    /// The messages of one event.
    pub fn events(&self, name: &str) -> Vec<&Value> {
        let ours = |message: &&Value| message["event"] == name;
        self.in_order(ours)
    }

    /// The scans of a device in the order of their numbers.
    pub fn scans(&self, device: &str) -> Vec<&Value> {
        let ours = |message: &&Value| message["device"] == device && message["values"].is_object();
        self.in_order(ours)
    }

    fn in_order(&self, ours: impl FnMut(&&Value) -> bool) -> Vec<&Value> {
        let mut messages: Vec<_> = self.records.values().filter(ours).collect();
        messages.sort_by_key(|message| message["seq"].as_u64());
        messages
    }

    /// How many streams.
    pub fn stream_count(&self) -> usize {
        self.report.streams.len()
    }

    /// Panics with what was found unless every number is there or explained, nothing contradicts, and each lane is in order.
    pub fn assert_complete(&self) {
        assert!(self.report.is_complete(), "{:#?}", self.report);
        assert_eq!(self.report.reordered(), 0, "{:#?}", self.report);
        assert_eq!(self.report.foreign_messages, 0, "{:#?}", self.report);
    }
}
