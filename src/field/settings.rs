//! What a line and its devices are set to; checked, so that nothing impossible is in here.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::modbus::map::DeviceMap;
use crate::reading::{Description, Name};

/// A line and the devices on it.
#[derive(Debug, Clone, PartialEq)]
pub struct LineSettings {
    /// The line's name.
    pub name: Name,
    /// How its devices are reached.
    pub transport: Transport,
    /// How long to wait for an answer, unless the device has its own.
    pub timeout: Duration,
    /// How often the same request is repeated before the readings count as missing.
    pub retries: u32,
    /// The devices, in the order of their names.
    pub devices: Vec<DeviceSettings>,
}

/// How the devices of a line are reached.
#[derive(Debug, Clone, PartialEq)]
pub enum Transport {
    /// Modbus TCP (MODBUS Messaging on TCP/IP Implementation Guide V1.0b).
    ModbusTcp {
        /// Host name or address.
        host: String,
        /// TCP port; 502 unless the address names one.
        port: u16,
    },
    /// Modbus RTU on a serial port (MODBUS over Serial Line V1.02).
    ModbusRtu(SerialSettings),
    /// RTU frames in a TCP stream: a converter with a serial bus behind it.
    ModbusRtuOverTcp {
        /// Host name or address of the converter.
        host: String,
        /// TCP port; 502 unless the address names one.
        port: u16,
        /// The bus behind it.
        bus: BusSettings,
    },
}

impl Transport {
    /// The serial bus that the devices are on; `None`: there is none, or nothing is known of it.
    pub fn bus(&self) -> Option<&BusSettings> {
        match self {
            Self::ModbusTcp { .. } => None,
            Self::ModbusRtu(serial) => Some(&serial.bus),
            Self::ModbusRtuOverTcp { bus, .. } => Some(bus),
        }
    }
}

/// A serial port and its bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialSettings {
    /// Device file, best by `/dev/serial/by-id`.
    pub port: PathBuf,
    /// The bus.
    pub bus: BusSettings,
    /// How the driver switches the direction of an RS-485 transceiver; `None`: it is not told to.
    pub rs485: Option<Rs485>,
}

/// How a driver switches the direction of an RS-485 transceiver with RTS. What is `None` stays as the system has set it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rs485 {
    /// RTS while sending.
    pub rts_on_send: Option<RtsLevel>,
    /// From switching to the first bit, in whole milliseconds.
    pub delay_before: Option<Duration>,
    /// From the last bit to switching back, in whole milliseconds.
    pub delay_after: Option<Duration>,
}

/// Level of the line RTS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RtsLevel {
    /// High.
    High,
    /// Low.
    Low,
}

/// What the characters and silences of a serial bus take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BusSettings {
    /// Bits per second.
    pub baud_rate: u32,
    /// 5 to 8; RTU needs 8.
    pub data_bits: u8,
    /// Parity; the standard's default is even.
    pub parity: Parity,
    /// 1 or 2.
    pub stop_bits: u8,
    /// Extra silence before a request, beyond the standard's 3.5 characters.
    pub turnaround: Duration,
}

impl Default for BusSettings {
    /// What the standard asks of every device: 19200 baud, even parity, one stop bit (V1.02, 3.3 and 2.5.1).
    fn default() -> Self {
        Self {
            baud_rate: 19_200,
            data_bits: 8,
            parity: Parity::Even,
            stop_bits: 1,
            turnaround: Duration::ZERO,
        }
    }
}

impl BusSettings {
    /// How long one character takes: start bit, data, parity, stop bits.
    pub fn character(&self) -> Duration {
        let parity = u32::from(self.parity != Parity::None);
        let bits = 1 + u32::from(self.data_bits) + parity + u32::from(self.stop_bits);
        Duration::from_secs(1) * bits / self.baud_rate.max(1)
    }

    /// Silence between frames: 3.5 characters, above 19200 baud 1.75 ms (MODBUS over Serial Line V1.02, 2.5.1.1).
    pub fn silence(&self) -> Duration {
        if self.baud_rate > 19_200 {
            Duration::from_micros(1750)
        } else {
            self.character() * 7 / 2
        }
    }
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parity {
    /// No parity bit.
    None,
    /// Odd.
    Odd,
    /// Even.
    Even,
}

/// A device on a line.
#[derive(Debug, Clone, PartialEq)]
pub struct DeviceSettings {
    /// The device's name.
    pub name: Name,
    /// Unit id: 1 to 247 on serial, 0 to 255 on TCP.
    pub unit: u8,
    /// Where its values sit; the points of the device itself are merged in.
    pub map: Arc<DeviceMap>,
    /// What consumers are told of it; its `map` hash stands in every scan.
    pub description: Arc<Description>,
    /// Period of each scan class that the map uses. A class named `once` has `None`: read at every (re)connect only.
    pub scans: BTreeMap<Name, Option<Duration>>,
    /// Answer timeout of this device, where it differs from the line's.
    pub timeout: Option<Duration>,
    /// Retries of this device, where they differ from the line's.
    pub retries: Option<u32>,
    /// Extra silence before each request to this device.
    pub delay: Duration,
    /// `false`: not polled; its readings are sent once, null and `disabled`.
    pub enabled: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silences_are_those_of_the_standard() {
        let bus = |baud_rate| BusSettings {
            baud_rate,
            ..BusSettings::default()
        };
        assert_eq!(bus(9600).character().as_micros(), 1145);
        assert_eq!(bus(9600).silence().as_micros(), 4010);
        assert_eq!(bus(115_200).silence().as_micros(), 1750);
    }
}
