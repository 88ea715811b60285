//! `[device.NAME]`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::describe::describe;
use super::fields::{Fields, wrong_type};
use super::library::Library;
use super::line::{Line, TIMEOUTS};
use super::log::{Finding, Span};
use super::map::{self, MapDraft, ONCE, PERIODS, Periods};
use super::suggest::did_you_mean;
use super::tree::Value;
use crate::field::modbus::map::DeviceMap;
use crate::field::settings::DeviceSettings;
use crate::reading::Name;

/// A device, its line, and where they are named.
pub(super) struct Device {
    pub(super) settings: DeviceSettings,
    pub(super) line: Name,
    /// Where its unit id is given, or else its name.
    pub(super) unit_span: Span,
    /// Where its period is given, or else its name.
    pub(super) every_span: Span,
}

/// A device's name and labels, which templates need, whatever else is wrong with it.
pub(super) struct Labelled {
    pub(super) name: Name,
    pub(super) labels: Vec<(String, String)>,
    pub(super) span: Span,
}

/// The lines by name; `None`: one that has a problem of its own.
pub(super) type Lines = BTreeMap<String, Option<Line>>;

/// Reads a device; `None` where it cannot be used, which is logged.
pub(super) fn read(
    fields: &Fields<'_>,
    name: Option<Name>,
    lines: &Lines,
    library: &mut Library<'_>,
    labelled: &mut Vec<Labelled>,
) -> Option<Device> {
    let line = find_line(fields, lines);
    let unit = read_unit(fields, line.and_then(Option::as_ref));
    let map = read_map(fields, library, line.and_then(Option::as_ref));
    let labels = read_labels(fields);
    labelled.extend(name.clone().map(|name| Labelled {
        name,
        labels: labels.clone(),
        span: fields.span,
    }));
    let every = fields.duration("every", PERIODS);
    let own_scans = match fields.table("scans") {
        Some((table, _)) => map::read_scans(fields.log, table),
        None => BTreeMap::new(),
    };
    let timeout = fields.duration("timeout", TIMEOUTS);
    let retries = fields.integer("retries", 0..=10_u32);
    let delay = fields.duration("delay", Duration::ZERO..=Duration::from_secs(60));
    let enabled = fields.bool("enabled").unwrap_or(true);
    fields.not_yet("shift", "write the addresses out in a map of its own");
    fields.finish();
    let (draft, resolved) = map?;
    let scans = periods(fields, &draft, &resolved, every, own_scans);
    let line = line?.as_ref()?;
    let (name, line_name) = (name?, line.settings.name.clone());
    Some(Device {
        settings: DeviceSettings {
            description: Arc::new(describe(&name, &line_name, labels, &resolved)),
            name,
            unit: unit?,
            map: Arc::new(resolved),
            scans,
            timeout,
            retries,
            delay: delay.unwrap_or(Duration::ZERO),
            enabled,
        },
        line: line_name,
        unit_span: fields.at("unit"),
        every_span: fields.at("every"),
    })
}

fn find_line<'l>(fields: &Fields<'_>, lines: &'l Lines) -> Option<&'l Option<Line>> {
    if fields.entry("line").is_none() {
        fields.missing("line", "write line = \"NAME\" of a [line.NAME]");
        return None;
    }
    let name = fields.text("line")?;
    let line = lines.get(name);
    if line.is_none() {
        let mend = match did_you_mean(name, lines.keys().map(String::as_str)) {
            Some(near) => format!("did you mean {near:?}?"),
            None => format!("add a table [line.{name}]"),
        };
        let reason = format!("there is no line {name:?}");
        fields
            .log
            .push(Finding::error(fields.at("line"), reason).mend(mend));
    }
    line
}

/// Its range depends on the kind of line; without a usable line any number will do.
fn read_unit(fields: &Fields<'_>, line: Option<&Line>) -> Option<u8> {
    let serial = line.map(|line| line.settings.transport.bus().is_some());
    match serial {
        Some(true) => {
            if fields.entry("unit").is_none() {
                fields.missing("unit", "write the device's address on the bus, 1 to 247");
            }
            fields.integer("unit", 1..=247)
        }
        Some(false) if !fields.has("unit") => {
            fields.entry("unit");
            Some(1)
        }
        _ => fields.integer("unit", 0..=255_u8),
    }
}

