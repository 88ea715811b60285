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
use crate::store::ReadLimit;

/// What is read ahead: more than one burst, and little memory.
const AHEAD: ReadLimit = ReadLimit {
    records: 512,
    bytes: 1 << 20,
};
/// After a failed read.
const READ_PAUSE: Duration = Duration::from_secs(1);

type Reading<E> = Pin<Box<dyn Future<Output = Result<Vec<Arc<Record>>, E>> + Send>>;

/// Which feed's read is over, and what it brought.
pub(super) type Read<S> = (usize, Result<Vec<Arc<Record>>, <S as Source>::Error>);

/// The records of a lane that are read and not submitted.
pub(super) struct Feed<S: Source> {
    pub(super) lane: Lane,
    ahead: VecDeque<Arc<Record>>,
    /// Where the next read begins.
    read_from: u64,
    reading: Option<Reading<S::Error>>,
    /// The last record there was when it began.
    reading_to: u64,
    /// A retryable refusal or a failed read: nothing is submitted or read before this moment.
    pub(super) rest: Option<Instant>,
}

impl<S: Source> Feed<S> {
    /// From this record on.
    pub(super) fn new(lane: Lane, from: u64) -> Self {
        Self {
            lane,
            ahead: VecDeque::new(),
            read_from: from,
            reading: None,
            reading_to: 0,
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
            let (source, from) = (source.clone(), self.read_from);
            self.reading_to = head;
            self.reading = Some(Box::pin(async move { source.read(from, AHEAD).await }));
        }
    }

    /// What the read under way has brought.
    pub(super) fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Vec<Arc<Record>>, S::Error>> {
        let Some(reading) = &mut self.reading else {
            return Poll::Pending;
        };
        let read = reading.as_mut().poll(context);
        if read.is_ready() {
            self.reading = None;
        }
        read
    }

    /// Takes it in. `Some`: there is no record up to this one.
    pub(super) fn stock(&mut self, records: Vec<Arc<Record>>) -> Option<u64> {
        let last = records.last().map(|last| last.seq);
        self.read_from = last.unwrap_or(self.reading_to).saturating_add(1);
        self.ahead.extend(records);
        last.is_none().then_some(self.reading_to)
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
