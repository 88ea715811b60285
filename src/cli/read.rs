//! `forebay read`: what a device says now; of a configuration, or of registers that nobody has described yet.

mod device;
mod raw;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{ArgGroup, Args, ValueEnum};

use super::{DEFAULT_CONFIG, FAILED, WRONG_USAGE, columns};
use crate::config::split_address;
use crate::field::FieldError;
use crate::field::explain::explain;
use crate::field::modbus::map::Table;
use crate::field::settings::{BusSettings, Parity, Rs485, SerialSettings, Transport};
use crate::support::units::parse_duration;

/// What to read, and where.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("wire").args(["tcp", "rtu", "rtu_over_tcp"]))]
pub struct ReadArguments {
    /// What to read
    #[arg(required = true, value_name = "WHAT", help = WHAT)]
    what: Vec<String>,
    /// Configuration file; `conf.d/*.toml` beside it is read too
    #[arg(short, long, value_name = "FILE", default_value = DEFAULT_CONFIG)]
    config: PathBuf,
    /// Read over Modbus TCP, without a configuration; the port is 502 unless named
    #[arg(long, value_name = "HOST:PORT", value_parser = endpoint)]
    tcp: Option<Endpoint>,
    /// Read over Modbus RTU, without a configuration
    #[arg(long, value_name = "DEVICE FILE")]
    rtu: Option<PathBuf>,
    /// Read over RTU frames in a TCP stream, without a configuration
    #[arg(long, value_name = "HOST:PORT", value_parser = endpoint)]
    rtu_over_tcp: Option<Endpoint>,
    /// Unit id
    #[arg(long, default_value_t = 1, requires = "wire")]
    unit: u8,
    /// Bits per second
    #[arg(long, default_value_t = 19_200, requires = "wire", value_parser = clap::value_parser!(u32).range(50..=4_000_000))]
    baud: u32,
    /// Parity; the standard's default is even
    #[arg(long, value_enum, default_value_t = ParityWord::Even, requires = "wire")]
    parity: ParityWord,
    /// Stop bits
    #[arg(long, default_value_t = 1, requires = "wire", value_parser = clap::value_parser!(u8).range(1..=2))]
    stop_bits: u8,
    /// The driver switches the direction of an RS-485 transceiver, with RTS
    #[arg(long, requires = "rtu")]
    rs485: bool,
    /// How long to wait for an answer
    #[arg(long, default_value = "1s", requires = "wire", value_parser = parse_duration)]
    timeout: Duration,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

const WHAT: &str = "DEVICE [POINT]... of the configuration; with --tcp, --rtu or --rtu-over-tcp: TABLE ADDRESS [COUNT], \
                    where TABLE is coil, discrete, input or holding and ADDRESS the number on the wire";

/// Host and port.
type Endpoint = (String, u16);

fn endpoint(text: &str) -> Result<Endpoint, String> {
    let (host, port) = split_address(text).ok_or("write HOST or HOST:PORT, as in 10.0.2.15:502")?;
    Ok((host, port.unwrap_or(502)))
}

/// The word of a parity.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum ParityWord {
    Even,
    Odd,
    None,
}

/// Reads once and prints what came.
pub fn run(arguments: &ReadArguments) -> ExitCode {
    let result = match arguments.transport() {
        Some(transport) => Places::parse(&arguments.what)
            .map_err(|reason| usage(&reason))
            .and_then(|places| raw::read(arguments, &transport, places)),
        None => device::read(arguments),
    };
    let (text, code) = match result {
        Ok(answer) => answer,
        Err(code) => return code,
    };
    // Whoever reads this may have gone (`forebay read … | head`).
    let _ = io::stdout().lock().write_all(text.as_bytes());
    code
}

/// What is printed, and how it ended.
type Answer = Result<(String, ExitCode), ExitCode>;

fn usage(reason: &str) -> ExitCode {
    complain(&format!(
        "error: {reason}\n\nFor more information, try 'forebay read --help'.\n"
    ));
    ExitCode::from(WRONG_USAGE)
}

