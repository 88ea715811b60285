//! Which requests may still be answered; pure.
//!
//! Without a transaction id an answer is known by unit, function and length only, so that a late one looks like the
//! answer to a later request of the same shape. What helps is that a device answers in the order in which it was asked:
//! the answer to one request proves that nothing older is still to come.

use std::time::Duration;

use tokio::time::Instant;

use super::frame::{Frame, ReadRequest};

/// The requests that were sent and not answered, oldest first.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    sent: Vec<Sent>,
    slowest: Duration,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    request: ReadRequest,
    /// Attempts of one and the same read share it.
    exchange: u64,
    at: Instant,
}

/// What a frame is to the request that was sent last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settled {
    /// Its answer.
    Answer,
    /// The answer to an older request.
    Late,
    /// An exception that may be its answer or that to an older request.
    Refused,
    /// Nothing that was asked for.
    Foreign,
}

impl Ledger {
    /// How many unanswered requests of a unit are remembered. An attempt that ends without an answer takes 50 ms or more:
    /// one that is forgotten is several seconds old.
    const MOST: usize = 64;

    /// Whether a late answer could be taken for the answer to `request`: then something else must be asked first.
    pub(super) fn is_ambiguous(&self, request: ReadRequest) -> bool {
        let mut same_unit = self.of_unit(request.unit());
        same_unit.any(|sent| same_shape(sent.request, request))
    }

    /// Whether an attempt of `exchange` is unanswered.
    pub(super) fn has(&self, exchange: u64) -> bool {
        self.sent.iter().any(|sent| sent.exchange == exchange)
    }

    /// A read at the same place whose answer cannot be mistaken: no unanswered request has its length.
    pub(super) fn fence(&self, request: ReadRequest) -> Option<ReadRequest> {
        (1..=ReadRequest::MOST_BITS)
            .map_while(|count| request.with_count(count))
            .find(|&fence| !same_shape(fence, request) && !self.is_ambiguous(fence))
    }

    /// The longest that an answer has taken.
    pub(super) fn slowest(&self) -> Duration {
        self.slowest
    }

    /// Notes that `request` is being sent.
    pub(super) fn sent(&mut self, request: ReadRequest, exchange: u64, now: Instant) {
        if self.of_unit(request.unit()).count() >= Self::MOST {
            let oldest = |sent: &Sent| sent.request.unit() == request.unit();
            if let Some(place) = self.sent.iter().position(oldest) {
                self.sent.remove(place);
            }
        }
        self.sent.push(Sent {
            request,
            exchange,
            at: now,
        });
    }

    /// Says what `frame` is. An answer that can only be that to the last request settles all requests of its unit; any
    /// other frame settles none: it could be a second copy, so that counting frames would prove nothing.
    pub(super) fn received(&mut self, frame: Frame, now: Instant) -> Settled {
        let mut fitting = self
            .sent
            .iter()
            .filter(|sent| frame.may_answer(sent.request));
        let (Some(&first), Some(&last)) = (fitting.next(), self.sent.last()) else {
            return Settled::Foreign;
        };
        let only = fitting.next().is_none();
        self.slowest = self.slowest.max(now.saturating_duration_since(first.at));
        if first.exchange == last.exchange && first.request == last.request {
            if only {
                self.forget(frame.unit);
            }
            Settled::Answer
        } else if frame.byte_count.is_none() && frame.may_answer(last.request) {
            Settled::Refused
        } else {
            Settled::Late
        }
    }

    /// Nothing older of `unit` can come any more.
    pub(super) fn forget(&mut self, unit: u8) {
        self.sent.retain(|sent| sent.request.unit() != unit);
    }

    fn of_unit(&self, unit: u8) -> impl Iterator<Item = &Sent> {
        self.sent
            .iter()
            .filter(move |sent| sent.request.unit() == unit)
    }
}

fn same_shape(left: ReadRequest, right: ReadRequest) -> bool {
    left.function() == right.function() && left.byte_count() == right.byte_count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::modbus::map::Table;

    fn now() -> Instant {
        Instant::now()
    }

    fn read(unit: u8, address: u16, count: u16) -> ReadRequest {
        ReadRequest::new(unit, Table::HoldingRegister, address, count).unwrap()
    }

    fn answer(request: ReadRequest) -> Frame {
        Frame {
            unit: request.unit(),
            function: request.function(),
            byte_count: Some(request.byte_count()),
        }
    }

    fn exception(request: ReadRequest) -> Frame {
        Frame {
            byte_count: None,
            ..answer(request)
        }
    }

    #[test]
    fn an_answer_in_time_leaves_nothing_open() {
        let mut ledger = Ledger::default();
        ledger.sent(read(1, 0, 2), 1, now());
        assert_eq!(
            ledger.received(answer(read(1, 0, 2)), now()),
            Settled::Answer
        );
        assert!(!ledger.is_ambiguous(read(1, 100, 2)));
        assert_eq!(
            ledger.received(answer(read(1, 0, 2)), now()),
            Settled::Foreign
        );
    }

    #[test]
    fn a_retry_takes_the_late_answer_and_the_other_one_stays_open() {
        let mut ledger = Ledger::default();
        ledger.sent(read(1, 0, 2), 1, now());
        ledger.sent(read(1, 0, 2), 1, now());
        assert_eq!(
            ledger.received(answer(read(1, 0, 2)), now()),
            Settled::Answer
        );
        assert!(ledger.is_ambiguous(read(1, 100, 2)));
        assert!(
            ledger.is_ambiguous(read(1, 0, 2)),
            "it would be an old value"
        );
        assert!(!ledger.is_ambiguous(read(2, 100, 2)));
        let fence = ledger.fence(read(1, 100, 2)).unwrap();
        assert_eq!(fence, read(1, 100, 1));
        ledger.sent(fence, 2, now());
        assert_eq!(ledger.received(answer(read(1, 0, 2)), now()), Settled::Late);
        assert_eq!(ledger.received(answer(fence), now()), Settled::Answer);
        assert!(!ledger.is_ambiguous(read(1, 100, 2)));
    }

    #[test]
    fn an_exception_that_may_be_another_ones_is_not_taken() {
        let mut ledger = Ledger::default();
        ledger.sent(read(1, 0, 2), 1, now());
        ledger.sent(read(1, 100, 1), 2, now());
        assert_eq!(
            ledger.received(exception(read(1, 0, 2)), now()),
            Settled::Refused
        );
        assert_eq!(
            ledger.received(exception(read(1, 0, 2)), now()),
            Settled::Refused
        );
    }

    #[test]
    fn fences_differ_from_all_that_is_open_and_the_list_is_bounded() {
        let mut ledger = Ledger::default();
        for exchange in 0..100 {
            let wanted = read(1, 10, 4);
            let next = if ledger.is_ambiguous(wanted) {
                ledger.fence(wanted).unwrap()
            } else {
                wanted
            };
            assert!(!ledger.is_ambiguous(next));
            ledger.sent(next, exchange, now());
        }
        assert_eq!(ledger.sent.len(), Ledger::MOST);
        ledger.forget(1);
        assert!(ledger.sent.is_empty());
    }
}
