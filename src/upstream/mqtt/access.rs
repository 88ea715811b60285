//! Where to connect and as whom.

use rumqttc::{TlsConfiguration, Transport};

use crate::upstream::error::UpstreamError;
use crate::upstream::message::Message;
use crate::upstream::settings::{Endpoint, Login, MqttSettings, Secret};
use crate::upstream::tls;

/// An endpoint, ready to connect to; files and secrets were read just now.
pub(super) struct Access {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) transport: Transport,
    pub(super) login: Option<(String, String)>,
    pub(super) will: Option<Message>,
}

impl Access {
    pub(super) fn new(
        settings: &MqttSettings,
        endpoint: usize,
        will: Option<Message>,
    ) -> Result<Self, UpstreamError> {
        let count = settings.endpoints.len().max(1);
        let Some(endpoint) = settings.endpoints.get(endpoint % count) else {
            return Err(UpstreamError::Connection("no broker is named".to_owned()));
        };
        Self::to(endpoint, settings.login.as_ref(), will)
    }

    /// Access to one endpoint.
    pub(super) fn to(
        Endpoint { host, port, tls }: &Endpoint,
        login: Option<&Login>,
        will: Option<Message>,
    ) -> Result<Self, UpstreamError> {
        let transport = match tls {
            None => Transport::Tcp,
            Some(tls) => Transport::Tls(TlsConfiguration::Rustls(tls::client_config(tls)?)),
        };
        let login = login.map(read_login).transpose()?;
        Ok(Self {
            // The library joins host and port with a colon.
            host: match (host.contains(':'), tls) {
                (true, None) => format!("[{host}]"),
                _ => host.clone(),
            },
            port: *port,
            transport,
            login,
            will,
        })
    }
}

fn read_login(login: &Login) -> Result<(String, String), UpstreamError> {
    let password = login.password.as_ref().map(Secret::read).transpose()?;
    Ok((login.username.clone(), password.unwrap_or_default()))
}
