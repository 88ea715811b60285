//! Device maps: from a file to points that can be read and decoded.

mod codes;
mod identify;
mod invalid;
mod point;
mod raw_type;
mod resolve;
mod transform;

use std::collections::BTreeMap;
use std::time::Duration;

use super::fields::{Fields, name};
use super::log::{Finding, Log, Span};
use super::suggest::did_you_mean;
use super::tree::{Table, Value};
use crate::field::modbus::identity::Identity;
use crate::field::modbus::map::{Limits, Quirks};
use crate::reading::Name;

pub(super) use point::{Defaults, Draft};
pub(super) use raw_type::type_name;
pub(super) use resolve::resolve;

/// A map as its file has it, or with the points of a device merged in.
#[derive(Debug, Clone, Default)]
pub(super) struct MapDraft {
    pub(super) title: Option<String>,
    pub(super) source: Option<String>,
    defaults: Defaults,
    pub(super) limits: Limits,
    pub(super) quirks: Quirks,
    pub(super) identity: Option<Identity>,
    /// Periods of scan classes.
    pub(super) scans: Periods,
    pub(super) points: Vec<Draft>,
    /// Points that have a problem of their own: what refers to them has none.
    faulty: Vec<String>,
}

/// Least and greatest period of a scan class.
pub(super) const PERIODS: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(31 * 86_400);

/// Scan classes and where they stand; `None`: the period is wrong, which is logged.
pub(super) type Periods = BTreeMap<Name, (Option<Duration>, Span)>;

/// The class whose points are read once at every connect.
pub(super) const ONCE: &str = "once";

/// Reads the tree of a map file.
pub(super) fn read(log: &Log, table: &Table, file: Span) -> MapDraft {
    let fields = Fields::new(log, table, file, "the map");
    let mut map = MapDraft {
        title: fields.filled_text("title").map(str::to_owned),
        source: fields.filled_text("source").map(str::to_owned),
        ..MapDraft::default()
    };
    match fields.text("protocol") {
        None | Some("modbus") => {}
        Some("serial") => fields.not_yet(
            "protocol",
            "maps of serial devices come later; use protocol = \"modbus\"",
        ),
        Some(_) => {
            fields.choice("protocol", &[("modbus", ())]);
        }
    }
    for (key, mend) in [
        ("extends", "copy the points into this map"),
        ("omit", "leave the points out of this map"),
        ("repeat", "write the points out"),
        ("frame", "frames belong to serial maps, which come later"),
    ] {
        fields.not_yet(key, mend);
    }
    if let Some(defaults) = fields.fields("defaults") {
        map.defaults = read_defaults(&defaults);
    }
    map.defaults.enums = codes::read_enums(&fields);
    if let Some(fields) = fields.fields("identify") {
        map.identity = identify::read(&fields, &map.defaults);
        fields.finish();
    }
    map.limits = read_limits(&fields, map.limits);
    map.quirks = read_quirks(&fields).over(map.quirks);
    if let Some((scans, _)) = fields.table("scans") {
        map.scans = read_scans(log, scans);
    }
    match fields.table("points") {
        Some((points, span)) => {
            map.merge(log, points);
            if points.in_order().is_empty() {
                let finding = Finding::warning(span, "the map has no points");
                log.push(finding.mend("add points, a line each"));
            }
        }
        None if !fields.has("points") => fields.missing("points", "add a table [points]"),
        None => {}
    }
    fields.finish();
    map
}

fn read_defaults(fields: &Fields<'_>) -> Defaults {
    let mut defaults = Defaults {
        order: raw_type::read_order(fields, "order").unwrap_or_default(),
        order64: raw_type::read_order(fields, "order64"),
        address_base: fields.integer("address_base", 0..=1).unwrap_or(0),
        ..Defaults::default()
    };
    if let Some((table, _)) = fields.table("invalid") {
        for entry in table.in_order() {
            let raw = raw_type::pattern_type(&entry.key);
            match raw {
                Some(raw) => {
                    // Read once here, so that mistakes are told even where no point has the type.
                    invalid::read(fields.log, &raw, &entry.node);
                    defaults
                        .invalid
                        .insert(entry.key.clone(), entry.node.clone());
                }
                None => raw_type::unknown_type(fields.log, &entry.key, entry.key_span),
            }
        }
    }
    fields.finish();
    defaults
}

