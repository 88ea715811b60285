//! Exact decimal numbers for scaling: 2301 x 0.1 is 230.1, not 230.10000000000002.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// `mantissa` x 10^`exponent`, in lowest terms: the mantissa has no trailing zero, zero has exponent 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: i128,
    exponent: i16,
}

/// Why a text is no [`Decimal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecimalError {
    /// Not digits with an optional sign, point and exponent.
    #[error("not a decimal number")]
    Form,
    /// More than [`Decimal::MAX_DIGITS`] digits, or an exponent beyond [`Decimal::MAX_EXPONENT`].
    #[error(
        "a number has at most {} digits and an exponent of at most {}",
        Decimal::MAX_DIGITS,
        Decimal::MAX_EXPONENT
    )]
    Range,
}

impl Decimal {
    /// Most digits that a text may have: products of two stay within 128 bits.
    pub const MAX_DIGITS: usize = 18;

    /// Furthest power of ten that a text may name: `f64` ends at 308, and its smallest numbers at -324.
    pub const MAX_EXPONENT: i32 = 324;

    /// Zero.
    pub const ZERO: Self = Self {
        mantissa: 0,
        exponent: 0,
    };

    /// One.
    pub const ONE: Self = Self {
        mantissa: 1,
        exponent: 0,
    };

    /// `mantissa` x 10^`exponent`.
    pub fn new(mantissa: i128, exponent: i16) -> Self {
        let (mut mantissa, mut exponent) = (mantissa, exponent);
        if mantissa == 0 {
            return Self::ZERO;
        }
        while mantissa % 10 == 0 {
            mantissa /= 10;
            exponent = exponent.saturating_add(1);
        }
        Self { mantissa, exponent }
    }

    /// The number that the shortest text of `value` names; `None` of NaN and infinities.
    pub fn from_f64(value: f64) -> Option<Self> {
        value.is_finite().then(|| Text::of(value).parse().ok())?
    }

    /// The number that the shortest text of `value` names; `None` of NaN and infinities.
    pub fn from_f32(value: f32) -> Option<Self> {
        value.is_finite().then(|| Text::of(value).parse().ok())?
    }

    /// The digits.
    pub fn mantissa(self) -> i128 {
        self.mantissa
    }

    /// The power of ten.
    pub fn exponent(self) -> i16 {
        self.exponent
    }

    /// Whether it has no fraction.
    pub fn is_integer(self) -> bool {
        self.exponent >= 0
    }

    /// The integer, where it has no fraction and fits.
    pub fn to_integer(self) -> Option<i128> {
        let power = u32::try_from(self.exponent).ok()?;
        self.mantissa.checked_mul(10_i128.checked_pow(power)?)
    }

    /// The nearest `f64`; infinite beyond its range.
    pub fn to_f64(self) -> f64 {
        nearest_f64(self.mantissa, self.exponent)
    }

    /// The nearest `f32`; infinite beyond its range.
    pub fn to_f32(self) -> f32 {
        Text::scientific(self.mantissa, self.exponent)
            .parse()
            .unwrap_or(f32::NAN)
    }

    /// The product; `None` where it needs more than 38 digits.
    pub fn checked_mul(self, other: Self) -> Option<Self> {
        Some(Self::new(
            self.mantissa.checked_mul(other.mantissa)?,
            self.exponent.checked_add(other.exponent)?,
        ))
    }

    /// The sum; `None` where it needs more than 38 digits.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let exponent = self.exponent.min(other.exponent);
        let sum = self
            .mantissa_at(exponent)?
            .checked_add(other.mantissa_at(exponent)?)?;
        Some(Self::new(sum, exponent))
    }

    /// The difference; `None` where it needs more than 38 digits.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.checked_add(-other)
    }

    /// The distance from zero.
    pub fn abs(self) -> Self {
        Self {
            mantissa: self.mantissa.saturating_abs(),
            ..self
        }
    }

    /// The digits at a lower power of ten; `None` where they do not fit.
    pub fn mantissa_at(self, exponent: i16) -> Option<i128> {
        let power = u32::try_from(self.exponent.checked_sub(exponent)?).ok()?;
        self.mantissa.checked_mul(10_i128.checked_pow(power)?)
    }
}

/// The `f64` nearest to `mantissa` x 10^`exponent`.
pub fn nearest_f64(mantissa: i128, exponent: i16) -> f64 {
    // Both factors are exact as f64, so that the one rounding is that of the division (Clinger's fast path).
    if mantissa.unsigned_abs() <= 1 << 53
        && let Some(power) = POWERS.get(usize::from(exponent.unsigned_abs()))
    {
        #[expect(clippy::cast_precision_loss, reason = "at most 53 bits")]
        let digits = mantissa as f64;
        return if exponent < 0 {
            digits / power
        } else {
            digits * power
        };
    }
    Text::scientific(mantissa, exponent)
        .parse()
        .unwrap_or(f64::NAN)
}

