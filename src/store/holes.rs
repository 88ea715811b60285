//! What is gone and not yet told: for each device one event in its own sequence, with all that a consumer needs to tick
//! it off.
//!
//! It stands in the checkpoint until a durable record tells it, so that no crash leaves a hole that nobody explains.

use std::collections::BTreeMap;

use super::block::{Header, body};
use super::bytes::{Bytes, put_text, put_varint};
use crate::reading::{Body, Detail, Event, EventName, Name, RangeSet, Record};

/// Most ranges in an event: beyond, the smallest gaps between them are counted in.
const MOST_RANGES: usize = 100;
/// Most ends of streams that are told again; beyond, the oldest hands its hole on to the next. Each is damage to a disk.
const MOST_BREAKS: usize = 16;
/// What events of damage give as the reason.
const DAMAGE: &str = "damage";

/// What became of records, or of scans that never became records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// A bound of the store took them.
    Dropped,
    /// A broker refused them for good.
    Refused,
    /// They fell out of memory before the disk took them.
    Overflowed,
    /// Damage took them.
    Lost,
}

impl Fate {
    fn name(self) -> EventName {
        match self {
            Self::Dropped => EventName::RecordsDropped,
            Self::Refused => EventName::RecordsRefused,
            Self::Overflowed => EventName::BufferOverflow,
            Self::Lost => EventName::RecordsLost,
        }
    }

    fn of(name: EventName) -> Option<Self> {
        [Self::Dropped, Self::Refused, Self::Overflowed, Self::Lost]
            .into_iter()
            .find(|fate| fate.name() == name)
    }
}

/// Why records are gone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cause {
    pub(super) fate: Fate,
    /// The only upstream that misses them; `None`: it concerns all.
    pub(super) upstream: Option<Name>,
    pub(super) reason: String,
}

impl Cause {
    /// A bound of the store.
    pub(super) fn bound(reason: &str) -> Self {
        Self {
            fate: Fate::Dropped,
            upstream: None,
            reason: reason.to_owned(),
        }
    }
}

/// Numbers of a device that are gone for one cause, and the time range of their records.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Hole {
    seq: RangeSet,
    device_seq: RangeSet,
    /// Of what has no numbers.
    count: i64,
    time: Option<(i64, i64)>,
}

impl Hole {
    fn add(&mut self, other: &Self) {
        self.seq.extend(&other.seq);
        self.device_seq.extend(&other.device_seq);
        bound(&mut self.seq);
        bound(&mut self.device_seq);
        self.count = self.count.saturating_add(other.count);
        self.time = match (self.time, other.time) {
            (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
            (one, another) => one.or(another),
        };
    }

    fn event(&self, device: Option<Name>, cause: &Cause) -> Event {
        let mut event = Event::gateway(cause.fate.name());
        event.device = device;
        if let Some(upstream) = &cause.upstream {
            event = event.text("upstream", upstream.as_str());
        }
        if !cause.reason.is_empty() {
            event = event.text("reason", &cause.reason);
        }
        if self.count > 0 {
            event = event.with("count", Detail::Int(self.count));
        }
        for (key, ranges) in [("seq", &self.seq), ("device_seq", &self.device_seq)] {
            if !ranges.is_empty() {
                event = event.with(key, Detail::Ranges(ranges.clone()));
            }
        }
        match self.time {
            Some((from, to)) => event.with("time", Detail::Times(from, to)),
            None => event,
        }
    }
}

/// Closes the smallest gaps where there are too many ranges.
fn bound(ranges: &mut RangeSet) {
    let Some(surplus) = ranges
        .range_count()
        .checked_sub(MOST_RANGES)
        .filter(|surplus| *surplus > 0)
    else {
        return;
    };
    let gaps = ranges.iter().zip(ranges.iter().skip(1));
    let mut gaps: Vec<(u64, u64)> = gaps
        .map(|((_, end), (start, _))| (end.saturating_add(1), start.saturating_sub(1)))
        .collect();
    gaps.sort_unstable_by_key(|(first, last)| last - first);
    for (first, last) in gaps.into_iter().take(surplus) {
        ranges.insert(first, last);
    }
}

/// What is gone and not yet told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Holes {
    /// By device; `None`: the gateway.
    gone: BTreeMap<(Option<Name>, Cause), Hole>,
    /// Of ends of streams whose event is itself gone: what it said.
    breaks: Vec<Break>,
    /// More is gone than events: an event that is dropped or refused makes no event of its own, the next one names it.
    due: bool,
}

