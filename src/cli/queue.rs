//! `forebay queue`: what is in the store, and getting it out or away by hand. On a store that no daemon runs on.

mod ask;
mod dead;
mod export;
mod failure;
mod forget;
pub(super) mod owner;
mod peek;
mod progress;
mod purge;
mod select;
mod show;
mod site;
mod status;

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;

pub(super) use show::counted;

use crate::reading::{Clock, ClockSource, SystemClock};

/// The commands on the queue.
#[derive(Debug, Subcommand)]
pub(super) enum Queue {
    /// Show what waits for which upstream, and what the store takes
    Status(status::StatusArguments),
    /// Show the next records as people read them
    Peek(peek::PeekArguments),
    /// Write records as messages, one JSON object a line
    Export(export::ExportArguments),
    /// Take records out of the backlog: they will not be sent
    Purge(purge::PurgeArguments),
    /// Forget an upstream that will not come back
    Forget(forget::ForgetArguments),
    /// Look at the records that a broker refused for good, or drop them
    #[command(subcommand)]
    Dead(dead::Dead),
}

/// Runs the command to its end.
pub(super) fn run(command: &Queue) -> ExitCode {
    let result = match command {
        Queue::Status(arguments) => status::run(arguments),
        Queue::Peek(arguments) => peek::run(arguments),
        Queue::Export(arguments) => export::run(arguments),
        Queue::Purge(arguments) => purge::run(arguments),
        Queue::Forget(arguments) => forget::run(arguments),
        Queue::Dead(command) => dead::run(command),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.tell(),
    }
}

/// Prints to standard output. Whoever reads it may have gone (`| head`), which is no failure.
fn print(text: &str) {
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
}

/// Says something on standard error, beside what is printed.
fn say(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}

/// Prints a value as JSON, indented.
fn print_json(value: &serde_json::Value) {
    print(&format!("{value:#}\n"));
}

/// The clock of what is changed in the store.
fn clock() -> Clock {
    Clock::new(SystemClock::new())
}

/// The present, in nanoseconds since 1970.
fn now() -> i64 {
    SystemClock::new().now().wall_ns
}
