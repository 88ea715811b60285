//! `forebay run`: the daemon.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{FAILED, check, logging};
use crate::config::{self, Config, Severity, render};
use crate::gateway::{self, Gateway};
use crate::reading::{Clock, SystemClock};
use crate::upstream;

/// How long reads of the store that are under way at the end may take.
const LAST_READS: Duration = Duration::from_secs(1);

/// Loads the configuration and runs the gateway until a signal ends it.
pub(crate) fn run(path: &Path) -> ExitCode {
    logging::start();
    let config = match config::load(path) {
        Ok(config) => config,
        Err(report) => {
            // Without standard error there is nobody to tell but by the exit code.
            let _ =
                std::io::stderr().write_all(render::to_text(&report.problems, false).as_bytes());
            return ExitCode::from(check::BAD_CONFIGURATION);
        }
    };
    for remark in &config.remarks {
        match remark.severity {
            Severity::Note => tracing::info!("{}: {}", remark.place, remark.reason),
            _ => tracing::warn!("{}: {}", remark.place, remark.reason),
        }
    }
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::from(FAILED)
        }
    }
}

fn serve(config: Config) -> Result<(), String> {
    upstream::tls::install_provider();
    let runtime = gateway::runtime().map_err(|error| format!("cannot start threads: {error}"))?;
    let end = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals =
            Signals::new().map_err(|error| format!("cannot listen for signals: {error}"))?;
        let gateway = Gateway::new(config, Clock::new(SystemClock::new()));
        let run = async {
            let end = gateway.run(stop.clone()).await;
            stop.cancel();
            end
        };
        let (end, ()) = tokio::join!(run, signals.until_stop(&stop));
        end.map_err(|error| error.to_string())
    });
    // A thread that waits for a disk which hangs must not keep the process.
    runtime.shutdown_timeout(LAST_READS);
    end
}

/// What ends the daemon in order.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Cancels `stop` at the first signal; returns once it is cancelled, by whomever.
    pub(super) async fn until_stop(mut self, stop: &CancellationToken) {
        tokio::select! {
            _ = self.terminate.recv() => tracing::info!("SIGTERM: stopping"),
            _ = self.interrupt.recv() => tracing::info!("SIGINT: stopping"),
            () = stop.cancelled() => {}
        }
        stop.cancel();
    }
}
