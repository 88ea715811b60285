//! Times as RFC 3339 prints them, in UTC with microseconds. Pure.

/// `2026-11-20T09:00:00.123456Z`
pub(super) struct Written([u8; 27]);

impl Written {
    /// From nanoseconds since 1970; what is below a microsecond is cut off. All of an `i64` lies within years of four
    /// digits.
    pub(super) fn new(wall_ns: i64) -> Self {
        let microseconds = wall_ns.div_euclid(1_000);
        let (seconds, microseconds) = (
            microseconds.div_euclid(1_000_000),
            microseconds.rem_euclid(1_000_000),
        );
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil(days);
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let mut put = |last: usize, digits: usize, value: i64| {
            let mut value = value;
            for place in (0..digits).filter_map(|back| last.checked_sub(back)) {
                let digit = u8::try_from(value % 10).unwrap_or(0);
                if let Some(byte) = text.get_mut(place) {
                    *byte = b'0' + digit;
                }
                value /= 10;
            }
        };
        put(3, 4, year);
        put(6, 2, month);
        put(9, 2, day);
        put(12, 2, second / 3_600);
        put(15, 2, second / 60 % 60);
        put(18, 2, second % 60);
        put(25, 6, microseconds);
        Self(text)
    }

    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// Year, month and day of a day counted from 1970-01-01, in the Gregorian calendar. The years are taken from March on, so
/// that the leap day is the last of a year, and in eras of 400 years, which are all alike.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_the_calendar(wall_ns in any::<i64>()) {
            let text = Written::new(wall_ns);
            let cut = i128::from(wall_ns.div_euclid(1_000)) * 1_000;
            let time = jiff::Timestamp::from_nanosecond(cut).unwrap();
            prop_assert_eq!(text.as_str(), format!("{time:.6}"));
        }
    }

    #[test]
    fn the_ends_and_the_leap_days_hold() {
        let second = |seconds: i64| Written::new(seconds * 1_000_000_000).as_str().to_owned();
        assert_eq!(Written::new(0).as_str(), "1970-01-01T00:00:00.000000Z");
        assert_eq!(Written::new(-1).as_str(), "1969-12-31T23:59:59.999999Z");
        assert_eq!(second(951_782_400), "2000-02-29T00:00:00.000000Z");
        assert_eq!(second(1_709_251_199), "2024-02-29T23:59:59.000000Z");
        let end = Written::new(i64::MAX);
        assert_eq!(end.as_str(), "2262-04-11T23:47:16.854775Z");
    }
}
