//! What a forwarder keeps from one connection to the next: its place in the queue, its codec, its books.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::filter::Filter;
use super::route::{Escape, Router};
use super::settings::ForwarderSettings;
use super::source::Source;
use super::status::{ForwarderStatus, Link};
use super::window::{Letter, Refusal, Window};
use crate::payload::Codec;
use crate::reading::{
    Body, Catalogue, Clock, Event, EventName, Name, Observation, Outlet, RangeSet, Record, Stamp,
};
use crate::support::backoff::Backoff;
use crate::upstream::message::{Address, Message, Properties};
use crate::upstream::settings::UpstreamSettings;

/// How old the time may be by which records are told historical: the system's answer costs a call each.
const TICK: Duration = Duration::from_millis(20);
/// Pauses after retryable refusals of the same record.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_MOST: Duration = Duration::from_secs(10);

pub(super) struct Desk<S: Source> {
    pub(super) name: Name,
    pub(super) source: S,
    pub(super) window: Window,
    pub(super) codec: Codec,
    pub(super) cancel: CancellationToken,
    pub(super) head: watch::Receiver<u64>,
    pub(super) ack_timeout: Duration,
    pub(super) count: Counts,
    router: Router,
    filter: Filter,
    historical_after: Duration,
    catalogue: watch::Receiver<Catalogue>,
    outlet: Arc<dyn Outlet>,
    clock: Clock,
    now: (Instant, Stamp),
    link: Link,
    told: Told,
    retry: (u64, Backoff),
    troubled: bool,
    last_error: Option<String>,
    status: watch::Sender<ForwarderStatus>,
}

/// Since the start of the task.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) submitted: u64,
    pub(super) confirmed: u64,
    pub(super) sent: u64,
    refused: u64,
    connects: u64,
}

/// What the log said last about the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    Nothing,
    Up,
    Away(Instant),
    Stopped,
}

impl<S: Source> Desk<S> {
    pub(super) fn new(
        settings: ForwarderSettings,
        source: S,
        catalogue: watch::Receiver<Catalogue>,
        outlet: Arc<dyn Outlet>,
        clock: Clock,
        cancel: CancellationToken,
    ) -> Self {
        let cursor = source.register(&settings.name, settings.start);
        let (inflight, ack_timeout, escape) = match &settings.upstream {
            UpstreamSettings::Mqtt(mqtt) => (mqtt.inflight, mqtt.ack_timeout, Escape::Mqtt),
            UpstreamSettings::Amqp(amqp) => (amqp.inflight, amqp.ack_timeout, Escape::Amqp),
        };
        let stamp = clock.now();
        Self {
            window: Window::new(inflight, cursor),
            codec: Codec::new(settings.payload, &settings.gateway),
            head: source.head(),
            source,
            cancel,
            ack_timeout,
            count: Counts::default(),
            router: Router::new(&settings.gateway, &settings.name, settings.routes, escape),
            filter: Filter::new(settings.devices),
            historical_after: settings.historical_after,
            name: settings.name,
            catalogue,
            outlet,
            clock,
            now: (Instant::now(), stamp),
            link: Link::Connecting,
            told: Told::Nothing,
            retry: (0, Backoff::new(RETRY_FIRST, RETRY_MOST)),
            troubled: false,
            last_error: None,
            status: watch::Sender::default(),
        }
    }

    /// The next record as a message; `None`: it is not to be sent. What the cursor passes over without sending is added
    /// to `fresh`.
    pub(super) fn message(&mut self, record: &Record, fresh: &mut RangeSet) -> Option<Message> {
        let (seq, next) = (record.seq, self.window.next());
        if seq > next {
            let last = seq.saturating_sub(1);
            self.window.pass(next, last);
            fresh.insert(next, last);
        }
        if !self.window.wants(seq) {
            return None;
        }
        if !self.filter.admits(record) {
            self.window.pass(seq, seq);
            fresh.insert(seq, seq);
            return None;
        }
        let (moment, now) = self.now();
        let historical = age(record.stamp, now) > self.historical_after;
        let payload = self.codec.encode(record, historical);
        let catalogue = self.catalogue.borrow();
        let retain = match &record.body {
            // An older one, out of the backlog, must not take the place of the current one.
            Body::Description(description) => {
                catalogue.of(&description.device) == Some(description)
            }
            _ => false,
        };
        let address = self.router.address(record, &catalogue);
        let letter = Letter {
            seq,
            size: payload.len() as u64,
            key: Arc::clone(&address.key),
        };
        Some(Message {
            token: self.window.submit(Some(letter), moment),
            address,
            payload,
            retain,
            content_type: self.codec.content_type(),
            properties: Some(Properties {
                stream: record.stream,
                seq,
                device_seq: record.device_seq,
                historical,
                timestamp_ms: record.stamp.wall_ns.div_euclid(1_000_000),
            }),
        })
    }

    /// The codec's greetings to a new connection.
    pub(super) fn greetings(&mut self) -> VecDeque<(Address, Bytes)> {
        let (_, now) = self.now();
        let catalogue = self.catalogue.borrow_and_update().clone();
        let ours = catalogue
            .iter()
            .filter(|description| self.filter.admits_device(&description.device));
        let greetings = self.codec.open(&Catalogue::new(ours.cloned()), now);
        let addressed = greetings.into_iter().map(|greeting| {
            (
                self.router.of_description(&greeting.description),
                greeting.payload,
            )
        });
        addressed.collect()
    }

