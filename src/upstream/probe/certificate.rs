//! When a certificate ends (X.509, RFC 5280, 4.1; DER, X.690). Pure.

const SEQUENCE: u8 = 0x30;
/// `version`, which is left out in certificates of version 1.
const VERSION: u8 = 0xA0;
const UTC_TIME: u8 = 0x17;
const GENERALISED_TIME: u8 = 0x18;

/// Tag and content.
type Element<'a> = (u8, &'a [u8]);

/// The second after which the certificate is not valid, since 1970; `None`: it cannot be read.
pub(super) fn not_after(der: &[u8]) -> Option<i64> {
    let (certificate, _) = element(der, SEQUENCE)?;
    let (body, _) = element(certificate, SEQUENCE)?;
    let body = element(body, VERSION).map_or(body, |(_, rest)| rest);
    // Serial number, signature algorithm, issuer.
    let (_, body) = first(body)?;
    let (_, body) = first(body)?;
    let (_, body) = first(body)?;
    let (validity, _) = element(body, SEQUENCE)?;
    let (_, validity) = first(validity)?;
    let ((tag, time), _) = first(validity)?;
    seconds(tag, std::str::from_utf8(time).ok()?)
}

/// RFC 5280, 4.1.2.5: always in UTC, with seconds.
fn seconds(tag: u8, text: &str) -> Option<i64> {
    let text = text.strip_suffix('Z')?;
    let (year, rest): (i16, &str) = match tag {
        UTC_TIME => {
            let (year, rest) = text.split_at_checked(2)?;
            let year: i16 = year.parse().ok()?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALISED_TIME => {
            let (year, rest) = text.split_at_checked(4)?;
            (year.parse().ok()?, rest)
        }
        _ => return None,
    };
    let two = |place: usize| rest.get(place..place + 2)?.parse::<i8>().ok();
    let time = jiff::civil::DateTime::new(year, two(0)?, two(2)?, two(4)?, two(6)?, two(8)?, 0);
    let time = time.ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(time.timestamp().as_second())
}

/// The content of the first element, which must have this tag, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let ((found, content), rest) = first(der)?;
    (found == tag).then_some((content, rest))
}

/// Tag and content of the first element, and what follows it.
fn first(der: &[u8]) -> Option<(Element<'_>, &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        short @ 0..=0x7F => (usize::from(*short), rest),
        // The number of bytes of the length; certificates need two, four are more than any has.
        long @ 0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(long & 0x7F))?;
            (
                bytes
                    .iter()
                    .fold(0, |length, byte| length << 8 | usize::from(*byte)),
                rest,
            )
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(((*tag, content), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn ends(year: i32, month: u8, day: u8) -> Vec<u8> {
        let mut params = CertificateParams::new(["broker".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, month, day);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn both_forms_of_time_are_read() {
        assert_eq!(not_after(&ends(2027, 1, 1)), Some(1_798_761_600));
        // From 2050 on the form has four digits.
        assert_eq!(not_after(&ends(2060, 12, 31)), Some(2_871_676_800));
    }

    proptest! {
        #[test]
        fn damage_is_no_reason_to_panic(place in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
            let mut der = ends(2027, 1, 1);
            let place = place.index(der.len());
            der[place] = byte;
            not_after(&der);
            der.truncate(cut.index(der.len()));
            not_after(&der);
        }
    }
}
