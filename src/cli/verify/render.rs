//! What a proof found, for people and as JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use super::Verdict;
use crate::proof::{By, Contradiction, Missing, Report, StreamReport};

/// Ranges that are named in a sentence.
const NAMED: usize = 5;

/// A table of streams, a sentence for each problem, and the verdict.
pub(super) fn to_text(verdict: &Verdict) -> String {
    let mut text = table(&verdict.report);
    for sentence in sentences(verdict) {
        let _ = writeln!(text, "{sentence}");
    }
    let _ = writeln!(text, "{}", conclusion(verdict));
    text
}

/// The same as one JSON object on a line.
pub(super) fn to_json(verdict: &Verdict) -> String {
    let report = &verdict.report;
    let object = json!({
        "complete": verdict.holds(),
        "by": match report.by { By::Seq => "seq", By::Device => "device_seq" },
        "records": report.records(),
        "streams": report.streams.iter().map(stream_json).collect::<Vec<_>>(),
        "absent_devices": verdict.absent,
        "broken": verdict.broken,
        "unnumbered_messages": report.unnumbered_messages,
        "foreign_messages": report.foreign_messages,
        "foreign_lines": verdict.foreign,
        "problems": sentences(verdict),
    });
    format!("{object}\n")
}

fn stream_json(stream: &StreamReport) -> Value {
    let missing = |missing: &Missing| json!({"device": missing.device, "count": missing.count, "ranges": missing.ranges, "more": missing.more});
    json!({
        "gateway": stream.gateway,
        "stream": stream.stream,
        "records": stream.records,
        "seq": [stream.seq.0, stream.seq.1],
        "devices": stream.devices,
        "missing": stream.missing_count(),
        "missing_ranges": stream.missing.iter().map(missing).collect::<Vec<_>>(),
        "explained": stream.explained,
        "incomplete": stream.incomplete,
        "duplicates": stream.duplicates + stream.uncompared,
        "not_compared": stream.uncompared,
        "contradicting": stream.contradicting,
        "reordered": stream.reordered,
        "historical": stream.historical,
        "late": stream.late,
        "latest_s": stream.latest.as_secs_f64(),
        "lost_before_numbered": stream.never_numbered,
    })
}

const HEAD: [&str; 11] = [
    "gateway",
    "stream",
    "records",
    "first",
    "last",
    "missing",
    "explained",
    "again",
    "reordered",
    "historical",
    "late",
];

fn table(report: &Report) -> String {
    if report.streams.is_empty() {
        return String::new();
    }
    let mut rows = vec![HEAD.map(str::to_owned)];
    rows.extend(report.streams.iter().map(row));
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..HEAD.len()).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (place, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let _ = match place {
                // Names stand at the left, numbers at the right.
                0 => write!(text, "{cell:<width$}"),
                1 => write!(text, "  {cell:<width$}"),
                _ => write!(text, "  {cell:>width$}"),
            };
        }
        text.truncate(text.trim_end().len());
        text.push('\n');
    }
    text
}

fn row(stream: &StreamReport) -> [String; 11] {
    let numbers = [
        stream.records,
        stream.seq.0,
        stream.seq.1,
        stream.missing_count(),
        stream.explained,
        stream.duplicates + stream.uncompared,
        stream.reordered,
        stream.historical,
        stream.late,
    ];
    let mut row = [stream.gateway.clone(), stream.stream.clone()].into_iter();
    let mut numbers = numbers.iter().map(u64::to_string);
    std::array::from_fn(|_| row.next().or_else(|| numbers.next()).unwrap_or_default())
}

fn sentences(verdict: &Verdict) -> Vec<String> {
    let report = &verdict.report;
    let mut all: Vec<String> = report
        .streams
        .iter()
        .flat_map(|stream| of_stream(stream, report.by))
        .collect();
    all.extend(
        verdict
            .absent
            .iter()
            .map(|pattern| format!("no record of a device {pattern} came")),
    );
    if report.foreign_messages > 0 {
        all.push(format!(
            "messages that are no gateway's, or damaged: {}{}",
            report.foreign_messages,
            lines(&verdict.foreign, report.foreign_messages)
        ));
    }
    if report.devices_complete {
        all.push("of each device that came everything is there: where the upstream carries some devices only (devices = […]), prove by --devices".to_owned());
    }
    if let Some(reason) = &verdict.broken {
        all.push(format!("the source broke off: {reason}"));
    }
    all
}

