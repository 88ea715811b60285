//! A device map after checking: where the values of a device model sit and what they mean. Everything in here can be
//! read and decoded; whatever could not be is refused by the configuration check with its place.

use std::time::Duration;

use super::identity::Identity;
use crate::reading::{Decimal, Name, PointKind, ValueType};

/// Where the values of a device model sit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeviceMap {
    /// Title for people.
    pub title: Option<String>,
    /// The document that the addresses come from.
    pub source: Option<String>,
    /// What this model can take.
    pub limits: Limits,
    /// Where it deviates from the standard.
    pub quirks: Quirks,
    /// What devices of this model say that they are; `None`: it is not asked.
    pub identity: Option<Identity>,
    /// The points in the order of the file; scale factors refer to them by index.
    pub points: Vec<Point>,
}

impl DeviceMap {
    /// The first point that is scaled by the point with this index, and whether by a power of ten.
    pub fn scaled_by(&self, factor: usize) -> Option<(&Point, bool)> {
        self.points
            .iter()
            .find_map(|point| match point.transform.scale {
                Some(Scale::Power10(index)) if index == factor => Some((point, true)),
                Some(Scale::Point(index, _)) if index == factor => Some((point, false)),
                _ => None,
            })
    }
}

/// What a device model can take in one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Registers in one read, 1 to 125 (Modbus Application Protocol V1.1b3, 6.3 and 6.4).
    pub registers_per_read: u16,
    /// Coils or discrete inputs in one read, 1 to 2000 (6.1 and 6.2).
    pub bits_per_read: u16,
    /// How many unnamed registers may be read over to save a request; of bits 16 times as many.
    pub gap: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            registers_per_read: 125,
            bits_per_read: 2000,
            gap: 8,
        }
    }
}

/// Deviations from the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quirks {
    /// Rest after a connection was made.
    pub pause_after_connect: Duration,
    /// Each point in a request of its own.
    pub alone: bool,
    /// The device (or its gateway) answers with transaction ids of its own; unit, function and length must do.
    pub lenient_transaction_id: bool,
}

/// The four tables of the data model (4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Table {
    /// Single bits, read and write; function 1.
    Coil,
    /// Single bits, read only; function 2.
    DiscreteInput,
    /// 16-bit registers, read only; function 4.
    InputRegister,
    /// 16-bit registers, read and write; function 3.
    HoldingRegister,
}

impl Table {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Coil,
        Self::DiscreteInput,
        Self::InputRegister,
        Self::HoldingRegister,
    ];

    /// Whether its places are single bits.
    pub fn is_bits(self) -> bool {
        matches!(self, Self::Coil | Self::DiscreteInput)
    }

    /// The word used in maps and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Coil => "coil",
            Self::DiscreteInput => "discrete",
            Self::InputRegister => "input",
            Self::HoldingRegister => "holding",
        }
    }

    /// The Modicon number of the place with this address on the wire, as old manuals print it: five digits for the
    /// first 9,999 places, else six.
    pub fn reference(self, address: u16) -> String {
        let digit = match self {
            Self::Coil => 0,
            Self::DiscreteInput => 1,
            Self::InputRegister => 3,
            Self::HoldingRegister => 4,
        };
        let place = u32::from(address) + 1;
        if place <= 9_999 {
            format!("{digit}{place:04}")
        } else {
            format!("{digit}{place:05}")
        }
    }
}

/// One named value.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The point's name.
    pub name: Name,
    /// Its table.
    pub table: Table,
    /// Address on the wire, from 0.
    pub address: u16,
    /// How the raw registers or bit become a raw value. Its [`RawType::width`] from `address` stays within 65,536.
    pub raw: RawType,
    /// Order of bytes and words.
    pub order: Order,
    /// What is done with the raw value, in the order of the fields.
    pub transform: Transform,
    /// The scan class.
    pub scan: Name,
    /// `false`: read for the sake of another point (a scale factor), not sent.
    pub send: bool,
    /// Title for people.
    pub title: Option<String>,
    /// Unit of measurement.
    pub unit: Option<String>,
    /// Momentary value or counter.
    pub kind: PointKind,
    /// When an unchanged value is left out; `None`: always sent.
    pub report: Option<ReportRule>,
}

impl Point {
    /// A point that is sent as it is in its registers, big-endian, with every scan of the class `scan`.
    pub fn plain(name: Name, scan: Name, (table, address): (Table, u16), raw: RawType) -> Self {
        Self {
            name,
            table,
            address,
            raw,
            order: Order::BIG,
            transform: Transform::default(),
            scan,
            send: true,
            title: None,
            unit: None,
            kind: PointKind::Gauge,
            report: None,
        }
    }

    /// What kind of value it sends, after all transformations. A factor that is read may be integral or not: the type
    /// is then a float, though an integer times a whole power of ten is sent as the integer it is.
    pub fn value_type(&self) -> ValueType {
        match &self.transform.names {
            Some(Names::Enum(_)) => return ValueType::Text,
            Some(Names::Flags(_)) => return ValueType::Texts,
            None => {}
        }
        let raw = match (self.transform.bits, &self.raw) {
            (Some(Bits::One(_)), _) | (None, RawType::Bool) => ValueType::Bool,
            (Some(Bits::Range(..)), _) => ValueType::Int,
            (None, RawType::U64) => ValueType::UInt,
            (None, RawType::F32 | RawType::PfQuadrant) => ValueType::F32,
            (None, RawType::F64) => ValueType::F64,
            (None, RawType::DateTime(..) | RawType::Text(_) | RawType::Bytes(_)) => ValueType::Text,
            (None, _) => ValueType::Int,
        };
        let integral = match self.transform.scale {
            None => true,
            Some(Scale::Number(factor)) => factor.is_integer(),
            Some(Scale::Power10(_) | Scale::Point(..)) => false,
        } && self.transform.offset.is_none_or(Decimal::is_integer);
        let plain = self.transform.scale.is_none() && self.transform.offset.is_none();
        match raw {
            ValueType::Int | ValueType::UInt if !integral => ValueType::F64,
            ValueType::F32 if !plain => ValueType::F64,
            other => other,
        }
    }
}

