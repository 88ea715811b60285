use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn window(inflight: u16) -> Window {
    Window::new(inflight, RangeSet::new())
}

/// Of three topics in turn.
fn letter(seq: u64) -> Option<Letter> {
    Some(Letter {
        seq,
        size: 10,
        key: (seq % 3).to_string().into(),
    })
}

fn retry() -> Answer {
    Answer::Retry("busy".to_owned())
}

fn stop() -> Answer {
    Answer::Stop("not authorised".to_owned())
}

/// What a broker and a link do.
#[derive(Debug, Clone)]
enum Step {
    Submit,
    Answer(usize, Kind),
    Break,
}

#[derive(Debug, Clone)]
enum Kind {
    Confirmed,
    Refused,
    Retry,
    Stop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let kind = prop_oneof![
        8 => Just(Kind::Confirmed),
        1 => Just(Kind::Refused),
        1 => Just(Kind::Retry),
        1 => Just(Kind::Stop),
    ];
    let step = prop_oneof![
        8 => Just(Step::Submit),
        8 => (0usize..20, kind).prop_map(|(which, kind)| Step::Answer(which, kind)),
        1 => Just(Step::Break),
    ];
    prop::collection::vec(step, 0..300)
}

/// A queue of records 1 to `LAST`, of which each seventh does not exist and each fifth is for somebody else.
struct Model {
    window: Window,
    inflight: usize,
    out: BTreeMap<u64, u64>,
    done: BTreeSet<u64>,
    last_submitted: u64,
}

const LAST: u64 = 60;

impl Model {
    fn submit(&mut self) {
        while self.window.has_room() && self.window.next() <= LAST {
            let seq = self.window.next();
            if seq.is_multiple_of(7) || seq.is_multiple_of(5) || !self.window.wants(seq) {
                self.window.pass(seq, seq);
                self.done.insert(seq);
                continue;
            }
            assert!(!self.done.contains(&seq), "{seq} was confirmed already");
            assert!(
                seq > self.last_submitted,
                "{seq} after {}",
                self.last_submitted
            );
            for below in 1..seq {
                let known = self.done.contains(&below)
                    || self.out.values().any(|out| *out == below)
                    || self
                        .window
                        .aside
                        .iter()
                        .any(|aside| aside.letter.seq == below);
                assert!(known, "{below} is skipped by {seq}");
            }
            let token = self.window.submit(letter(seq), Instant::now());
            assert!(self.out.insert(token, seq).is_none());
            assert!(self.out.len() <= self.inflight);
            self.last_submitted = seq;
            return;
        }
    }

    fn answer(&mut self, which: usize, kind: &Kind) {
        let Some(token) = self.out.keys().nth(which % self.out.len().max(1)).copied() else {
            return;
        };
        let seq = self.out.remove(&token).unwrap();
        let answer = match kind {
            Kind::Confirmed => Answer::Confirmed,
            Kind::Refused => Answer::Refused("too large".to_owned()),
            Kind::Retry => retry(),
            Kind::Stop => stop(),
        };
        match self.window.answer(token, answer) {
            Outcome::Confirmed(of)
            | Outcome::Refused(Refusal {
                letter: Letter { seq: of, .. },
                ..
            }) => {
                assert_eq!(of, seq);
                self.done.insert(seq);
            }
            Outcome::Halted(_) | Outcome::Aside => {}
            other => panic!("{other:?}"),
        }
        self.done
            .extend(self.window.condemned().iter().map(|aside| aside.letter.seq));
        if self.window.is_settled()
            && (self.window.is_halted() || self.window.stopped(true).is_some())
        {
            self.rewind();
        }
    }

    fn rewind(&mut self) {
        self.out.clear();
        self.window.rewind();
        self.last_submitted = 0;
    }
}

proptest! {
    #[test]
    fn repeats_and_never_skips(inflight in 1u16..6, steps in steps()) {
        let mut model = Model {
            window: window(inflight),
            inflight: inflight.into(),
            out: BTreeMap::new(),
            done: BTreeSet::new(),
            last_submitted: 0,
        };
        for step in steps {
            match step {
                Step::Submit => model.submit(),
                Step::Answer(which, kind) => model.answer(which, &kind),
                Step::Break => model.rewind(),
            }
            prop_assert_eq!(model.window.cursor.iter().flat_map(|(a, b)| a..=b).collect::<BTreeSet<_>>(), model.done.clone());
        }
        // However it went: a broker that takes everything gets everything.
        model.rewind();
        for _ in 0..3 * LAST {
            model.submit();
            model.answer(0, &Kind::Confirmed);
        }
        prop_assert_eq!(model.window.oldest_unconfirmed(), LAST + 1);
    }
}

