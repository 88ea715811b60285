//! `enum` and `flags`: texts for numbers, names for bits.

use super::raw_type::type_name;
use crate::config::fields::Fields;
use crate::config::log::{Finding, Log, Span};
use crate::config::suggest::did_you_mean;
use crate::config::tree::{Entry, Node, Table, Value};
use crate::field::modbus::map::{Bits, Names, RawType};
use std::collections::BTreeMap;

/// A number and its text, and where the number is given.
pub(super) type Codes = Vec<(i64, String, Span)>;

/// The tables of `[enums]`.
pub(super) fn read_enums(fields: &Fields<'_>) -> BTreeMap<String, Codes> {
    let mut enums = BTreeMap::new();
    if let Some((table, _)) = fields.table("enums") {
        for entry in table.in_order() {
            if let Some(codes) = read_codes(fields.log, entry) {
                enums.insert(entry.key.clone(), codes);
            }
        }
    }
    enums
}

fn read_codes(log: &Log, entry: &Entry) -> Option<Codes> {
    let Value::Table(table) = &entry.node.value else {
        let reason = format!(
            "`{}` must be a table of texts, not {}",
            entry.key,
            entry.node.value.kind()
        );
        let mend = "write it as { 0 = \"stopped\", 1 = \"running\" }";
        log.push(Finding::error(entry.node.span, reason).mend(mend));
        return None;
    };
    Some(codes_of(log, table))
}

fn codes_of(log: &Log, table: &Table) -> Codes {
    let mut codes: Codes = Vec::new();
    for entry in table.in_order() {
        let Some(number) = parse_code(&entry.key) else {
            let reason = format!("`{}` is no number", entry.key);
            let mend = "keys are numbers: 5, -1 or 0x1F";
            log.push(Finding::error(entry.key_span, reason).mend(mend));
            continue;
        };
        if let Some((_, _, first)) = codes.iter().find(|(known, _, _)| *known == number) {
            let finding = Finding::error(entry.key_span, format!("{number} is given twice"));
            log.push(
                finding
                    .also(*first, "first given here")
                    .mend("remove one of the two"),
            );
            continue;
        }
        match &entry.node.value {
            Value::Text(text) if !text.is_empty() => {
                codes.push((number, text.clone(), entry.key_span));
            }
            other => {
                let reason = format!("the text of {number} must be a text that is not empty");
                let mend = format!("write {number} = \"…\" in place of {}", other.kind());
                log.push(Finding::error(entry.node.span, reason).mend(mend));
            }
        }
    }
    codes.sort_by_key(|(number, _, _)| *number);
    codes
}

fn parse_code(key: &str) -> Option<i64> {
    match key.strip_prefix("0x").or_else(|| key.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with(['+', '-']) => i64::from_str_radix(hex, 16).ok(),
        Some(_) => None,
        None if key.starts_with('+') => None,
        None => key.parse().ok(),
    }
}

/// The names of a point's values, with `enum` or `flags`.
pub(super) fn read_names(
    fields: &Fields<'_>,
    enums: &BTreeMap<String, Codes>,
    raw: &RawType,
    bits: Option<Bits>,
    scaled: bool,
) -> Option<Names> {
    let (named, flags) = (fields.entry("enum"), fields.entry("flags"));
    if let (Some(first), Some(second)) = (named, flags) {
        let reason = format!("{} has both `enum` and `flags`", fields.what());
        let finding = Finding::error(second.key_span, reason);
        let finding = finding.also(first.key_span, "the other one");
        fields.log.push(finding.mend("keep one of the two"));
    }
    let entry = named.or(flags)?;
    let is_enum = named.is_some();
    let codes = match &entry.node {
        Node {
            value: Value::Text(name),
            span,
        } if is_enum => shared(fields.log, name, *span, enums)?,
        _ => read_codes(fields.log, entry)?,
    };
    let Some((least, most)) = range(raw, bits) else {
        let reason = format!(
            "`{}` needs whole numbers, not type {:?}",
            entry.key,
            type_name(raw)
        );
        let finding = Finding::error(entry.key_span, reason);
        fields
            .log
            .push(finding.mend("remove it, or read an integer type"));
        return None;
    };
    if is_enum {
        if !scaled {
            check_range(fields.log, &codes, entry, least, most, raw);
        }
        let texts = codes.into_iter().map(|(number, text, _)| (number, text));
        return Some(Names::Enum(texts.collect()));
    }
    if scaled || matches!(bits, Some(Bits::One(_))) || matches!(raw, RawType::Bool) {
        let reason = "`flags` names the bits of a whole register value";
        let mend = "remove scale, offset and bit, or use `enum`";
        fields
            .log
            .push(Finding::error(entry.key_span, reason).mend(mend));
        return None;
    }
    Some(Names::Flags(flag_names(
        fields.log,
        codes,
        bit_count(raw, bits),
        raw,
    )))
}

