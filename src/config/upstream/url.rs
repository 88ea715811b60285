//! The URL of a broker, without a configuration around it.

use super::broker::{Scheme, parse_url};
use super::{amqp, mqtt};

/// What a broker's URL says; user and password never stand in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokerUrl {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// TLS is wanted.
    pub secure: bool,
    /// The virtual host, where it is an AMQP broker; else MQTT.
    pub vhost: Option<String>,
}

impl BrokerUrl {
    /// Reads `mqtt://`, `mqtts://`, `amqp://` and `amqps://`.
    ///
    /// # Errors
    /// What is wrong, with the mend.
    pub fn parse(text: &str) -> Result<Self, String> {
        let is = |scheme: &Scheme| {
            let word = text.split_once("://").map(|(word, _)| word);
            word == Some(scheme.plain.0) || word == Some(scheme.tls.0)
        };
        let scheme = if is(&amqp::SCHEME) {
            &amqp::SCHEME
        } else {
            &mqtt::SCHEME
        };
        let (host, port, secure, path) =
            parse_url(text, scheme).map_err(|(reason, mend)| format!("{reason}: {mend}"))?;
        let vhost = if scheme.path {
            let vhost = amqp::virtual_host(&path);
            Some(
                vhost
                    .ok_or_else(|| format!("{path:?} is no virtual host: a slash in it is %2F"))?,
            )
        } else {
            None
        };
        Ok(Self {
            host,
            port,
            secure,
            vhost,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_of_both_kinds() {
        let parsed = |text: &str| {
            let url = BrokerUrl::parse(text)?;
            Ok::<_, String>((url.host, url.port, url.secure, url.vhost))
        };
        let vhost = |name: &str| Some(name.to_owned());
        assert_eq!(parsed("mqtt://a"), Ok(("a".to_owned(), 1883, false, None)));
        assert_eq!(
            parsed("mqtts://[::1]:1"),
            Ok(("::1".to_owned(), 1, true, None))
        );
        assert_eq!(
            parsed("amqp://a"),
            Ok(("a".to_owned(), 5672, false, vhost("/")))
        );
        assert_eq!(
            parsed("amqps://a/b%2Fc"),
            Ok(("a".to_owned(), 5671, true, vhost("b/c")))
        );
        for wrong in [
            "http://a",
            "mqtt://a/b",
            "mqtt://u:p@a",
            "amqp://a/%zz",
            "a",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }
}
