//! Whatever comes in, only whole frames with a right checksum are found in it.

use forebay::field::modbus::frame::{Found, Frame, find_mbap, find_rtu};
use proptest::prelude::*;

use super::rig::share;

/// No frame is longer: unit, function, byte count, 255 bytes of data, CRC.
const LONGEST_RTU: usize = 260;

/// CRC-16/MODBUS, the other way round: highest bit first, over mirrored bytes.
fn crc(bytes: &[u8]) -> u16 {
    let mut crc = 0xFFFF_u16;
    for byte in bytes {
        crc ^= u16::from(byte.reverse_bits()) << 8;
        for _ in 0..8 {
            let carry = crc & 0x8000 != 0;
            crc = crc << 1 ^ if carry { 0x8005 } else { 0 };
        }
    }
    crc.reverse_bits()
}

fn rtu(body: &[u8]) -> Vec<u8> {
    [body, &crc(body).to_le_bytes()].concat()
}

/// An answer of `unit`, or its exception.
fn answer() -> impl Strategy<Value = Vec<u8>> {
    let data = prop::collection::vec(any::<u8>(), 0..=250);
    let answers = (any::<u8>(), 1..=4_u8, data).prop_map(|(unit, function, data)| {
        let head = [unit, function, u8::try_from(data.len()).unwrap()];
        [&head, data.as_slice()].concat()
    });
    let exceptions = (any::<u8>(), 0x81..=0x84_u8, any::<u8>());
    prop_oneof![
        answers,
        exceptions.prop_map(|(unit, function, code)| vec![unit, function, code])
    ]
}

/// Bytes of a bus: noise, frames, and frames that were hurt.
fn bus_bytes() -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..40);
    let whole = answer().prop_map(|body| rtu(&body)).boxed();
    let hurt = (whole.clone(), any::<prop::sample::Index>(), 1..=255_u8);
    let hurt = hurt.prop_map(|(mut frame, at, wrong)| {
        let at = at.index(frame.len());
        frame[at] ^= wrong;
        frame
    });
    let parts = prop::collection::vec(prop_oneof![noise, whole, hurt], 0..6);
    parts.prop_map(|parts| parts.concat())
}

fn check_rtu(bytes: &[u8], unit: u8) -> Result<Option<usize>, TestCaseError> {
    let Found::Frame { skip, len, frame } = find_rtu(bytes, unit) else {
        return Ok(None);
    };
    let whole = &bytes[skip..skip + len];
    prop_assert!(len <= LONGEST_RTU);
    let (body, check) = whole.split_at(len - 2);
    prop_assert_eq!(crc(body), u16::from_le_bytes([check[0], check[1]]));
    prop_assert!(skip == 0 || frame.unit == unit);
    prop_assert_eq!(frame.unit, whole[0]);
    prop_assert_eq!(frame.function, whole[1] & 0x7F);
    let data = frame.byte_count.map(usize::from);
    prop_assert_eq!(data.map_or(5, |data| 5 + data), len);
    Ok(Some(skip + len))
}

fn cases() -> ProptestConfig {
    ProptestConfig::with_cases(u32::try_from(share(100_000, 1_000)).unwrap())
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn an_rtu_frame_found_in_any_bytes_has_a_right_crc(bytes in bus_bytes(), unit in any::<u8>()) {
        let mut rest = bytes.as_slice();
        while let Some(end) = check_rtu(rest, unit)? {
            rest = &rest[end..];
        }
    }

    #[test]
    fn an_rtu_frame_is_found_as_soon_as_it_is_whole_and_no_sooner(body in answer(), behind in prop::collection::vec(any::<u8>(), 0..20)) {
        let frame = rtu(&body);
        let found = find_rtu(&[frame.as_slice(), &behind].concat(), body[0]);
        let whole = matches!(found, Found::Frame { skip: 0, len, .. } if len == frame.len());
        prop_assert!(whole, "{:?}", found);
        for end in 0..frame.len() {
            // Data may hold a frame of its own by chance; the frame itself is not there yet.
            let found = find_rtu(&frame[..end], body[0]);
            prop_assert!(!matches!(found, Found::Frame { skip: 0, .. } | Found::Lost), "{:?}", found);
        }
    }

    #[test]
    fn one_wrong_byte_hides_an_rtu_frame(body in answer(), at in any::<prop::sample::Index>(), wrong in 1..=255_u8) {
        let mut frame = rtu(&body);
        let (len, at) = (frame.len(), at.index(frame.len()));
        frame[at] ^= wrong;
        let found = find_rtu(&frame, body[0]);
        prop_assert!(!matches!(found, Found::Frame { skip: 0, len: all, .. } if all == len), "{:?}", found);
    }

    #[test]
    fn an_mbap_frame_found_in_any_bytes_is_as_long_as_its_header_says(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        (id, length) in (any::<u16>(), 0..=300_u16),
    ) {
        let head = [id.to_be_bytes(), [0, 0], length.to_be_bytes()].concat();
        for bytes in [bytes.clone(), [head, bytes].concat()] {
            match find_mbap(&bytes) {
                Found::Frame { skip, len, frame: (id, frame) } => {
                    prop_assert_eq!(skip, 0);
                    prop_assert!((9..=LONGEST_RTU).contains(&len) && len <= bytes.len());
                    prop_assert_eq!(id, u16::from_be_bytes([bytes[0], bytes[1]]));
                    let said = usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
                    prop_assert_eq!(len, 6 + said);
                    let Some(Frame { unit, byte_count, .. }) = frame else { continue };
                    prop_assert_eq!(unit, bytes[6]);
                    prop_assert_eq!(byte_count.map_or(9, |data| 9 + usize::from(data)), len);
                }
                // Only what may still become a frame is waited for, and never for more than a frame.
                Found::Incomplete => prop_assert!(bytes.len() < LONGEST_RTU),
                Found::Lost => {}
            }
        }
    }
}
