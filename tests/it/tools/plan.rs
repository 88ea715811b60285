//! `forebay plan`.

use std::path::Path;
use std::time::Duration;

use forebay::field::learned::LearnedFile;
use forebay::field::modbus::known::{Hole, Known};
use forebay::field::modbus::map::Table;

use super::{compare, forebay, printed};

fn config(folder: &Path) -> String {
    let maps = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/maps");
    let text = format!(
        r#"
[gateway]
id = "hall-2"
state_dir = "state"
maps = [{maps:?}]
[line.meters]
protocol = "modbus-rtu"
port = "/dev/ttyS9"
baud_rate = 9600
turnaround = "5ms"
[line.plc]
protocol = "modbus-tcp"
address = "10.0.2.15"
[device.meter-3]
line = "meters"
unit = 3
map = "eastron-sdm120"
every = "1s"
[device.meter-4]
line = "meters"
unit = 4
every = "2s"
delay = "10ms"
[device.meter-4.points]
voltage = {{ input = 0, type = "f32" }}
far = {{ input = 1000, type = "f32" }}
level = {{ holding = 9998, type = "i16", scale = {{ power10 = "level_sf" }} }}
level_sf = {{ holding = 10000, type = "i16", send = false }}
serial_no = {{ holding = 20000, type = "string", length = 8, scan = "once" }}
[device.io]
line = "plc"
map = "moxa-iologik-e1214"
every = "100ms"
"#
    );
    let path = folder.join("forebay.toml");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn requests_their_addresses_and_their_time_are_shown() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let plan = |more: &[&str]| printed(&forebay(&[&["plan", "-c", &config], more].concat()));
    compare("plan.txt", &plan(&[]), &[]);
    compare("plan-line.txt", &plan(&["plc"]), &[]);
    compare("plan-device.txt", &plan(&["meter-4"]), &[]);
    compare("plan-device.json", &plan(&["--json", "meter-4"]), &[]);
}

#[test]
fn what_was_found_out_about_a_device_is_planned_for() {
    let folder = tempfile::tempdir().unwrap();
    let path = config(folder.path());
    let config = forebay::config::load(Path::new(&path)).unwrap();
    let devices = config.lines.iter().flat_map(|line| &line.devices);
    let meter = devices
        .into_iter()
        .find(|d| d.name.as_str() == "meter-4")
        .unwrap();
    let known = Known {
        holes: vec![Hole {
            table: Table::InputRegister,
            address: 1000,
            count: 2,
            exception: 2,
        }],
        registers_per_read: Some(60),
        bits_per_read: None,
        answer_time: Some(Duration::from_micros(12_500)),
    };
    LearnedFile::new(&config.gateway.learned(), meter)
        .save(&known)
        .unwrap();
    let plan = printed(&forebay(&["plan", "-c", &path, "meter-4"]));
    compare("plan-learned.txt", &plan, &[]);
}

#[test]
fn the_load_of_a_line_is_that_of_its_requests() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let json = printed(&forebay(&["plan", "--json", "-c", &config, "meters"]));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let line = &json["lines"][0];
    let mut load = 0.0;
    for device in line["devices"].as_array().unwrap() {
        for class in device["classes"].as_array().unwrap() {
            let requests = class["requests"].as_array().unwrap();
            let seconds: f64 = requests
                .iter()
                .map(|r| r["seconds"].as_f64().unwrap())
                .sum();
            // 11 bits a character at 9600 baud; two silences of 3.5; 5 ms before each request, 10 ms more for meter-4.
            let own = if device["device"] == "meter-4" {
                0.010
            } else {
                0.0
            };
            let by_hand: f64 = requests
                .iter()
                .map(|request| request["count"].as_f64().unwrap() * 2.0)
                .map(|bytes| (13.0 + bytes + 7.0) * 11.0 / 9600.0 + 0.005 + own)
                .sum();
            assert!((seconds - by_hand).abs() < 1e-5, "{seconds} {by_hand}");
            if let Some(every) = class["every_seconds"].as_f64() {
                load += by_hand / every;
            }
        }
    }
    assert!(
        (line["load"].as_f64().unwrap() - load).abs() < 1e-4,
        "{line}"
    );
}

#[test]
fn a_name_that_is_not_there_is_wrong_usage() {
    let folder = tempfile::tempdir().unwrap();
    let config = config(folder.path());
    let output = forebay(&["plan", "-c", &config, "meter-5"]);
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("did you mean"), "{said}");
    let output = forebay(&["plan", "-c", "/nowhere/forebay.toml"]);
    assert_eq!(output.status.code(), Some(78));
}
