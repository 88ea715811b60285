//! One device's points of one scan class, read at one time.

use std::sync::Arc;

use super::{MapHash, Name, Reading, ValueType};

/// What is needed to send a scan, beside its readings: stored with the records, so that they outlive the configuration.
///
/// One `Arc` a device and scan class, shared by all its scans: the store recognises it by its content.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Schema {
    /// The line the device was on.
    pub line: Name,
    /// The device.
    pub device: Name,
    /// The scan class.
    pub scan: Name,
    /// The device's labels at the time of the reading, ordered by key.
    pub labels: Vec<(String, String)>,
    /// Hash of the resolved device definition.
    pub map: MapHash,
    /// The points, in the order of [`Scan::readings`].
    pub points: Vec<SchemaPoint>,
}

/// A point of a [`Schema`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SchemaPoint {
    /// The point's name.
    pub name: Name,
    /// What kind of value it sends.
    pub value_type: ValueType,
    /// Unit of measurement, as text for people ("V", "kWh").
    pub unit: Option<String>,
}

/// One device's points of one scan class, read at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct Scan {
    /// Device, scan class, points.
    pub schema: Arc<Schema>,
    /// A reading a point of the schema, in its order; `None`: unchanged since the last report.
    pub readings: Vec<Option<Reading>>,
    /// A complete scan where others report changes only; stays `false` where every scan is complete anyway.
    pub full: bool,
}
