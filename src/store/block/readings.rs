//! Readings as differences from those before: of a point whose value hardly moves, a byte or two are left.
//!
//! A reading has a byte in the kinds, and where it has a number or a text, that in the values:
//!
//! | kind | what | in the values |
//! |---|---|---|
//! | 0 | unchanged since the last report | |
//! | 1, 2 | false, true | |
//! | 3 | signed integer | its difference from the point's last one |
//! | 4 | unsigned integer | the same |
//! | 5, 6 | `f32`, `f64` | the same of its bits, taken as a signed integer |
//! | 7, 8 | text, list of texts | it; of a list, the number of texts first |
//! | 9 | no value | |
//! | 16 to 22 | `f64` that is a number of 0 to 6 decimals | the same of the number without its point: 230.1 is 2301 |
//! | 24 to 27 | `f32` that is a number of 0 to 3 decimals | the same |
//! | + 128 | the quality is not good | its number before all else; an exception's code behind that |
//!
//! Differences wrap and are zigzag varints. The last one is that of the same kind that the point had last in the block, 0
//! where its last number was of another kind; a schema new to the block takes over those of another one, as its first scan says.

use super::body::{put_quality, quality};
use crate::reading::{Quality, Reading, Value};
use crate::store::bytes::{Bytes, put_signed, put_text, put_varint};

/// In the kind of a reading: a quality other than good is in the values.
const QUALITY: u8 = 0x80;
/// A block has 20,000 readings and the rest of a scan; this is more than all a Modbus device can hold, bit by bit.
const MAX_READINGS: usize = 1 << 22;
const INT: u8 = 3;
const UINT: u8 = 4;
const F32: u8 = 5;
const F64: u8 = 6;
const DECIMAL_F64: u8 = 16;
const DECIMAL_F32: u8 = 24;
const POWERS: [f64; 7] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6];
/// Decimals that are looked for in an `f32`. Noise seldom looks like so few digits.
const F32_POWERS: usize = 4;
const F32_DIGITS: f64 = 1e6;
/// Beyond, an `f64` does not hold every integer.
const F64_DIGITS: f64 = 9_007_199_254_740_992.0;

/// The last number of a point, and its kind.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    kind: u8,
    number: i64,
}

impl Last {
    /// Where a number of that kind counts from.
    fn base(self, kind: u8) -> i64 {
        if self.kind == kind { self.number } else { 0 }
    }

    /// Appends the difference to a number, which becomes the last one.
    fn put(&mut self, values: &mut Vec<u8>, (kind, number): (u8, i64)) -> u8 {
        put_signed(values, number.wrapping_sub(self.base(kind)));
        *self = Self { kind, number };
        kind
    }

    /// Takes a difference: the number, which becomes the last one.
    fn take(&mut self, values: &mut Bytes<'_>, kind: u8) -> Option<i64> {
        let number = self.base(kind).wrapping_add(values.signed()?);
        *self = Self { kind, number };
        Some(number)
    }
}

/// The last numbers of all points of a block, by the place of their schema in its list.
#[derive(Debug, Default)]
pub(super) struct Memory {
    schemas: Vec<Option<Vec<Last>>>,
    readings: usize,
}

impl Memory {
    /// Whether that schema had a scan already.
    pub(super) fn knows(&self, place: usize) -> bool {
        matches!(self.schemas.get(place), Some(Some(_)))
    }

    /// Whether a scan of so many readings fits, and as many of the schema whose numbers it begins with.
    pub(super) fn has_room(&self, readings: usize) -> bool {
        let most = readings.saturating_mul(2).saturating_add(self.readings);
        most <= MAX_READINGS
    }

    /// Has a schema take over the last numbers of another one, or none.
    pub(super) fn begin(&mut self, place: usize, like: Option<usize>) -> Option<()> {
        let points = match like {
            Some(like) => self.schemas.get(like)?.clone()?,
            None => Vec::new(),
        };
        self.readings = self.readings.checked_add(points.len())?;
        if place >= self.schemas.len() {
            self.schemas.resize(place + 1, None);
        }
        *self.schemas.get_mut(place)? = Some(points);
        (self.readings <= MAX_READINGS).then_some(())
    }

    /// The points of a schema that has begun; `None` where there are too many readings to be true.
    fn points(&mut self, place: usize, count: usize) -> Option<&mut [Last]> {
        self.readings = self.readings.checked_add(count)?;
        let points = self.schemas.get_mut(place)?.as_mut()?;
        points.resize(count, Last::default());
        (self.readings <= MAX_READINGS).then_some(points)
    }

    /// Appends the readings of a scan of the schema at `place`, which has begun.
    pub(super) fn put(
        &mut self,
        (kinds, values): (&mut Vec<u8>, &mut Vec<u8>),
        place: usize,
        readings: &[Option<Reading>],
    ) -> Option<()> {
        let points = self.points(place, readings.len())?;
        for (reading, last) in readings.iter().zip(points) {
            match reading {
                None => kinds.push(0),
                Some(reading) => put_reading(kinds, values, reading, last),
            }
        }
        Some(())
    }

