//! The byte stream below a protocol: connected, and encrypted where the endpoint wants it.

use std::io;

use rustls::AlertDescription;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::error::UpstreamError;
use super::settings::Endpoint;
use super::tls;

/// An open stream, plain or encrypted.
pub(super) type ByteStream = Box<dyn ReadWrite>;

pub(super) trait ReadWrite: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ReadWrite for T {}

/// Resolves the name and connects. The caller bounds the time.
pub(super) async fn connect(endpoint: &Endpoint) -> Result<TcpStream, UpstreamError> {
    let connect = async {
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await?;
        stream.set_nodelay(true)?;
        Ok::<_, io::Error>(stream)
    };
    let unreachable = |error: io::Error| UpstreamError::Unreachable(error.to_string());
    connect.await.map_err(unreachable)
}

/// Shakes hands where the endpoint wants TLS. The caller bounds the time.
pub(super) async fn secure(
    stream: TcpStream,
    endpoint: &Endpoint,
) -> Result<ByteStream, UpstreamError> {
    let Some(settings) = &endpoint.tls else {
        return Ok(Box::new(stream));
    };
    let config = tls::client_config(settings)?;
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|_| UpstreamError::Tls(format!("{:?} is no host name", endpoint.host)))?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    Ok(Box::new(connected.map_err(|error| broken(&error))?))
}

/// What broke a stream.
pub(super) fn broken(error: &io::Error) -> UpstreamError {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        None => UpstreamError::Connection(error.to_string()),
        Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
            let reason = "the broker wants a client certificate (tls.cert, tls.key)";
            UpstreamError::Tls(reason.to_owned())
        }
        Some(inner) => UpstreamError::Tls(inner.to_string()),
    }
}
