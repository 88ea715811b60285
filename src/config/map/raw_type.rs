//! `type` and what belongs to it (`byte`, `length`, `form`, `zone`), and the byte order.

use crate::config::fields::{Fields, list};
use crate::config::log::{Finding, Log, Span};
use crate::config::suggest::did_you_mean;
use crate::field::modbus::map::{Byte, DateTimeForm, Order, RawType, Table, Zone};

/// Types without further keys.
pub(in crate::config) const SIMPLE: &[(&str, RawType)] = &[
    ("u16", RawType::U16),
    ("i16", RawType::I16),
    ("u32", RawType::U32),
    ("i32", RawType::I32),
    ("u64", RawType::U64),
    ("i64", RawType::I64),
    ("f32", RawType::F32),
    ("f64", RawType::F64),
    ("bcd16", RawType::Bcd16),
    ("bcd32", RawType::Bcd32),
    ("sm16", RawType::Sm16),
    ("mod10-32", RawType::Mod10),
    ("pf-quadrant", RawType::PfQuadrant),
];

const WITH_KEYS: &[&str] = &["bool", "u8", "i8", "datetime", "string", "raw"];

/// The word for a type in maps.
pub(in crate::config) fn type_name(raw: &RawType) -> &'static str {
    match raw {
        RawType::Bool => "bool",
        RawType::U8(_) => "u8",
        RawType::I8(_) => "i8",
        RawType::DateTime(..) => "datetime",
        RawType::Text(_) => "string",
        RawType::Bytes(_) => "raw",
        simple => SIMPLE
            .iter()
            .find(|(_, raw)| raw == simple)
            .map_or("u16", |(name, _)| name),
    }
}

/// Bits of the raw value where it is a pattern of at most 64: what `invalid` compares with.
pub(in crate::config) fn pattern_width(raw: &RawType) -> Option<u32> {
    match raw {
        RawType::Bool
        | RawType::Text(_)
        | RawType::Bytes(_)
        | RawType::DateTime(DateTimeForm::Ymdhms, _) => None,
        RawType::U8(_) | RawType::I8(_) => Some(8),
        other => Some(u32::from(other.width()) * 16),
    }
}

/// Reads the type of a point of `table`.
pub(super) fn read(fields: &Fields<'_>, table: Table) -> Option<RawType> {
    if table.is_bits() {
        if let Some(name) = fields.text("type").filter(|name| *name != "bool") {
            let reason = format!("a {} is a bool, not {name:?}", table.as_str());
            let mend = "leave `type` out, or read a register";
            let finding = Finding::error(fields.at("type"), reason);
            fields.log.push(finding.mend(mend));
        }
        for key in ["byte", "length", "form", "zone", "bit", "bits"] {
            refuse(fields, key, "a single bit");
        }
        return Some(RawType::Bool);
    }
    let name = match fields.entry("type") {
        Some(_) => fields.text("type")?,
        None if fields.has("bit") || fields.has("bits") => "u16",
        None => {
            fields.missing(
                "type",
                "say how the registers are to be read: type = \"u16\", \"f32\", …",
            );
            read_extras(fields, None);
            return None;
        }
    };
    let simple = SIMPLE.iter().find(|(simple, _)| *simple == name);
    if let Some((_, raw)) = simple {
        read_extras(fields, Some(name));
        return Some(raw.clone());
    }
    if !WITH_KEYS.contains(&name) {
        unknown_type(fields.log, name, fields.at("type"));
        read_extras(fields, None);
        return None;
    }
    let extras = read_extras(fields, Some(name));
    match name {
        "u8" => extras.byte.map(RawType::U8),
        "i8" => extras.byte.map(RawType::I8),
        "string" => extras.length.map(RawType::Text),
        "raw" => extras.length.map(RawType::Bytes),
        "datetime" => Some(RawType::DateTime(extras.form?, extras.zone?)),
        _ => {
            let finding = Finding::error(fields.at("type"), "a register is no bool");
            let mend = "name the bit: `bit = 0` is the lowest";
            fields.log.push(finding.mend(mend));
            None
        }
    }
}

pub(super) fn unknown_type(log: &Log, name: &str, span: Span) {
    let names = SIMPLE.iter().map(|(name, _)| *name);
    let names = names.chain(WITH_KEYS.iter().copied());
    let mend = match did_you_mean(name, names.clone()) {
        Some(near) => format!("did you mean {near:?}? Types are {}", list(names)),
        None => format!("types are {}", list(names)),
    };
    let reason = format!("there is no type {name:?}");
    log.push(Finding::error(span, reason).mend(mend));
}

fn refuse(fields: &Fields<'_>, key: &'static str, what: &str) {
    fields.refuse(
        key,
        format!("`{key}` means nothing for {what}"),
        "remove it",
    );
}

#[derive(Default)]
struct Extras {
    byte: Option<Byte>,
    length: Option<u16>,
    form: Option<DateTimeForm>,
    zone: Option<Zone>,
}

