//! Registers of an unknown device, taken for every type in every order side by side, so that a person sees which is
//! meant; pure.

use super::decode::{Places, Recipe};
use super::map::{DateTimeForm, Order, RawType, Zone};
use crate::reading::{Reading, Value};

/// Registers taken for one type.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Its first register, counted from the first that was read.
    pub at: usize,
    /// How many registers.
    pub width: u16,
    /// The type, as maps name it; dates with their form.
    pub kind: &'static str,
    /// One for each order of [`orders`].
    pub guesses: Vec<Guess>,
}

/// What the registers say in one type and order.
#[derive(Debug, Clone, PartialEq)]
pub struct Guess {
    /// The order, as maps name it.
    pub order: &'static str,
    /// The reading.
    pub reading: Reading,
    /// Whether a device is likely to mean it: no garbage of digits, no date in 1970, no number in the wrong half.
    pub plausible: bool,
}

/// The orders in which a type of so many registers can stand. Within one register only its bytes can be swapped.
pub fn orders(width: u16) -> &'static [&'static str] {
    if width == 1 {
        &["ABCD", "BADC"]
    } else {
        &["ABCD", "CDAB", "BADC", "DCBA"]
    }
}

/// Takes `words` for every type, one after the other from the first register on.
pub fn survey(words: &[u16]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (kind, raw) in kinds() {
        let width = raw.width();
        let chunks = words.chunks_exact(width.into());
        for (place, chunk) in chunks.enumerate() {
            rows.push(row(place * usize::from(width), kind, &raw, chunk));
        }
    }
    if let Ok(length) = u16::try_from(words.len())
        && length > 0
    {
        rows.push(row(0, "string", &RawType::Text(length), words));
    }
    rows
}

fn kinds() -> Vec<(&'static str, RawType)> {
    let date = |form| RawType::DateTime(form, Zone(jiff::tz::TimeZone::UTC));
    vec![
        ("u16", RawType::U16),
        ("i16", RawType::I16),
        ("bcd16", RawType::Bcd16),
        ("sm16", RawType::Sm16),
        ("u32", RawType::U32),
        ("i32", RawType::I32),
        ("f32", RawType::F32),
        ("bcd32", RawType::Bcd32),
        ("mod10-32", RawType::Mod10),
        ("pf-quadrant", RawType::PfQuadrant),
        ("unix32", date(DateTimeForm::Unix32)),
        ("u64", RawType::U64),
        ("i64", RawType::I64),
        ("f64", RawType::F64),
        ("unix64", date(DateTimeForm::Unix64)),
        ("unix64-ms", date(DateTimeForm::Unix64Ms)),
        ("iec870", date(DateTimeForm::Iec870)),
        ("ymdhms", date(DateTimeForm::Ymdhms)),
    ]
}

fn row(at: usize, kind: &'static str, raw: &RawType, words: &[u16]) -> Row {
    let width = raw.width();
    // Words of a text, and fields of a date, stand in their order; only the bytes can be swapped.
    let fields = matches!(
        raw,
        RawType::Text(_) | RawType::DateTime(DateTimeForm::Ymdhms | DateTimeForm::Iec870, _)
    );
    let guesses = orders(if fields { 1 } else { width }).iter().map(|&order| {
        let reading = read(raw, order, words);
        let plausible = is_plausible(kind, width, &reading);
        Guess {
            order,
            reading,
            plausible,
        }
    });
    Row {
        at,
        width,
        kind,
        guesses: guesses.collect(),
    }
}

fn read(raw: &RawType, order: &str, words: &[u16]) -> Reading {
    let order = Order {
        words_reversed: matches!(order, "CDAB" | "DCBA"),
        bytes_swapped: matches!(order, "BADC" | "DCBA"),
    };
    Recipe::plainly(raw, order).read(Places::Registers(words), None)
}

/// Floats outside of these are garbage of digits, but for 0: no instrument has such a range.
const FLOATS: std::ops::RangeInclusive<f64> = 1e-4..=1e9;

