//! One connection's life: fill the window, take the answers, move the cursor, until it ends.

mod filling;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, Sleep, sleep_until};

use super::desk::Desk;
use super::feed::{Feed, Read, poll_reads};
use super::source::Source;
use super::window::Outcome;
use crate::payload::{Greeting, Status};
use crate::reading::{Name, RangeSet};
use crate::upstream::Connection;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::Incoming;

/// Answers taken before the window is filled again, so that neither side waits for the other for long.
const BURST: usize = 64;
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
    /// The broker said so.
    Blocked,
    /// The forwarder stops, at the latest at this moment.
    Leaving(Instant),
}

/// A connection in use.
pub(super) struct Session<'a, S: Source> {
    desk: &'a mut Desk<S>,
    connection: &'a mut Connection,
    greetings: VecDeque<Greeting>,
    /// One was not taken: all are to be sent again.
    greet_again: bool,
    /// Whether the broker is to be told that the gateway is there, or that it goes.
    say: Option<Status>,
    /// A lane each, the first to be served first.
    feeds: Vec<Feed<S>>,
    pause: Option<Pause>,
    /// A rate allows nothing before this moment.
    throttled: Option<Instant>,
    /// Nothing is submitted before the store has written more of what was confirmed.
    held: bool,
    /// There may be something to submit at once.
    again: bool,
    /// Confirmed, the store not told yet.
    fresh: RangeSet,
    opened: Instant,
}

