//! One JSON object a record, written directly: no tree is built on the way.

mod text;
mod time;

use bytes::Bytes;

use super::settings::PayloadSettings;
use super::{Part, Status};
use crate::reading::{
    Body, Description, Detail, Event, Name, PointDescription, PointKind, RangeSet, Reading, Record,
    Scan, Schema, Stamp, Value, ValueType,
};
use text::Writer;

/// Above 2^53 many consumers would read an integer as the nearest 64-bit float.
const EXACT: u64 = 1 << 53;

/// The session of the JSON codec, which keeps no state but the buffer that it writes in.
#[derive(Debug)]
pub(super) struct Json {
    /// `{"v":1,"gateway":"…"`: how every message begins.
    head: Box<str>,
    integers_as_text: bool,
    buffer: Vec<u8>,
}

impl Json {
    pub(super) fn new(settings: PayloadSettings, gateway: &str) -> Self {
        let mut buffer = Vec::new();
        let mut writer = Writer::new(&mut buffer, false);
        writer.raw("{\"v\":1,\"gateway\":").string(gateway);
        Self {
            head: String::from_utf8_lossy(&buffer).into(),
            integers_as_text: settings.integers_as_text,
            buffer,
        }
    }

    /// `part`: one reading of a scan alone.
    pub(super) fn encode(
        &mut self,
        record: &Record,
        part: Option<Part>,
        historical: bool,
    ) -> Bytes {
        self.write(|writer| {
            if let Some(device) = record.body.device() {
                writer.raw(",\"device\":").name(device);
            }
            if let Body::Scan(scan) = &record.body {
                writer.raw(",\"scan\":").name(&scan.schema.scan);
            }
            write_place(writer, record);
            write_time(writer, record.stamp);
            if historical {
                writer.raw(",\"historical\":true");
            }
            match &record.body {
                Body::Scan(scan) => match part {
                    None => write_scan(writer, scan),
                    Some(part) => write_part(writer, scan, part),
                },
                Body::Event(event) => write_event(writer, event),
                Body::Description(description) => write_description(writer, description),
            }
        })
    }

    pub(super) fn greeting(&mut self, description: &Description, now: Stamp) -> Bytes {
        self.write(|writer| {
            writer.raw(",\"device\":").name(&description.device);
            write_time(writer, now);
            write_description(writer, description);
        })
    }

    pub(super) fn sketch(&mut self, schema: &Schema, now: Stamp) -> Bytes {
        self.write(|writer| {
            writer.raw(",\"device\":").name(&schema.device);
            write_time(writer, now);
            writer.raw(",\"map\":\"").hex(schema.map.0);
            writer.raw("\",\"describe\":{\"partial\":true,\"line\":");
            writer.name(&schema.line);
            write_labels(writer, &schema.labels);
            writer.raw(",\"points\":{");
            for (index, point) in schema.points.iter().enumerate() {
                writer.comma(index).name(&point.name).raw(":");
                write_type(writer, point.value_type, &schema.scan);
                write_unit(writer, point.unit.as_deref());
                writer.raw("}");
            }
            writer.raw("}}");
        })
    }

    pub(super) fn status(&mut self, upstream: &Name, status: Status, now: Option<Stamp>) -> Bytes {
        let (state, reason) = match status {
            Status::Online => ("online", "connected"),
            Status::Stopped => ("offline", "stopped"),
            Status::Lost => ("offline", "connection-lost"),
        };
        self.write(|writer| {
            writer.raw(",\"upstream\":").name(upstream);
            if let Some(now) = now {
                write_time(writer, now);
            }
            writer.raw(",\"status\":").string(state);
            writer.raw(",\"reason\":").string(reason);
        })
    }

    pub(super) fn trial(&mut self, upstream: &Name, now: Stamp) -> Bytes {
        self.write(|writer| {
            write_time(writer, now);
            writer.raw(",\"test\":").name(upstream);
        })
    }

