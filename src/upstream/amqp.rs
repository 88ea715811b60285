//! AMQP 0-9-1 over lapin: one connection, one channel with publisher confirms; persistent, mandatory messages.
//!
//! The library neither connects nor reconnects: we open the stream, and any error ends the connection. What was not
//! answered then is unknown, and the forwarder sends it again.

mod access;
mod confirms;
pub(super) mod consume;
mod failure;
mod link;
mod outbox;
mod publish;
mod topology;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::Stream;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::{AsyncTcpStream, Channel, Confirmation, ConnectionProperties, Event};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use self::access::uri;
use self::confirms::{Confirms, Decided, Fate, Outcome, Returned};
use self::failure::failure;
use self::link::Cut;
use self::outbox::Outbox;
use self::publish::Publish;
use super::error::UpstreamError;
use super::message::{Answer, Assurance, Incoming, Message};
use super::settings::AmqpSettings;

/// Name resolution, TCP, TLS, the broker's consent and declarations together; slow links need several round trips.
const OPEN_TIMEOUT: Duration = Duration::from_secs(20);
/// What taking leave may cost.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// A confirm still out.
type Confirm = Pin<Box<dyn Future<Output = Result<Outcome, UpstreamError>> + Send>>;
/// A channel being opened.
type Opening = Pin<Box<dyn Future<Output = Result<Channel, UpstreamError>> + Send>>;

/// A connection to an AMQP broker.
pub struct Connection {
    /// First, so that it is dropped first: from then on nothing of the library waits for the broker.
    _cut: Cut,
    library: Arc<lapin::Connection>,
    channel: Channel,
    /// In place of one that the broker closed over a message.
    opening: Option<Opening>,
    outbox: Outbox,
    events: Pin<Box<dyn Stream<Item = Event> + Send>>,
    confirms: Confirms<Confirm, UpstreamError>,
    /// Answers to hand on.
    answers: VecDeque<(u64, Answer)>,
    /// What broke the connection, until all answers that came before are handed on.
    broken: Option<UpstreamError>,
    blocked: bool,
    /// Answers are awaited since then, at the earliest.
    awaited_since: Instant,
    ack_timeout: Duration,
    alarm: Pin<Box<Sleep>>,
}

impl Connection {
    /// Connects, and declares what the settings say, within 20 s.
    ///
    /// # Errors
    /// Whatever kept the connection from being made.
    pub async fn open(settings: &AmqpSettings, endpoint: usize) -> Result<Self, UpstreamError> {
        timeout(OPEN_TIMEOUT, Self::connect(settings, endpoint))
            .await
            .map_err(|_| UpstreamError::Timeout("connecting", OPEN_TIMEOUT))?
    }

    async fn connect(settings: &AmqpSettings, endpoint: usize) -> Result<Self, UpstreamError> {
        let count = settings.endpoints.len().max(1);
        let Some(endpoint) = settings.endpoints.get(endpoint % count) else {
            return Err(UpstreamError::Connection("no broker is named".to_owned()));
        };
        let uri = uri(settings, endpoint)?;
        let (stream, cut) = link::open(endpoint).await?;
        let stream = Mutex::new(Some(stream));
        let connect = async move |_, _| {
            let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
            // The library asks again when the stream ends before the broker has said a word.
            let ended = || io::Error::other("the broker closed the connection at once").into();
            stream.map(AsyncTcpStream::Plain).ok_or_else(ended)
        };
        let properties = ConnectionProperties::default().with_connection_name("forebay".into());
        let library = lapin::Connection::connector(uri, link::runtime(), connect, properties)
            .await
            .map_err(|error| failure(&error).without_certificate(endpoint))?;
        let events = Box::pin(library.events_listener());
        let channel = publisher(&library).await.map_err(|error| failure(&error))?;
        topology::declare(&library, &settings.declare).await?;
        let now = Instant::now();
        Ok(Self {
            _cut: cut,
            library: Arc::new(library),
            channel,
            opening: None,
            outbox: Outbox::default(),
            events,
            confirms: Confirms::new(),
            answers: VecDeque::new(),
            broken: None,
            blocked: false,
            awaited_since: now,
            ack_timeout: settings.ack_timeout,
            alarm: Box::pin(sleep_until(now)),
        })
    }

