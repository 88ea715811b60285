//! Requests, and the frames that come back; pure.
//!
//! MODBUS Messaging on TCP/IP Implementation Guide V1.0b, 3.1.3 (MBAP header); MODBUS over Serial Line V1.02,
//! 2.5.1 (RTU).

use super::map::Table;

/// A read that the standard allows: 1 to 125 registers or 1 to 2000 bits, within the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadRequest {
    unit: u8,
    table: Table,
    address: u16,
    count: u16,
}

impl ReadRequest {
    /// Most registers of one read (V1.1b3, 6.3).
    pub const MOST_REGISTERS: u16 = 125;
    /// Most bits of one read (V1.1b3, 6.1).
    pub const MOST_BITS: u16 = 2000;

    /// The read of `count` places from `address`; `None` where the standard has no such read.
    pub fn new(unit: u8, table: Table, address: u16, count: u16) -> Option<Self> {
        let most = if table.is_bits() {
            Self::MOST_BITS
        } else {
            Self::MOST_REGISTERS
        };
        let end = u32::from(address) + u32::from(count);
        ((1..=most).contains(&count) && end <= 65_536).then_some(Self {
            unit,
            table,
            address,
            count,
        })
    }

    /// The unit id.
    pub fn unit(self) -> u8 {
        self.unit
    }

    /// The table.
    pub fn table(self) -> Table {
        self.table
    }

    /// Address of the first place.
    pub fn address(self) -> u16 {
        self.address
    }

    /// How many places.
    pub fn count(self) -> u16 {
        self.count
    }

    /// The same place, another count.
    pub fn with_count(self, count: u16) -> Option<Self> {
        Self::new(self.unit, self.table, self.address, count)
    }

    /// Function code.
    pub fn function(self) -> u8 {
        match self.table {
            Table::Coil => 1,
            Table::DiscreteInput => 2,
            Table::HoldingRegister => 3,
            Table::InputRegister => 4,
        }
    }

    /// How many bytes of data the answer has.
    pub fn byte_count(self) -> u8 {
        let bytes = if self.table.is_bits() {
            self.count.div_ceil(8)
        } else {
            self.count * 2
        };
        u8::try_from(bytes).unwrap_or(u8::MAX)
    }

    /// How long the answer is in RTU: unit, function, byte count, data, CRC.
    pub fn rtu_answer_len(self) -> usize {
        5 + usize::from(self.byte_count())
    }
}

/// What a frame says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Unit id.
    pub unit: u8,
    /// Function code without the mark of an exception.
    pub function: u8,
    /// Bytes of data; `None`: an exception.
    pub byte_count: Option<u8>,
}

impl Frame {
    /// Whether it can be the answer to `request`, as far as a frame without a transaction id can tell.
    pub fn may_answer(self, request: ReadRequest) -> bool {
        self.unit == request.unit
            && self.function == request.function()
            && self
                .byte_count
                .is_none_or(|count| count == request.byte_count())
    }
}

impl Frame {
    /// Whether it would be the answer to `request`, had it not too few bytes of data.
    pub fn is_short_of(self, request: ReadRequest) -> bool {
        let shorter = self
            .byte_count
            .is_some_and(|count| count < request.byte_count());
        self.unit == request.unit && self.function == request.function() && shorter
    }
}

/// What stands at the beginning of the received bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// After `skip` bytes of noise, a frame of `len` bytes.
    Frame {
        /// Bytes before it that belong to no frame.
        skip: usize,
        /// Its bytes.
        len: usize,
        /// What it says.
        frame: T,
    },
    /// Nothing complete yet.
    Incomplete,
    /// Nothing that could ever become a frame: the stream has lost its frames.
    Lost,
}

/// Length of unit, function and data in an MBAP frame: at least an exception, at most 253 and the unit.
const MBAP_LENGTH: std::ops::RangeInclusive<u16> = 3..=254;

/// Finds the next MBAP frame: its transaction id and the frame, `None` where the frame is not the answer to a read.
pub fn find_mbap(bytes: &[u8]) -> Found<(u16, Option<Frame>)> {
    let &[t0, t1, p0, p1, l0, l1, ref rest @ ..] = bytes else {
        // Whoever does not speak Modbus is found out by the first bytes: the protocol id is 0.
        return match bytes {
            [_, _, p0, ..] if *p0 != 0 => Found::Lost,
            _ => Found::Incomplete,
        };
    };
    let length = u16::from_be_bytes([l0, l1]);
    if (p0, p1) != (0, 0) || !MBAP_LENGTH.contains(&length) {
        return Found::Lost;
    }
    let Some(body) = rest.get(..usize::from(length)) else {
        return Found::Incomplete;
    };
    let frame = match *body {
        [unit, function @ 1..=4, count, ref data @ ..] if data.len() == usize::from(count) => {
            Some(Frame {
                unit,
                function,
                byte_count: Some(count),
            })
        }
        [unit, function @ 0x81..=0x84, _] => Some(Frame {
            unit,
            function: function & 0x7F,
            byte_count: None,
        }),
        _ => None,
    };
    Found::Frame {
        skip: 0,
        len: 6 + body.len(),
        frame: (u16::from_be_bytes([t0, t1]), frame),
    }
}

