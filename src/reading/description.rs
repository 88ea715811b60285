//! What a device is: sent before the data that needs it, so that history is never misread after a map edit.

use std::fmt;

use super::Name;

/// Hash of a resolved device definition; eight hex digits in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MapHash(pub u32);

impl fmt::Display for MapHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The kind of value that a point sends, after all transformations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    /// true or false
    Bool,
    /// a signed integer of 64 bits
    Int,
    /// an unsigned integer of 64 bits
    UInt,
    /// a float of 32 bits, unscaled
    F32,
    /// a float of 64 bits
    F64,
    /// text
    Text,
    /// a list of texts
    Texts,
}

impl ValueType {
    /// The name in messages and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::UInt => "uint",
            Self::F32 => "f32",
            Self::F64 => "f64",
            Self::Text => "text",
            Self::Texts => "texts",
        }
    }
}

/// What a number means over time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PointKind {
    /// A momentary value.
    Gauge,
    /// A total that only rises, until it wraps.
    Counter {
        /// The value at which it starts again from zero.
        wrap: Option<u64>,
    },
}

/// A point, for consumers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PointDescription {
    /// The point's name.
    pub name: Name,
    /// What kind of value it sends.
    pub value_type: ValueType,
    /// The scan class it is read in.
    pub scan: Name,
    /// Title for people.
    pub title: Option<String>,
    /// Unit of measurement.
    pub unit: Option<String>,
    /// Momentary value or counter.
    pub kind: PointKind,
    /// Code and text of an `enum`, or bit and name of `flags`, in ascending order.
    pub codes: Vec<(i64, String)>,
}

/// What a device is. Its `map` hash covers all of it but the labels.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Description {
    /// The device.
    pub device: Name,
    /// The line it is on.
    pub line: Name,
    /// Hash of the resolved definition; [`super::Schema::map`] of its scans is the same.
    pub map: MapHash,
    /// Title of the device map.
    pub title: Option<String>,
    /// Labels, ordered by key.
    pub labels: Vec<(String, String)>,
    /// All points that are sent.
    pub points: Vec<PointDescription>,
}
