//! What a map says becomes the checked model that the field side decodes by.

use std::time::Duration;

use forebay::config;
use forebay::field::modbus::map::{
    Bits, Byte, Change, DateTimeForm, DeviceMap, Names, Order, Point, RawType, Scale, Table,
};
use forebay::reading::{Decimal, PointKind, ValueType};

fn map(text: &str) -> DeviceMap {
    config::map_from_text("map.toml", text).unwrap_or_else(|report| panic!("{report}"))
}

/// The point of a map with only this one, in `[defaults]`.
fn point(defaults: &str, fields: &str) -> Point {
    let text = format!("[defaults]\n{defaults}\n[points]\np = {{ {fields} }}\n");
    map(&text).points.remove(0)
}

fn reasons(text: &str) -> Vec<String> {
    let report = config::map_from_text("map.toml", text).unwrap_err();
    report.problems.into_iter().map(|p| p.reason).collect()
}

/// What a point says, its type, its width, and what is sent.
const TYPES: &[(&str, RawType, u16, ValueType)] = &[
    (
        "type = \"u8\", byte = \"high\"",
        RawType::U8(Byte::High),
        1,
        ValueType::Int,
    ),
    (
        "type = \"i8\", byte = \"low\"",
        RawType::I8(Byte::Low),
        1,
        ValueType::Int,
    ),
    ("type = \"u16\"", RawType::U16, 1, ValueType::Int),
    ("type = \"i16\"", RawType::I16, 1, ValueType::Int),
    ("type = \"u32\"", RawType::U32, 2, ValueType::Int),
    ("type = \"i32\"", RawType::I32, 2, ValueType::Int),
    ("type = \"u64\"", RawType::U64, 4, ValueType::UInt),
    ("type = \"i64\"", RawType::I64, 4, ValueType::Int),
    ("type = \"f32\"", RawType::F32, 2, ValueType::F32),
    ("type = \"f64\"", RawType::F64, 4, ValueType::F64),
    ("type = \"bcd16\"", RawType::Bcd16, 1, ValueType::Int),
    ("type = \"bcd32\"", RawType::Bcd32, 2, ValueType::Int),
    ("type = \"sm16\"", RawType::Sm16, 1, ValueType::Int),
    ("type = \"mod10-32\"", RawType::Mod10, 2, ValueType::Int),
    (
        "type = \"pf-quadrant\"",
        RawType::PfQuadrant,
        2,
        ValueType::F32,
    ),
    (
        "type = \"string\", length = 16",
        RawType::Text(16),
        16,
        ValueType::Text,
    ),
    (
        "type = \"raw\", length = 3",
        RawType::Bytes(3),
        3,
        ValueType::Text,
    ),
    ("bit = 3", RawType::U16, 1, ValueType::Bool),
    (
        "type = \"u32\", bits = \"4..20\"",
        RawType::U32,
        2,
        ValueType::Int,
    ),
    (
        "type = \"u16\", scale = 0.1",
        RawType::U16,
        1,
        ValueType::F64,
    ),
    (
        "type = \"u16\", scale = 10.0, offset = -5",
        RawType::U16,
        1,
        ValueType::Int,
    ),
    (
        "type = \"u16\", enum = { 0 = \"off\" }",
        RawType::U16,
        1,
        ValueType::Text,
    ),
    (
        "type = \"u16\", flags = { 0 = \"hot\" }",
        RawType::U16,
        1,
        ValueType::Texts,
    ),
];

#[test]
fn every_type_has_its_width_and_the_value_that_is_sent() {
    for (fields, raw, width, sent) in TYPES {
        let point = point("", &format!("holding = 7, {fields}"));
        assert_eq!(point.raw, *raw, "{fields}");
        assert_eq!(point.raw.width(), *width, "{fields}");
        assert_eq!(point.value_type(), *sent, "{fields}");
        assert_eq!((point.table, point.address), (Table::HoldingRegister, 7));
    }
    for (form, is, width) in [
        ("unix32", DateTimeForm::Unix32, 2),
        ("unix64", DateTimeForm::Unix64, 4),
        ("unix64-ms", DateTimeForm::Unix64Ms, 4),
        ("ymdhms", DateTimeForm::Ymdhms, 6),
        ("iec870", DateTimeForm::Iec870, 4),
    ] {
        let point = point(
            "",
            &format!("input = 0, type = \"datetime\", form = \"{form}\", zone = \"Europe/Berlin\""),
        );
        let RawType::DateTime(form, zone) = &point.raw else {
            panic!("{:?}", point.raw)
        };
        assert_eq!((*form, point.raw.width()), (is, width));
        assert_eq!(zone.0.iana_name(), Some("Europe/Berlin"));
    }
    assert_eq!(point("", "coil = 0").raw, RawType::Bool);
    assert_eq!(point("", "discrete = 0").table, Table::DiscreteInput);
}