/// `[limits]` of a map, or of a device over those of its map.
pub(super) fn read_limits(fields: &Fields<'_>, base: Limits) -> Limits {
    let Some(limits) = fields.fields("limits") else {
        return base;
    };
    let registers = limits.integer("registers_per_read", 1..=125);
    let bits = limits.integer("bits_per_read", 1..=2000);
    let gap = limits.integer("gap", 0..=124);
    limits.finish();
    Limits {
        registers_per_read: registers.unwrap_or(base.registers_per_read),
        bits_per_read: bits.unwrap_or(base.bits_per_read),
        gap: gap.unwrap_or(base.gap),
    }
}

/// `[quirks]` as written: a key that is not there leaves what holds anyway.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct OwnQuirks {
    pause_after_connect: Option<Duration>,
    alone: Option<bool>,
    lenient_transaction_id: Option<bool>,
}

impl OwnQuirks {
    /// These, and for the rest those of `base`.
    pub(super) fn over(self, base: Quirks) -> Quirks {
        Quirks {
            pause_after_connect: self.pause_after_connect.unwrap_or(base.pause_after_connect),
            alone: self.alone.unwrap_or(base.alone),
            lenient_transaction_id: self
                .lenient_transaction_id
                .unwrap_or(base.lenient_transaction_id),
        }
    }
}

/// `[quirks]` of a map, a line or a device.
pub(super) fn read_quirks(fields: &Fields<'_>) -> OwnQuirks {
    let Some(quirks) = fields.fields("quirks") else {
        return OwnQuirks::default();
    };
    let pauses = Duration::ZERO..=Duration::from_secs(60);
    let own = OwnQuirks {
        pause_after_connect: quirks.duration("pause_after_connect", pauses),
        alone: quirks.bool("alone"),
        lenient_transaction_id: quirks.bool("lenient_transaction_id"),
    };
    quirks.finish();
    own
}

/// A table of scan classes and their periods.
pub(super) fn read_scans(log: &Log, table: &Table) -> Periods {
    let mut scans = BTreeMap::new();
    for entry in table.in_order() {
        let class = name(log, &entry.key, entry.key_span);
        let period = super::fields::duration(log, entry, PERIODS);
        if entry.key == ONCE {
            let finding = Finding::error(entry.key_span, "the class `once` has no period");
            log.push(finding.mend("its points are read at every connect; remove the key"));
            continue;
        }
        if let Some(class) = class {
            scans.insert(class, (period, entry.key_span));
        }
    }
    scans
}

impl MapDraft {
    /// Adds or replaces points; `NAME = false` removes one.
    pub(super) fn merge(&mut self, log: &Log, points: &Table) {
        for entry in points.in_order() {
            if let Value::Bool(false) = entry.node.value {
                self.remove(log, &entry.key, entry.key_span);
                continue;
            }
            self.faulty.retain(|faulty| *faulty != entry.key);
            let there = self
                .points
                .iter()
                .position(|draft| draft.point.name.as_str() == entry.key);
            match (point::read(log, entry, &self.defaults), there) {
                (Some(draft), Some(index)) => {
                    if let Some(place) = self.points.get_mut(index) {
                        *place = draft;
                    }
                }
                (Some(draft), None) => self.points.push(draft),
                (None, _) => self.faulty.push(entry.key.clone()),
            }
        }
    }

    fn remove(&mut self, log: &Log, key: &str, span: Span) {
        let before = self.points.len();
        self.points.retain(|draft| draft.point.name.as_str() != key);
        if self.points.len() == before && !self.faulty.iter().any(|faulty| faulty == key) {
            let names = self.points.iter().map(|draft| draft.point.name.as_str());
            let mend = match did_you_mean(key, names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "remove the line".to_owned(),
            };
            let reason = format!("there is no point `{key}` to remove");
            log.push(Finding::error(span, reason).mend(mend));
        }
    }
}