fn complain(text: &str) {
    // Without standard error there is nobody to tell but by the exit code.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

impl ReadArguments {
    /// The line that the arguments name; `None`: the configuration does.
    fn transport(&self) -> Option<Transport> {
        let bus = BusSettings {
            baud_rate: self.baud,
            parity: match self.parity {
                ParityWord::Even => Parity::Even,
                ParityWord::Odd => Parity::Odd,
                ParityWord::None => Parity::None,
            },
            stop_bits: self.stop_bits,
            ..BusSettings::default()
        };
        if let Some((host, port)) = self.tcp.clone() {
            return Some(Transport::ModbusTcp { host, port });
        }
        if let Some((host, port)) = self.rtu_over_tcp.clone() {
            return Some(Transport::ModbusRtuOverTcp { host, port, bus });
        }
        let port = self.rtu.clone()?;
        let rs485 = self.rs485.then(Rs485::default);
        Some(Transport::ModbusRtu(SerialSettings { port, bus, rs485 }))
    }
}

/// A run of places in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Places {
    table: Table,
    address: u16,
    count: u16,
}

impl Places {
    /// The words `TABLE ADDRESS [COUNT]`.
    fn parse(words: &[String]) -> Result<Self, String> {
        let (table, address, count) = match words {
            [table, address] => (table, address, "1"),
            [table, address, count] => (table, address, count.as_str()),
            _ => {
                return Err(
                    "without a configuration, write TABLE ADDRESS [COUNT], as in: holding 0 10"
                        .to_owned(),
                );
            }
        };
        let known = Table::ALL.into_iter().find(|known| known.as_str() == table);
        let table = known.ok_or_else(|| {
            format!("{table:?} is no table: TABLE is coil, discrete, input or holding")
        })?;
        let address = number(address).ok_or_else(|| {
            format!("{address:?} is no address: ADDRESS is the number on the wire, 0 to 65535 (0x0 to 0xFFFF)")
        })?;
        let places = number(count).filter(|count| *count > 0);
        let count =
            places.ok_or_else(|| format!("{count:?}: COUNT is how many places, 1 to 65535"))?;
        if u32::from(address) + u32::from(count) > 65_536 {
            return Err(format!(
                "{} from {address} on passes the last place, 65535",
                count
            ));
        }
        Ok(Self {
            table,
            address,
            count,
        })
    }
}

fn number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16).ok(),
        None => text.parse().ok(),
    }
}

/// What `transport` leads to, for people.
pub(super) fn place(transport: &Transport) -> String {
    match transport {
        Transport::ModbusTcp { host, port } => format!("modbus-tcp {host}:{port}"),
        Transport::ModbusRtuOverTcp { host, port, .. } => {
            format!("modbus-rtu-over-tcp {host}:{port}")
        }
        Transport::ModbusRtu(serial) => {
            let bus = &serial.bus;
            let parity = match bus.parity {
                Parity::None => 'N',
                Parity::Odd => 'O',
                Parity::Even => 'E',
            };
            let port = serial.port.display();
            let (baud, data, stop) = (bus.baud_rate, bus.data_bits, bus.stop_bits);
            format!("modbus-rtu {port} {baud} {data}{parity}{stop}")
        }
    }
}

/// Why there is nothing, for people.
fn words_for(error: &FieldError, transport: &Transport) -> String {
    let explained = explain(error, transport);
    let mut text = format!("{}\n", explained.what);
    for cause in explained.causes {
        text.push_str(&format!("  - {cause}\n"));
    }
    text
}

/// The same for programs.
fn json_for(error: &FieldError, transport: &Transport) -> serde_json::Value {
    let explained = explain(error, transport);
    serde_json::json!({
        "quality": error.quality().to_string(),
        "what": explained.what,
        "causes": explained.causes,
    })
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T, ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.map_err(|error| {
        complain(&format!("cannot start: {error}\n"));
        ExitCode::from(FAILED)
    })?;
    Ok(runtime.block_on(future))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Places, String> {
        Places::parse(&text.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn places_are_a_table_an_address_and_a_count() {
        let places = |table, address, count| {
            Ok(Places {
                table,
                address,
                count,
            })
        };
        assert_eq!(parse("holding 0 10"), places(Table::HoldingRegister, 0, 10));
        assert_eq!(parse("coil 0x10"), places(Table::Coil, 16, 1));
        assert_eq!(
            parse("input 65535"),
            places(Table::InputRegister, 65_535, 1)
        );
        for wrong in [
            "holding",
            "register 0",
            "holding 40001x",
            "holding 0 0",
            "input 65535 2",
            "coil 0 1 2",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