/// What an event said of the end of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Break {
    reason: String,
    previous: String,
    previous_last: i64,
    hole: RangeSet,
}

impl Break {
    fn of(event: &Event) -> Option<Self> {
        let mut found = Self::default();
        for (key, detail) in &event.detail {
            match (key.as_str(), detail) {
                ("reason", Detail::Text(text)) => found.reason.clone_from(text),
                ("previous", Detail::Text(text)) => found.previous.clone_from(text),
                ("previous_last", Detail::Int(last)) => found.previous_last = *last,
                ("hole", Detail::Ranges(hole)) => found.hole.clone_from(hole),
                _ => (),
            }
        }
        (!found.previous.is_empty()).then_some(found)
    }

    fn event(&self) -> Event {
        Event::gateway(EventName::RecordsLost)
            .text("reason", &self.reason)
            .text("previous", &self.previous)
            .with("previous_last", Detail::Int(self.previous_last))
            .with("hole", Detail::Ranges(self.hole.clone()))
    }
}

impl Holes {
    /// Adds a whole block. `seq` of a device's records is told as the block's range: its other numbers are gone, too.
    pub(super) fn add_block(&mut self, header: &Header, cause: &Cause) {
        let seq = RangeSet::from_iter([(header.first, header.end().saturating_sub(1))]);
        for span in &header.devices {
            let last = span.first.saturating_add(span.count).saturating_sub(1);
            let hole = Hole {
                seq: seq.clone(),
                device_seq: RangeSet::from_iter([(span.first, last)]),
                time: Some((header.earliest, header.latest)),
                ..Hole::default()
            };
            self.add(span.device.clone(), cause, &hole);
        }
        self.due |= header.has_descriptions() || !header.schemas.is_empty();
    }

    /// Adds a single record; with an event that told of others, those as well: it has not told them to everybody.
    pub(super) fn add_record(&mut self, record: &Record, cause: &Cause) {
        let hole = Hole {
            seq: RangeSet::from_iter([(record.seq, record.seq)]),
            device_seq: RangeSet::from_iter([(record.device_seq, record.device_seq)]),
            time: Some((record.stamp.wall_ns, record.stamp.wall_ns)),
            ..Hole::default()
        };
        self.add(record.body.device().cloned(), cause, &hole);
        match &record.body {
            // A refused event that told of others waits for the next as well: else each would make another for ever.
            Body::Event(event) => self.due |= self.carry(event) && cause.fate != Fate::Refused,
            Body::Scan(_) | Body::Description(_) => self.due = true,
        }
    }

    /// Adds what has no numbers of its own to tell; it waits for the next event.
    pub(super) fn add_count(&mut self, cause: &Cause, count: i64) {
        let hole = Hole {
            count,
            ..Hole::default()
        };
        self.add(None, cause, &hole);
    }

    /// Adds numbers of a device that damage took, and the time range in which they were read.
    pub(super) fn add_lost(
        &mut self,
        device: Option<Name>,
        seq: RangeSet,
        device_seq: RangeSet,
        time: Option<(i64, i64)>,
    ) {
        let cause = Cause {
            fate: Fate::Lost,
            ..Cause::bound(DAMAGE)
        };
        let hole = Hole {
            seq,
            device_seq,
            count: 0,
            time,
        };
        self.add(device, &cause, &hole);
    }

