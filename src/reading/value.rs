//! A point's value and how far it can be trusted.

use std::fmt;
use std::str::FromStr;

/// A value as it is sent, after every transformation of the device map.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A coil, a discrete input, or one bit of a register.
    Bool(bool),
    /// A signed integer; also unsigned ones that fit.
    Int(i64),
    /// An unsigned integer above `i64::MAX`.
    UInt(u64),
    /// A float read as 32 bits and not scaled: prints as the shortest `f32`. Always finite.
    F32(f32),
    /// Any other fraction: prints as the shortest `f64`. Always finite.
    F64(f64),
    /// Strings, enum texts, raw bytes as hex, dates as RFC 3339.
    Text(Box<str>),
    /// The names of the set bits of a `flags` point.
    Texts(Box<[Box<str>]>),
}

impl Value {
    /// As a 64-bit float, the nearest where it has more digits; `None`: it is no number.
    #[expect(
        clippy::cast_precision_loss,
        reason = "the nearest is what is asked for"
    )]
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Bool(bit) => Some(u8::from(*bit).into()),
            Self::Int(number) => Some(*number as f64),
            Self::UInt(number) => Some(*number as f64),
            Self::F32(number) => Some((*number).into()),
            Self::F64(number) => Some(*number),
            Self::Text(_) | Self::Texts(_) => None,
        }
    }
}

/// How far a reading can be trusted. The closed list of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Quality {
    /// Read, and within every rule of the map.
    Good,
    /// The device did not answer in time.
    Timeout,
    /// The line is down: socket or port cannot be opened, or it broke.
    NoConnection,
    /// The device answered with this Modbus exception code.
    Exception(u8),
    /// The answer's checksum was wrong.
    Crc,
    /// The raw value means "no value" (the map's `invalid`, a BCD nibble above 9).
    Invalid,
    /// The value stands, outside `min` and `max`.
    OutOfRange,
    /// NaN or infinite.
    NotANumber,
    /// The scale factor could not be read, or is beyond its range.
    NoScale,
    /// The number (or bit) has no name in the map's enum or flags; the number stands.
    UnknownCode,
    /// The answer of a serial device does not match the point's pattern.
    NoMatch,
    /// The device is not the model that the map is for.
    WrongDevice,
    /// The device itself says that the value is old.
    Stale,
    /// Switched off by configuration.
    Disabled,
}

impl Quality {
    /// Whether a value stands beside this quality; with all others the value is null.
    pub fn has_value(self) -> bool {
        matches!(self, Self::Good | Self::OutOfRange | Self::UnknownCode)
    }
}

impl fmt::Display for Quality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Timeout => "timeout",
            Self::NoConnection => "no-connection",
            Self::Exception(code) => return write!(f, "exception-{code}"),
            Self::Crc => "crc",
            Self::Invalid => "invalid",
            Self::OutOfRange => "out-of-range",
            Self::NotANumber => "not-a-number",
            Self::NoScale => "no-scale",
            Self::UnknownCode => "unknown-code",
            Self::NoMatch => "no-match",
            Self::WrongDevice => "wrong-device",
            Self::Stale => "stale",
            Self::Disabled => "disabled",
        })
    }
}

impl FromStr for Quality {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(code) = text.strip_prefix("exception-") {
            return code.parse().map(Self::Exception).map_err(drop);
        }
        [
            Self::Good,
            Self::Timeout,
            Self::NoConnection,
            Self::Crc,
            Self::Invalid,
            Self::OutOfRange,
            Self::NotANumber,
            Self::NoScale,
            Self::UnknownCode,
            Self::NoMatch,
            Self::WrongDevice,
            Self::Stale,
            Self::Disabled,
        ]
        .into_iter()
        .find(|quality| quality.to_string() == text)
        .ok_or(())
    }
}

/// A value and its quality. A value that was not read cannot be built: where the quality carries none, it is null.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    value: Option<Value>,
    quality: Quality,
}

impl Reading {
    /// A value that was read and keeps every rule.
    pub fn good(value: Value) -> Self {
        Self {
            value: Some(value),
            quality: Quality::Good,
        }
    }

    /// A value with a quality. Where the quality carries no value ([`Quality::has_value`]) the value is dropped.
    pub fn with_quality(value: Value, quality: Quality) -> Self {
        Self {
            value: quality.has_value().then_some(value),
            quality,
        }
    }

    /// No value, and why.
    pub fn missing(quality: Quality) -> Self {
        Self {
            value: None,
            quality,
        }
    }

    /// The value; `None` is sent as null.
    pub fn value(&self) -> Option<&Value> {
        self.value.as_ref()
    }

    /// How far it can be trusted.
    pub fn quality(&self) -> Quality {
        self.quality
    }
}
