//! RTU bytes, the first of them the unit that is asked.

#![no_main]

use forebay::field::modbus::frame::{Found, crc16, find_rtu};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Some((&unit, mut bytes)) = input.split_first() else {
        return;
    };
    while let Found::Frame { skip, len, frame } = find_rtu(bytes, unit) {
        let whole = &bytes[skip..skip + len];
        assert_eq!(crc16(whole), 0, "a frame and its CRC have the CRC 0");
        assert_eq!(frame.unit, whole[0]);
        assert!(skip == 0 || frame.unit == unit);
        bytes = &bytes[skip + len..];
    }
});