/// The keys that only some types have: required there, refused elsewhere. Without a type they are only known.
fn read_extras(fields: &Fields<'_>, name: Option<&str>) -> Extras {
    let mut extras = Extras::default();
    let Some(name) = name else {
        for key in ["byte", "length", "form", "zone"] {
            fields.entry(key);
        }
        return extras;
    };
    let what = format!("type {name:?}");
    if matches!(name, "u8" | "i8") {
        let bytes = [("high", Byte::High), ("low", Byte::Low)];
        extras.byte = fields.choice("byte", &bytes);
        require(fields, "byte", "byte = \"high\" or byte = \"low\"");
    } else {
        refuse(fields, "byte", &what);
    }
    if matches!(name, "string" | "raw") {
        extras.length = fields.integer("length", 1..=125);
        require(fields, "length", "length = 8, in registers of two bytes");
    } else {
        refuse(fields, "length", &what);
    }
    if name == "datetime" {
        extras.form = fields.choice("form", FORMS);
        require(
            fields,
            "form",
            "form = \"unix32\", \"unix64\", \"unix64-ms\", \"ymdhms\" or \"iec870\"",
        );
        extras.zone = read_zone(fields);
    } else {
        refuse(fields, "form", &what);
        refuse(fields, "zone", &what);
    }
    extras
}

fn require(fields: &Fields<'_>, key: &str, mend: &str) {
    if !fields.has(key) {
        fields.missing(key, format!("write {mend}"));
    }
}

pub(in crate::config) const FORMS: &[(&str, DateTimeForm)] = &[
    ("unix32", DateTimeForm::Unix32),
    ("unix64", DateTimeForm::Unix64),
    ("unix64-ms", DateTimeForm::Unix64Ms),
    ("ymdhms", DateTimeForm::Ymdhms),
    ("iec870", DateTimeForm::Iec870),
];

fn read_zone(fields: &Fields<'_>) -> Option<Zone> {
    if !fields.has("zone") {
        fields.entry("zone");
        return Some(Zone(jiff::tz::TimeZone::UTC));
    }
    let name = fields.filled_text("zone")?;
    match jiff::tz::TimeZone::get(name) {
        Ok(zone) => Some(Zone(zone)),
        Err(_) => {
            let reason = format!("there is no time zone {name:?}");
            let mend = "write an IANA name, as in \"Europe/Berlin\", or \"UTC\"; the package tzdata has them";
            let finding = Finding::error(fields.at("zone"), reason);
            fields.log.push(finding.mend(mend));
            None
        }
    }
}

const ORDERS: &[(&str, Order)] = &[
    ("ABCD", order(false, false)),
    ("CDAB", order(true, false)),
    ("BADC", order(false, true)),
    ("DCBA", order(true, true)),
    ("ABCDEFGH", order(false, false)),
    ("GHEFCDAB", order(true, false)),
    ("BADCFEHG", order(false, true)),
    ("HGFEDCBA", order(true, true)),
];

const fn order(words_reversed: bool, bytes_swapped: bool) -> Order {
    Order {
        words_reversed,
        bytes_swapped,
    }
}

/// An order by its name of four or eight letters.
pub(super) fn read_order(fields: &Fields<'_>, key: &'static str) -> Option<Order> {
    fields.choice(key, ORDERS)
}

/// The order that acts on a point. Words of 16 bits, and texts, have none but the one they name themselves.
pub(super) fn order_of(
    fields: &Fields<'_>,
    raw: &RawType,
    order: Order,
    order64: Option<Order>,
) -> Order {
    let own = fields
        .entry("order")
        .and_then(|_| read_order(fields, "order"));
    match raw {
        RawType::Bool | RawType::Bytes(_) => {
            let what = format!("type {:?}", type_name(raw));
            refuse(fields, "order", &what);
            Order::default()
        }
        RawType::Text(_) | RawType::DateTime(DateTimeForm::Ymdhms | DateTimeForm::Iec870, _) => {
            bytes_only(own)
        }
        raw if raw.width() == 1 => bytes_only(own),
        raw if raw.width() == 4 => own.or(order64).unwrap_or(order),
        _ => own.unwrap_or(order),
    }
}

fn bytes_only(own: Option<Order>) -> Order {
    Order {
        words_reversed: false,
        bytes_swapped: own.is_some_and(|order| order.bytes_swapped),
    }
}

/// A type whose raw values can be compared, by its name: what `[defaults.invalid]` may hold.
pub(super) fn pattern_type(name: &str) -> Option<RawType> {
    match name {
        "u8" => Some(RawType::U8(Byte::Low)),
        "i8" => Some(RawType::I8(Byte::Low)),
        _ => SIMPLE
            .iter()
            .find(|(simple, _)| *simple == name)
            .map(|(_, raw)| raw.clone()),
    }
}