#[test]
fn addresses_count_from_the_base_and_refs_do_not() {
    let address = |defaults: &str, fields: &str| {
        let point = point(defaults, fields);
        (point.table, point.address)
    };
    assert_eq!(
        address("address_base = 1", "input = 1, type = \"u16\""),
        (Table::InputRegister, 0)
    );
    assert_eq!(
        address("address_base = 1", "coil = 65536"),
        (Table::Coil, 65_535)
    );
    assert_eq!(
        address("address_base = 1", "ref = 40001, type = \"u16\""),
        (Table::HoldingRegister, 0)
    );
    assert_eq!(
        address("", "ref = 365536, type = \"u16\""),
        (Table::InputRegister, 65_535)
    );
    assert_eq!(address("", "ref = \"00017\""), (Table::Coil, 16));
    assert_eq!(address("", "ref = 10017"), (Table::DiscreteInput, 16));
    let zero = "[defaults]\naddress_base = 1\n[points]\np = { input = 0, type = \"u16\" }";
    assert_eq!(reasons(zero), ["`input` must be 1 to 65536, not 0"]);
}

#[test]
fn orders_act_by_width_and_only_where_they_are_meant() {
    let order = |defaults: &str, fields: &str| {
        let Order {
            words_reversed,
            bytes_swapped,
        } = point(defaults, fields).order;
        (words_reversed, bytes_swapped)
    };
    let u32 = "input = 0, type = \"u32\"";
    assert_eq!(order("order = \"ABCD\"", u32), (false, false));
    assert_eq!(order("order = \"CDAB\"", u32), (true, false));
    assert_eq!(order("order = \"BADC\"", u32), (false, true));
    assert_eq!(order("order = \"DCBA\"", u32), (true, true));
    assert_eq!(
        order(
            "order = \"DCBA\"",
            "input = 0, type = \"u32\", order = \"ABCD\""
        ),
        (false, false)
    );
    let u64 = "input = 0, type = \"u64\"";
    assert_eq!(order("order = \"CDAB\"", u64), (true, false));
    assert_eq!(
        order("order = \"CDAB\"\norder64 = \"BADCFEHG\"", u64),
        (false, true)
    );
    assert_eq!(order("order64 = \"GHEFCDAB\"", u64), (true, false));
    assert_eq!(order("order = \"HGFEDCBA\"", u64), (true, true));
    // 16 bits, bits of them, and texts: only what the point itself names, and only its bytes.
    for fields in [
        "type = \"u16\"",
        "bit = 1",
        "type = \"string\", length = 4",
        "type = \"u8\", byte = \"low\"",
    ] {
        let fields = format!("input = 0, {fields}");
        assert_eq!(
            order("order = \"DCBA\"", &fields),
            (false, false),
            "{fields}"
        );
        assert_eq!(
            order("", &format!("{fields}, order = \"DCBA\"")),
            (false, true),
            "{fields}"
        );
    }
    // Bits of 32 bits are of the ordered value.
    assert_eq!(
        order("order = \"CDAB\"", "input = 0, type = \"u32\", bit = 17"),
        (true, false)
    );
}

