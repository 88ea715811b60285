//! What a forwarder keeps from one connection to the next: its place in the queue, its codec, its books.

mod described;
mod greeting;
mod rates;
mod telling;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::described::Described;
use self::rates::Rates;
use super::filter::Filter;
use super::route::{Escape, Router};
use super::settings::{ForwarderSettings, Order};
use super::source::Source;
use super::status::{ForwarderStatus, Link};
use super::window::{Lane, Letter, Parcel, Refusal, Window};
use crate::payload::{Codec, Part};
use crate::reading::{Body, Catalogue, Clock, Name, Outlet, RangeSet, Record, Stamp};
use crate::support::backoff::Backoff;
use crate::upstream::error::UpstreamError;
use crate::upstream::message::{Message, Properties};
use crate::upstream::settings::{AmqpSettings, Unroutable, UpstreamSettings};

/// How old the time may be by which records are told historical: the system's answer costs a call each.
const TICK: Duration = Duration::from_millis(20);
/// MQTT has whole seconds, and zero would be no life at all.
const LEAST_LIFE: Duration = Duration::from_secs(1);
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
    pub(super) order: Order,
    router: Router,
    pub(super) filter: Filter,
    rates: Rates,
    described: Described,
    historical_after: Duration,
    expiry: Option<Duration>,
    catalogue: watch::Receiver<Catalogue>,
    outlet: Arc<dyn Outlet>,
    clock: Clock,
    now: (Instant, Stamp),
    link: Link,
    told: Told,
    /// By lane: the record that is sent again, and its pauses.
    retry: ((u64, Backoff), (u64, Backoff)),
    /// Whether the log says that something which is no record was refused.
    copy_refused: bool,
    /// The record that does not get on.
    troubled: Option<u64>,
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

/// What becomes of the next record that a lane has read.
pub(super) enum Next {
    /// It goes out as this message.
    Send(Message),
    /// This goes out before it, or before the rest of it.
    Before(Message),
    /// It is not to be sent, or not in this lane.
    Pass,
    /// The lane goes on from there.
    Leap(u64),
    /// It lies beyond the lane's end.
    End,
    /// Not before an answer.
    Wait,
    /// Not before this moment.
    Until(Instant),
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
        let order = settings.delivery.order;
        let returns = most_returns(&settings.upstream);
        let stamp = clock.now();
        let retry = || (0, Backoff::new(RETRY_FIRST, RETRY_MOST));
        Self {
            window: Window::new(inflight, order, returns, cursor),
            codec: Codec::new(settings.payload, &settings.gateway),
            head: source.head(),
            source,
            cancel,
            ack_timeout,
            count: Counts::default(),
            router: Router::new(&settings.gateway, &settings.name, settings.routes, escape),
            order,
            filter: Filter::new(settings.devices),
            rates: Rates::new(settings.delivery, Instant::now()),
            described: Described::default(),
            historical_after: settings.historical_after,
            expiry: settings.expiry,
            name: settings.name,
            catalogue,
            outlet,
            clock,
            now: (Instant::now(), stamp),
            link: Link::Connecting,
            told: Told::Nothing,
            retry: (retry(), retry()),
            copy_refused: false,
            troubled: None,
            last_error: None,
            status: watch::Sender::default(),
        }
    }

    /// What to do about the next record that a lane has read. What the cursor passes over without sending is added to
    /// `fresh`.
    pub(super) fn next(&mut self, lane: Lane, record: &Record, fresh: &mut RangeSet) -> Next {
        let (seq, end) = (record.seq, self.window.end(lane));
        self.pass_over(lane, seq.min(end), fresh);
        if seq >= end {
            return Next::End;
        }
        if !self.window.wants(lane, seq) || self.window.skips(lane, seq) {
            return Next::Pass;
        }
        let (moment, now) = self.now();
        let part = Part {
            nth: self.window.parts_out(lane, seq).saturating_add(1),
            of: self.codec.parts(record),
        };
        let late = age(record.stamp, now) > self.historical_after;
        if lane == Lane::Live && late && part.nth == 1 {
            return self.leave(seq);
        }
        if let Some(next) = self.describe(lane, record) {
            return next;
        }
        let historical = match self.order {
            Order::OldestFirst => late,
            Order::LiveFirst => lane == Lane::Backlog,
        };
        let due = self.rates.due(historical, moment);
        if due > moment {
            return Next::Until(due);
        }
        let message = self.message(lane, record, part, historical);
        if part.nth < part.of {
            return Next::Before(message);
        }
        Next::Send(message)
    }

    /// The numbers from the lane's next one up to the one before `seq` are not for this upstream, or do not exist.
    pub(super) fn pass_over(&mut self, lane: Lane, seq: u64, fresh: &mut RangeSet) {
        let (next, last) = (self.window.next(lane), seq.saturating_sub(1));
        if next <= last {
            self.window.pass(lane, next, last);
            fresh.insert(next, last);
        }
    }

    fn leave(&mut self, seq: u64) -> Next {
        let head = *self.head.borrow();
        match self.window.leave(seq, head) {
            Some(from) if from == seq.saturating_add(1) => Next::Pass,
            Some(from) => Next::Leap(from),
            None => Next::Wait,
        }
    }

    fn message(&mut self, lane: Lane, record: &Record, part: Part, historical: bool) -> Message {
        let payload = self.codec.encode(record, part, historical);
        let catalogue = self.catalogue.borrow();
        let point = self.codec.point(record, part);
        let address = self.router.address(record, point, &catalogue);
        let size = payload.len() as u64;
        let letter = Letter {
            seq: record.seq,
            part,
            size,
            key: Arc::clone(&address.key),
        };
        let (parcel, retain) = match &record.body {
            Body::Description(description) => {
                self.described.went(description);
                // An older one, out of the backlog, must not take the place of the current one.
                let current = catalogue.of(&description.device) == Some(description);
                (Parcel::Description(letter), current)
            }
            Body::Scan(_) | Body::Event(_) => (Parcel::Record(letter), false),
        };
        // A rate of records: its first message counts.
        let counts = historical && part.nth == 1;
        self.rates
            .take(counts, size + address.key.len() as u64, self.now.0);
        Message {
            token: self.window.submit(lane, parcel, self.now.0),
            address,
            payload,
            retain,
            content_type: self.codec.content_type(),
            expires_in: self.expires_in(record.stamp),
            properties: Some(Properties {
                stream: record.stream,
                seq: record.seq,
                device_seq: record.device_seq,
                part: (part.of > 1).then_some((part.nth, part.of)),
                historical,
                timestamp_ms: record.stamp.wall_ns.div_euclid(1_000_000),
            }),
        }
    }

    /// What is left of a record's life at the broker: one that is older goes to those who are there.
    fn expires_in(&self, stamp: Stamp) -> Option<Duration> {
        let left = |expiry: Duration| expiry.saturating_sub(age(stamp, self.now.1));
        self.expiry.map(left).map(|left| left.max(LEAST_LIFE))
    }

    /// A new connection: nothing is out, and no more may be than the broker grants.
    pub(super) fn begin(&mut self, granted: Option<u16>) {
        let head = *self.head.borrow();
        self.window.begin(head);
        self.window.grant(granted);
        self.described.failed();
    }

    /// The connection broke.
    pub(super) fn broken(&mut self, error: &UpstreamError) {
        if !error.is_a_close() {
            self.window.fell_silent();
        } else if let Some(seq) = self.window.broken(&error.to_string()) {
            warn!(upstream = %self.name, seq, "the broker closes the connection over this record, passed over for now");
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
        if self.troubled.is_none() {
            warn!(upstream = %self.name, "held up, tried again: {reason}");
            self.troubled = Some(self.window.oldest_unconfirmed());
        }
        self.last_error = Some(reason);
    }

    /// How long to wait before a lane's oldest unconfirmed record is sent again.
    pub(super) fn retry_delay(&mut self, lane: Lane) -> Duration {
        let oldest = self.window.oldest_of(lane);
        self.troubled = Some(oldest);
        let (at, backoff) = match lane {
            Lane::Live => &mut self.retry.0,
            Lane::Backlog => &mut self.retry.1,
        };
        if *at != oldest {
            (*at, *backoff) = (oldest, Backoff::new(RETRY_FIRST, RETRY_MOST));
        }
        backoff.failed(Instant::now())
    }

    /// The cursor has moved.
    pub(super) fn proved(&mut self) {
        let passed = |at: &mut u64| self.window.unconfirmed(*at) > *at;
        if self.troubled.take_if(passed).is_some() {
            info!(upstream = %self.name, "goes on");
        }
    }

    fn now(&mut self) -> (Instant, Stamp) {
        let moment = Instant::now();
        if moment.duration_since(self.now.0) >= TICK {
            self.now = (moment, self.clock.now());
        }
        (moment, self.now.1)
    }
}

