//! Numbers, times and tables as people read them. Pure.

use std::time::Duration;

use jiff::Timestamp;

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// A table with its columns aligned, two spaces between them, a line a row; the first row is the heading.
pub(super) fn table(columns: &[Align], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for ((cell, align), width) in row.iter().zip(columns).zip(&widths) {
            match align {
                Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                Align::Right => line.push_str(&format!("{cell:>width$}  ")),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A count with its thousands apart: `12,279`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count and what is counted, in the plural where there is not one.
pub(in crate::cli) fn counted(number: u64, one: &str) -> String {
    let end = if number == 1 { "" } else { "s" };
    format!("{} {one}{end}", count(number))
}

/// A size in bytes, with two or three digits: `1.2 GiB`.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    // In tenths of the unit, so that no float is needed.
    let (mut tenths, mut unit) = (u128::from(bytes) * 10 / 1024, "KiB");
    for next in UNITS.iter().skip(1) {
        if tenths < 10_240 {
            break;
        }
        (tenths, unit) = (tenths / 1024, next);
    }
    if tenths < 100 {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    } else {
        format!("{} {unit}", tenths / 10)
    }
}

/// A span of time in its two largest units: `3 d 4 h`.
pub(super) fn span(length: Duration) -> String {
    const UNITS: [(&str, u64); 4] = [("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)];
    let seconds = length.as_secs();
    let mut parts = UNITS
        .iter()
        .zip(UNITS.iter().skip(1))
        .filter(|((_, large), _)| seconds >= *large);
    match parts.next() {
        None => format!("{seconds} s"),
        Some(((unit, large), (below, small))) => match seconds % large / small {
            0 => format!("{} {unit}", seconds / large),
            rest => format!("{} {unit} {rest} {below}", seconds / large),
        },
    }
}

/// How long before `now` a time was, both in nanoseconds since 1970.
pub(super) fn ago(now: i64, then: i64) -> String {
    match u64::try_from(now.saturating_sub(then)) {
        Ok(passed) => format!("{} ago", span(Duration::from_nanos(passed))),
        Err(_) => "in the future".to_owned(),
    }
}

/// A time in UTC, to the second: `2026-11-20 09:00:00 UTC`.
pub(super) fn time(nanoseconds: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default();
    time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A time as messages have it.
pub(super) fn rfc3339(nanoseconds: i64) -> String {
    let time = Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or_default();
    format!("{time:.6}")
}

/// Control characters would move the reader's cursor, or more.
pub(super) fn printable(text: &str) -> String {
    let one = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_sizes() {
        let shown = [0, 999, 1_000, 12_279, 1_234_567].map(count);
        assert_eq!(shown, ["0", "999", "1,000", "12,279", "1,234,567"]);
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(0, "record"), "0 records");
        let sizes = [0, 1023, 1024, 1536, 10 << 10, 1 << 20, 1300 << 20, u64::MAX].map(size);
        let expected = [
            "0 B",
            "1023 B",
            "1.0 KiB",
            "1.5 KiB",
            "10 KiB",
            "1.0 MiB",
            "1.2 GiB",
            "16777215 TiB",
        ];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn spans_have_their_two_largest_units() {
        let shown = [0, 59, 60, 61, 3_600, 7_500, 86_400 * 3 + 3_600 * 4 + 59]
            .map(|seconds| span(Duration::from_secs(seconds)));
        let expected = [
            "0 s",
            "59 s",
            "1 min",
            "1 min 1 s",
            "1 h",
            "2 h 5 min",
            "3 d 4 h",
        ];
        assert_eq!(shown, expected);
        assert_eq!(ago(5, 7_000_000_000), "in the future");
        assert_eq!(ago(9_000_000_000, 7_000_000_000), "2 s ago");
    }

    #[test]
    fn columns_stand_below_each_other() {
        let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
        let rows = [
            row(["upstream", "backlog", "oldest"]),
            row(["mes", "1,200", ""]),
        ];
        assert_eq!(
            table(&[Align::Left, Align::Right, Align::Left], &rows),
            "upstream  backlog  oldest\nmes         1,200\n"
        );
    }

    #[test]
    fn times_are_in_utc() {
        assert_eq!(time(1_763_629_200_123_456_789), "2025-11-20 09:00:00 UTC");
        assert_eq!(
            rfc3339(1_763_629_200_123_456_789),
            "2025-11-20T09:00:00.123456Z"
        );
        assert_eq!(printable("a\x1b[2Jb\n"), "a\u{fffd}[2Jb\u{fffd}");
    }
}
