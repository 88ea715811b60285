//! MQTT 3.1.1 and 5 over rumqttc: a fresh event loop and a clean session a connection, so that the library repeats
//! nothing by itself; what was not acknowledged is the forwarder's to send again (without the DUP flag).

mod access;
mod flight;
mod reason;
pub(super) mod subscribe;
mod v3;
mod v5;

use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use self::access::Access;
use self::flight::{Flight, OutOfStep};
use super::error::UpstreamError;
use super::message::{Answer, Assurance, Incoming, Message};
use super::settings::{MqttSettings, MqttVersion, Qos};

/// Name resolution, TCP, TLS and the broker's consent together; slow links need several round trips.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// What taking leave may cost.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest packet that is taken from the broker; there is nothing big in the protocol's own answers.
const MAX_INCOMING: u32 = 256 * 1024;
/// Largest packet of the protocol (MQTT 3.1.1, 2.2.3): a remaining length of four bytes behind the type byte.
const MAX_OUTGOING: usize = 268_435_455 + 5;

/// Answers that are handed on at once. A broker that answers as fast as we read would otherwise see its whole window
/// answered, and then wait, before it gets the next message.
const BURST: usize = 32;
/// The library refuses less.
const LEAST_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// A connection to an MQTT broker.
pub struct Connection {
    client: Client,
    driver: Driver,
    shared: Arc<Mutex<Shared>>,
    /// Submitted, but their packet ids are still out: at most the window.
    held: VecDeque<Message>,
    granted: Granted,
    qos: Qos,
}

/// What polls the event loop.
enum Driver {
    Running(Pin<Box<dyn Future<Output = UpstreamError> + Send>>),
    /// The connection is broken; why is told once.
    Ended(Option<UpstreamError>),
}

/// The library's handle on its event loop.
enum Client {
    V3(v3::Client),
    V5(v5::Client),
}

/// What the driver finds and the connection asks for. Never locked across a wait.
struct Shared {
    flight: Flight,
    granted: Option<Granted>,
    left: bool,
}

/// What the broker consented to.
#[derive(Debug, Clone, Copy)]
struct Granted {
    /// The highest packet id; where the broker set a bound to what may be out, the library takes no more ids than that.
    packet_ids: u16,
    /// Largest packet.
    max_packet_size: Option<usize>,
    retains: bool,
    /// Time between signs of life that it asked for.
    keep_alive: Duration,
}

/// What concerns us of all that the library reports.
enum Signal {
    /// The broker took the connection.
    Connected(Granted),
    /// The next message was written, under this packet id.
    Sent(u16),
    /// The message under this packet id was answered.
    Answered(u16, Answer),
    /// Our leave was written.
    Left,
}

/// The library's event loop, of either version. Polling it must not be cut short: a message being written would be lost.
trait Events: Send {
    /// The next event, where it concerns us.
    fn poll(&mut self) -> impl Future<Output = Result<Option<Signal>, UpstreamError>> + Send;
}

impl Connection {
    /// Connects, within 20 s.
    ///
    /// # Errors
    /// Whatever kept the connection from being made.
    pub async fn open(
        settings: &MqttSettings,
        endpoint: usize,
        will: Option<Message>,
    ) -> Result<Self, UpstreamError> {
        let access = Access::new(settings, endpoint, will)?;
        let (host, port) = (access.host.clone(), access.port);
        // One more than the window: the leave goes the same way.
        let capacity = usize::from(settings.inflight) + 1;
        let shared = Arc::new(Mutex::new(Shared {
            flight: Flight::new(packet_ids(settings)),
            granted: None,
            left: false,
        }));
        let (client, mut driver) = match settings.version {
            MqttVersion::V3 => {
                let (client, events) = v3::start(settings, access, capacity);
                let driver = drive(events, Arc::clone(&shared), settings.keep_alive);
                (Client::V3(client), Driver::Running(Box::pin(driver)))
            }
            MqttVersion::V5 => {
                let (client, events) = v5::start(settings, access, capacity);
                let driver = drive(events, Arc::clone(&shared), settings.keep_alive);
                (Client::V5(client), Driver::Running(Box::pin(driver)))
            }
        };
        let connected = until(&mut driver, &shared, |shared| shared.granted.take());
        let granted = timeout(OPEN_TIMEOUT, connected)
            .await
            .map_err(|_| UpstreamError::Timeout("connecting", OPEN_TIMEOUT))?
            .map_err(|error| error.reaching(&host, port))?;
        lock(&shared).flight = Flight::new(granted.packet_ids);
        Ok(Self {
            client,
            driver,
            shared,
            held: VecDeque::new(),
            granted,
            qos: settings.qos,
        })
    }

