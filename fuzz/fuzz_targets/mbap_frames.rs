//! What comes over TCP.

#![no_main]

use forebay::field::modbus::frame::{Found, find_mbap};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut bytes = input;
    while let Found::Frame {
        skip: 0,
        len,
        frame,
    } = find_mbap(bytes)
    {
        assert!((9..=260).contains(&len));
        let whole = &bytes[..len];
        if let (_, Some(frame)) = frame {
            assert_eq!(frame.unit, whole[6]);
            assert_eq!(
                frame.byte_count.map_or(9, |count| 9 + usize::from(count)),
                len
            );
        }
        bytes = &bytes[len..];
    }
});
