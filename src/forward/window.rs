//! What is out at the broker and what may go next: go-back-N over sequence numbers. Pure.
//!
//! Records are submitted in sequence. After a retryable refusal nothing more is submitted until all that is out was
//! answered; then it goes on from the oldest unconfirmed, and so it does on a new connection. It repeats, never skips.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::reading::RangeSet;
use crate::upstream::message::Answer;

/// How far answers may overtake each other, in windows: behind a message that is not answered while others are, no
/// more than this is remembered.
const SPAN: usize = 4;

/// The records that are out, and the cursor that their answers move.
#[derive(Debug)]
pub(super) struct Window {
    inflight: usize,
    /// All that is confirmed, here or on earlier connections.
    cursor: RangeSet,
    /// Where submission goes on.
    next: u64,
    /// What was submitted, by consecutive tokens; the front is never answered.
    out: VecDeque<Out>,
    /// Token of the front.
    first: u64,
    waiting: usize,
    halted: bool,
    aside: Vec<Refusal>,
    condemned: Vec<Refusal>,
}

#[derive(Debug)]
struct Out {
    /// `None`: no record.
    letter: Option<Letter>,
    since: Instant,
    answered: bool,
}

/// A record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) seq: u64,
    /// Bytes of its payload.
    pub(super) size: u64,
    /// Topic or routing key.
    pub(super) key: Arc<str>,
}

/// A record that the broker does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) letter: Letter,
    pub(super) reason: String,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The cursor has moved over this record.
    Confirmed(u64),
    /// The same, on the word of the connection only.
    Sent(u64),
    /// The cursor has moved over this record, which is a dead letter.
    Refused(Refusal),
    /// Nothing more is submitted before [`Window::rewind`], for this reason.
    Halted(String),
    /// Kept for [`Window::condemned`] or [`Window::stopped`].
    Aside,
    /// Of no record: a greeting, or of a token that is not out.
    Nothing,
}

impl Window {
    /// Nothing is out; `inflight` is the most that may be. `cursor` is what earlier connections confirmed.
    pub(super) fn new(inflight: u16, cursor: RangeSet) -> Self {
        let mut window = Self {
            inflight: usize::from(inflight.max(1)),
            cursor,
            next: 1,
            out: VecDeque::new(),
            first: 0,
            waiting: 0,
            halted: false,
            aside: Vec::new(),
            condemned: Vec::new(),
        };
        window.rewind();
        window
    }

    /// Where to read on. What is confirmed beyond it is passed over by [`Self::wants`].
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Whether another message may be submitted.
    pub(super) fn has_room(&self) -> bool {
        !self.halted
            && self.waiting < self.inflight
            && self.out.len() < self.inflight.saturating_mul(SPAN)
            && self.aside.len() < self.inflight.max(Self::PROBE)
    }

    /// So many records that the broker does not allow, and not one that it takes, and the upstream is stopped.
    const PROBE: usize = 20;

    /// Whether the record, the next one read, is still to be sent.
    pub(super) fn wants(&self, seq: u64) -> bool {
        seq >= self.next && !self.cursor.contains(seq)
    }

    /// The records of this range, the next ones, are not for this upstream or do not exist: the cursor moves over them.
    pub(super) fn pass(&mut self, first: u64, last: u64) {
        self.cursor.insert(first, last);
        self.next = self.next.max(last.saturating_add(1));
    }

    /// Notes a submission at `now`: the token to submit it under. `None`: the message carries no record.
    pub(super) fn submit(&mut self, letter: Option<Letter>, now: Instant) -> u64 {
        let token = self.first.saturating_add(self.out.len() as u64);
        if let Some(letter) = &letter {
            self.next = letter.seq.saturating_add(1);
        }
        self.out.push_back(Out {
            letter,
            since: now,
            answered: false,
        });
        self.waiting += 1;
        token
    }

    /// Takes the answer to what went out under `token`.
    pub(super) fn answer(&mut self, token: u64, answer: Answer) -> Outcome {
        let Some(letter) = self.settle(token) else {
            return Outcome::Nothing;
        };
        let seq = letter.seq;
        match answer {
            Answer::Confirmed => {
                self.cursor.insert(seq, seq);
                self.judge(&letter.key);
                Outcome::Confirmed(seq)
            }
            Answer::Sent => {
                self.cursor.insert(seq, seq);
                Outcome::Sent(seq)
            }
            Answer::Refused(reason) => {
                self.cursor.insert(seq, seq);
                Outcome::Refused(Refusal { letter, reason })
            }
            Answer::Retry(reason) => {
                self.halted = true;
                Outcome::Halted(reason)
            }
            Answer::Stop(reason) => {
                self.aside.push(Refusal { letter, reason });
                Outcome::Aside
            }
        }
    }

    /// The records that were not allowed while another topic was: only they are meant. The cursor has moved over them.
    pub(super) fn condemned(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.condemned)
    }

    /// Why nothing of ours is allowed: all is answered, some was not allowed, nothing was taken since, and nothing else is
    /// at hand to try (`exhausted`) or enough was tried.
    pub(super) fn stopped(&self, exhausted: bool) -> Option<&str> {
        let tried = exhausted || self.aside.len() >= self.inflight.max(Self::PROBE);
        let last = self.aside.last()?;
        (tried && self.waiting == 0).then_some(&last.reason)
    }

    /// Whether submission waits for [`Self::rewind`].
    pub(super) fn is_halted(&self) -> bool {
        self.halted
    }

    /// Whether everything that went out is answered.
    pub(super) fn is_settled(&self) -> bool {
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

    /// Goes on from the oldest unconfirmed: all that is out was answered, or its connection is gone.
    pub(super) fn rewind(&mut self) {
        self.first = self.first.saturating_add(self.out.len() as u64);
        self.out.clear();
        self.waiting = 0;
        self.halted = false;
        self.aside.clear();
        self.next = self.oldest_unconfirmed();
    }

    /// A message to `key` was taken. What was not allowed to another topic is so for good; what was not allowed to this
    /// one is by now, and is repeated.
    fn judge(&mut self, key: &str) {
        for refusal in self.aside.drain(..) {
            if *refusal.letter.key == *key {
                self.halted = true;
            } else {
                let seq = refusal.letter.seq;
                self.cursor.insert(seq, seq);
                self.condemned.push(refusal);
            }
        }
    }

    /// Ticks a token off: its record, where it is out and carries one.
    fn settle(&mut self, token: u64) -> Option<Letter> {
        let index = usize::try_from(token.checked_sub(self.first)?).ok()?;
        let out = self.out.get_mut(index).filter(|out| !out.answered)?;
        out.answered = true;
        let letter = out.letter.take();
        self.waiting = self.waiting.saturating_sub(1);
        while self.out.front().is_some_and(|out| out.answered) {
            self.out.pop_front();
            self.first = self.first.saturating_add(1);
        }
        letter
    }
}

#[cfg(test)]
mod tests;