/// The powers of ten that an `f64` holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

impl std::ops::Neg for Decimal {
    type Output = Self;

    fn neg(self) -> Self {
        Self {
            mantissa: self.mantissa.saturating_neg(),
            ..self
        }
    }
}

impl From<i64> for Decimal {
    fn from(value: i64) -> Self {
        Self::new(value.into(), 0)
    }
}

impl From<u64> for Decimal {
    fn from(value: u64) -> Self {
        Self::new(value.into(), 0)
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let signs = self.mantissa.signum().cmp(&other.mantissa.signum());
        if signs != Ordering::Equal || self.mantissa == 0 {
            return signs;
        }
        let exponent = self.exponent.min(other.exponent);
        match (self.mantissa_at(exponent), other.mantissa_at(exponent)) {
            (Some(left), Some(right)) => left.cmp(&right),
            // The one that does not fit when it is written out is the one further from zero.
            (None, _) => self.mantissa.signum().cmp(&0),
            (_, None) => 0.cmp(&other.mantissa.signum()),
        }
    }
}

impl FromStr for Decimal {
    type Err = DecimalError;

    /// Exactly what the text says: `"-0.1"`, `"1e-3"`, `"250"`.
    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (
                number,
                exponent.parse::<i32>().map_err(|_| DecimalError::Form)?,
            ),
            None => (text, 0),
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let negative = whole.starts_with('-');
        let whole = whole.strip_prefix(['+', '-']).unwrap_or(whole);
        let digits = || whole.bytes().chain(fraction.bytes());
        if digits().next().is_none() || !digits().all(|digit| digit.is_ascii_digit()) {
            return Err(DecimalError::Form);
        }
        if digits().skip_while(|&digit| digit == b'0').count() > Self::MAX_DIGITS
            || exponent.abs() > Self::MAX_EXPONENT
        {
            return Err(DecimalError::Range);
        }
        let mantissa = digits().fold(0_i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
        let exponent = i32::try_from(fraction.len())
            .ok()
            .and_then(|shift| i16::try_from(exponent.saturating_sub(shift)).ok())
            .ok_or(DecimalError::Range)?;
        Ok(Self::new(
            if negative { -mantissa } else { mantissa },
            exponent,
        ))
    }
}

impl fmt::Debug for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}e{}", self.mantissa, self.exponent)
    }
}

impl fmt::Display for Decimal {
    /// Plain digits as long as they stay short, else with an exponent.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.exponent {
            0..=20 => {
                write!(f, "{}", self.mantissa)?;
                (0..self.exponent).try_for_each(|_| f.write_str("0"))
            }
            -20..=-1 => {
                let places = usize::from(self.exponent.unsigned_abs());
                let digits = format!(
                    "{:0>width$}",
                    self.mantissa.unsigned_abs(),
                    width = places + 1
                );
                let (whole, fraction) = digits.split_at(digits.len() - places);
                let sign = if self.mantissa < 0 { "-" } else { "" };
                write!(f, "{sign}{whole}.{fraction}")
            }
            _ => write!(f, "{}e{}", self.mantissa, self.exponent),
        }
    }
}

/// A number as text without an allocation: 39 digits, sign, `e`, exponent.
struct Text {
    bytes: [u8; 64],
    len: usize,
}

impl Text {
    fn of(value: impl fmt::LowerExp) -> Self {
        Self::written(format_args!("{value:e}"))
    }

    fn scientific(mantissa: i128, exponent: i16) -> Self {
        Self::written(format_args!("{mantissa}e{exponent}"))
    }

    fn written(text: fmt::Arguments<'_>) -> Self {
        let mut this = Self {
            bytes: [0; 64],
            len: 0,
        };
        // What does not fit would leave no number; 64 bytes hold the longest of both forms.
        let _ = fmt::write(&mut this, text);
        this
    }

    fn parse<T: FromStr>(&self) -> Result<T, DecimalError> {
        let text = self.bytes.get(..self.len).unwrap_or_default();
        let text = str::from_utf8(text).map_err(|_| DecimalError::Form)?;
        text.parse().map_err(|_| DecimalError::Form)
    }
}

impl fmt::Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.bytes
            .get_mut(self.len..end)
            .ok_or(fmt::Error)?
            .copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
