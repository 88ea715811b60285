//! Behaviours, as sentences.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs
)]

mod cli;
mod config;
mod engine;
mod fault_matrix;
mod field;
mod forward;
mod harness;
mod layers;
mod main_job;
mod store;
mod test_upstream;
mod tools;
mod upstream;
mod upstream_contract;
mod verify;
