//! Raw values that mean "no value": decimal, hex, in the type's own sign, or "all-ones".

use super::raw_type::{pattern_width, type_name};
use crate::config::log::{Finding, Log, Span};
use crate::config::tree::{Node, Value};
use crate::field::modbus::map::RawType;

/// One raw value or a list of them, as bit patterns of the type's width.
pub(super) fn read(log: &Log, raw: &RawType, node: &Node) -> Vec<u64> {
    let nodes = match &node.value {
        Value::List(nodes) => nodes.as_slice(),
        _ => std::slice::from_ref(node),
    };
    nodes
        .iter()
        .filter_map(|node| read_one(log, raw, &node.value, node.span))
        .collect()
}

fn read_one(log: &Log, raw: &RawType, value: &Value, span: Span) -> Option<u64> {
    let name = type_name(raw);
    let Some(width) = pattern_width(raw) else {
        let reason = format!("`invalid` means nothing for type {name:?}");
        log.push(Finding::error(span, reason).mend("remove it"));
        return None;
    };
    let ones = u64::MAX >> (64 - width.min(64));
    let pattern = match value {
        Value::Text(text) if text == "all-ones" => Ok(ones),
        Value::Integer { number, hex } => whole(raw, *number, *hex, width, ones),
        Value::Float(text) => float(raw, text),
        other => Err(format!(
            "a raw value is a number or \"all-ones\", not {}",
            other.kind()
        )),
    };
    match pattern {
        Ok(pattern) => Some(pattern),
        Err(reason) => {
            let mend = format!(
                "write the raw value of type {name:?} in decimal, in hex (0x…), or \"all-ones\""
            );
            log.push(Finding::error(span, reason).mend(mend));
            None
        }
    }
}

fn whole(raw: &RawType, number: i128, hex: bool, width: u32, ones: u64) -> Result<u64, String> {
    let name = type_name(raw);
    let is_float = matches!(raw, RawType::F32 | RawType::F64 | RawType::PfQuadrant);
    if is_float && !hex {
        return Err(format!(
            "{number} could be the value or the bits of type {name:?}: write {number}.0 or hex"
        ));
    }
    if let Ok(pattern) = u64::try_from(number)
        && pattern <= ones
    {
        return Ok(pattern);
    }
    let too_large = Err(format!(
        "{number} does not fit into the {width} bits of type {name:?}"
    ));
    let magnitude = number.unsigned_abs();
    let half = 1_u128 << (width - 1);
    if number >= 0 {
        return too_large;
    }
    match raw {
        RawType::I8(_) | RawType::I16 | RawType::I32 | RawType::I64 if magnitude <= half => {
            let pattern = i64::try_from(number).map_err(|error| error.to_string())?;
            Ok(pattern.cast_unsigned() & ones)
        }
        RawType::Sm16 if magnitude < half => {
            u64::try_from(half | magnitude).map_err(|error| error.to_string())
        }
        RawType::I8(_) | RawType::I16 | RawType::I32 | RawType::I64 | RawType::Sm16 => too_large,
        _ => Err(format!("type {name:?} has no negative values")),
    }
}

fn float(raw: &RawType, text: &str) -> Result<u64, String> {
    match raw {
        RawType::F32 | RawType::PfQuadrant => text
            .parse::<f32>()
            .map(|value| u64::from(value.to_bits()))
            .map_err(|error| error.to_string()),
        RawType::F64 => text
            .parse::<f64>()
            .map(f64::to_bits)
            .map_err(|error| error.to_string()),
        other => Err(format!(
            "a raw value of type {:?} has no fraction",
            type_name(other)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(raw: &RawType, number: i128) -> Result<u64, String> {
        let width = pattern_width(raw).unwrap();
        whole(raw, number, false, width, u64::MAX >> (64 - width))
    }

    #[test]
    fn values_become_patterns_of_the_width() {
        assert_eq!(pattern(&RawType::I16, -32_768), Ok(0x8000));
        assert_eq!(pattern(&RawType::I16, 0x8000), Ok(0x8000));
        assert_eq!(pattern(&RawType::I64, -1), Ok(u64::MAX));
        assert_eq!(pattern(&RawType::Sm16, -1), Ok(0x8001));
        assert_eq!(pattern(&RawType::U32, 0xFFFF_FFFF), Ok(0xFFFF_FFFF));
        assert_eq!(float(&RawType::F32, "-1.0"), Ok(0xBF80_0000));
    }

    #[test]
    fn what_cannot_occur_is_refused() {
        for (raw, number) in [
            (RawType::I16, -32_769),
            (RawType::U16, 65_536),
            (RawType::U16, -1),
            (RawType::Sm16, -32_768),
            (RawType::F32, 5),
            (RawType::U64, i128::MAX),
        ] {
            assert!(pattern(&raw, number).is_err(), "{raw:?} {number}");
        }
        assert!(float(&RawType::I16, "1.5").is_err());
    }
}
