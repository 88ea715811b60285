//! What answers do to the window.

use std::sync::Arc;

use super::{Lane, Letter, Outcome, Parcel, Refusal, Window};
use crate::upstream::message::Answer;

impl Window {
    /// Takes the answer to what went out under `token`.
    pub(in crate::forward) fn answer(&mut self, token: u64, answer: Answer) -> Outcome {
        let Some((lane, parcel)) = self.settle(token) else {
            return Outcome::Nothing;
        };
        let answer = self.weigh(&parcel, answer);
        let is_copy = parcel == Parcel::Copy;
        let Some(letter) = parcel.into_letter() else {
            if is_copy && answer == Answer::Confirmed {
                self.suspects.copy_taken();
            }
            return match answer {
                Answer::Confirmed | Answer::Sent => Outcome::Nothing,
                Answer::Refused(reason) | Answer::Stop(reason) => Outcome::CopyRefused(reason),
                Answer::Retry(reason) | Answer::Returned(reason) => {
                    self.track_mut(lane).halted = true;
                    Outcome::CopyHalted(reason)
                }
            };
        };
        match answer {
            Answer::Confirmed => {
                let outcome = self.finish(letter.clone(), None, Outcome::Confirmed);
                self.taken(&letter);
                outcome
            }
            Answer::Sent => self.finish(letter, None, Outcome::Sent),
            Answer::Refused(reason) => self.finish(letter, Some(reason), Outcome::Confirmed),
            Answer::Retry(reason) | Answer::Returned(reason) => {
                self.track_mut(lane).halted = true;
                Outcome::Halted(reason)
            }
            Answer::Stop(reason) if self.forbidden.contains(&letter.key) => {
                self.finish(letter, Some(reason), Outcome::Confirmed)
            }
            Answer::Stop(reason) => {
                self.aside.push((lane, Refusal { letter, reason }));
                Outcome::Aside
            }
        }
    }

    /// A message was taken, or refused: with the last part of its record, so is the record.
    fn finish(
        &mut self,
        letter: Letter,
        refused: Option<String>,
        taken: fn(u64) -> Outcome,
    ) -> Outcome {
        let seq = letter.seq;
        match self.parts.answered(&letter, refused) {
            None => Outcome::Nothing,
            Some(None) => {
                self.done(seq);
                taken(seq)
            }
            Some(Some(reason)) => {
                self.done(seq);
                Outcome::Refused(Refusal { letter, reason })
            }
        }
    }

    /// The broker took a message: what that says of others that it did not take.
    fn taken(&mut self, letter: &Letter) {
        self.judge(&letter.key);
        let (condemned, again) = self.suspects.taken();
        for refusal in condemned {
            self.done(refusal.letter.seq);
            self.condemned.push(refusal);
        }
        if again {
            self.lanes()
                .for_each(|lane| self.track_mut(lane).halted = true);
        }
    }

    /// What a return means: to be sent again, or, after enough of them, never.
    fn weigh(&mut self, parcel: &Parcel, answer: Answer) -> Answer {
        let Answer::Returned(reason) = answer else {
            return answer;
        };
        let Some(letter) = parcel.letter() else {
            // The record whose copy it is counts for itself.
            return match self.returns.are_counted() {
                true => Answer::Refused(reason),
                false => Answer::Retry(reason),
            };
        };
        match self.returns.came_back(letter.seq, letter.part.nth) {
            Some(times) => Answer::Refused(format!("{reason}; it came back {times} times")),
            None => Answer::Retry(reason),
        }
    }

    /// The cursor moves over a record.
    fn done(&mut self, seq: u64) {
        self.cursor.insert(seq, seq);
        self.parts.settled(seq);
        self.returns.settled(seq);
        self.suspects.settled(seq);
    }

    /// The records that were not taken while others were: only they are meant. The cursor has moved over them.
    pub(in crate::forward) fn condemned(&mut self) -> Vec<Refusal> {
        std::mem::take(&mut self.condemned)
    }

    /// Why nothing of ours is allowed: all is answered, some was not allowed, nothing was taken since, and nothing else is
    /// at hand to try (`exhausted`) or enough was tried.
    pub(in crate::forward) fn stopped(&self, exhausted: bool) -> Option<&str> {
        let tried = exhausted || self.aside.len() >= self.inflight.max(Self::PROBE);
        let (_, last) = self.aside.last()?;
        (tried && self.waiting == 0).then_some(&last.reason)
    }

    /// A message to `key` was taken: not everything is forbidden. What was not allowed is repeated, as permission may have
    /// come back between the two; where it was meant for another topic, and is not allowed again, that topic is forbidden.
    fn judge(&mut self, key: &Arc<str>) {
        if !self.forbidden.is_empty() {
            self.forbidden.remove(key);
        }
        for (lane, refusal) in std::mem::take(&mut self.aside) {
            self.track_mut(lane).halted = true;
            if refusal.letter.key != *key {
                if self.forbidden.len() >= Self::FORBIDDEN {
                    self.forbidden.clear();
                }
                self.forbidden.insert(refusal.letter.key);
            }
        }
    }

    /// Most topics that are known to be forbidden; beyond, all are forgotten and found out anew.
    const FORBIDDEN: usize = 4_096;

    /// Ticks a token off: its lane and what it carries, where it is out.
    fn settle(&mut self, token: u64) -> Option<(Lane, Parcel)> {
        let index = usize::try_from(token.checked_sub(self.first)?).ok()?;
        let out = self.out.get_mut(index).filter(|out| !out.answered)?;
        out.answered = true;
        let (lane, parcel) = (out.lane, std::mem::replace(&mut out.parcel, Parcel::Copy));
        let track = self.track_mut(lane);
        track.waiting = track.waiting.saturating_sub(1);
        self.waiting = self.waiting.saturating_sub(1);
        let describing = usize::from(parcel.describes());
        self.describing = self.describing.saturating_sub(describing);
        while self.out.front().is_some_and(|out| out.answered) {
            self.out.pop_front();
            self.first = self.first.saturating_add(1);
        }
        Some((lane, parcel))
    }
}
