//! The task of one upstream: connect, run a session, wait, again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::desk::Desk;
use super::session::{Session, SessionEnd};
use super::settings::{ForwarderSettings, Pace};
use super::source::Source;
use super::status::{ForwarderStatus, Link};
use crate::payload::Status;
use crate::reading::{Catalogue, Clock, Outlet};
use crate::support::backoff::Backoff;
use crate::upstream::Connection;
use crate::upstream::error::Verdict;
use crate::upstream::settings::UpstreamSettings;

/// Forwards the records of a store to one broker.
pub struct ForwarderTask<S: Source> {
    desk: Desk<S>,
    upstream: UpstreamSettings,
    pace: Pace,
    backoff: Backoff,
}

/// Where the task is.
enum State {
    /// A connection is to be made.
    Connecting,
    /// Connected.
    Connected(Connection),
    /// The link is broken: the next attempt follows after this.
    Away(Duration),
    /// The broker allows nothing of ours: tried again seldom.
    Stopped(String),
    /// Cancelled.
    Ended,
}

impl<S: Source> ForwarderTask<S> {
    /// A forwarder for the records of `source`. `catalogue` has the configured devices; events go to `outlet`. It ends
    /// when `cancel` is cancelled: what is out by then has two seconds to be answered.
    pub fn new(
        settings: ForwarderSettings,
        source: S,
        catalogue: watch::Receiver<Catalogue>,
        outlet: Arc<dyn Outlet>,
        clock: Clock,
        cancel: CancellationToken,
    ) -> Self {
        let (upstream, pace) = (settings.upstream.clone(), settings.pace);
        Self {
            desk: Desk::new(settings, source, catalogue, outlet, clock, cancel),
            upstream,
            pace,
            backoff: Backoff::new(pace.first, pace.most),
        }
    }

    /// What it does at present, for as long as anybody looks.
    pub fn status(&self) -> watch::Receiver<ForwarderStatus> {
        self.desk.watch()
    }

    /// Runs until cancelled.
    pub async fn run(mut self) {
        let mut state = State::Connecting;
        loop {
            state = match state {
                State::Connecting => self.connect().await,
                State::Connected(connection) => self.serve(connection).await,
                State::Away(pause) => self.wait(pause).await,
                State::Stopped(reason) => self.stopped(&reason).await,
                State::Ended => break,
            };
        }
        self.desk.set_link(Link::Ended);
    }

    /// Tries the endpoints in order. Stopped only where each of them allows nothing: another may be merely away.
    async fn connect(&mut self) -> State {
        self.desk.set_link(Link::Connecting);
        let mut verdicts = Vec::new();
        let mut last = None;
        for endpoint in 0..endpoints(&self.upstream) {
            let will = self.desk.say(Status::Lost);
            let opened = tokio::select! {
                opened = Connection::open(&self.upstream, endpoint, will) => opened,
                () = self.desk.cancel.cancelled() => return State::Ended,
            };
            match opened {
                Ok(connection) => {
                    self.backoff.connected(Instant::now());
                    self.desk.connected();
                    return State::Connected(connection);
                }
                Err(error) => {
                    verdicts.push(error.verdict());
                    last = Some(error);
                }
            }
        }
        let error = last.map_or_else(
            || "no broker is named".to_owned(),
            |error| error.to_string(),
        );
        let stop = verdicts.iter().all(|verdict| *verdict == Verdict::Stop);
        self.give_up(error, stop && !verdicts.is_empty())
    }

    async fn serve(&mut self, mut connection: Connection) -> State {
        let end = Session::new(&mut self.desk, &mut connection).run().await;
        self.desk.codec.close();
        match end {
            SessionEnd::Cancelled => {
                connection.close().await;
                State::Ended
            }
            SessionEnd::Stopped(reason) => {
                connection.close().await;
                self.give_up(reason, true)
            }
            SessionEnd::Broken(error) => {
                self.desk.broken(&error);
                self.give_up(error.to_string(), error.verdict() == Verdict::Stop)
            }
        }
    }

    fn give_up(&mut self, reason: String, stop: bool) -> State {
        if self.desk.cancel.is_cancelled() {
            return State::Ended;
        }
        let pause = self.backoff.failed(Instant::now());
        if stop {
            return State::Stopped(reason);
        }
        self.desk.away(&reason);
        State::Away(pause)
    }

    async fn stopped(&mut self, reason: &str) -> State {
        self.desk.stopped(reason);
        // Between a half and the whole, so that a hall of gateways does not knock at once.
        let pause = self.pace.stopped.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.wait(pause).await
    }

    async fn wait(&mut self, pause: Duration) -> State {
        tokio::select! {
            () = tokio::time::sleep(pause) => State::Connecting,
            () = self.desk.cancel.cancelled() => State::Ended,
        }
    }
}

fn endpoints(upstream: &UpstreamSettings) -> usize {
    match upstream {
        UpstreamSettings::Mqtt(settings) => settings.endpoints.len(),
        UpstreamSettings::Amqp(settings) => settings.endpoints.len(),
    }
}
