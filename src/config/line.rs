//! `[line.NAME]`.

use std::time::Duration;

use super::fields::{Fields, wrong_type};
use super::log::{Finding, Span};
use super::map::{OwnQuirks, read_quirks};
use super::tree::Value;
use crate::field::settings::{
    BusSettings, LineSettings, Parity, Rs485, RtsLevel, SerialSettings, Transport,
};
use crate::reading::Name;

/// A line and where it is named.
pub(super) struct Line {
    pub(super) settings: LineSettings,
    /// Those of all its devices.
    pub(super) quirks: OwnQuirks,
    pub(super) span: Span,
}

/// How long a device may take to answer.
pub(super) const TIMEOUTS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(60);

/// Protocols of the product that this version does not speak yet.
const LATER: [&str; 3] = ["modbus-ascii", "modbus-udp", "serial"];

/// Those that it speaks.
const PROTOCOLS: [(&str, ()); 3] = [
    ("modbus-tcp", ()),
    ("modbus-rtu", ()),
    ("modbus-rtu-over-tcp", ()),
];

/// Reads a line; `None` where it cannot be used, which is logged.
pub(super) fn read(fields: &Fields<'_>, name: Option<Name>) -> Option<Line> {
    let protocol = match fields.entry("protocol") {
        Some(_) => fields.text("protocol"),
        None => {
            fields.missing(
                "protocol",
                "write protocol = \"modbus-tcp\", \"modbus-rtu\" or \"modbus-rtu-over-tcp\"",
            );
            None
        }
    };
    let transport = match protocol {
        Some("modbus-tcp") => read_tcp(fields),
        Some("modbus-rtu") => read_rtu(fields),
        Some("modbus-rtu-over-tcp") => read_rtu_over_tcp(fields),
        other => {
            if let Some(word) = other {
                refuse_protocol(fields, word);
            }
            for key in SERIAL_KEYS.iter().chain(&["address"]) {
                fields.entry(key);
            }
            None
        }
    };
    let timeout = fields.duration("timeout", TIMEOUTS);
    let retries = fields.integer("retries", 0..=10_u32);
    let quirks = read_quirks(fields);
    fields.finish();
    Some(Line {
        settings: LineSettings {
            name: name?,
            transport: transport?,
            timeout: timeout.unwrap_or(Duration::from_secs(1)),
            retries: retries.unwrap_or(1),
            devices: Vec::new(),
        },
        quirks,
        span: fields.span,
    })
}

fn refuse_protocol(fields: &Fields<'_>, word: &str) {
    if LATER.contains(&word) {
        let reason = format!("protocol {word:?} is not supported yet");
        let finding = Finding::error(fields.at("protocol"), reason);
        fields
            .log
            .push(finding.mend("use \"modbus-tcp\", \"modbus-rtu\" or \"modbus-rtu-over-tcp\""));
    } else {
        fields.choice("protocol", &PROTOCOLS);
    }
}

const SERIAL_KEYS: [&str; 7] = [
    "port",
    "baud_rate",
    "data_bits",
    "parity",
    "stop_bits",
    "turnaround",
    "rs485",
];

fn read_tcp(fields: &Fields<'_>) -> Option<Transport> {
    for key in SERIAL_KEYS {
        fields.refuse(
            key,
            format!("`{key}` belongs to a serial line"),
            "remove it, or use protocol = \"modbus-rtu\"",
        );
    }
    let (host, port) = read_address(fields)?;
    Some(Transport::ModbusTcp { host, port })
}

fn read_address(fields: &Fields<'_>) -> Option<(String, u16)> {
    if !fields.has("address") {
        fields.entry("address");
        fields.missing("address", "write address = \"10.0.2.15:502\"");
        return None;
    }
    let text = fields.filled_text("address")?;
    let split = split_address(text);
    if split.is_none() {
        let reason = format!("{text:?} is no address");
        let mend = "write HOST or HOST:PORT, as in \"10.0.2.15:502\" or \"[fd00::5]:502\"";
        fields
            .log
            .push(Finding::error(fields.at("address"), reason).mend(mend));
    }
    let (host, port) = split?;
    Some((host, port.unwrap_or(502)))
}

/// Host and port of `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`.
pub fn split_address(text: &str) -> Option<(String, Option<u16>)> {
    let port_of = |text: &str| text.parse().ok().filter(|port| *port != 0);
    if let Some(rest) = text.strip_prefix('[') {
        let (host, behind) = rest.split_once(']')?;
        host.parse::<std::net::Ipv6Addr>().ok()?;
        return match behind.strip_prefix(':') {
            Some(port) => Some((host.to_owned(), Some(port_of(port)?))),
            None => behind.is_empty().then(|| (host.to_owned(), None)),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port_of(port)?)),
        None => (text, None),
    };
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    (!host.is_empty() && host.chars().all(allowed)).then(|| (host.to_owned(), port))
}

