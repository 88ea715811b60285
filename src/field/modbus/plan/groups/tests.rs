use proptest::prelude::*;

use super::*;

/// What the rules are made of.
#[derive(Debug, Clone)]
struct Line {
    limit: u32,
    gap: u32,
    holes: Vec<u32>,
    pairs: Vec<(Run, Run)>,
    request: u64,
    place: u64,
}

impl Line {
    fn is_refused(&self, first: u32, end: u32) -> bool {
        self.holes.iter().any(|hole| (first..end).contains(hole))
    }

    fn cost(&self, places: u32) -> u64 {
        self.request + self.place * u64::from(places)
    }

    fn group(&self, runs: &[Run]) -> Vec<Run> {
        let rules = Rules {
            limit: self.limit,
            gap: self.gap,
            is_refused: &|first, end| self.is_refused(first, end),
            pairs: &self.pairs,
            cost: &|places| self.cost(places),
        };
        group(runs.to_vec(), &rules)
    }

    /// What `reads` cost, told from the rules alone.
    fn price(&self, reads: &[Run]) -> Price {
        let within = |run: Run, read: Run| read.0 <= run.0 && run.1 <= read.1;
        let together =
            |&&(a, b): &&(Run, Run)| reads.iter().any(|&read| within(a, read) && within(b, read));
        let apart = self.pairs.len() - self.pairs.iter().filter(together).count();
        let time = reads.iter().map(|read| self.cost(read.1 - read.0)).sum();
        (apart, time, reads.len())
    }

    /// Whether one read may be the hull of `runs`.
    fn allows(&self, all: &[Run], read: Run) -> bool {
        if all.contains(&read) {
            return true;
        }
        if read.1 - read.0 > self.limit || self.is_refused(read.0, read.1) {
            return false;
        }
        let asked = |place: u32| all.iter().any(|run| (run.0..run.1).contains(&place));
        let mut places = read.0..read.1;
        while let Some(from) = places.find(|&place| !asked(place)) {
            let to = (from..read.1).find(|&place| asked(place)).unwrap();
            places = to..read.1;
            let inside = |run: Run| read.0 <= run.0 && run.1 <= read.1;
            let bridged = self.gap > 0
                && self.pairs.iter().any(|&(a, b)| {
                    inside(a) && inside(b) && a.0.min(b.0) < from && a.1.max(b.1) > to
                });
            if to - from > self.gap && !bridged {
                return false;
            }
        }
        true
    }

    /// The best price of all ways to read `runs` at all.
    fn brute_force(&self, runs: &[Run]) -> Price {
        let mut best = None;
        self.partitions(runs, &mut Vec::new(), &mut best);
        best.unwrap()
    }

    fn partitions(&self, rest: &[Run], parts: &mut Vec<Vec<Run>>, best: &mut Option<Price>) {
        let Some((run, rest)) = rest.split_first() else {
            let all: Vec<Run> = parts.iter().flatten().copied().collect();
            let hull = |part: &Vec<Run>| {
                let first = part.iter().map(|run| run.0).min().unwrap();
                (first, part.iter().map(|run| run.1).max().unwrap())
            };
            let mut reads: Vec<Run> = parts.iter().map(hull).collect();
            reads.sort_unstable();
            reads.dedup();
            // Reading a place twice could keep one more pair together; that is not wanted.
            let ordered = self.pairs.is_empty() || are_ordered(parts);
            if ordered && reads.iter().all(|&read| self.allows(&all, read)) {
                let price = self.price(&reads);
                *best = Some(best.map_or(price, |best| best.min(price)));
            }
            return;
        };
        for place in 0..parts.len() {
            parts[place].push(*run);
            self.partitions(rest, parts, best);
            parts[place].pop();
        }
        parts.push(vec![*run]);
        self.partitions(rest, parts, best);
        parts.pop();
    }
}

/// Whether each part begins behind the beginnings of another.
fn are_ordered(parts: &[Vec<Run>]) -> bool {
    let mut ranges: Vec<_> = parts
        .iter()
        .map(|part| {
            let firsts = || part.iter().map(|run| run.0);
            (firsts().min(), firsts().max())
        })
        .collect();
    ranges.sort_unstable();
    ranges.windows(2).all(|pair| pair[0].1 < pair[1].0)
}

fn runs() -> impl Strategy<Value = Vec<Run>> {
    prop::collection::vec((0..40_u32, 1..4_u32), 1..7)
        .prop_map(|runs| runs.iter().map(|&(at, len)| (at, at + len)).collect())
}

fn line() -> impl Strategy<Value = Line> {
    let limits = (3..30_u32, 0..9_u32);
    let holes = prop::collection::vec(0..44_u32, 0..4);
    (limits, holes, 1..60_u64, 1..9_u64).prop_map(|((limit, gap), holes, request, place)| Line {
        limit,
        gap,
        holes,
        pairs: Vec::new(),
        request,
        place,
    })
}

/// A line, runs that it can read each by itself, and pairs of them.
fn case() -> impl Strategy<Value = (Line, Vec<Run>)> {
    let picks = prop::collection::vec(
        (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
        0..3,
    );
    (line(), runs(), picks).prop_map(|(mut line, mut runs, picks)| {
        line.holes
            .retain(|hole| !runs.iter().any(|run| (run.0..run.1).contains(hole)));
        runs.sort_unstable();
        runs.dedup();
        // A run within another is always read with that one.
        let mut outermost = runs.clone();
        keep_outermost(&mut outermost);
        for (a, b) in picks {
            let (a, b) = (*a.get(&outermost), *b.get(&outermost));
            if a != b {
                line.pairs.push((a, b));
            }
        }
        (line, runs)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_other_way_to_read_them_is_cheaper((line, runs) in case()) {
        let reads = line.group(&runs);
        for run in &runs {
            assert!(reads.iter().any(|read| read.0 <= run.0 && run.1 <= read.1), "{run:?} is not read");
        }
        for &read in &reads {
            assert!(line.allows(&runs, read), "{read:?}");
        }
        assert_eq!(line.price(&reads), line.brute_force(&runs));
    }
}

#[test]
fn thousands_of_bits_are_planned() {
    let line = Line {
        limit: 2000,
        gap: 128,
        holes: Vec::new(),
        pairs: Vec::new(),
        request: 1000,
        place: 1,
    };
    let runs: Vec<Run> = (0..10_000).map(|n| (n * 3, n * 3 + 1)).collect();
    assert_eq!(line.group(&runs).len(), 15);
}
