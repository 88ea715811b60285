//! `[identify]` of a map, and what cannot be meant by it.

use forebay::config;
use forebay::field::modbus::identity::Identity;
use forebay::field::modbus::map::{Order, RawType, Table};
use forebay::reading::Value;

fn text(fields: &str) -> String {
    format!("[defaults]\norder = \"CDAB\"\n[identify]\n{fields}\n[points]\np = {{ coil = 0 }}\n")
}

fn identity(fields: &str) -> Identity {
    let map = config::map_from_text("map.toml", &text(fields));
    let map = map.unwrap_or_else(|report| panic!("{report}"));
    map.identity.unwrap()
}

#[test]
fn numbers_texts_and_bytes_identify() {
    let number = identity("holding = 89\ntype = \"u16\"\nis = [15240, 0x3B92]");
    let expected = Identity {
        table: Table::HoldingRegister,
        address: 89,
        raw: RawType::U16,
        order: Order::BIG,
        is: vec![Value::Int(15_240), Value::Int(15_250)],
    };
    assert_eq!(number, expected);
    let wide = identity("ref = 30012\ntype = \"u32\"\nis = 7");
    assert_eq!((wide.table, wide.address), (Table::InputRegister, 11));
    assert!(wide.order.words_reversed);
    assert_eq!(wide.is, [Value::Int(7)]);
    let text = identity("input = 0\ntype = \"string\"\nlength = 2\nis = \"SunS\"");
    assert_eq!(text.is, [Value::Text("SunS".into())]);
    let bytes = identity("input = 0\ntype = \"raw\"\nlength = 2\nis = \"53756E53\"");
    assert_eq!(bytes.is, [Value::Text("53756e53".into())]);
    let most = identity("input = 0\ntype = \"u64\"\nis = 0xFFFFFFFFFFFFFFFF");
    assert_eq!(most.is, [Value::UInt(u64::MAX)]);
}

#[test]
fn what_no_device_can_say_is_refused() {
    for (fields, reason) in [
        (
            "holding = 1\ntype = \"u16\"",
            "`identify` of the map has no `is`",
        ),
        (
            "is = 1\ntype = \"u16\"",
            "`identify` of the map has no `address`",
        ),
        (
            "coil = 1\nis = 1",
            "a single bit is too little to know a device by",
        ),
        (
            "holding = 1\ntype = \"f32\"\nis = 1",
            "type \"f32\" is nothing to know a device by",
        ),
        ("holding = 1\ntype = \"u16\"\nis = []", "`is` is empty"),
        (
            "holding = 1\ntype = \"u16\"\nis = 65536",
            "65536 is never the value of type \"u16\"",
        ),
        (
            "holding = 1\ntype = \"u16\"\nis = \"x\"",
            "a value of type \"u16\" is a whole number, not a text",
        ),
        (
            "holding = 1\ntype = \"string\"\nlength = 1\nis = \"abc\"",
            "\"abc\" is never the value of 1 registers",
        ),
        (
            "holding = 1\ntype = \"raw\"\nlength = 1\nis = \"12\"",
            "\"12\" is never the value of 1 registers",
        ),
        (
            "holding = 1\ntype = \"u16\"\nis = 1\nscale = 2",
            "`identify` of the map has no key `scale`",
        ),
    ] {
        let report = config::map_from_text("map.toml", &text(fields)).unwrap_err();
        let reasons: Vec<_> = report.problems.into_iter().map(|p| p.reason).collect();
        assert_eq!(reasons, [reason], "{fields}");
    }
}
