//! `[upstream.NAME]` with `kind = "amqp"`.

mod declare;

use super::Site;
use super::broker::{self, Endpoints, Scheme};
use super::routes::{self, Use};
use crate::config::fields::Fields;
use crate::config::log::Finding;
use crate::forward::route::Template;
use crate::forward::settings::Routes;
use crate::upstream::settings::{AmqpSettings, Endpoint, Unroutable};

/// The keys read here.
pub(super) const KEYS: &[&str] = &[
    "exchange",
    "routing_key",
    "event_routing_key",
    "describe_routing_key",
    "unroutable",
    "unroutable_after",
    "declare",
    "auth",
];

pub(super) const SCHEME: Scheme = Scheme {
    plain: ("amqp", 5672),
    tls: ("amqps", 5671),
    path: true,
};

/// Reads the connection, exchange and routing keys.
pub(super) fn read(
    fields: &Fields<'_>,
    name: &str,
    site: &Site<'_>,
    scans: Use,
    devices: &[String],
) -> Option<(AmqpSettings, Routes)> {
    let endpoints =
        broker::read_endpoints(fields, site.host, &SCHEME).and_then(|all| split(fields, all));
    let login = broker::read_login(fields, site.host);
    let external = read_external(fields);
    let waits = broker::read_waits(fields);
    let unroutable = read_unroutable(fields);
    if !fields.has("exchange") {
        let mend = "write exchange = \"NAME\"; \"\" is the broker's default exchange, whose routing keys are queue names";
        fields.missing("exchange", mend);
    }
    let exchange = routes::read(fields, "exchange", "", Use::All, site, devices);
    let key = |key, default, used| {
        let template = routes::read(fields, key, default, used, site, devices)?;
        check_key(fields, key, &template).then_some(template)
    };
    let scan = key("routing_key", "forebay.{gateway}.{device}.{scan}", scans);
    let event = key("event_routing_key", "forebay.{gateway}.event", Use::Event);
    let describe = key(
        "describe_routing_key",
        "forebay.{gateway}.{device}.describe",
        Use::Describe,
    );
    let declare = declare::read(fields, name, site);
    let (endpoints, vhost) = endpoints?;
    if external && endpoints.iter().any(|endpoint| endpoint.tls.is_none()) {
        let reason = "auth = \"external\" needs TLS: nobody shows a certificate without";
        let finding = Finding::error(fields.at("url"), reason);
        fields
            .log
            .push(finding.mend("write amqps:// in place of amqp://"));
    }
    let settings = AmqpSettings {
        endpoints,
        vhost,
        login,
        external,
        declare: declare?,
        unroutable,
        inflight: waits.inflight,
        keep_alive: waits.keep_alive,
        ack_timeout: waits.ack_timeout,
    };
    let routes = Routes {
        exchange: exchange?,
        scan: scan?,
        event: event?,
        describe: describe?,
        status: None,
    };
    Some((settings, routes))
}

/// Whether the client certificate says who we are (SASL EXTERNAL), in place of user and password.
fn read_external(fields: &Fields<'_>) -> bool {
    let mechanisms = [("plain", false), ("external", true)];
    let external = fields.choice("auth", &mechanisms).unwrap_or(false);
    if external {
        for key in ["username", "password"] {
            let reason = "with auth = \"external\" the client certificate says who the gateway is";
            fields.refuse(key, reason, "remove it, or write auth = \"plain\"");
        }
        let certificate = fields.fields("tls").is_some_and(|tls| tls.has("cert"));
        if !certificate {
            let reason = "auth = \"external\" needs a client certificate";
            let finding = Finding::error(fields.at("auth"), reason);
            fields
                .log
                .push(finding.mend("add tls = { cert = \"FILE.pem\", key = \"FILE.pem\" }"));
        }
    }
    external
}

/// Endpoints and virtual host: the same one on all of them.
fn split(fields: &Fields<'_>, (endpoints, paths): Endpoints) -> Option<(Vec<Endpoint>, String)> {
    let mut vhosts = Vec::new();
    for (path, span) in paths {
        match virtual_host(&path) {
            Some(vhost) => vhosts.push((vhost, span)),
            None => {
                let reason = format!("{path:?} is no virtual host");
                let finding = Finding::error(span, reason);
                fields
                    .log
                    .push(finding.mend("write it behind the port; a slash in it is %2F"));
            }
        }
    }
    let (first, _) = vhosts.first()?.clone();
    if let Some((other, span)) = vhosts.iter().find(|(vhost, _)| *vhost != first) {
        let reason = format!("one URL has the virtual host {first:?}, this one {other:?}");
        let finding = Finding::error(*span, reason);
        fields
            .log
            .push(finding.mend("the brokers of one upstream serve the same virtual host"));
    }
    Some((endpoints, first))
}

/// The virtual host that the path of a URL names: "/" where it is empty.
pub(super) fn virtual_host(path: &str) -> Option<String> {
    match percent_decode(path)? {
        vhost if vhost.is_empty() => Some("/".to_owned()),
        vhost => Some(vhost),
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
            }
            b'/' => return None,
            other => other,
        };
        bytes.push(decoded);
    }
    String::from_utf8(bytes).ok()
}

/// A routing key is a short string: at most 255 bytes (AMQP 0-9-1, 4.2.5.3).
fn check_key(fields: &Fields<'_>, key: &'static str, template: &Template) -> bool {
    let length: usize = template.texts().map(str::len).sum();
    if length > 255 {
        let finding = Finding::error(fields.at(key), "a routing key has at most 255 bytes");
        fields.log.push(finding.mend("shorten it"));
    }
    length <= 255
}

fn read_unroutable(fields: &Fields<'_>) -> Unroutable {
    let words = [("wait", false), ("dead-letter", true)];
    let dead_letter = fields.choice("unroutable", &words).unwrap_or(false);
    let after = fields.integer("unroutable_after", 1..=1_000_000_u32);
    if dead_letter {
        return Unroutable::DeadLetter(after.unwrap_or(10));
    }
    if fields.has("unroutable_after") {
        let reason = "`unroutable_after` counts the returns until a record becomes a dead letter";
        fields.refuse(
            "unroutable_after",
            reason,
            "add unroutable = \"dead-letter\", or remove it",
        );
    }
    Unroutable::Wait
}
