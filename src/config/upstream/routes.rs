//! Topics, exchanges and routing keys: templates whose placeholders stand for something wherever they are used.

use super::Site;
use crate::config::fields::Fields;
use crate::config::log::{Finding, Span};
use crate::config::suggest::did_you_mean;
use crate::forward::Filter;
use crate::forward::route::{Placeholder, Template, TemplateError};

/// What a template is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Scan,
    /// One reading of a scan.
    Point,
    Describe,
    /// Also events of the gateway itself, which have no device.
    Event,
    /// Every message: what is empty for one of them is empty.
    All,
    /// The connection, before any message.
    Connection,
}

impl Use {
    /// Why a placeholder stands for nothing here.
    fn lacks(self, placeholder: &Placeholder) -> Option<&'static str> {
        match (self, placeholder) {
            (_, Placeholder::Gateway | Placeholder::Upstream) => None,
            (Self::Point, Placeholder::Point) => None,
            (Self::Scan, Placeholder::Point) => {
                Some("a message carries a whole scan (message = \"point\" sends one a reading)")
            }
            (_, Placeholder::Point) => Some("only messages of scans carry points"),
            (
                _,
                Placeholder::Label {
                    otherwise: Some(_), ..
                },
            ) if self != Self::Connection => None,
            (Self::Scan | Self::Point, _) => None,
            (Self::Describe, Placeholder::Scan) => Some("a description is of all scan classes"),
            (Self::Describe, _) => None,
            (Self::Event, Placeholder::Scan) => Some("an event is of no scan class"),
            (Self::Event, _) => Some("events of the gateway itself have no device"),
            (Self::All, _) => Some("events go there too, and those of the gateway have no device"),
            (Self::Connection, _) => Some("one connection carries all devices"),
        }
    }
}

/// Reads a template, or takes the default, and checks what it stands for.
pub(super) fn read(
    fields: &Fields<'_>,
    key: &'static str,
    default: &str,
    used: Use,
    site: &Site<'_>,
    devices: &[String],
) -> Option<Template> {
    let text = match fields.entry(key) {
        Some(_) => fields.text(key)?,
        None => default,
    };
    let span = fields.at(key);
    let template = match Template::parse(text) {
        Ok(template) => template,
        Err(error) => {
            refuse(fields, text, span, &error);
            return None;
        }
    };
    for placeholder in template.placeholders() {
        let shown = show(placeholder);
        let at = text.find(&shown);
        let span = at.map_or(span, |at| {
            fields.log.within_text(span, text, at, shown.len())
        });
        if let Some(reason) = used.lacks(placeholder) {
            let reason = format!("{shown} is empty in `{key}`: {reason}");
            fields
                .log
                .push(Finding::error(span, reason).mend(mend_of(used)));
        } else if let Placeholder::Label { key, otherwise } = placeholder {
            check_label(fields, span, key, otherwise.as_deref(), site, devices);
        }
    }
    Some(template)
}

fn mend_of(used: Use) -> &'static str {
    match used {
        Use::Scan => "use {device} and {scan}; the points are in the message",
        Use::Point => "use {device}, {scan} and {point}",
        Use::Describe => "use {gateway}, {upstream}, {line}, {device} or {label.NAME}",
        Use::Event | Use::All => "use {gateway}, {upstream} or {label.NAME|text}",
        Use::Connection => "use {gateway} and {upstream}",
    }
}

fn show(placeholder: &Placeholder) -> String {
    match placeholder {
        Placeholder::Gateway => "{gateway}".to_owned(),
        Placeholder::Upstream => "{upstream}".to_owned(),
        Placeholder::Line => "{line}".to_owned(),
        Placeholder::Device => "{device}".to_owned(),
        Placeholder::Scan => "{scan}".to_owned(),
        Placeholder::Point => "{point}".to_owned(),
        Placeholder::Label {
            key,
            otherwise: None,
        } => format!("{{label.{key}}}"),
        Placeholder::Label {
            key,
            otherwise: Some(text),
        } => format!("{{label.{key}|{text}}}"),
    }
}

/// A label must stand for something with every device whose records go there.
fn check_label(
    fields: &Fields<'_>,
    span: Span,
    key: &str,
    otherwise: Option<&str>,
    site: &Site<'_>,
    devices: &[String],
) {
    if otherwise.is_some_and(|text| !text.is_empty()) {
        return;
    }
    let filter = Filter::new(devices.to_vec());
    let without: Vec<_> = site
        .devices
        .iter()
        .filter(|device| filter.admits_device(&device.name))
        .filter(|device| {
            !device
                .labels
                .iter()
                .any(|(label, text)| label == key && !text.is_empty())
        })
        .collect();
    let Some(first) = without.first() else {
        return;
    };
    let others = match without.len() {
        1 => String::new(),
        2 => " and one other".to_owned(),
        n => format!(" and {} others", n - 1),
    };
    let reason = format!(
        "{{label.{key}}} is empty for device `{}`{others}",
        first.name
    );
    let mend = format!("add {key} to its labels, or write {{label.{key}|none}}");
    let finding = Finding::error(span, reason).also(first.span, "the device");
    fields.log.push(finding.mend(mend));
}

fn refuse(fields: &Fields<'_>, text: &str, span: Span, error: &TemplateError) {
    let mend = match error {
        TemplateError::Unknown { name, .. } => {
            let known = [
                "gateway", "upstream", "line", "device", "scan", "point", "label.",
            ];
            match did_you_mean(name, known.into_iter()) {
                Some(near) => format!("did you mean {{{near}}}?"),
                None => {
                    "labels are {label.NAME}, or {label.NAME|text} with a text for devices without"
                        .to_owned()
                }
            }
        }
        TemplateError::Open { .. } | TemplateError::Close { .. } => {
            "write placeholders as {device}".to_owned()
        }
    };
    let (at, length) = match error {
        TemplateError::Unknown { at, name } => (*at, name.len() + 2),
        TemplateError::Open { at } | TemplateError::Close { at } => (*at, 1),
    };
    let span = fields.log.within_text(span, text, at, length);
    fields
        .log
        .push(Finding::error(span, error.to_string()).mend(mend));
}
