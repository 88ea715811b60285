//! What is read ahead for a lane, so that reading and sending overlap.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::source::Source;
use super::window::{Lane, Window};
use crate::reading::Record;
use crate::store::{Batch, ReadLimit, Wanted};

/// What is read ahead: more than one burst, and little memory.
const AHEAD: ReadLimit = ReadLimit {
    records: 512,
    bytes: 1 << 20,
};
/// After a failed read.
const READ_PAUSE: Duration = Duration::from_secs(1);

type Reading<E> = Pin<Box<dyn Future<Output = Result<Batch, E>> + Send>>;

/// Which feed's read is over, and what it brought.
pub(super) type Read<S> = (usize, Result<Batch, <S as Source>::Error>);

/// The records of a lane that are read and not submitted.
pub(super) struct Feed<S: Source> {
    pub(super) lane: Lane,
    ahead: VecDeque<Arc<Record>>,
    /// Where the next read begins.
    read_from: u64,
    reading: Option<Reading<S::Error>>,
    wanted: Wanted,
    /// A retryable refusal or a failed read: nothing is submitted or read before this moment.
    pub(super) rest: Option<Instant>,
}

impl<S: Source> Feed<S> {
    /// From this record on.
    pub(super) fn new(lane: Lane, from: u64, wanted: Wanted) -> Self {
        Self {
            lane,
            ahead: VecDeque::new(),
            read_from: from,
            reading: None,
            wanted,
            rest: None,
        }
    }

    /// Goes on from this record instead.
    pub(super) fn restart(&mut self, from: u64) {
        self.ahead.clear();
        self.reading = None;
        self.read_from = from;
    }

    /// The next record, where one is at hand.
    pub(super) fn front(&self) -> Option<Arc<Record>> {
        self.ahead.front().cloned()
    }

    /// It is dealt with.
    pub(super) fn pop(&mut self) {
        self.ahead.pop_front();
    }

    /// Whether it only waits for new records.
    pub(super) fn is_idle(&self) -> bool {
        self.reading.is_none() && self.ahead.is_empty()
    }

    /// Whether nothing is left of what there is up to `head`.
    pub(super) fn is_exhausted(&self, window: &Window, head: u64) -> bool {
        self.ahead.is_empty() && !self.has_more(window, head)
    }

    /// Starts the next read where something is there to read and little is at hand.
    pub(super) fn read_on(&mut self, source: &S, window: &Window, head: u64) {
        let wanted = self.ahead.len() < AHEAD.records / 2 && self.has_more(window, head);
        let may = self.reading.is_none() && self.rest.is_none() && !window.is_halted(self.lane);
        if wanted && may {
            self.read_from = window.unconfirmed(self.read_from);
            let (source, from, wanted) = (source.clone(), self.read_from, self.wanted.clone());
            self.reading = Some(Box::pin(
                async move { source.read(from, AHEAD, wanted).await },
            ));
        }
    }

    /// What the read under way has brought.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Batch, S::Error>> {
        let Some(reading) = &mut self.reading else {
            return Poll::Pending;
        };
        let read = reading.as_mut().poll(context);
        if read.is_ready() {
            self.reading = None;
        }
        read
    }

    /// Takes it in.
    pub(super) fn stock(&mut self, batch: Batch) {
        self.read_from = batch.next;
        self.ahead.extend(batch.records);
    }

    /// Where it reads on: with nothing at hand, there is nothing below for this lane.
    pub(super) fn read_from(&self) -> u64 {
        self.read_from
    }

    /// Tries again in a while.
    pub(super) fn rest_after_failed_read(&mut self) {
        self.rest = Some(Instant::now() + READ_PAUSE);
    }

    fn has_more(&self, window: &Window, head: u64) -> bool {
        let from = window.unconfirmed(self.read_from);
        from <= head && from < window.end(self.lane)
    }
}

/// The first read that is over.
pub(super) fn poll_reads<S: Source>(
    feeds: &mut [Feed<S>],
    context: &mut Context<'_>,
) -> Poll<Read<S>> {
    for (index, feed) in feeds.iter_mut().enumerate() {
        if let Poll::Ready(read) = feed.poll(context) {
            return Poll::Ready((index, read));
        }
    }
    Poll::Pending
}
