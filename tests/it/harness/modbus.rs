//! Modbus servers of others, told what to hold by JSON lines: pymodbus (tests/it/peers/modbus_server.py), and libmodbus,
//! which has one device and no RTU over TCP (tests/it/peers/libmodbus_server.py).

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};

const LIBMODBUS: &str = "libmodbus_server.py";

/// A running server; it ends when this is dropped.
pub struct ModbusServer {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// The TCP port; 0 on a serial line.
    pub port: u16,
}

impl ModbusServer {
    /// Serves `units` (`{"1": {"holding": {"0": [1, 2]}}}`) over TCP on `port`; 0: a free one.
    pub fn tcp(port: u16, units: &Value) -> Self {
        Self::start(&json!({ "tcp": port, "units": units }))
    }

    /// The same with RTU frames in the TCP stream.
    pub fn rtu_over_tcp(port: u16, units: &Value) -> Self {
        Self::start(&json!({ "tcp": port, "framer": "rtu", "units": units }))
    }

    /// Serves `units` over RTU on a serial port.
    pub fn rtu(port: &Path, baud_rate: u32, units: &Value) -> Self {
        Self::start(&json!({ "serial": port, "baud_rate": baud_rate, "units": units }))
    }

    /// Serves the one of `units` over TCP, by libmodbus.
    pub fn libmodbus_tcp(port: u16, units: &Value) -> Self {
        Self::start_as(LIBMODBUS, &json!({ "tcp": port, "units": units }))
    }

    /// Serves the one of `units` over RTU on a serial port, by libmodbus.
    pub fn libmodbus_rtu(port: &Path, baud_rate: u32, units: &Value) -> Self {
        let told = json!({ "serial": port, "baud_rate": baud_rate, "units": units });
        Self::start_as(LIBMODBUS, &told)
    }

    /// Sets places; returns when they are set.
    pub fn set(&mut self, unit: u8, table: &str, address: u16, values: &Value) {
        let told = json!({ "unit": unit, "table": table, "address": address, "values": values });
        self.tell(&told);
    }

    fn start(told: &Value) -> Self {
        Self::start_as("modbus_server.py", told)
    }

    fn start_as(script: &str, told: &Value) -> Self {
        let peers = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers");
        let script = peers.join(script);
        let mut child = Command::new(python())
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{:?}: {error} (run scripts/setup)", python()));
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut this = Self {
            child,
            input,
            output,
            port: 0,
        };
        let answer = this.tell(told);
        this.port = answer["port"].as_u64().unwrap().try_into().unwrap();
        this
    }

    fn tell(&mut self, told: &Value) -> Value {
        writeln!(self.input, "{told}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

impl Drop for ModbusServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a client of others reads: registers, bits, or `{"exception": CODE}`. `line` is `{"tcp": PORT}` or
/// `{"serial": PATH, "baud_rate": N}`.
pub fn read_by_others(line: &Value, unit: u8, table: &str, address: u16, count: u16) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/peers/modbus_client.py");
    let output = Command::new(python())
        .arg(script)
        .arg(line.to_string())
        .args([unit.to_string(), table.to_owned()])
        .args([address.to_string(), count.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("{:?}: {error} (run scripts/setup)", python()));
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The Python that has pymodbus.
fn python() -> PathBuf {
    let venv = || Path::new(env!("CARGO_MANIFEST_DIR")).join(".venv/bin/python");
    std::env::var_os("FOREBAY_PYTHON").map_or_else(venv, PathBuf::from)
}