impl<'a, S: Source> Session<'a, S> {
    pub(super) fn new(desk: &'a mut Desk<S>, connection: &'a mut Connection) -> Self {
        desk.begin(connection.max_out());
        let lanes = desk.window.lanes();
        let wanted = desk.filter.wanted();
        let feeds = lanes.map(|lane| Feed::new(lane, desk.window.next(lane), wanted.clone()));
        Self {
            feeds: feeds.collect(),
            greetings: greetings(desk, connection),
            greet_again: false,
            say: Some(Status::Online),
            desk,
            connection,
            pause: None,
            throttled: None,
            held: false,
            again: false,
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
        let mut head = self.desk.head.clone();
        // On its own line: borrowed, it keeps the store from moving its head, and a read may wait for the store.
        let last = *head.borrow_and_update();
        // What is in memory goes in this turn, not after one that other tasks have in between.
        self.read_on(last);
        self.again = false;
        self.confirm();
        self.fill().map_err(SessionEnd::Broken)?;
        self.tell();
        self.check()?;
        self.read_on(last);
        let again = std::mem::take(&mut self.again);
        let idle = self.feeds.iter().any(Feed::is_idle);
        let due = self.due();
        let held = self
            .held
            .then(|| (self.desk.source.clone(), self.desk.name.clone()));
        let mut timer = pin!(due.map(sleep_until));
        let leaving = matches!(self.pause, Some(Pause::Leaving(_)));
        tokio::select! {
            biased;
            incoming = self.connection.next() => self.take(incoming),
            () = self.desk.cancel.cancelled(), if !leaving => {
                self.pause = Some(Pause::Leaving(Instant::now() + LEAVE));
                self.say = Some(Status::Stopped);
                Ok(())
            }
            read = poll_fn(|context| poll_reads(&mut self.feeds, context)) => {
                self.stock(read);
                Ok(())
            }
            // A closed channel is a store that has stopped: nothing new will come.
            Ok(()) = head.changed(), if idle => Ok(()),
            () = sendable(held.as_ref()), if held.is_some() => Ok(()),
            // Other tasks have their turn also where a long backlog is passed over without sending anything.
            () = tokio::task::yield_now(), if again => Ok(()),
            () = timed(timer.as_mut().as_pin_mut()), if due.is_some() => Ok(()),
        }
    }

    /// Reads on in every lane, and takes what reads have brought. Answers that keep coming would otherwise keep it waiting
    /// until the window is empty.
    fn read_on(&mut self, head: u64) {
        if self.pause.is_none() {
            for feed in &mut self.feeds {
                feed.read_on(&self.desk.source, &self.desk.window, head);
            }
        }
        let mut context = Context::from_waker(Waker::noop());
        while let Poll::Ready(read) = poll_reads(&mut self.feeds, &mut context) {
            self.stock(read);
        }
    }

    fn stock(&mut self, (index, read): Read<S>) {
        let Some(feed) = self.feeds.get_mut(index) else {
            return;
        };
        match read {
            Ok(batch) => {
                self.again = true;
                feed.stock(batch);
            }
            Err(error) => {
                feed.rest_after_failed_read();
                self.desk
                    .trouble(format!("records cannot be read: {error}"));
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
                Outcome::Halted(reason) => self.halted(reason),
                Outcome::CopyHalted(reason) => {
                    self.greet_again = true;
                    self.halted(reason);
                }
                Outcome::CopyRefused(reason) => self.desk.copy_refused(reason),
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

    fn halted(&mut self, reason: String) {
        self.desk.undescribe();
        self.desk.trouble(reason);
    }

    /// What the answers, and the time, lead to.
    fn check(&mut self) -> Result<(), SessionEnd> {
        for refusal in self.desk.window.condemned() {
            self.desk.refuse(refusal);
        }
        if let Some(reason) = self.desk.window.stopped(self.is_exhausted()) {
            return Err(SessionEnd::Stopped(reason.to_owned()));
        }
        let now = Instant::now();
        if let Some(Pause::Leaving(end)) = self.pause
            && (now >= end || self.desk.window.is_empty())
        {
            return Err(SessionEnd::Cancelled);
        }
        self.go_on(now);
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

    /// Lanes that have rested go on, after a refusal from their oldest unconfirmed; halted ones rest once they are settled.
    fn go_on(&mut self, now: Instant) {
        for feed in &mut self.feeds {
            let window = &mut self.desk.window;
            match feed.rest {
                Some(end) if now >= end => {
                    feed.rest = None;
                    self.again = true;
                    if window.is_halted(feed.lane) {
                        window.rewind(feed.lane);
                        feed.restart(window.next(feed.lane));
                    }
                }
                None if window.is_halted(feed.lane) && window.is_settled(feed.lane) => {
                    feed.rest = Some(now + self.desk.retry_delay(feed.lane));
                }
                _ => {}
            }
        }
        let resting = |feed: &Feed<S>| feed.rest.is_some();
        if self.greet_again && !self.feeds.first().is_some_and(resting) {
            self.greet_again = false;
            self.say = self.say.or(Some(Status::Online));
            self.greetings = greetings(self.desk, self.connection);
        }
    }

    fn is_exhausted(&self) -> bool {
        let (window, head) = (&self.desk.window, *self.desk.head.borrow());
        let mut feeds = self.feeds.iter();
        self.greetings.is_empty() && feeds.all(|feed| feed.is_exhausted(window, head))
    }

    /// When the oldest unanswered message must be answered; while the broker is blocked, no time runs.
    fn answer_due(&self) -> Option<Instant> {
        let oldest = self.desk.window.oldest()?;
        (self.pause != Some(Pause::Blocked))
            .then(|| Instant::from_std(oldest) + self.desk.ack_timeout)
    }

    /// The next moment at which something is to be done without an outside cause.
    fn due(&self) -> Option<Instant> {
        let leave = match self.pause {
            Some(Pause::Leaving(end)) => Some(end),
            _ => None,
        };
        let steady = (!self.desk.is_up()).then(|| self.opened + STEADY);
        let rests = self.feeds.iter().map(|feed| feed.rest);
        rests
            .chain([leave, self.answer_due(), steady, self.throttled])
            .flatten()
            .min()
    }

    /// Tells the store and whoever watches.
    fn tell(&mut self) {
        self.confirm();
        self.desk.publish();
    }

    fn confirm(&mut self) {
        if !self.fresh.is_empty() {
            let fresh = std::mem::take(&mut self.fresh);
            self.desk.source.confirm(&self.desk.name, &fresh);
            self.desk.returned();
            self.desk.proved();
        }
    }
}

/// What a new connection begins with.
fn greetings<S: Source>(desk: &mut Desk<S>, connection: &Connection) -> VecDeque<Greeting> {
    match connection.retains() {
        true => desk.greetings(),
        false => VecDeque::new(),
    }
}

async fn sendable<S: Source>(held: Option<&(S, Name)>) {
    if let Some((source, name)) = held {
        source.sendable(name).await;
    }
}

async fn timed(timer: Option<Pin<&mut Sleep>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}
