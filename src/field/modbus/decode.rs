//! From registers and bits to readings, in the order of the contract: invalid, bits, scale, offset, names, limits.
//! Pure; what a point needs is worked out once, in its [`Recipe`].

mod calendar;
mod raw;
mod scale;

use raw::{Raw, Shape};
use scale::Factor;

use super::map::{Bits, Names, Order, Point, RawType, Transform};
use crate::reading::{Decimal, Quality, Reading, Value};

/// What was read of a point.
#[derive(Debug, Clone, Copy)]
pub enum Places<'a> {
    /// Its registers, from its first one on.
    Registers(&'a [u16]),
    /// Its bit of a bit table.
    Bit(bool),
}

/// How to make a reading of what was read of one point.
#[derive(Debug, Clone)]
pub struct Recipe {
    raw: RawType,
    order: Order,
    steps: Option<Box<Steps>>,
}

/// Everything that is done with a raw value; most points have none of it.
#[derive(Debug, Clone)]
struct Steps {
    invalid: Vec<u64>,
    bits: Option<Bits>,
    factor: Option<Factor>,
    names: Option<Names>,
    min: Option<Decimal>,
    max: Option<Decimal>,
}

impl Recipe {
    /// The recipe of `point`.
    pub fn new(point: &Point) -> Self {
        Self {
            raw: point.raw.clone(),
            order: point.order,
            steps: (point.transform != Transform::default())
                .then(|| Box::new(Steps::of(&point.transform))),
        }
    }

    /// Of the value as it is in the registers, without any transformation.
    pub fn plainly(raw: &RawType, order: Order) -> Self {
        Self {
            raw: raw.clone(),
            order,
            steps: None,
        }
    }

    /// Makes the reading. `factor` is the reading of the point's scale factor, where it has one.
    pub fn read(&self, places: Places<'_>, factor: Option<&Reading>) -> Reading {
        let result = match (places, &self.steps) {
            (Places::Bit(bit), None) => Ok(Reading::good(Value::Bool(bit))),
            (Places::Bit(bit), Some(steps)) => {
                steps.finish(Value::Bool(bit), u64::from(bit), factor)
            }
            (Places::Registers(words), _) if words.len() < usize::from(self.raw.width()) => {
                Err(Quality::Invalid)
            }
            (Places::Registers(words), None) => self.plain(words),
            (Places::Registers(words), Some(steps)) => self.transformed(words, steps, factor),
        };
        result.unwrap_or_else(Reading::missing)
    }

    /// The quick way of the common types; the long one does the same.
    fn plain(&self, words: &[u16]) -> Result<Reading, Quality> {
        let value = match (&self.raw, words, self.order) {
            (RawType::U16, &[word, ..], Order::BIG) => Value::Int(word.into()),
            (RawType::I16, &[word, ..], Order::BIG) => Value::Int(word.cast_signed().into()),
            _ => raw::read(&self.raw, self.order, words)?.value()?,
        };
        Ok(Reading::good(value))
    }

    fn transformed(
        &self,
        words: &[u16],
        steps: &Steps,
        factor: Option<&Reading>,
    ) -> Result<Reading, Quality> {
        let shape = Shape::of(&self.raw);
        let pattern = shape.map_or(0, |shape| raw::pattern(shape, self.order, words));
        if shape.is_some() && steps.invalid.contains(&pattern) {
            return Err(Quality::Invalid);
        }
        let (value, pattern) = match steps.bits {
            Some(Bits::One(bit)) => {
                let set = select(pattern, bit, bit);
                (Value::Bool(set == 1), set)
            }
            Some(Bits::Range(low, high)) => {
                let selected = select(pattern, low, high);
                (Raw::UInt(selected).value()?, selected)
            }
            None => (raw::read(&self.raw, self.order, words)?.value()?, pattern),
        };
        steps.finish(value, pattern, factor)
    }
}

/// The bits `low..=high` of `pattern`.
fn select(pattern: u64, low: u8, high: u8) -> u64 {
    let width = u32::from(high.saturating_sub(low)) + 1;
    let mask = u64::MAX
        .checked_shr(64_u32.saturating_sub(width))
        .unwrap_or(0);
    pattern.checked_shr(low.into()).unwrap_or(0) & mask
}

impl Steps {
    fn of(transform: &Transform) -> Self {
        Self {
            invalid: transform.invalid.clone(),
            bits: transform.bits,
            factor: Factor::of(transform),
            names: transform.names.clone(),
            min: transform.min,
            max: transform.max,
        }
    }

    /// Scale, offset, names, limits. `pattern` is the raw value as unsigned, for the bits of `flags`.
    fn finish(
        &self,
        value: Value,
        pattern: u64,
        factor_reading: Option<&Reading>,
    ) -> Result<Reading, Quality> {
        let value = match &self.factor {
            Some(factor) => factor.apply(value, factor_reading)?,
            None => value,
        };
        match &self.names {
            Some(Names::Enum(names)) => Ok(named(value, names)),
            Some(Names::Flags(names)) => Ok(flagged(pattern, names)),
            None => Ok(self.limited(value)),
        }
    }

    fn limited(&self, value: Value) -> Reading {
        if self.min.is_none() && self.max.is_none() {
            return Reading::good(value);
        }
        let outside = scale::decimal(value.as_ref()).is_some_and(|number| {
            self.min.is_some_and(|min| number < min) || self.max.is_some_and(|max| number > max)
        });
        if outside {
            Reading::with_quality(value, Quality::OutOfRange)
        } else {
            Reading::good(value)
        }
    }
}

/// The text of a number, or the number itself where it has none.
fn named(value: Value, names: &[(i64, String)]) -> Reading {
    let code = match &value {
        Value::Bool(bit) => Some(i64::from(*bit)),
        Value::Int(number) => Some(*number),
        _ => None,
    };
    let name = code
        .and_then(|code| names.binary_search_by_key(&code, |&(known, _)| known).ok())
        .and_then(|place| names.get(place));
    match (name, value) {
        (Some((_, text)), _) => Reading::good(Value::Text(text.as_str().into())),
        (None, Value::Bool(bit)) => {
            Reading::with_quality(Value::Int(bit.into()), Quality::UnknownCode)
        }
        (None, value) => Reading::with_quality(value, Quality::UnknownCode),
    }
}

/// The names of the set bits; one without a name is left out and marks the reading.
fn flagged(pattern: u64, names: &[(u8, String)]) -> Reading {
    let is_set = |bit: u8| pattern.checked_shr(bit.into()).unwrap_or(0) & 1 == 1;
    let set = names.iter().filter(|(bit, _)| is_set(*bit));
    let texts: Box<[Box<str>]> = set.clone().map(|(_, text)| text.as_str().into()).collect();
    let known = set.fold(0_u64, |sum, (bit, _)| {
        sum | 1_u64.checked_shl((*bit).into()).unwrap_or(0)
    });
    let quality = if pattern & !known == 0 {
        Quality::Good
    } else {
        Quality::UnknownCode
    };
    Reading::with_quality(Value::Texts(texts), quality)
}

#[cfg(test)]
mod tests;
