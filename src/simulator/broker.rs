//! A small MQTT 3.1.1 broker: for the demo, where none is installed, and for tests that want one with bad manners.
//!
//! Quality of service 0 and 1, retained messages, wildcards, wills. Sessions end with their connections.

mod session;
mod topics;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use self::session::Session;
use self::topics::Topics;

/// Most clients at once; a demo has two.
const CLIENTS: usize = 64;
/// Arrivals that the tap holds; then acknowledgements wait for whoever reads it.
const TAP: usize = 1024;
/// Between attempts to have the port back after an outage.
const AGAIN: Duration = Duration::from_millis(50);

/// A message that a client published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// Who published it.
    pub client_id: String,
    /// Topic.
    pub topic: String,
    /// The bytes.
    pub payload: Bytes,
    /// To be kept for later subscribers.
    pub retain: bool,
}

/// Whether the broker can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It serves.
    Up,
    /// Connections were closed, new ones are refused.
    Refused,
    /// Connections stay open and nothing is read or answered: the half-open link.
    Silent,
}

/// When publications are acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// As they come.
    AtOnce,
    /// So much later.
    After(Duration),
    /// So many together, the last first; after 200 ms also fewer.
    Reversed(usize),
    /// Not at all.
    Never,
}

/// A broker that listens.
pub struct Broker {
    address: SocketAddr,
    listener: Option<TcpListener>,
    manners: watch::Receiver<Manners>,
    tap: mpsc::Sender<Arrival>,
    topics: Arc<Mutex<Topics>>,
}

/// What a running broker is told.
#[derive(Debug)]
pub struct Control {
    address: SocketAddr,
    manners: watch::Sender<Manners>,
}

#[derive(Debug, Clone, Copy)]
struct Manners {
    link: Link,
    acks: Acks,
}

impl Broker {
    /// Listens; port 0 takes a free one. All that clients publish goes to the receiver as well, before it is
    /// acknowledged, so it is to be read; or dropped.
    ///
    /// # Errors
    /// The address cannot be had.
    pub async fn bind(address: SocketAddr) -> io::Result<(Self, Control, mpsc::Receiver<Arrival>)> {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let (manners, told) = watch::channel(Manners {
            link: Link::Up,
            acks: Acks::AtOnce,
        });
        let (tap, arrivals) = mpsc::channel(TAP);
        let broker = Self {
            address,
            listener: Some(listener),
            manners: told,
            tap,
            topics: Arc::default(),
        };
        Ok((broker, Control { address, manners }, arrivals))
    }

    /// Serves until cancelled, or until the control is dropped.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut sessions: FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>> =
            FuturesUnordered::new();
        let mut number = 0;
        loop {
            let link = self.manners.borrow_and_update().link;
            if link == Link::Refused {
                self.listener = None;
                sessions.clear();
                lock(&self.topics).leave_all();
            }
            let room = sessions.len() < CLIENTS;
            let serves = link == Link::Up;
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.manners.changed() => if changed.is_err() { return },
                Some(client) = accept(self.listener.as_ref()), if serves && room => {
                    number += 1;
                    let session = Session::new(number, self.manners.clone(), self.tap.clone(), self.topics.clone());
                    sessions.push(Box::pin(session.run(client)));
                }
                Some(()) = sessions.next(), if serves && !sessions.is_empty() => {}
                () = sleep(AGAIN), if serves && self.listener.is_none() => {
                    self.listener = TcpListener::bind(self.address).await.ok();
                }
            }
        }
    }
}

impl Control {
    /// Where the broker listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Begins or ends an outage.
    pub fn link(&self, link: Link) {
        self.manners.send_modify(|manners| manners.link = link);
    }

    /// From now on, acknowledgements come so.
    pub fn acks(&self, acks: Acks) {
        self.manners.send_modify(|manners| manners.acks = acks);
    }
}

/// The next client; none where nobody listens, or accepting failed, as it does for a moment when descriptors are out.
async fn accept(listener: Option<&TcpListener>) -> Option<TcpStream> {
    let (client, _) = listener?.accept().await.ok()?;
    client.set_nodelay(true).ok()?;
    Some(client)
}

fn lock(topics: &Mutex<Topics>) -> std::sync::MutexGuard<'_, Topics> {
    topics.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
