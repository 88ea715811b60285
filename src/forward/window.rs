//! What is out at the broker and what may go next: go-back-N over sequence numbers, lane by lane. Pure.
//!
//! A lane submits in sequence. After a retryable refusal it submits nothing more until all that it has out was answered;
//! then it goes on from its oldest unconfirmed, and so it does on a new connection. It repeats, never skips.
//!
//! With oldest-first all records go in one lane, [`Lane::Backlog`]. With live-first there are two: the live lane begins
//! at the newest records, and the backlog lane brings what lies before. The live lane may leave records out, once
//! nothing of it is out ([`Window::leave`]); the backlog lane takes them up, as it ends where the live lane's oldest
//! unconfirmed record stands. So neither ever holds a record of the other, and each is in order by itself.

mod answers;
mod parcel;
mod parts;
mod returns;
mod suspects;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;

pub(super) use self::parcel::{Letter, Outcome, Parcel, Refusal};
use self::parts::Parts;
use self::returns::Returns;
use self::suspects::Suspects;

use super::settings::Order;
use crate::reading::RangeSet;

/// How far answers may overtake each other, in windows: behind a message that is not answered while others are, no
/// more than this is remembered.
const SPAN: usize = 4;

/// A run of records that goes out in sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    /// The newest records; only with live-first.
    Live,
    /// All others, from the oldest on.
    Backlog,
}

/// The records that are out, and the cursor that their answers move.
#[derive(Debug)]
pub(super) struct Window {
    inflight: usize,
    /// Most that may be out on this connection.
    granted: usize,
    /// All that is confirmed, here or on earlier connections.
    cursor: RangeSet,
    live: Option<Track>,
    backlog: Track,
    /// What was submitted, by consecutive tokens; the front is never answered.
    out: VecDeque<Out>,
    /// Token of the front.
    first: u64,
    waiting: usize,
    /// How many of those describe devices.
    describing: usize,
    /// Not allowed, and nothing was taken since.
    aside: Vec<(Lane, Refusal)>,
    /// Topics to which something was not allowed while another one was taken.
    forbidden: BTreeSet<Arc<str>>,
    condemned: Vec<Refusal>,
    parts: Parts,
    suspects: Suspects,
    returns: Returns,
}

/// Where a lane is.
#[derive(Debug, Clone, Copy, Default)]
struct Track {
    /// What lies before is not this lane's.
    base: u64,
    /// Where submission goes on.
    next: u64,
    /// So many parts of that record went out.
    part: u32,
    waiting: usize,
    halted: bool,
}

#[derive(Debug)]
struct Out {
    lane: Lane,
    parcel: Parcel,
    since: Instant,
    answered: bool,
}

impl Window {
    /// Nothing is out; `inflight` is the most that may be. `cursor` is what earlier connections confirmed. A record that
    /// came back `returns` times is refused; `None`: it is sent again for ever.
    pub(super) fn new(inflight: u16, order: Order, returns: Option<u32>, cursor: RangeSet) -> Self {
        let inflight = usize::from(inflight.max(1));
        let mut window = Self {
            inflight,
            granted: inflight,
            cursor,
            live: (order == Order::LiveFirst).then(Track::default),
            backlog: Track::default(),
            out: VecDeque::new(),
            first: 0,
            waiting: 0,
            describing: 0,
            aside: Vec::new(),
            forbidden: BTreeSet::new(),
            condemned: Vec::new(),
            parts: Parts::default(),
            suspects: Suspects::default(),
            returns: Returns::new(returns, inflight.saturating_mul(SPAN)),
        };
        window.begin(0);
        window
    }

    /// A new connection, with records up to `head`: what was out is no longer. The live lane begins one window before the
    /// end, the backlog lane at the oldest unconfirmed.
    pub(super) fn begin(&mut self, head: u64) {
        self.first = self.first.saturating_add(self.out.len() as u64);
        self.out.clear();
        (self.waiting, self.describing) = (0, 0);
        self.aside.clear();
        let start = self.live_start(head);
        let at = |start| Track {
            base: start,
            next: start,
            ..Track::default()
        };
        self.parts = Parts::default();
        self.live = self.live.map(|_| at(start));
        self.backlog = at(self.oldest_unconfirmed());
    }

