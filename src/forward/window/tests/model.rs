//! Any sequence of answers, breaks and delays: nothing is skipped, and no record goes in both lanes.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// What a broker, a link, a clock and the store do.
#[derive(Debug, Clone)]
enum Step {
    Submit,
    Answer(usize, Kind),
    Break,
    /// Records are added.
    Grow(u64),
    /// What the live lane would send next is too old by now.
    Age,
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
        2 => (1u64..8).prop_map(Step::Grow),
        1 => Just(Step::Age),
    ];
    prop::collection::vec(step, 0..300)
}

/// A queue of records 1 to `head`, of which each seventh does not exist and each fifth is for somebody else.
struct Model {
    window: Window,
    inflight: usize,
    head: u64,
    out: BTreeMap<u64, (Lane, u64)>,
    done: BTreeSet<u64>,
    /// By lane, since its last return.
    last_submitted: [u64; 2],
}

impl Model {
    fn new(inflight: u16, order: Order) -> Self {
        let mut model = Self {
            window: Window::new(inflight, order, None, RangeSet::new()),
            inflight: inflight.into(),
            head: 30,
            out: BTreeMap::new(),
            done: BTreeSet::new(),
            last_submitted: [0; 2],
        };
        model.connect();
        model
    }

    fn submit(&mut self) {
        let lanes: Vec<_> = self.window.lanes().collect();
        for lane in lanes {
            while self.window.has_room(lane) {
                let seq = self.window.next(lane);
                if seq > self.head || seq >= self.window.end(lane) {
                    break;
                }
                if seq.is_multiple_of(7) || seq.is_multiple_of(5) {
                    self.window.pass(lane, seq, seq);
                    self.done.insert(seq);
                    continue;
                }
                self.send(lane, seq);
                return;
            }
        }
    }

    fn send(&mut self, lane: Lane, seq: u64) {
        assert!(self.window.wants(lane, seq));
        assert!(!self.done.contains(&seq), "{seq} was confirmed already");
        let twice = self.out.values().any(|(_, out)| *out == seq);
        assert!(!twice, "{seq} is out already");
        let last = &mut self.last_submitted[lane as usize];
        assert!(seq > *last, "{seq} after {last}");
        *last = seq;
        // The backlog lane brings all that lies before what it sends; the live lane leaves nothing out without leaving it.
        let from = match lane {
            Lane::Backlog => 1,
            Lane::Live => self.window.track(lane).base,
        };
        for below in from..seq {
            let aside = &self.window.aside;
            let known = self.done.contains(&below)
                || self.out.values().any(|(_, out)| *out == below)
                || aside.iter().any(|(_, refusal)| refusal.letter.seq == below);
            assert!(known, "{below} is skipped by {seq}");
        }
        let token = self.window.submit(lane, letter(seq), Instant::now());
        assert!(self.out.insert(token, (lane, seq)).is_none());
        assert!(self.out.len() <= self.inflight);
    }

    fn answer(&mut self, which: usize, kind: &Kind) {
        let Some(token) = self.out.keys().nth(which % self.out.len().max(1)).copied() else {
            return;
        };
        let (_, seq) = self.out.remove(&token).unwrap();
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
        if self.window.stopped(true).is_some() {
            self.connect();
        }
        let lanes: Vec<_> = self.window.lanes().collect();
        for lane in lanes {
            if self.window.is_settled(lane) && self.window.is_halted(lane) {
                self.window.rewind(lane);
                self.last_submitted[lane as usize] = 0;
            }
        }
    }

    fn connect(&mut self) {
        self.out.clear();
        self.window.begin(self.head);
        self.last_submitted = [0; 2];
    }

    fn age(&mut self) {
        let next = self.window.next(Lane::Live);
        let out = self.out.values().any(|(lane, _)| *lane == Lane::Live);
        if let Some(from) = self.window.leave(next, self.head) {
            assert!(!out && from > next, "{from}");
        }
    }

    fn run(mut self, steps: Vec<Step>) {
        for step in steps {
            match step {
                Step::Submit => self.submit(),
                Step::Answer(which, kind) => self.answer(which, &kind),
                Step::Break => self.connect(),
                Step::Grow(count) => self.head += count,
                Step::Age => self.age(),
            }
            let cursor = self.window.cursor.iter().flat_map(|(a, b)| a..=b);
            assert_eq!(cursor.collect::<BTreeSet<_>>(), self.done);
        }
        // However it went: a broker that takes everything gets everything, on this connection or the next.
        for round in 0..2 {
            for _ in 0..3 * self.head {
                self.submit();
                self.answer(0, &Kind::Confirmed);
            }
            assert!(round == 0 || self.window.oldest_unconfirmed() > self.head);
            self.connect();
        }
    }
}

proptest! {
    #[test]
    fn repeats_and_never_skips(inflight in 1u16..6, steps in steps()) {
        Model::new(inflight, Order::OldestFirst).run(steps);
    }

    #[test]
    fn two_lanes_repeat_and_never_skip_nor_send_what_the_other_has(inflight in 1u16..9, steps in steps()) {
        Model::new(inflight, Order::LiveFirst).run(steps);
    }
}