    /// A greeting as a message.
    pub(super) fn greet(&mut self, address: Address, payload: Bytes) -> Message {
        Message {
            token: self.window.submit(None, Instant::now()),
            address,
            payload,
            retain: true,
            content_type: self.codec.content_type(),
            properties: None,
        }
    }

    /// A dead letter.
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        let Refusal {
            letter: Letter { seq, size, .. },
            reason,
        } = refusal;
        warn!(upstream = %self.name, seq, size, "record refused for good, kept as a dead letter: {reason}");
        self.count.refused += 1;
        self.last_error = Some(reason.clone());
        self.source.refuse(&self.name, seq, reason, size);
    }

    /// Something keeps records from going on for now. One line, until the cursor has moved past it.
    pub(super) fn trouble(&mut self, reason: String) {
        if !std::mem::replace(&mut self.troubled, true) {
            warn!(upstream = %self.name, "held up, tried again: {reason}");
        }
        self.last_error = Some(reason);
    }

    /// How long to wait before the oldest unconfirmed record is sent again.
    pub(super) fn retry_delay(&mut self) -> Duration {
        let oldest = self.window.oldest_unconfirmed();
        if self.retry.0 != oldest {
            self.retry = (oldest, Backoff::new(RETRY_FIRST, RETRY_MOST));
        }
        self.retry.1.failed(Instant::now())
    }

    /// The cursor has moved.
    pub(super) fn proved(&mut self) {
        if self.troubled && self.window.oldest_unconfirmed() > self.retry.0 {
            self.troubled = false;
            info!(upstream = %self.name, "goes on");
        }
    }

    /// The broker took a connection.
    pub(super) fn connected(&mut self) {
        self.count.connects += 1;
        self.set_link(Link::Up);
    }

    /// The connection holds.
    pub(super) fn returned(&mut self) {
        match self.told {
            Told::Up => return,
            Told::Away(since) => {
                let away = since.elapsed().as_secs();
                info!(upstream = %self.name, "broker is back after {away} s");
            }
            Told::Nothing | Told::Stopped => info!(upstream = %self.name, "connected"),
        }
        self.told = Told::Up;
    }

    /// Whether the log says so.
    pub(super) fn is_up(&self) -> bool {
        self.told == Told::Up
    }

    /// The broker cannot be reached. One line until it is back.
    pub(super) fn away(&mut self, reason: &str) {
        if !matches!(self.told, Told::Away(_)) {
            warn!(upstream = %self.name, "broker is away: {reason}");
            self.told = Told::Away(Instant::now());
        }
        self.last_error = Some(reason.to_owned());
        self.set_link(Link::Connecting);
    }

    /// The broker allows nothing of ours. One line and one event until it does.
    pub(super) fn stopped(&mut self, reason: &str) {
        if self.told != Told::Stopped {
            warn!(upstream = %self.name, "stopped, tried again seldom: {reason}");
            self.told = Told::Stopped;
            let event = Event::gateway(EventName::UpstreamStopped)
                .text("upstream", self.name.as_str())
                .text("reason", reason);
            self.outlet.put(Observation {
                stamp: self.clock.now(),
                body: Body::Event(event),
            });
        }
        self.last_error = Some(reason.to_owned());
        self.set_link(Link::Stopped);
    }

    /// The broker takes nothing for this reason, or (`None`) takes messages again.
    pub(super) fn blocked(&mut self, reason: Option<String>) {
        match &reason {
            Some(reason) => warn!(upstream = %self.name, "broker takes nothing for now: {reason}"),
            None => info!(upstream = %self.name, "broker takes messages again"),
        }
        self.link = if reason.is_some() {
            Link::Blocked
        } else {
            Link::Up
        };
        self.last_error = reason.or(self.last_error.take());
    }

    pub(super) fn set_link(&mut self, link: Link) {
        self.link = link;
        self.publish();
    }

    /// Shows the books to whoever watches.
    pub(super) fn publish(&self) {
        self.status.send_if_modified(|status| {
            let Counts {
                submitted,
                confirmed,
                sent,
                refused,
                connects,
            } = self.count;
            let oldest_unconfirmed = self.window.oldest_unconfirmed();
            let same = (status.link, status.submitted, status.confirmed, status.sent)
                == (self.link, submitted, confirmed, sent)
                && (status.refused, status.connects) == (refused, connects)
                && status.oldest_unconfirmed == oldest_unconfirmed
                && status.last_error == self.last_error;
            if !same {
                *status = ForwarderStatus {
                    link: self.link,
                    submitted,
                    confirmed,
                    sent,
                    refused,
                    connects,
                    oldest_unconfirmed,
                    last_error: self.last_error.clone(),
                };
            }
            !same
        });
    }

    pub(super) fn watch(&self) -> watch::Receiver<ForwarderStatus> {
        self.status.subscribe()
    }

    fn now(&mut self) -> (Instant, Stamp) {
        let moment = Instant::now();
        if moment.duration_since(self.now.0) >= TICK {
            self.now = (moment, self.clock.now());
        }
        (moment, self.now.1)
    }
}

/// Time since the reading: on the steady clock within one boot, else by the wall.
fn age(then: Stamp, now: Stamp) -> Duration {
    let nanoseconds = if then.boot == now.boot {
        now.boot_ns.saturating_sub(then.boot_ns)
    } else {
        u64::try_from(now.wall_ns.saturating_sub(then.wall_ns)).unwrap_or(0)
    };
    Duration::from_nanos(nanoseconds)
}
