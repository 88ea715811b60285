use super::super::map::{Byte, DateTimeForm, Scale, Table, Zone};
use super::*;
use crate::reading::Name;

mod transforms;

const ABCD: Order = Order::BIG;
const CDAB: Order = Order {
    words_reversed: true,
    bytes_swapped: false,
};
const BADC: Order = Order {
    words_reversed: false,
    bytes_swapped: true,
};
const DCBA: Order = Order {
    words_reversed: true,
    bytes_swapped: true,
};

fn point(raw: RawType) -> Point {
    let name = |text| Name::new(text).unwrap();
    Point::plain(name("p"), name("default"), (Table::HoldingRegister, 0), raw)
}

fn read_in(raw: RawType, order: Order, words: &[u16]) -> Reading {
    let point = Point {
        order,
        ..point(raw)
    };
    let quick = Recipe::new(&point).read(Places::Registers(words), None);
    // The long way must say the same.
    let mut long = point;
    long.transform.max = Some(Decimal::new(1, 300));
    let slow = Recipe::new(&long).read(Places::Registers(words), None);
    assert_eq!(quick, slow);
    quick
}

fn read(raw: RawType, words: &[u16]) -> Reading {
    read_in(raw, ABCD, words)
}

fn with(raw: RawType, words: &[u16], change: impl FnOnce(&mut Transform)) -> Reading {
    let mut point = point(raw);
    change(&mut point.transform);
    Recipe::new(&point).read(Places::Registers(words), None)
}

fn by(raw: RawType, words: &[u16], scale: Scale, factor: Reading) -> Reading {
    let mut point = point(raw);
    point.transform.scale = Some(scale);
    Recipe::new(&point).read(Places::Registers(words), Some(&factor))
}

fn number(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn int(number: i64) -> Reading {
    Reading::good(Value::Int(number))
}

fn f64(number: f64) -> Reading {
    Reading::good(Value::F64(number))
}

fn text(text: &str) -> Reading {
    Reading::good(Value::Text(text.into()))
}

fn missing(quality: Quality) -> Reading {
    Reading::missing(quality)
}

#[test]
fn orders_are_those_of_every_width() {
    use RawType::{U16, U32, U64};
    let u32_value = int(0x1234_5678);
    for (order, words) in [
        (ABCD, [0x1234, 0x5678]),
        (CDAB, [0x5678, 0x1234]),
        (BADC, [0x3412, 0x7856]),
        (DCBA, [0x7856, 0x3412]),
    ] {
        assert_eq!(read_in(U32, order, &words), u32_value, "{order:?}");
    }
    let u64_value = int(0x0102_0304_0506_0708);
    for (order, words) in [
        (ABCD, [0x0102, 0x0304, 0x0506, 0x0708]),
        (CDAB, [0x0708, 0x0506, 0x0304, 0x0102]),
        (BADC, [0x0201, 0x0403, 0x0605, 0x0807]),
        (DCBA, [0x0807, 0x0605, 0x0403, 0x0201]),
    ] {
        assert_eq!(read_in(U64, order, &words), u64_value, "{order:?}");
    }
    assert_eq!(read_in(U16, CDAB, &[0x1234]), int(0x1234));
    assert_eq!(read_in(U16, BADC, &[0x1234]), int(0x3412));
    assert_eq!(
        read_in(RawType::Text(2), BADC, &[0x6261, 0x6463]),
        text("abcd")
    );
    assert_eq!(
        read_in(RawType::Text(2), CDAB, &[0x6162, 0x6364]),
        text("abcd")
    );
    assert_eq!(
        read_in(RawType::Bytes(2), DCBA, &[0x0AFF, 0x6364]),
        text("0aff6364")
    );
}

#[test]
fn integers() {
    use RawType::{I8, I16, I32, I64, Sm16, U8, U16, U64};
    assert_eq!(read(U8(Byte::High), &[0xFE01]), int(0xFE));
    assert_eq!(read(U8(Byte::Low), &[0xFE01]), int(1));
    assert_eq!(read(I8(Byte::High), &[0xFE01]), int(-2));
    assert_eq!(read_in(I8(Byte::Low), BADC, &[0xFE01]), int(-2));
    assert_eq!(read(U16, &[0xFFFF]), int(65_535));
    assert_eq!(read(I16, &[0xFFFF]), int(-1));
    assert_eq!(read(I32, &[0xFFFF, 0xFFFE]), int(-2));
    assert_eq!(read(I64, &[0x8000, 0, 0, 0]), int(i64::MIN));
    let most = Reading::good(Value::UInt(u64::MAX));
    assert_eq!(read(U64, &[0xFFFF; 4]), most);
    assert_eq!(read(Sm16, &[0x8005]), int(-5));
    assert_eq!(read(Sm16, &[0x8000]), int(0));
    assert_eq!(read(Sm16, &[0x7FFF]), int(0x7FFF));
}

#[test]
fn decimal_digits() {
    use RawType::{Bcd16, Bcd32, Mod10};
    assert_eq!(read(Bcd16, &[0x1234]), int(1234));
    assert_eq!(read(Bcd16, &[0x12A4]), missing(Quality::Invalid));
    assert_eq!(read(Bcd32, &[0x9876, 0x5432]), int(98_765_432));
    assert_eq!(read_in(Bcd32, CDAB, &[0x5432, 0x9876]), int(98_765_432));
    let minus = |number: i16| number.cast_unsigned();
    assert_eq!(read(Mod10, &[12, 345]), int(120_345));
    assert_eq!(read(Mod10, &[minus(-12), 345]), int(-120_345));
    assert_eq!(read(Mod10, &[minus(-12), minus(-345)]), int(-120_345));
    assert_eq!(read(Mod10, &[0, minus(-345)]), int(-345));
    assert_eq!(read_in(Mod10, CDAB, &[345, 12]), int(120_345));
    for bad in [[10_000, 0], [0, 10_000], [1, minus(-1)], [0x8000, 0]] {
        assert_eq!(read(Mod10, &bad), missing(Quality::Invalid), "{bad:?}");
    }
}

#[test]
fn floats() {
    use RawType::{F32, F64, PfQuadrant};
    let words = |number: f32| {
        let bits = number.to_bits().to_be_bytes();
        [
            u16::from_be_bytes([bits[0], bits[1]]),
            u16::from_be_bytes([bits[2], bits[3]]),
        ]
    };
    let f32 = |number: f32| Reading::good(Value::F32(number));
    assert_eq!(read(F32, &words(230.1)), f32(230.1));
    let [high, low] = words(-0.25);
    assert_eq!(read_in(F32, CDAB, &[low, high]), f32(-0.25));
    for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        assert_eq!(read(F32, &words(odd)), missing(Quality::NotANumber));
    }
    assert_eq!(read(F64, &[0x3FF8, 0, 0, 0]), f64(1.5));
    assert_eq!(read(F64, &[0x7FF0, 0, 0, 0]), missing(Quality::NotANumber));
    for (x, folded) in [
        (0.5, 0.5),
        (1.0, 1.0),
        (1.3, 0.7),
        (-1.3, -0.7),
        (-1.0, -1.0),
    ] {
        assert_eq!(read(PfQuadrant, &words(x)), f32(folded), "{x}");
    }
}

