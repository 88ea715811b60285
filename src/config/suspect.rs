//! What is legal but surely wrong, where several tables together make it so.

use std::collections::BTreeMap;

use super::device::{Device, Lines};
use super::line::Line;
use super::log::{Finding, Log};
use super::upstream::Upstream;
use crate::field::load::{ClassLoad, loads};
use crate::field::modbus::cost::LEAST_TCP;
use crate::field::modbus::known::Known;
use crate::field::settings::{DeviceSettings, Transport};
use crate::support::units::format_duration;

/// Warns of what several tables together make wrong. `known`: what a device has taught its line.
pub(super) fn check(
    log: &Log,
    lines: &Lines,
    devices: &[Device],
    upstreams: &[Upstream],
    known: &dyn Fn(&DeviceSettings) -> Known,
) {
    same_unit(log, devices);
    for line in lines.values().flatten() {
        let on_line: Vec<&Device> = devices
            .iter()
            .filter(|device| device.line == line.settings.name)
            .collect();
        overload(log, line, &on_line, known);
    }
    same_endpoint(log, lines);
    same_client(log, upstreams);
}

/// A line without devices, told only where no device has problems of its own.
pub(super) fn unused_lines(log: &Log, lines: &Lines, devices: &[Device]) {
    for line in lines.values().flatten() {
        if !devices
            .iter()
            .any(|device| device.line == line.settings.name)
        {
            let reason = format!("line `{}` has no device", line.settings.name);
            let mend = format!(
                "add a device with line = \"{}\", or remove the line",
                line.settings.name
            );
            log.push(Finding::warning(line.span, reason).mend(mend));
        }
    }
}

fn same_unit(log: &Log, devices: &[Device]) {
    let mut seen: BTreeMap<_, &Device> = BTreeMap::new();
    for device in devices {
        let settings = &device.settings;
        match seen.get(&(&device.line, settings.unit)) {
            Some(first) => {
                let reason = format!(
                    "devices `{}` and `{}` have the unit id {} on line `{}`",
                    first.settings.name, settings.name, settings.unit, device.line
                );
                let finding = Finding::warning(device.unit_span, reason);
                let finding = finding.also(first.unit_span, "the other device");
                log.push(
                    finding
                        .mend("give each device its own unit id, or join the two into one device"),
                );
            }
            None => {
                seen.insert((&device.line, settings.unit), device);
            }
        }
    }
}

/// Two lines to one endpoint are two connections; many devices take only one.
fn same_endpoint(log: &Log, lines: &Lines) {
    let mut seen: BTreeMap<String, &Line> = BTreeMap::new();
    for line in lines.values().flatten() {
        let endpoint = match &line.settings.transport {
            Transport::ModbusTcp { host, port }
            | Transport::ModbusRtuOverTcp { host, port, .. } => format!("{host}:{port}"),
            Transport::ModbusRtu(serial) => serial.port.display().to_string(),
        };
        match seen.get(&endpoint) {
            Some(first) => {
                let reason = format!(
                    "lines `{}` and `{}` are both {endpoint}",
                    first.settings.name, line.settings.name
                );
                let (a, b) = (first.span.min(line.span), first.span.max(line.span));
                let finding = Finding::warning(b, reason).also(a, "the other line");
                log.push(finding.mend("put the devices on one line: they take turns there"));
            }
            None => {
                seen.insert(endpoint, line);
            }
        }
    }
}

/// More than the whole time of a line is not to be had: ticks will be left out.
fn overload(log: &Log, line: &Line, devices: &[&Device], known: &dyn Fn(&DeviceSettings) -> Known) {
    let transport = &line.settings.transport;
    let (mut classes, mut measured, mut enabled) = (Vec::new(), 0, 0);
    for device in devices.iter().filter(|device| device.settings.enabled) {
        let known = known(&device.settings);
        enabled += 1;
        measured += usize::from(known.answer_time.is_some());
        let loads = loads(transport, &device.settings, &known);
        let periodic = loads.into_iter().filter(|class| class.period.is_some());
        classes.extend(periodic.map(|class| (*device, class)));
    }
    let total: f64 = classes.iter().map(|(_, class)| class.load()).sum();
    if total <= 1.0 {
        return;
    }
    classes.sort_by(|a, b| b.1.load().total_cmp(&a.1.load()));
    let basis = basis(transport, measured, enabled);
    let shown: Vec<String> = classes.iter().take(SHOWN).map(show).collect();
    let more = match classes.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let reason = format!(
        "line `{}`: {total:.2} s of bus time per second {basis}; slowest classes: {}{more}",
        line.settings.name,
        shown.join("; ")
    );
    let Some((heaviest, _)) = classes.first() else {
        return;
    };
    let finding = Finding::warning(heaviest.every_span, reason).also(line.span, "the line");
    log.push(finding.mend("lengthen the periods, or spread the devices over several lines"));
}

/// How many classes are worth reading of.
const SHOWN: usize = 3;

/// What the time is reckoned with, where `measured` of the devices have told how long they take to answer.
fn basis(transport: &Transport, measured: usize, enabled: usize) -> String {
    let rate = transport.bus().map(|bus| bus.baud_rate);
    match (rate, measured) {
        (Some(rate), 0) => format!("at {rate} baud, even if every device answers at once"),
        (None, 0) => format!("with {} a request", format_duration(LEAST_TCP)),
        (Some(rate), all) if all == enabled => {
            format!("at {rate} baud, with the measured answer times")
        }
        (None, all) if all == enabled => "with the measured answer times".to_owned(),
        (Some(rate), some) => format!(
            "at {rate} baud, with the measured answer times of {some} of {enabled} devices, even if the others answer at once"
        ),
        (None, some) => format!(
            "with the measured answer times of {some} of {enabled} devices, and {} a request of the others",
            format_duration(LEAST_TCP)
        ),
    }
}

fn show((device, class): &(&Device, ClassLoad)) -> String {
    let requests = class.requests.len();
    let plural = if requests == 1 { "" } else { "s" };
    format!(
        "{} {} {requests} request{plural} = {:.1} ms every {}",
        device.settings.name,
        class.class,
        class.time().as_secs_f64() * 1_000.0,
        class.period.map_or_else(String::new, format_duration)
    )
}

/// A broker drops the older of two connections with one client id, so both would come and go for ever.
fn same_client(log: &Log, upstreams: &[Upstream]) {
    for (index, upstream) in upstreams.iter().enumerate() {
        let Some(mqtt) = upstream.mqtt() else {
            continue;
        };
        let twin = upstreams.iter().take(index).find(|other| {
            other.mqtt().is_some_and(|other| {
                let common = |end: &crate::upstream::settings::Endpoint| {
                    other
                        .endpoints
                        .iter()
                        .any(|other| (&other.host, other.port) == (&end.host, end.port))
                };
                other.client_id == mqtt.client_id && mqtt.endpoints.iter().any(common)
            })
        });
        if let Some(other) = twin {
            let reason = format!(
                "upstreams `{}` and `{}` have the client id {:?} at one broker, which closes the older connection each time",
                other.settings.name, upstream.settings.name, mqtt.client_id
            );
            let finding = Finding::warning(upstream.client_span, reason);
            let finding = finding.also(other.client_span, "the other upstream");
            log.push(finding.mend("use the default \"{gateway}-{upstream}\""));
        }
    }
}
