//! One connection's life: fill the window, take the answers, move the cursor, until it ends.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::time::{Instant, Sleep, sleep_until};

use super::desk::Desk;
use super::source::Source;
use super::window::Outcome;
use crate::reading::{RangeSet, Record};
use crate::store::ReadLimit;
use crate::upstream::Connection;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::{Address, Incoming};

/// What is read ahead: more than one burst, so that reading and sending overlap, and little memory.
const AHEAD: ReadLimit = ReadLimit {
    records: 512,
    bytes: 1 << 20,
};
/// Answers taken before the window is filled again, so that neither side waits for the other for long.
const BURST: usize = 64;
/// After a failed read.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// What is out when the forwarder is stopped may be answered within this, so that it is not repeated.
const LEAVE: Duration = Duration::from_secs(2);

/// A connection that holds so long, or has brought a confirmation, is worth a line in the log.
const STEADY: Duration = Duration::from_secs(1);

/// Why a session ended.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// The forwarder is to stop.
    Cancelled,
    /// The connection broke.
    Broken(UpstreamError),
    /// The broker allows nothing of ours.
    Stopped(String),
}

/// Why nothing is submitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pause {
    /// A retryable refusal or a failed read: not before this moment.
    Until(Instant),
    /// The broker said so.
    Blocked,
    /// The forwarder stops, at the latest at this moment.
    Leaving(Instant),
}

type Reading<E> = Pin<Box<dyn Future<Output = Result<Vec<Arc<Record>>, E>> + Send>>;

/// A connection in use.
pub(super) struct Session<'a, S: Source> {
    desk: &'a mut Desk<S>,
    connection: &'a mut Connection,
    greetings: VecDeque<(Address, Bytes)>,
    /// Read, not submitted.
    ahead: VecDeque<Arc<Record>>,
    /// Where the next read begins.
    read_from: u64,
    reading: Option<Reading<S::Error>>,
    /// The last record there was when it began.
    reading_to: u64,
    pause: Option<Pause>,
    /// Confirmed, the store not told yet.
    fresh: RangeSet,
    opened: Instant,
}

impl<'a, S: Source> Session<'a, S> {
    pub(super) fn new(desk: &'a mut Desk<S>, connection: &'a mut Connection) -> Self {
        desk.window.rewind();
        let greetings = match connection.retains() {
            true => desk.greetings(),
            false => VecDeque::new(),
        };
        Self {
            read_from: desk.window.next(),
            desk,
            connection,
            greetings,
            ahead: VecDeque::new(),
            reading: None,
            reading_to: 0,
            pause: None,
            opened: Instant::now(),
            fresh: RangeSet::new(),
        }
    }

    /// Runs until the connection ends. The store knows of every confirmation by then.
    pub(super) async fn run(mut self) -> SessionEnd {
        let end = loop {
            if let Err(end) = self.turn().await {
                break end;
            }
        };
        self.tell();
        end
    }

    /// Fills the window, then waits for one thing to happen.
    async fn turn(&mut self) -> Result<(), SessionEnd> {
        self.fill().map_err(SessionEnd::Broken)?;
        self.tell();
        self.check()?;
        let mut head = self.desk.head.clone();
        self.read_on(*head.borrow_and_update());
        let more = self.pause.is_none() && !self.ahead.is_empty() && self.desk.window.has_room();
        let idle = self.reading.is_none() && self.ahead.is_empty();
        let due = self.due();
        let mut timer = pin!(due.map(sleep_until));
        let leaving = matches!(self.pause, Some(Pause::Leaving(_)));
        tokio::select! {
            biased;
            incoming = self.connection.next() => self.take(incoming),
            () = self.desk.cancel.cancelled(), if !leaving => {
                self.pause = Some(Pause::Leaving(Instant::now() + LEAVE));
                Ok(())
            }
            read = read(&mut self.reading), if self.reading.is_some() => {
                self.reading = None;
                self.stock(read);
                Ok(())
            }
            // A closed channel is a store that has stopped: nothing new will come.
            Ok(()) = head.changed(), if idle => Ok(()),
            // Other tasks have their turn also where a long backlog is passed over without sending anything.
            () = tokio::task::yield_now(), if more => Ok(()),
            () = timed(timer.as_mut().as_pin_mut()), if due.is_some() => Ok(()),
        }
    }

    /// Submits as much as there is room for.
    fn fill(&mut self) -> Result<(), UpstreamError> {
        if self.pause.is_some() {
            return Ok(());
        }
        while self.desk.window.has_room() {
            let message = if let Some((address, payload)) = self.greetings.pop_front() {
                self.desk.greet(address, payload)
            } else if let Some(record) = self.ahead.pop_front() {
                match self.desk.message(&record, &mut self.fresh) {
                    Some(message) => message,
                    None => continue,
                }
            } else {
                break;
            };
            self.desk.count.submitted += 1;
            self.connection.submit(message)?;
        }
        Ok(())
    }

    /// Starts the next read where something is there to read and little is at hand, and takes what a read has brought.
    /// Answers that keep coming would otherwise keep it waiting until the window is empty.
    fn read_on(&mut self, head: u64) {
        let wanted = self.ahead.len() < AHEAD.records / 2 && self.read_from <= head;
        if self.reading.is_none() && wanted && self.pause.is_none() && !self.desk.window.is_halted()
        {
            let (source, from) = (self.desk.source.clone(), self.read_from);
            self.reading_to = head;
            self.reading = Some(Box::pin(async move { source.read(from, AHEAD).await }));
        }
        let reading = self.reading.as_mut();
        if let Some(read) = reading.and_then(|reading| reading.as_mut().now_or_never()) {
            self.reading = None;
            self.stock(read);
        }
    }

