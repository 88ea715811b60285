//! `forebay simulate`: read by our own command and by a client of others.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::{forebay, printed};
use crate::harness::modbus::read_by_others;
use crate::harness::process::until;

/// A running simulation; it ends when this is dropped.
struct Simulation {
    child: Child,
    output: BufReader<ChildStdout>,
    /// HOST:PORT, or the link to the terminal.
    at: String,
}

impl Simulation {
    fn start(arguments: &[&str]) -> Self {
        let maps = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/maps");
        let mut child = Command::new(env!("CARGO_BIN_EXE_forebay"))
            .args(["simulate", "--maps"])
            .arg(maps)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let at = loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "it ended at once");
            if let Some((_, at)) = line.trim_end().rsplit_once(" on ") {
                break at.to_owned();
            }
        };
        Self { child, output, at }
    }

    fn tcp(arguments: &[&str]) -> Self {
        Self::start(&[&["--tcp", "127.0.0.1:0"], arguments].concat())
    }

    fn port(&self) -> u16 {
        self.at.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// SIGTERM; what it says at its end.
    fn stop(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
        let mut said = String::new();
        while self.output.read_line(&mut said).unwrap() > 0 {}
        assert!(self.child.wait().unwrap().success());
        said
    }

    /// What our own command reads, as JSON.
    fn read(&self, arguments: &[&str]) -> Value {
        let output = forebay(&[&["read", "--json", "--tcp", &self.at], arguments].concat());
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_map_is_served_and_its_values_are_those_that_were_ordered() {
    let simulation = Simulation::tcp(&[
        "eastron-sdm120",
        "demo-press@9",
        "--set",
        "voltage=constant:231.5",
        "--set",
        "state=constant:pressing",
    ]);
    let read = simulation.read(&["input", "0", "2"]);
    assert_eq!(read["registers"], json!([0x4367, 0x8000]), "{read}");
    let read = simulation.read(&["--unit", "9", "holding", "0"]);
    assert_eq!(read["registers"], json!([2]), "{read}");
    let said = simulation.stop();
    assert_eq!(said, "unit 1: 1 requests\nunit 9: 1 requests\n");
}

#[test]
fn values_move() {
    let simulation = Simulation::tcp(&[
        "eastron-sdm120",
        "--step",
        "10ms",
        "--set",
        "voltage=counter:0:1000",
    ]);
    let value = || {
        let read = simulation.read(&["input", "0", "2"]);
        let types = read["types"].as_array().unwrap().clone();
        let float = types.into_iter().find(|row| row["type"] == "f32").unwrap();
        float["orders"]["ABCD"]["value"].as_f64().unwrap()
    };
    let first = value();
    until(Duration::from_secs(20), || (value() > first).then_some(())).expect("it counts");
}

#[test]
fn faults_are_met_as_they_were_ordered() {
    let quality = |simulation: &Simulation, arguments: &[&str]| {
        let arguments = [&["--timeout", "300ms"], arguments].concat();
        simulation.read(&arguments)["error"]["quality"].clone()
    };
    for (fault, expected) in [
        (&["--silent"][..], json!("timeout")),
        (&["--exception", "4"], json!("exception-4")),
        (&["--noise"], json!("crc")),
        (&["--late", "5s"], json!("timeout")),
        (&["--reset"], json!("no-connection")),
        (&["--silent", "--share", "0"], Value::Null),
        (&["--torn", "20ms"], Value::Null),
    ] {
        let simulation = Simulation::tcp(&[&["eastron-sdm120"], fault].concat());
        assert_eq!(
            quality(&simulation, &["input", "0", "2"]),
            expected,
            "{fault:?}"
        );
    }
    let simulation = Simulation::tcp(&["eastron-sdm120", "--hole", "input:6-7"]);
    assert_eq!(
        quality(&simulation, &["input", "0", "8"]),
        json!("exception-2")
    );
    assert_eq!(quality(&simulation, &["input", "0", "6"]), Value::Null);
}

#[test]
fn wrong_orders_are_refused() {
    let maps = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/maps");
    let maps = maps.display().to_string();
    let code = |arguments: &[&str]| {
        let output = forebay(&[&["simulate", "--maps", &maps, "--for", "1ms"], arguments].concat());
        output.status.code()
    };
    assert_eq!(code(&[]), Some(2));
    assert_eq!(code(&["no-such-map"]), Some(1));
    assert_eq!(code(&["eastron-sdm120@x"]), Some(2));
    assert_eq!(code(&["eastron-sdm120@3", "demo-press@3"]), Some(2));
    assert_eq!(
        code(&["eastron-sdm120", "--set", "volts=constant:1"]),
        Some(2)
    );
    assert_eq!(
        code(&["eastron-sdm120", "--set", "voltage=rand:1"]),
        Some(2)
    );
    assert_eq!(code(&["eastron-sdm120", "--hole", "input:9-3"]), Some(2));
    assert_eq!(
        code(&["eastron-sdm120", "--share", "2", "--silent"]),
        Some(2)
    );
    assert_eq!(code(&["eastron-sdm120", "--tcp", "127.0.0.1:0"]), Some(0));
    for (map, help) in [
        ("eastron-sdm12", "help: did you mean \"eastron-sdm120\"?"),
        ("no-such-map", "help: write the path of a map"),
    ] {
        let output = forebay(&["simulate", "--maps", &maps, map]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(help), "{said}");
    }
}

#[test]
fn a_pseudo_terminal_is_a_serial_line_also_for_the_next_program() {
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("bus").display().to_string();
    let simulation = Simulation::start(&[
        "eastron-sdm120@3",
        "--pty",
        &link,
        "--set",
        "voltage=constant:231.5",
    ]);
    for _ in 0..2 {
        let rtu = [
            "read",
            "--json",
            "--rtu",
            &simulation.at,
            "--parity",
            "none",
            "--unit",
            "3",
        ];
        let output = forebay(&[&rtu[..], &["input", "0", "2"]].concat());
        let read: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(read["registers"], json!([0x4367, 0x8000]), "{read}");
    }
    assert_eq!(simulation.stop(), "unit 3: 2 requests\n");
    assert!(!Path::new(&link).is_symlink());
}

#[test]
#[ignore = "needs pymodbus"]
fn a_client_of_others_reads_it_over_tcp_and_over_rtu() {
    let set = ["--set", "voltage=constant:231.5"];
    let simulation =
        Simulation::tcp(&[&["eastron-sdm120"], &set[..], &["--hole", "input:6-7"]].concat());
    let tcp = json!({ "tcp": simulation.port() });
    assert_eq!(
        read_by_others(&tcp, 1, "input", 0, 2),
        json!([0x4367, 0x8000])
    );
    assert_eq!(
        read_by_others(&tcp, 1, "input", 6, 2),
        json!({ "exception": 2 })
    );
    let folder = tempfile::tempdir().unwrap();
    let link = folder.path().join("bus").display().to_string();
    let _simulation = Simulation::start(&[&["eastron-sdm120", "--pty", &link][..], &set].concat());
    let rtu = json!({ "serial": link, "baud_rate": 9600 });
    assert_eq!(
        read_by_others(&rtu, 1, "input", 0, 2),
        json!([0x4367, 0x8000])
    );
}

#[test]
fn a_configured_device_is_read_from_it() {
    let simulation = Simulation::tcp(&["demo-press"]);
    let folder = tempfile::tempdir().unwrap();
    let maps = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/maps");
    let path = folder.path().join("forebay.toml");
    let at = &simulation.at;
    let text = format!(
        "[gateway]\nid = \"a\"\nmaps = [{maps:?}]\n[line.plc]\nprotocol = \"modbus-tcp\"\naddress = \"{at}\"\n[device.press]\nline = \"plc\"\nmap = \"demo-press\"\nevery = \"1s\"\n"
    );
    std::fs::write(&path, text).unwrap();
    let config = path.display().to_string();
    let read = printed(&forebay(&["read", "--json", "-c", &config, "press"]));
    let read: Value = serde_json::from_str(&read).unwrap();
    let points = read["points"].as_array().unwrap();
    assert!(
        points.len() > 10 && points.iter().all(|point| point["quality"] == "good"),
        "{read}"
    );
}
