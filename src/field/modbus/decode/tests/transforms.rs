use super::*;

#[test]
fn invalid_is_the_raw_pattern_and_comes_first() {
    let invalid = |raw, words: &[u16], pattern| {
        with(raw, words, |t| {
            t.invalid = vec![1, pattern];
            t.scale = Some(Scale::Number(number("0.1")));
            t.bits = None;
        })
    };
    assert_eq!(
        invalid(RawType::I16, &[0x8000], 0x8000),
        missing(Quality::Invalid)
    );
    assert_eq!(
        invalid(RawType::F32, &[0x7FC0, 0], 0x7FC0_0000),
        missing(Quality::Invalid)
    );
    assert_eq!(
        invalid(RawType::U64, &[0xFFFF; 4], u64::MAX),
        missing(Quality::Invalid)
    );
    assert_eq!(invalid(RawType::I16, &[0x7FFF], 0x8000), f64(3276.7));
    let no_factor = missing(Quality::Timeout);
    let mut point = point(RawType::I16);
    point.transform.invalid = vec![0x8000];
    point.transform.scale = Some(Scale::Power10(1));
    let recipe = Recipe::new(&point);
    let read = |word| recipe.read(Places::Registers(&[word]), Some(&no_factor));
    assert_eq!(read(0x8000), missing(Quality::Invalid));
    assert_eq!(read(0x7FFF), missing(Quality::NoScale));
}

#[test]
fn bits_are_of_the_ordered_value() {
    let bit = |n| with(RawType::U16, &[0x0008], |t| t.bits = Some(Bits::One(n)));
    assert_eq!(bit(3), Reading::good(Value::Bool(true)));
    assert_eq!(bit(4), Reading::good(Value::Bool(false)));
    let range =
        |raw, words: &[u16], low, high| with(raw, words, |t| t.bits = Some(Bits::Range(low, high)));
    assert_eq!(range(RawType::U16, &[0xABCD], 4, 7), int(0xC));
    assert_eq!(range(RawType::I16, &[0xFFFF], 0, 15), int(0xFFFF));
    assert_eq!(range(RawType::U32, &[0x8000, 0x0001], 31, 31), int(1));
    assert_eq!(
        range(RawType::U32, &[0xFFFF, 0xFFFF], 0, 31),
        int(0xFFFF_FFFF)
    );
}

#[test]
fn scale_and_offset_are_decimal() {
    let scaled = |raw, words: &[u16], scale: &str, offset: &str| {
        with(raw, words, |t| {
            t.scale = Some(Scale::Number(number(scale)));
            t.offset = Some(number(offset));
        })
    };
    use RawType::{F32, F64, I16, U16, U64};
    assert_eq!(scaled(U16, &[2301], "0.1", "0"), f64(230.1));
    assert_eq!(scaled(I16, &[0xFFFF], "0.1", "-40"), f64(-40.1));
    assert_eq!(scaled(U16, &[3], "10.0", "5"), int(35));
    assert_eq!(scaled(U16, &[3], "10", "0.5"), f64(30.5));
    assert_eq!(scaled(U16, &[20], "0.1", "0"), f64(2.0));
    let most = u64::MAX;
    assert_eq!(
        scaled(U64, &[0xFFFF; 4], "1", "0"),
        Reading::good(Value::UInt(most))
    );
    assert_eq!(
        scaled(U64, &[0xFFFF; 4], "10", "0"),
        f64(184_467_440_737_095_516_150.0)
    );
    assert_eq!(
        scaled(U64, &[0xFFFF; 4], "0.001", "0"),
        f64(18_446_744_073_709_551.615)
    );
    assert_eq!(
        scaled(U64, &[0xFFFF; 4], "-1", "0"),
        f64(-18_446_744_073_709_551_615.0)
    );
    // 1.1 as f32 is 1.10000002384; its shortest text is what counts.
    assert_eq!(scaled(F32, &[0x3F8C, 0xCCCD], "3", "0"), f64(3.3));
    assert_eq!(
        scaled(F64, &[0x7FEF, 0xFFFF, 0xFFFF, 0xFFFF], "10", "0"),
        missing(Quality::NotANumber)
    );
}

