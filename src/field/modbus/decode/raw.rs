//! Registers -> raw values: ordering and every data type.

use super::super::map::{Byte, DateTimeForm, Order, RawType};
use super::calendar;
use crate::reading::{Decimal, Quality, Value};

/// A raw value, before any transformation.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    Int(i64),
    UInt(u64),
    F32(f32),
    F64(f64),
    Text(Box<str>),
}

impl Raw {
    /// The value that it is sent as.
    pub(super) fn value(self) -> Result<Value, Quality> {
        Ok(match self {
            Self::Int(number) => Value::Int(number),
            Self::UInt(number) => match i64::try_from(number) {
                Ok(number) => Value::Int(number),
                Err(_) => Value::UInt(number),
            },
            Self::F32(number) if number.is_finite() => Value::F32(number),
            Self::F64(number) if number.is_finite() => Value::F64(number),
            Self::F32(_) | Self::F64(_) => return Err(Quality::NotANumber),
            Self::Text(text) => Value::Text(text),
        })
    }
}

/// How wide the bit pattern of a type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One byte of a register.
    Byte(Byte),
    /// One register.
    Word,
    /// Two registers.
    Double,
    /// Four registers.
    Quad,
}

impl Shape {
    /// `None`: wider than 64 bits, or no number.
    pub(super) fn of(raw: &RawType) -> Option<Self> {
        match raw {
            RawType::U8(byte) | RawType::I8(byte) => Some(Self::Byte(*byte)),
            RawType::U16 | RawType::I16 | RawType::Bcd16 | RawType::Sm16 => Some(Self::Word),
            RawType::U32
            | RawType::I32
            | RawType::F32
            | RawType::Bcd32
            | RawType::Mod10
            | RawType::PfQuadrant
            | RawType::DateTime(DateTimeForm::Unix32, _) => Some(Self::Double),
            RawType::U64
            | RawType::I64
            | RawType::F64
            | RawType::DateTime(
                DateTimeForm::Unix64 | DateTimeForm::Unix64Ms | DateTimeForm::Iec870,
                _,
            ) => Some(Self::Quad),
            RawType::Bool
            | RawType::Text(_)
            | RawType::Bytes(_)
            | RawType::DateTime(DateTimeForm::Ymdhms, _) => None,
        }
    }
}

/// The bit pattern after ordering; zero-extended.
pub(super) fn pattern(shape: Shape, order: Order, words: &[u16]) -> u64 {
    match (shape, words) {
        (Shape::Byte(byte), &[word, ..]) => {
            let [high, low] = ordered(word, order).to_be_bytes();
            u64::from(match byte {
                Byte::High => high,
                Byte::Low => low,
            })
        }
        (Shape::Word, &[word, ..]) => ordered(word, order).into(),
        (Shape::Double, &[a, b, ..]) => joined(&[a, b], order),
        (Shape::Quad, &[a, b, c, d, ..]) => joined(&[a, b, c, d], order),
        _ => 0,
    }
}

fn ordered(word: u16, order: Order) -> u16 {
    if order.bytes_swapped {
        word.swap_bytes()
    } else {
        word
    }
}

fn joined(words: &[u16], order: Order) -> u64 {
    let add = |sum: u64, &word: &u16| sum << 16 | u64::from(ordered(word, order));
    if order.words_reversed {
        words.iter().rev().fold(0, add)
    } else {
        words.iter().fold(0, add)
    }
}

