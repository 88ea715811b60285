//! One point of a map.

use std::collections::BTreeMap;

use super::codes::{Codes, read_names};
use super::invalid;
use super::raw_type::{self, type_name};
use super::transform::{self, Factor};
use crate::config::address;
use crate::config::fields::{Fields, name};
use crate::config::log::{Finding, Log, Span};
use crate::config::tree::{Entry, Node, Value};
use crate::field::modbus::map::{Bits, Names, Order, Point, RawType, Transform};
use crate::reading::Name;

/// What a map says for all its points.
#[derive(Debug, Clone, Default)]
pub(in crate::config) struct Defaults {
    pub(super) order: Order,
    pub(super) order64: Option<Order>,
    pub(super) address_base: u16,
    /// By the name of the type.
    pub(super) invalid: BTreeMap<String, Node>,
    pub(super) enums: BTreeMap<String, Codes>,
}

/// A point whose factor is known by name.
#[derive(Debug, Clone)]
pub(in crate::config) struct Draft {
    /// Complete but for `transform.scale`.
    pub(in crate::config) point: Point,
    pub(in crate::config) factor: Option<Factor>,
    /// The point's key.
    pub(in crate::config) span: Span,
}

/// Reads a point; `None` where it cannot be used, which is logged.
pub(in crate::config) fn read(log: &Log, entry: &Entry, defaults: &Defaults) -> Option<Draft> {
    let point_name = name(log, &entry.key, entry.key_span);
    let Value::Table(table) = &entry.node.value else {
        let reason = format!(
            "point `{}` must be a table, not {}",
            entry.key,
            entry.node.value.kind()
        );
        let mend = "write it as { holding = 0, type = \"u16\" }";
        log.push(Finding::error(entry.node.span, reason).mend(mend));
        return None;
    };
    let fields = Fields::new(log, table, entry.key_span, format!("point `{}`", entry.key));
    let point = read_fields(&fields, point_name, defaults);
    for (key, mend) in [
        ("write", "writing comes with commands"),
        ("step", "writing comes with commands"),
        ("frame", "frames belong to serial maps"),
        ("pattern", "patterns belong to serial maps"),
        ("at", "byte positions belong to serial maps"),
        ("signs", "signs belong to serial maps"),
    ] {
        fields.not_yet(key, mend);
    }
    fields.finish();
    point
}

fn read_fields(fields: &Fields<'_>, name: Option<Name>, defaults: &Defaults) -> Option<Draft> {
    let place = address::read(fields, defaults.address_base);
    let scan = match fields.entry("scan") {
        Some(_) => fields.name("scan"),
        None => Name::new("default").ok(),
    };
    let send = fields.bool("send").unwrap_or(true);
    let title = fields.filled_text("title").map(str::to_owned);
    let unit = fields.filled_text("unit").map(str::to_owned);
    let kind = transform::read_kind(fields);
    let Some(raw) = place.and_then(|(table, ..)| raw_type::read(fields, table)) else {
        know_the_rest(fields);
        return None;
    };
    let order = raw_type::order_of(fields, &raw, defaults.order, defaults.order64);
    let (transform, factor) = read_transform(fields, &raw, defaults);
    let numeric = is_numeric(&raw, transform.bits, transform.names.as_ref());
    let report = transform::read_report(fields, numeric);
    if !numeric && kind != crate::reading::PointKind::Gauge {
        fields.refuse("kind", "a counter is a number", "remove `kind`");
    }
    let (table, address, span) = place?;
    check_extent(fields, address, &raw, span);
    Some(Draft {
        point: Point {
            name: name?,
            table,
            address,
            raw,
            order,
            transform,
            scan: scan?,
            send,
            title,
            unit,
            kind,
            report,
        },
        factor,
        span: fields.span,
    })
}

/// Without a type nothing else can be judged, but none of it is unknown.
fn know_the_rest(fields: &Fields<'_>) {
    for key in [
        "type",
        "byte",
        "length",
        "form",
        "zone",
        "order",
        "invalid",
        "bit",
        "bits",
        "scale",
        "offset",
        "enum",
        "flags",
        "min",
        "max",
        "deadband",
        "on_change",
        "heartbeat",
    ] {
        fields.entry(key);
    }
}

fn read_transform(
    fields: &Fields<'_>,
    raw: &RawType,
    defaults: &Defaults,
) -> (Transform, Option<Factor>) {
    let invalid = match fields.entry("invalid") {
        Some(entry) => invalid::read(fields.log, raw, &entry.node),
        None => defaults
            .invalid
            .get(type_name(raw))
            .map(|node| invalid::read(fields.log, raw, node))
            .unwrap_or_default(),
    };
    let bits = transform::read_bits(fields, raw);
    let single = matches!(bits, Some(Bits::One(_))) || matches!(raw, RawType::Bool);
    let text = matches!(
        raw,
        RawType::Text(_) | RawType::Bytes(_) | RawType::DateTime(..)
    );
    let mut factor = transform::read_scale(fields);
    let mut offset = fields.decimal("offset");
    if single || text {
        let what = if single { "a single bit" } else { "a text" };
        for key in ["scale", "offset"] {
            fields.refuse(
                key,
                format!("`{key}` needs a number, and this is {what}"),
                "remove it",
            );
        }
        (factor, offset) = (None, None);
    }
    let scaled = factor.is_some() || offset.is_some();
    let names = read_names(fields, &defaults.enums, raw, bits, scaled);
    let (mut min, mut max) = transform::read_limits(fields);
    if single || text || names.is_some() {
        for key in ["min", "max"] {
            fields.refuse(
                key,
                format!("`{key}` needs a number to be sent"),
                "remove it",
            );
        }
        (min, max) = (None, None);
    }
    let transform = Transform {
        invalid,
        bits,
        scale: None,
        offset,
        names,
        min,
        max,
    };
    (transform, factor)
}

/// Whether numbers are sent.
pub(in crate::config) fn is_numeric(
    raw: &RawType,
    bits: Option<Bits>,
    names: Option<&Names>,
) -> bool {
    let number = !matches!(
        raw,
        RawType::Bool | RawType::Text(_) | RawType::Bytes(_) | RawType::DateTime(..)
    );
    number && names.is_none() && !matches!(bits, Some(Bits::One(_)))
}

pub(super) fn check_extent(fields: &Fields<'_>, address: u16, raw: &RawType, span: Span) {
    let end = u32::from(address) + u32::from(raw.width());
    if end > 65_536 {
        let reason = format!(
            "{} from {address} on is {} registers long and passes the last one, 65535",
            type_name(raw),
            raw.width()
        );
        fields
            .log
            .push(Finding::error(span, reason).mend("correct the address"));
    }
}
