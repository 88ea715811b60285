//! Records that the broker does not take, and says so badly or not at all.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

const LAST: u64 = 60;

/// A broker that closes the connection at each of these records, and a link that breaks now and then by itself.
struct Model {
    window: Window,
    last: u64,
    poison: BTreeSet<u64>,
    /// At so many messages from the beginning; each once.
    breaks: Vec<usize>,
    /// From this message on the broker closes at all of so many.
    storm: std::ops::Range<usize>,
    sent: usize,
    confirmed: BTreeSet<u64>,
    refused: BTreeSet<u64>,
}

impl Model {
    /// Whether the connection still stands.
    fn fill_and_answer(&mut self) -> bool {
        let lanes: Vec<_> = self.window.lanes().collect();
        let mut out = Vec::new();
        for lane in lanes {
            loop {
                let seq = self.window.next(lane);
                if seq > self.last || seq >= self.window.end(lane) || !self.window.has_room(lane) {
                    break;
                }
                if !self.window.skips(lane, seq) {
                    let token = self.window.submit(lane, letter(seq), Instant::now());
                    out.push((token, seq));
                }
            }
        }
        if out.is_empty() {
            // Only another record can show that the broker takes others.
            self.last += 1;
        }
        for (token, seq) in out {
            self.sent += 1;
            let closes = self.breaks.contains(&self.sent) || self.storm.contains(&self.sent);
            if self.poison.contains(&seq) || closes {
                self.window.broken("reset");
                return false;
            }
            assert_eq!(
                self.window.answer(token, Answer::Confirmed),
                Outcome::Confirmed(seq)
            );
            self.confirmed.insert(seq);
            let condemned = self.window.condemned().into_iter();
            self.refused
                .extend(condemned.map(|refusal| refusal.letter.seq));
        }
        for lane in self.window.lanes() {
            if self.window.is_halted(lane) {
                self.window.rewind(lane);
            }
        }
        true
    }
}

proptest! {
    #[test]
    fn those_that_close_the_connection_are_condemned_and_no_others(
        inflight in 1u16..9,
        live in any::<bool>(),
        poison in prop::collection::btree_set(1u64..LAST, 0..12),
        breaks in prop::collection::vec(1usize..120, 0..4),
        storm in (0usize..200, 0usize..100),
    ) {
        let order = if live { Order::LiveFirst } else { Order::OldestFirst };
        let mut model = Model {
            window: Window::new(inflight, order, None, RangeSet::new()),
            last: LAST,
            poison: poison.clone(),
            breaks,
            storm: storm.0..storm.0 + storm.1,
            sent: 0,
            confirmed: BTreeSet::new(),
            refused: BTreeSet::new(),
        };
        for _ in 0..40 * LAST {
            model.window.begin(model.last);
            while model.fill_and_answer() && model.window.oldest_unconfirmed() <= model.last {}
            if model.window.oldest_unconfirmed() > model.last {
                break;
            }
        }
        prop_assert_eq!(&model.refused, &poison);
        let rest: BTreeSet<u64> = (1..=model.last).filter(|seq| !poison.contains(seq)).collect();
        prop_assert_eq!(model.confirmed, rest);
    }
}

#[test]
fn where_every_record_closes_the_connection_none_is_to_blame() {
    let mut window = window(4);
    for _ in 0..1_000 {
        window.begin(LAST);
        let mut seq = window.next(ALL);
        while window.has_room(ALL) && seq <= LAST {
            if !window.skips(ALL, seq) {
                submit(&mut window, seq);
            }
            seq = window.next(ALL);
        }
        window.broken("reset");
        assert!(window.condemned().is_empty());
    }
    window.begin(LAST);
    assert_eq!(window.oldest_unconfirmed(), 1);
}

#[test]
fn one_that_is_not_allowed_and_closed_over_is_suspected_too() {
    let mut window = window(1);
    let mut others = 2..;
    for _ in 0..2 + 2 * Suspects::CLOSINGS {
        window.begin(100);
        if window.skips(ALL, 1) {
            let token = submit(&mut window, others.next().unwrap());
            window.answer(token, Answer::Confirmed);
        } else {
            let token = submit(&mut window, 1);
            assert_eq!(window.answer(token, stop()), Outcome::Aside);
        }
        window.broken("reset");
    }
    let condemned = window.condemned();
    assert_eq!(condemned.len(), 1, "{condemned:?}");
    assert_eq!(condemned[0].letter.seq, 1);
}

#[test]
fn copies_over_which_the_connection_is_closed_go_no_more() {
    let mut window = window(4);
    for _ in 0..10 {
        window.begin(1);
        assert!(window.takes_copies() || window.suspects.is_careful());
        window.submit(ALL, Parcel::Copy, Instant::now());
        window.broken("reset");
    }
    assert!(!window.takes_copies());
}

#[test]
fn what_comes_back_often_enough_is_refused_also_across_connections() {
    let returned = || Answer::Returned("no queue takes it".to_owned());
    let mut window = Window::new(4, Order::OldestFirst, Some(3), RangeSet::new());
    for _ in 0..2 {
        window.begin(1);
        let token = submit(&mut window, 1);
        let halted = window.answer(token, returned());
        assert_eq!(halted, Outcome::Halted("no queue takes it".to_owned()));
    }
    window.begin(1);
    let token = submit(&mut window, 1);
    let Outcome::Refused(refusal) = window.answer(token, returned()) else {
        panic!("it waits");
    };
    assert!(
        refusal.reason.ends_with("it came back 3 times"),
        "{refusal:?}"
    );
}
