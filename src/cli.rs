//! One file a command.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::{self, Config};

pub mod check;
mod columns;
#[cfg(feature = "demo")]
pub mod demo;
mod logging;
pub mod plan;
mod queue;
pub mod read;
mod run;
#[cfg(feature = "demo")]
pub mod simulate;
mod test_upstream;
mod values;
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
    /// Try out what the configuration says
    #[command(subcommand)]
    Test(TestCommand),
    /// Prove that everything arrived: consume a broker's messages, or read them from a file, and name what is missing
    Verify(Box<verify::VerifyArguments>),
    /// Show, export or clear what is in the queue on disk; the daemon must not run
    #[command(subcommand)]
    Queue(queue::Queue),
    /// Show which requests read the points, and what they take of the time of each line
    Plan(plan::PlanArguments),
    /// Read a device now: all its points, some of them, or registers that nobody has described yet, taken for every
    /// type in every order
    Read(read::ReadArguments),
    /// Serve device maps as Modbus devices, over TCP or a pseudo terminal, with values that move and faults to order
    #[cfg(feature = "demo")]
    Simulate(simulate::SimulateArguments),
    /// Show the whole product without hardware and without a broker: simulated devices, an embedded
    /// broker, an outage that comes and goes
    #[cfg(feature = "demo")]
    Demo(demo::DemoArguments),
}

#[derive(Debug, Subcommand)]
enum TestCommand {
    /// Go the way to an upstream's brokers: name, connection, TLS, login, one message
    Upstream(test_upstream::TestUpstreamArguments),
}

/// Where packages put the configuration.
const DEFAULT_CONFIG: &str = "/etc/forebay/forebay.toml";

/// Exit code where something failed; 0 is done, [`check::BAD_CONFIGURATION`] what its name says.
const FAILED: u8 = 1;

/// Wrong usage that the parser of arguments cannot see.
const WRONG_USAGE: u8 = 2;

impl Arguments {
    /// Runs the command to its end.
    pub fn run(self) -> ExitCode {
        match self.command {
            Command::Run { config } => run::run(&config),
            Command::Check { config, json } => check::run(&config, json),
            Command::Test(TestCommand::Upstream(arguments)) => test_upstream::run(&arguments),
            Command::Verify(arguments) => verify::run(&arguments),
            Command::Queue(command) => queue::run(&command),
            Command::Plan(arguments) => plan::run(&arguments),
            #[cfg(feature = "demo")]
            Command::Simulate(arguments) => simulate::run(&arguments),
            Command::Read(arguments) => read::run(&arguments),
            #[cfg(feature = "demo")]
            Command::Demo(arguments) => demo::run(&arguments),
        }
    }
}

/// The configuration; where it is bad, what is wrong goes to standard error.
fn configuration(path: &Path) -> Result<Config, ExitCode> {
    config::load(path).map_err(|report| {
        // Without standard error there is nobody to tell but by the exit code.
        let text = config::render::to_text(&report.problems, false);
        let _ = std::io::stderr().write_all(text.as_bytes());
        ExitCode::from(check::BAD_CONFIGURATION)
    })
}

/// That there is no `what` of this name, and which one was probably meant.
fn unknown<'a>(what: &str, name: &str, names: impl Iterator<Item = &'a str>) -> String {
    match config::did_you_mean(name, names) {
        Some(near) => format!("there is no {what} {name:?}; did you mean {near:?}?"),
        None => format!("there is no {what} {name:?}"),
    }
}
