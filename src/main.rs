//! The `forebay` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    forebay::cli::Arguments::parse().run()
}
