//! `[upstream.NAME]`.

mod amqp;
mod broker;
mod delivery;
mod mqtt;
mod routes;
mod url;

pub use url::BrokerUrl;

use std::time::Duration;

use super::device::Labelled;
use super::fields::Fields;
use super::host::Host;
use super::log::{Finding, Span};
use crate::forward::Filter;
use crate::forward::settings::{ForwarderSettings, Pace, Start};
use crate::payload::settings::{CodecKind, MessageKind, PayloadSettings};
use crate::reading::Name;
use crate::upstream::settings::{MqttSettings, UpstreamSettings};

/// Brokers count in seconds.
const LEAST_EXPIRY: Duration = Duration::from_secs(1);
/// RabbitMQ takes up to 2^32 milliseconds.
const MOST_EXPIRY: Duration = Duration::from_secs(30 * 86_400);

/// What an upstream's tables are read against.
pub(super) struct Site<'a> {
    pub(super) host: &'a dyn Host,
    pub(super) gateway: &'a str,
    /// The devices.
    pub(super) devices: &'a [Labelled],
}

/// An upstream and where it is named.
pub(super) struct Upstream {
    pub(super) settings: ForwarderSettings,
    /// Where its client id is given, or else its name.
    pub(super) client_span: Span,
}

impl Upstream {
    /// Its connection, where it is MQTT.
    pub(super) fn mqtt(&self) -> Option<&MqttSettings> {
        match &self.settings.upstream {
            UpstreamSettings::Mqtt(mqtt) => Some(mqtt),
            UpstreamSettings::Amqp(_) => None,
        }
    }
}

/// Reads an upstream; `None` where it cannot be used, which is logged.
pub(super) fn read(fields: &Fields<'_>, name: Option<Name>, site: &Site<'_>) -> Option<Upstream> {
    let kind = match fields.entry("kind") {
        Some(_) => fields.choice("kind", &[("mqtt", true), ("amqp", false)]),
        None => {
            fields.missing("kind", "write kind = \"mqtt\" or \"amqp\"");
            None
        }
    };
    let devices = read_devices(fields, site);
    let payload = read_payload(fields);
    let (delivery, historical_after) = delivery::read(fields);
    let expiry = fields.duration("message_expiry", LEAST_EXPIRY..=MOST_EXPIRY);
    let start = fields.choice(
        "start",
        &[("newest", Start::Newest), ("oldest", Start::Oldest)],
    );
    let Some(kind) = kind else {
        know_both(fields);
        fields.finish();
        return None;
    };
    let scans = match payload.message {
        MessageKind::Scan => routes::Use::Scan,
        MessageKind::Point => routes::Use::Point,
    };
    let name_text = name.as_ref().map_or("upstream", Name::as_str);
    let parts = if kind {
        mqtt::read(fields, name_text, site, scans, &devices)
            .map(|(settings, routes)| (UpstreamSettings::Mqtt(settings), routes))
    } else {
        amqp::read(fields, name_text, site, scans, &devices)
            .map(|(settings, routes)| (UpstreamSettings::Amqp(settings), routes))
    };
    fields.finish();
    let (upstream, routes) = parts?;
    Some(Upstream {
        settings: ForwarderSettings {
            name: name?,
            gateway: site.gateway.to_owned(),
            upstream,
            payload,
            routes,
            devices,
            start: start.unwrap_or(Start::Newest),
            historical_after,
            expiry,
            delivery,
            pace: Pace::default(),
        },
        client_span: fields.at("client_id"),
    })
}

/// Without a kind, the keys of both are known.
fn know_both(fields: &Fields<'_>) {
    for key in mqtt::KEYS.iter().chain(amqp::KEYS).chain(broker::KEYS) {
        fields.entry(key);
    }
}

fn read_devices(fields: &Fields<'_>, site: &Site<'_>) -> Vec<String> {
    let Some(patterns) = fields.texts("devices") else {
        return vec!["*".to_owned()];
    };
    for (pattern, span) in &patterns {
        let filter = Filter::new(vec![(*pattern).to_owned()]);
        if !site
            .devices
            .iter()
            .any(|device| filter.admits_device(&device.name))
        {
            let reason = format!("no device is named like {pattern:?}");
            let mend = "`*` stands for any text, `?` for one character";
            fields.log.push(Finding::warning(*span, reason).mend(mend));
        }
    }
    if patterns.is_empty() {
        let finding = Finding::error(fields.at("devices"), "the list of devices is empty");
        fields
            .log
            .push(finding.mend("remove the key to send all devices"));
    }
    patterns
        .into_iter()
        .map(|(pattern, _)| pattern.to_owned())
        .collect()
}

fn read_payload(fields: &Fields<'_>) -> PayloadSettings {
    let codec = fields.choice("payload", &[("json", CodecKind::Json)]);
    let integers = fields.choice("integers", &[("number", false), ("text", true)]);
    let messages = [("scan", MessageKind::Scan), ("point", MessageKind::Point)];
    let message = fields.choice("message", &messages);
    PayloadSettings {
        codec: codec.unwrap_or(CodecKind::Json),
        integers_as_text: integers.unwrap_or(false),
        message: message.unwrap_or_default(),
    }
}