    /// One message: the head, what `fill` writes, the closing brace.
    fn write(&mut self, fill: impl FnOnce(&mut Writer<'_>)) -> Bytes {
        self.buffer.clear();
        let mut writer = Writer::new(&mut self.buffer, self.integers_as_text);
        writer.raw(&self.head);
        fill(&mut writer);
        writer.raw("}");
        Bytes::copy_from_slice(&self.buffer)
    }
}

fn write_place(writer: &mut Writer<'_>, record: &Record) {
    writer.raw(",\"stream\":\"").hex(record.stream.0);
    writer.raw("\",\"seq\":").unsigned(record.seq);
    writer.raw(",\"device_seq\":").unsigned(record.device_seq);
}

fn write_time(writer: &mut Writer<'_>, stamp: Stamp) {
    writer.raw(",\"time\":").time(stamp.wall_ns);
    if !stamp.synced {
        writer.raw(",\"clock\":\"unsynced\"");
    }
}

fn write_part(writer: &mut Writer<'_>, scan: &Scan, part: Part) {
    writer.raw(",\"part\":[").unsigned(part.nth.into());
    writer.raw(",").unsigned(part.of.into()).raw("]");
    write_map(writer, scan);
    writer.raw(",\"values\":{");
    let Some((name, reading)) = part.reading(scan) else {
        writer.raw("}");
        return;
    };
    writer.key(name);
    write_value(writer, reading);
    writer.raw("}");
    if !is_good(reading) {
        writer.raw(",\"quality\":{").key(name).raw("\"");
        writer.display(reading.quality()).raw("\"}");
    }
}

fn write_map(writer: &mut Writer<'_>, scan: &Scan) {
    writer.raw(",\"map\":\"").hex(scan.schema.map.0).raw("\"");
    if scan.full {
        writer.raw(",\"full\":true");
    }
}

fn write_scan(writer: &mut Writer<'_>, scan: &Scan) {
    write_map(writer, scan);
    writer.raw(",\"values\":{");
    let reported = || {
        let points = scan.schema.points.iter().zip(&scan.readings);
        points.filter_map(|(point, reading)| Some((&point.name, reading.as_ref()?)))
    };
    let mut doubtful = false;
    for (index, (name, reading)) in reported().enumerate() {
        writer.comma(index).key(name);
        write_value(writer, reading);
        doubtful |= !is_good(reading);
    }
    writer.raw("}");
    if doubtful {
        writer.raw(",\"quality\":{");
        let doubtful = reported().filter(|(_, reading)| !is_good(reading));
        for (index, (name, reading)) in doubtful.enumerate() {
            writer.comma(index).key(name).raw("\"");
            writer.display(reading.quality()).raw("\"");
        }
        writer.raw("}");
    }
}

fn is_good(reading: &Reading) -> bool {
    reading.quality() == crate::reading::Quality::Good
}

fn write_value(writer: &mut Writer<'_>, reading: &Reading) {
    match reading.value() {
        None => writer.raw("null"),
        Some(Value::Bool(value)) => writer.boolean(value),
        Some(Value::Int(value)) => writer.integer(value),
        Some(Value::UInt(value)) => writer.unsigned(value),
        Some(Value::F32(value)) => writer.float(value),
        Some(Value::F64(value)) => writer.float(value),
        Some(Value::Text(text)) => writer.string(text),
        Some(Value::Texts(texts)) => {
            writer.raw("[");
            for (index, text) in texts.iter().enumerate() {
                writer.comma(index).string(text);
            }
            writer.raw("]")
        }
    };
}

fn write_event(writer: &mut Writer<'_>, event: &Event) {
    writer.raw(",\"event\":\"").raw(event.name.as_str());
    writer.raw("\",\"detail\":{");
    for (index, (key, detail)) in event.detail.iter().enumerate() {
        writer.comma(index).string(key).raw(":");
        match detail {
            Detail::Bool(value) => writer.boolean(*value),
            Detail::Int(value) => writer.integer(*value),
            Detail::Text(text) => writer.string(text),
            Detail::Ranges(ranges) => write_ranges(writer, ranges),
            Detail::Times(from, to) => writer.raw("[").time(*from).raw(",").time(*to).raw("]"),
        };
    }
    writer.raw("}");
}

fn write_ranges<'w, 'b>(writer: &'w mut Writer<'b>, ranges: &RangeSet) -> &'w mut Writer<'b> {
    writer.raw("[");
    for (index, (first, last)) in ranges.iter().enumerate() {
        writer.comma(index).raw("[").unsigned(first);
        writer.raw(",").unsigned(last).raw("]");
    }
    writer.raw("]")
}

fn write_description(writer: &mut Writer<'_>, description: &Description) {
    writer.raw(",\"map\":\"").hex(description.map.0);
    writer.raw("\",\"describe\":{");
    if let Some(title) = &description.title {
        writer.raw("\"title\":").string(title).raw(",");
    }
    writer.raw("\"line\":").name(&description.line);
    write_labels(writer, &description.labels);
    writer.raw(",\"points\":{");
    for (index, point) in description.points.iter().enumerate() {
        writer.comma(index).name(&point.name).raw(":");
        write_point(writer, point);
    }
    writer.raw("}}");
}

fn write_labels(writer: &mut Writer<'_>, labels: &[(String, String)]) {
    writer.raw(",\"labels\":{");
    for (index, (key, label)) in labels.iter().enumerate() {
        writer.comma(index).string(key).raw(":").string(label);
    }
    writer.raw("}");
}

fn write_type(writer: &mut Writer<'_>, value_type: ValueType, scan: &Name) {
    writer.raw("{\"type\":\"").raw(value_type.as_str());
    writer.raw("\",\"scan\":").name(scan);
}

fn write_unit(writer: &mut Writer<'_>, unit: Option<&str>) {
    if let Some(unit) = unit {
        writer.raw(",\"unit\":").string(unit);
    }
}

fn write_point(writer: &mut Writer<'_>, point: &PointDescription) {
    write_type(writer, point.value_type, &point.scan);
    if let Some(title) = &point.title {
        writer.raw(",\"title\":").string(title);
    }
    write_unit(writer, point.unit.as_deref());
    match point.kind {
        PointKind::Gauge => writer.raw(",\"kind\":\"gauge\""),
        PointKind::Counter { wrap: None } => writer.raw(",\"kind\":\"counter\""),
        PointKind::Counter { wrap: Some(wrap) } => {
            writer.raw(",\"kind\":\"counter\",\"wrap\":").unsigned(wrap)
        }
    };
    if !point.codes.is_empty() {
        let key = match point.value_type {
            ValueType::Texts => ",\"flags\":{",
            _ => ",\"enum\":{",
        };
        writer.raw(key);
        for (index, (code, text)) in point.codes.iter().enumerate() {
            writer.comma(index).raw("\"").display(code).raw("\":");
            writer.string(text);
        }
        writer.raw("}");
    }
    writer.raw("}");
}

#[cfg(test)]
mod tests;
