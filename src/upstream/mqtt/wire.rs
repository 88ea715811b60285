//! The stream below the packets: what is put goes together in one write, what comes is taken off packet by packet, and signs
//! of life are asked for in between.

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use rumqttc::mqttbytes::{self, check};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use crate::upstream::error::UpstreamError;
use crate::upstream::link::{self, ByteStream};
use crate::upstream::settings::Endpoint;

/// Bytes of one read: some thousand acknowledgements.
const READ: usize = 16 * 1024;
/// So many bytes go at once, and do not wait for more: the broker is not to be idle while a whole window is made.
const BURST: usize = 32 * 1024;
/// A larger burst gives its memory back.
const KEPT: usize = 256 * 1024;
/// The same in both versions (MQTT 5.0, 3.12 and 3.14.2.1).
const PINGREQ: [u8; 2] = [0xC0, 0];
const DISCONNECT: [u8; 2] = [0xE0, 0];

/// An open stream. Nothing is written or read but in [`Self::poll`] and [`Self::begin`].
pub(super) struct Wire {
    stream: ByteStream,
    out: BytesMut,
    input: BytesMut,
    /// Most bytes of a packet that comes in.
    most: usize,
    /// Bytes that the stream has taken so far.
    written: u64,
    unflushed: bool,
    keep_alive: Duration,
    /// When the next sign of life is asked for.
    due: Pin<Box<Sleep>>,
    /// One was asked for, and nothing has come in since.
    asked: bool,
    /// Nothing can be written any more; what has come in by then can still be read.
    failed: Option<UpstreamError>,
}

impl Wire {
    /// Connects. The caller bounds the time.
    pub(super) async fn open(
        endpoint: &Endpoint,
        keep_alive: Duration,
        most: usize,
    ) -> Result<Self, UpstreamError> {
        let stream = link::connect(endpoint).await?;
        Ok(Self::on(
            link::secure(stream, endpoint).await?,
            keep_alive,
            most,
        ))
    }

    fn on(stream: ByteStream, keep_alive: Duration, most: usize) -> Self {
        Self {
            stream,
            out: BytesMut::new(),
            input: BytesMut::new(),
            most,
            written: 0,
            unflushed: false,
            keep_alive,
            due: Box::pin(sleep(keep_alive)),
            asked: false,
            failed: None,
        }
    }

    /// Signs of life from now on so often.
    pub(super) fn set_keep_alive(&mut self, keep_alive: Duration) {
        self.keep_alive = keep_alive;
        self.due.as_mut().reset(Instant::now() + keep_alive);
    }

    /// Has a packet go with the next write. The answer: what [`Self::written`] says once it has gone.
    pub(super) fn put<E: std::fmt::Display>(
        &mut self,
        packet: impl FnOnce(&mut BytesMut) -> Result<usize, E>,
    ) -> Result<u64, UpstreamError> {
        packet(&mut self.out).map_err(|error| UpstreamError::Connection(error.to_string()))?;
        Ok(self.written.saturating_add(self.out.len() as u64))
    }

    /// How many bytes the stream has taken so far.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Takes the next packet off what has come in, whole.
    pub(super) fn take(&mut self) -> Result<Option<BytesMut>, UpstreamError> {
        match check(self.input.iter(), self.most) {
            Ok(header) => Ok(Some(self.input.split_to(header.frame_length()))),
            Err(mqttbytes::Error::InsufficientBytes(_)) => Ok(None),
            Err(error) => Err(UpstreamError::Closed(error.to_string())),
        }
    }

    /// The next packet. Cancel-safe.
    pub(super) async fn packet(&mut self) -> Result<BytesMut, UpstreamError> {
        loop {
            if let Some(packet) = self.take()? {
                return Ok(packet);
            }
            poll_fn(|context| self.poll(context)).await?;
        }
    }

    /// Writes and reads what it can. Ready when something has come in, or the connection has ended; what came in before the
    /// end is found before the end is told.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        self.write(context);
        let read = self.read(context);
        self.asked &= !matches!(read, Poll::Ready(Ok(())));
        self.ask(context);
        match (read, &self.failed) {
            (Poll::Ready(Ok(())), _) => Poll::Ready(Ok(())),
            (Poll::Pending, None) => Poll::Pending,
            (Poll::Ready(Err(error)), None) => Poll::Ready(Err(error)),
            (_, Some(error)) => Poll::Ready(Err(error.clone())),
        }
    }

    /// Writes what it can where a burst has gathered; [`Self::poll`] writes whatever there is.
    pub(super) fn begin(&mut self, context: &mut Context<'_>) {
        if self.out.len() >= BURST {
            self.write(context);
        }
    }

    /// Takes leave behind what was put, and waits until the broker has closed. The caller bounds the time.
    pub(super) async fn leave(mut self) {
        self.out.extend_from_slice(&DISCONNECT);
        // Closed with bytes unread, the link would be reset, and what is under way lost with it.
        if self.stream.write_all_buf(&mut self.out).await.is_ok()
            && self.stream.shutdown().await.is_ok()
        {
            let mut rest = [0; 1024];
            while matches!(self.stream.read(&mut rest).await, Ok(1..)) {}
        }
    }

    fn write(&mut self, context: &mut Context<'_>) {
        if self.failed.is_some() {
            return;
        }
        let large = self.out.len() > KEPT;
        while !self.out.is_empty() {
            match Pin::new(&mut self.stream).poll_write(context, &self.out) {
                Poll::Pending => return,
                Poll::Ready(Ok(0)) => return self.failed = Some(closed()),
                Poll::Ready(Ok(length)) => {
                    self.out.advance(length);
                    self.written = self.written.saturating_add(length as u64);
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return self.failed = Some(link::broken(&error)),
            }
        }
        if large {
            self.out = BytesMut::new();
        }
        if self.unflushed {
            match Pin::new(&mut self.stream).poll_flush(context) {
                Poll::Pending => {}
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => self.failed = Some(link::broken(&error)),
            }
        }
    }

    fn read(&mut self, context: &mut Context<'_>) -> Poll<Result<(), UpstreamError>> {
        let mut space = [MaybeUninit::uninit(); READ];
        let mut chunk = ReadBuf::uninit(&mut space);
        match Pin::new(&mut self.stream).poll_read(context, &mut chunk) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(link::broken(&error))),
            Poll::Ready(Ok(())) if chunk.filled().is_empty() => Poll::Ready(Err(closed())),
            Poll::Ready(Ok(())) => {
                self.input.extend_from_slice(chunk.filled());
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Asks for a sign of life when it is time. Whatever comes in is one: behind a full window on a slow link, the answer
    /// itself may take long.
    fn ask(&mut self, context: &mut Context<'_>) {
        while self.failed.is_none() && self.due.as_mut().poll(context).is_ready() {
            if self.asked {
                let reason = "no answer to a sign of life".to_owned();
                return self.failed = Some(UpstreamError::Silent(reason));
            }
            self.asked = true;
            self.out.extend_from_slice(&PINGREQ);
            self.due.as_mut().reset(Instant::now() + self.keep_alive);
            self.write(context);
        }
    }
}

fn closed() -> UpstreamError {
    UpstreamError::Connection("the broker has closed the connection".to_owned())
}

#[cfg(test)]
mod tests;