/// The raw value that `words` begin with; [`Quality::Invalid`] where the type has a pattern without a meaning.
#[expect(
    clippy::cast_possible_truncation,
    reason = "each pattern is as wide as its type"
)]
pub(super) fn read(raw: &RawType, order: Order, words: &[u16]) -> Result<Raw, Quality> {
    let bits = Shape::of(raw).map_or(0, |shape| pattern(shape, order, words));
    Ok(match raw {
        RawType::Bool => return Err(Quality::Invalid),
        RawType::U8(_) | RawType::U16 | RawType::U32 | RawType::U64 => Raw::UInt(bits),
        RawType::I8(_) => Raw::Int((bits as u8).cast_signed().into()),
        RawType::I16 => Raw::Int((bits as u16).cast_signed().into()),
        RawType::I32 => Raw::Int((bits as u32).cast_signed().into()),
        RawType::I64 => Raw::Int(bits.cast_signed()),
        RawType::F32 => Raw::F32(f32::from_bits(bits as u32)),
        RawType::F64 => Raw::F64(f64::from_bits(bits)),
        RawType::Bcd16 | RawType::Bcd32 => Raw::UInt(bcd(bits)?),
        RawType::Sm16 => {
            let magnitude = bits.cast_signed() & 0x7FFF;
            Raw::Int(if bits & 0x8000 == 0 {
                magnitude
            } else {
                -magnitude
            })
        }
        RawType::Mod10 => Raw::Int(mod10((bits >> 16) as u16, bits as u16)?),
        RawType::PfQuadrant => Raw::F32(power_factor(f32::from_bits(bits as u32))),
        RawType::DateTime(form, zone) => {
            let words: Vec<u16> = words.iter().map(|&word| ordered(word, order)).collect();
            Raw::Text(calendar::read(*form, zone, bits, &words).ok_or(Quality::Invalid)?)
        }
        RawType::Text(registers) => Raw::Text(text(words, (*registers).into(), order)),
        RawType::Bytes(registers) => Raw::Text(hex(words, (*registers).into())),
    })
}

/// Decimal digits, a nibble each, the highest first.
fn bcd(bits: u64) -> Result<u64, Quality> {
    let mut number = 0;
    for place in (0..8_u32).rev() {
        let digit = (bits >> (4 * place)) & 0xF;
        if digit > 9 {
            return Err(Quality::Invalid);
        }
        number = number * 10 + digit;
    }
    Ok(number)
}

/// Two parts of four decimal digits; the sign stands in both or in the high one.
fn mod10(high: u16, low: u16) -> Result<i64, Quality> {
    let (high, low) = (i64::from(high.cast_signed()), i64::from(low.cast_signed()));
    if high.abs() > 9999 || low.abs() > 9999 || (high > 0 && low < 0) {
        return Err(Quality::Invalid);
    }
    let magnitude = high.abs() * 10_000 + low.abs();
    Ok(if high < 0 || low < 0 {
        -magnitude
    } else {
        magnitude
    })
}

/// Schneider's 4Q_FP_PF: beyond ±1 the value is folded back at 2. Decimal, so that 1.3 gives 0.7.
fn power_factor(x: f32) -> f32 {
    let fold: i64 = if x > 1.0 {
        2
    } else if x < -1.0 {
        -2
    } else {
        return x;
    };
    Decimal::from_f32(x)
        .and_then(|x| Decimal::from(fold).checked_sub(x))
        .map_or(f32::NAN, Decimal::to_f32)
}

/// Text of two bytes a register: cut at NUL, spaces trimmed, bad UTF-8 replaced.
fn text(words: &[u16], registers: usize, order: Order) -> Box<str> {
    let words = words.iter().take(registers);
    let mut bytes: Vec<u8> = words
        .flat_map(|&word| ordered(word, order).to_be_bytes())
        .collect();
    if let Some(end) = bytes.iter().position(|&byte| byte == 0) {
        bytes.truncate(end);
    }
    String::from_utf8_lossy(&bytes).trim_matches(' ').into()
}

/// Lower-case hex, as on the wire.
fn hex(words: &[u16], registers: usize) -> Box<str> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let nibble = |word: u16, shift: u32| {
        let digit = DIGITS.get(usize::from((word >> shift) & 0xF));
        char::from(digit.copied().unwrap_or(b'0'))
    };
    let words = words.iter().take(registers);
    let digits = words.flat_map(|&word| [12, 8, 4, 0].map(|shift| nibble(word, shift)));
    digits.collect::<String>().into()
}