#[test]
fn texts() {
    let read = |words: &[u16]| read(RawType::Text(4), words);
    assert_eq!(read(&[0x2041, 0x4220, 0x4320, 0x2020]), text("AB C"));
    assert_eq!(read(&[0x4142, 0x0043, 0x4343, 0x4343]), text("AB"));
    assert_eq!(read(&[0x2020, 0x2020, 0x2020, 0x2020]), text(""));
    assert_eq!(read(&[0xC3A4, 0xFF41, 0, 0]), text("ä\u{FFFD}A"));
}

#[test]
fn dates() {
    use DateTimeForm::{Iec870, Unix32, Unix64, Unix64Ms, Ymdhms};
    let utc = || Zone(jiff::tz::TimeZone::UTC);
    let berlin = || Zone(jiff::tz::TimeZone::get("Europe/Berlin").unwrap());
    let date = |form, words: &[u16]| read(RawType::DateTime(form, utc()), words);
    assert_eq!(
        date(Unix32, &[0x6553, 0xF100]),
        text("2023-11-14T22:13:20Z")
    );
    assert_eq!(
        date(Unix64, &[0, 0, 0x6553, 0xF100]),
        text("2023-11-14T22:13:20Z")
    );
    assert_eq!(
        date(Unix64Ms, &[0, 0x018B, 0xCFE5, 0x687B]),
        text("2023-11-14T22:13:20.123Z")
    );
    let summer = [2026, 7, 1, 12, 30, 59];
    assert_eq!(date(Ymdhms, &summer), text("2026-07-01T12:30:59Z"));
    assert_eq!(
        date(Ymdhms, &[26, 7, 1, 12, 30, 59]),
        text("2026-07-01T12:30:59Z")
    );
    let local = RawType::DateTime(Ymdhms, berlin());
    assert_eq!(read(local, &summer), text("2026-07-01T10:30:59Z"));
    // 2026-11-20, a Friday (5), 09:45, 12.345 s.
    let meter = [26, 0x0B << 8 | 5 << 5 | 20, 9 << 8 | 45, 12_345];
    assert_eq!(date(Iec870, &meter), text("2026-11-20T09:45:12.345Z"));
    let mut invalid = meter;
    invalid[2] |= 0x80;
    assert_eq!(date(Iec870, &invalid), missing(Quality::Invalid));
    assert_eq!(date(Iec870, &[0; 4]), missing(Quality::Invalid));
    assert_eq!(
        date(Ymdhms, &[2026, 13, 1, 0, 0, 0]),
        missing(Quality::Invalid)
    );
    let swapped = summer.map(u16::swap_bytes);
    let swapped = read_in(RawType::DateTime(Ymdhms, utc()), BADC, &swapped);
    assert_eq!(swapped, text("2026-07-01T12:30:59Z"));
}
