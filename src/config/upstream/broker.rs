//! What all brokers have: URLs, TLS, user and password, window and waits.

use std::time::Duration;

use crate::config::fields::{Fields, resolve};
use crate::config::host::Host;
use crate::config::library::why_unreadable;
use crate::config::line::split_address;
use crate::config::log::{Finding, Span};
use crate::config::tree::Value;
use crate::upstream::settings::{Endpoint, Login, Secret, TlsSettings};

/// The keys read here.
pub(super) const KEYS: &[&str] = &[
    "url",
    "tls",
    "username",
    "password",
    "inflight",
    "keep_alive",
    "ack_timeout",
];

/// What a URL must look like.
pub(super) struct Scheme {
    pub(super) plain: (&'static str, u16),
    pub(super) tls: (&'static str, u16),
    /// Whether a path may follow the host.
    pub(super) path: bool,
}

/// The brokers, and the paths of their URLs with their places.
pub(super) type Endpoints = (Vec<Endpoint>, Vec<(String, Span)>);

/// Reads `url` and `tls`.
pub(super) fn read_endpoints(
    fields: &Fields<'_>,
    host: &dyn Host,
    scheme: &Scheme,
) -> Option<Endpoints> {
    let tls = read_tls(fields, host);
    if !fields.has("url") {
        fields.entry("url");
        fields.missing("url", format!("write url = \"{}://HOST\"", scheme.tls.0));
        return None;
    }
    let texts = fields.texts("url")?;
    if texts.is_empty() {
        let finding = Finding::error(fields.at("url"), "the list of URLs is empty");
        fields
            .log
            .push(finding.mend(format!("write url = \"{}://HOST\"", scheme.tls.0)));
    }
    let count = texts.len();
    let (mut endpoints, mut paths) = (Vec::new(), Vec::new());
    for (text, span) in texts {
        match parse_url(text, scheme) {
            Ok((host, port, secure, path)) => {
                endpoints.push(Endpoint {
                    host,
                    port,
                    tls: secure.then(|| tls.clone().unwrap_or_default()),
                });
                paths.push((path, span));
            }
            Err((reason, mend)) => fields.log.push(Finding::error(span, reason).mend(mend)),
        }
    }
    if tls.is_some() && endpoints.len() == count && endpoints.iter().all(|end| end.tls.is_none()) {
        let reason = format!(
            "`tls` has no effect: no URL begins with {}://",
            scheme.tls.0
        );
        let finding = Finding::warning(fields.at("tls"), reason);
        fields.log.push(finding.mend(format!(
            "write url = \"{}://…\", or remove `tls`",
            scheme.tls.0
        )));
    }
    (!endpoints.is_empty() && endpoints.len() == count).then_some((endpoints, paths))
}

/// Host, port, whether TLS is wanted, path.
pub(super) type Url = (String, u16, bool, String);

/// What a URL of this scheme says, or what is wrong and the mend.
pub(super) fn parse_url(text: &str, scheme: &Scheme) -> Result<Url, (String, String)> {
    let (plain, secure) = (scheme.plain.0, scheme.tls.0);
    let form = format!("write {plain}://HOST:PORT or {secure}://HOST:PORT");
    let Some((word, rest)) = text.split_once("://") else {
        return Err((format!("{text:?} is no URL"), form));
    };
    let (is_secure, default_port) = if word == plain {
        (false, scheme.plain.1)
    } else if word == secure {
        (true, scheme.tls.1)
    } else {
        return Err((format!("a URL cannot begin with {word:?} here"), form));
    };
    if rest.contains('@') {
        let mend =
            "write them as username and password, so that the password can be kept elsewhere";
        return Err((
            "user and password do not belong into the URL".to_owned(),
            mend.to_owned(),
        ));
    }
    let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
    if !path.is_empty() && !scheme.path || path.contains(['?', '#']) {
        return Err((format!("nothing may follow the port in {text:?}"), form));
    }
    let Some((host, port)) = split_address(address) else {
        return Err((format!("{address:?} is no HOST or HOST:PORT"), form));
    };
    Ok((
        host,
        port.unwrap_or(default_port),
        is_secure,
        path.to_owned(),
    ))
}

fn read_tls(fields: &Fields<'_>, host: &dyn Host) -> Option<TlsSettings> {
    let tls = fields.fields("tls")?;
    let ca = tls.path("ca");
    let (cert, key) = (tls.path("cert"), tls.path("key"));
    if tls.has("cert") != tls.has("key") {
        let (there, missing) = if tls.has("cert") {
            ("cert", "key")
        } else {
            ("key", "cert")
        };
        let reason = format!("`{there}` needs `{missing}`: both together prove who the gateway is");
        let finding = Finding::error(tls.at(there), reason);
        fields
            .log
            .push(finding.mend(format!("add {missing} = \"FILE.pem\"")));
    }
    for (key, path) in [("ca", &ca), ("cert", &cert), ("key", &key)] {
        if let Some(path) = path {
            check_readable(fields, host, path, tls.at(key));
        }
    }
    tls.finish();
    Some(TlsSettings {
        ca,
        identity: cert.zip(key),
    })
}

/// Files may come later (they are read at each connection), so a missing one is a warning.
fn check_readable(fields: &Fields<'_>, host: &dyn Host, path: &std::path::Path, span: Span) {
    let Err(error) = host.read(path) else { return };
    let path = path.display();
    fields
        .log
        .push(if error.kind() == std::io::ErrorKind::PermissionDenied {
            Finding::note(
                span,
                format!("not checked: {path} is not readable for this user"),
            )
            .mend("run the check as the user of the service")
        } else {
            Finding::warning(
                span,
                format!("{path} cannot be read: {}", why_unreadable(&error)),
            )
            .mend("correct the path, or put the file there before the start")
        });
}

/// Reads `username` and `password`.
pub(super) fn read_login(fields: &Fields<'_>, host: &dyn Host) -> Option<Login> {
    let username = fields.filled_text("username").map(str::to_owned);
    let password = fields
        .entry("password")
        .and_then(|_| read_secret(fields, host));
    if fields.has("password") && !fields.has("username") {
        let finding = Finding::error(fields.at("password"), "a password needs a user");
        fields.log.push(finding.mend("add username = \"…\""));
    }
    Some(Login {
        username: username?,
        password,
    })
}

const SECRET_MEND: &str =
    "write { credential = \"NAME\" } (systemd), { file = \"PATH\" } or { env = \"NAME\" }";

fn read_secret(fields: &Fields<'_>, host: &dyn Host) -> Option<Secret> {
    let span = fields.at("password");
    let entry = fields.entry("password")?;
    if let Value::Text(text) = &entry.node.value {
        let finding = Finding::warning(
            span,
            "the password stands in the configuration as plain text",
        );
        fields.log.push(finding.mend(SECRET_MEND));
        return Some(Secret::Plain(text.clone()));
    }
    let secret = fields.fields("password")?;
    let found = [
        secret
            .filled_text("credential")
            .map(|name| Secret::Credential(name.to_owned())),
        secret
            .filled_text("file")
            .map(|file| Secret::File(resolve(fields.log, secret.at("file"), file))),
        secret
            .filled_text("env")
            .map(|name| Secret::Env(name.to_owned())),
    ];
    secret.finish();
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(one), None) => {
            check_secret(fields, host, &one, span);
            Some(one)
        }
        (Some(_), Some(_)) => {
            let finding = Finding::error(span, "a password comes from one place");
            fields
                .log
                .push(finding.mend("keep one of credential, file and env"));
            None
        }
        (None, _) => {
            let finding = Finding::absence(span, "this does not say where the password is");
            fields.log.push(finding.mend(SECRET_MEND));
            None
        }
    }
}

