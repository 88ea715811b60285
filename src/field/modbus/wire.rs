//! Opening what carries the bytes: a TCP socket or a serial port.

use std::fmt::Debug;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use rustix::net::sockopt;
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

/// After so long without a byte, every so often, so many times in vain: then the peer is gone. It keeps the tables of
/// firewalls fresh between seldom scans, and finds a peer that was switched off within a minute.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

impl Bus {
    /// The bus of `transport`.
    pub fn of(transport: &Transport) -> Self {
        match transport.bus() {
            None => Self {
                framing: Framing::Mbap,
                silence: Duration::ZERO,
                character: Duration::ZERO,
            },
            Some(bus) => Self {
                framing: Framing::Rtu,
                silence: bus.silence() + bus.turnaround,
                character: bus.character(),
            },
        }
    }
}

/// The opener of `transport`.
pub fn opener(transport: &Transport) -> Opener {
    match transport.clone() {
        Transport::ModbusTcp { host, port } | Transport::ModbusRtuOverTcp { host, port, .. } => {
            Box::new(move || {
                let host = host.clone();
                Box::pin(async move { tcp(&host, port).await })
            })
        }
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
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE.0)?;
    sockopt::set_tcp_keepintvl(&stream, KEEPALIVE.1)?;
    sockopt::set_tcp_keepcnt(&stream, KEEPALIVE.2)?;
    Ok(Box::new(stream))
}

fn serial_port(serial: &SerialSettings) -> io::Result<Box<dyn Wire>> {
    let path = serial.port.to_string_lossy();
    let bus = &serial.bus;
    let data_bits = tokio_serial::DataBits::try_from(bus.data_bits)
        .map_err(|()| io::Error::new(io::ErrorKind::InvalidInput, "data bits are 5 to 8"))?;
    let stop_bits = tokio_serial::StopBits::try_from(bus.stop_bits)
        .map_err(|()| io::Error::new(io::ErrorKind::InvalidInput, "stop bits are 1 or 2"))?;
    let parity = match bus.parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Odd => tokio_serial::Parity::Odd,
        Parity::Even => tokio_serial::Parity::Even,
    };
    let port = tokio_serial::new(path, bus.baud_rate)
        .data_bits(data_bits)
        .parity(parity)
        .stop_bits(stop_bits)
        .exclusive(true)
        .open_native_async()?;
    warn_of_ignored(serial, &port, (data_bits, parity, stop_bits));
    if let Err(error) = shorten_latency(Path::new(USB_SERIAL), &serial.port) {
        let port = serial.port.display();
        tracing::warn!("{port}: the adapter keeps bytes back: {error}");
    }
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
            port.baud_rate().is_ok_and(|is| is != serial.bus.baud_rate),
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

/// Where the kernel shows USB adapters by the names of their terminals.
const USB_SERIAL: &str = "/sys/bus/usb-serial/devices";

/// Some adapters (FTDI) keep bytes back for 16 ms, in the hope of more: longer than most devices take to answer. Gives
/// whether there was something to shorten.
fn shorten_latency(devices: &Path, port: &Path) -> io::Result<bool> {
    let Some(terminal) = fs::canonicalize(port)?.file_name().map(PathBuf::from) else {
        return Ok(false);
    };
    let timer = devices.join(terminal).join("latency_timer");
    let Ok(text) = fs::read_to_string(&timer) else {
        // No such adapter.
        return Ok(false);
    };
    if text.trim().parse::<u32>().is_ok_and(|ms| ms <= 1) {
        return Ok(false);
    }
    let told = |error| {
        let (timer, ms) = (timer.display(), text.trim());
        io::Error::other(format!(
            "{timer} is {ms} ms and cannot be set to 1: {error}"
        ))
    };
    fs::write(&timer, "1").map(|()| true).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_that_keeps_bytes_back_is_told_not_to() {
        let folder = tempfile::tempdir().unwrap();
        let adapter = folder.path().join("ttyUSB7");
        fs::create_dir(&adapter).unwrap();
        let port = adapter.join("ttyUSB7");
        fs::write(&port, "").unwrap();
        assert!(
            !shorten_latency(folder.path(), &port).unwrap(),
            "it has no timer"
        );
        let timer = adapter.join("latency_timer");
        fs::write(&timer, "16\n").unwrap();
        assert!(shorten_latency(folder.path(), &port).unwrap());
        assert_eq!(fs::read_to_string(&timer).unwrap(), "1");
        assert!(
            !shorten_latency(folder.path(), &port).unwrap(),
            "it is short by now"
        );
    }
}