fn shared(log: &Log, name: &str, span: Span, enums: &BTreeMap<String, Codes>) -> Option<Codes> {
    let found = enums.get(name).cloned();
    if found.is_none() {
        let reason = format!("there is no enum {name:?}");
        let mend = match did_you_mean(name, enums.keys().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("add a table [enums.{name}]"),
        };
        log.push(Finding::error(span, reason).mend(mend));
    }
    found
}

/// A code that the type cannot have is a mistake of sign or width.
fn check_range(log: &Log, codes: &Codes, at: &Entry, least: i128, most: i128, raw: &RawType) {
    for (number, _, span) in codes {
        let number = i128::from(*number);
        if number < least || number > most {
            let reason = format!("{number} never occurs in type {:?}", type_name(raw));
            let mend = format!("codes of this point are {least} to {most}");
            let mut finding = Finding::error(*span, reason).mend(mend);
            if matches!(at.node.value, Value::Text(_)) {
                finding = finding.also(at.node.span, "used here");
            }
            log.push(finding);
        }
    }
}

fn flag_names(log: &Log, codes: Codes, width: u8, raw: &RawType) -> Vec<(u8, String)> {
    let mut flags = Vec::new();
    for (number, text, span) in codes {
        match u8::try_from(number) {
            Ok(bit) if bit < width => flags.push((bit, text)),
            _ => {
                let reason = format!("there is no bit {number} in type {:?}", type_name(raw));
                let mend = format!("bits are 0 (the lowest) to {}", width.saturating_sub(1));
                log.push(Finding::error(span, reason).mend(mend));
            }
        }
    }
    flags
}

fn bit_count(raw: &RawType, bits: Option<Bits>) -> u8 {
    match (bits, raw) {
        (Some(Bits::One(_)), _) | (None, RawType::Bool) => 1,
        (Some(Bits::Range(first, last)), _) => last.saturating_sub(first).saturating_add(1),
        (None, RawType::U8(_) | RawType::I8(_)) => 8,
        (None, other) => u8::try_from(other.width().saturating_mul(16)).unwrap_or(64),
    }
}

/// Least and greatest whole number of a type; `None` where its values are no whole numbers.
fn range(raw: &RawType, bits: Option<Bits>) -> Option<(i128, i128)> {
    let unsigned = |width: u32| Some((0, (1_i128 << width) - 1));
    let signed = |width: u32| Some((-(1_i128 << (width - 1)), (1_i128 << (width - 1)) - 1));
    if bits.is_some() {
        return unsigned(u32::from(bit_count(raw, bits)));
    }
    match raw {
        RawType::Bool => unsigned(1),
        RawType::U8(_) => unsigned(8),
        RawType::I8(_) => signed(8),
        RawType::U16 => unsigned(16),
        RawType::I16 => signed(16),
        RawType::U32 => unsigned(32),
        RawType::I32 => signed(32),
        RawType::U64 => unsigned(64),
        RawType::I64 => signed(64),
        RawType::Bcd16 => Some((0, 9_999)),
        RawType::Bcd32 => Some((0, 99_999_999)),
        RawType::Mod10 => Some((-99_999_999, 99_999_999)),
        RawType::Sm16 => Some((-32_767, 32_767)),
        RawType::F32
        | RawType::F64
        | RawType::PfQuadrant
        | RawType::DateTime(..)
        | RawType::Text(_)
        | RawType::Bytes(_) => None,
    }
}