fn check_secret(fields: &Fields<'_>, host: &dyn Host, secret: &Secret, span: Span) {
    let unchecked = |reason: String, mend: &str| {
        fields.log.push(Finding::note(span, reason).mend(mend));
    };
    match secret {
        Secret::Plain(_) => {}
        Secret::File(path) => check_readable(fields, host, path, span),
        Secret::Env(name) => {
            if host.variable(name).is_none() {
                let reason = format!("not checked: {name} is not set in this environment");
                unchecked(reason, "set it in the environment of the service");
            }
        }
        Secret::Credential(name) => match host.variable("CREDENTIALS_DIRECTORY") {
            None => {
                let reason =
                    format!("not checked: credential {name:?} exists only within the service");
                unchecked(
                    reason,
                    "the unit passes it on with LoadCredential or ImportCredential",
                );
            }
            Some(folder) => {
                let path = std::path::Path::new(&folder).join(name);
                if name.contains('/') || host.read(&path).is_err() {
                    let reason = format!("the service has no credential {name:?}");
                    let mend = format!("add LoadCredential={name}:FILE to the unit");
                    fields.log.push(Finding::error(span, reason).mend(mend));
                }
            }
        },
    }
}

/// Window and waits of a connection.
pub(super) struct Waits {
    pub(super) inflight: u16,
    pub(super) keep_alive: Duration,
    pub(super) ack_timeout: Duration,
}

/// Reads `inflight`, `keep_alive` and `ack_timeout`.
pub(super) fn read_waits(fields: &Fields<'_>) -> Waits {
    let inflight = fields.integer("inflight", 1..=u16::MAX);
    let (second, hour) = (Duration::from_secs(1), Duration::from_secs(3_600));
    let keep_alive = fields.duration("keep_alive", second * 5..=hour);
    let ack_timeout = fields.duration("ack_timeout", second..=hour);
    Waits {
        inflight: inflight.unwrap_or(100),
        keep_alive: keep_alive.unwrap_or(second * 30),
        ack_timeout: ack_timeout.unwrap_or(second * 30),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MQTT: Scheme = Scheme {
        plain: ("mqtt", 1883),
        tls: ("mqtts", 8883),
        path: false,
    };

    #[test]
    fn urls() {
        let url = |text| parse_url(text, &MQTT).map_err(|(reason, _)| reason);
        assert_eq!(
            url("mqtt://a"),
            Ok(("a".to_owned(), 1883, false, String::new()))
        );
        assert_eq!(
            url("mqtts://[::1]:1/"),
            Ok(("::1".to_owned(), 1, true, String::new()))
        );
        for wrong in [
            "",
            "a:1883",
            "http://a",
            "mqtt://",
            "mqtt://u:p@a",
            "mqtt://a/b",
            "mqtt://a:x",
        ] {
            assert!(url(wrong).is_err(), "{wrong}");
        }
    }
}
