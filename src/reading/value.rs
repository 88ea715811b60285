//! A point's value and how far it can be trusted.

use std::fmt;
use std::str::FromStr;

/// A value as it is sent, after every transformation of the device map; it owns its texts, or borrows them ([`ValueRef`]).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value<Text = Box<str>, Texts = Box<[Box<str>]>> {
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
    Text(Text),
    /// The names of the set bits of a `flags` point.
    Texts(Texts),
}

/// A value whose texts are another's, such as that of a [`Reading`].
pub type ValueRef<'a> = Value<&'a str, &'a [Box<str>]>;

impl Value {
    /// The same value, its texts borrowed.
    pub fn as_ref(&self) -> ValueRef<'_> {
        match self {
            Self::Bool(bit) => Value::Bool(*bit),
            Self::Int(number) => Value::Int(*number),
            Self::UInt(number) => Value::UInt(*number),
            Self::F32(number) => Value::F32(*number),
            Self::F64(number) => Value::F64(*number),
            Self::Text(text) => Value::Text(text),
            Self::Texts(texts) => Value::Texts(texts),
        }
    }
}

impl<Text, Texts> Value<Text, Texts> {
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
pub struct Reading(Packed);

/// Both in one, the quality beside the tag and a text behind a thin pointer. Readings are most of what waits, is built into
/// blocks and is read again: what these take, most parts of the way wait for.
#[derive(Debug, Clone, PartialEq)]
enum Packed {
    Missing(Quality),
    Bool(Quality, bool),
    Int(Quality, i64),
    UInt(Quality, u64),
    F32(Quality, f32),
    F64(Quality, f64),
    Text(Quality, Box<Box<str>>),
    Texts(Quality, Box<Box<[Box<str>]>>),
}

impl Reading {
    /// A value that was read and keeps every rule.
    pub fn good(value: Value) -> Self {
        Self::with_quality(value, Quality::Good)
    }

    /// A value with a quality. Where the quality carries no value ([`Quality::has_value`]) the value is dropped.
    pub fn with_quality(value: Value, quality: Quality) -> Self {
        if !quality.has_value() {
            return Self::missing(quality);
        }
        Self(match value {
            Value::Bool(bit) => Packed::Bool(quality, bit),
            Value::Int(number) => Packed::Int(quality, number),
            Value::UInt(number) => Packed::UInt(quality, number),
            Value::F32(number) => Packed::F32(quality, number),
            Value::F64(number) => Packed::F64(quality, number),
            Value::Text(text) => Packed::Text(quality, Box::new(text)),
            Value::Texts(texts) => Packed::Texts(quality, Box::new(texts)),
        })
    }

    /// No value, and why.
    pub fn missing(quality: Quality) -> Self {
        Self(Packed::Missing(quality))
    }

    /// The value; `None` is sent as null.
    pub fn value(&self) -> Option<ValueRef<'_>> {
        Some(match &self.0 {
            Packed::Missing(_) => return None,
            Packed::Bool(_, bit) => Value::Bool(*bit),
            Packed::Int(_, number) => Value::Int(*number),
            Packed::UInt(_, number) => Value::UInt(*number),
            Packed::F32(_, number) => Value::F32(*number),
            Packed::F64(_, number) => Value::F64(*number),
            Packed::Text(_, text) => Value::Text(text),
            Packed::Texts(_, texts) => Value::Texts(texts),
        })
    }

    /// How far it can be trusted.
    pub fn quality(&self) -> Quality {
        match self.0 {
            Packed::Missing(quality)
            | Packed::Bool(quality, _)
            | Packed::Int(quality, _)
            | Packed::UInt(quality, _)
            | Packed::F32(quality, _)
            | Packed::F64(quality, _)
            | Packed::Text(quality, _)
            | Packed::Texts(quality, _) => quality,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_takes_two_words() {
        assert_eq!(
            size_of::<Option<Reading>>(),
            16,
            "what waits in the inlet, and how fast the store is, hang on it"
        );
    }

    #[test]
    fn a_reading_gives_back_what_it_was_made_of() {
        let values = [
            Value::Bool(true),
            Value::Int(i64::MIN),
            Value::UInt(u64::MAX),
            Value::F32(0.1),
            Value::F64(-0.1),
            Value::Text("on".into()),
            Value::Texts(["hot".into(), "dry".into()].into()),
        ];
        for value in values {
            for quality in [Quality::Good, Quality::OutOfRange, Quality::UnknownCode] {
                let reading = Reading::with_quality(value.clone(), quality);
                assert_eq!(reading.value(), Some(value.as_ref()));
                assert_eq!(reading.quality(), quality);
            }
            let not_read = Reading::with_quality(value.clone(), Quality::Exception(2));
            assert_eq!(not_read, Reading::missing(Quality::Exception(2)));
            assert_eq!(not_read.value(), None, "{value:?} was not read");
        }
    }
}
