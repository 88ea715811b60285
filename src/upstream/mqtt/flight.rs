//! Which of our tokens is out under which packet id. Pure.
//!
//! The client library does not tell the id it gives to a message when it takes it, but gives ids in the order of taking:
//! 1, 2, … up to its limit, then again from 1. So the id is known beforehand, and each one that the library then
//! reports is compared. An id that is still out must not come round again: the library would stop sending until that
//! one is answered, and with MQTT 5 a failure code would never release it. Hence [`Flight::has_room`].

use std::collections::VecDeque;

use crate::upstream::message::{Answer, Incoming};

/// The messages that are out, and the answers that came.
pub(super) struct Flight {
    /// Token by packet id; index 0 is not used, as 0 is no packet id (MQTT 3.1.1, 2.3.1).
    tokens: Vec<Option<u64>>,
    next: u16,
    /// Ids, or tokens with quality of service 0, in the order in which they were handed to the library.
    handed: VecDeque<Handed>,
    answers: VecDeque<Incoming>,
}

enum Handed {
    Unanswered(u64),
    Under(u16),
}

/// The library's packet ids are not what they must be; no answer on this connection can be believed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct OutOfStep;

impl Flight {
    /// Nothing is out; packet ids run from 1 to `ids`.
    pub(super) fn new(ids: u16) -> Self {
        Self {
            tokens: vec![None; usize::from(ids.max(1)) + 1],
            next: 1,
            handed: VecDeque::new(),
            answers: VecDeque::new(),
        }
    }

    /// Whether the next packet id is free.
    pub(super) fn has_room(&self) -> bool {
        self.tokens
            .get(usize::from(self.next))
            .is_some_and(Option::is_none)
    }

    /// The message of `token` is handed to the library, to be acknowledged. To be asked first: [`Self::has_room`].
    pub(super) fn hand(&mut self, token: u64) {
        let id = self.next;
        if let Some(slot) = self.tokens.get_mut(usize::from(id)) {
            *slot = Some(token);
        }
        self.handed.push_back(Handed::Under(id));
        let wraps = usize::from(id) + 1 >= self.tokens.len();
        self.next = if wraps { 1 } else { id.saturating_add(1) };
    }

    /// The message of `token` is handed to the library with quality of service 0.
    pub(super) fn hand_unanswered(&mut self, token: u64) {
        self.handed.push_back(Handed::Unanswered(token));
    }

    /// The library has written the next message, under this id.
    pub(super) fn sent(&mut self, id: u16) -> Result<(), OutOfStep> {
        match self.handed.pop_front() {
            Some(Handed::Under(expected)) if expected == id => Ok(()),
            Some(Handed::Unanswered(token)) if id == 0 => {
                self.answers
                    .push_back(Incoming::Answer(token, Answer::Sent));
                Ok(())
            }
            _ => Err(OutOfStep),
        }
    }

    /// The broker has answered what went out under this id.
    pub(super) fn answered(&mut self, id: u16, answer: Answer) -> Result<(), OutOfStep> {
        let token = self.tokens.get_mut(usize::from(id)).and_then(Option::take);
        let token = token.ok_or(OutOfStep)?;
        self.answers.push_back(Incoming::Answer(token, answer));
        Ok(())
    }

    /// An answer that needs no broker.
    pub(super) fn answer(&mut self, token: u64, answer: Answer) {
        self.answers.push_back(Incoming::Answer(token, answer));
    }

    /// The next answer that came.
    pub(super) fn take(&mut self) -> Option<Incoming> {
        self.answers.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_go_round_and_an_id_that_is_out_is_waited_for() {
        let mut flight = Flight::new(2);
        flight.hand(10);
        flight.hand(11);
        assert!(!flight.has_room());
        assert_eq!((flight.sent(1), flight.sent(2)), (Ok(()), Ok(())));
        flight.answered(2, Answer::Confirmed).unwrap();
        assert!(!flight.has_room(), "id 1 is still out");
        flight.answered(1, Answer::Confirmed).unwrap();
        assert!(flight.has_room());
        flight.hand(12);
        assert_eq!(flight.sent(1), Ok(()));
        assert_eq!(flight.take(), Some(Incoming::Answer(11, Answer::Confirmed)));
        assert_eq!(flight.take(), Some(Incoming::Answer(10, Answer::Confirmed)));
        assert_eq!(flight.take(), None);
    }

    #[test]
    fn an_id_out_of_turn_or_never_sent_is_an_error() {
        let mut flight = Flight::new(5);
        assert_eq!(flight.sent(1), Err(OutOfStep));
        flight.hand(10);
        assert_eq!(flight.sent(2), Err(OutOfStep));
        assert_eq!(flight.answered(3, Answer::Confirmed), Err(OutOfStep));
        assert_eq!(flight.answered(6, Answer::Confirmed), Err(OutOfStep));
    }

    #[test]
    fn without_acknowledgement_handing_to_the_connection_is_the_answer() {
        let mut flight = Flight::new(1);
        flight.hand_unanswered(7);
        assert_eq!(flight.take(), None);
        assert_eq!(flight.sent(0), Ok(()));
        assert_eq!(flight.take(), Some(Incoming::Answer(7, Answer::Sent)));
    }
}
