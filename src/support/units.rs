//! Durations and sizes as text with a unit: `"250ms"`, `"2GiB"`.

use std::time::Duration;

/// Why a text is no duration or size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    /// There is no number at the start.
    #[error("it does not start with a number")]
    NoNumber,
    /// The number stands alone.
    #[error("the unit is missing")]
    NoUnit,
    /// The unit is not in the list.
    #[error("`{0}` is no unit for this")]
    Unit(String),
    /// Beyond what can be held, or finer than the smallest step.
    #[error("the number is too large, or finer than can be held")]
    Range,
}

/// Units of time in nanoseconds, largest first.
const TIME: &[(&str, u64)] = &[
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("min", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
];

/// Units of size in bytes, largest first.
const SIZE: &[(&str, u64)] = &[
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// The units of a duration, for messages.
pub const TIME_UNITS: &str = "us, ms, s, min, h or d";

/// The units of a size, for messages.
pub const SIZE_UNITS: &str = "B, KiB, MiB, GiB, TiB (or kB, MB, GB, TB)";

/// Reads a duration: a number, with a decimal point where wanted, and `us`, `ms`, `s`, `min`, `h` or `d`.
///
/// # Errors
/// [`UnitError`] says what is wrong with the text.
pub fn parse_duration(text: &str) -> Result<Duration, UnitError> {
    parse(text, TIME).map(Duration::from_nanos)
}

/// Reads a size in bytes: a number, with a decimal point where wanted, and `B`, `KiB`, `MiB`, `GiB`, `TiB`, or
/// the decimal `kB`, `MB`, `GB`, `TB`.
///
/// # Errors
/// [`UnitError`] says what is wrong with the text.
pub fn parse_size(text: &str) -> Result<u64, UnitError> {
    parse(text, SIZE)
}

/// A duration as configuration writes it, in the largest unit that needs no fraction.
pub fn format_duration(duration: Duration) -> String {
    let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    if nanoseconds == 0 {
        return "0s".to_owned();
    }
    format(nanoseconds, TIME).unwrap_or_else(|| format!("{duration:?}"))
}

/// A size as configuration writes it, in the largest unit that needs no fraction.
pub fn format_size(bytes: u64) -> String {
    format(bytes, SIZE).unwrap_or_else(|| format!("{bytes}B"))
}

fn format(number: u64, units: &[(&str, u64)]) -> Option<String> {
    units
        .iter()
        .find(|(_, factor)| number.is_multiple_of(*factor))
        .map(|(unit, factor)| format!("{}{unit}", number / factor))
}

fn parse(text: &str, units: &[(&str, u64)]) -> Result<u64, UnitError> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim();
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') || (number.contains('.') && fraction.is_empty()) {
        return Err(UnitError::NoNumber);
    }
    if unit.is_empty() {
        return Err(UnitError::NoUnit);
    }
    let factor = units
        .iter()
        .find(|(name, _)| *name == unit)
        .map(|(_, factor)| u128::from(*factor))
        .ok_or_else(|| UnitError::Unit(unit.to_owned()))?;
    if fraction.len() > 9 {
        return Err(UnitError::Range);
    }
    let parts = 10_u128.pow(u32::try_from(fraction.len()).unwrap_or(0));
    let digits: u128 = format!("{whole}{fraction}")
        .parse()
        .map_err(|_| UnitError::Range)?;
    let scaled = digits.checked_mul(factor).ok_or(UnitError::Range)?;
    if !scaled.is_multiple_of(parts) {
        return Err(UnitError::Range);
    }
    u64::try_from(scaled / parts).map_err(|_| UnitError::Range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_and_sizes_are_read() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1.5 s"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse_duration("30d"), Ok(Duration::from_secs(30 * 86_400)));
        assert_eq!(parse_duration("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_size("2GiB"), Ok(2 << 30));
        assert_eq!(parse_size("1.5kB"), Ok(1500));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(parse_duration("5"), Err(UnitError::NoUnit));
        assert_eq!(parse_duration("s"), Err(UnitError::NoNumber));
        assert_eq!(parse_duration("-1s"), Err(UnitError::NoNumber));
        assert_eq!(parse_duration("1.s"), Err(UnitError::NoNumber));
        assert_eq!(parse_duration("5m"), Err(UnitError::Unit("m".to_owned())));
        assert_eq!(parse_duration("0.0000001us"), Err(UnitError::Range));
        assert_eq!(parse_size("99999999TiB"), Err(UnitError::Range));
        assert_eq!(
            parse_size("9999999999999999999999999999999999999999B"),
            Err(UnitError::Range)
        );
    }

    #[test]
    fn what_is_written_is_read_back() {
        for text in ["250ms", "1min", "15min", "30d", "90s", "1500us", "2h"] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(parse_duration(&format_duration(duration)), Ok(duration));
        }
        assert_eq!(format_duration(Duration::from_secs(90)), "90s");
        assert_eq!(format_duration(Duration::ZERO), "0s");
        assert_eq!(format_size(2 << 30), "2GiB");
        assert_eq!(format_size(1000), "1kB");
    }
}
