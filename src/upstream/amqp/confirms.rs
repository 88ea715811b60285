//! Which submitted message has been confirmed and which returned. Pure but for the futures it polls.
//!
//! The library hangs a returned message on whichever confirm completes next, and completes the confirms of a "multiple"
//! in any order. So a return counts for the message whose id it bears, and a plain confirm counts only when no
//! return for it can be pending:
//!
//! - The broker sends a message's return before its confirm, and each completing confirm takes one waiting return with
//!   it. A confirm that took none found no return waiting: all returns up to then ride on confirms that completed
//!   earlier, and are seen by looking at all others once more.
//! - A confirm that took another message's return leaves its own case open, until its own return shows up on another
//!   confirm, or all confirms are complete: then no return is left, as there are no more returns than confirms.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::time::Instant;

/// How a confirm completed, and the return that rode on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Ack(Option<Returned>),
    Nack(Option<Returned>),
}

/// A message that came back, as no queue takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Returned {
    pub(super) id: String,
    pub(super) reason: String,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Confirmed,
    /// The broker could not take it: a queue is full, or has lost its majority.
    Nacked,
    /// No queue takes it, for this reason.
    Unroutable(String),
}

/// The submitted messages, in order; they are decided in order too.
pub(super) struct Confirms<F, E> {
    slots: VecDeque<Slot<F, E>>,
    tokens: HashMap<Arc<str>, u64>,
    returned: HashMap<u64, String>,
}

/// A message whose fate is certain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decided {
    pub(super) token: u64,
    pub(super) id: Arc<str>,
    pub(super) fate: Fate,
}

struct Slot<F, E> {
    token: u64,
    id: Arc<str>,
    since: Instant,
    state: State<F, E>,
}

enum State<F, E> {
    Waiting(F),
    Nacked,
    /// No return waited when it was confirmed.
    Acked,
    /// Confirmed, but another message's return rode on it.
    Open,
    /// Never to be known, as the connection broke.
    Failed(Option<E>),
}

