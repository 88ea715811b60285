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
}

/// A serial port and its bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SerialSettings {
    /// Device file, best by `/dev/serial/by-id`.
    pub port: PathBuf,
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