    /// Takes a message to send, and hands it to the library as soon as the channel takes it.
    ///
    /// # Errors
    /// None; what breaks the connection is told by [`Self::next`].
    pub fn submit(&mut self, message: Message) -> Result<(), UpstreamError> {
        self.outbox.push(message);
        self.release();
        Ok(())
    }

    /// The next answer or state of the broker. Cancel-safe.
    ///
    /// # Errors
    /// The connection is broken, or the broker has been silent for too long.
    pub async fn next(&mut self) -> Result<Incoming, UpstreamError> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// AMQP has no way to tell one; RabbitMQ takes 128 MiB (16 MiB from version 4 on).
    pub fn max_message_size(&self) -> Option<usize> {
        None
    }

    /// A confirm without a return is the broker's own word.
    pub fn assurance(&self) -> Assurance {
        Assurance::Broker
    }

    /// Takes leave, within a second.
    pub async fn close(self) {
        let leave = self.library.close(REPLY_SUCCESS, "".into());
        // Too late or already broken: cutting the stream is a leave as well, only less polite.
        let _ = timeout(CLOSE_TIMEOUT, leave).await;
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Incoming, UpstreamError>> {
        loop {
            if let Some((token, answer)) = self.answers.pop_front() {
                return Poll::Ready(Ok(Incoming::Answer(token, answer)));
            }
            if let Some(error) = self.broken.take() {
                return Poll::Ready(Err(error));
            }
            if let Some(opening) = &mut self.opening
                && let Poll::Ready(channel) = opening.as_mut().poll(context)
            {
                self.opening = None;
                self.channel = match channel {
                    Ok(channel) => channel,
                    Err(error) => return Poll::Ready(Err(error)),
                };
                self.release();
            }
            // Confirms first: what arrived before the connection broke still counts.
            match self.confirms.poll(context) {
                Poll::Ready(Ok(decided)) => {
                    self.decided(decided);
                    self.outbox.answered();
                    self.release();
                }
                Poll::Ready(Err(error)) => self.closed(error),
                Poll::Pending => match self.state(context) {
                    Poll::Ready(Ok(incoming)) => return Poll::Ready(Ok(incoming)),
                    Poll::Ready(Err(error)) => self.ended(error),
                    Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// What there is to tell beside answers.
    fn state(&mut self, context: &mut Context<'_>) -> Poll<Result<Incoming, UpstreamError>> {
        while let Poll::Ready(event) = self.events.as_mut().poll_next(context) {
            if let Some(incoming) = self.note(event) {
                return Poll::Ready(incoming);
            }
        }
        if self.overdue(context) {
            let late = UpstreamError::Timeout("confirm", self.ack_timeout);
            return Poll::Ready(Err(late));
        }
        Poll::Pending
    }

    /// Publishes what may go.
    fn release(&mut self) {
        while self.opening.is_none()
            && let Some(message) = self.outbox.next(self.confirms.len())
        {
            self.publish(message);
        }
    }

    fn publish(&mut self, message: Message) {
        let Publish {
            id,
            exchange,
            routing_key,
            properties,
        } = match Publish::new(&message) {
            Ok(publish) => publish,
            Err(reason) => {
                self.answers
                    .push_back((message.token, Answer::Refused(reason)));
                self.outbox.answered();
                return;
            }
        };
        let channel = self.channel.clone();
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let confirm = async move {
            let payload = &message.payload;
            let published =
                channel.basic_publish(exchange, routing_key, options, payload, properties);
            let confirm = published.await.map_err(|error| failure(&error))?;
            outcome(confirm.await.map_err(|error| failure(&error))?)
        };
        let now = Instant::now();
        self.confirms
            .push(message.token, &id, Box::pin(confirm), now);
    }

    fn decided(&mut self, Decided { token, fate, .. }: Decided) {
        let answer = match fate {
            Fate::Confirmed => Answer::Confirmed,
            Fate::Nacked => {
                let reason = "the broker could not take it: a queue is full or has no majority";
                Answer::Retry(reason.to_owned())
            }
            Fate::Unroutable(reason) => Answer::Returned(reason),
        };
        self.answers.push_back((token, answer));
    }

    /// The connection ended. What was confirmed behind a message that was not counts all the same.
    fn ended(&mut self, error: UpstreamError) {
        let (decided, _) = self.confirms.drain();
        decided
            .into_iter()
            .for_each(|decided| self.decided(decided));
        self.broken = Some(error);
    }

    /// The channel ended. Where the broker closed it over a message, a new one is opened.
    fn closed(&mut self, error: UpstreamError) {
        let (UpstreamError::NotAuthorised(reason) | UpstreamError::Refused(reason)) = &error else {
            return self.ended(error);
        };
        let (decided, unknown) = self.confirms.drain();
        decided
            .into_iter()
            .for_each(|decided| self.decided(decided));
        self.outbox.closed(unknown.len());
        let alone = unknown.len() == 1;
        for token in unknown {
            let answer = match &error {
                UpstreamError::NotAuthorised(reason) if alone => Answer::Stop(reason.clone()),
                _ if alone => Answer::Refused(reason.clone()),
                _ => Answer::Retry(format!("{reason}: which message is meant is found out")),
            };
            self.answers.push_back((token, answer));
        }
        let (library, limit) = (Arc::clone(&self.library), self.ack_timeout);
        self.opening = Some(Box::pin(async move {
            let opened = timeout(limit, publisher(&library)).await;
            let opened = opened.map_err(|_| UpstreamError::Timeout("opening a channel", limit))?;
            opened.map_err(|error| failure(&error))
        }));
    }

    fn note(&mut self, event: Option<Event>) -> Option<Result<Incoming, UpstreamError>> {
        match event {
            Some(Event::ConnectionBlocked(reason)) => {
                self.blocked = true;
                Some(Ok(Incoming::Blocked(reason)))
            }
            Some(Event::ConnectionUnblocked) => {
                self.blocked = false;
                self.awaited_since = Instant::now();
                Some(Ok(Incoming::Unblocked))
            }
            Some(Event::Error(error)) => match failure(&error) {
                // Of a channel: its confirms tell.
                UpstreamError::NotAuthorised(_) | UpstreamError::Refused(_) => None,
                error => Some(Err(error)),
            },
            None => Some(Err(UpstreamError::Connection("it ended".to_owned()))),
            Some(_) => None,
        }
    }

    /// Whether the oldest message has waited for too long. While the broker is blocked no time runs.
    fn overdue(&mut self, context: &mut Context<'_>) -> bool {
        let Some(oldest) = self.confirms.oldest() else {
            return false;
        };
        if self.blocked {
            return false;
        }
        let deadline = oldest.max(self.awaited_since) + self.ack_timeout;
        if self.alarm.deadline() != deadline {
            self.alarm.as_mut().reset(deadline);
        }
        self.alarm.as_mut().poll(context).is_ready()
    }
}

/// A channel that confirms.
async fn publisher(library: &lapin::Connection) -> Result<Channel, lapin::Error> {
    let channel = library.create_channel().await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    Ok(channel)
}

fn outcome(confirmation: Confirmation) -> Result<Outcome, UpstreamError> {
    match confirmation {
        Confirmation::Ack(rider) => Ok(Outcome::Ack(rider.map(returned))),
        Confirmation::Nack(rider) => Ok(Outcome::Nack(rider.map(returned))),
        // It would look like success.
        Confirmation::NotRequested => Err(UpstreamError::Closed("it does not confirm".to_owned())),
    }
}

fn returned(message: BasicReturnMessage) -> Returned {
    let BasicReturnMessage {
        delivery,
        reply_code,
        reply_text,
    } = message;
    let id = delivery
        .properties
        .message_id()
        .as_ref()
        .map(ToString::to_string);
    Returned {
        id: id.unwrap_or_default(),
        reason: format!(
            "no queue takes it (exchange {:?}, routing key {:?}: {reply_code} {reply_text})",
            delivery.exchange.as_str(),
            delivery.routing_key.as_str(),
        ),
    }
}
