//! Factor and offset, in decimal: of a float over its shortest text, of an integer exactly.

use super::super::map::{Scale, Transform};
use crate::reading::{Decimal, Quality, Reading, Value, ValueRef, nearest_f64};

/// What a value is multiplied by, and what is added then.
#[derive(Debug, Clone)]
pub(super) enum Factor {
    /// Known beforehand.
    Fixed(Linear),
    /// Ten to the value of another point, which is within ±30.
    Power10 {
        /// Added then.
        offset: Decimal,
    },
    /// The value of another point, times a number.
    Point {
        /// The number.
        times: Decimal,
        /// Added then.
        offset: Decimal,
    },
}

/// The largest power of ten that a factor point may name.
const MOST_POWER: i64 = 30;

impl Factor {
    pub(super) fn of(transform: &Transform) -> Option<Self> {
        let offset = transform.offset.unwrap_or(Decimal::ZERO);
        match transform.scale {
            None if transform.offset.is_none() => None,
            None => Some(Self::Fixed(Linear::new(Decimal::ONE, offset))),
            Some(Scale::Number(factor)) => Some(Self::Fixed(Linear::new(factor, offset))),
            Some(Scale::Power10(_)) => Some(Self::Power10 { offset }),
            Some(Scale::Point(_, times)) => Some(Self::Point { times, offset }),
        }
    }

    /// Scales `value`; `reading` is that of the factor's point. Text and bits are left as they are.
    pub(super) fn apply(&self, value: Value, reading: Option<&Reading>) -> Result<Value, Quality> {
        let linear = match self {
            Self::Fixed(linear) => return linear.apply(value),
            Self::Power10 { offset } => {
                let power = match reading.and_then(Reading::value) {
                    Some(Value::Int(power)) if power.abs() <= MOST_POWER => power,
                    // A power that went through a scale of its own.
                    Some(Value::F64(power)) => whole(power).ok_or(Quality::NoScale)?,
                    _ => return Err(Quality::NoScale),
                };
                let power = i16::try_from(power).map_err(|_| Quality::NoScale)?;
                Linear::new(Decimal::new(1, power), *offset)
            }
            Self::Point { times, offset } => {
                let factor = reading
                    .and_then(Reading::value)
                    .and_then(decimal)
                    .and_then(|factor| factor.checked_mul(*times))
                    .ok_or(Quality::NoScale)?;
                Linear::new(factor, *offset)
            }
        };
        linear.apply(value)
    }
}

/// A power of ten without a fraction, within the bound.
fn whole(power: f64) -> Option<i64> {
    let power = i64::try_from(Decimal::from_f64(power)?.to_integer()?).ok()?;
    (power.abs() <= MOST_POWER).then_some(power)
}

/// (`mul` x value + `add`) x 10^`exponent`: one power of ten for both, so that integers need no division until the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Linear {
    factor: Decimal,
    offset: Decimal,
    common: Option<Common>,
}

#[derive(Debug, Clone, Copy)]
struct Common {
    mul: i128,
    add: i128,
    exponent: i16,
}

impl Linear {
    fn new(factor: Decimal, offset: Decimal) -> Self {
        let exponent = if offset == Decimal::ZERO {
            factor.exponent()
        } else {
            factor.exponent().min(offset.exponent())
        };
        let common = factor.mantissa_at(exponent).and_then(|mul| {
            let add = if offset == Decimal::ZERO {
                Some(0)
            } else {
                offset.mantissa_at(exponent)
            };
            add.map(|add| Common { mul, add, exponent })
        });
        Self {
            factor,
            offset,
            common,
        }
    }

    fn apply(&self, value: Value) -> Result<Value, Quality> {
        let integer = match &value {
            Value::Int(number) => Some(i128::from(*number)),
            Value::UInt(number) => Some(i128::from(*number)),
            Value::F32(_) | Value::F64(_) => None,
            Value::Bool(_) | Value::Text(_) | Value::Texts(_) => return Ok(value),
        };
        if let (Some(integer), Some(common)) = (integer, self.common)
            && let Some(digits) = integer
                .checked_mul(common.mul)
                .and_then(|product| product.checked_add(common.add))
        {
            return self.integer(digits, common.exponent);
        }
        let exact = decimal(value.as_ref())
            .and_then(|number| number.checked_mul(self.factor))
            .and_then(|number| number.checked_add(self.offset));
        match exact {
            Some(number) => finite(number.to_f64()),
            // More than 38 digits: nothing exact is left to keep.
            None => finite(approximate(&value).mul_add(self.factor.to_f64(), self.offset.to_f64())),
        }
    }

    /// `digits` x 10^`exponent`: an integer where factor and offset are whole numbers and it fits 64 bits.
    fn integer(&self, digits: i128, exponent: i16) -> Result<Value, Quality> {
        if self.factor.is_integer() && self.offset.is_integer() {
            let whole = u32::try_from(exponent)
                .ok()
                .and_then(|power| 10_i128.checked_pow(power))
                .and_then(|power| digits.checked_mul(power));
            if let Some(number) = whole.and_then(|whole| i64::try_from(whole).ok()) {
                return Ok(Value::Int(number));
            }
            if let Some(number) = whole.and_then(|whole| u64::try_from(whole).ok()) {
                return Ok(Value::UInt(number));
            }
        }
        finite(nearest_f64(digits, exponent))
    }
}

fn finite(number: f64) -> Result<Value, Quality> {
    if number.is_finite() {
        Ok(Value::F64(number))
    } else {
        Err(Quality::NotANumber)
    }
}

/// The number as it is sent, exactly; `None` of texts.
pub(super) fn decimal(value: ValueRef<'_>) -> Option<Decimal> {
    match value {
        Value::Bool(bit) => Some(Decimal::from(i64::from(bit))),
        Value::Int(number) => Some(Decimal::from(number)),
        Value::UInt(number) => Some(Decimal::from(number)),
        Value::F32(number) => Decimal::from_f32(number),
        Value::F64(number) => Decimal::from_f64(number),
        Value::Text(_) | Value::Texts(_) => None,
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "used where no exact form is left"
)]
fn approximate(value: &Value) -> f64 {
    match value {
        Value::Int(number) => *number as f64,
        Value::UInt(number) => *number as f64,
        Value::F32(number) => (*number).into(),
        Value::F64(number) => *number,
        Value::Bool(_) | Value::Text(_) | Value::Texts(_) => f64::NAN,
    }
}