/// Integers of 32 and of 64 bits beyond these are read in the wrong order, or are something else. A counter of Wh in
/// 32 bits may pass the first after 100 MWh.
const INTEGERS: (u64, u64) = (100_000_000, 1_000_000_000_000_000);

/// Devices were made, and clocks run, between these.
const YEARS: (&str, &str) = ("2000", "2050");

fn is_plausible(kind: &str, width: u16, reading: &Reading) -> bool {
    let float = |number: f64| number == 0.0 || FLOATS.contains(&number.abs());
    let integer = |size: u64| match width {
        // A number that ends with a register of zeros is a small one, words reversed.
        2 => size < INTEGERS.0 && (size == 0 || !size.is_multiple_of(0x1_0000)),
        4 => size < INTEGERS.1 && (size == 0 || !size.is_multiple_of(0x1_0000)),
        _ => true,
    };
    match reading.value() {
        None => false,
        Some(Value::F32(number)) if kind == "pf-quadrant" && number.abs() > 1.0 => false,
        Some(Value::F32(number)) => float(f64::from(number)),
        Some(Value::F64(number)) => float(number),
        Some(Value::Int(number)) => kind.starts_with("bcd") || integer(number.unsigned_abs()),
        Some(Value::UInt(_) | Value::Texts(_)) => false,
        Some(Value::Bool(_)) => true,
        Some(Value::Text(text)) if kind == "string" => {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
        }
        Some(Value::Text(date)) => (YEARS.0..YEARS.1).contains(&date),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plausible(words: &[u16], kind: &str) -> Vec<(&'static str, Reading)> {
        let rows = survey(words).into_iter();
        let guesses = rows.filter(|row| row.kind == kind).flat_map(|r| r.guesses);
        guesses
            .filter(|guess| guess.plausible)
            .map(|guess| (guess.order, guess.reading))
            .collect()
    }

    #[test]
    fn the_order_that_is_meant_stands_out() {
        let voltage = 230.1_f32.to_bits();
        let (high, low) = ((voltage >> 16) as u16, (voltage & 0xFFFF) as u16);
        let is = Reading::good(Value::F32(230.1));
        assert_eq!(plausible(&[high, low], "f32"), [("ABCD", is.clone())]);
        assert_eq!(plausible(&[low, high], "f32"), [("CDAB", is.clone())]);
        let swapped = [low.swap_bytes(), high.swap_bytes()];
        assert_eq!(plausible(&swapped, "f32"), [("DCBA", is)]);
        let number = |number| Reading::good(Value::Int(number));
        assert_eq!(
            plausible(&[0, 4711], "u32"),
            [("ABCD", number(4711)), ("BADC", number(26_386))]
        );
        let date = Value::Text("2025-11-15T15:56:36Z".into());
        assert_eq!(
            plausible(&[0x6918, 0xA2B4], "unix32"),
            [("ABCD", Reading::good(date))]
        );
    }

    #[test]
    fn every_type_is_tried_at_every_place() {
        let rows = survey(&[0x4142; 9]);
        let at = |kind: &str| -> Vec<usize> {
            let rows = rows.iter().filter(|row| row.kind == kind);
            rows.map(|row| row.at).collect()
        };
        assert_eq!(at("u16").len(), 9);
        assert_eq!(at("mod10-32"), [0, 2, 4, 6]);
        assert_eq!(at("f64"), [0, 4]);
        assert_eq!(at("ymdhms"), [0]);
        assert_eq!(at("string"), [0]);
        let swapped = Reading::good(Value::Text("BABABABABABABABABA".into()));
        assert_eq!(plausible(&[0x4142; 9], "string")[1], ("BADC", swapped));
    }

    #[test]
    fn nothing_can_be_made_of_nothing() {
        assert_eq!(survey(&[]), []);
    }

    #[test]
    fn registers_that_are_no_value_in_a_type_are_not_plausible() {
        assert_eq!(plausible(&[0x7F80, 0], "f32"), []);
        assert_eq!(plausible(&[0xABCD], "bcd16"), []);
        assert_eq!(plausible(&[0, 0], "unix32"), []);
    }
}