    /// On the new connection the broker lets so many messages be out at most; `None`: it says nothing of it.
    pub(super) fn grant(&mut self, most: Option<u16>) {
        let most = most.map_or(self.inflight, |most| usize::from(most.max(1)));
        self.granted = most.min(self.inflight);
    }

    /// The broker closed the connection, for this reason. The answer: a record that is passed over from now on, as the
    /// connection was closed over it again and again.
    pub(super) fn broken(&mut self, reason: &str) -> Option<u64> {
        let waiting = self.out.iter().filter(|out| !out.answered);
        let waiting = waiting.map(|out| out.parcel.letter().cloned());
        // Some brokers answer that a record is not allowed, and then close over it.
        let aside = self.aside.iter();
        let aside = aside.map(|(_, refusal)| Some(refusal.letter.clone()));
        let out: Vec<_> = waiting.chain(aside).collect();
        self.suspects.broke(&out, reason)
    }

    /// The connection ended because the broker fell silent.
    pub(super) fn fell_silent(&mut self) {
        self.suspects.fell_silent();
    }

    /// The lanes there are, the first to be served first.
    pub(super) fn lanes(&self) -> impl Iterator<Item = Lane> + use<> {
        self.live
            .map(|_| Lane::Live)
            .into_iter()
            .chain([Lane::Backlog])
    }

    /// Where a lane reads on. What is confirmed beyond it is passed over by [`Self::wants`].
    pub(super) fn next(&self, lane: Lane) -> u64 {
        self.cursor.first_missing(self.track(lane).next)
    }

    /// Where a lane ends: this record and all behind it are not its.
    pub(super) fn end(&self, lane: Lane) -> u64 {
        match (lane, &self.live) {
            (Lane::Backlog, Some(live)) => self.cursor.first_missing(live.base),
            _ => u64::MAX,
        }
    }

    /// The first number from `from` on that is not confirmed.
    pub(super) fn unconfirmed(&self, from: u64) -> u64 {
        self.cursor.first_missing(from)
    }

    /// Whether a lane may submit another message. Half of what may be out is kept free for live records.
    pub(super) fn has_room(&self, lane: Lane) -> bool {
        let track = self.track(lane);
        let share = match (lane, &self.live) {
            (Lane::Backlog, Some(_)) => self.granted.div_ceil(2),
            _ => self.granted,
        };
        let most = match self.suspects.is_careful() {
            true => 1,
            false => self.granted,
        };
        !track.halted
            && track.waiting < share
            && self.waiting < most
            && self.out.len() < self.inflight.saturating_mul(SPAN)
            && self.aside.len() < self.inflight.max(Self::PROBE)
    }

    /// So many records that the broker does not allow, and not one that it takes, and the upstream is stopped.
    const PROBE: usize = 20;

    /// Whether descriptions are out: scans wait for their answers.
    pub(super) fn is_describing(&self) -> bool {
        self.describing > 0
    }

    /// Whether messages may go that are no records: the broker has not closed the connection over them again and again.
    pub(super) fn takes_copies(&self) -> bool {
        self.suspects.takes_copies()
    }

    /// Whether the record, the next one that the lane has read, is still to be sent.
    pub(super) fn wants(&self, lane: Lane, seq: u64) -> bool {
        seq >= self.track(lane).next && !self.cursor.contains(seq)
    }

    /// The records of this range, the next ones of the lane, are not for this upstream or do not exist: the cursor moves
    /// over them.
    pub(super) fn pass(&mut self, lane: Lane, first: u64, last: u64) {
        self.cursor.insert(first, last);
        let track = self.track_mut(lane);
        track.advance(last.saturating_add(1));
    }

