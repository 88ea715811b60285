//! Readiness, status line and watchdog of the service manager (sd_notify(3)). Without a service manager all of it
//! does nothing.

use std::time::Duration;

use sd_notify::NotifyState;

fn notify(states: &[NotifyState<'_>]) {
    // A socket that cannot be written means that nobody listens any more; there is nobody to tell.
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!("service manager not told: {error}");
    }
}

/// The gateway polls and forwards.
pub fn ready() {
    notify(&[NotifyState::Ready]);
}

/// The gateway stops in order.
pub fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// One line for `systemctl status`.
pub fn status(text: &str) {
    notify(&[NotifyState::Status(text)]);
}

/// A sign of life; to be sent only by one who has seen that the work goes on.
pub fn watchdog() {
    notify(&[NotifyState::Watchdog]);
}

/// How often [`watchdog`] must be called: half of what the service manager allows. `None`: it does not watch.
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2)
}
