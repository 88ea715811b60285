//! What is done with a raw value: `bit(s)`, `scale`, `offset`, `min`/`max`, and when it is reported.

use std::time::Duration;

use super::raw_type::type_name;
use crate::config::fields::{Fields, decimal};
use crate::config::log::{Finding, Span};
use crate::config::tree::{Entry, Value};
use crate::field::modbus::map::{Bits, Change, RawType, ReportRule, Scale};
use crate::reading::{Decimal, PointKind};

/// A factor as a map writes it; other points are known by name until all are read.
#[derive(Debug, Clone)]
pub(in crate::config) enum Factor {
    Number(Decimal),
    Power10(String, Span),
    Point(String, Span, Decimal),
}

impl Factor {
    /// With the factor point's index.
    pub(in crate::config) fn resolve(
        &self,
        index: impl FnOnce(&str, Span) -> Option<usize>,
    ) -> Option<Scale> {
        Some(match self {
            Self::Number(number) => Scale::Number(*number),
            Self::Power10(name, span) => Scale::Power10(index(name, *span)?),
            Self::Point(name, span, times) => Scale::Point(index(name, *span)?, *times),
        })
    }
}

/// `bit = 3` or `bits = "4..7"`.
pub(super) fn read_bits(fields: &Fields<'_>, raw: &RawType) -> Option<Bits> {
    let (one, range) = (fields.entry("bit"), fields.entry("bits"));
    let entry = one.or(range)?;
    let width: u8 = match raw {
        RawType::U16 | RawType::I16 => 16,
        RawType::U32 | RawType::I32 => 32,
        RawType::Bool => return None,
        other => {
            let reason = format!("type {:?} has no bits to name", type_name(other));
            let mend = "bit and bits take u16 (the default), i16, u32 or i32";
            fields
                .log
                .push(Finding::error(entry.key_span, reason).mend(mend));
            return None;
        }
    };
    if let (Some(one), Some(range)) = (one, range) {
        let reason = format!("{} has both `bit` and `bits`", fields.what());
        let finding = Finding::error(range.key_span, reason).also(one.key_span, "the other one");
        fields.log.push(finding.mend("keep one of the two"));
        return None;
    }
    if one.is_some() {
        return fields.integer("bit", 0..=width - 1).map(Bits::One);
    }
    let text = fields.text("bits")?;
    let parsed = text.split_once("..").and_then(|(first, last)| {
        let first: u8 = first.trim().parse().ok()?;
        let last: u8 = last.trim().parse().ok()?;
        (first < last && last < width).then_some(Bits::Range(first, last))
    });
    if parsed.is_none() {
        let reason = format!("{text:?} names no bits of a type of {width} bits");
        let mend = format!(
            "write the first and the last bit, as in \"4..7\"; bits are 0 to {}",
            width - 1
        );
        fields
            .log
            .push(Finding::error(entry.node.span, reason).mend(mend));
    }
    parsed
}

/// `scale`: a number, `{ power10 = POINT }` or `{ point = POINT, times = NUMBER }`.
pub(super) fn read_scale(fields: &Fields<'_>) -> Option<Factor> {
    let entry = fields.entry("scale")?;
    if !matches!(entry.node.value, Value::Table(_)) {
        let number = decimal(fields.log, "scale", &entry.node)?;
        return checked_factor(fields, entry, number).map(Factor::Number);
    }
    let scale = fields.fields("scale")?;
    let power = scale.text("power10");
    let point = scale.text("point");
    let times = match scale.entry("times") {
        Some(times) => scale
            .decimal("times")
            .and_then(|n| checked_factor(fields, times, n)),
        None => Some(Decimal::ONE),
    };
    scale.finish();
    match (power, point) {
        (Some(name), None) if !scale.has("times") && !scale.has("point") => {
            Some(Factor::Power10(name.to_owned(), scale.at("power10")))
        }
        (None, Some(name)) if !scale.has("power10") => {
            Some(Factor::Point(name.to_owned(), scale.at("point"), times?))
        }
        _ => {
            let mend = "write { power10 = \"POINT\" } or { point = \"POINT\", times = 0.001 }";
            let reason =
                "a factor is either `power10` or `point`, the latter with `times` where wanted";
            fields
                .log
                .push(Finding::error(entry.node.span, reason).mend(mend));
            None
        }
    }
}

