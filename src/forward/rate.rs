//! A bound to how much goes out in a second. Pure.

use std::time::{Duration, Instant};

/// How much may go at once after a pause, as a share of a second: little enough that live records find the line free.
const BURST: Duration = Duration::from_millis(100);

/// So many units a second. What is taken is owed until time has paid for it: one unit too large for a burst goes too, and
/// the next ones wait for longer.
#[derive(Debug, Clone)]
pub(super) struct Rate {
    per_second: f64,
    /// What is owed, in units; below zero: what may go at once.
    owed: f64,
    since: Instant,
}

impl Rate {
    /// `per_second` units, at least one, from `now` on.
    pub(super) fn new(per_second: u64, now: Instant) -> Self {
        let per_second = per_second.max(1) as f64;
        Self {
            per_second,
            owed: -per_second * BURST.as_secs_f64(),
            since: now,
        }
    }

    /// When something may go: at `now`, or later.
    pub(super) fn due(&self, now: Instant) -> Instant {
        let owed = self.owed_at(now);
        if owed <= 0.0 {
            return now;
        }
        // Rounded up, so that nobody who waits until then finds some of it still owed.
        now + Duration::from_secs_f64(owed / self.per_second) + Duration::from_micros(1)
    }

    /// So many units go at `now`.
    pub(super) fn take(&mut self, units: u64, now: Instant) {
        self.owed = self.owed_at(now) + units as f64;
        self.since = now;
    }

    fn owed_at(&self, now: Instant) -> f64 {
        let paid = now.saturating_duration_since(self.since).as_secs_f64() * self.per_second;
        (self.owed - paid).max(-self.per_second * BURST.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn holds_over_every_span_and_is_used_up(
            per_second in 1u64..100_000,
            sizes in prop::collection::vec(1u64..5_000, 1..60),
            pauses in prop::collection::vec(0u64..300, 60),
        ) {
            let start = Instant::now();
            let (mut rate, mut now) = (Rate::new(per_second, start), start);
            let mut gone: Vec<(Instant, u64)> = Vec::new();
            for (size, pause) in sizes.iter().zip(pauses) {
                now += Duration::from_millis(pause);
                let due = rate.due(now);
                prop_assert!(due >= now);
                now = due;
                prop_assert_eq!(rate.due(now), now, "who waits as told need not wait again");
                rate.take(*size, now);
                gone.push((now, *size));
            }
            for (first, (from, _)) in gone.iter().enumerate() {
                // The last of a span may be larger than what was left.
                let within: u64 = gone[first..gone.len() - 1].iter().map(|(_, size)| size).sum();
                let span = gone.last().unwrap().0.duration_since(*from).as_secs_f64();
                let bound = (span + BURST.as_secs_f64()) * per_second as f64 + 1.0;
                prop_assert!(within as f64 <= bound, "{} in {} s", within, span);
            }
        }
    }

    #[test]
    fn a_steady_taker_gets_all_of_it() {
        let start = Instant::now();
        let (mut rate, mut now, mut taken) = (Rate::new(500, start), start, 0);
        while now < start + Duration::from_secs(10) {
            rate.take(1, now);
            taken += 1;
            now = rate.due(now);
        }
        assert!((5_000..=5_060).contains(&taken), "{taken}");
    }
}
