//! Where to connect and as whom.

use std::time::Duration;

use lapin::uri::{
    AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo, SASLMechanism,
};

use crate::upstream::error::UpstreamError;
use crate::upstream::settings::{AmqpSettings, Endpoint, Login};

/// Largest frame in bytes. The library keeps buffers of 32 frames for each direction; larger messages take several.
const FRAME_MAX: u32 = 16 * 1024;

pub(super) fn uri(settings: &AmqpSettings, endpoint: &Endpoint) -> Result<AMQPUri, UpstreamError> {
    let AmqpSettings {
        vhost,
        login,
        keep_alive,
        external,
        ..
    } = settings;
    let mut uri = uri_of(endpoint, vhost, login.as_ref(), *keep_alive)?;
    uri.query.auth_mechanism = external.then_some(SASLMechanism::External);
    Ok(uri)
}

pub(super) fn uri_of(
    endpoint: &Endpoint,
    vhost: &str,
    login: Option<&Login>,
    keep_alive: Duration,
) -> Result<AMQPUri, UpstreamError> {
    let (username, password) = match login {
        None => ("guest".to_owned(), "guest".to_owned()),
        Some(Login { username, password }) => {
            let password = password.as_ref().map(|secret| secret.read()).transpose()?;
            (username.clone(), password.unwrap_or_default())
        }
    };
    let heartbeat = keep_alive.as_secs().clamp(1, u16::MAX.into());
    Ok(AMQPUri {
        // The stream comes open, encrypted where that is wanted.
        scheme: AMQPScheme::AMQP,
        authority: AMQPAuthority {
            userinfo: AMQPUserInfo { username, password },
            host: endpoint.host.clone(),
            port: endpoint.port,
        },
        vhost: vhost.to_owned(),
        query: AMQPQueryString {
            frame_max: Some(FRAME_MAX),
            heartbeat: u16::try_from(heartbeat).ok(),
            ..AMQPQueryString::default()
        },
    })
}
