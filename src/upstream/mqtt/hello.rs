//! What a client says of itself when it connects.

use std::time::Duration;

use crate::upstream::error::UpstreamError;
use crate::upstream::message::Message;
use crate::upstream::settings::{Login, MqttSettings, Secret};

/// Who connects; secrets were read just now.
pub(super) struct Hello {
    pub(super) client_id: String,
    /// The broker is to forget what it kept for this client.
    pub(super) clean: bool,
    pub(super) keep_alive: Duration,
    pub(super) login: Option<(String, String)>,
    pub(super) will: Option<Message>,
}

impl Hello {
    /// With a clean session: what was not acknowledged is the forwarder's to send again.
    pub(super) fn new(
        settings: &MqttSettings,
        will: Option<Message>,
    ) -> Result<Self, UpstreamError> {
        Ok(Self {
            client_id: settings.client_id.clone(),
            clean: true,
            keep_alive: settings.keep_alive,
            login: settings.login.as_ref().map(read_login).transpose()?,
            will,
        })
    }

    /// As the protocol has it: 16 bits of seconds, and zero would be no signs of life at all.
    pub(super) fn keep_alive_seconds(&self) -> u16 {
        u16::try_from(self.keep_alive.as_secs())
            .unwrap_or(u16::MAX)
            .max(1)
    }
}

/// User and password.
pub(super) fn read_login(login: &Login) -> Result<(String, String), UpstreamError> {
    let password = login.password.as_ref().map(Secret::read).transpose()?;
    Ok((login.username.clone(), password.unwrap_or_default()))
}
