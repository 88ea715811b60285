//! How long a forwarder takes to go on after the end of a fault.

use std::fmt;
use std::time::Duration;

use forebay::upstream::Connection;
use forebay::upstream::settings::UpstreamSettings;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::forward::memory::{BOUND, Forwarder};

/// It is to go on within the pause that it makes by itself, and so much.
const PROMISED: Duration = Duration::from_secs(1);
/// What a loaded machine may need for a connection, a description and a record, beyond what it needs for the other's connection.
const ALLOWANCE: Duration = Duration::from_secs(5);

/// A fault has ended.
pub(super) struct Recovery {
    mended: Instant,
    confirmed: u64,
    /// When another client was connected.
    other: JoinHandle<Instant>,
}

/// What it took.
pub(super) struct Took {
    forwarder: Duration,
    other: Duration,
}

impl Recovery {
    /// Just now. From here on another client tries to get to the broker the same way, every 50 ms: what machine and broker
    /// need after a fault is none of the forwarder's time.
    pub(super) fn of(forwarder: &Forwarder, mut upstream: UpstreamSettings) -> Self {
        if let UpstreamSettings::Mqtt(mqtt) = &mut upstream {
            // A client of the same id would throw the forwarder out.
            mqtt.client_id = "other".to_owned();
        }
        let other = async move {
            loop {
                if let Ok(connection) = Connection::open(&upstream, 0, None).await {
                    let connected = Instant::now();
                    connection.close().await;
                    return connected;
                }
                sleep(Duration::from_millis(50)).await;
            }
        };
        Self {
            mended: Instant::now(),
            confirmed: forwarder.status.borrow().confirmed,
            other: tokio::spawn(other),
        }
    }

    /// Waits until the next record is confirmed. That is to be within `pause` and a second after the other client was
    /// connected, and what is allowed to the machine.
    pub(super) async fn done(self, forwarder: &mut Forwarder, pause: Duration) -> Took {
        let before = self.confirmed;
        forwarder.wait_for(|status| status.confirmed > before).await;
        let forwarder = self.mended.elapsed();
        let other = timeout(BOUND, self.other).await;
        let other = other.expect("the broker cannot be reached").unwrap() - self.mended;
        let took = Took { forwarder, other };
        assert!(
            forwarder <= other + pause + PROMISED + ALLOWANCE,
            "{took}, pauses of up to {pause:?}"
        );
        took
    }
}

impl fmt::Display for Took {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { forwarder, other } = self;
        write!(
            f,
            "went on after {forwarder:?}, another client after {other:?}"
        )
    }
}