#[test]
fn factors_are_read() {
    let power = |power| by(RawType::U16, &[1234], Scale::Power10(0), power);
    assert_eq!(power(int(-2)), f64(12.34));
    assert_eq!(power(int(0)), int(1234));
    assert_eq!(power(int(2)), int(123_400));
    assert_eq!(power(f64(-1.0)), f64(123.4));
    assert_eq!(power(int(30)), f64(1234e30));
    for bad in [
        int(31),
        int(-31),
        f64(0.5),
        text("1"),
        missing(Quality::Timeout),
    ] {
        assert_eq!(power(bad.clone()), missing(Quality::NoScale), "{bad:?}");
    }
    let times = |factor| {
        by(
            RawType::U16,
            &[1234],
            Scale::Point(0, number("0.001")),
            factor,
        )
    };
    assert_eq!(times(int(5)), f64(6.17));
    assert_eq!(times(Reading::good(Value::F32(0.1))), f64(0.1234));
    assert_eq!(
        times(missing(Quality::Exception(2))),
        missing(Quality::NoScale)
    );
    let out_of_range = Reading::with_quality(Value::Int(5), Quality::OutOfRange);
    assert_eq!(times(out_of_range), f64(6.17));
}

#[test]
fn names_and_flags() {
    let names = || {
        vec![
            (-1, "fault".to_owned()),
            (0, "stopped".to_owned()),
            (1, "running".to_owned()),
        ]
    };
    let named = |word| {
        with(RawType::I16, &[word], |t| {
            t.names = Some(Names::Enum(names()))
        })
    };
    assert_eq!(named(1), text("running"));
    assert_eq!(named(0xFFFF), text("fault"));
    assert_eq!(
        named(7),
        Reading::with_quality(Value::Int(7), Quality::UnknownCode)
    );
    let mut coil = point(RawType::Bool);
    coil.transform.names = Some(Names::Enum(vec![(1, "on".to_owned())]));
    let recipe = Recipe::new(&coil);
    assert_eq!(recipe.read(Places::Bit(true), None), text("on"));
    let unknown = Reading::with_quality(Value::Int(0), Quality::UnknownCode);
    assert_eq!(recipe.read(Places::Bit(false), None), unknown);
    let flags = |word| {
        with(RawType::U16, &[word], |t| {
            t.names = Some(Names::Flags(vec![
                (0, "overload".into()),
                (15, "phase-loss".into()),
            ]));
        })
    };
    let texts = |texts: &[&str]| Value::Texts(texts.iter().map(|&t| t.into()).collect());
    assert_eq!(flags(0), Reading::good(texts(&[])));
    assert_eq!(
        flags(0x8001),
        Reading::good(texts(&["overload", "phase-loss"]))
    );
    let unknown = Reading::with_quality(texts(&["overload"]), Quality::UnknownCode);
    assert_eq!(flags(0x0005), unknown);
}

#[test]
fn limits_are_of_the_value_as_it_is_sent() {
    let limited = |word| {
        with(RawType::U16, &[word], |t| {
            t.scale = Some(Scale::Number(number("0.1")));
            t.min = Some(number("-5"));
            t.max = Some(number("100"));
        })
    };
    assert_eq!(limited(1000), f64(100.0));
    assert_eq!(
        limited(1001),
        Reading::with_quality(Value::F64(100.1), Quality::OutOfRange)
    );
}

#[test]
fn bits_of_bit_tables() {
    let recipe = Recipe::new(&point(RawType::Bool));
    assert_eq!(
        recipe.read(Places::Bit(true), None),
        Reading::good(Value::Bool(true))
    );
}

#[test]
fn too_few_registers_make_no_value() {
    for raw in [
        RawType::U16,
        RawType::F32,
        RawType::U64,
        RawType::Text(2),
        RawType::Bcd32,
    ] {
        let quality = read(raw, &[]).quality();
        assert_eq!(quality, Quality::Invalid);
    }
}
