//! `[gateway]`, `[store]` and `[http]`.

use std::path::PathBuf;
use std::time::Duration;

use super::fields::{Fields, resolve};
use super::host::Host;
use super::log::Finding;
use super::tree::Value;
use crate::store::settings::{StoreSettings, WhenFull};

/// Where the service manager's state directory would be.
const STATE_DIR: &str = "/var/lib/forebay";

/// Where maps are looked for.
pub const DEFAULT_MAPS: [&str; 2] = ["/etc/forebay/maps", "/usr/share/forebay/maps"];

/// The gateway itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySettings {
    /// Its id in messages and topics.
    pub id: String,
    /// Where it keeps its state; the store is a folder in it.
    pub state_dir: PathBuf,
    /// Folders of device maps; the first that has a map wins.
    pub maps: Vec<PathBuf>,
}

impl GatewaySettings {
    /// The folder of what was found out about the devices.
    pub fn learned(&self) -> PathBuf {
        self.state_dir.join("learned")
    }
}

/// Reads `[gateway]`; `None`: there is none, the defaults hold.
pub(super) fn read_gateway(fields: Option<&Fields<'_>>, host: &dyn Host) -> GatewaySettings {
    let id = fields.and_then(|fields| {
        let id = fields.filled_text("id")?;
        check_id(fields, id).then(|| id.to_owned())
    });
    let state_dir = fields.and_then(|fields| fields.path("state_dir"));
    let maps = fields.and_then(|fields| {
        let texts = fields.texts("maps")?;
        let folders = texts
            .into_iter()
            .map(|(text, span)| resolve(fields.log, span, text));
        Some(folders.collect())
    });
    if let Some(fields) = fields {
        fields.finish();
    }
    // The service manager lists several directories separated by colons where the unit has several.
    let from_service = host.variable("STATE_DIRECTORY").and_then(|list| {
        let first = list.split(':').next()?;
        (!first.is_empty()).then(|| PathBuf::from(first))
    });
    GatewaySettings {
        id: id.unwrap_or_else(|| host.host_name()),
        state_dir: state_dir
            .or(from_service)
            .unwrap_or_else(|| PathBuf::from(STATE_DIR)),
        maps: maps.unwrap_or_else(|| DEFAULT_MAPS.map(PathBuf::from).to_vec()),
    }
}

fn check_id(fields: &Fields<'_>, id: &str) -> bool {
    let bad = id.len() > 128 || id.chars().any(char::is_control);
    if bad {
        let reason = "an id has at most 128 bytes and no control characters";
        let finding = Finding::error(fields.at("id"), reason);
        fields
            .log
            .push(finding.mend("write a short name, as in \"hall-2\""));
    }
    !bad
}

/// Reads `[store]`.
pub(super) fn read_store(fields: Option<&Fields<'_>>, gateway: &GatewaySettings) -> StoreSettings {
    let mut settings = StoreSettings {
        dir: gateway.state_dir.join("store"),
        max_size: 2 << 30,
        max_age: Some(Duration::from_secs(30 * 86_400)),
        when_full: WhenFull::DropOldest,
        keep_free: None,
        commit_window: Duration::from_millis(100),
    };
    let Some(fields) = fields else {
        return settings;
    };
    if let Some(size) = fields.size("max_size", StoreSettings::LEAST_SIZE) {
        settings.max_size = size;
    }
    let never = fields
        .entry("max_age")
        .is_some_and(|entry| matches!(&entry.node.value, Value::Text(text) if text == "never"));
    let ages = Duration::from_secs(60)..=Duration::from_secs(100 * 366 * 86_400);
    if never {
        settings.max_age = None;
    } else if let Some(age) = fields.duration("max_age", ages) {
        settings.max_age = Some(age);
    }
    let words = [
        ("drop-oldest", WhenFull::DropOldest),
        ("drop-newest", WhenFull::DropNewest),
    ];
    if let Some(when_full) = fields.choice("when_full", &words) {
        settings.when_full = when_full;
    }
    settings.keep_free = fields.size("keep_free", StoreSettings::LEAST_FREE);
    if let Some(window) = fields.duration("commit_window", Duration::ZERO..=Duration::from_secs(60))
    {
        settings.commit_window = window;
    }
    fields.finish();
    settings
}

/// Reads `[http]`: only that it is off.
pub(super) fn read_http(fields: &Fields<'_>) {
    if fields
        .text("listen")
        .is_some_and(|listen| !listen.is_empty())
    {
        let reason = "the status page is not supported yet";
        let finding = Finding::error(fields.at("listen"), reason);
        fields
            .log
            .push(finding.mend("write listen = \"\", or remove [http]"));
    }
    fields.finish();
}