    /// Adds what `event` told.
    pub(super) fn add_told(&mut self, event: &Event) {
        self.carry(event);
    }

    /// Adds another set.
    pub(super) fn merge(&mut self, other: Self) {
        for ((device, cause), hole) in &other.gone {
            self.add(device.clone(), cause, hole);
        }
        other.breaks.into_iter().for_each(|end| self.add_break(end));
        self.due |= other.due;
    }

    fn add(&mut self, device: Option<Name>, cause: &Cause, hole: &Hole) {
        let known = self.gone.entry((device, cause.clone())).or_default();
        known.add(hole);
    }

    fn add_break(&mut self, end: Break) {
        self.breaks.push(end);
        if self.breaks.len() > MOST_BREAKS {
            let oldest = self.breaks.remove(0);
            if let Some(next) = self.breaks.first_mut() {
                next.hole.extend(&oldest.hole);
            }
        }
    }

    /// Takes over what `event` told; whether there was anything.
    fn carry(&mut self, event: &Event) -> bool {
        if let Some(end) = Break::of(event) {
            self.add_break(end);
            return true;
        }
        let Some(fate) = Fate::of(event.name) else {
            return false;
        };
        let (mut hole, mut cause) = (Hole::default(), Cause::bound(""));
        cause.fate = fate;
        for (key, detail) in &event.detail {
            match (key.as_str(), detail) {
                ("upstream", Detail::Text(text)) => cause.upstream = Name::new(text).ok(),
                ("reason", Detail::Text(text)) => cause.reason.clone_from(text),
                ("count", Detail::Int(count)) => hole.count = *count,
                ("seq", Detail::Ranges(ranges)) => hole.seq.clone_from(ranges),
                ("device_seq", Detail::Ranges(ranges)) => hole.device_seq.clone_from(ranges),
                ("time", Detail::Times(from, to)) => hole.time = Some((*from, *to)),
                _ => (),
            }
        }
        self.add(event.device.clone(), &cause, &hole);
        true
    }

    /// Whether there is something to tell that is worth an event.
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// Has all of it told, for there may be no next event.
    pub(super) fn make_due(&mut self) {
        self.due = !self.gone.is_empty() || !self.breaks.is_empty();
    }

    /// All of it, where it is due; else nothing.
    pub(super) fn take_due(&mut self) -> Self {
        if self.due {
            std::mem::take(self)
        } else {
            Self::default()
        }
    }

    /// The number of events that tell all of it.
    pub(super) fn len(&self) -> usize {
        self.gone.len().saturating_add(self.breaks.len())
    }

    /// Whether there is nothing to tell.
    pub(super) fn is_empty(&self) -> bool {
        self.gone.is_empty() && self.breaks.is_empty()
    }

    /// The events that tell all of it.
    pub(super) fn events(&self) -> Vec<Event> {
        let breaks = self.breaks.iter().map(Break::event);
        let gone = self
            .gone
            .iter()
            .map(|((device, cause), hole)| hole.event(device.clone(), cause));
        breaks.chain(gone).collect()
    }

    /// Whether it is due (1 byte), the number of events (varint), of each the device (text; empty: the gateway) and the
    /// event as a block has it.
    pub(super) fn put(&self, out: &mut Vec<u8>) {
        out.push(u8::from(self.due));
        let events = self.events();
        put_varint(out, events.len() as u64);
        for event in &events {
            put_text(out, event.device.as_ref().map_or("", Name::as_str));
            body::put_event(out, event);
        }
    }

    pub(super) fn found(bytes: &mut Bytes<'_>) -> Option<Self> {
        let mut holes = Self {
            due: bytes.u8()? != 0,
            ..Self::default()
        };
        for _ in 0..bytes.count(3)? {
            let name = bytes.text()?;
            let device = match name {
                "" => None,
                name => Some(Name::new(name).ok()?),
            };
            holes.carry(&body::event(bytes, device)?);
        }
        Some(holes)
    }
}

#[cfg(test)]
mod tests;
