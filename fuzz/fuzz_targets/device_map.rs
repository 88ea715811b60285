//! A device map.

#![no_main]

use forebay::config;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Err(report) = config::map_from_text("map.toml", text) {
        assert!(!report.to_string().is_empty());
    }
});
