//! Opening what carries the bytes: a TCP socket or a serial port.

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_serial::{SerialPort, SerialPortBuilderExt, SerialStream};

use crate::field::settings::{Parity, SerialSettings, Transport};

/// What carries the bytes.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Debug> Wire for T {}

/// A wire being opened.
pub type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send>>;

/// Opens the wire, again and again.
pub type Opener = Box<dyn FnMut() -> Opening + Send>;

/// How frames are told apart on the wire, and how long it must be silent before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bus {
    /// How frames are told apart.
    pub framing: Framing,
    /// Silence before each request: 3.5 characters and the line's turnaround; none on TCP.
    pub silence: Duration,
    /// How long a character takes; none on TCP.
    pub character: Duration,
}

/// How frames are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By the length in the MBAP header, and requests by its transaction id.
    Mbap,
    /// By length and CRC.
    Rtu,
}

/// A socket that does not open in this time will be tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

impl Bus {
    /// The bus of `transport`.
    pub fn of(transport: &Transport) -> Self {
        match transport {
            Transport::ModbusTcp { .. } => Self {
                framing: Framing::Mbap,
                silence: Duration::ZERO,
                character: Duration::ZERO,
            },
            Transport::ModbusRtu(serial) => {
                let character = character(serial);
                Self {
                    framing: Framing::Rtu,
                    silence: frame_silence(serial.baud_rate, character) + serial.turnaround,
                    character,
                }
            }
        }
    }
}

/// How long one character takes: start bit, data, parity, stop bits.
fn character(serial: &SerialSettings) -> Duration {
    let parity = u32::from(serial.parity != Parity::None);
    let bits = 1 + u32::from(serial.data_bits) + parity + u32::from(serial.stop_bits);
    Duration::from_secs(1) * bits / serial.baud_rate.max(1)
}

/// Silence between frames: 3.5 characters, above 19200 baud 1.75 ms (MODBUS over Serial Line V1.02, 2.5.1.1).
fn frame_silence(baud_rate: u32, character: Duration) -> Duration {
    if baud_rate > 19_200 {
        Duration::from_micros(1750)
    } else {
        character * 7 / 2
    }
}

/// The opener of `transport`.
pub fn opener(transport: &Transport) -> Opener {
    match transport.clone() {
        Transport::ModbusTcp { host, port } => Box::new(move || {
            let host = host.clone();
            Box::pin(async move { tcp(&host, port).await })
        }),
        Transport::ModbusRtu(serial) => Box::new(move || {
            let serial = serial.clone();
            Box::pin(async move { serial_port(&serial) })
        }),
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<Box<dyn Wire>> {
    let connecting = TcpStream::connect((host, port));
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    // A request is one small write that nothing follows: waiting for more would only delay it.
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

fn serial_port(serial: &SerialSettings) -> io::Result<Box<dyn Wire>> {
    let path = serial.port.to_string_lossy();
    let data_bits = tokio_serial::DataBits::try_from(serial.data_bits)
        .map_err(|()| io::Error::new(io::ErrorKind::InvalidInput, "data bits are 5 to 8"))?;
    let stop_bits = tokio_serial::StopBits::try_from(serial.stop_bits)
        .map_err(|()| io::Error::new(io::ErrorKind::InvalidInput, "stop bits are 1 or 2"))?;
    let parity = match serial.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Odd => tokio_serial::Parity::Odd,
        Parity::Even => tokio_serial::Parity::Even,
    };
    let port = tokio_serial::new(path, serial.baud_rate)
        .data_bits(data_bits)
        .parity(parity)
        .stop_bits(stop_bits)
        .exclusive(true)
        .open_native_async()?;
    warn_of_ignored(serial, &port, (data_bits, parity, stop_bits));
    Ok(Box::new(port))
}

/// Drivers take settings that they then ignore: pseudo terminals have no parity, some adapters not every speed.
fn warn_of_ignored(
    serial: &SerialSettings,
    port: &SerialStream,
    wanted: (
        tokio_serial::DataBits,
        tokio_serial::Parity,
        tokio_serial::StopBits,
    ),
) {
    let ignored = [
        (
            "baud_rate",
            port.baud_rate().is_ok_and(|is| is != serial.baud_rate),
        ),
        ("data_bits", port.data_bits().is_ok_and(|is| is != wanted.0)),
        ("parity", port.parity().is_ok_and(|is| is != wanted.1)),
        ("stop_bits", port.stop_bits().is_ok_and(|is| is != wanted.2)),
    ];
    let names: Vec<_> = ignored
        .iter()
        .filter_map(|&(name, is)| is.then_some(name))
        .collect();
    if !names.is_empty() {
        let port = serial.port.display();
        tracing::warn!("{port}: the driver ignores {}", names.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serial(baud_rate: u32) -> SerialSettings {
        SerialSettings {
            port: "/dev/null".into(),
            baud_rate,
            data_bits: 8,
            parity: Parity::Even,
            stop_bits: 1,
            turnaround: Duration::from_millis(5),
        }
    }

    #[test]
    fn silences_are_those_of_the_standard() {
        let slow = Bus::of(&Transport::ModbusRtu(serial(9600)));
        assert_eq!(slow.character.as_micros(), 1145);
        assert_eq!(slow.silence.as_micros(), 4010 + 5000);
        let fast = Bus::of(&Transport::ModbusRtu(serial(115_200)));
        assert_eq!(fast.silence.as_micros(), 1750 + 5000);
    }
}
