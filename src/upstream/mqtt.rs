//! MQTT 3.1.1 and 5: rumqttc's packets on a stream of our own, so that a window goes in few writes; rumqttc's own event loop
//! writes each message by itself. A clean session a connection: what was not acknowledged is the forwarder's to send again
//! (without the DUP flag).

mod flight;
mod hello;
mod reason;
pub(super) mod subscribe;
mod v3;
mod v5;
mod wire;

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::timeout;

use self::flight::Flight;
use self::hello::Hello;
use self::wire::Wire;
use super::error::UpstreamError;
use super::message::{Answer, Assurance, Incoming, Message};
use super::settings::{Endpoint, MqttSettings, MqttVersion, Qos};

/// Name resolution, TCP, TLS and the broker's consent together; slow links need several round trips.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// What taking leave may cost.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// Largest packet that is taken from the broker; there is nothing big in the protocol's own answers.
const MAX_INCOMING: usize = 256 * 1024;
/// Largest packet of the protocol (MQTT 3.1.1, 2.2.3): a remaining length of four bytes behind the type byte.
const MAX_PACKET: usize = 268_435_455 + 5;
/// Packet ids in use, in windows: one that was just answered rests for so long before it is used again.
const IDS: u16 = 4;

/// A connection to an MQTT broker.
pub struct Connection {
    wire: Wire,
    version: MqttVersion,
    flight: Flight,
    /// Submitted, but as many are out as the broker takes: at most the window.
    held: VecDeque<Message>,
    /// With quality of service 0: where in the stream a message ends, and its token.
    handed: VecDeque<(u64, u64)>,
    answers: VecDeque<Incoming>,
    /// Why the connection has ended, until all that came before it is told.
    broken: Option<UpstreamError>,
    granted: Granted,
    qos: Qos,
}

/// What the broker consented to.
#[derive(Debug, Clone, Copy)]
struct Granted {
    /// How many messages may be out.
    receive_maximum: Option<u16>,
    /// Largest packet.
    max_packet_size: Option<usize>,
    retains: bool,
    /// Time between signs of life that it asked for.
    keep_alive: Option<Duration>,
}

impl Default for Granted {
    /// What holds where the broker says nothing else.
    fn default() -> Self {
        Self {
            receive_maximum: None,
            max_packet_size: None,
            retains: true,
            keep_alive: None,
        }
    }
}