/// How many returns make a dead letter.
fn most_returns(upstream: &UpstreamSettings) -> Option<u32> {
    match upstream {
        UpstreamSettings::Amqp(AmqpSettings {
            unroutable: Unroutable::DeadLetter(most),
            ..
        }) => Some(*most),
        UpstreamSettings::Amqp(_) | UpstreamSettings::Mqtt(_) => None,
    }
}

/// Time since the reading: on the steady clock within one boot. One of an earlier boot is as old as this boot at least,
/// whatever the wall clock says.
fn age(then: Stamp, now: Stamp) -> Duration {
    let nanoseconds = if then.boot == now.boot {
        now.boot_ns.saturating_sub(then.boot_ns)
    } else {
        let by_wall = u64::try_from(now.wall_ns.saturating_sub(then.wall_ns)).unwrap_or(0);
        by_wall.max(now.boot_ns)
    };
    Duration::from_nanos(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::BootId;

    #[test]
    fn a_record_is_as_old_as_the_steady_clock_says() {
        let at = |boot, wall_s: i64, boot_s: u64| Stamp {
            wall_ns: wall_s * 1_000_000_000,
            boot_ns: boot_s * 1_000_000_000,
            boot: BootId(boot),
            synced: false,
        };
        let seconds = |then, now| age(then, now).as_secs();
        assert_eq!(seconds(at(1, 100, 10), at(1, 105, 15)), 5);
        assert_eq!(
            seconds(at(1, 5, 10), at(1, 1_800_000_000, 15)),
            5,
            "set forward"
        );
        assert_eq!(seconds(at(1, 90_000, 10), at(1, 3_600, 15)), 5, "set back");
        assert_eq!(seconds(at(1, 100, 10), at(2, 700, 60)), 600);
        assert_eq!(
            seconds(at(1, 1_800_000_000, 10), at(2, 60, 60)),
            60,
            "of an earlier boot, and this one began in 1970"
        );
    }
}