#[test]
fn transformations_are_taken_exactly() {
    let text = r#"
[defaults]
invalid = { i16 = 0x8000, u64 = "all-ones" }
[enums.mode]
0 = "off"
-1 = "error"
[points]
a = { holding = 0, type = "i16", scale = 0.1, offset = -40, min = -20.5, max = 120, unit = "°C", deadband = "1%" }
b = { holding = 1, type = "u64", kind = "counter", wrap = 1000000 }
c = { holding = 5, type = "i16", enum = "mode", on_change = true, heartbeat = "1min", invalid = [] }
d = { holding = 6, type = "u16", bits = "4..7", enum = { 0x1 = "one" } }
e = { holding = 7, type = "u16", scale = { point = "g", times = 0.001 } }
f = { holding = 8, type = "u16", scale = { power10 = "g" }, scan = "slow", deadband = 0.5 }
g = { holding = 9, type = "i16", send = false, invalid = [-1, 5] }
h = { holding = 10, type = "f32", invalid = [-9999.0, 0x7F800001] }
"#;
    let map = map(text);
    let [a, b, c, d, e, f, g, h] = map.points.as_slice() else {
        panic!()
    };
    assert_eq!(a.transform.scale, Some(Scale::Number(Decimal::new(1, -1))));
    assert_eq!(a.transform.offset, Some(Decimal::new(-40, 0)));
    assert_eq!(a.transform.min, Some(Decimal::new(-205, -1)));
    assert_eq!(a.transform.invalid, [0x8000]);
    let rule = a.report.unwrap();
    assert_eq!(rule.change, Change::Percent(Decimal::new(1, 0)));
    assert_eq!(rule.heartbeat, Duration::from_secs(900));
    assert_eq!(b.transform.invalid, [u64::MAX]);
    assert_eq!(
        b.kind,
        PointKind::Counter {
            wrap: Some(1_000_000)
        }
    );
    let named = vec![(-1, "error".to_owned()), (0, "off".to_owned())];
    assert_eq!(c.transform.names, Some(Names::Enum(named)));
    assert_eq!(c.report.unwrap().heartbeat, Duration::from_secs(60));
    assert_eq!(c.transform.invalid, [0_u64; 0]);
    assert_eq!(d.transform.bits, Some(Bits::Range(4, 7)));
    assert_eq!(
        e.transform.scale,
        Some(Scale::Point(6, Decimal::new(1, -3)))
    );
    assert_eq!(f.transform.scale, Some(Scale::Power10(6)));
    assert_eq!(f.scan.as_str(), "slow");
    assert!(!g.send);
    assert_eq!(g.transform.invalid, [0xFFFF, 5]);
    assert_eq!(
        h.transform.invalid,
        [u64::from((-9999.0_f32).to_bits()), 0x7F80_0001]
    );
}

/// What a point says, and why that is refused.
const SENSELESS: &[(&str, &str)] = &[
    (
        "coil = 0, scale = 0.1",
        "`scale` needs a number, and this is a single bit",
    ),
    (
        "coil = 0, order = \"CDAB\"",
        "`order` means nothing for type \"bool\"",
    ),
    ("holding = 0, type = \"bool\"", "a register is no bool"),
    (
        "holding = 0, type = \"f32\", enum = { 0 = \"a\" }",
        "`enum` needs whole numbers, not type \"f32\"",
    ),
    (
        "holding = 0, type = \"f32\", bit = 3",
        "type \"f32\" has no bits to name",
    ),
    (
        "holding = 0, type = \"u16\", scale = 0",
        "a factor of 0 makes every value 0",
    ),
    (
        "holding = 0, type = \"u16\", heartbeat = \"1min\"",
        "`heartbeat` alone has no effect: the value is sent at every scan",
    ),
    (
        "holding = 0, type = \"u16\", wrap = 9",
        "`wrap` belongs to a counter",
    ),
    (
        "holding = 0, type = \"u16\", length = 9",
        "`length` means nothing for type \"u16\"",
    ),
    (
        "holding = 0, type = \"i16\", scale = { power10 = \"p\" }",
        "the factor of `p` is scaled by itself, or over too many points",
    ),
    (
        "holding = 0, type = \"string\", length = 3, invalid = 0",
        "`invalid` means nothing for type \"string\"",
    ),
    (
        "holding = 0, type = \"u16\", unit = \"\"",
        "`unit` is empty",
    ),
    (
        "holding = 0, type = \"u16\", write = true",
        "`write` is not supported yet",
    ),
    (
        "holding = 0, type = \"u16\", scale = nan",
        "`scale = nan` cannot be used: not a decimal number",
    ),
    (
        "holding = 0, type = \"string\", length = 126",
        "`length` must be 1 to 125, not 126",
    ),
];

#[test]
fn what_makes_no_sense_is_refused() {
    for (fields, reason) in SENSELESS {
        let text = format!("[points]\np = {{ {fields} }}\n");
        assert_eq!(reasons(&text), [*reason], "{fields}");
    }
}

#[test]
fn what_comes_later_is_named_so() {
    let text = r#"
extends = "base"
omit = ["a"]
[repeat.string]
count = 2
[frame.a]
start = "x"
[points]
p = { holding = 0, type = "u16", pattern = "x" }
"#;
    let keys = ["extends", "omit", "repeat", "frame", "pattern"];
    let expected = keys.map(|key| format!("`{key}` is not supported yet"));
    assert_eq!(reasons(text), expected);
    let serial = reasons("protocol = \"serial\"\n[points]\na = { coil = 0 }");
    assert_eq!(serial, ["`protocol` is not supported yet"]);
}