impl<F, E> Confirms<F, E>
where
    F: Future<Output = Result<Outcome, E>> + Unpin,
{
    pub(super) fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            tokens: HashMap::new(),
            returned: HashMap::new(),
        }
    }

    /// Takes a message of this id at `now`, and polls its confirm once, which hands it to the library in its turn.
    pub(super) fn push(&mut self, token: u64, id: &str, confirm: F, now: Instant) {
        let id: Arc<str> = id.into();
        self.tokens.insert(Arc::clone(&id), token);
        self.slots.push_back(Slot {
            token,
            id,
            since: now,
            state: State::Waiting(confirm),
        });
        let last = self.slots.len() - 1;
        self.look(last, &mut Context::from_waker(Waker::noop()));
    }

    /// How many are not decided.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The channel is closed, and no confirm completes any more: the messages whose fate is certain, and the others' tokens.
    pub(super) fn drain(&mut self) -> (Vec<Decided>, Vec<u64>) {
        let (mut decided, mut unknown) = (Vec::new(), Vec::new());
        // Confirms that completed before the end may not have been looked at, behind one that did not.
        for at in 0..self.slots.len() {
            self.look(at, &mut Context::from_waker(Waker::noop()));
        }
        let all_complete = self.all_complete();
        for Slot {
            token, id, state, ..
        } in std::mem::take(&mut self.slots)
        {
            let fate = match state {
                State::Waiting(_) | State::Failed(_) => None,
                State::Nacked => Some(Fate::Nacked),
                State::Acked | State::Open => match self.returned.remove(&token) {
                    Some(reason) => Some(Fate::Unroutable(reason)),
                    // Its own return may have waited for a confirm that did not come.
                    None if matches!(state, State::Open) && !all_complete => None,
                    None => Some(Fate::Confirmed),
                },
            };
            match fate {
                Some(fate) => decided.push(Decided { token, id, fate }),
                None => unknown.push(token),
            }
        }
        self.tokens.clear();
        self.returned.clear();
        (decided, unknown)
    }

    /// Since when the oldest has been waiting.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.slots.front().map(|slot| slot.since)
    }

    /// The next decided message; `Pending` where there is none.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Decided, E>> {
        if let Some(decided) = self.decide() {
            return Poll::Ready(Ok(decided));
        }
        if self.look(0, context) {
            // The first is complete: whatever completed before it is complete too, wherever it stands.
            for at in 1..self.slots.len() {
                self.look(at, context);
            }
            if let Some(decided) = self.decide() {
                return Poll::Ready(Ok(decided));
            }
        }
        match self.error() {
            Some(error) => Poll::Ready(Err(error)),
            None => Poll::Pending,
        }
    }

    /// What broke the connection: the earliest message knows the reason, those submitted later only that it is broken.
    fn error(&mut self) -> Option<E> {
        self.slots
            .iter_mut()
            .find_map(|slot| match &mut slot.state {
                State::Failed(error) => Some(error.take()),
                State::Waiting(_) => Some(None),
                State::Nacked | State::Acked | State::Open => None,
            })?
    }

    /// Whether the slot is complete.
    fn look(&mut self, at: usize, context: &mut Context<'_>) -> bool {
        let Some(slot) = self.slots.get_mut(at) else {
            return false;
        };
        let State::Waiting(confirm) = &mut slot.state else {
            return true;
        };
        let Poll::Ready(outcome) = Pin::new(confirm).poll(context) else {
            return false;
        };
        let (state, rider) = match outcome {
            Ok(Outcome::Nack(rider)) => (State::Nacked, rider),
            Ok(Outcome::Ack(None)) => (State::Acked, None),
            Ok(Outcome::Ack(rider)) => (State::Open, rider),
            Err(error) => (State::Failed(Some(error)), None),
        };
        slot.state = state;
        if let Some(Returned { id, reason }) = rider
            && let Some(token) = self.tokens.get(id.as_str())
        {
            self.returned.insert(*token, reason);
        }
        true
    }

    /// Takes the first message out, if its fate is certain.
    fn decide(&mut self) -> Option<Decided> {
        let Slot { token, state, .. } = self.slots.front()?;
        let token = *token;
        let fate = match state {
            State::Waiting(_) | State::Failed(_) => return None,
            State::Nacked => Fate::Nacked,
            State::Acked | State::Open if self.returned.contains_key(&token) => {
                Fate::Unroutable(self.returned.remove(&token).unwrap_or_default())
            }
            State::Acked => Fate::Confirmed,
            State::Open if self.all_complete() => Fate::Confirmed,
            State::Open => return None,
        };
        let slot = self.slots.pop_front()?;
        self.returned.remove(&token);
        // A repeat of the same record may have taken the id over.
        if self.tokens.get(&slot.id) == Some(&token) {
            self.tokens.remove(&slot.id);
        }
        let id = slot.id;
        Some(Decided { token, id, fate })
    }

    fn all_complete(&self) -> bool {
        let mut states = self.slots.iter().map(|slot| &slot.state);
        !states.any(|state| matches!(state, State::Waiting(_) | State::Failed(_)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::sync::oneshot;

    use super::*;

    /// What the library does with returns and confirms.
    struct Library {
        out: Vec<Option<oneshot::Sender<Outcome>>>,
        returns: VecDeque<Returned>,
    }

    impl Library {
        fn complete(&mut self, token: usize, ack: bool) {
            let rider = self.returns.pop_front();
            let outcome = if ack {
                Outcome::Ack(rider)
            } else {
                Outcome::Nack(rider)
            };
            let confirm = self.out[token].take().unwrap();
            confirm.send(outcome).unwrap();
        }
    }

    /// Routable, unroutable or nacked; and after how many others it is confirmed, at most.
    fn messages() -> impl Strategy<Value = Vec<(u8, usize)>> {
        prop::collection::vec((0..4u8, 0..6usize), 1..40)
    }

    fn expected(kind: u8, token: usize) -> Fate {
        match kind {
            0 | 1 => Fate::Confirmed,
            2 => Fate::Unroutable(format!("no queue for {token}")),
            _ => Fate::Nacked,
        }
    }

    proptest! {
        #[test]
        fn every_message_gets_its_own_fate_in_order(messages in messages(), polls in any::<u64>()) {
            let mut library = Library { out: Vec::new(), returns: VecDeque::new() };
            let mut confirms = Confirms::new();
            for token in 0..messages.len() {
                let (sender, receiver) = oneshot::channel();
                library.out.push(Some(sender));
                confirms.push(token as u64, &format!("s-{token}"), receiver, Instant::now());
            }
            let mut order: Vec<usize> = (0..messages.len()).collect();
            order.sort_by_key(|token| token + messages[*token].1);
            let mut decided = Vec::new();
            let mut context = Context::from_waker(Waker::noop());
            let mut poll = |confirms: &mut Confirms<_, _>, decided: &mut Vec<_>| {
                while let Poll::Ready(fate) = confirms.poll(&mut context) {
                    let Decided { token, fate, .. } = fate.unwrap();
                    decided.push((token, fate));
                }
            };
            // All returns of a run of eight come before the first of its confirms.
            for (step, run) in order.chunks(8).enumerate() {
                let mut returned: Vec<usize> =
                    run.iter().copied().filter(|token| messages[*token].0 == 2).collect();
                returned.sort_unstable();
                for token in returned {
                    let reason = format!("no queue for {token}");
                    library.returns.push_back(Returned { id: format!("s-{token}"), reason });
                }
                for (nth, token) in run.iter().enumerate() {
                    library.complete(*token, messages[*token].0 != 3);
                    if polls >> ((step * 8 + nth) % 64) & 1 == 1 {
                        poll(&mut confirms, &mut decided);
                    }
                }
            }
            poll(&mut confirms, &mut decided);
            let expected: Vec<_> = messages
                .iter()
                .enumerate()
                .map(|(token, (kind, _))| (token as u64, expected(*kind, token)))
                .collect();
            prop_assert_eq!(decided, expected);
            prop_assert!(confirms.tokens.is_empty() && confirms.returned.is_empty());
        }
    }

    #[test]
    fn at_the_end_only_what_is_certain_is_decided() {
        let mut library = Library {
            out: Vec::new(),
            returns: VecDeque::new(),
        };
        let mut confirms = Confirms::new();
        for token in 0..5u64 {
            let (sender, receiver) = oneshot::channel();
            library.out.push(Some(sender));
            confirms.push(token, &format!("s-{token}"), receiver, Instant::now());
        }
        // The first is never answered. The second came back, but its return waits behind that of the third.
        library.complete(4, true);
        library.complete(3, false);
        for token in [2, 1] {
            library.returns.push_back(Returned {
                id: format!("s-{token}"),
                reason: "no queue".to_owned(),
            });
        }
        library.complete(1, true);
        library.out.clear();
        let (decided, unknown) = confirms.drain();
        let decided: Vec<_> = decided
            .into_iter()
            .map(|one| (one.token, one.fate))
            .collect();
        assert_eq!(decided, [(3, Fate::Nacked), (4, Fate::Confirmed)]);
        assert_eq!(unknown, [0, 1, 2]);
    }

    #[test]
    fn a_foreign_return_keeps_a_message_open_until_nothing_is_out() {
        let mut library = Library {
            out: Vec::new(),
            returns: VecDeque::new(),
        };
        let mut confirms = Confirms::new();
        for token in 0..2u64 {
            let (sender, receiver) = oneshot::channel();
            library.out.push(Some(sender));
            confirms.push(token, &format!("s-{token}"), receiver, Instant::now());
        }
        let mut context = Context::from_waker(Waker::noop());
        for token in [1, 0] {
            library.returns.push_back(Returned {
                id: format!("s-{token}"),
                reason: "no queue".to_owned(),
            });
        }
        library.complete(0, true);
        assert!(confirms.poll(&mut context).is_pending());
        library.complete(1, true);
        let unroutable = Fate::Unroutable("no queue".to_owned());
        for token in 0..2 {
            let id = format!("s-{token}").into();
            let decided = Decided {
                token,
                id,
                fate: unroutable.clone(),
            };
            assert_eq!(confirms.poll(&mut context), Poll::Ready(Ok(decided)));
        }
    }
}