fn of_stream(stream: &StreamReport, by: By) -> Vec<String> {
    let id = &stream.stream;
    let mut all: Vec<String> = stream
        .missing
        .iter()
        .map(|missing| {
            let numbers = match (by, &missing.device) {
                (By::Seq, _) => format!("seq {}", ranges(missing)),
                (By::Device, Some(device)) => format!("device_seq {} of {device}", ranges(missing)),
                (By::Device, None) => {
                    format!("device_seq {} of the gateway's own events", ranges(missing))
                }
            };
            format!(
                "{id}: {numbers} did not come, and no event names them ({} in all)",
                missing.count
            )
        })
        .collect();
    let mut count = |count: u64, text: &str| {
        if count > 0 {
            all.push(format!("{id}: {count} {text}"));
        }
    };
    count(stream.incomplete, "records lack some of their parts");
    count(
        stream.uncompared,
        "messages came again too late to be compared with the first",
    );
    count(
        stream.reordered,
        "records came after a later one of their lane",
    );
    count(
        stream.never_numbered,
        "scans were lost at the gateway before they had a number, as events tell",
    );
    for contradiction in &stream.contradictions {
        all.push(format!("{id}: {}", contradicts(contradiction)));
    }
    let more = stream
        .contradicting
        .saturating_sub(stream.contradictions.len() as u64);
    if more > 0 {
        all.push(format!("{id}: {more} more contradictions"));
    }
    if stream.missing_count() > 0 {
        all.extend(stream.elsewhere.iter().map(|upstream| {
            format!("{id}: the broker of upstream {upstream} refused records: if they were to come here, say --upstream {upstream}")
        }));
    }
    all
}

/// Where the first of them stand, if they stand in a file.
fn lines(foreign: &[u64], count: u64) -> String {
    if foreign.is_empty() {
        return String::new();
    }
    let numbers: Vec<String> = foreign.iter().map(u64::to_string).collect();
    let (word, more) = match count {
        1 => ("line", ""),
        _ if count > foreign.len() as u64 => ("lines", ", …"),
        _ => ("lines", ""),
    };
    format!(" ({word} {}{more})", numbers.join(", "))
}

fn ranges(missing: &Missing) -> String {
    let named: Vec<String> = missing
        .ranges
        .iter()
        .take(NAMED)
        .map(|(first, last)| {
            if first == last {
                first.to_string()
            } else {
                format!("{first} to {last}")
            }
        })
        .collect();
    let more = missing.more || missing.ranges.len() > NAMED;
    format!("{}{}", named.join(", "), if more { ", …" } else { "" })
}

fn contradicts(contradiction: &Contradiction) -> String {
    match contradiction {
        Contradiction::Content { seq } => format!("seq {seq} came again with other content"),
        Contradiction::DeviceSeq {
            device,
            device_seq,
            seq,
        } => {
            let whose = device.as_deref().unwrap_or("the gateway's own events");
            format!("device_seq {device_seq} of {whose} came twice, the second time as seq {seq}")
        }
    }
}

fn conclusion(verdict: &Verdict) -> String {
    let report = &verdict.report;
    let missing: u64 = report.streams.iter().map(StreamReport::missing_count).sum();
    let records = report.records();
    if verdict.holds() {
        let explained: u64 = report.streams.iter().map(|stream| stream.explained).sum();
        return match explained {
            0 => format!("complete: {records} records, none missing"),
            _ => format!("complete: {records} records, {explained} missing and explained"),
        };
    }
    if records == 0 {
        return "not proved: no record came".to_owned();
    }
    match missing {
        0 => format!("not proved: {records} records came, none is missing, but see above"),
        _ => format!("not complete: {records} records came, {missing} are missing"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::{Ledger, Terms};

    fn verdict(messages: &[&str]) -> Verdict {
        let mut ledger = Ledger::new(Terms::default());
        for message in messages {
            ledger.take(message.as_bytes(), None);
        }
        Verdict {
            report: ledger.report(),
            absent: Vec::new(),
            foreign: Vec::new(),
            broken: None,
            ordered: false,
        }
    }

    fn record(seq: u64) -> String {
        format!(
            r#"{{"v":1,"gateway":"hall-2","device":"m","stream":"5f3a9c1e","seq":{seq},"device_seq":{seq},"values":{{"x":{seq}}}}}"#
        )
    }

    #[test]
    fn a_table_a_sentence_a_problem_and_a_verdict() {
        let messages = [1, 2, 5, 9, 5].map(record);
        let verdict = verdict(&messages.each_ref().map(String::as_str));
        let expected = "\
gateway  stream    records  first  last  missing  explained  again  reordered  historical  late
hall-2   5f3a9c1e        4      1     9        5          0      1          0           0     0
5f3a9c1e: seq 3 to 4, 6 to 8 did not come, and no event names them (5 in all)
not complete: 4 records came, 5 are missing
";
        assert_eq!(to_text(&verdict), expected);
    }

    #[test]
    fn a_proof_that_holds() {
        let messages = [3, 4].map(record);
        let verdict = verdict(&messages.each_ref().map(String::as_str));
        let text = to_text(&verdict);
        assert!(
            text.ends_with("\ncomplete: 2 records, none missing\n"),
            "{text}"
        );
        let json: Value = serde_json::from_str(&to_json(&verdict)).unwrap();
        assert_eq!(json["complete"], true);
        assert_eq!(json["streams"][0]["seq"], json!([3, 4]));
    }

    #[test]
    fn nothing_came() {
        assert_eq!(to_text(&verdict(&[])), "not proved: no record came\n");
    }
}