    /// Takes a message to send; [`Self::next`] sends it.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn submit(&mut self, message: Message) -> Result<(), UpstreamError> {
        if let Some(reason) = self.refusal(&message) {
            lock(&self.shared)
                .flight
                .answer(message.token, Answer::Refused(reason));
            return Ok(());
        }
        self.held.push_back(message);
        self.release()
    }

    /// Drives the connection until something comes in. Cancel-safe.
    ///
    /// # Errors
    /// The connection is broken.
    pub async fn next(&mut self) -> Result<Incoming, UpstreamError> {
        // A held message waits for a packet id, and what sets one free is an answer, which ends this call.
        self.release()?;
        until(&mut self.driver, &self.shared, |shared| {
            shared.flight.take()
        })
        .await
    }

    /// Largest message, where the broker told one.
    pub fn max_message_size(&self) -> Option<usize> {
        self.granted.max_packet_size
    }

    /// By quality of service.
    pub fn assurance(&self) -> Assurance {
        match self.qos {
            Qos::AtMostOnce => Assurance::None,
            Qos::AtLeastOnce => Assurance::Broker,
        }
    }

    /// Whether the broker keeps retained messages.
    pub fn retains(&self) -> bool {
        self.granted.retains
    }

    /// Sends DISCONNECT behind what was submitted, within a second.
    pub async fn close(mut self) {
        let asked = match &self.client {
            Client::V3(client) => client.leave(),
            Client::V5(client) => client.leave(),
        };
        if asked {
            let left = until(&mut self.driver, &self.shared, |shared| {
                shared.left.then_some(())
            });
            // Too late or already broken: dropping the connection is a leave as well, only less polite.
            let _ = timeout(CLOSE_TIMEOUT, left).await;
        }
    }

    /// Hands over what has room, in order.
    fn release(&mut self) -> Result<(), UpstreamError> {
        while !self.held.is_empty() {
            let mut shared = lock(&self.shared);
            if self.qos == Qos::AtLeastOnce && !shared.flight.has_room() {
                return Ok(());
            }
            let Some(message) = self.held.pop_front() else {
                return Ok(());
            };
            match self.qos {
                Qos::AtMostOnce => shared.flight.hand_unanswered(message.token),
                Qos::AtLeastOnce => shared.flight.hand(message.token),
            }
            drop(shared);
            let taken = match &self.client {
                Client::V3(client) => client.publish(message, self.qos),
                Client::V5(client) => client.publish(message, self.qos),
            };
            if !taken {
                let reason = "more messages submitted than the window allows";
                return Err(UpstreamError::Connection(reason.to_owned()));
            }
        }
        Ok(())
    }

    /// Why a message cannot be sent at all. The library would close the connection over it, again and again.
    fn refusal(&self, message: &Message) -> Option<String> {
        let topic = &message.address.key;
        if topic.is_empty()
            || topic.len() > usize::from(u16::MAX)
            || topic.contains(['+', '#', '\0'])
        {
            return Some(format!("{topic:?} is no topic (MQTT, 4.7)"));
        }
        let size = match &self.client {
            Client::V3(_) => v3::size(message, self.qos),
            Client::V5(_) => v5::size(message, self.qos),
        };
        let most = self.granted.max_packet_size.unwrap_or(MAX_OUTGOING);
        (size > most).then(|| format!("{size} bytes, the broker takes {most}"))
    }
}

