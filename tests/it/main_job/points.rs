//! Every data type in every order and every transformation: as a device map, as what a Modbus server of others is given,
//! and as what must arrive.

use std::fmt::Write;

use serde_json::{Map, Value, json};

/// The cases of one device.
pub(super) struct Points {
    /// The device map.
    pub(super) map: String,
    /// The server's tables, for one unit.
    pub(super) tables: Value,
    /// `values` of every scan.
    pub(super) values: Map<String, Value>,
    /// `quality` of every scan.
    pub(super) quality: Map<String, Value>,
}

struct Case {
    /// The point's keys beside its address.
    keys: String,
    given: Value,
    width: u64,
    value: Value,
    quality: Option<&'static str>,
}

fn typed(kind: &str, given_kind: &str, given: &Value, width: u64, value: &Value) -> Vec<Case> {
    let orders: &[&str] = &["ABCD", "CDAB", "BADC", "DCBA"];
    let with_order = |order: &&str| Case {
        keys: format!("type = \"{kind}\", order = \"{order}\""),
        // Words of a single register cannot be reversed; the server's packing has the byte part alone then, too.
        given: json!({"type": given_kind, "value": given, "order": order}),
        width,
        value: value.clone(),
        quality: None,
    };
    orders.iter().map(with_order).collect()
}

fn types() -> Vec<Case> {
    let mut cases = Vec::new();
    for (kind, given, width, value) in [
        ("u16", json!(54_321), 1, json!(54_321)),
        ("i16", json!(-1234), 1, json!(-1234)),
        ("u32", json!(4_000_000_001_u32), 2, json!(4_000_000_001_u32)),
        ("i32", json!(-123_456_789), 2, json!(-123_456_789)),
        ("u64", json!(u64::MAX - 5), 4, json!(u64::MAX - 5)),
        ("i64", json!(i64::MIN + 5), 4, json!(i64::MIN + 5)),
        ("f32", json!(230.1), 2, json!(230.1)),
        ("f64", json!(-0.1), 4, json!(-0.1)),
        ("bcd16", json!(9071), 1, json!(9071)),
        ("bcd32", json!(12_345_678), 2, json!(12_345_678)),
        ("sm16", json!(-77), 1, json!(-77)),
        ("mod10-32", json!(-12_340_567), 2, json!(-12_340_567)),
    ] {
        cases.extend(typed(kind, kind, &given, width, &value));
    }
    cases.extend(typed("pf-quadrant", "f32", &json!(1.3), 2, &json!(0.7)));
    cases
}

fn case(keys: &str, given: Value, width: u64, value: Value, quality: Option<&'static str>) -> Case {
    Case {
        keys: keys.to_owned(),
        given,
        width,
        value,
        quality,
    }
}

fn transformations() -> Vec<Case> {
    let u16 = |value: u16| json!({"type": "u16", "value": value});
    let one = |keys: &str, register: u16, value: Value| case(keys, u16(register), 1, value, None);
    let bad =
        |keys: &str, register: u16, value, why| case(keys, u16(register), 1, value, Some(why));
    vec![
        one("type = \"u8\", byte = \"high\"", 0xAB12, json!(0xAB)),
        one("type = \"i8\", byte = \"low\"", 0x12FE, json!(-2)),
        one("type = \"i16\", scale = 0.1", 2301, json!(230.1)),
        one("type = \"u16\", scale = 10", 77, json!(770)),
        one(
            "type = \"i16\", scale = 0.5, offset = -40",
            101,
            json!(10.5),
        ),
        one("bit = 3", 0b1000, json!(true)),
        one("bits = \"4..7\"", 0x0050, json!(5)),
        one(
            "type = \"u16\", enum = { 0 = \"stopped\", 1 = \"running\" }",
            1,
            json!("running"),
        ),
        bad(
            "type = \"u16\", enum = { 0 = \"stopped\" }",
            9,
            json!(9),
            "unknown-code",
        ),
        one(
            "type = \"u16\", flags = { 0 = \"overload\", 2 = \"hot\" }",
            0b101,
            json!(["overload", "hot"]),
        ),
        bad(
            "type = \"u16\", invalid = 0xFFFF",
            0xFFFF,
            Value::Null,
            "invalid",
        ),
        bad(
            "type = \"u16\", min = 10, max = 20",
            21,
            json!(21),
            "out-of-range",
        ),
        one(
            "type = \"u16\", scale = { power10 = \"factor\" }",
            2301,
            json!(23.01),
        ),
        one(
            "type = \"u16\", scale = { point = \"ratio\", times = 0.5 }",
            12,
            json!(18.0),
        ),
        case(
            "type = \"f32\"",
            json!({"type": "u32", "value": 0x7FC0_0000}),
            2,
            Value::Null,
            Some("not-a-number"),
        ),
        case(
            "type = \"bcd16\"",
            u16(0x00A1),
            1,
            Value::Null,
            Some("invalid"),
        ),
        case(
            "type = \"string\", length = 4",
            json!({"type": "string", "value": "SN-42   "}),
            4,
            json!("SN-42"),
            None,
        ),
        case(
            "type = \"raw\", length = 2",
            json!({"type": "raw", "value": "0aff01b2"}),
            2,
            json!("0aff01b2"),
            None,
        ),
        case(
            "type = \"datetime\", form = \"unix32\"",
            json!({"type": "u32", "value": 1_700_000_000}),
            2,
            json!("2023-11-14T22:13:20Z"),
            None,
        ),
    ]
}

/// All of them.
pub(super) fn all() -> Points {
    let mut map = String::from(
        "title = \"every type\"\nsource = \"made for the tests\"\n[points]\n\
         factor = { holding = 0, type = \"i16\", send = false }\n\
         ratio = { holding = 1, type = \"u16\", send = false }\n\
         on = { coil = 3 }\ndoor = { discrete = 4 }\ntotal = { input = 7, type = \"u32\" }\n",
    );
    let mut holding = Map::new();
    holding.insert("0".to_owned(), json!([{"type": "i16", "value": -2}, 3]));
    let (mut values, mut quality) = (Map::new(), Map::new());
    values.insert("on".to_owned(), json!(true));
    values.insert("door".to_owned(), json!(false));
    values.insert("total".to_owned(), json!(70_000));
    let mut address = 2;
    for (number, case) in types().into_iter().chain(transformations()).enumerate() {
        let name = format!("p{number}");
        writeln!(map, "{name} = {{ holding = {address}, {} }}", case.keys).unwrap();
        holding.insert(address.to_string(), json!([case.given]));
        values.insert(name.clone(), case.value);
        if let Some(why) = case.quality {
            quality.insert(name, json!(why));
        }
        address += case.width;
    }
    let tables = json!({
        "holding": holding,
        "coil": {"3": [1]},
        "discrete": {"4": [0]},
        "input": {"7": [{"type": "u32", "value": 70_000}]},
    });
    Points {
        map,
        tables,
        values,
        quality,
    }
}