/// What concerns us of all that the broker says.
enum Signal {
    /// The message under this packet id was answered.
    Answered(u16, Answer),
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
        let count = settings.endpoints.len().max(1);
        let Some(endpoint) = settings.endpoints.get(endpoint % count) else {
            return Err(UpstreamError::Connection("no broker is named".to_owned()));
        };
        let hello = Hello::new(settings, will)?;
        timeout(OPEN_TIMEOUT, Self::connect(settings, endpoint, &hello))
            .await
            .map_err(|_| UpstreamError::Timeout("connecting", OPEN_TIMEOUT))?
            .map_err(|error| error.reaching(endpoint).without_certificate(endpoint))
    }

    async fn connect(
        settings: &MqttSettings,
        endpoint: &Endpoint,
        hello: &Hello,
    ) -> Result<Self, UpstreamError> {
        let mut wire = Wire::open(endpoint, hello.keep_alive, MAX_INCOMING).await?;
        let granted = match settings.version {
            MqttVersion::V3 => {
                wire.put(|out| v3::connect(hello, out))?;
                v3::granted(wire.packet().await?)?.0
            }
            MqttVersion::V5 => {
                wire.put(|out| v5::connect(hello, out))?;
                v5::granted(wire.packet().await?, settings.qos == Qos::AtLeastOnce)?
            }
        };
        wire.set_keep_alive(granted.keep_alive.unwrap_or(hello.keep_alive));
        let window = settings.inflight.max(1);
        let most = granted.receive_maximum.unwrap_or(window).clamp(1, window);
        Ok(Self {
            wire,
            version: settings.version,
            flight: Flight::new(most, window.saturating_mul(IDS)),
            held: VecDeque::new(),
            handed: VecDeque::new(),
            answers: VecDeque::new(),
            broken: None,
            granted,
            qos: settings.qos,
        })
    }

    /// Takes a message to send; [`Self::next`] sends it, together with others.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn submit(&mut self, mut message: Message) -> Result<(), UpstreamError> {
        // Where the broker keeps nothing, asking for it ends the connection (MQTT 5.0, 3.2.2.3.5).
        message.retain &= self.granted.retains;
        if let Some(reason) = self.refusal(&message) {
            let refused = Incoming::Answer(message.token, Answer::Refused(reason));
            self.answers.push_back(refused);
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
        poll_fn(|context| self.poll(context)).await
    }

    /// Its receive maximum, where the broker told one (MQTT 5.0, 3.2.2.3.3).
    pub fn max_out(&self) -> Option<u16> {
        self.granted.receive_maximum
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
    pub async fn close(self) {
        // Too late or already broken: dropping the connection is a leave as well, only less polite.
        let _ = timeout(CLOSE_TIMEOUT, self.wire.leave()).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Incoming, UpstreamError>> {
        loop {
            if let Some(answer) = self.answers.pop_front() {
                self.wire.begin(context);
                return Poll::Ready(Ok(answer));
            }
            if let Some(error) = self.broken.take() {
                return Poll::Ready(Err(error));
            }
            self.release()?;
            let came = self.wire.poll(context);
            self.note_written();
            match came {
                Poll::Ready(came) => self.broken = came.and_then(|()| self.take_in()).err(),
                Poll::Pending if self.answers.is_empty() => return Poll::Pending,
                Poll::Pending => {}
            }
        }
    }

    /// Puts what the broker has room for, in order, and however little that is. Held back until a quarter of the window was
    /// free, a drain stalled after every 20 records or so: mosquitto leaves Nagle's algorithm on, so its next
    /// acknowledgements wait for something to go out here.
    fn release(&mut self) -> Result<(), UpstreamError> {
        while let Some(message) = self.held.front() {
            let token = message.token;
            let id = match self.qos {
                Qos::AtMostOnce => None,
                Qos::AtLeastOnce => match self.flight.take(token) {
                    None => return Ok(()),
                    id => id,
                },
            };
            let Some(message) = self.held.pop_front() else {
                return Ok(());
            };
            let end = match self.version {
                MqttVersion::V3 => self.wire.put(|out| v3::publish(message, id, out))?,
                MqttVersion::V5 => self.wire.put(|out| v5::publish(&message, id, out))?,
            };
            if id.is_none() {
                self.handed.push_back((end, token));
            }
        }
        Ok(())
    }

    /// Without acknowledgement, handing to the stream is the answer.
    fn note_written(&mut self) {
        let written = self.wire.written();
        while let Some((_, token)) = self.handed.pop_front_if(|(end, _)| *end <= written) {
            self.answers
                .push_back(Incoming::Answer(token, Answer::Sent));
        }
    }

    fn take_in(&mut self) -> Result<(), UpstreamError> {
        while let Some(packet) = self.wire.take()? {
            let signal = match self.version {
                MqttVersion::V3 => v3::signal(packet)?,
                MqttVersion::V5 => v5::signal(packet)?,
            };
            let Some(Signal::Answered(id, answer)) = signal else {
                continue;
            };
            let Some(token) = self.flight.answered(id) else {
                let reason = format!("it acknowledges packet id {id}, which is not out");
                return Err(UpstreamError::Closed(reason));
            };
            self.answers.push_back(Incoming::Answer(token, answer));
        }
        Ok(())
    }

    /// Why a message cannot be sent at all. The broker would close the connection over it, again and again.
    fn refusal(&self, message: &Message) -> Option<String> {
        let topic = &message.address.key;
        if topic.is_empty()
            || topic.len() > usize::from(u16::MAX)
            || topic.contains(['+', '#', '\0'])
        {
            return Some(format!("{topic:?} is no topic (MQTT, 4.7)"));
        }
        let acknowledged = self.qos == Qos::AtLeastOnce;
        let size = match self.version {
            MqttVersion::V3 => v3::size(message, acknowledged),
            MqttVersion::V5 => v5::size(message, acknowledged),
        };
        let granted = self.granted.max_packet_size.unwrap_or(MAX_PACKET);
        let most = granted.min(MAX_PACKET);
        (size > most).then(|| format!("{size} bytes, the broker takes {most}"))
    }
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

fn malformed(error: &impl fmt::Display) -> UpstreamError {
    UpstreamError::Closed(format!("a packet that cannot be read: {error}"))
}

fn not_connack(packet: &impl fmt::Debug) -> UpstreamError {
    UpstreamError::Closed(format!("{packet:?} in place of CONNACK"))
}
