//! One file a command.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub mod check;
#[cfg(feature = "demo")]
pub mod demo;
mod logging;
mod queue;
mod run;
mod verify;

/// Edge gateway: polls field devices, commits every reading to disk, forwards it to MQTT and AMQP brokers.
#[derive(Debug, Parser)]
#[command(name = "forebay", version, about, long_about = None)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Poll, store and forward until SIGTERM or SIGINT
    Run {
        /// Configuration file; `conf.d/*.toml` beside it is read too
        #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Report every mistake in all configuration files at once
    Check {
        /// Configuration file; `conf.d/*.toml` beside it is read too
        #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
        /// Print the problems as JSON
        #[arg(long)]
        json: bool,
    },
    /// Prove that everything arrived: consume a broker's messages, or read them from a file, and name what is missing
    Verify(Box<verify::VerifyArguments>),
    /// Show, export or clear what is in the queue on disk; the daemon must not run
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Show the whole product without hardware and without a broker: simulated devices, an embedded
    /// broker, an outage that comes and goes
    #[cfg(feature = "demo")]
    Demo(demo::DemoArguments),
}

/// Where packages put the configuration.
const DEFAULT_CONFIG: &str = "/etc/forebay/forebay.toml";

/// Exit code where something failed; 0 is done, 2 wrong usage (the argument parser's), [`check::BAD_CONFIGURATION`] the rest.
const FAILED: u8 = 1;

impl Arguments {
    /// Runs the command to its end.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run { config } => run::run(&config),
            Command::Check { config, json } => check::run(&config, json),
            Command::Verify(arguments) => verify::run(&arguments),
            Command::Queue(command) => queue::run(&command),
            #[cfg(feature = "demo")]
            Command::Demo(arguments) => demo::run(&arguments),
        }
    }
}