#[test]
fn after_a_retryable_refusal_it_waits_for_all_and_repeats_what_is_not_confirmed() {
    let mut window = window(3);
    let now = Instant::now();
    let tokens: Vec<_> = (1..=3).map(|seq| window.submit(letter(seq), now)).collect();
    assert!(!window.has_room());
    assert_eq!(
        window.answer(tokens[1], retry()),
        Outcome::Halted("busy".to_owned())
    );
    assert!(!window.has_room() && !window.is_settled());
    assert_eq!(
        window.answer(tokens[0], Answer::Confirmed),
        Outcome::Confirmed(1)
    );
    assert_eq!(
        window.answer(tokens[2], Answer::Confirmed),
        Outcome::Confirmed(3)
    );
    assert!(window.is_settled() && window.is_halted());
    window.rewind();
    assert_eq!(
        (window.next(), window.wants(2), window.wants(3)),
        (2, true, false)
    );
}

#[test]
fn an_answer_of_an_earlier_connection_is_none() {
    let mut window = window(3);
    let token = window.submit(letter(1), Instant::now());
    window.rewind();
    assert_eq!(window.answer(token, Answer::Confirmed), Outcome::Nothing);
    let again = window.submit(letter(1), Instant::now());
    assert_ne!(token, again);
    assert_eq!(
        window.answer(again, Answer::Confirmed),
        Outcome::Confirmed(1)
    );
    assert_eq!(window.answer(again, Answer::Confirmed), Outcome::Nothing);
}

#[test]
fn what_is_not_allowed_is_a_dead_letter_once_another_is_taken() {
    let mut window = window(2);
    let first = window.submit(letter(1), Instant::now());
    assert_eq!(window.answer(first, stop()), Outcome::Aside);
    assert_eq!(window.stopped(false), None, "there is more to try");
    let second = window.submit(letter(2), Instant::now());
    assert!(window.condemned().is_empty());
    assert_eq!(
        window.answer(second, Answer::Confirmed),
        Outcome::Confirmed(2)
    );
    assert_eq!(window.stopped(true), None);
    let seqs: Vec<_> = window
        .condemned()
        .into_iter()
        .map(|aside| aside.letter.seq)
        .collect();
    assert_eq!(seqs, [1]);
    assert_eq!(window.oldest_unconfirmed(), 3);
}

#[test]
fn what_is_allowed_again_is_repeated() {
    let mut window = window(5);
    let tokens: Vec<_> = [1, 2, 4]
        .map(|seq| window.submit(letter(seq), Instant::now()))
        .into();
    window.answer(tokens[0], stop());
    window.answer(tokens[1], stop());
    assert_eq!(
        window.answer(tokens[2], Answer::Confirmed),
        Outcome::Confirmed(4)
    );
    let seqs: Vec<_> = window
        .condemned()
        .into_iter()
        .map(|refusal| refusal.letter.seq)
        .collect();
    assert_eq!(seqs, [2], "the fourth goes where the first goes");
    assert!(window.is_halted() && window.is_settled());
    window.rewind();
    assert_eq!(
        (window.next(), window.wants(1), window.wants(4)),
        (1, true, false)
    );
}

#[test]
fn where_nothing_is_allowed_the_upstream_is_stopped_and_nothing_lost() {
    let mut window = window(1);
    let mut seq = 0;
    while window.has_room() {
        seq += 1;
        let token = window.submit(letter(seq), Instant::now());
        window.answer(token, stop());
    }
    assert_eq!(seq, 20);
    assert_eq!(window.stopped(false), Some("not authorised"));
    window.rewind();
    assert_eq!(window.next(), 1);
}

#[test]
fn a_message_that_is_never_answered_bounds_what_is_remembered() {
    let mut window = window(2);
    window.submit(letter(1), Instant::now());
    let mut seq = 1;
    while window.has_room() {
        seq += 1;
        let token = window.submit(letter(seq), Instant::now());
        window.answer(token, Answer::Confirmed);
    }
    assert_eq!(window.out.len(), 8);
}

#[test]
fn greetings_move_no_cursor() {
    let mut window = window(2);
    let token = window.submit(None, Instant::now());
    assert_eq!(window.answer(token, stop()), Outcome::Nothing);
    assert!(window.has_room() && window.is_settled());
    assert_eq!(window.next(), 1);
}
