//! What arrived of one stream.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::ledger::Terms;
use super::line::Line;
use super::message::{Begin, Message};
use super::report::{Contradiction, StreamReport};

/// Most contradictions that are told one by one.
const MOST_TOLD: usize = 10;
/// Most upstreams that are remembered for what they did not deliver; a gateway has a few.
const MOST_UPSTREAMS: usize = 100;

/// A stream's books.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) gateway: String,
    pub(super) id: String,
    pub(super) seq: Line,
    pub(super) devices: BTreeMap<Option<String>, Line>,
    pub(super) begin: Option<Begin>,
    /// Highest `seq` that came live, and from the backlog.
    highest: [Option<u64>; 2],
    elsewhere: BTreeSet<String>,
    /// What needs no number line.
    counts: StreamReport,
}

/// What a message is to its stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    /// The first of its number.
    New,
    /// Its number came before.
    Again,
    /// It cannot be.
    Contradicts,
}

impl Stream {
    pub(super) fn new(message: &Message) -> Self {
        Self {
            gateway: message.gateway.clone(),
            id: message.stream.clone(),
            ..Self::default()
        }
    }

    /// Whether the message's numbers are known. Where holes were given up it is the line of the proof that decides.
    pub(super) fn novelty(&self, message: &Message) -> Novelty {
        let line = self.devices.get(&message.device);
        let of_device = line.is_some_and(|line| line.has(message.device_seq));
        match (self.seq.has(message.seq), of_device) {
            (true, true) => Novelty::Again,
            (false, false) => Novelty::New,
            _ if self.seq.given_up() > 0 || line.is_some_and(|line| line.given_up() > 0) => {
                Novelty::New
            }
            _ => Novelty::Contradicts,
        }
    }

    /// Takes a record that is there with all its parts.
    pub(super) fn arrived(&mut self, message: Message, terms: &Terms) {
        self.seq.arrived(message.seq);
        let highest = self.highest.get_mut(usize::from(message.historical));
        if let Some(highest) = highest {
            if highest.is_some_and(|highest| message.seq < highest) {
                self.counts.reordered += 1;
            }
            *highest = (*highest).max(Some(message.seq));
        }
        self.counts.historical += u64::from(message.historical);
        self.counts.never_numbered += message.told.unnumbered;
        if message.told.begin.is_some() {
            self.begin = message.told.begin;
        }
        let line = self.devices.entry(message.device).or_default();
        line.arrived(message.device_seq);
        match message.told.upstream {
            // Another upstream's refusals are no reason for a hole here.
            Some(upstream) if terms.upstream.as_ref() != Some(&upstream) => {
                if self.elsewhere.len() < MOST_UPSTREAMS {
                    self.elsewhere.insert(upstream);
                }
            }
            _ => {
                line.explain(&message.told.device_seq);
                self.seq.explain(&message.told.seq);
            }
        }
    }

    /// Notes how long a message took from its reading, in nanoseconds.
    pub(super) fn took(&mut self, nanoseconds: i128, terms: &Terms) {
        let took = Duration::from_nanos(
            nanoseconds
                .clamp(0, u64::MAX.into())
                .try_into()
                .unwrap_or(u64::MAX),
        );
        self.counts.late += u64::from(took > terms.late_after);
        self.counts.latest = self.counts.latest.max(took);
    }

    /// Notes a message that came before; `same`: with the same content, as far as that is known.
    pub(super) fn again(&mut self, message: &Message, same: Option<bool>) {
        match same {
            Some(true) => self.counts.duplicates += 1,
            None => self.counts.uncompared += 1,
            Some(false) => self.contradict(Contradiction::Content { seq: message.seq }),
        }
    }

    /// Notes a message whose two numbers do not fit to one that came before.
    pub(super) fn contradicts(&mut self, message: &Message) {
        let contradiction = if self.seq.has(message.seq) {
            Contradiction::Content { seq: message.seq }
        } else {
            Contradiction::DeviceSeq {
                device: message.device.clone(),
                device_seq: message.device_seq,
                seq: message.seq,
            }
        };
        self.contradict(contradiction);
    }

    /// All that is counted, without what the number lines tell.
    pub(super) fn report(&self) -> StreamReport {
        StreamReport {
            gateway: self.gateway.clone(),
            stream: self.id.clone(),
            records: self.seq.count(),
            seq: self.seq.bounds().unwrap_or_default(),
            devices: self.devices.keys().flatten().cloned().collect(),
            elsewhere: self.elsewhere.iter().cloned().collect(),
            ..self.counts.clone()
        }
    }

    fn contradict(&mut self, contradiction: Contradiction) {
        self.counts.contradicting += 1;
        if self.counts.contradictions.len() < MOST_TOLD {
            self.counts.contradictions.push(contradiction);
        }
    }
}
