//! `forebay queue peek`: the next records, a line each.

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::failure::Failure;
use super::select::Selection;
use super::show::{self, Align};
use super::site::{Site, Where};
use crate::payload::settings::{CodecKind, MessageKind, PayloadSettings};
use crate::payload::{Codec, Part};
use crate::reading::{Body, Detail, Event, Name, Quality, Reading, Record, Scan, Value};

/// Most records that are shown at once: they are held in memory. `export` has no such bound.
const MOST: u64 = 1000;

/// Arguments of `queue peek`.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct PeekArguments {
    #[command(flatten)]
    place: Where,
    #[command(flatten)]
    selection: Selection,
    /// How many records, 1 to 1000
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=MOST))]
    count: u64,
    /// Print the messages as a JSON array
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &PeekArguments) -> Result<(), Failure> {
    let site = arguments.place.find()?;
    let mut inspection = site.inspect()?;
    let wanted = arguments.selection.make(&site, &inspection)?;
    let mut found: Vec<Arc<Record>> = Vec::new();
    let take = |record: &Arc<Record>| {
        found.push(Arc::clone(record));
        if found.len() as u64 >= arguments.count {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let more = wanted.each(&mut inspection, take, |_| ())?.is_some();
    if arguments.json {
        super::print(&messages(&site, wanted.upstream.as_ref(), &found));
        return Ok(());
    }
    if found.is_empty() {
        super::print("no such records\n");
        return Ok(());
    }
    super::print(&fitted(&lines(&found)));
    if let (true, Some(last)) = (more && wanted.to > last_of(&found), found.last()) {
        super::say(&format!(
            "more from --from {}\n",
            last.seq.saturating_add(1)
        ));
    }
    Ok(())
}

fn last_of(records: &[Arc<Record>]) -> u64 {
    records.last().map_or(0, |last| last.seq)
}

/// A codec for messages as they would go to `upstream`, or as they are by default.
pub(super) fn codec(site: &Site, upstream: Option<&Name>) -> Codec {
    let settings = upstream.and_then(|name| site.upstream(name));
    let payload = settings.map_or(
        PayloadSettings {
            codec: CodecKind::Json,
            integers_as_text: false,
            message: MessageKind::Scan,
        },
        |settings| PayloadSettings {
            // A record is one line, however many messages it goes as.
            message: MessageKind::Scan,
            ..settings.payload
        },
    );
    Codec::new(payload, &site.gateway())
}

/// The message of a record, as text.
pub(super) fn message(codec: &mut Codec, record: &Record) -> String {
    // What is got out by hand is sent from the backlog.
    String::from_utf8_lossy(&codec.encode(record, Part::WHOLE, true)).into_owned()
}

fn messages(site: &Site, upstream: Option<&Name>, records: &[Arc<Record>]) -> String {
    let mut codec = codec(site, upstream);
    let all = records.iter().map(|record| message(&mut codec, record));
    let all: Vec<_> = all
        .filter_map(|text| RawValue::from_string(text).ok())
        .collect();
    let text = serde_json::to_string_pretty(&all).unwrap_or_default();
    format!("{text}\n")
}

fn lines(records: &[Arc<Record>]) -> String {
    let mut rows = vec![
        ["seq", "time", "device", "what"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for record in records {
        let stamp = record.stamp;
        let doubt = if stamp.synced { "" } else { "?" };
        rows.push(vec![
            record.seq.to_string(),
            format!("{}{doubt}", show::time(stamp.wall_ns)),
            record.body.device().map_or("-", Name::as_str).to_owned(),
            show::printable(&told(&record.body)),
        ]);
    }
    show::table(
        &[Align::Right, Align::Left, Align::Left, Align::Left],
        &rows,
    )
}

/// Cuts lines to the width of the terminal; elsewhere they stay whole.
fn fitted(text: &str) -> String {
    if !std::io::stdout().is_terminal() {
        return text.to_owned();
    }
    let width = rustix::termios::tcgetwinsize(std::io::stdout()).map_or(80, |size| size.ws_col);
    let width = usize::from(width).max(40);
    let cut = |line: &str| match line.char_indices().nth(width) {
        None => format!("{line}\n"),
        Some(_) => format!("{}…\n", line.chars().take(width - 1).collect::<String>()),
    };
    text.lines().map(cut).collect()
}

/// What a record is about, in a line.
pub(super) fn told(body: &Body) -> String {
    match body {
        Body::Scan(scan) => told_scan(scan),
        Body::Event(event) => told_event(event),
        Body::Description(description) => {
            let points = show::counted(description.points.len() as u64, "point");
            format!("description of map {}, {points}", description.map)
        }
    }
}

fn told_scan(scan: &Scan) -> String {
    if let Some((number, quality)) = all_null(scan) {
        let points = show::counted(number, "point");
        return format!("{}: {points} null ({quality})", scan.schema.scan);
    }
    let points = scan.schema.points.iter().zip(&scan.readings);
    let readings = points.filter_map(|(point, reading)| {
        let value = told_reading(reading.as_ref()?);
        let unit = point.unit.as_deref().filter(|_| !value.starts_with("null"));
        let unit = unit.map_or(String::new(), |unit| format!(" {unit}"));
        Some(format!("{}={value}{unit}", point.name))
    });
    let readings: Vec<String> = readings.collect();
    format!("{}: {}", scan.schema.scan, readings.join(", "))
}

/// The one quality of a scan in which nothing could be read, and of how many points.
fn all_null(scan: &Scan) -> Option<(u64, Quality)> {
    let mut readings = scan.readings.iter().flatten();
    let first = readings.next()?;
    let same = |other: &Reading| other.value().is_none() && other.quality() == first.quality();
    let all = scan.readings.iter().flatten();
    (same(first) && readings.next().is_some() && all.clone().all(same))
        .then(|| (all.count() as u64, first.quality()))
}

fn told_reading(reading: &Reading) -> String {
    let value = match reading.value() {
        None => "null".to_owned(),
        Some(Value::Bool(value)) => value.to_string(),
        Some(Value::Int(value)) => value.to_string(),
        Some(Value::UInt(value)) => value.to_string(),
        Some(Value::F32(value)) => value.to_string(),
        Some(Value::F64(value)) => value.to_string(),
        Some(Value::Text(text)) => format!("{text:?}"),
        Some(Value::Texts(texts)) => format!("{texts:?}"),
    };
    match reading.quality() {
        Quality::Good => value,
        quality => format!("{value} ({quality})"),
    }
}

fn told_event(event: &Event) -> String {
    let mut text = event.name.to_string();
    for (key, detail) in &event.detail {
        let detail = match detail {
            Detail::Bool(value) => value.to_string(),
            Detail::Int(value) => value.to_string(),
            Detail::Text(text) => format!("{text:?}"),
            Detail::Ranges(ranges) => {
                let ranges = ranges.iter().map(|(first, last)| format!("{first}-{last}"));
                ranges.collect::<Vec<_>>().join(",")
            }
            Detail::Times(from, to) => format!("{} to {}", show::time(*from), show::time(*to)),
        };
        text.push_str(&format!(" {key}={detail}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{MapHash, Schema, SchemaPoint, ValueType};

    fn told(readings: [Reading; 2]) -> String {
        let name = |text| Name::new(text).unwrap();
        let point = |point| SchemaPoint {
            name: name(point),
            value_type: ValueType::F32,
            unit: Some("V".to_owned()),
        };
        told_scan(&Scan {
            schema: Arc::new(Schema {
                line: name("hall"),
                device: name("meter"),
                scan: name("default"),
                labels: Vec::new(),
                map: MapHash(1),
                points: vec![point("l1"), point("l2")],
            }),
            readings: readings.map(Some).to_vec(),
            full: false,
        })
    }

    #[test]
    fn what_could_not_be_read_at_all_takes_a_few_words() {
        let away = || Reading::missing(Quality::Timeout);
        assert_eq!(told([away(), away()]), "default: 2 points null (timeout)");
        assert_eq!(
            told([Reading::good(Value::F32(230.1)), away()]),
            "default: l1=230.1 V, l2=null (timeout)"
        );
        assert_eq!(
            told([away(), Reading::missing(Quality::Crc)]),
            "default: l1=null (timeout), l2=null (crc)"
        );
    }
}
