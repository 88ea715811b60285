//! Values -> registers: the inverse of [`crate::field::modbus::decode`].

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use crate::field::modbus::map::{
    Bits, Byte, DateTimeForm, Names, Order, Point, RawType, Scale, Zone,
};
use crate::reading::{Decimal, Value};

/// The raw value of `point` that is sent as `value`: names, offset and scale undone. `factor` is the value of the point
/// that it is scaled by. `None`: there is no such raw value, or none that is known without the factor.
pub fn raw_value(point: &Point, value: &Value, factor: Option<f64>) -> Option<Value> {
    let transform = &point.transform;
    let value = match (&transform.names, value) {
        (Some(Names::Enum(names)), Value::Text(text)) => {
            let (code, _) = names.iter().find(|(_, name)| name.as_str() == &**text)?;
            Value::Int(*code)
        }
        (Some(Names::Flags(names)), Value::Texts(texts)) => {
            let set = names
                .iter()
                .filter(|(_, name)| texts.iter().any(|t| &**t == name.as_str()));
            Value::Int(set.fold(0, |sum, (bit, _)| sum | 1 << bit))
        }
        (_, value) => value.clone(),
    };
    let factor = match transform.scale {
        None if transform.offset.is_none() => return in_bits(transform.bits, value),
        None => 1.0,
        Some(Scale::Number(factor)) => factor.to_f64(),
        Some(Scale::Power10(_)) => 10_f64.powf(factor?),
        Some(Scale::Point(_, times)) => factor? * times.to_f64(),
    };
    let number = value.number()? - transform.offset.map_or(0.0, Decimal::to_f64);
    in_bits(transform.bits, Value::F64(number / factor))
}

/// The bits of its registers that belong to `point`, where it has not all of them.
pub(super) fn own_bits(point: &Point) -> Option<Vec<u16>> {
    let ones = |low: u8, high: u8| ((1_i64 << (high - low + 1)) - 1) << low;
    let mask = match (point.transform.bits, &point.raw) {
        (Some(Bits::One(bit)), _) => ones(bit, bit),
        (Some(Bits::Range(low, high)), _) => ones(low, high),
        (None, RawType::U8(_) | RawType::I8(_)) => -1,
        _ => return None,
    };
    let raw = match point.raw {
        RawType::I16 => RawType::U16,
        RawType::I32 => RawType::U32,
        ref raw => raw.clone(),
    };
    encode(&raw, point.order, &Value::Int(mask))
}

fn in_bits(bits: Option<Bits>, value: Value) -> Option<Value> {
    let shift = match bits {
        None => return Some(value),
        Some(Bits::One(bit)) => bit,
        Some(Bits::Range(low, _)) => low,
    };
    Some(Value::Int(integer(&value)?.checked_shl(shift.into())?))
}

/// The registers (or the one bit) that hold the raw value; `None` where the type cannot hold it.
pub fn encode(raw: &RawType, order: Order, value: &Value) -> Option<Vec<u16>> {
    let number = || integer(value);
    let narrow = |bits: u32| number().filter(|&n| -(1 << (bits - 1)) <= n && n < 1 << bits);
    let pattern = match raw {
        RawType::Bool => return Some(vec![u16::from(number()? != 0)]),
        RawType::U8(Byte::High) | RawType::I8(Byte::High) => {
            narrow(8)?.cast_unsigned() << 8 & 0xFF00
        }
        RawType::U8(Byte::Low) | RawType::I8(Byte::Low) => narrow(8)?.cast_unsigned() & 0xFF,
        RawType::U16 | RawType::I16 => narrow(16)?.cast_unsigned(),
        RawType::U32 | RawType::I32 => narrow(32)?.cast_unsigned(),
        RawType::U64 => match value {
            Value::UInt(number) => *number,
            _ => number()?.cast_unsigned(),
        },
        RawType::I64 => number()?.cast_unsigned(),
        RawType::F32 => single(value)?.to_bits().into(),
        RawType::PfQuadrant => single(value)?.to_bits().into(),
        RawType::F64 => value.number()?.to_bits(),
        RawType::Bcd16 => bcd(number()?, 4)?,
        RawType::Bcd32 => bcd(number()?, 8)?,
        RawType::Sm16 => {
            let magnitude = u64::from(u16::try_from(number()?.unsigned_abs()).ok()?);
            (magnitude < 0x8000).then_some(())?;
            magnitude | if number()? < 0 { 0x8000 } else { 0 }
        }
        RawType::Mod10 => {
            let number = number().filter(|n| n.unsigned_abs() < 100_000_000)?;
            let part = |part: i64| {
                i16::try_from(part)
                    .ok()
                    .map(|p| u64::from(p.cast_unsigned()))
            };
            part(number / 10_000)? << 16 | part(number % 10_000)?
        }
        RawType::DateTime(form, zone) => return date(*form, zone, order, value),
        RawType::Text(registers) => {
            let Value::Text(text) = value else {
                return None;
            };
            let mut bytes = text.as_bytes().to_vec();
            bytes.resize(usize::from(*registers) * 2, 0);
            let pairs = bytes.as_chunks().0.iter();
            let words = pairs.map(|&pair| word(u16::from_be_bytes(pair), order));
            return Some(words.collect());
        }
        RawType::Bytes(registers) => {
            let Value::Text(text) = value else {
                return None;
            };
            let words = (0..usize::from(*registers))
                .map(|place| u16::from_str_radix(text.get(place * 4..place * 4 + 4)?, 16).ok());
            return words.collect();
        }
    };
    Some(spread(pattern, raw.width(), order))
}

