//! Where a point sits: `coil`, `discrete`, `input`, `holding` as numbers on the wire, or `ref` as old manuals print it.

use super::fields::Fields;
use super::log::{Finding, Span};
use super::tree::Value;
use crate::field::modbus::map::Table;

const KEYS: [(&str, Table); 4] = [
    ("coil", Table::Coil),
    ("discrete", Table::DiscreteInput),
    ("input", Table::InputRegister),
    ("holding", Table::HoldingRegister),
];

/// Table and wire address of a point, and where they are given.
pub(super) fn read(fields: &Fields<'_>, base: u16) -> Option<(Table, u16, Span)> {
    let given: Vec<_> = KEYS
        .iter()
        .filter_map(|(key, table)| Some((*key, *table, fields.entry(key)?)))
        .collect();
    let reference = fields.entry("ref");
    match (given.as_slice(), reference) {
        ([], None) => {
            fields.missing(
                "address",
                "give one of coil, discrete, input, holding (the number on the wire) or ref",
            );
            None
        }
        ([], Some(entry)) => read_ref(fields, &entry.node.value, entry.node.span),
        ([(key, table, entry)], None) => {
            let address = fields.integer(key, base.into()..=u32::from(u16::MAX) + u32::from(base));
            let address = u16::try_from(address?.saturating_sub(base.into())).ok()?;
            Some((*table, address, entry.node.span))
        }
        ([first, rest @ ..], _) => {
            let second = rest.first().map(|(_, _, entry)| *entry).or(reference)?;
            let reason = format!("{} has two addresses", fields.what());
            let finding = Finding::error(second.key_span, reason);
            let finding = finding.also(first.2.key_span, "the other one");
            fields.log.push(finding.mend("keep one of the two"));
            None
        }
    }
}

const REF_MEND: &str = "a ref is 10001-19999 (discrete), 30001-39999 (input), 40001-49999 (holding) or has six digits; \
                        a coil's is text: \"00001\"; for the number on the wire use coil, discrete, input or holding";

fn read_ref(fields: &Fields<'_>, value: &Value, span: Span) -> Option<(Table, u16, Span)> {
    let text = match value {
        Value::Integer { number, hex: false } => number.to_string(),
        Value::Text(text) => text.clone(),
        _ => String::new(),
    };
    let Some((table, address)) = parse_ref(&text) else {
        let reason = match text.as_str() {
            "" => format!("`ref` must be a number or a text, not {}", value.kind()),
            text => format!("{text} is no Modicon number"),
        };
        fields.log.push(Finding::error(span, reason).mend(REF_MEND));
        return None;
    };
    if text.len() == 5 {
        let what = match table {
            Table::Coil => "coil",
            Table::DiscreteInput => "discrete input",
            Table::InputRegister => "input register",
            Table::HoldingRegister => "holding register",
        };
        let reason = format!("ref {text} is taken for {what} {address} on the wire");
        let mend = format!(
            "where the manual prints wire addresses (SunSpec, SMA, Huawei), write {} = {text}",
            table.as_str()
        );
        fields.log.push(Finding::note(span, reason).mend(mend));
    }
    Some((table, address, span))
}

/// Five digits reach the first 9,999 places of a table, six digits all 65,536.
fn parse_ref(text: &str) -> Option<(Table, u16)> {
    if !matches!(text.len(), 5 | 6) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let table = match text.bytes().next()? {
        b'0' => Table::Coil,
        b'1' => Table::DiscreteInput,
        b'3' => Table::InputRegister,
        b'4' => Table::HoldingRegister,
        _ => return None,
    };
    let place: u32 = text.get(1..)?.parse().ok()?;
    let address = u16::try_from(place.checked_sub(1)?).ok()?;
    Some((table, address))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modicon_numbers() {
        assert_eq!(parse_ref("40001"), Some((Table::HoldingRegister, 0)));
        assert_eq!(parse_ref("49999"), Some((Table::HoldingRegister, 9998)));
        assert_eq!(parse_ref("465536"), Some((Table::HoldingRegister, 65_535)));
        assert_eq!(parse_ref("300001"), Some((Table::InputRegister, 0)));
        assert_eq!(parse_ref("10100"), Some((Table::DiscreteInput, 99)));
        assert_eq!(parse_ref("00001"), Some((Table::Coil, 0)));
        assert_eq!(parse_ref("000001"), Some((Table::Coil, 0)));
        for wrong in [
            "40000", "1", "20001", "465537", "4000", "4000001", "0001", "50001", "400000",
        ] {
            assert_eq!(parse_ref(wrong), None, "{wrong}");
        }
    }
}
