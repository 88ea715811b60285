//! Messages that wait for the channel, and how they may go. Pure.
//!
//! AMQP refuses a message by closing the channel, and does not say which one it was. So those that were out are sent again
//! one by one on a new channel, until the one that closes it is known.

use std::collections::VecDeque;

use crate::upstream::message::Message;

/// At most the window waits here.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: VecDeque<Message>,
    /// So many of the next messages go one by one.
    careful: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, message: Message) {
        self.waiting.push_back(message);
    }

    /// The next message, where it may go while `out` messages are out.
    pub(super) fn next(&mut self, out: usize) -> Option<Message> {
        if self.careful > 0 && out > 0 {
            return None;
        }
        self.waiting.pop_front()
    }

    /// A message that was out got its answer from the broker.
    pub(super) fn answered(&mut self) {
        self.careful = self.careful.saturating_sub(1);
    }

    /// The channel was closed while so many messages were out. Several will all be submitted again; after one alone the next
    /// goes alone too, as it may be refused like it: the broker has to take one first.
    pub(super) fn closed(&mut self, out: usize) {
        self.careful = match out {
            0 => self.careful,
            1 => self.careful.saturating_sub(1).max(1),
            several => several.saturating_add(self.waiting.len()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::message::Address;

    fn message(token: u64) -> Message {
        Message {
            token,
            address: Address {
                exchange: "".into(),
                key: "".into(),
            },
            payload: Default::default(),
            retain: false,
            content_type: "",
            expires_in: None,
            properties: None,
        }
    }

    #[test]
    fn after_a_close_over_several_they_go_one_by_one() {
        let mut outbox = Outbox::default();
        (0..5).for_each(|token| outbox.push(message(token)));
        let token = |next: Option<Message>| next.map(|message| message.token);
        assert_eq!(token(outbox.next(0)), Some(0));
        assert_eq!(token(outbox.next(1)), Some(1));
        outbox.closed(2);
        // The two come again behind those that waited: all five go alone.
        (5..8).for_each(|token| outbox.push(message(token)));
        for expected in 2..6 {
            assert_eq!(outbox.next(1), None);
            assert_eq!(token(outbox.next(0)), Some(expected));
            outbox.answered();
        }
        outbox.next(0);
        outbox.closed(1);
        assert_eq!(
            outbox.next(1),
            None,
            "it may be refused like the one before"
        );
        assert_eq!(token(outbox.next(0)), Some(7));
        outbox.answered();
        outbox.push(message(8));
        assert_eq!(token(outbox.next(1)), Some(8), "one was taken");
    }
}
