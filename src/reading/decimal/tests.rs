use super::*;

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

#[test]
fn scaling_is_decimal() {
    let product = Decimal::from(2301_i64).checked_mul(decimal("0.1")).unwrap();
    assert_eq!(product.to_f64(), 230.1);
    assert_eq!(product.to_string(), "230.1");
    let third = Decimal::from_f32(0.1).unwrap();
    assert_eq!(third.checked_mul(decimal("3")).unwrap().to_f64(), 0.3);
}

#[test]
fn a_text_is_taken_exactly() {
    for (text, number) in [
        ("0.1", Decimal::new(1, -1)),
        ("-0.10", Decimal::new(-1, -1)),
        ("-0.5", Decimal::new(-5, -1)),
        (".5", Decimal::new(5, -1)),
        ("1e-3", Decimal::new(1, -3)),
        ("2.50E2", Decimal::new(250, 0)),
        ("10.0", Decimal::new(1, 1)),
        ("0", Decimal::ZERO),
    ] {
        assert_eq!(text.parse(), Ok(number), "{text}");
    }
    assert_eq!(Decimal::from_f64(5e-324), Some(Decimal::new(5, -324)));
    assert_eq!(decimal("-0.050").to_string(), "-0.05");
    assert_eq!(decimal("1.5E3").to_string(), "1500");
    assert_eq!(decimal("1e30").to_string(), "1e30");
}

#[test]
fn other_texts_are_refused() {
    for text in [
        "", "-", ".", "inf", "nan", "0x10", "1e", "1.2.3", "1-2", "1_0",
    ] {
        assert_eq!(text.parse::<Decimal>(), Err(DecimalError::Form), "{text}");
    }
    for text in ["1234567890123456789", "1e325", "1e99999"] {
        assert_eq!(text.parse::<Decimal>(), Err(DecimalError::Range), "{text}");
    }
}

#[test]
fn beyond_17_digits_the_nearest_f64() {
    let big = Decimal::new(123_456_789_012_345_678_901_234, -5);
    assert_eq!(
        big.to_f64(),
        "1234567890123456789.01234".parse::<f64>().unwrap()
    );
    assert_eq!(Decimal::new(1, 400).to_f64(), f64::INFINITY);
    assert_eq!(Decimal::new(-7, -400).to_f64(), -0.0);
}

#[test]
fn compares_across_powers() {
    assert!(decimal("0.5") < decimal("0.51"));
    assert!(decimal("-3") < decimal("-2.9"));
    assert!(decimal("1e300") > decimal("1"));
    assert!(decimal("-1e300") < decimal("1e-300"));
    assert!(decimal("1e-300") < decimal("1e300"));
    assert_eq!(decimal("1.0").cmp(&decimal("1")), Ordering::Equal);
}

#[test]
fn integers_stay_exact() {
    assert_eq!(decimal("1e3").to_integer(), Some(1000));
    assert_eq!(decimal("0.1").to_integer(), None);
    assert_eq!(Decimal::from(u64::MAX).to_integer(), Some(u64::MAX.into()));
    let sum = decimal("0.1").checked_add(decimal("0.9")).unwrap();
    assert_eq!(sum, Decimal::ONE);
    assert_eq!(
        decimal("1").checked_sub(decimal("3")).unwrap().abs(),
        decimal("2")
    );
}
