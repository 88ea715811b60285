//! The byte stream below the library: opened, encrypted and, whatever state the library is in, cut by us.

use std::future::{Future, ready};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::time::{Duration, Instant};

use async_rs::traits::Reactor;
use async_rs::util::RuntimeParts;
use async_rs::{Runtime, Tokio};
use futures_io::{AsyncRead, AsyncWrite};
use futures_util::Stream;
use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::upstream::error::UpstreamError;
use crate::upstream::link;
use crate::upstream::settings::Endpoint;

/// An open stream, plain or encrypted.
pub(super) type ByteStream = Compat<link::ByteStream>;

/// Cuts the connection when dropped. The library's own thread may be waiting for a broker that says nothing any more;
/// this ends it.
pub(super) struct Cut(std::net::TcpStream);

impl Drop for Cut {
    fn drop(&mut self) {
        // An error means that it is cut already.
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

/// Resolves the name, connects, and shakes hands where the endpoint wants TLS. The caller bounds the time.
pub(super) async fn open(endpoint: &Endpoint) -> Result<(ByteStream, Cut), UpstreamError> {
    connect(endpoint)
        .await
        .map_err(|error| error.reaching(endpoint))
}

async fn connect(endpoint: &Endpoint) -> Result<(ByteStream, Cut), UpstreamError> {
    let broken = |error: io::Error| link::broken(&error);
    let stream = link::connect(endpoint).await?;
    let stream = stream.into_std().map_err(broken)?;
    let cut = Cut(stream.try_clone().map_err(broken)?);
    let stream = TcpStream::from_std(stream).map_err(broken)?;
    Ok((link::secure(stream, endpoint).await?.compat(), cut))
}

/// The runtime as the library wants it, but with [`ByteStream`] for its streams.
pub(super) fn runtime() -> Runtime<RuntimeParts<Tokio, Opened>> {
    let tokio = Tokio::current();
    Runtime::new(RuntimeParts::new(tokio.clone(), Opened(tokio)))
}

/// tokio's timers, and no way to connect: streams come open from [`open`].
#[derive(Debug, Clone)]
pub(super) struct Opened(Tokio);

impl Reactor for Opened {
    type TcpStream = ByteStream;
    type Sleep = <Tokio as Reactor>::Sleep;

    fn register<H: Read + Write + Send + 'static>(
        &self,
        _: H,
    ) -> io::Result<impl AsyncRead + AsyncWrite + Send + Unpin + 'static> {
        Err::<ByteStream, _>(io::ErrorKind::Unsupported.into())
    }

    fn sleep(&self, duration: Duration) -> Self::Sleep {
        self.0.sleep(duration)
    }

    fn interval(&self, duration: Duration) -> impl Stream<Item = Instant> + Send + 'static {
        self.0.interval(duration)
    }

    fn tcp_connect_addr(
        &self,
        _: SocketAddr,
    ) -> impl Future<Output = io::Result<Self::TcpStream>> + Send + 'static {
        ready(Err(io::ErrorKind::Unsupported.into()))
    }
}
