//! A store at a glance: what it holds, and how much of it waits for which upstream.

use super::Inspection;
use crate::reading::{Name, RangeSet, Stamp, StreamId};
use crate::store::StoreError;
use crate::store::engine::EngineError;

/// Most streams that are listed; a store that has so many begins one with every start.
const MOST_STREAMS: usize = 1000;

/// A record, by its place and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its `seq`.
    pub seq: u64,
    /// When it was read.
    pub stamp: Stamp,
}

/// The records of a stream that are in the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamSpan {
    /// The stream.
    pub stream: StreamId,
    /// `seq` of the first.
    pub first: u64,
    /// `seq` of the last.
    pub last: u64,
    /// The earliest time in the first block, in nanoseconds since 1970.
    pub earliest: i64,
    /// The latest time in the last block, in nanoseconds since 1970.
    pub latest: i64,
}

/// What waits for an upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// The upstream.
    pub upstream: Name,
    /// Records that it has not confirmed.
    pub records: u64,
    /// About as many bytes of the store.
    pub bytes: u64,
    /// The oldest of them.
    pub oldest: Option<Seen>,
    /// Records that are kept for this upstream alone: all others have confirmed what comes before and among them.
    pub pinned: u64,
}

/// A store at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overview {
    /// Bytes that the directory takes, by allocated blocks.
    pub bytes: u64,
    /// Bytes free on the file system for this process.
    pub free: Option<u64>,
    /// The present stream.
    pub stream: StreamId,
    /// The streams whose records are there, the oldest first.
    pub streams: Vec<StreamSpan>,
    /// Records in the store.
    pub records: u64,
    /// The oldest one.
    pub oldest: Option<Seen>,
    /// The newest one.
    pub newest: Option<Seen>,
    /// The daemon stopped in order.
    pub clean: bool,
    /// Why the next start begins a new stream; `None`: this one goes on.
    pub next_stream: Option<String>,
    /// What waits for each upstream that the store knows, by name.
    pub backlogs: Vec<Backlog>,
}

impl Inspection {
    /// Gathers the overview. Reads a few blocks only.
    ///
    /// # Errors
    /// [`StoreError`] where the disk cannot be read.
    pub fn overview(&mut self) -> Result<Overview, StoreError> {
        let streams = self.streams().map_err(|error| self.failed(error))?;
        let present = spans(&streams);
        let backlogs = self.backlogs(&present)?;
        let bounds = present.bounds();
        Ok(Overview {
            bytes: self.place.used(),
            free: self.place.free().map(|(free, _)| free),
            stream: self.stream,
            streams,
            records: present.len(),
            oldest: self.seen(bounds.map(|(first, _)| first))?,
            newest: self.seen(bounds.map(|(_, last)| last))?,
            clean: self.loaded.clean,
            next_stream: self.next_stream(),
            backlogs,
        })
    }

    /// The records that are in the store, by their `seq`.
    ///
    /// # Errors
    /// [`StoreError`] where the disk cannot be read.
    pub fn present(&self) -> Result<RangeSet, StoreError> {
        let streams = self.streams().map_err(|error| self.failed(error))?;
        Ok(spans(&streams))
    }

    /// Of each upstream that the store knows, by name, the records that it has not confirmed.
    ///
    /// # Errors
    /// As [`Self::present`].
    pub fn waiting(&self) -> Result<Vec<(Name, RangeSet)>, StoreError> {
        Ok(self.waiting_of(&self.present()?))
    }

    fn waiting_of(&self, present: &RangeSet) -> Vec<(Name, RangeSet)> {
        let cursors = self.loaded.cursors.iter();
        let mut waiting: Vec<_> = cursors
            .map(|(name, cursor)| (name.clone(), without(present, cursor.confirmed())))
            .collect();
        waiting.sort_by(|(a, _), (b, _)| a.cmp(b));
        waiting
    }

    fn backlogs(&mut self, present: &RangeSet) -> Result<Vec<Backlog>, StoreError> {
        let waiting = self.waiting_of(present);
        let first_of = |set: &RangeSet| set.bounds().map(|(first, _)| first);
        let mut backlogs = Vec::new();
        for (place, (upstream, set)) in waiting.iter().enumerate() {
            let others = waiting.iter().enumerate().filter(|(at, _)| *at != place);
            let wanted = others.filter_map(|(_, (_, other))| first_of(other)).min();
            let (oldest, end) = (first_of(set), wanted.unwrap_or(self.end()));
            backlogs.push(Backlog {
                upstream: upstream.clone(),
                records: set.len(),
                bytes: self
                    .bytes_of(set, present)
                    .map_err(|error| self.failed(error))?,
                oldest: self.seen(oldest)?,
                pinned: oldest.map_or(0, |oldest| between(present, oldest, end)),
            });
        }
        Ok(backlogs)
    }

    fn next_stream(&self) -> Option<String> {
        let begins = self.loaded.checkpoint.stream != self.stream;
        let broken = self.loaded.broken.as_ref().filter(|_| begins)?;
        Some(broken.reason.clone())
    }

    fn seen(&mut self, seq: Option<u64>) -> Result<Option<Seen>, StoreError> {
        let Some(seq) = seq else { return Ok(None) };
        let records = self.read(seq)?;
        Ok(records.first().map(|record| Seen {
            seq: record.seq,
            stamp: record.stamp,
        }))
    }

    /// The share that `waiting` has of the records that are `present` from its oldest on.
    fn bytes_of(&self, waiting: &RangeSet, present: &RangeSet) -> Result<u64, EngineError> {
        let Some((oldest, _)) = waiting.bounds() else {
            return Ok(0);
        };
        let bytes = u128::from(self.engine.bytes_from(oldest)?);
        let all = u128::from(between(present, oldest, self.end())).max(1);
        let share = bytes * u128::from(waiting.len()) / all;
        Ok(u64::try_from(share).unwrap_or(u64::MAX))
    }

    /// The streams in the order of their numbers: each is one run, so its end is found by halving.
    fn streams(&self) -> Result<Vec<StreamSpan>, EngineError> {
        let (mut found, mut at, end) = (Vec::new(), self.floor(), self.end());
        while found.len() < MOST_STREAMS && at < end {
            let Some(head) = self.header(at)? else { break };
            let mut tail = head.clone();
            let (mut low, mut high) = (head.end().saturating_sub(1), end.saturating_sub(1));
            while low < high {
                let middle = low + (high - low).div_ceil(2);
                match self.header(middle)? {
                    Some(header) if header.stream == head.stream => {
                        low = header.end().saturating_sub(1).max(middle);
                        tail = header;
                    }
                    _ => high = middle.saturating_sub(1),
                }
            }
            found.push(StreamSpan {
                stream: head.stream,
                first: head.first.max(at),
                last: tail.end().saturating_sub(1),
                earliest: head.earliest,
                latest: tail.latest,
            });
            at = tail.end();
        }
        Ok(found)
    }
}

fn spans(streams: &[StreamSpan]) -> RangeSet {
    streams.iter().map(|span| (span.first, span.last)).collect()
}

/// The numbers of `all` that are not in `some`.
fn without(all: &RangeSet, some: &RangeSet) -> RangeSet {
    let mut left = all.clone();
    for (first, last) in some.iter() {
        left.remove(first, last);
    }
    left
}

/// How many of `all` lie from `from` up to, not including, `to`.
fn between(all: &RangeSet, from: u64, to: u64) -> u64 {
    let inside = all.iter().map(|(first, last)| {
        let end = last.saturating_add(1).min(to);
        end.saturating_sub(first.max(from))
    });
    inside.sum()
}
