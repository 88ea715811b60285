//! Which neighbours are read together, so that the line is busy for the least time; pure.

/// Places `first..end` of one table.
pub(super) type Run = (u32, u32);

/// What may be read together in one table, and what it costs.
pub(super) struct Rules<'a> {
    /// Most places of one read; a run that is longer by itself is read all the same.
    pub(super) limit: u32,
    /// How many places that nobody asks for may be read over.
    pub(super) gap: u32,
    /// Whether a read of these places is known to be refused.
    pub(super) is_refused: &'a dyn Fn(u32, u32) -> bool,
    /// Runs that are to be read together, a scale factor and what it scales: over any gap, whatever it costs.
    pub(super) pairs: &'a [(Run, Run)],
    /// The time of a read of so many places, in nanoseconds.
    pub(super) cost: &'a dyn Fn(u32) -> u64,
}

/// What a grouping costs: pairs that are read apart, then time, then requests.
pub(super) type Price = (usize, u64, usize);

/// The reads that cover `runs`, by address: of all that the rules allow those that keep the most pairs together, and of
/// these the ones that take the least time.
///
/// As a read is a run of places, the best cover takes neighbours: it is found by trying every last read behind the best
/// cover of what is before it.
pub(super) fn group(mut runs: Vec<Run>, rules: &Rules<'_>) -> Vec<Run> {
    keep_outermost(&mut runs);
    let pairs = Pairs::new(&runs, rules);
    // Of the first 0, 1, … runs: the price, and where the last read begins.
    let mut best: Vec<(Price, usize)> = vec![((0, 0, 0), 0)];
    for end in 1..=runs.len() {
        let mut here: Option<(Price, usize)> = None;
        let mut reach = usize::MAX;
        for begin in (0..end).rev() {
            let (Some(&(first, own_end)), Some(&(_, last))) = (runs.get(begin), runs.get(end - 1))
            else {
                break;
            };
            let single = begin + 1 == end;
            if !single && (last - first > rules.limit || (rules.is_refused)(first, last)) {
                break;
            }
            if !single
                && let Some(&(next, _)) = runs.get(begin + 1)
                && next > own_end + rules.gap
            {
                // A wide gap is crossed only for the sake of a pair that lies within the read, and not at all where the
                // map forbids gaps.
                let Some(needed) = pairs.across(begin, end).filter(|_| rules.gap > 0) else {
                    break;
                };
                reach = reach.min(needed);
            }
            let Some(&((apart, time, requests), _)) = best.get(begin) else {
                break;
            };
            let price = (
                apart + pairs.torn(begin, end),
                time + (rules.cost)(last - first),
                requests + 1,
            );
            if begin <= reach && here.is_none_or(|(cheapest, _)| price < cheapest) {
                here = Some((price, begin));
            }
        }
        best.extend(here);
    }
    trace(&runs, &best)
}

fn trace(runs: &[Run], best: &[(Price, usize)]) -> Vec<Run> {
    let mut reads = Vec::new();
    let mut end = runs.len();
    while end > 0 {
        let Some(&(_, begin)) = best.get(end) else {
            break;
        };
        if let (Some(&(first, _)), Some(&(_, last))) = (runs.get(begin), runs.get(end - 1)) {
            reads.push((first, last));
        }
        end = begin;
    }
    reads.reverse();
    reads
}

/// Sorts, and takes out what lies within another run: then both beginnings and ends rise.
pub(super) fn keep_outermost(runs: &mut Vec<Run>) {
    runs.sort_unstable_by_key(|&(first, end)| (first, std::cmp::Reverse(end)));
    let mut reached = 0;
    runs.retain(|&(_, end)| {
        let outside = end > reached;
        reached = reached.max(end);
        outside
    });
}

/// The pairs that can be read together, as indices of runs, the lower first.
struct Pairs(Vec<(usize, usize)>);

impl Pairs {
    fn new(runs: &[Run], rules: &Rules<'_>) -> Self {
        let place = |run: Run| {
            let behind = runs.partition_point(|&(first, _)| first <= run.0);
            let index = behind.checked_sub(1)?;
            runs.get(index).filter(|&&(_, end)| run.1 <= end)?;
            Some(index)
        };
        let fits = |&(low, high): &(usize, usize)| {
            let (Some(&(first, _)), Some(&(_, end))) = (runs.get(low), runs.get(high)) else {
                return false;
            };
            low < high && end - first <= rules.limit && !(rules.is_refused)(first, end)
        };
        let indices = rules.pairs.iter().filter_map(|&(a, b)| {
            let (a, b) = (place(a)?, place(b)?);
            Some((a.min(b), a.max(b)))
        });
        Self(indices.filter(fits).collect())
    }

    /// How many have only their higher run in `begin..end`.
    fn torn(&self, begin: usize, end: usize) -> usize {
        let torn = |&&(low, high): &&(usize, usize)| low < begin && (begin..end).contains(&high);
        self.0.iter().filter(torn).count()
    }

    /// The highest beginning of a read up to `end` that has a pair across the gap behind run `at`.
    fn across(&self, at: usize, end: usize) -> Option<usize> {
        let across = |&&(low, high): &&(usize, usize)| low <= at && at < high && high < end;
        self.0.iter().filter(across).map(|&(low, _)| low).max()
    }
}

#[cfg(test)]
mod tests;
