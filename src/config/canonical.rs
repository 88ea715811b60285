//! The parts of a point as text that stays the same from version to version: what the hash of a definition is over.

use std::fmt::Write;

use super::map::type_name;
use crate::field::modbus::map::{
    Bits, Byte, Change, DateTimeForm, Names, RawType, ReportRule, Scale, Transform,
};
use crate::reading::{Decimal, PointKind};

pub(super) fn raw(raw: &RawType) -> String {
    let name = type_name(raw);
    match raw {
        RawType::U8(byte) | RawType::I8(byte) => match byte {
            Byte::High => format!("{name}/high"),
            Byte::Low => format!("{name}/low"),
        },
        RawType::DateTime(form, zone) => {
            let form = match form {
                DateTimeForm::Unix32 => "unix32",
                DateTimeForm::Unix64 => "unix64",
                DateTimeForm::Unix64Ms => "unix64-ms",
                DateTimeForm::Ymdhms => "ymdhms",
                DateTimeForm::Iec870 => "iec870",
            };
            format!("{name}/{form}/{}", zone.0.iana_name().unwrap_or("UTC"))
        }
        RawType::Text(length) | RawType::Bytes(length) => format!("{name}/{length}"),
        _ => name.to_owned(),
    }
}

pub(super) fn kind(kind: PointKind) -> String {
    match kind {
        PointKind::Gauge => "gauge".to_owned(),
        PointKind::Counter { wrap: None } => "counter".to_owned(),
        PointKind::Counter { wrap: Some(wrap) } => format!("counter/{wrap}"),
    }
}

/// A text with its length before it: no text can look like what follows it.
pub(super) fn text_of(text: &str) -> String {
    format!("{}:{text}", text.len())
}

fn number(number: Decimal) -> String {
    format!("{}e{}", number.mantissa(), number.exponent())
}

pub(super) fn report(rule: Option<ReportRule>) -> String {
    let Some(rule) = rule else {
        return "always".to_owned();
    };
    let change = match rule.change {
        Change::Any => "change".to_owned(),
        Change::Absolute(width) => number(width),
        Change::Percent(share) => format!("{}%", number(share)),
    };
    format!("{change}/{}ms", rule.heartbeat.as_millis())
}

pub(super) fn transform(out: &mut String, transform: &Transform) {
    for pattern in &transform.invalid {
        let _ = write!(out, " invalid={pattern:x}");
    }
    match transform.bits {
        Some(Bits::One(bit)) => {
            let _ = write!(out, " bit={bit}");
        }
        Some(Bits::Range(first, last)) => {
            let _ = write!(out, " bits={first}..{last}");
        }
        None => {}
    }
    match transform.scale {
        Some(Scale::Number(factor)) => {
            let _ = write!(out, " scale={}", number(factor));
        }
        Some(Scale::Power10(index)) => {
            let _ = write!(out, " power10=#{index}");
        }
        Some(Scale::Point(index, times)) => {
            let _ = write!(out, " factor=#{index}*{}", number(times));
        }
        None => {}
    }
    for (key, value) in [
        ("offset", transform.offset),
        ("min", transform.min),
        ("max", transform.max),
    ] {
        if let Some(value) = value {
            let _ = write!(out, " {key}={}", number(value));
        }
    }
    match &transform.names {
        Some(Names::Enum(codes)) => {
            for (code, text) in codes {
                let _ = write!(out, " {code}={}", text_of(text));
            }
        }
        Some(Names::Flags(flags)) => {
            for (bit, text) in flags {
                let _ = write!(out, " bit{bit}={}", text_of(text));
            }
        }
        None => {}
    }
}
