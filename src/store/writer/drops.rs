//! Telling what is gone: for each device one event in its own sequence, with all that a consumer needs to tick it off.

use std::collections::BTreeMap;

use crate::reading::{Body, Detail, Event, EventName, Name, RangeSet, Record};
use crate::store::block::Header;

/// Most ranges in an event; beyond, the gaps between them are counted in.
const MOST_RANGES: usize = 100;

/// Numbers of a device that are gone, and the time range of their records.
#[derive(Debug, Default)]
struct Hole {
    seq: RangeSet,
    device_seq: RangeSet,
    time: Option<(i64, i64)>,
    reason: &'static str,
    /// More is gone than events: an event that is dropped makes no event of its own, the next one names it.
    worth: bool,
}

impl Hole {
    fn add(&mut self, seq: (u64, u64), device_seq: (u64, u64), time: (i64, i64), worth: bool) {
        self.seq.insert(seq.0, seq.1);
        self.device_seq.insert(device_seq.0, device_seq.1);
        let (from, to) = self.time.unwrap_or(time);
        self.time = Some((from.min(time.0), to.max(time.1)));
        self.worth |= worth;
    }

    fn carry(&mut self, event: &Event) {
        if !matches!(
            event.name,
            EventName::RecordsDropped | EventName::RecordsRefused | EventName::RecordsLost
        ) {
            return;
        }
        for (key, detail) in &event.detail {
            match (key.as_str(), detail) {
                ("seq", Detail::Ranges(ranges)) => self.seq.extend(ranges),
                ("device_seq", Detail::Ranges(ranges)) => self.device_seq.extend(ranges),
                ("time", Detail::Times(from, to)) => {
                    let (earliest, latest) = self.time.unwrap_or((*from, *to));
                    self.time = Some((earliest.min(*from), latest.max(*to)));
                }
                _ => (),
            }
        }
        self.worth = true;
    }

    fn event(self, device: Option<Name>) -> Event {
        let mut event = Event::gateway(EventName::RecordsDropped);
        event.device = device;
        let (from, to) = self.time.unwrap_or_default();
        event
            .text("reason", self.reason)
            .with("seq", Detail::Ranges(bounded(self.seq)))
            .with("device_seq", Detail::Ranges(bounded(self.device_seq)))
            .with("time", Detail::Times(from, to))
    }
}

fn bounded(ranges: RangeSet) -> RangeSet {
    match ranges.bounds() {
        Some(bounds) if ranges.range_count() > MOST_RANGES => [bounds].into_iter().collect(),
        _ => ranges,
    }
}

/// What is gone, by device; `None`: the gateway's own records.
#[derive(Debug, Default)]
pub(super) struct Holes(BTreeMap<Option<Name>, Hole>);

impl Holes {
    /// Adds a whole block. `seq` of a device's records is told as the block's range: its other numbers are gone, too.
    pub(super) fn add_block(&mut self, header: &Header, reason: &'static str) {
        let seq = (header.first, header.end().saturating_sub(1));
        for (place, span) in header.devices.iter().enumerate() {
            let hole = self.0.entry(span.device.clone()).or_default();
            hole.reason = reason;
            let worth = header.has_descriptions()
                || header.schemas.iter().any(|(_, device)| *device == place);
            let last = span.first.saturating_add(span.count).saturating_sub(1);
            hole.add(
                seq,
                (span.first, last),
                (header.earliest, header.latest),
                worth,
            );
        }
    }

    /// Adds a single record; with an event that told of others, those as well: it has not told them to everybody.
    pub(super) fn add_record(&mut self, record: &Record, reason: &'static str) {
        let hole = self.0.entry(record.body.device().cloned()).or_default();
        hole.reason = reason;
        let (seq, device_seq, time) = (record.seq, record.device_seq, record.stamp.wall_ns);
        hole.add(
            (seq, seq),
            (device_seq, device_seq),
            (time, time),
            !matches!(record.body, Body::Event(_)),
        );
        if let Body::Event(event) = &record.body {
            hole.carry(event);
        }
    }

    /// The events that are due. What is not worth one stays for the next.
    pub(super) fn take(&mut self) -> Vec<Event> {
        let (due, stay) = std::mem::take(&mut self.0)
            .into_iter()
            .partition(|(_, hole)| hole.worth);
        self.0 = stay;
        let due: BTreeMap<Option<Name>, Hole> = due;
        due.into_iter()
            .map(|(device, hole)| hole.event(device))
            .collect()
    }

    /// Every hole, as events.
    pub(super) fn take_all(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.0)
            .into_iter()
            .map(|(device, hole)| hole.event(device))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{Stamp, StreamId};

    fn event(device: &str, seq: u64, name: EventName) -> Record {
        let body = Body::Event(Event::device(name, Name::new(device).unwrap()));
        let stamp = Stamp {
            wall_ns: seq as i64 * 10,
            ..Stamp::default()
        };
        Record {
            stream: StreamId(1),
            seq,
            device_seq: seq,
            stamp,
            body,
        }
    }

    #[test]
    fn a_dropped_event_waits_for_the_next_to_name_it() {
        let mut holes = Holes::default();
        holes.add_record(&event("press", 4, EventName::DeviceOnline), "max_size");
        holes.add_record(&event("press", 5, EventName::DeviceOffline), "max_size");
        assert!(holes.take().is_empty());
        holes.0.get_mut(&Name::new("press").ok()).unwrap().worth = true;
        let told = holes.take();
        assert_eq!(
            format!("{:?}", told[0].detail),
            r#"[("reason", Text("max_size")), ("seq", Ranges([4..=5])), ("device_seq", Ranges([4..=5])), ("time", Times(40, 50))]"#
        );
    }
}
