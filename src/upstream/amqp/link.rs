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
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::compat::TokioAsyncReadCompatExt;

use crate::upstream::error::UpstreamError;
use crate::upstream::settings::{Endpoint, TlsSettings};
use crate::upstream::tls;

/// An open stream, plain or encrypted.
pub(super) type ByteStream = Box<dyn ReadWrite>;

pub(super) trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> ReadWrite for T {}

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
    let Endpoint { host, port, tls } = endpoint;
    let unreachable =
        |error: io::Error| UpstreamError::Connection(format!("{host}:{port}: {error}"));
    let stream = TcpStream::connect((host.as_str(), *port))
        .await
        .map_err(unreachable)?;
    stream.set_nodelay(true).map_err(unreachable)?;
    let stream = stream.into_std().map_err(unreachable)?;
    let cut = Cut(stream.try_clone().map_err(unreachable)?);
    let stream = TcpStream::from_std(stream).map_err(unreachable)?;
    let stream: ByteStream = match tls {
        None => Box::new(stream.compat()),
        Some(tls) => encrypt(stream, endpoint, tls).await?,
    };
    Ok((stream, cut))
}

async fn encrypt(
    stream: TcpStream,
    endpoint: &Endpoint,
    settings: &TlsSettings,
) -> Result<ByteStream, UpstreamError> {
    let config = tls::client_config(settings)?;
    let host = endpoint.host.clone();
    let name = ServerName::try_from(host)
        .map_err(|_| UpstreamError::Tls(format!("{:?} is no host name", endpoint.host)))?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    let stream = connected.map_err(|error| {
        tls_error(&error).unwrap_or_else(|| UpstreamError::Connection(error.to_string()))
    })?;
    Ok(Box::new(stream.compat()))
}

/// The TLS error inside an I/O error.
pub(super) fn tls_error(error: &io::Error) -> Option<UpstreamError> {
    let inner = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    Some(UpstreamError::Tls(inner.to_string()))
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