/// How raw registers become a raw value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RawType {
    /// A bit of a coil or discrete input table.
    Bool,
    /// One byte of a register, unsigned.
    U8(Byte),
    /// One byte of a register, two's complement.
    I8(Byte),
    /// 16 bits, unsigned.
    U16,
    /// 16 bits, two's complement.
    I16,
    /// 32 bits, unsigned.
    U32,
    /// 32 bits, two's complement.
    I32,
    /// 64 bits, unsigned.
    U64,
    /// 64 bits, two's complement.
    I64,
    /// IEEE 754 binary32.
    F32,
    /// IEEE 754 binary64.
    F64,
    /// Four decimal digits, a nibble each.
    Bcd16,
    /// Eight decimal digits, a nibble each.
    Bcd32,
    /// 16 bits, sign and magnitude.
    Sm16,
    /// Two registers of four decimal digits each, high word first unless ordered; sign in both or in the high one.
    Mod10,
    /// Schneider's 4Q_FP_PF: x > 1 is 2 - x, x < -1 is -2 - x.
    PfQuadrant,
    /// A date and time.
    DateTime(DateTimeForm, Zone),
    /// Text of so many registers, two bytes each.
    Text(u16),
    /// Bytes of so many registers, sent as lower-case hex.
    Bytes(u16),
}

impl RawType {
    /// How many places of the table it takes: registers, or 1 of a bit table.
    pub fn width(&self) -> u16 {
        match self {
            Self::Bool
            | Self::U8(_)
            | Self::I8(_)
            | Self::U16
            | Self::I16
            | Self::Bcd16
            | Self::Sm16 => 1,
            Self::U32 | Self::I32 | Self::F32 | Self::Bcd32 | Self::Mod10 | Self::PfQuadrant => 2,
            Self::U64 | Self::I64 | Self::F64 => 4,
            Self::DateTime(form, _) => form.width(),
            Self::Text(registers) | Self::Bytes(registers) => *registers,
        }
    }
}

/// Which byte of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Byte {
    /// Bits 8 to 15, after ordering.
    High,
    /// Bits 0 to 7, after ordering.
    Low,
}

/// How a date and time is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DateTimeForm {
    /// Seconds since 1970, 32 bits unsigned.
    Unix32,
    /// Seconds since 1970, 64 bits.
    Unix64,
    /// Milliseconds since 1970, 64 bits.
    Unix64Ms,
    /// Year, month, day, hour, minute, second: six registers.
    Ymdhms,
    /// Four registers after IEC 60870-5-4 (CP56Time2a-like, as Schneider meters have it).
    Iec870,
}

impl DateTimeForm {
    /// Registers.
    pub fn width(self) -> u16 {
        match self {
            Self::Unix32 => 2,
            Self::Unix64 | Self::Unix64Ms | Self::Iec870 => 4,
            Self::Ymdhms => 6,
        }
    }
}

/// The time zone that a device's local time is in: an IANA name, checked to exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Zone(pub jiff::tz::TimeZone);

/// Order of bytes and words: ABCD none, CDAB words, BADC bytes, DCBA both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Order {
    /// Words come lowest first.
    pub words_reversed: bool,
    /// The two bytes of each word are swapped.
    pub bytes_swapped: bool,
}

impl Order {
    /// ABCD: big-endian, as the standard has it.
    pub const BIG: Self = Self {
        words_reversed: false,
        bytes_swapped: false,
    };
}

/// What is done with a raw value, in the order of the fields.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Transform {
    /// Raw bit patterns (of the type's width, after ordering) that mean "no value".
    pub invalid: Vec<u64>,
    /// Which bits of the raw value taken as unsigned.
    pub bits: Option<Bits>,
    /// The factor.
    pub scale: Option<Scale>,
    /// Added after scaling.
    pub offset: Option<Decimal>,
    /// Names of values.
    pub names: Option<Names>,
    /// Lowest value that is in range, as it is sent.
    pub min: Option<Decimal>,
    /// Highest value that is in range, as it is sent.
    pub max: Option<Decimal>,
}

/// Bits of a value; bit 0 is the lowest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bits {
    /// One bit: a bool.
    One(u8),
    /// From the first to the second bit, both included: an integer.
    Range(u8, u8),
}

/// A factor.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Scale {
    /// A number.
    Number(Decimal),
    /// Ten to the value of the point with this index.
    Power10(usize),
    /// The value of the point with this index, times a number.
    Point(usize, Decimal),
}

/// Names of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// The text that is sent for a number, ordered by number.
    Enum(Vec<(i64, String)>),
    /// The name of each set bit, ordered by bit.
    Flags(Vec<(u8, String)>),
}

/// When an unchanged value is left out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReportRule {
    /// What counts as a change.
    pub change: Change,
    /// At the latest after so long the value is sent all the same.
    pub heartbeat: Duration,
}

/// What counts as a change.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// Any other value.
    Any,
    /// More than so much away from the value sent last.
    Absolute(Decimal),
    /// More than this share of the value sent last, in percent.
    Percent(Decimal),
}
