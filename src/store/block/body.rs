//! The bytes of events, descriptions and qualities. The numbers and names here are on disk.

use std::sync::Arc;

use crate::reading::{
    Description, Detail, Event, MapHash, Name, PointDescription, PointKind, Quality,
};
use crate::store::bytes::{Bytes, put_option, put_ranges, put_signed, put_text, put_varint};
use crate::store::schema::{labels, put_labels, type_number, value_type};

pub(super) fn put_quality(out: &mut Vec<u8>, quality: Quality) {
    out.push(match quality {
        Quality::Good => 0,
        Quality::Timeout => 1,
        Quality::NoConnection => 2,
        Quality::Exception(code) => return out.extend_from_slice(&[3, code]),
        Quality::Crc => 4,
        Quality::Invalid => 5,
        Quality::OutOfRange => 6,
        Quality::NotANumber => 7,
        Quality::NoScale => 8,
        Quality::UnknownCode => 9,
        Quality::NoMatch => 10,
        Quality::WrongDevice => 11,
        Quality::Stale => 12,
        Quality::Disabled => 13,
    });
}

pub(super) fn quality(bytes: &mut Bytes<'_>) -> Option<Quality> {
    Some(match bytes.u8()? {
        0 => Quality::Good,
        1 => Quality::Timeout,
        2 => Quality::NoConnection,
        3 => Quality::Exception(bytes.u8()?),
        4 => Quality::Crc,
        5 => Quality::Invalid,
        6 => Quality::OutOfRange,
        7 => Quality::NotANumber,
        8 => Quality::NoScale,
        9 => Quality::UnknownCode,
        10 => Quality::NoMatch,
        11 => Quality::WrongDevice,
        12 => Quality::Stale,
        13 => Quality::Disabled,
        _ => return None,
    })
}

pub(in crate::store) fn put_event(out: &mut Vec<u8>, event: &Event) {
    put_text(out, event.name.as_str());
    put_varint(out, event.detail.len() as u64);
    for (key, detail) in &event.detail {
        put_text(out, key);
        match detail {
            Detail::Bool(yes) => out.extend_from_slice(&[0, u8::from(*yes)]),
            Detail::Int(number) => {
                out.push(1);
                put_signed(out, *number);
            }
            Detail::Text(text) => {
                out.push(2);
                put_text(out, text);
            }
            Detail::Ranges(ranges) => {
                out.push(3);
                put_ranges(out, ranges);
            }
            Detail::Times(from, to) => {
                out.push(4);
                out.extend_from_slice(&from.to_le_bytes());
                out.extend_from_slice(&to.to_le_bytes());
            }
        }
    }
}

pub(in crate::store) fn event(bytes: &mut Bytes<'_>, device: Option<Name>) -> Option<Event> {
    let (name, count) = (bytes.text()?.parse().ok()?, bytes.count(3)?);
    let mut detail = Vec::with_capacity(count);
    for _ in 0..count {
        let key = bytes.text()?.to_owned();
        let fact = match bytes.u8()? {
            0 => Detail::Bool(bytes.u8()? != 0),
            1 => Detail::Int(bytes.signed()?),
            2 => Detail::Text(bytes.text()?.to_owned()),
            3 => Detail::Ranges(bytes.ranges()?),
            4 => Detail::Times(bytes.i64()?, bytes.i64()?),
            _ => return None,
        };
        detail.push((key, fact));
    }
    Some(Event {
        name,
        device,
        detail,
    })
}

pub(in crate::store) fn put_description(out: &mut Vec<u8>, description: &Description) {
    put_text(out, description.line.as_str());
    out.extend_from_slice(&description.map.0.to_le_bytes());
    put_option(out, description.title.as_deref());
    put_labels(out, &description.labels);
    put_varint(out, description.points.len() as u64);
    for point in &description.points {
        put_text(out, point.name.as_str());
        out.push(type_number(point.value_type));
        put_text(out, point.scan.as_str());
        put_option(out, point.title.as_deref());
        put_option(out, point.unit.as_deref());
        match point.kind {
            PointKind::Gauge => out.push(0),
            PointKind::Counter { wrap: None } => out.push(1),
            PointKind::Counter { wrap: Some(wrap) } => {
                out.push(2);
                put_varint(out, wrap);
            }
        }
        put_varint(out, point.codes.len() as u64);
        for (code, text) in &point.codes {
            put_signed(out, *code);
            put_text(out, text);
        }
    }
}

pub(super) fn description(bytes: &mut Bytes<'_>, device: Name) -> Option<Arc<Description>> {
    let (line, map) = (bytes.name()?, MapHash(bytes.u32()?));
    let title = bytes.option()?.map(str::to_owned);
    let labels = labels(bytes)?;
    let count = bytes.count(7)?;
    let points: Option<Vec<PointDescription>> = (0..count).map(|_| point(bytes)).collect();
    Some(Arc::new(Description {
        device,
        line,
        map,
        title,
        labels,
        points: points?,
    }))
}

fn point(bytes: &mut Bytes<'_>) -> Option<PointDescription> {
    let (name, value_type, scan) = (bytes.name()?, value_type(bytes.u8()?)?, bytes.name()?);
    let (title, unit) = (
        bytes.option()?.map(str::to_owned),
        bytes.option()?.map(str::to_owned),
    );
    let kind = match bytes.u8()? {
        0 => PointKind::Gauge,
        1 => PointKind::Counter { wrap: None },
        2 => PointKind::Counter {
            wrap: Some(bytes.varint()?),
        },
        _ => return None,
    };
    let count = bytes.count(2)?;
    let codes: Option<Vec<(i64, String)>> = (0..count)
        .map(|_| Some((bytes.signed()?, bytes.text()?.to_owned())))
        .collect();
    Some(PointDescription {
        name,
        value_type,
        scan,
        title,
        unit,
        kind,
        codes: codes?,
    })
}

/// Whether two descriptions tell consumers the same.
pub(in crate::store) fn fingerprint(description: &Description) -> u64 {
    let mut out = Vec::new();
    put_description(&mut out, description);
    xxhash_rust::xxh3::xxh3_64(&out)
}