/// Finds the next RTU frame with a right CRC: of any unit at the very beginning, of `unit` also behind noise.
pub fn find_rtu(bytes: &[u8], unit: u8) -> Found<Frame> {
    for skip in 0..bytes.len() {
        let rest = bytes.get(skip..).unwrap_or_default();
        if skip > 0 && rest.first() != Some(&unit) {
            continue;
        }
        if let Some((len, frame)) = rtu_frame(rest) {
            return Found::Frame { skip, len, frame };
        }
    }
    Found::Incomplete
}

/// The read answer or exception that `bytes` begin with.
fn rtu_frame(bytes: &[u8]) -> Option<(usize, Frame)> {
    let (len, frame) = match *bytes {
        [unit, function @ 1..=4, count, ..] => (
            5 + usize::from(count),
            Frame {
                unit,
                function,
                byte_count: Some(count),
            },
        ),
        [unit, function @ 0x81..=0x84, _, ..] => (
            5,
            Frame {
                unit,
                function: function & 0x7F,
                byte_count: None,
            },
        ),
        _ => return None,
    };
    let (body, check) = bytes.get(..len)?.split_last_chunk::<2>()?;
    (crc16(body) == u16::from_le_bytes(*check)).then_some((len, frame))
}

/// CRC-16/MODBUS (MODBUS over Serial Line V1.02, 6.2.2).
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xFFFF, |crc, &byte| {
        (0..8).fold(crc ^ u16::from(byte), |crc, _| {
            if crc & 1 == 1 {
                crc >> 1 ^ 0xA001
            } else {
                crc >> 1
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rtu(body: &[u8]) -> Vec<u8> {
        [body, &crc16(body).to_le_bytes()].concat()
    }

    #[test]
    fn the_crc_is_that_of_the_standard() {
        // The example of the tokio-modbus and libmodbus tests.
        assert_eq!(crc16(&[0x01, 0x03, 0x08, 0x2B, 0x00, 0x02]), 0x63B6);
    }

    #[test]
    fn impossible_reads_cannot_be_built() {
        let read = |table, address, count| ReadRequest::new(1, table, address, count);
        assert!(read(Table::HoldingRegister, 0, 125).is_some());
        assert!(read(Table::HoldingRegister, 0, 126).is_none());
        assert!(read(Table::Coil, 0, 2000).is_some());
        assert!(read(Table::Coil, 0, 2001).is_none());
        assert!(read(Table::InputRegister, 65_535, 1).is_some());
        assert!(read(Table::InputRegister, 65_535, 2).is_none());
        assert!(read(Table::InputRegister, 0, 0).is_none());
        assert_eq!(read(Table::Coil, 0, 9).unwrap().byte_count(), 2);
        assert_eq!(read(Table::Coil, 0, 2000).unwrap().byte_count(), 250);
    }

    #[test]
    fn rtu_frames_are_found_behind_noise_and_only_whole() {
        let answer = rtu(&[7, 3, 2, 0x12, 0x34]);
        let frame = Frame {
            unit: 7,
            function: 3,
            byte_count: Some(2),
        };
        for end in 0..answer.len() {
            assert_eq!(find_rtu(&answer[..end], 7), Found::Incomplete);
        }
        let noisy = [&[0xFF, 7, 3, 0], answer.as_slice(), &[0]].concat();
        assert_eq!(
            find_rtu(&noisy, 7),
            Found::Frame {
                skip: 4,
                len: 7,
                frame
            }
        );
        let mut wrong = answer;
        wrong[4] ^= 1;
        assert_eq!(find_rtu(&wrong, 7), Found::Incomplete);
        let foreign = rtu(&[9, 0x83, 2]);
        assert!(matches!(
            find_rtu(&foreign, 7),
            Found::Frame {
                skip: 0,
                len: 5,
                ..
            }
        ));
    }

    #[test]
    fn mbap_that_lost_its_frames_is_told_at_once() {
        let answer = [0, 9, 0, 0, 0, 5, 1, 3, 2, 0xAB, 0xCD];
        for end in 0..answer.len() {
            assert_eq!(find_mbap(&answer[..end]), Found::Incomplete);
        }
        let Found::Frame {
            len: 11,
            frame: (9, Some(frame)),
            ..
        } = find_mbap(&answer)
        else {
            panic!("{:?}", find_mbap(&answer));
        };
        assert_eq!(frame.byte_count, Some(2));
        assert_eq!(find_mbap(b"HTTP/1.1 400"), Found::Lost);
        assert_eq!(find_mbap(&[0, 9, 0, 0, 1, 0, 1]), Found::Lost);
        // The byte count does not say what follows.
        let short = [0, 9, 0, 0, 0, 5, 1, 3, 4, 0xAB, 0xCD];
        assert!(matches!(
            find_mbap(&short),
            Found::Frame {
                frame: (9, None),
                ..
            }
        ));
    }
}