/// The registers of a bit pattern.
fn spread(pattern: u64, registers: u16, order: Order) -> Vec<u16> {
    let places = (0..u32::from(registers)).rev();
    #[expect(
        clippy::cast_possible_truncation,
        reason = "one register after the other"
    )]
    let mut words: Vec<u16> = places
        .map(|place| word((pattern >> (16 * place)) as u16, order))
        .collect();
    if order.words_reversed {
        words.reverse();
    }
    words
}

fn word(word: u16, order: Order) -> u16 {
    if order.bytes_swapped {
        word.swap_bytes()
    } else {
        word
    }
}

fn bcd(number: i64, digits: u32) -> Option<u64> {
    let number = u64::try_from(number).ok()?;
    (number < 10_u64.pow(digits)).then_some(())?;
    Some((0..digits).fold(0, |sum, place| {
        sum | (number / 10_u64.pow(place) % 10) << (4 * place)
    }))
}

fn date(form: DateTimeForm, zone: &Zone, order: Order, value: &Value) -> Option<Vec<u16>> {
    let Value::Text(text) = value else {
        return None;
    };
    let moment: Timestamp = text.parse().ok()?;
    let local = zone.0.to_datetime(moment);
    let epoch = DateTime::new(1970, 1, 1, 0, 0, 0, 0).ok()?;
    let elapsed: SignedDuration = local.duration_since(epoch);
    let small = |field: i8| field.cast_unsigned().into();
    let fields = [local.month(), local.day(), local.hour(), local.minute()].map(small);
    let [month, day, hour, minute]: [u16; 4] = fields;
    let year = local.year().cast_unsigned();
    let words = match form {
        DateTimeForm::Unix32 => {
            return Some(spread(
                u32::try_from(elapsed.as_secs()).ok()?.into(),
                2,
                order,
            ));
        }
        DateTimeForm::Unix64 => return Some(spread(elapsed.as_secs().cast_unsigned(), 4, order)),
        DateTimeForm::Unix64Ms => {
            let millis = i64::try_from(elapsed.as_millis()).ok()?;
            return Some(spread(millis.cast_unsigned(), 4, order));
        }
        DateTimeForm::Ymdhms => vec![year, month, day, hour, minute, small(local.second())],
        DateTimeForm::Iec870 => {
            let millis = small(local.second()) * 1000 + local.millisecond().cast_unsigned();
            vec![
                year.checked_sub(2000)?,
                month << 8 | day,
                hour << 8 | minute,
                millis,
            ]
        }
    };
    Some(words.into_iter().map(|w| word(w, order)).collect())
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Bool(bit) => Some((*bit).into()),
        Value::Int(number) => Some(*number),
        Value::UInt(number) => Some(number.cast_signed()),
        Value::F32(_) | Value::F64(_) => {
            let rounded = Decimal::from_f64(value.number()?.round())?;
            i64::try_from(rounded.to_integer()?).ok()
        }
        Value::Text(_) | Value::Texts(_) => None,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest f32 is meant")]
fn single(value: &Value) -> Option<f32> {
    match value {
        Value::F32(number) => Some(*number),
        other => other.number().map(|number| number as f32),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::modbus::decode::{Places, Recipe};
    use crate::field::modbus::map::Table;
    use crate::reading::{Name, Reading};

    fn orders() -> impl Iterator<Item = Order> {
        [(false, false), (true, false), (false, true), (true, true)]
            .into_iter()
            .map(|(words_reversed, bytes_swapped)| Order {
                words_reversed,
                bytes_swapped,
            })
    }

    fn point(raw: RawType, order: Order) -> Point {
        let name = |text| Name::new(text).unwrap();
        let place = (Table::HoldingRegister, 0);
        Point {
            order,
            ..Point::plain(name("p"), name("default"), place, raw)
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let utc = || Zone(jiff::tz::TimeZone::UTC);
        let date = |form| {
            (
                RawType::DateTime(form, utc()),
                Value::Text("2026-11-20T09:45:12Z".into()),
            )
        };
        let cases = [
            (RawType::U8(Byte::High), Value::Int(200)),
            (RawType::I8(Byte::Low), Value::Int(-3)),
            (RawType::U16, Value::Int(65_000)),
            (RawType::I16, Value::Int(-2)),
            (RawType::U32, Value::Int(4_000_000_000)),
            (RawType::I32, Value::Int(-5)),
            (RawType::U64, Value::UInt(u64::MAX - 1)),
            (RawType::I64, Value::Int(i64::MIN)),
            (RawType::F32, Value::F32(230.1)),
            (RawType::F64, Value::F64(-1.5e300)),
            (RawType::Bcd16, Value::Int(9876)),
            (RawType::Bcd32, Value::Int(12_345_678)),
            (RawType::Sm16, Value::Int(-321)),
            (RawType::Mod10, Value::Int(-99_991_234)),
            (RawType::PfQuadrant, Value::F32(-0.5)),
            (RawType::Text(3), Value::Text("ab cd".into())),
            (RawType::Bytes(2), Value::Text("00ff12ab".into())),
            date(DateTimeForm::Unix32),
            date(DateTimeForm::Unix64),
            date(DateTimeForm::Unix64Ms),
            date(DateTimeForm::Ymdhms),
            date(DateTimeForm::Iec870),
        ];
        for (raw, value) in cases {
            for order in orders() {
                let words = encode(&raw, order, &value).unwrap();
                let recipe = Recipe::new(&point(raw.clone(), order));
                let reading = recipe.read(Places::Registers(&words), None);
                assert_eq!(reading, Reading::good(value.clone()), "{raw:?} {order:?}");
            }
        }
    }

    #[test]
    fn scale_offset_names_and_bits_are_undone() {
        let mut scaled = point(RawType::I16, Order::BIG);
        scaled.transform.scale = Some(Scale::Number("0.1".parse().unwrap()));
        scaled.transform.offset = Some("-40".parse().unwrap());
        assert_eq!(
            raw_value(&scaled, &Value::F64(21.5), None),
            Some(Value::F64(615.0))
        );
        let mut state = point(RawType::U16, Order::BIG);
        state.transform.names = Some(Names::Enum(vec![(2, "fault".to_owned())]));
        assert_eq!(
            raw_value(&state, &Value::Text("fault".into()), None),
            Some(Value::Int(2))
        );
        let mut bit = point(RawType::U16, Order::BIG);
        bit.transform.bits = Some(Bits::One(3));
        assert_eq!(
            raw_value(&bit, &Value::Bool(true), None),
            Some(Value::Int(8))
        );
    }

    #[test]
    fn a_factor_that_is_read_is_undone() {
        let mut scaled = point(RawType::I16, Order::BIG);
        scaled.transform.scale = Some(Scale::Power10(1));
        let value = Value::F64(21.5);
        assert_eq!(
            raw_value(&scaled, &value, Some(-1.0)),
            Some(Value::F64(215.0))
        );
        assert_eq!(raw_value(&scaled, &value, None), None);
        scaled.transform.scale = Some(Scale::Point(1, "0.5".parse().unwrap()));
        assert_eq!(raw_value(&scaled, &value, Some(5.0)), Some(Value::F64(8.6)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (raw, value) in [
            (RawType::U16, Value::Int(65_536)),
            (RawType::I16, Value::Int(-32_769)),
            (RawType::Bcd16, Value::Int(10_000)),
            (RawType::Mod10, Value::Int(100_000_000)),
            (RawType::U16, Value::Text("x".into())),
        ] {
            assert_eq!(encode(&raw, Order::BIG, &value), None, "{raw:?}");
        }
    }
}
