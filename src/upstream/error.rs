//! Why a connection failed, and what that means.

use super::settings::Endpoint;

/// What to do about a failed connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Connect again after a back-off.
    Reconnect,
    /// Somebody has to change something (password, permission, protocol version): alarm, and try again seldom.
    Stop,
}

/// A connection could not be made, or broke.
#[derive(Debug, Clone, thiserror::Error)]
pub enum UpstreamError {
    /// The name or address could not be reached.
    #[error("{0}")]
    Unreachable(String),
    /// The connection broke.
    #[error("{0}")]
    Connection(String),
    /// The broker gives no sign of life.
    #[error("{0}")]
    Silent(String),
    /// An answer did not come within its time.
    #[error("no answer within {1:?}: {0}")]
    Timeout(&'static str, std::time::Duration),
    /// A certificate or key could not be read, or TLS failed.
    #[error("TLS: {0}")]
    Tls(String),
    /// The secret could not be read.
    #[error("password: {0}")]
    Secret(String),
    /// The broker knows us not, or does not allow it.
    #[error("not authorised: {0}")]
    NotAuthorised(String),
    /// The broker takes no connection with these settings (protocol version, client id, quality of service).
    #[error("rejected by the broker: {0}")]
    Rejected(String),
    /// The broker ended the channel or connection over a message that it does not take.
    #[error("refused by the broker: {0}")]
    Refused(String),
    /// The broker broke the protocol, or closed with this reason.
    #[error("closed by the broker: {0}")]
    Closed(String),
}

impl UpstreamError {
    /// What to do about it.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::NotAuthorised(_) | Self::Rejected(_) => Verdict::Stop,
            _ => Verdict::Reconnect,
        }
    }

    /// Whether the other side ended the connection, so that a message may be the cause; not, where it fell silent.
    pub fn is_a_close(&self) -> bool {
        matches!(
            self,
            Self::Unreachable(_)
                | Self::Connection(_)
                | Self::Closed(_)
                | Self::Refused(_)
                | Self::NotAuthorised(_)
        )
    }

    /// The same; where a broker with TLS closed on us, and we have shown no certificate, with that as the likely reason. With
    /// TLS 1.3 it turns such clients away only after the handshake, often by a bare reset.
    pub(super) fn without_certificate(self, endpoint: &Endpoint) -> Self {
        match (self, &endpoint.tls) {
            (Self::Connection(reason), Some(tls)) if tls.identity.is_none() => Self::Tls(format!(
                "{reason}: does the broker want a client certificate (tls.cert, tls.key)?"
            )),
            (error, _) => error,
        }
    }

    /// The same; where the broker could not be reached, or broke off, with its place.
    pub(super) fn reaching(self, endpoint: &Endpoint) -> Self {
        let Endpoint { host, port, .. } = endpoint;
        match self {
            Self::Unreachable(reason) => Self::Unreachable(format!("{host}:{port}: {reason}")),
            Self::Connection(reason) => Self::Connection(format!("{host}:{port}: {reason}")),
            other => other,
        }
    }
}
