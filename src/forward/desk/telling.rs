//! What is told of the link: log, event, status.

use std::time::Instant;

use tokio::sync::watch;
use tracing::{info, warn};

use super::{Counts, Desk, Told};
use crate::forward::source::Source;
use crate::forward::status::{ForwarderStatus, Link};
use crate::reading::{Body, Event, EventName, Observation};

impl<S: Source> Desk<S> {
    /// The broker took a connection.
    pub(in crate::forward) fn connected(&mut self) {
        self.count.connects += 1;
        self.set_link(Link::Up);
    }

    /// The connection holds.
    pub(in crate::forward) fn returned(&mut self) {
        match self.told {
            Told::Up => return,
            Told::Away(since) => {
                let away = since.elapsed().as_secs();
                info!(upstream = %self.name, "broker is back after {away} s");
            }
            Told::Nothing | Told::Stopped => info!(upstream = %self.name, "connected"),
        }
        self.told = Told::Up;
    }

    /// Whether the log says so.
    pub(in crate::forward) fn is_up(&self) -> bool {
        self.told == Told::Up
    }

    /// The broker cannot be reached. One line until it is back.
    pub(in crate::forward) fn away(&mut self, reason: &str) {
        if !matches!(self.told, Told::Away(_)) {
            warn!(upstream = %self.name, "broker is away: {reason}");
            self.told = Told::Away(Instant::now());
        }
        self.last_error = Some(reason.to_owned());
        self.set_link(Link::Connecting);
    }

    /// The broker allows nothing of ours. One line and one event until it does.
    pub(in crate::forward) fn stopped(&mut self, reason: &str) {
        if self.told != Told::Stopped {
            warn!(upstream = %self.name, "stopped, tried again seldom: {reason}");
            self.told = Told::Stopped;
            let event = Event::gateway(EventName::UpstreamStopped)
                .text("upstream", self.name.as_str())
                .text("reason", reason);
            self.outlet.put(Observation {
                stamp: self.clock.now(),
                body: Body::Event(event),
            });
        }
        self.last_error = Some(reason.to_owned());
        self.set_link(Link::Stopped);
    }

    /// The broker does not take the state of the gateway, or the copy of a description. One line, as each connection brings
    /// it again.
    pub(in crate::forward) fn copy_refused(&mut self, reason: String) {
        if !std::mem::replace(&mut self.copy_refused, true) {
            warn!(upstream = %self.name, "the gateway's state, or a copy of a description, is refused: {reason}");
        }
        self.last_error = Some(reason);
    }

    /// The broker takes nothing for this reason, or (`None`) takes messages again.
    pub(in crate::forward) fn blocked(&mut self, reason: Option<String>) {
        match &reason {
            Some(reason) => warn!(upstream = %self.name, "broker takes nothing for now: {reason}"),
            None => info!(upstream = %self.name, "broker takes messages again"),
        }
        self.link = if reason.is_some() {
            Link::Blocked
        } else {
            Link::Up
        };
        self.last_error = reason.or(self.last_error.take());
    }

    pub(in crate::forward) fn set_link(&mut self, link: Link) {
        self.link = link;
        self.publish();
    }

    /// Shows the books to whoever watches.
    pub(in crate::forward) fn publish(&self) {
        self.status.send_if_modified(|status| {
            let Counts {
                submitted,
                confirmed,
                sent,
                refused,
                connects,
            } = self.count;
            let oldest_unconfirmed = self.window.oldest_unconfirmed();
            let same = (status.link, status.submitted, status.confirmed, status.sent)
                == (self.link, submitted, confirmed, sent)
                && (status.refused, status.connects) == (refused, connects)
                && status.oldest_unconfirmed == oldest_unconfirmed
                && status.last_error == self.last_error;
            if !same {
                *status = ForwarderStatus {
                    link: self.link,
                    submitted,
                    confirmed,
                    sent,
                    refused,
                    connects,
                    oldest_unconfirmed,
                    last_error: self.last_error.clone(),
                };
            }
            !same
        });
    }

    pub(in crate::forward) fn watch(&self) -> watch::Receiver<ForwarderStatus> {
        self.status.subscribe()
    }
}
