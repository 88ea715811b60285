//! How fast records may go. Pure.

use std::time::Instant;

use crate::forward::rate::Rate;
use crate::forward::settings::Delivery;

/// The rates of an upstream. They hold across connections.
#[derive(Debug)]
pub(super) struct Rates {
    history: Option<Rate>,
    bytes: Option<Rate>,
}

impl Rates {
    pub(super) fn new(delivery: Delivery, now: Instant) -> Self {
        let history = delivery.history_rate.map(u64::from);
        Self {
            history: history.map(|rate| Rate::new(rate, now)),
            bytes: delivery.max_rate.map(|rate| Rate::new(rate, now)),
        }
    }

    /// When the next record may go: at `now`, or later.
    pub(super) fn due(&self, historical: bool, now: Instant) -> Instant {
        let history = self.history.as_ref().filter(|_| historical);
        let rates = [history, self.bytes.as_ref()];
        let dues = rates.into_iter().flatten().map(|rate| rate.due(now));
        dues.max().unwrap_or(now)
    }

    /// One of `bytes` goes.
    pub(super) fn take(&mut self, historical: bool, bytes: u64, now: Instant) {
        if let Some(history) = self.history.as_mut().filter(|_| historical) {
            history.take(1, now);
        }
        if let Some(rate) = &mut self.bytes {
            rate.take(bytes, now);
        }
    }
}
