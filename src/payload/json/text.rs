//! The words of JSON (RFC 8259). Pure.

use std::fmt;
use std::io::Write;

use super::EXACT;
use super::time::Written;
use crate::reading::Name;

/// Appends JSON to a buffer.
pub(super) struct Writer<'a> {
    buffer: &'a mut Vec<u8>,
    integers_as_text: bool,
}

impl<'a> Writer<'a> {
    /// `integers_as_text`: integers beyond 2^53 stand in quotes.
    pub(super) fn new(buffer: &'a mut Vec<u8>, integers_as_text: bool) -> Self {
        Self {
            buffer,
            integers_as_text,
        }
    }

    /// Text that is JSON already.
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.buffer.extend_from_slice(text.as_bytes());
        self
    }

    /// A comma before all but the first of a list.
    pub(super) fn comma(&mut self, index: usize) -> &mut Self {
        if index > 0 {
            self.buffer.push(b',');
        }
        self
    }

    /// A name in quotes; nothing in it needs escaping.
    pub(super) fn name(&mut self, name: &Name) -> &mut Self {
        self.buffer.push(b'"');
        self.raw(name.as_str());
        self.buffer.push(b'"');
        self
    }

    /// A name as a key.
    pub(super) fn key(&mut self, name: &Name) -> &mut Self {
        self.name(name);
        self.buffer.push(b':');
        self
    }

    /// A text in quotes, escaped (RFC 8259, 7).
    pub(super) fn string(&mut self, text: &str) -> &mut Self {
        self.raw("\"");
        let mut rest = text;
        while let Some(place) = rest.find(|c: char| c < ' ' || c == '"' || c == '\\') {
            let (plain, special) = rest.split_at(place);
            self.raw(plain);
            let mut characters = special.chars();
            if let Some(special) = characters.next() {
                self.escape(special);
            }
            rest = characters.as_str();
        }
        self.raw(rest).raw("\"")
    }

    pub(super) fn boolean(&mut self, value: bool) -> &mut Self {
        self.raw(if value { "true" } else { "false" })
    }

    pub(super) fn integer(&mut self, value: i64) -> &mut Self {
        self.number(itoa::Buffer::new().format(value), value.unsigned_abs())
    }

    pub(super) fn unsigned(&mut self, value: u64) -> &mut Self {
        self.number(itoa::Buffer::new().format(value), value)
    }

    /// The shortest digits that give the same float of its width. Infinities and NaN, which JSON cannot say, are null.
    pub(super) fn float<F: zmij::Float + Finite>(&mut self, value: F) -> &mut Self {
        if value.is_finite() {
            self.raw(zmij::Buffer::new().format_finite(value))
        } else {
            self.raw("null")
        }
    }

    /// Eight hex digits.
    pub(super) fn hex(&mut self, value: u32) -> &mut Self {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        for place in (0..8).rev() {
            let digit = (value >> (place * 4)) & 0xF;
            let digit = DIGITS.get(digit as usize).copied().unwrap_or(b'0');
            self.buffer.push(digit);
        }
        self
    }

    /// A time in quotes, from nanoseconds since 1970.
    pub(super) fn time(&mut self, wall_ns: i64) -> &mut Self {
        self.raw("\"").raw(Written::new(wall_ns).as_str()).raw("\"")
    }

    /// Whatever prints as JSON.
    pub(super) fn display(&mut self, value: impl fmt::Display) -> &mut Self {
        // The buffer grows; writing to it cannot fail.
        let _ = write!(self.buffer, "{value}");
        self
    }

    fn number(&mut self, digits: &str, size: u64) -> &mut Self {
        if self.integers_as_text && size > EXACT {
            self.raw("\"").raw(digits).raw("\"")
        } else {
            self.raw(digits)
        }
    }

    fn escape(&mut self, special: char) {
        match special {
            '"' => self.raw("\\\""),
            '\\' => self.raw("\\\\"),
            '\n' => self.raw("\\n"),
            '\r' => self.raw("\\r"),
            '\t' => self.raw("\\t"),
            other => self.display(format_args!("\\u{:04x}", u32::from(other))),
        };
    }
}

/// Floats that JSON can say.
pub(super) trait Finite: Copy {
    /// Neither infinite nor NaN.
    fn is_finite(self) -> bool;
}

impl Finite for f32 {
    fn is_finite(self) -> bool {
        f32::is_finite(self)
    }
}

impl Finite for f64 {
    fn is_finite(self) -> bool {
        f64::is_finite(self)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(write: impl Fn(&mut Writer<'_>), integers_as_text: bool) -> String {
        let mut buffer = Vec::new();
        write(&mut Writer::new(&mut buffer, integers_as_text));
        String::from_utf8(buffer).unwrap()
    }

    proptest! {
        #[test]
        fn any_text_reads_back(text in any::<String>()) {
            let json = written(|writer| { writer.string(&text); }, false);
            prop_assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }

        #[test]
        fn any_float_reads_back(bits in any::<u64>(), short in any::<u32>()) {
            let (long, short) = (f64::from_bits(bits), f32::from_bits(short));
            if long.is_finite() {
                let json = written(|writer| { writer.float(long); }, false);
                prop_assert_eq!(json.parse::<f64>().unwrap(), long);
                serde_json::from_str::<serde_json::Value>(&json).unwrap();
            }
            if short.is_finite() {
                let json = written(|writer| { writer.float(short); }, false);
                prop_assert_eq!(json.parse::<f32>().unwrap(), short);
            }
        }
    }

    #[test]
    fn floats_are_as_short_as_their_width_allows() {
        let float = |value: f64| written(|writer| _ = writer.float(value), false);
        let short = |value: f32| written(|writer| _ = writer.float(value), false);
        assert_eq!(float(230.1), "230.1");
        assert_eq!(short(230.1), "230.1");
        assert_eq!(float(f64::from(230.1_f32)), "230.10000610351562");
        assert_eq!(float(-0.0), "-0.0");
        assert_eq!(float(1e30), "1e+30");
        assert_eq!(float(f64::NAN), "null");
        assert_eq!(short(f32::INFINITY), "null");
    }

    #[test]
    fn integers_beyond_two_to_the_53rd_are_text_where_asked() {
        let unsigned = |value, text| written(|writer| _ = writer.unsigned(value), text);
        let integer = |value, text| written(|writer| _ = writer.integer(value), text);
        assert_eq!(unsigned(u64::MAX, false), "18446744073709551615");
        assert_eq!(unsigned(u64::MAX, true), "\"18446744073709551615\"");
        assert_eq!(unsigned(1 << 53, true), "9007199254740992");
        assert_eq!(integer(-(1 << 53) - 1, true), "\"-9007199254740993\"");
        assert_eq!(integer(i64::MIN, false), "-9223372036854775808");
    }
}
