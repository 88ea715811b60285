//! How much time a device takes on its line, at the least: an estimate for the check, from frame lengths alone. Pure.

use std::time::Duration;

use crate::field::modbus::map::DeviceMap;
use crate::field::modbus::plan::{Block, plan};
use crate::field::settings::{DeviceSettings, Transport};
use crate::reading::Name;

/// A request and its answer over TCP take this at the least: two packets on a local network and a device's own work.
pub(super) const LEAST_TCP: Duration = Duration::from_millis(1);

/// Bytes of an RTU read request: unit, function, address, count, checksum (MODBUS over Serial Line V1.02, 2.5.1).
const REQUEST: u32 = 8;

/// Bytes of its answer beside the data.
const ANSWER: u32 = 5;

/// What a scan class of a device costs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cost {
    pub(super) requests: usize,
    pub(super) time: Duration,
    pub(super) period: Duration,
}

impl Cost {
    /// Share of the line's time.
    pub(super) fn load(&self) -> f64 {
        self.time.as_secs_f64() / self.period.as_secs_f64()
    }
}

/// The costs of the classes of a device that have a period.
pub(super) fn costs(transport: &Transport, device: &DeviceSettings) -> Vec<Cost> {
    let cost = |(class, period): (&Name, &Option<Duration>)| {
        let period = (*period)?;
        let reads = reads(&device.map, class);
        let time = reads
            .iter()
            .map(|bytes| request_time(transport, *bytes) + device.delay)
            .sum();
        Some(Cost {
            requests: reads.len(),
            time,
            period,
        })
    };
    device.scans.iter().filter_map(cost).collect()
}

/// The data bytes of each read of a scan.
fn reads(map: &DeviceMap, class: &Name) -> Vec<u32> {
    let bytes = |block: &Block| {
        let count = u32::from(block.count);
        if block.table.is_bits() {
            count.div_ceil(8)
        } else {
            count * 2
        }
    };
    plan(map, class).blocks.iter().map(bytes).collect()
}

fn request_time(transport: &Transport, bytes: u32) -> Duration {
    match transport.bus() {
        Some(bus) => {
            let characters = bus.character() * (REQUEST + ANSWER + bytes);
            characters + bus.silence() * 2 + bus.turnaround
        }
        None => LEAST_TCP,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::settings::{BusSettings, SerialSettings};

    #[test]
    fn an_rtu_read_takes_its_characters_and_silences() {
        let serial = SerialSettings {
            port: "/dev/ttyS0".into(),
            bus: BusSettings {
                baud_rate: 9_600,
                turnaround: Duration::from_millis(5),
                ..BusSettings::default()
            },
        };
        // 11 bits a character: 8 + 5 + 20 characters, twice 3.5 characters of silence, and the turnaround.
        let expected = 40.0 * 11.0 / 9_600.0 + 0.005;
        let time = request_time(&Transport::ModbusRtu(serial), 20).as_secs_f64();
        assert!((time - expected).abs() < 1e-6, "{time} {expected}");
    }
}