    /// Takes `count` readings of the schema at `place`, which has begun.
    pub(super) fn take(
        &mut self,
        kinds: &mut Bytes<'_>,
        values: &mut Bytes<'_>,
        place: usize,
        count: usize,
    ) -> Option<Vec<Option<Reading>>> {
        let kinds = kinds.take(count)?;
        let points = self.points(place, count)?;
        let mut readings = Vec::with_capacity(count);
        for (&kind, last) in kinds.iter().zip(points) {
            readings.push(match kind {
                0 => None,
                kind => Some(reading(values, kind, last)?),
            });
        }
        Some(readings)
    }
}

fn put_reading(kinds: &mut Vec<u8>, values: &mut Vec<u8>, reading: &Reading, last: &mut Last) {
    let quality = reading.quality();
    if quality != Quality::Good {
        put_quality(values, quality);
    }
    let kind = match reading.value() {
        Some(Value::Bool(false)) => 1,
        Some(Value::Bool(true)) => 2,
        Some(Value::Int(number)) => last.put(values, (INT, number)),
        Some(Value::UInt(number)) => last.put(values, (UINT, number.cast_signed())),
        Some(Value::F32(number)) => last.put(values, number_of_f32(number, last.kind)),
        Some(Value::F64(number)) => last.put(values, number_of_f64(number, last.kind)),
        Some(Value::Text(text)) => {
            put_text(values, text);
            7
        }
        Some(Value::Texts(texts)) => {
            put_varint(values, texts.len() as u64);
            texts.iter().for_each(|text| put_text(values, text));
            8
        }
        None => 9,
    };
    kinds.push(kind | if quality == Quality::Good { 0 } else { QUALITY });
}

fn reading(values: &mut Bytes<'_>, kind: u8, last: &mut Last) -> Option<Reading> {
    let quality = match kind & QUALITY {
        0 => Quality::Good,
        _ => quality(values)?,
    };
    let kind = kind & !QUALITY;
    let mut number = || last.take(values, kind);
    let value = match kind {
        1 => Value::Bool(false),
        2 => Value::Bool(true),
        INT => Value::Int(number()?),
        UINT => Value::UInt(number()?.cast_unsigned()),
        F32 => Value::F32(f32::from_bits(
            i32::try_from(number()?).ok()?.cast_unsigned(),
        )),
        F64 => Value::F64(f64::from_bits(number()?.cast_unsigned())),
        7 => Value::Text(values.text()?.into()),
        8 => {
            let count = values.count(1)?;
            let texts: Option<Vec<Box<str>>> =
                (0..count).map(|_| values.text().map(Into::into)).collect();
            Value::Texts(texts?.into())
        }
        9 => return Some(Reading::missing(quality)),
        DECIMAL_F64..DECIMAL_F32 => Value::F64(fraction(number()?, kind - DECIMAL_F64)?),
        DECIMAL_F32.. => Value::F32(narrow(fraction(number()?, kind - DECIMAL_F32)?)),
        _ => return None,
    };
    Some(Reading::with_quality(value, quality))
}

/// The kind and number of an `f64`. A point that had one with too many decimals is not tried again: it costs time, and
/// the difference from bits is no decimal's.
fn number_of_f64(value: f64, last: u8) -> (u8, i64) {
    let exact =
        |whole, decimals| Some(value.to_bits()) == fraction(whole, decimals).map(f64::to_bits);
    let found = (last != F64).then(|| {
        let from = last.checked_sub(DECIMAL_F64).filter(|_| last < DECIMAL_F32);
        decimal(value, from, POWERS.len(), F64_DIGITS, exact)
    });
    match found.flatten() {
        Some((decimals, whole)) => (DECIMAL_F64 + decimals, whole),
        None => (F64, value.to_bits().cast_signed()),
    }
}

/// The same of an `f32`.
fn number_of_f32(value: f32, last: u8) -> (u8, i64) {
    let exact = |whole, decimals| {
        Some(value.to_bits()) == fraction(whole, decimals).map(|found| narrow(found).to_bits())
    };
    let found = (last != F32).then(|| {
        let from = last.checked_sub(DECIMAL_F32);
        decimal(value.into(), from, F32_POWERS, F32_DIGITS, exact)
    });
    match found.flatten() {
        Some((decimals, whole)) => (DECIMAL_F32 + decimals, whole),
        None => (F32, value.to_bits().cast_signed().into()),
    }
}

/// The least number of decimals, from `from` on and below `end`, with which `value` is a number of few digits, and that
/// number without its point.
fn decimal(
    value: f64,
    from: Option<u8>,
    end: usize,
    digits: f64,
    exact: impl Fn(i64, u8) -> bool,
) -> Option<(u8, i64)> {
    let from = from.map_or(0, usize::from);
    let powers = POWERS.iter().zip(0u8..).take(end).skip(from);
    for (power, decimals) in powers {
        let whole = (value * power).round();
        if whole.abs() >= digits {
            return None;
        }
        #[expect(clippy::cast_possible_truncation, reason = "below 2^53, or no number")]
        let whole = whole as i64;
        if exact(whole, decimals) {
            return Some((decimals, whole));
        }
    }
    None
}

/// `whole` with its point back.
fn fraction(whole: i64, decimals: u8) -> Option<f64> {
    #[expect(
        clippy::cast_precision_loss,
        reason = "below 2^53 where it was written"
    )]
    let whole = whole as f64;
    Some(whole / POWERS.get(usize::from(decimals))?)
}

#[expect(clippy::cast_possible_truncation, reason = "the nearest is meant")]
fn narrow(value: f64) -> f32 {
    value as f32
}
