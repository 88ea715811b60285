//! Opening a serial port, and noticing what its driver does not do.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use tokio_serial::{DataBits, SerialPort, SerialPortBuilderExt, SerialStream, StopBits};

use super::ioctl;
use crate::field::settings::{Parity, SerialSettings};

/// Opens the port for this process alone, and logs what it will not do.
///
/// # Errors
/// Where there is no such port, it is not allowed, or another program has it.
pub(super) fn open(serial: &SerialSettings) -> io::Result<SerialStream> {
    let bus = &serial.bus;
    let data_bits = DataBits::try_from(bus.data_bits)
        .map_err(|()| io::Error::new(io::ErrorKind::InvalidInput, "data bits are 5 to 8"))?;
    let stop_bits = StopBits::try_from(bus.stop_bits)
        .map_err(|()| io::Error::new(io::ErrorKind::InvalidInput, "stop bits are 1 or 2"))?;
    let port = tokio_serial::new(serial.port.to_string_lossy(), bus.baud_rate)
        .data_bits(data_bits)
        .parity(parity(bus.parity))
        .stop_bits(stop_bits)
        .exclusive(true)
        .open_native_async()?;
    for complaint in complaints(serial, &port) {
        tracing::warn!("{}: {complaint}", serial.port.display());
    }
    Ok(port)
}

fn parity(parity: Parity) -> tokio_serial::Parity {
    match parity {
        Parity::None => tokio_serial::Parity::None,
        Parity::Odd => tokio_serial::Parity::Odd,
        Parity::Even => tokio_serial::Parity::Even,
    }
}

/// What the port does not do as it is told, for people. The line works all the same, or will say how it does not.
fn complaints(serial: &SerialSettings, port: &SerialStream) -> Vec<String> {
    let mut ignored = ignored(serial, port);
    let mut all = Vec::new();
    if let Some(rs485) = &serial.rs485 {
        match ioctl::switch_direction(port, rs485) {
            Ok(names) => ignored.extend(names),
            Err(error) => all.push(format!(
                "the driver does not switch the direction of RS-485: {error}; where the adapter does that by itself, leave `rs485` out"
            )),
        }
    }
    if !ignored.is_empty() {
        all.push(format!("the driver ignores {}", ignored.join(", ")));
    }
    if !ioctl::hand_on_at_once(port).is_ok_and(|will| will)
        && let Err(error) = shorten_latency(Path::new(USB_SERIAL), &serial.port)
    {
        all.push(format!("the adapter keeps bytes back: {error}"));
    }
    all
}

/// Drivers take settings that they then ignore: pseudo terminals have no parity, some adapters not every speed.
fn ignored(serial: &SerialSettings, port: &SerialStream) -> Vec<&'static str> {
    let bus = &serial.bus;
    let differs = [
        (
            "baud_rate",
            port.baud_rate().is_ok_and(|is| is != bus.baud_rate),
        ),
        (
            "data_bits",
            port.data_bits()
                .is_ok_and(|is| u8::from(is) != bus.data_bits),
        ),
        (
            "parity",
            port.parity().is_ok_and(|is| is != parity(bus.parity)),
        ),
        (
            "stop_bits",
            port.stop_bits()
                .is_ok_and(|is| u8::from(is) != bus.stop_bits),
        ),
    ];
    let names = differs
        .into_iter()
        .filter_map(|(name, is)| is.then_some(name));
    names.collect()
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
    use crate::field::settings::{BusSettings, Rs485};

    /// A pseudo terminal: its other end, which keeps it there, and its settings.
    fn terminal(rs485: Option<Rs485>) -> (SerialStream, SerialSettings) {
        let (other, terminal) = SerialStream::pair().unwrap();
        let serial = SerialSettings {
            port: terminal.name().unwrap().into(),
            bus: BusSettings::default(),
            rs485,
        };
        (other, serial)
    }

    #[tokio::test]
    async fn what_a_driver_does_not_do_is_told_and_the_port_is_open_all_the_same() {
        let (_other, serial) = terminal(None);
        let port = open(&serial).unwrap();
        assert_eq!(
            complaints(&serial, &port),
            ["the driver ignores parity"],
            "pseudo terminals have none"
        );
        let (_other, serial) = terminal(Some(Rs485::default()));
        let port = open(&serial).unwrap();
        let complaints = complaints(&serial, &port);
        let [direction, ignored] = complaints.as_slice() else {
            panic!("{complaints:?}");
        };
        assert!(direction.contains("direction of RS-485"), "{direction}");
        assert_eq!(ignored, "the driver ignores parity");
    }

    #[tokio::test]
    async fn a_port_is_open_in_one_program_at_a_time() {
        let (_other, serial) = terminal(None);
        let port = open(&serial).unwrap();
        assert!(open(&serial).is_err());
        drop(port);
        open(&serial).unwrap();
    }

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