/// Largest power of ten of a factor, an offset or a limit: as of a factor that is read.
const LARGEST_POWER: i16 = 30;

fn checked_factor(fields: &Fields<'_>, entry: &Entry, number: Decimal) -> Option<Decimal> {
    let reason = if number == Decimal::ZERO {
        "a factor of 0 makes every value 0"
    } else if number.exponent().unsigned_abs() > LARGEST_POWER.unsigned_abs() {
        "a factor is at most 10 to the power of ±30"
    } else {
        return Some(number);
    };
    let mend = "write the factor from raw value to unit, as in 0.1";
    fields
        .log
        .push(Finding::error(entry.node.span, reason).mend(mend));
    None
}

/// `min` and `max` of the value as it is sent.
pub(super) fn read_limits(fields: &Fields<'_>) -> (Option<Decimal>, Option<Decimal>) {
    let (min, max) = (fields.decimal("min"), fields.decimal("max"));
    if let (Some(least), Some(most)) = (min, max)
        && least > most
    {
        let finding = Finding::error(fields.at("max"), "`max` is below `min`");
        let finding = finding.also(fields.at("min"), "the other one");
        fields.log.push(finding.mend("exchange the two"));
    }
    (min, max)
}

/// `kind` and `wrap`.
pub(super) fn read_kind(fields: &Fields<'_>) -> PointKind {
    let counter = fields.choice("kind", &[("gauge", false), ("counter", true)]);
    let wrap = fields.integer("wrap", 1..=u64::MAX);
    match counter {
        Some(true) => PointKind::Counter { wrap },
        _ => {
            if fields.has("wrap") && counter == Some(false)
                || fields.has("wrap") && !fields.has("kind")
            {
                fields.refuse(
                    "wrap",
                    "`wrap` belongs to a counter",
                    "add kind = \"counter\"",
                );
            }
            PointKind::Gauge
        }
    }
}

/// Where nothing else is said, an unchanged value is sent again after this.
const HEARTBEAT: Duration = Duration::from_secs(15 * 60);

/// `deadband`, `on_change` and `heartbeat`.
pub(super) fn read_report(fields: &Fields<'_>, numeric: bool) -> Option<ReportRule> {
    let deadband = fields.entry("deadband");
    let on_change = fields.bool("on_change").unwrap_or(false);
    let range = Duration::from_secs(1)..=Duration::from_secs(31 * 86_400);
    let heartbeat = fields.duration("heartbeat", range);
    if let (Some(entry), true) = (deadband, on_change) {
        let reason = format!("{} has both `deadband` and `on_change`", fields.what());
        let mend = "keep `deadband` for measurements, `on_change` for states";
        fields
            .log
            .push(Finding::error(entry.key_span, reason).mend(mend));
        return None;
    }
    let change = match deadband {
        Some(entry) if !numeric => {
            let mend = "use on_change = true";
            let reason = "`deadband` needs a number";
            fields
                .log
                .push(Finding::error(entry.key_span, reason).mend(mend));
            return None;
        }
        Some(entry) => read_deadband(fields, entry)?,
        None if on_change => Change::Any,
        None => {
            let mend = "add `deadband` or `on_change = true`, or remove it";
            let reason = "`heartbeat` alone has no effect: the value is sent at every scan";
            fields.refuse("heartbeat", reason, mend);
            return None;
        }
    };
    Some(ReportRule {
        change,
        heartbeat: heartbeat.unwrap_or(HEARTBEAT),
    })
}

fn read_deadband(fields: &Fields<'_>, entry: &Entry) -> Option<Change> {
    let change = match &entry.node.value {
        Value::Text(text) => {
            let percent = text
                .strip_suffix('%')
                .and_then(|text| text.trim().parse().ok());
            percent.map(Change::Percent)
        }
        _ => Some(Change::Absolute(decimal(
            fields.log,
            "deadband",
            &entry.node,
        )?)),
    };
    match change {
        Some(Change::Absolute(width) | Change::Percent(width)) if width < Decimal::ZERO => {
            let finding = Finding::error(entry.node.span, "a deadband cannot be negative");
            fields
                .log
                .push(finding.mend("write how far the value may move unreported"));
            None
        }
        None => {
            let finding = Finding::error(entry.node.span, "this is no deadband");
            fields
                .log
                .push(finding.mend("write a number in the point's unit, or a share: \"1%\""));
            None
        }
        change => change,
    }
}
