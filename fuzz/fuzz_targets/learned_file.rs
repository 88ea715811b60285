//! What a device taught its line.

#![no_main]

use forebay::field::learned;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(Some(known)) = learned::parse(bytes, "meter", "map-1") {
        assert!(known.registers_per_read != Some(0) && known.bits_per_read != Some(0));
    }
});