    /// Whether the record, the next one of the lane, is passed over for now; then the lane goes on behind it.
    pub(super) fn skips(&mut self, lane: Lane, seq: u64) -> bool {
        let skipped = self.suspects.holds(seq);
        if skipped {
            self.track_mut(lane).advance(seq.saturating_add(1));
        }
        skipped
    }

    /// How many parts of a record, the next one of the lane, went out.
    pub(super) fn parts_out(&self, lane: Lane, seq: u64) -> u32 {
        let track = self.track(lane);
        if track.next == seq { track.part } else { 0 }
    }

    /// The live lane leaves this record, its next one, to the backlog lane; it goes on behind it, or one window before
    /// `head` where that is later. `None`: not yet, as something of the lane is out.
    pub(super) fn leave(&mut self, seq: u64, head: u64) -> Option<u64> {
        let start = self.live_start(head).max(seq.saturating_add(1));
        let live = self.live.as_mut()?;
        if live.waiting > 0 || live.halted {
            return None;
        }
        live.base = start;
        live.advance(start);
        Some(start)
    }

    /// Notes a submission at `now`: the token to submit it under.
    pub(super) fn submit(&mut self, lane: Lane, parcel: Parcel, now: Instant) -> u64 {
        let token = self.first.saturating_add(self.out.len() as u64);
        let track = self.track_mut(lane);
        track.waiting += 1;
        if let Some(letter) = parcel.letter() {
            let whole = letter.part.nth >= letter.part.of;
            track.next = letter.seq.saturating_add(u64::from(whole));
            track.part = if whole { 0 } else { letter.part.nth };
            self.parts.submitted(lane, letter);
        }
        self.waiting += 1;
        self.describing += usize::from(parcel.describes());
        self.out.push_back(Out {
            lane,
            parcel,
            since: now,
            answered: false,
        });
        token
    }

    /// Whether a lane waits for [`Self::rewind`].
    pub(super) fn is_halted(&self, lane: Lane) -> bool {
        self.track(lane).halted
    }

    /// Whether everything that a lane has sent is answered.
    pub(super) fn is_settled(&self, lane: Lane) -> bool {
        self.track(lane).waiting == 0
    }

    /// Whether everything that went out is answered.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// When the oldest unanswered message went out.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.out.front().map(|out| out.since)
    }

    /// The broker took nothing for a while: the time of all that is out begins anew.
    pub(super) fn restart(&mut self, now: Instant) {
        for out in &mut self.out {
            out.since = now;
        }
    }

    /// The oldest record that is not confirmed, existing or not.
    pub(super) fn oldest_unconfirmed(&self) -> u64 {
        self.cursor.first_missing(1)
    }

    /// The oldest record of a lane that is not confirmed, existing or not.
    pub(super) fn oldest_of(&self, lane: Lane) -> u64 {
        self.cursor.first_missing(self.track(lane).base)
    }

    /// A settled lane goes on from its oldest unconfirmed.
    pub(super) fn rewind(&mut self, lane: Lane) {
        self.aside.retain(|(of, _)| *of != lane);
        self.parts.forget(lane);
        let next = self.oldest_of(lane);
        let track = self.track_mut(lane);
        track.halted = false;
        (track.next, track.part) = (next, 0);
    }

    /// Where the live lane begins when the last record is `head`.
    fn live_start(&self, head: u64) -> u64 {
        let tail = head.saturating_add(1).saturating_sub(self.inflight as u64);
        self.cursor.first_missing(tail.max(1))
    }

    fn track(&self, lane: Lane) -> &Track {
        match (lane, &self.live) {
            (Lane::Live, Some(live)) => live,
            _ => &self.backlog,
        }
    }

    fn track_mut(&mut self, lane: Lane) -> &mut Track {
        match (lane, &mut self.live) {
            (Lane::Live, Some(live)) => live,
            _ => &mut self.backlog,
        }
    }
}

impl Track {
    /// Goes on from `next`, where that is later.
    fn advance(&mut self, next: u64) {
        if next > self.next {
            (self.next, self.part) = (next, 0);
        }
    }
}

#[cfg(test)]
mod tests;
