//! What tokio-modbus takes for its connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What tokio-modbus writes to and reads from: one request, one answer.
#[derive(Debug, Clone, Default)]
pub(super) struct LinkTransport(Arc<Mutex<Pipe>>);

#[derive(Debug, Default)]
struct Pipe {
    request: BytesMut,
    answer: Bytes,
    reader: Option<Waker>,
}

impl LinkTransport {
    /// The request that was written.
    pub(super) fn take_request(&self) -> Bytes {
        self.pipe().request.split().freeze()
    }

    /// Gives the answer to be read.
    pub(super) fn give_answer(&self, answer: Bytes) {
        let mut pipe = self.pipe();
        pipe.answer = answer;
        if let Some(waker) = pipe.reader.take() {
            waker.wake();
        }
    }

    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsyncRead for LinkTransport {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut pipe = self.pipe();
        if pipe.answer.is_empty() {
            pipe.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        let len = pipe.answer.len().min(buffer.remaining());
        buffer.put_slice(&pipe.answer.split_to(len));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for LinkTransport {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pipe().request.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
