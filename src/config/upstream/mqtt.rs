//! `[upstream.NAME]` with `kind = "mqtt"`.

use super::Site;
use super::broker::{self, Scheme};
use super::routes::{self, Use};
use crate::config::fields::Fields;
use crate::config::log::Finding;
use crate::forward::route::Template;
use crate::forward::settings::Routes;
use crate::upstream::settings::{MqttSettings, MqttVersion, Qos};

/// The keys read here.
pub(super) const KEYS: &[&str] = &[
    "version",
    "client_id",
    "topic",
    "event_topic",
    "describe_topic",
    "status_topic",
    "qos",
];

pub(super) const SCHEME: Scheme = Scheme {
    plain: ("mqtt", 1883),
    tls: ("mqtts", 8883),
    path: false,
};

/// Reads the connection and the topics.
pub(super) fn read(
    fields: &Fields<'_>,
    name: &str,
    site: &Site<'_>,
    scans: Use,
    devices: &[String],
) -> Option<(MqttSettings, Routes)> {
    let endpoints = broker::read_endpoints(fields, site.host, &SCHEME);
    let login = broker::read_login(fields, site.host);
    let waits = broker::read_waits(fields);
    let versions = [("5", MqttVersion::V5), ("3.1.1", MqttVersion::V3)];
    let version = fields
        .choice("version", &versions)
        .unwrap_or(MqttVersion::V5);
    let qos = read_qos(fields);
    if version == MqttVersion::V3 && qos == Some(Qos::AtLeastOnce) {
        let reason = "MQTT 3.1.1 has no failure code in its acknowledgement: a record that the broker refuses counts as delivered";
        let mend = "use version = \"5\" where the broker has it";
        fields
            .log
            .push(Finding::warning(fields.at("version"), reason).mend(mend));
    }
    if version == MqttVersion::V3 {
        let reason = "MQTT 3.1.1 has no message expiry";
        fields.refuse(
            "message_expiry",
            reason,
            "use version = \"5\", or remove it",
        );
    }
    let client_id = read_client_id(fields, name, site);
    let topic = |key, default, used| {
        let template = routes::read(fields, key, default, used, site, devices)?;
        check_topic(fields, key, &template).then_some(template)
    };
    let scan = topic("topic", "forebay/{gateway}/{device}/{scan}", scans);
    let event = topic("event_topic", "forebay/{gateway}/event", Use::Event);
    let describe = topic(
        "describe_topic",
        "forebay/{gateway}/{device}/describe",
        Use::Describe,
    );
    let status = match fields.has("status_topic") {
        false => {
            fields.entry("status_topic");
            Some(None)
        }
        true => topic("status_topic", "", Use::Connection).map(Some),
    };
    let settings = MqttSettings {
        endpoints: endpoints?.0,
        version,
        client_id: client_id?,
        login,
        qos: qos?,
        inflight: waits.inflight,
        keep_alive: waits.keep_alive,
        ack_timeout: waits.ack_timeout,
    };
    let routes = Routes {
        exchange: Template::parse("").ok()?,
        scan: scan?,
        event: event?,
        describe: describe?,
        status: status?,
    };
    Some((settings, routes))
}

fn read_qos(fields: &Fields<'_>) -> Option<Qos> {
    if !fields.has("qos") {
        fields.entry("qos");
        return Some(Qos::AtLeastOnce);
    }
    match fields.integer("qos", 0..=2_u8)? {
        0 => {
            let reason = "at most once: with qos = 0 no broker acknowledges, and what a broken link swallows is gone";
            let mend = "use qos = 1, unless that is meant";
            fields
                .log
                .push(Finding::warning(fields.at("qos"), reason).mend(mend));
            Some(Qos::AtMostOnce)
        }
        1 => Some(Qos::AtLeastOnce),
        _ => {
            let reason = "qos = 2 is not offered: it costs a second round trip a message, and ends at the broker, \
                          while `stream` and `seq` let every consumer tell duplicates";
            let mend = "use qos = 1";
            fields
                .log
                .push(Finding::error(fields.at("qos"), reason).mend(mend));
            None
        }
    }
}

fn read_client_id(fields: &Fields<'_>, name: &str, site: &Site<'_>) -> Option<String> {
    let template = routes::read(
        fields,
        "client_id",
        "{gateway}-{upstream}",
        Use::Connection,
        site,
        &[],
    )?;
    let text = fields.text("client_id").unwrap_or("{gateway}-{upstream}");
    drop(template);
    let id = text
        .replace("{gateway}", site.gateway)
        .replace("{upstream}", name);
    if id.is_empty() || id.len() > usize::from(u16::MAX) {
        let finding = Finding::error(fields.at("client_id"), "a client id has 1 to 65,535 bytes");
        fields
            .log
            .push(finding.mend("remove it: the default is \"{gateway}-{upstream}\""));
        return None;
    }
    Some(id)
}

/// The rules of topic names (MQTT 5.0, 4.7); what placeholders stand for is escaped.
fn check_topic(fields: &Fields<'_>, key: &'static str, template: &Template) -> bool {
    let literal: String = template.texts().collect();
    let reason = if literal.contains(['+', '#', '\0']) {
        "a topic to publish to has no `+`, `#` or NUL"
    } else if literal.len() > 16_384 {
        "the topic is too long"
    } else if template.texts().next().is_none() && template.placeholders().next().is_none() {
        "a topic must not be empty"
    } else if literal.starts_with('$') {
        "topics that begin with `$` belong to the broker"
    } else {
        return true;
    };
    let finding = Finding::error(fields.at(key), reason);
    fields
        .log
        .push(finding.mend("write it as in \"plant/{gateway}/{device}/{scan}\""));
    false
}