fn read_map(
    fields: &Fields<'_>,
    library: &mut Library<'_>,
    line: Option<&Line>,
) -> Option<(MapDraft, DeviceMap)> {
    let named = fields.entry("map").is_some();
    let mut draft = match fields.filled_text("map") {
        Some(text) => library.find(text, fields.at("map")),
        None => (!named).then(MapDraft::default),
    };
    let points = fields.table("points");
    if !named && !fields.has("points") {
        fields.missing(
            "map",
            "write map = \"NAME\" of a device map, or add points of its own",
        );
        draft = None;
    }
    // Read without a map too, so that mistakes in them are told.
    let mut whole = draft.clone().unwrap_or_default();
    whole.limits = map::read_limits(fields, whole.limits);
    // The device knows better than its line, and that better than the map: a gateway is a thing of the line.
    let of_line = line.map(|line| line.quirks).unwrap_or_default();
    whole.quirks = map::read_quirks(fields).over(of_line.over(whole.quirks));
    if fields.bool("identify") == Some(false) {
        whole.identity = None;
    }
    if let Some((points, _)) = points {
        whole.merge(fields.log, points);
    }
    draft?;
    let resolved = map::resolve(fields.log, &whole);
    Some((whole, resolved))
}

fn read_labels(fields: &Fields<'_>) -> Vec<(String, String)> {
    let mut labels = Vec::new();
    let Some((table, _)) = fields.table("labels") else {
        return labels;
    };
    for entry in table.in_order() {
        let key = super::fields::name(fields.log, &entry.key, entry.key_span);
        match &entry.node.value {
            Value::Text(text) if key.is_some() => labels.push((entry.key.clone(), text.clone())),
            Value::Text(_) => {}
            _ => fields
                .log
                .push(wrong_type(entry, "a text").mend("write it in quotes")),
        }
    }
    labels.sort_unstable();
    labels
}

/// The period of each class that the points use: of the device, or else of its map.
fn periods(
    fields: &Fields<'_>,
    draft: &MapDraft,
    map: &DeviceMap,
    every: Option<Duration>,
    mut own: Periods,
) -> BTreeMap<Name, Option<Duration>> {
    let mut periods = BTreeMap::new();
    let sent = map.points.iter().filter(|point| point.send);
    let used: BTreeSet<&Name> = sent.map(|point| &point.scan).collect();
    for class in used {
        let own = own.remove(class);
        if class.as_str() == ONCE {
            periods.insert(class.clone(), None);
            continue;
        }
        let is_default = class.as_str() == "default";
        if let (true, Some(_), Some((_, span))) = (is_default, every, &own) {
            let finding = Finding::error(*span, "the period of `default` is given twice");
            let finding = finding.also(fields.at("every"), "the other one");
            fields.log.push(finding.mend("keep `every`"));
        }
        let of_map = draft.scans.get(class).map(|(period, _)| *period);
        let given = if is_default && fields.has("every") {
            Some(every)
        } else {
            own.map(|(period, _)| period).or(of_map)
        };
        match given {
            Some(Some(period)) => {
                periods.insert(class.clone(), Some(period));
            }
            // A period that is there but wrong is told already.
            Some(None) => {}
            None => no_period(fields, draft, class, is_default),
        }
    }
    for (class, (_, span)) in own {
        let names = periods.keys().map(Name::as_str);
        let mend = match did_you_mean(class.as_str(), names) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "remove it".to_owned(),
        };
        let reason = format!("no point of {} has the scan class `{class}`", fields.what());
        fields.log.push(Finding::warning(span, reason).mend(mend));
    }
    periods
}

fn no_period(fields: &Fields<'_>, draft: &MapDraft, class: &Name, is_default: bool) {
    let mend = if is_default {
        "write every = \"1s\"".to_owned()
    } else {
        format!("write scans = {{ {class} = \"1min\" }}, or give it in the map's [scans]")
    };
    let reason = format!(
        "{} has no period for the scan class `{class}`",
        fields.what()
    );
    let mut finding = Finding::absence(fields.span, reason).mend(mend);
    let user = draft.points.iter().find(|point| point.point.scan == *class);
    if let (Some(user), false) = (user, is_default) {
        finding = finding.also(user.span, "a point of this class");
    }
    fields.log.push(finding);
}