/// Polls the event loop for ever and keeps the books. A link that shows no sign of life at all is given up: the
/// library's own writes have no time limit.
async fn drive(
    mut events: impl Events,
    shared: Arc<Mutex<Shared>>,
    keep_alive: Duration,
) -> UpstreamError {
    let limit = |keep_alive: Duration| {
        (keep_alive.saturating_mul(3) / 2).saturating_add(Duration::from_secs(5))
    };
    let mut silence = limit(keep_alive);
    let (mut last, mut burst) = (Instant::now(), 0);
    let mut watchdog = pin!(sleep(silence));
    loop {
        let polled = {
            let mut poll = pin!(events.poll());
            loop {
                tokio::select! {
                    biased;
                    polled = &mut poll => break polled,
                    () = &mut watchdog => {
                        if last.elapsed() >= silence {
                            return UpstreamError::Timeout("no sign of life", silence);
                        }
                        watchdog.as_mut().reset(last + silence);
                    }
                }
            }
        };
        last = Instant::now();
        let signal = match polled {
            Ok(signal) => signal,
            Err(error) => return error,
        };
        if let Some(Signal::Connected(granted)) = &signal {
            silence = limit(granted.keep_alive);
        }
        burst += usize::from(matches!(signal, Some(Signal::Answered(..))));
        if let Some(Err(OutOfStep)) = signal.map(|signal| lock(&shared).note(signal)) {
            return UpstreamError::Closed("packet ids that were never sent".to_owned());
        }
        if burst >= BURST {
            burst = 0;
            tokio::task::yield_now().await;
        }
    }
}

impl Shared {
    fn note(&mut self, signal: Signal) -> Result<(), OutOfStep> {
        match signal {
            Signal::Connected(granted) => self.granted = Some(granted),
            Signal::Sent(id) => self.flight.sent(id)?,
            Signal::Answered(id, answer) => self.flight.answered(id, answer)?,
            Signal::Left => self.left = true,
        }
        Ok(())
    }
}

/// Drives the connection until `take` finds what it looks for. What is there already is returned without driving, so a
/// burst of answers costs one round of the event loop; dropping the future leaves the driver where it is. What came in
/// before the end of the connection is found before that end is told.
async fn until<T>(
    driver: &mut Driver,
    shared: &Mutex<Shared>,
    mut take: impl FnMut(&mut Shared) -> Option<T>,
) -> Result<T, UpstreamError> {
    std::future::poll_fn(|context| {
        if let Some(found) = take(&mut lock(shared)) {
            return Poll::Ready(Ok(found));
        }
        if let Driver::Running(future) = driver
            && let Poll::Ready(error) = future.as_mut().poll(context)
        {
            *driver = Driver::Ended(Some(error));
        }
        if let Some(found) = take(&mut lock(shared)) {
            return Poll::Ready(Ok(found));
        }
        match driver {
            Driver::Running(_) => Poll::Pending,
            Driver::Ended(error) => Poll::Ready(Err(error.take().unwrap_or_else(|| {
                UpstreamError::Connection("the connection has ended".to_owned())
            }))),
        }
    })
    .await
}

/// How many packet ids there are: more than the window, so that one answer that is late does not hold up the others. The
/// library keeps a place for each.
fn packet_ids(settings: &MqttSettings) -> u16 {
    settings.inflight.max(1).saturating_mul(4)
}

/// Within what the library and the protocol's 16 bits of seconds take.
fn keep_alive(settings: &MqttSettings) -> Duration {
    let most = Duration::from_secs(u16::MAX.into());
    settings.keep_alive.clamp(LEAST_KEEP_ALIVE, most)
}

/// Bytes of a packet whose remaining length is `remaining`.
fn with_header(remaining: usize) -> usize {
    1 + length_bytes(remaining) + remaining
}

/// Bytes of a length of this value (MQTT 5.0, 1.5.5).
fn length_bytes(length: usize) -> usize {
    match length {
        0..128 => 1,
        128..16_384 => 2,
        16_384..2_097_152 => 3,
        _ => 4,
    }
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
