//! How much of its line's time a read takes; pure.

use std::time::Duration;

use super::plan::{Block, ScanPlan};
use crate::field::settings::Transport;

/// What reads of one device take of its line's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadCost {
    /// Whatever is read: the frames without their data, the silences, the device's answer time.
    request: Duration,
    /// Each byte of data.
    byte: Duration,
}

/// Bytes of an RTU read request: unit, function, address, count, checksum (MODBUS over Serial Line V1.02, 2.5.1).
const REQUEST: u32 = 8;

/// Bytes of its answer beside the data.
const ANSWER: u32 = 5;

/// A request and its answer over TCP take this at the least: two packets on a local network and a device's own work.
pub const LEAST_TCP: Duration = Duration::from_millis(1);

/// What a byte takes on the slowest network that is usual, 100 Mbit/s.
const TCP_BYTE: Duration = Duration::from_nanos(80);

/// What a device on a serial bus takes to answer where that was not measured yet: meters take 5 to 50 ms.
const TYPICAL_RTU: Duration = Duration::from_millis(10);

impl ReadCost {
    /// The cost where the device begins to answer after `answer` (the silence before its answer included) and is left
    /// alone for `delay` before each request.
    pub fn new(transport: &Transport, delay: Duration, answer: Duration) -> Self {
        match transport.bus() {
            Some(bus) => Self {
                request: bus.character() * (REQUEST + ANSWER)
                    + bus.silence()
                    + bus.turnaround
                    + delay
                    + answer,
                byte: bus.character(),
            },
            None => Self {
                request: delay + answer,
                byte: TCP_BYTE,
            },
        }
    }

    /// Of a device that answers as soon as the standard lets it.
    pub fn least(transport: &Transport, delay: Duration) -> Self {
        let answer = transport.bus().map_or(LEAST_TCP, |bus| bus.silence());
        Self::new(transport, delay, answer)
    }

    /// Of a device whose answer time is not known yet.
    pub fn typical(transport: &Transport, delay: Duration) -> Self {
        let answer = transport.bus().map_or(LEAST_TCP, |_| TYPICAL_RTU);
        Self::new(transport, delay, answer)
    }

    /// The time of a read of `bytes` of data.
    pub fn of_bytes(&self, bytes: u32) -> Duration {
        self.request + self.byte * bytes
    }

    /// The time of the read of `block`.
    pub fn of_block(&self, block: &Block) -> Duration {
        self.of_bytes(block.bytes())
    }

    /// The time of one scan.
    pub fn of_plan(&self, plan: &ScanPlan) -> Duration {
        plan.blocks.iter().map(|block| self.of_block(block)).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::settings::{BusSettings, SerialSettings};

    #[test]
    fn an_rtu_read_takes_its_characters_and_silences() {
        let transport = Transport::ModbusRtu(SerialSettings {
            port: "/dev/ttyS0".into(),
            bus: BusSettings {
                baud_rate: 9_600,
                turnaround: Duration::from_millis(5),
                ..BusSettings::default()
            },
            rs485: None,
        });
        let cost = ReadCost::least(&transport, Duration::from_millis(2));
        // 11 bits a character: 8 + 5 + 20 characters, twice 3.5 characters of silence, the turnaround and the delay.
        let expected = 40.0 * 11.0 / 9_600.0 + 0.007;
        let time = cost.of_bytes(20).as_secs_f64();
        assert!((time - expected).abs() < 1e-6, "{time} {expected}");
    }
}