    fn stock(&mut self, read: Result<Vec<Arc<Record>>, S::Error>) {
        match read {
            Ok(records) => {
                // Where nothing came, all that was there at the beginning of the read is gone.
                let last = records.last().map_or(self.reading_to, |last| last.seq);
                self.read_from = last.saturating_add(1);
                self.ahead.extend(records);
            }
            Err(error) => {
                self.desk
                    .trouble(format!("records cannot be read: {error}"));
                // A broker that takes nothing, or the leave, has the longer say.
                if self.pause.is_none() {
                    self.pause = Some(Pause::Until(Instant::now() + READ_PAUSE));
                }
            }
        }
    }

    /// Takes what came in, and all that came with it.
    fn take(&mut self, first: Result<Incoming, UpstreamError>) -> Result<(), SessionEnd> {
        let mut incoming = Some(first);
        for _ in 0..BURST {
            match incoming {
                Some(Ok(incoming)) => self.answer(incoming),
                Some(Err(error)) => return Err(SessionEnd::Broken(error)),
                None => break,
            }
            // Cancel-safe, and polled again before anything is waited for.
            incoming = self.connection.next().now_or_never();
        }
        match incoming {
            Some(Ok(incoming)) => self.answer(incoming),
            Some(Err(error)) => return Err(SessionEnd::Broken(error)),
            None => {}
        }
        Ok(())
    }

    fn answer(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Answer(token, answer) => match self.desk.window.answer(token, answer) {
                Outcome::Confirmed(seq) => {
                    self.desk.count.confirmed += 1;
                    self.fresh.insert(seq, seq);
                }
                Outcome::Sent(seq) => {
                    self.desk.count.sent += 1;
                    self.fresh.insert(seq, seq);
                }
                Outcome::Refused(refusal) => self.desk.refuse(refusal),
                Outcome::Halted(reason) => self.desk.trouble(reason),
                Outcome::Aside | Outcome::Nothing => {}
            },
            Incoming::Blocked(reason) => {
                self.desk.blocked(Some(reason));
                if !matches!(self.pause, Some(Pause::Leaving(_))) {
                    self.pause = Some(Pause::Blocked);
                }
            }
            Incoming::Unblocked => {
                self.desk.blocked(None);
                if self.pause == Some(Pause::Blocked) {
                    self.pause = None;
                    self.desk.window.restart(Instant::now().into_std());
                }
            }
        }
    }

    /// What the answers, and the time, lead to.
    fn check(&mut self) -> Result<(), SessionEnd> {
        for refusal in self.desk.window.condemned() {
            self.desk.refuse(refusal);
        }
        let exhausted = self.ahead.is_empty()
            && self.greetings.is_empty()
            && self.read_from > *self.desk.head.borrow();
        if let Some(reason) = self.desk.window.stopped(exhausted) {
            return Err(SessionEnd::Stopped(reason.to_owned()));
        }
        let now = Instant::now();
        match self.pause {
            Some(Pause::Leaving(end)) if now >= end || self.desk.window.is_settled() => {
                return Err(SessionEnd::Cancelled);
            }
            Some(Pause::Until(end)) if now >= end => {
                self.pause = None;
                self.again();
            }
            None if self.desk.window.is_halted() && self.desk.window.is_settled() => {
                self.pause = Some(Pause::Until(now + self.desk.retry_delay()));
            }
            _ => {}
        }
        if now >= self.opened + STEADY {
            self.desk.returned();
        }
        if self.answer_due().is_some_and(|due| now >= due) {
            let limit = self.desk.ack_timeout;
            return Err(SessionEnd::Broken(UpstreamError::Timeout(
                "acknowledgement",
                limit,
            )));
        }
        Ok(())
    }

    /// Goes on, after a refusal from the oldest unconfirmed.
    fn again(&mut self) {
        if self.desk.window.is_halted() {
            self.desk.window.rewind();
            self.ahead.clear();
            self.reading = None;
            self.read_from = self.desk.window.next();
        }
    }

    /// When the oldest unanswered message must be answered; while the broker is blocked, no time runs.
    fn answer_due(&self) -> Option<Instant> {
        let oldest = self.desk.window.oldest()?;
        (self.pause != Some(Pause::Blocked))
            .then(|| Instant::from_std(oldest) + self.desk.ack_timeout)
    }

    /// The next moment at which something is to be done without an outside cause.
    fn due(&self) -> Option<Instant> {
        let pause = match self.pause {
            Some(Pause::Until(end) | Pause::Leaving(end)) => Some(end),
            _ => None,
        };
        let steady = (!self.desk.is_up()).then(|| self.opened + STEADY);
        [pause, self.answer_due(), steady]
            .into_iter()
            .flatten()
            .min()
    }

    /// Tells the store and whoever watches.
    fn tell(&mut self) {
        if !self.fresh.is_empty() {
            let fresh = std::mem::take(&mut self.fresh);
            self.desk.source.confirm(&self.desk.name, &fresh);
            self.desk.returned();
            self.desk.proved();
        }
        self.desk.publish();
    }
}

async fn read<T>(reading: &mut Option<Pin<Box<dyn Future<Output = T> + Send>>>) -> T {
    match reading {
        Some(reading) => reading.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn timed(timer: Option<Pin<&mut Sleep>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}
