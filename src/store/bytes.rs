//! Small numbers and texts as bytes. Fixed-width numbers are little-endian; a varint has seven bits a byte, lowest first.

use crate::reading::{Name, RangeSet};

pub(super) fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push((number & 0x7f) as u8);
}

/// Zigzag: small numbers of either sign stay short.
#[allow(clippy::cast_sign_loss)]
pub(super) fn put_signed(out: &mut Vec<u8>, number: i64) {
    put_varint(out, (number << 1 ^ number >> 63) as u64);
}

pub(super) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_bytes(out, text.as_bytes());
}

/// A text that may be missing: its length plus one, or zero.
pub(super) fn put_option(out: &mut Vec<u8>, text: Option<&str>) {
    put_varint(out, text.map_or(0, |text| text.len() as u64 + 1));
    out.extend_from_slice(text.unwrap_or_default().as_bytes());
}

/// Number of ranges, then of each the distance from the end of the one before, and its length less one.
pub(super) fn put_ranges(out: &mut Vec<u8>, ranges: &RangeSet) {
    put_varint(out, ranges.range_count() as u64);
    let mut end = 0u64;
    for (first, last) in ranges.iter() {
        put_varint(out, first.wrapping_sub(end));
        put_varint(out, last.wrapping_sub(first));
        end = last;
    }
}

/// Takes values off the front of some bytes. `None`: they are not what they should be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(|[byte]: [u8; 1]| byte)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub(super) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    pub(super) fn varint(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    #[allow(clippy::cast_possible_wrap)]
    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.varint()?;
        Some((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// A count of things that take at least `least` bytes each: more cannot be there, and nothing is allocated for them.
    pub(super) fn count(&mut self, least: usize) -> Option<usize> {
        let count = usize::try_from(self.varint()?).ok()?;
        (count.checked_mul(least)? <= self.0.len()).then_some(count)
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.count(1)?;
        self.take(length)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn name(&mut self) -> Option<Name> {
        Name::new(self.text()?).ok()
    }

    pub(super) fn option(&mut self) -> Option<Option<&'a str>> {
        let Some(length) = self.varint()?.checked_sub(1) else {
            return Some(None);
        };
        let text = self.take(usize::try_from(length).ok()?)?;
        std::str::from_utf8(text).ok().map(Some)
    }

    pub(super) fn ranges(&mut self) -> Option<RangeSet> {
        let (count, mut end, mut ranges) = (self.count(2)?, 0u64, RangeSet::new());
        for _ in 0..count {
            let first = end.wrapping_add(self.varint()?);
            end = first.checked_add(self.varint()?)?;
            ranges.insert(first, end);
        }
        Some(ranges)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_is_put_is_taken(number: u64, signed: i64, text: String, option: Option<String>, pairs: Vec<(u64, u16)>) {
            let ranges: RangeSet = pairs.iter().map(|&(first, len)| (first, first.saturating_add(len.into()))).collect();
            let mut out = Vec::new();
            put_varint(&mut out, number);
            put_signed(&mut out, signed);
            put_text(&mut out, &text);
            put_option(&mut out, option.as_deref());
            put_ranges(&mut out, &ranges);
            let mut bytes = Bytes(&out);
            prop_assert_eq!(bytes.varint(), Some(number));
            prop_assert_eq!(bytes.signed(), Some(signed));
            prop_assert_eq!(bytes.text(), Some(text.as_str()));
            prop_assert_eq!(bytes.option(), Some(option.as_deref()));
            prop_assert_eq!(bytes.ranges(), Some(ranges));
            prop_assert!(bytes.is_empty());
        }
    }

    #[test]
    fn a_count_beyond_the_bytes_is_no_count() {
        let mut out = Vec::new();
        put_varint(&mut out, u64::MAX);
        assert_eq!(Bytes(&out).count(1), None);
        assert_eq!(Bytes(&[0xff; 10]).varint(), None);
    }
}
