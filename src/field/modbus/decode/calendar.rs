//! Dates and times of devices -> RFC 3339 in UTC.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp};

use super::super::map::{DateTimeForm, Zone};

/// The moment as RFC 3339; `None` where the registers hold no date.
///
/// `pattern` is the ordered value of up to 64 bits, `words` the registers with their bytes in order.
pub(super) fn read(
    form: DateTimeForm,
    zone: &Zone,
    pattern: u64,
    words: &[u16],
) -> Option<Box<str>> {
    let local = match form {
        DateTimeForm::Unix32 | DateTimeForm::Unix64 => {
            since_1970(SignedDuration::from_secs(pattern.cast_signed()))?
        }
        DateTimeForm::Unix64Ms => since_1970(SignedDuration::from_millis(pattern.cast_signed()))?,
        DateTimeForm::Ymdhms => ymdhms(words)?,
        DateTimeForm::Iec870 => iec870(words)?,
    };
    let moment = zone.0.to_timestamp(local).ok()?;
    Some(moment.to_string().into())
}

/// What a clock shows that counts from 1970 in its own zone.
fn since_1970(elapsed: SignedDuration) -> Option<DateTime> {
    let moment = Timestamp::UNIX_EPOCH.checked_add(elapsed).ok()?;
    Some(jiff::tz::TimeZone::UTC.to_datetime(moment))
}

/// Year (two digits mean 2000 and later), month, day, hour, minute, second.
fn ymdhms(words: &[u16]) -> Option<DateTime> {
    let &[year, month, day, hour, minute, second, ..] = words else {
        return None;
    };
    let year = if year < 100 { year + 2000 } else { year };
    civil(year, [month, day, hour, minute], second)
}

/// IEC 60870-5-4 as Schneider meters have it: year since 2000; month and day (bits 5 to 7: day of week); hour and
/// minute (bit 7: invalid); milliseconds.
fn iec870(words: &[u16]) -> Option<DateTime> {
    let &[year, date, time, milliseconds, ..] = words else {
        return None;
    };
    if time & 0x80 != 0 {
        return None;
    }
    let fields = [
        (date >> 8) & 0x0F,
        date & 0x1F,
        (time >> 8) & 0x1F,
        time & 0x3F,
    ];
    let moment = civil(2000 + (year & 0x7F), fields, 0)?;
    (milliseconds < 60_000).then_some(())?;
    moment
        .checked_add(SignedDuration::from_millis(milliseconds.into()))
        .ok()
}

fn civil(year: u16, [month, day, hour, minute]: [u16; 4], second: u16) -> Option<DateTime> {
    let small = |field: u16| i8::try_from(field).ok();
    DateTime::new(
        year.try_into().ok()?,
        small(month)?,
        small(day)?,
        small(hour)?,
        small(minute)?,
        small(second)?,
        0,
    )
    .ok()
}
