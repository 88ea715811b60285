//! Messages in, report out.

use std::collections::BTreeMap;
use std::time::Duration;

use super::line::{Line, excuse};
use super::message::{Begin, Message, Read, read};
use super::parts::{Part, Parts};
use super::recent::Recent;
use super::report::{By, Missing, Report, StreamReport};
use super::stream::{Novelty, Stream};
use crate::reading::RangeSet;

/// What is to be proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// Which numbers count.
    pub by: By,
    /// The upstream that delivers here: what it refused is explained. What others refused is not.
    pub upstream: Option<String>,
    /// Numbers are to begin at 1, not at the lowest that arrives.
    pub from_start: bool,
    /// What arrives later than this after its reading is late.
    pub late_after: Duration,
}

impl Default for Terms {
    /// By `seq`, from the first that arrives, late after 10 s.
    fn default() -> Self {
        Self {
            by: By::Seq,
            upstream: None,
            from_start: false,
            late_after: Duration::from_secs(10),
        }
    }
}

/// The books of everything that arrives, of any number of gateways.
#[derive(Debug)]
pub struct Ledger {
    terms: Terms,
    /// In the order of their first messages.
    streams: Vec<Stream>,
    /// By gateway and stream.
    index: BTreeMap<(String, String), usize>,
    recent: Recent,
    parts: Parts,
    unnumbered: u64,
    foreign: u64,
}

impl Ledger {
    /// Empty books.
    pub fn new(terms: Terms) -> Self {
        Self {
            terms,
            streams: Vec::new(),
            index: BTreeMap::new(),
            recent: Recent::default(),
            parts: Parts::default(),
            unnumbered: 0,
            foreign: 0,
        }
    }

    /// Takes the payload of a message, in the order of arrival; `arrived` in nanoseconds since 1970, where known. Whether a
    /// gateway sent it.
    pub fn take(&mut self, payload: &[u8], arrived: Option<i128>) -> bool {
        match read(payload) {
            Read::Message(message) => self.record(*message, arrived),
            Read::Unnumbered => self.unnumbered += 1,
            Read::Foreign => {
                self.foreign += 1;
                return false;
            }
        }
        true
    }

    /// How many different records came.
    pub fn records(&self) -> u64 {
        self.streams.iter().map(|stream| stream.seq.count()).sum()
    }

    /// What is proved so far.
    pub fn report(&self) -> Report {
        let streams = self.judge(self.terms.by);
        let complete = |streams: &[StreamReport]| streams.iter().all(StreamReport::is_complete);
        let devices_complete =
            self.terms.by == By::Seq && !complete(&streams) && complete(&self.judge(By::Device));
        Report {
            by: self.terms.by,
            streams,
            unnumbered_messages: self.unnumbered,
            foreign_messages: self.foreign,
            devices_complete,
        }
    }

    fn record(&mut self, message: Message, arrived: Option<i128>) {
        let key = (message.gateway.clone(), message.stream.clone());
        let index = *self.index.entry(key).or_insert_with(|| {
            self.streams.push(Stream::new(&message));
            self.streams.len() - 1
        });
        let Some(stream) = self.streams.get_mut(index) else {
            return;
        };
        let part = message.part.map_or(0, |(part, _)| part);
        let place = (index, message.seq, part);
        match stream.novelty(&message) {
            Novelty::Again => {
                stream.again(&message, self.recent.same(place, message.fingerprint));
                return;
            }
            Novelty::Contradicts => {
                stream.contradicts(&message);
                return;
            }
            Novelty::New => {}
        }
        let whole = match message.part {
            None => true,
            Some(part) => match self.parts.take((index, message.seq), part) {
                Part::All => true,
                Part::Some => false,
                Part::Again => {
                    stream.again(&message, self.recent.same(place, message.fingerprint));
                    return;
                }
            },
        };
        self.recent.note(place, message.fingerprint);
        if whole {
            if let (Some(arrived), Some(time)) = (arrived, message.time_ns) {
                stream.took(arrived - time, &self.terms);
            }
            stream.arrived(message, &self.terms);
        }
    }

    fn judge(&self, by: By) -> Vec<StreamReport> {
        let mut reports = Vec::new();
        for epoch in self.epochs() {
            for (place, (index, stream)) in epoch.iter().enumerate() {
                let mut report = stream.report();
                report.incomplete = self.parts.open(*index);
                match by {
                    By::Seq => {
                        let lines: Vec<_> =
                            epoch.iter().map(|(_, other)| Some(&other.seq)).collect();
                        self.settle(&mut report, None, &lines, place);
                    }
                    By::Device => {
                        for device in stream.devices.keys() {
                            let lines: Vec<_> = epoch
                                .iter()
                                .map(|(_, other)| other.devices.get(device))
                                .collect();
                            self.settle(&mut report, device.clone(), &lines, place);
                        }
                    }
                }
                reports.push(report);
            }
        }
        reports
    }

    /// The streams of each gateway and store. Within one, numbers go on rising from stream to stream, so in the order of
    /// their numbers they are one line; with a new store they begin anew.
    fn epochs(&self) -> Vec<Vec<(usize, &Stream)>> {
        let mut epochs: BTreeMap<(&str, usize), Vec<(usize, &Stream)>> = BTreeMap::new();
        let mut stores: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, stream) in self.streams.iter().enumerate() {
            let store = stores.entry(&stream.gateway).or_default();
            *store += usize::from(stream.begin == Some(Begin::New));
            let epoch = epochs.entry((&stream.gateway, *store)).or_default();
            epoch.push((index, stream));
        }
        let mut epochs: Vec<_> = epochs.into_values().collect();
        for epoch in &mut epochs {
            epoch.sort_by_key(|(_, stream)| stream.seq.bounds());
        }
        epochs
    }

    /// Finds what is missing of the line at `place` among the `lines` of an epoch.
    fn settle(
        &self,
        report: &mut StreamReport,
        device: Option<String>,
        lines: &[Option<&Line>],
        place: usize,
    ) {
        let Some(line) = lines.get(place).copied().flatten() else {
            return;
        };
        let Some((first, last)) = line.bounds() else {
            return;
        };
        let before = lines
            .iter()
            .take(place)
            .flatten()
            .filter_map(|line| line.bounds())
            .next_back();
        let from = match before {
            Some((_, end)) => end.saturating_add(1).min(first),
            None if self.terms.from_start => first.min(1),
            None => first,
        };
        let mut absent = line.absent(from, last);
        report.explained += excuse(&mut absent, line.explained());
        for later in lines.iter().skip(place + 1).flatten() {
            // Its own numbers are another matter: a device's may begin below where this stream's ended.
            let mut explained = later.explained().clone();
            if let Some((begin, _)) = later.bounds() {
                explained.remove(begin, u64::MAX);
            }
            report.explained += excuse(&mut absent, &explained);
        }
        let count = absent.len().saturating_add(line.given_up());
        if count > 0 {
            report.missing.push(missing(device, count, &absent));
        }
    }
}

fn missing(device: Option<String>, count: u64, absent: &RangeSet) -> Missing {
    let ranges: Vec<_> = absent.iter().take(Missing::MOST_RANGES).collect();
    let told: u64 = ranges.iter().map(|(first, last)| last - first + 1).sum();
    Missing {
        device,
        count,
        more: told < count,
        ranges,
    }
}

#[cfg(test)]
mod tests;
