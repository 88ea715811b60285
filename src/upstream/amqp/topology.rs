//! What is declared at connect: nothing, unless the settings say so, as the operator owns the broker.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::protocol::constants::REPLY_SUCCESS;
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Connection, ErrorKind};

use super::failure::failure;
use crate::upstream::error::UpstreamError;
use crate::upstream::settings::{
    Binding, Declare, DeclareQueue, ExchangeKind, QueueLimits, QueueType,
};

/// Declares exchange, queue and binding, all durable. What exists with the same arguments stays as it is. With `passive`
/// only looks whether exchange and queue are there.
///
/// # Errors
/// What exists has other arguments, or we may not declare.
pub(super) async fn declare(library: &Connection, declare: &Declare) -> Result<(), UpstreamError> {
    if *declare == Declare::default() {
        return Ok(());
    }
    // On a channel of its own: a refusal closes the channel.
    let channel = library
        .create_channel()
        .await
        .map_err(|error| failure(&error))?;
    declare_on(&channel, declare).await?;
    let closed = channel.close(REPLY_SUCCESS, "".into()).await;
    closed.map_err(|error| failure(&error))
}

async fn declare_on(channel: &Channel, declare: &Declare) -> Result<(), UpstreamError> {
    if let Some((name, kind)) = &declare.exchange {
        let options = ExchangeDeclareOptions {
            passive: declare.passive,
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared = channel.exchange_declare(
            short(name)?,
            exchange_kind(*kind),
            options,
            FieldTable::default(),
        );
        declared
            .await
            .map_err(|error| explain("exchange", name, &error))?;
    }
    let Some(queue) = &declare.queue else {
        return Ok(());
    };
    declare_queue(channel, queue, declare.passive).await?;
    if let Some(Binding { exchange, key }) = &queue.bind {
        let bound = channel.queue_bind(
            short(&queue.name)?,
            short(exchange)?,
            short(key)?,
            QueueBindOptions::default(),
            FieldTable::default(),
        );
        bound
            .await
            .map_err(|error| explain("binding", key, &error))?;
    }
    Ok(())
}

async fn declare_queue(
    channel: &Channel,
    queue: &DeclareQueue,
    passive: bool,
) -> Result<(), UpstreamError> {
    let options = QueueDeclareOptions {
        passive,
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(short(&queue.name)?, options, arguments(queue));
    declared
        .await
        .map_err(|error| explain("queue", &queue.name, &error))?;
    Ok(())
}

/// RabbitMQ's names for what a queue is.
fn arguments(queue: &DeclareQueue) -> FieldTable {
    let mut arguments = FieldTable::default();
    let mut text = |name: &str, value: &str| {
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
    };
    text("x-queue-type", queue_type(queue.queue_type));
    let QueueLimits { max_size, max_age } = queue.limits;
    if let Some(age) = max_age {
        text("x-max-age", &format!("{}s", age.as_secs()));
    }
    if max_size.is_some() && queue.queue_type != QueueType::Stream {
        // Else it would drop its oldest, which nobody has seen; so they stay with the gateway.
        text("x-overflow", "reject-publish");
    }
    if let Some(size) = max_size.and_then(|size| i64::try_from(size).ok()) {
        arguments.insert("x-max-length-bytes".into(), AMQPValue::LongLongInt(size));
    }
    arguments
}

fn explain(what: &str, name: &str, error: &lapin::Error) -> UpstreamError {
    match (error.kind(), failure(error)) {
        // It is not there, with `passive`, and may come.
        (ErrorKind::ProtocolError(refusal), error)
            if *refusal.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) =>
        {
            error
        }
        (
            ErrorKind::ProtocolError(_),
            UpstreamError::Closed(reason) | UpstreamError::Refused(reason),
        ) => UpstreamError::Rejected(format!(
            "declaring the {what} {name:?}: {reason}: declare it as it is at the broker, or leave it out"
        )),
        (_, error) => error,
    }
}

fn exchange_kind(kind: ExchangeKind) -> lapin::ExchangeKind {
    match kind {
        ExchangeKind::Direct => lapin::ExchangeKind::Direct,
        ExchangeKind::Fanout => lapin::ExchangeKind::Fanout,
        ExchangeKind::Topic => lapin::ExchangeKind::Topic,
        ExchangeKind::Headers => lapin::ExchangeKind::Headers,
    }
}

fn queue_type(kind: QueueType) -> &'static str {
    match kind {
        QueueType::Classic => "classic",
        QueueType::Quorum => "quorum",
        QueueType::Stream => "stream",
    }
}

fn short(name: &str) -> Result<ShortString, UpstreamError> {
    ShortString::try_new(name).map_err(|_| {
        UpstreamError::Rejected(format!("{name:?} is longer than the protocol's 255 bytes"))
    })
}
