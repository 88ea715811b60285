//! Waiting before the next attempt, so that a broken peer is not hammered and many clients do not knock at once.

use std::time::{Duration, Instant};

/// Exponential back-off with full jitter; it forgets the failures only after a stable while.
///
/// A link that comes up and breaks at once would otherwise be retried without any pause.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
    up_since: Option<Instant>,
}

impl Backoff {
    /// How long a connection must hold before the failures are forgotten.
    pub const STABLE: Duration = Duration::from_secs(60);

    /// The `n`-th wait is uniform between zero and `first` x 2^n, never above `most`.
    pub fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            failures: 0,
            up_since: None,
        }
    }

    /// Notes that the connection came up at `now`.
    pub fn connected(&mut self, now: Instant) {
        self.up_since = Some(now);
    }

    /// Notes a failure at `now`: how long to wait before the next attempt.
    pub fn failed(&mut self, now: Instant) -> Duration {
        if self
            .up_since
            .take()
            .is_some_and(|since| now.saturating_duration_since(since) >= Self::STABLE)
        {
            self.failures = 0;
        }
        let bound = self.bound();
        self.failures = self.failures.saturating_add(1);
        bound.mul_f64(fastrand::f64())
    }

    /// The longest that the next wait may be.
    pub fn bound(&self) -> Duration {
        self.first
            .saturating_mul(1 << self.failures.min(20))
            .min(self.most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_bound_and_resets_only_after_a_stable_minute() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let start = Instant::now();
        for attempt in 0..10 {
            let bound = backoff.bound();
            assert_eq!(
                bound,
                Duration::from_millis(100 << attempt).min(Duration::from_secs(5))
            );
            assert!(backoff.failed(start) <= bound);
        }
        backoff.connected(start);
        backoff.failed(start + Duration::from_secs(59));
        assert_eq!(backoff.bound(), Duration::from_secs(5));
        backoff.connected(start);
        backoff.failed(start + Duration::from_secs(60));
        assert_eq!(backoff.bound(), Duration::from_millis(200));
    }
}
