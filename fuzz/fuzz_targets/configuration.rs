//! A configuration, with a map beside it.

#![no_main]

use forebay::config::{self, InMemory};
use libfuzzer_sys::fuzz_target;

const MAP: &str = "[points]\nvoltage = { input = 0, type = \"f32\" }\n";

fuzz_target!(|bytes: &[u8]| {
    let host = InMemory::default()
        .file("/etc/forebay/forebay.toml", bytes)
        .file("/etc/forebay/maps/meter.toml", MAP);
    if let Err(report) = config::load_from(&host, "/etc/forebay/forebay.toml".as_ref()) {
        assert!(!report.to_string().is_empty());
    }
});
