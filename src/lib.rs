//! forebay: polls field devices, commits every reading to disk, forwards it to brokers.
//!
//! # The path
//!
//! ```text
//! field  ->  store  ->  payload  ->  forward  ->  upstream
//! devices    disk       bytes        windows      brokers
//! ```
//!
//! A *line* (serial bus or TCP endpoint) is polled by one task, which hands scans to the *store*'s inlet and
//! never waits. One writer thread commits what has gathered with one sync, gives each record its `seq` and
//! `device_seq`, and tells the forwarders. A *forwarder*, one task an upstream, reads durable records, has
//! them encoded, submits them and moves its cursor when the broker has acknowledged.
//!
//! # Layers
//!
//! Imports go down only, and folders of one level never import each other (`tests/it/layers.rs`):
//!
//! | level | folders |
//! |---|---|
//! | 0 | [`reading`] (what travels), [`support`] |
//! | 1 | [`field`], [`store`], [`payload`], [`upstream`], [`proof`] (the consumer's side) |
//! | 2 | [`forward`], `simulator` (feature `demo`) |
//! | 3 | [`config`], [`health`] |
//! | 4 | [`gateway`]: builds the tasks from a configuration; the only place that spawns what outlives a call |
//! | 5 | [`cli`] |
//!
//! # Invariants
//!
//! 1. A line has one owner task.
//! 2. A record is visible to a forwarder only once it is durable.
//! 3. A cursor moves only on the broker's acknowledgement.
//! 4. On each connection records are submitted in sequence: all in one lane (oldest-first), or the newest in one and
//!    the backlog in another (live-first). After a retryable refusal or a lost connection a lane stops, awaits what
//!    it has out, and repeats from its oldest unconfirmed: it repeats, never skips.
//! 5. Every queue, window, batch, retry delay and wait has a bound.
//! 6. The field side never waits for an upstream.
//! 7. A record that is lost or refused is counted and named.
//! 8. A bad configuration stops the start; bad devices, brokers and disks never do.
//! 9. A task that panics is restarted and told.

pub mod reading;
pub mod support;

pub mod field;
pub mod payload;
pub mod proof;
pub mod store;
pub mod upstream;

pub mod forward;
#[cfg(feature = "demo")]
pub mod simulator;

pub mod config;
pub mod health;

pub mod gateway;

pub mod cli;
