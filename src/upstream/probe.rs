//! The way to a broker, step by step: name, connection, TLS, consent, one message. For whoever wants to know why it does
//! not work.

mod certificate;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ProtocolVersion};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::Connection;
use super::error::UpstreamError;
use super::message::{Answer, Assurance, Incoming, Message};
use super::settings::{Endpoint, TlsSettings, UpstreamSettings};
use super::tls;

/// A step on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The name has addresses.
    Resolve,
    /// One of them takes a TCP connection.
    Connect,
    /// TLS: the broker proves who it is.
    Tls,
    /// The broker lets us in.
    Open,
    /// It acknowledges a message.
    Confirm,
}

/// A step that was tried.
#[derive(Debug)]
pub struct Tried {
    /// Which.
    pub step: Step,
    /// How long it took.
    pub took: Duration,
    /// What came of it.
    pub outcome: Result<Found, Failure>,
}

/// What a step found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The name's addresses.
    Addresses(Vec<IpAddr>),
    /// The address that took the connection.
    Peer(SocketAddr),
    /// TLS is up.
    Secured {
        /// The protocol is TLS 1.3, not 1.2.
        modern: bool,
        /// How many certificates the broker showed.
        chain: usize,
        /// The end of the one that ends first, seconds since 1970.
        not_after: Option<i64>,
    },
    /// The broker let us in; most messages that may be out, where it told.
    Opened(Option<u16>),
    /// What the answer to the message assures.
    Answered(Assurance),
}

/// Why a step failed.
#[derive(Debug)]
pub enum Failure {
    /// Nothing came within the time.
    Silence(Duration),
    /// The network said so.
    Network(std::io::Error),
    /// The broker's certificate, and the reason.
    Certificate(Distrust, String),
    /// What the connection said.
    Upstream(UpstreamError),
    /// The broker did not take the message.
    Answer(Answer),
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Distrust {
    /// Nobody we trust has signed it.
    Issuer,
    /// It has expired, or is not valid yet.
    Time,
    /// It is for another name.
    Name,
    /// Something else.
    Other,
}

/// Goes the way to the endpoint of this index, and hands each step to `tell` as it is done; ends with the first that
/// fails. Each takes `limit` at most. `message` is sent when it comes to that.
pub async fn probe(
    settings: &UpstreamSettings,
    endpoint: usize,
    message: Message,
    limit: Duration,
    mut tell: impl FnMut(Tried),
) {
    let Some(place) = settings.endpoints().get(endpoint) else {
        return;
    };
    let mut probe = Probe {
        limit,
        tell: &mut tell,
    };
    let Some(addresses) = probe.step(Step::Resolve, resolve(place)).await else {
        return;
    };
    let Some(stream) = probe.step(Step::Connect, connect(addresses)).await else {
        return;
    };
    if let Some(tls) = &place.tls
        && probe
            .step(Step::Tls, secure(place, tls, stream))
            .await
            .is_none()
    {
        return;
    }
    let opened = probe.step(Step::Open, open(settings, endpoint)).await;
    let Some(mut connection) = opened else {
        return;
    };
    probe
        .step(Step::Confirm, confirm(&mut connection, message))
        .await;
    connection.close().await;
}

struct Probe<'a, T: FnMut(Tried)> {
    limit: Duration,
    tell: &'a mut T,
}

impl<T: FnMut(Tried)> Probe<'_, T> {
    /// Tells a step, and gives what the next one needs.
    async fn step<V>(
        &mut self,
        step: Step,
        work: impl Future<Output = Result<(Found, V), Failure>>,
    ) -> Option<V> {
        let start = Instant::now();
        let done = timeout(self.limit, work).await;
        let took = start.elapsed();
        let (outcome, value) = match done {
            Ok(Ok((found, value))) => (Ok(found), Some(value)),
            Ok(Err(failure)) => (Err(failure), None),
            Err(_) => (Err(Failure::Silence(self.limit)), None),
        };
        (self.tell)(Tried {
            step,
            took,
            outcome,
        });
        value
    }
}

async fn resolve(place: &Endpoint) -> Result<(Found, Vec<SocketAddr>), Failure> {
    let found = lookup_host((place.host.as_str(), place.port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(Failure::Network)?.collect();
    let ips = addresses.iter().map(SocketAddr::ip).collect();
    Ok((Found::Addresses(ips), addresses))
}

/// The first address that takes a connection, as the daemon does it; the last one's reason where none does.
async fn connect(addresses: Vec<SocketAddr>) -> Result<(Found, TcpStream), Failure> {
    let stream = TcpStream::connect(&*addresses)
        .await
        .map_err(Failure::Network)?;
    let peer = stream.peer_addr().map_err(Failure::Network)?;
    Ok((Found::Peer(peer), stream))
}

async fn secure(
    place: &Endpoint,
    settings: &TlsSettings,
    stream: TcpStream,
) -> Result<(Found, ()), Failure> {
    let config = tls::client_config(settings).map_err(Failure::Upstream)?;
    let name = ServerName::try_from(place.host.clone()).map_err(|_| {
        let reason = format!("{:?} is no host name", place.host);
        Failure::Upstream(UpstreamError::Tls(reason))
    })?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    let stream = connected.map_err(|error| {
        let inner = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match inner {
            Some(inner) => distrust(inner),
            None => Failure::Network(error),
        }
    })?;
    let (_, session) = stream.get_ref();
    let chain = session.peer_certificates().unwrap_or_default();
    let found = Found::Secured {
        modern: session.protocol_version() == Some(ProtocolVersion::TLSv1_3),
        chain: chain.len(),
        not_after: chain
            .iter()
            .filter_map(|der| certificate::not_after(der))
            .min(),
    };
    Ok((found, ()))
}

fn distrust(error: &rustls::Error) -> Failure {
    let rustls::Error::InvalidCertificate(reason) = error else {
        return Failure::Upstream(UpstreamError::Tls(error.to_string()));
    };
    use CertificateError as Reason;
    let kind = match reason {
        Reason::UnknownIssuer | Reason::BadSignature => Distrust::Issuer,
        Reason::Expired
        | Reason::ExpiredContext { .. }
        | Reason::NotValidYet
        | Reason::NotValidYetContext { .. } => Distrust::Time,
        Reason::NotValidForName | Reason::NotValidForNameContext { .. } => Distrust::Name,
        _ => Distrust::Other,
    };
    Failure::Certificate(kind, reason.to_string())
}

async fn open(
    settings: &UpstreamSettings,
    endpoint: usize,
) -> Result<(Found, Connection), Failure> {
    let opened = Connection::open(settings, endpoint, None).await;
    let opened = opened.map_err(Failure::Upstream)?;
    Ok((Found::Opened(opened.max_out()), opened))
}

async fn confirm(connection: &mut Connection, message: Message) -> Result<(Found, ()), Failure> {
    let assurance = connection.assurance();
    connection.submit(message).map_err(Failure::Upstream)?;
    loop {
        match connection.next().await.map_err(Failure::Upstream)? {
            Incoming::Answer(_, Answer::Confirmed | Answer::Sent) => {
                return Ok((Found::Answered(assurance), ()));
            }
            Incoming::Answer(_, answer) => return Err(Failure::Answer(answer)),
            // It may take messages again before the time is over.
            Incoming::Blocked(_) | Incoming::Unblocked => {}
        }
    }
}
