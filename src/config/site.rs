//! The whole site: `forebay.toml`, `conf.d`, and what concerns several tables.

use std::path::Path;

use super::device::{self, Device, Lines};
use super::fields::{Fields, WHOLE, name, wrong_type};
use super::host::Host;
use super::library::{Library, read_file};
use super::line;
use super::log::{Finding, Log};
use super::tree::{Entry, Table, Value, merge};
use super::upstream::{self, Site, Upstream};
use super::{Config, gateway, suspect};
use crate::field::learned::LearnedFile;
use crate::field::settings::DeviceSettings;

/// Reads everything; `None` where there is nothing to read at all.
pub(super) fn read(log: &Log, host: &dyn Host, path: &Path) -> Option<Config> {
    let whole = read_files(log, host, path)?;
    let file = whole.1;
    let top = Fields::new(log, &whole.0, file, WHOLE);
    let gateway_fields = top.fields("gateway");
    let gateway = gateway::read_gateway(gateway_fields.as_ref(), host);
    let store_fields = top.fields("store");
    let store = gateway::read_store(store_fields.as_ref(), &gateway);
    if let Some(http) = top.fields("http") {
        gateway::read_http(&http);
    }
    let mut lines = Lines::new();
    for (entry, fields) in things(&top, "line") {
        let line = line::read(&fields, name(log, &entry.key, entry.key_span));
        lines.insert(entry.key.clone(), line);
    }
    let mut library = Library::new(log, host, &gateway.maps);
    let mut devices: Vec<Device> = Vec::new();
    let mut labelled = Vec::new();
    for (entry, fields) in things(&top, "device") {
        let device_name = name(log, &entry.key, entry.key_span);
        devices.extend(device::read(
            &fields,
            device_name,
            &lines,
            &mut library,
            &mut labelled,
        ));
    }
    let site = Site {
        host,
        gateway: &gateway.id,
        devices: &labelled,
    };
    let mut upstreams: Vec<Upstream> = Vec::new();
    for (entry, fields) in things(&top, "upstream") {
        let upstream_name = name(log, &entry.key, entry.key_span);
        upstreams.extend(upstream::read(&fields, upstream_name, &site));
    }
    top.finish();
    let known = |device: &DeviceSettings| {
        let file = LearnedFile::new(&gateway.learned(), device);
        let bytes = host.read(file.path()).unwrap_or_default();
        // Whoever checks may not be allowed to read it; the daemon tells of one that is damaged.
        file.parse(&bytes).ok().flatten().unwrap_or_default()
    };
    suspect::check(log, &lines, &devices, &upstreams, &known);
    let device_count = top
        .table("device")
        .map_or(0, |(table, _)| table.in_order().len());
    if device_count == devices.len() {
        suspect::unused_lines(log, &lines, &devices);
    }
    if !top.has("upstream") {
        let finding = Finding::warning(
            file,
            "there is no upstream: readings are stored and sent nowhere",
        );
        log.push(finding.mend("add a table [upstream.NAME]"));
    }
    Some(assemble(gateway, store, lines, devices, upstreams))
}

fn assemble(
    gateway: gateway::GatewaySettings,
    store: crate::store::settings::StoreSettings,
    lines: Lines,
    mut devices: Vec<Device>,
    upstreams: Vec<Upstream>,
) -> Config {
    devices.sort_by(|a, b| a.settings.name.cmp(&b.settings.name));
    let mut lines: Vec<_> = lines
        .into_values()
        .flatten()
        .map(|line| line.settings)
        .collect();
    for device in devices {
        if let Some(line) = lines.iter_mut().find(|line| line.name == device.line) {
            line.devices.push(device.settings);
        }
    }
    let mut upstreams: Vec<_> = upstreams
        .into_iter()
        .map(|upstream| upstream.settings)
        .collect();
    upstreams.sort_by(|a, b| a.name.cmp(&b.name));
    Config {
        gateway,
        store,
        lines,
        upstreams,
        remarks: Vec::new(),
    }
}

fn read_files(log: &Log, host: &dyn Host, path: &Path) -> Option<(Table, super::log::Span)> {
    let main = match read_file(log, host, path) {
        Ok(main) => main,
        Err(error) => {
            let file = log.source(path, "");
            let finding = Finding::error(file, format!("the file cannot be read: {error}"));
            log.push(finding.mend("create it, or name another with -c FILE"));
            None
        }
    };
    let main_read = main.is_some();
    let (mut whole, file) = main.unwrap_or_else(|| (Table::default(), log.source(path, "")));
    let folder = path.parent().unwrap_or(Path::new("")).join("conf.d");
    let mut any = main_read;
    for file_name in host.list(&folder).unwrap_or_default() {
        if !is_configuration(&file_name) {
            continue;
        }
        let path = folder.join(&file_name);
        match read_file(log, host, &path) {
            Ok(Some((table, _))) => {
                merge(log, &mut whole, table);
                any = true;
            }
            Ok(None) => {}
            Err(error) => {
                let file = log.source(&path, "");
                let finding = Finding::error(file, format!("the file cannot be read: {error}"));
                log.push(finding.mend("correct the permissions, or remove the file"));
            }
        }
    }
    any.then_some((whole, file))
}

/// Hidden files and what package managers leave behind are no configuration.
fn is_configuration(file: &str) -> bool {
    file.ends_with(".toml") && !file.starts_with('.') && !file.contains(".dpkg-")
}

/// The tables of `[line.*]`, `[device.*]` or `[upstream.*]`.
fn things<'a>(top: &Fields<'a>, kind: &'static str) -> Vec<(&'a Entry, Fields<'a>)> {
    let Some((table, _)) = top.table(kind) else {
        return Vec::new();
    };
    let mut things = Vec::new();
    for entry in table.in_order() {
        match &entry.node.value {
            Value::Table(table) => {
                let what = format!("{kind} `{}`", entry.key);
                things.push((entry, Fields::new(top.log, table, entry.key_span, what)));
            }
            _ => {
                let mend = format!("write it as a table of its own: [{kind}.NAME]");
                top.log.push(wrong_type(entry, "a table").mend(mend));
            }
        }
    }
    things
}
