//! `forebay read`.

use std::path::Path;

use forebay::field::modbus::map::Table;
use forebay::simulator::device::{Behaviour, SimulatedDevice};

use super::{compare, forebay, printed, serve};
use crate::harness::modbus::ModbusServer;
use crate::harness::pty::Cable;

/// 230.1 in the usual order, 4711 words reversed, a text, a date, and two coils.
fn unknown() -> SimulatedDevice {
    let device = SimulatedDevice::new(1);
    let words = [
        0x4366, 0x199A, 4711, 0, 0x534E, 0x3132, 0x6918, 0xA2B4, 0xFFFF, 0x8000,
    ];
    device.set(Table::HoldingRegister, 0, &words);
    device.set(Table::Coil, 9_998, &[1, 0]);
    device
}

#[tokio::test(flavor = "multi_thread")]
async fn registers_without_a_map_are_shown_in_every_type_and_order() {
    let (port, _server) = serve(vec![unknown()]).await;
    let at = format!("127.0.0.1:{port}");
    let hide = [(at.as_str(), "HOST:PORT")];
    let read = |more: &[&str]| printed(&forebay(&[&["read", "--tcp", &at], more].concat()));
    compare("read-registers.txt", &read(&["holding", "0", "10"]), &hide);
    compare("read-bits.txt", &read(&["coil", "9998", "2"]), &hide);
    compare(
        "read-registers.json",
        &read(&["--json", "holding", "0x2", "2"]),
        &hide,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_explained_with_its_likely_causes() {
    let device = unknown();
    let (port, mut server) = serve(vec![device.clone()]).await;
    let at = format!("127.0.0.1:{port}");
    let read = |more: &[&str]| {
        let output = forebay(&[&["read", "--tcp", &at, "--timeout", "200ms"], more].concat());
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let hide = [(at.as_str(), "HOST:PORT")];
    compare("read-exception.txt", &read(&["holding", "5", "6"]), &hide);
    compare(
        "read-timeout.txt",
        &read(&["--unit", "9", "holding", "0"]),
        &hide,
    );
    device.behave(Behaviour {
        noise: vec![0x55; 30],
        ..Behaviour::default()
    });
    compare("read-garbled.txt", &read(&["holding", "0"]), &hide);
    server.shutdown().await;
    compare("read-refused.txt", &read(&["holding", "0"]), &hide);
    let json: serde_json::Value = serde_json::from_str(&read(&["--json", "holding", "0"])).unwrap();
    assert_eq!(json["error"]["quality"], "no-connection", "{json}");
}

/// A device of which two registers in the middle do not exist.
fn config(folder: &Path, port: u16) -> String {
    let text = format!(
        r#"
[line.plc]
protocol = "modbus-tcp"
address = "127.0.0.1:{port}"
timeout = "500ms"
[device.press]
line = "plc"
unit = 1
every = "1s"
[device.press.points]
voltage = {{ holding = 0, type = "f32", unit = "V" }}
count = {{ holding = 2, type = "u32", order = "CDAB" }}
model = {{ ref = 40005, type = "string", length = 2 }}
gone = {{ holding = 10, type = "u16" }}
level = {{ holding = 8, type = "i16", scale = {{ power10 = "level_sf" }}, unit = "mm" }}
level_sf = {{ holding = 6, type = "i16", send = false }}
bad = {{ holding = 9, type = "i16", invalid = 0x8000 }}
door = {{ coil = 9998 }}
"#
    );
    let path = folder.join("forebay.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn points_of_a_device_are_shown_with_their_registers() {
    let device = unknown();
    device.set(Table::HoldingRegister, 6, &[0xFFFF]);
    let (port, _server) = serve(vec![device.clone()]).await;
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), port);
    let at = format!("127.0.0.1:{port}");
    let hide = [(at.as_str(), "HOST:PORT")];
    let all = printed(&forebay(&["read", "-c", &config, "press"]));
    compare("read-device.txt", &all, &hide);
    let one = forebay(&["read", "--json", "-c", &config, "press", "level"]);
    compare("read-device.json", &printed(&one), &hide);
    device.behave(Behaviour {
        silent: true,
        ..Behaviour::default()
    });
    let silent = forebay(&["read", "-c", &config, "press", "door", "count"]);
    assert_eq!(silent.status.code(), Some(1));
    let silent = String::from_utf8(silent.stdout).unwrap();
    compare("read-silent.txt", &silent, &hide);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_device_than_the_map_describes_is_told_with_its_registers() {
    let (port, _server) = serve(vec![unknown()]).await;
    let folder = tempfile::tempdir().unwrap();
    let map = "[identify]\nholding = 2\ntype = \"u16\"\nis = 15240\n[points]\nvoltage = { holding = 0, type = \"f32\" }\n";
    std::fs::write(folder.path().join("meter.toml"), map).unwrap();
    let path = folder.path().join("forebay.toml");
    let site = format!(
        "[line.plc]\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{port}\"\n\
         [device.meter]\nline = \"plc\"\nmap = \"./meter.toml\"\nevery = \"1s\"\n"
    );
    std::fs::write(&path, site).unwrap();
    let config = path.display().to_string();
    let at = format!("127.0.0.1:{port}");
    let hide = [(at.as_str(), "HOST:PORT")];
    let all = printed(&forebay(&["read", "-c", &config, "meter"]));
    compare("read-other.txt", &all, &hide);
    let plan = printed(&forebay(&["plan", "-c", &config, "meter"]));
    assert!(
        plan.contains("asked at each connect: holding 2 is 15240"),
        "{plan}"
    );
}

#[test]
fn wrong_usage_and_a_bad_configuration_are_told_apart() {
    let code = |arguments: &[&str]| forebay(arguments).status.code();
    assert_eq!(code(&["read"]), Some(2));
    assert_eq!(
        code(&["read", "--tcp", "127.0.0.1:1", "register", "0"]),
        Some(2)
    );
    assert_eq!(code(&["read", "--tcp", "a:b", "holding", "0"]), Some(2));
    assert_eq!(
        code(&["read", "--tcp", "a", "--rtu", "/dev/ttyS0", "holding", "0"]),
        Some(2)
    );
    assert_eq!(
        code(&["read", "-c", "/nowhere/forebay.toml", "press"]),
        Some(78)
    );
    for (words, told) in [
        (["register", "0"], "\"register\" is no table: TABLE is coil"),
        (["holding", "70000"], "\"70000\" is no address: ADDRESS is"),
    ] {
        let output = forebay(&[&["read", "--tcp", "127.0.0.1:1"], &words[..]].concat());
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(told), "{said}");
    }
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path(), 1);
    let output = forebay(&["read", "-c", &config, "pres"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("did you mean \"press\""), "{said}");
    let output = forebay(&["read", "-c", &config, "press", "dor"]);
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("\"door\"")
    );
}

#[test]
#[ignore = "needs pymodbus and socat"]
fn a_server_of_others_is_read_over_every_transport() {
    let units = serde_json::json!({"3": {"input": {"7": [{"type": "f32", "value": 50.01}]}}});
    let value = |arguments: &[&str]| {
        let more = ["--unit", "3", "--json", "input", "7", "2"];
        let output = forebay(&[&["read"], arguments, &more].concat());
        let json: serde_json::Value = serde_json::from_str(&printed(&output)).unwrap();
        let types = json["types"].as_array().unwrap().clone();
        let float = types.into_iter().find(|row| row["type"] == "f32").unwrap();
        float["orders"]["ABCD"]["value"].clone()
    };
    let server = ModbusServer::tcp(0, &units);
    assert_eq!(
        value(&["--tcp", &format!("localhost:{}", server.port)]),
        50.01
    );
    let server = ModbusServer::rtu_over_tcp(0, &units);
    assert_eq!(
        value(&["--rtu-over-tcp", &format!("127.0.0.1:{}", server.port)]),
        50.01
    );
    let cable = Cable::new();
    let _server = ModbusServer::rtu(&cable.there(), 9600, &units);
    let port = cable.here().display().to_string();
    assert_eq!(
        value(&["--rtu", &port, "--baud", "9600", "--parity", "none"]),
        50.01
    );
}
