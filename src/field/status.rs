//! What a line and its devices did so far; read by the status page and the metrics.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::reading::Name;

/// Counts up.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// The count.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Requests and what became of them.
#[derive(Debug, Default)]
pub struct Counters {
    /// Requests sent, repetitions included.
    pub requests: Counter,
    /// Answers with values.
    pub answers: Counter,
    /// Requests without any answer.
    pub timeouts: Counter,
    /// Answers that were no valid frames, or did not fit the request.
    pub garbled: Counter,
    /// Refusals.
    pub exceptions: Counter,
    /// Valid frames that were not the answer waited for: late, or of another conversation.
    pub stale: Counter,
}

/// A switch that others can look at.
#[derive(Debug, Default)]
pub struct Flag(AtomicBool);

impl Flag {
    /// Sets it.
    pub fn set(&self, on: bool) {
        self.0.store(on, Ordering::Relaxed);
    }

    /// Whether it is set.
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a line did so far.
#[derive(Debug)]
pub struct LineStatus {
    /// The line.
    pub line: Name,
    /// Whether it is open and something answers.
    pub up: Flag,
    /// Requests that belong to no device: reads on demand.
    pub other: Counters,
    /// Its devices, in the order of the settings.
    pub devices: Vec<DeviceStatus>,
}

/// What a device did so far.
#[derive(Debug)]
pub struct DeviceStatus {
    /// The device.
    pub device: Name,
    /// Whether it answered when it was asked last.
    pub online: Flag,
    /// Its requests.
    pub counters: Counters,
}
