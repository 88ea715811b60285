//! `forebay test upstream`: the way to a broker, step by step, with the reason and the mend where it ends.

mod render;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use self::render::Tested;
use super::{DEFAULT_CONFIG, FAILED, WRONG_USAGE, check};
use crate::config::{self, render as problems};
use crate::forward::route::{Escape, Router};
use crate::forward::settings::ForwarderSettings;
use crate::gateway;
use crate::payload::Codec;
use crate::reading::{Clock, SystemClock};
use crate::support::units::parse_duration;
use crate::upstream::message::{Address, Message};
use crate::upstream::probe::probe;
use crate::upstream::settings::UpstreamSettings;
use crate::upstream::tls;

/// Which upstream, and how.
#[derive(Debug, Args)]
pub(super) struct TestUpstreamArguments {
    /// The upstream's name in the configuration
    #[arg(value_name = "NAME")]
    name: String,
    /// Configuration file; `conf.d/*.toml` beside it is read too
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Topic or routing key of the test message; without it, where the gateway's own events go
    #[arg(long, value_name = "TOPIC")]
    topic: Option<String>,
    /// Most time for each step
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

/// Goes the way to each of the upstream's brokers.
pub(super) fn run(arguments: &TestUpstreamArguments) -> ExitCode {
    let config = match config::load(&arguments.config) {
        Ok(config) => config,
        Err(report) => {
            let text = problems::to_text(&report.problems, false);
            return complain(&text, check::BAD_CONFIGURATION);
        }
    };
    let named = |upstream: &&ForwarderSettings| upstream.name.as_str() == arguments.name;
    let Some(settings) = config.upstreams.iter().find(named) else {
        let names: Vec<&str> = config
            .upstreams
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        let help = match names.as_slice() {
            [] => "the configuration has none: add [upstream.NAME]".to_owned(),
            names => format!("there are: {}", names.join(", ")),
        };
        let text = format!(
            "error: there is no upstream {:?} in {}\n  help: {help}\n",
            arguments.name,
            arguments.config.display()
        );
        return complain(&text, WRONG_USAGE);
    };
    tls::install_provider();
    let runtime = match gateway::runtime() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&format!("error: {error}\n"), FAILED),
    };
    let passed = runtime.block_on(test(settings, arguments));
    // A name server that is asked for ever must not hold up the end.
    runtime.shutdown_background();
    if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(FAILED)
    }
}

/// Whether every step to every broker passed.
async fn test(settings: &ForwarderSettings, arguments: &TestUpstreamArguments) -> bool {
    let upstream = stranger(settings.upstream.clone());
    let message = message(settings, arguments.topic.as_deref());
    let mut all = Vec::new();
    for endpoint in 0..upstream.endpoints().len() {
        let mut tested = Tested::new(&upstream, endpoint, &message.address);
        show(arguments, &tested.head());
        let tell = |tried| {
            let line = tested.take(tried);
            show(arguments, &line);
        };
        probe(
            &upstream,
            endpoint,
            message.clone(),
            arguments.timeout,
            tell,
        )
        .await;
        all.push(tested);
    }
    if arguments.json {
        let text = render::to_json(&arguments.name, &all);
        let _ = io::stdout().write_all(text.as_bytes());
    }
    all.iter().all(Tested::passed)
}

/// A client of another id: with its own, the running daemon would be thrown out.
fn stranger(settings: UpstreamSettings) -> UpstreamSettings {
    match settings {
        UpstreamSettings::Mqtt(mut mqtt) => {
            mqtt.client_id.push_str("-test");
            UpstreamSettings::Mqtt(mqtt)
        }
        amqp @ UpstreamSettings::Amqp(_) => amqp,
    }
}

fn message(settings: &ForwarderSettings, topic: Option<&str>) -> Message {
    let escape = match settings.upstream {
        UpstreamSettings::Mqtt(_) => Escape::Mqtt,
        UpstreamSettings::Amqp(_) => Escape::Amqp,
    };
    let (gateway, name) = (&settings.gateway, &settings.name);
    let address = Router::new(gateway, name, settings.routes.clone(), escape).of_gateway();
    let mut codec = Codec::new(settings.payload, gateway);
    let now = Clock::new(SystemClock::new()).now();
    Message {
        token: 1,
        address: Address {
            key: topic.map_or(address.key, Into::into),
            ..address
        },
        payload: codec.trial(name, now),
        retain: false,
        content_type: codec.content_type(),
        expires_in: None,
        properties: None,
    }
}

/// For people each step as it is done; JSON comes at the end.
fn show(arguments: &TestUpstreamArguments, text: &str) {
    if !arguments.json {
        // Whoever reads this may have gone; the exit code still says what was found.
        let _ = io::stdout().write_all(text.as_bytes());
    }
}

fn complain(text: &str, code: u8) -> ExitCode {
    // Without standard error there is nobody to tell but by the exit code.
    let _ = io::stderr().write_all(text.as_bytes());
    ExitCode::from(code)
}