fn read_rtu(fields: &Fields<'_>) -> Option<Transport> {
    fields.refuse(
        "address",
        "`address` belongs to modbus-tcp",
        "write port = \"/dev/serial/by-id/…\"",
    );
    let port = fields.path("port");
    if !fields.has("port") {
        fields.missing("port", "write port = \"/dev/serial/by-id/…\"");
    }
    let bus = read_bus(fields);
    let rs485 = read_rs485(fields);
    Some(Transport::ModbusRtu(SerialSettings {
        port: port?,
        bus,
        rs485,
    }))
}

/// `rs485`: `true`, or a table of what the system has not set as it must be.
fn read_rs485(fields: &Fields<'_>) -> Option<Rs485> {
    let entry = fields.entry("rs485")?;
    match entry.node.value {
        Value::Bool(is_wanted) => return is_wanted.then(Rs485::default),
        Value::Table(_) => {}
        _ => {
            let finding = wrong_type(entry, "true, false or a table");
            fields.log.push(finding.mend("write rs485 = true"));
            return None;
        }
    }
    let fields = fields.fields("rs485")?;
    let levels = [("high", RtsLevel::High), ("low", RtsLevel::Low)];
    let rs485 = Rs485 {
        rts_on_send: fields.choice("rts_on_send", &levels),
        delay_before: read_rts_delay(&fields, "delay_before"),
        delay_after: read_rts_delay(&fields, "delay_after"),
    };
    fields.finish();
    Some(rs485)
}

/// Whole milliseconds: the kernel knows no others, and none beyond 100.
fn read_rts_delay(fields: &Fields<'_>, key: &'static str) -> Option<Duration> {
    let delay = fields.duration(key, Duration::ZERO..=Duration::from_millis(100))?;
    if delay.subsec_micros() % 1000 != 0 {
        let reason = format!("`{key}` must be whole milliseconds");
        let finding = Finding::error(fields.at(key), reason);
        fields.log.push(finding.mend("write \"1ms\" or \"2ms\""));
    }
    Some(delay)
}

fn read_rtu_over_tcp(fields: &Fields<'_>) -> Option<Transport> {
    fields.refuse(
        "port",
        "`port` belongs to a serial line",
        "write address = \"10.0.2.15:4001\"",
    );
    fields.refuse(
        "rs485",
        "`rs485` belongs to a serial port of this machine",
        "remove it: the converter switches the direction of its bus",
    );
    let bus = read_bus(fields);
    let (host, port) = read_address(fields)?;
    Some(Transport::ModbusRtuOverTcp { host, port, bus })
}

fn read_bus(fields: &Fields<'_>) -> BusSettings {
    let default = BusSettings::default();
    let baud_rate = fields.integer("baud_rate", 50..=4_000_000_u32);
    let data_bits = fields.integer("data_bits", 5..=8_u8);
    if data_bits.is_some_and(|bits| bits != 8) {
        let reason = "RTU needs 8 data bits (MODBUS over Serial Line V1.02, 2.5.1)";
        let finding = Finding::error(fields.at("data_bits"), reason);
        fields
            .log
            .push(finding.mend("write data_bits = 8, or remove it"));
    }
    let words = [
        ("even", Parity::Even),
        ("none", Parity::None),
        ("odd", Parity::Odd),
    ];
    let parity = fields.choice("parity", &words);
    let stop_bits = fields.integer("stop_bits", 1..=2_u8);
    let turnaround = fields.duration("turnaround", Duration::ZERO..=Duration::from_secs(10));
    BusSettings {
        baud_rate: baud_rate.unwrap_or(default.baud_rate),
        data_bits: default.data_bits,
        parity: parity.unwrap_or(default.parity),
        stop_bits: stop_bits.unwrap_or(default.stop_bits),
        turnaround: turnaround.unwrap_or(default.turnaround),
    }
}

#[cfg(test)]
mod tests {
    use super::split_address;

    #[test]
    fn addresses_with_and_without_a_port() {
        let split = |text| split_address(text).map(|(host, port)| format!("{host} {port:?}"));
        assert_eq!(
            split("10.0.2.15:502").as_deref(),
            Some("10.0.2.15 Some(502)")
        );
        assert_eq!(split("plc.hall-2").as_deref(), Some("plc.hall-2 None"));
        assert_eq!(split("[fd00::5]:503").as_deref(), Some("fd00::5 Some(503)"));
        assert_eq!(split("[fd00::5]").as_deref(), Some("fd00::5 None"));
        for wrong in [
            "", ":502", "a:0", "a:b", "a b", "a:65536", "fd00::5", "[x]:5", "[::1]x", "tcp://a",
        ] {
            assert_eq!(split(wrong), None, "{wrong}");
        }
    }
}
