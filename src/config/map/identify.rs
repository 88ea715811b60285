//! `[identify]`: what devices of a model say that they are.

use super::point::{Defaults, check_extent};
use super::raw_type::{self, type_name};
use crate::config::address;
use crate::config::fields::Fields;
use crate::config::log::Finding;
use crate::config::tree::{Node, Value as Written};
use crate::field::modbus::identity::Identity;
use crate::field::modbus::map::RawType;
use crate::reading::Value;

/// Reads the table; `None` where it cannot be used, which is logged.
pub(super) fn read(fields: &Fields<'_>, defaults: &Defaults) -> Option<Identity> {
    let place = address::read(fields, defaults.address_base);
    let is = fields.entry("is");
    if is.is_none() {
        fields.missing("is", "write what stands there, as in is = [15240, 15250]");
    }
    let place = place.filter(|&(table, _, span)| {
        if table.is_bits() {
            let reason = "a single bit is too little to know a device by";
            let finding = Finding::error(span, reason);
            fields.log.push(finding.mend("give input or holding"));
        }
        !table.is_bits()
    });
    let Some((table, address, span)) = place else {
        for key in ["type", "byte", "length", "order"] {
            fields.entry(key);
        }
        return None;
    };
    let raw = raw_type::read(fields, table)?;
    let order = raw_type::order_of(fields, &raw, defaults.order, defaults.order64);
    check_extent(fields, address, &raw, span);
    if !can_be_told(&raw) {
        let reason = format!("type {:?} is nothing to know a device by", type_name(&raw));
        let mend = "take an integer, a string or raw";
        let finding = Finding::error(fields.at("type"), reason);
        fields.log.push(finding.mend(mend));
        return None;
    }
    let nodes = match &is?.node.value {
        Written::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(&is?.node),
    };
    if nodes.is_empty() {
        let finding = Finding::error(fields.at("is"), "`is` is empty");
        fields
            .log
            .push(finding.mend("write at least one value, or remove the table"));
    }
    let values: Vec<_> = nodes
        .iter()
        .filter_map(|node| one(fields, &raw, node))
        .collect();
    (!values.is_empty() && values.len() == nodes.len()).then_some(Identity {
        table,
        address,
        raw,
        order,
        is: values,
    })
}

fn can_be_told(raw: &RawType) -> bool {
    whole_numbers(raw).is_some() || matches!(raw, RawType::Text(_) | RawType::Bytes(_))
}

/// The least and the greatest number of an integer type.
fn whole_numbers(raw: &RawType) -> Option<(i128, i128)> {
    Some(match raw {
        RawType::U8(_) => (0, u8::MAX.into()),
        RawType::I8(_) => (i8::MIN.into(), i8::MAX.into()),
        RawType::U16 => (0, u16::MAX.into()),
        RawType::I16 => (i16::MIN.into(), i16::MAX.into()),
        RawType::U32 => (0, u32::MAX.into()),
        RawType::I32 => (i32::MIN.into(), i32::MAX.into()),
        RawType::U64 => (0, u64::MAX.into()),
        RawType::I64 => (i64::MIN.into(), i64::MAX.into()),
        _ => return None,
    })
}

fn one(fields: &Fields<'_>, raw: &RawType, node: &Node) -> Option<Value> {
    let name = type_name(raw);
    let wrong = |reason: String, mend: &str| {
        fields
            .log
            .push(Finding::error(node.span, reason).mend(mend));
        None
    };
    match (&node.value, raw) {
        (Written::Integer { number, .. }, raw) if whole_numbers(raw).is_some() => {
            let (least, most) = whole_numbers(raw)?;
            if !(least..=most).contains(number) {
                let reason = format!("{number} is never the value of type {name:?}");
                return wrong(reason, &format!("write {least} to {most}"));
            }
            let int = i64::try_from(*number).map(Value::Int);
            int.or_else(|_| u64::try_from(*number).map(Value::UInt))
                .ok()
        }
        (Written::Text(text), RawType::Text(length)) => {
            let bytes = usize::from(*length) * 2;
            if text.len() > bytes || text.trim() != text || text.is_empty() {
                let reason = format!("{text:?} is never the value of {length} registers");
                let mend = format!("write 1 to {bytes} bytes, without spaces at the ends");
                return wrong(reason, &mend);
            }
            Some(Value::Text(text.as_str().into()))
        }
        (Written::Text(text), RawType::Bytes(length)) => {
            let digits = usize::from(*length) * 4;
            if text.len() != digits || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                let reason = format!("{text:?} is never the value of {length} registers");
                return wrong(reason, &format!("write {digits} hex digits"));
            }
            Some(Value::Text(text.to_ascii_lowercase().into()))
        }
        (other, raw) => {
            let wanted = match whole_numbers(raw) {
                Some(_) => "a whole number",
                None => "a text",
            };
            let reason = format!("a value of type {name:?} is {wanted}, not {}", other.kind());
            wrong(reason, "write it as the device has it, before any scaling")
        }
    }
}
