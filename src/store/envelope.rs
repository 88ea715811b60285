//! The wrapping of every value on disk, so that each can be told apart and trusted on its own.
//!
//! An engine that refuses to open is rebuilt by looking through its files for these ([`find`]); whatever the engine
//! put around them does not matter.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | magic `f3 6f 72 62 0d 0a 62 31` |
//! | 8 | 1 | kind ([`Kind`]) |
//! | 9 | 1 | length of the key, `k` |
//! | 10 | 2 | zero |
//! | 12 | 4 | length of the payload, `n` |
//! | 16 | 8 | generation: of two values with one kind and key the higher one counts |
//! | 24 | 8 | XXH3 of bytes 0 to 23, the key and the payload |
//! | 32 | k | key |
//! | 32 + k | n | payload |
//!
//! All numbers are little-endian.

use xxhash_rust::xxh3::Xxh3Default;

/// What a value is. The numbers are on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// A block of consecutive records; the key is its first `seq`, big-endian.
    Block = 1,
    /// The definition of a schema; the key is its id, big-endian.
    Schema = 2,
    /// What an upstream has confirmed; the key is its name.
    Cursor = 3,
    /// The session of an upstream's codec; the key is its name.
    Session = 4,
    /// A record that a broker refused; the key is its place among the dead letters, big-endian.
    DeadLetter = 5,
    /// Stream, counters of the devices, bounds; a single value.
    State = 6,
    /// When the wall clock of each boot could be trusted; a single value.
    Clocks = 7,
}

impl Kind {
    /// Every kind there is.
    pub const ALL: [Self; 7] = [
        Self::Block,
        Self::Schema,
        Self::Cursor,
        Self::Session,
        Self::DeadLetter,
        Self::State,
        Self::Clocks,
    ];

    fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|&kind| kind as u8 == number)
    }
}

/// The first bytes of every value. No text has them, and a transfer that mends line ends breaks them.
pub const MAGIC: [u8; 8] = *b"\xf3orb\x0d\x0ab1";
/// Bytes before the key.
pub const HEADER: usize = 32;
/// Longest key: a name.
pub const MAX_KEY: usize = 255;
/// Longest payload; the writer's blocks stay far below. A length beyond is damage, and nothing is allocated for it.
pub const MAX_PAYLOAD: usize = 8 << 20;

/// A value that was found intact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// What it is.
    pub kind: Kind,
    /// Its key within the kind.
    pub key: &'a [u8],
    /// Of two with one kind and key, the higher one counts.
    pub generation: u64,
    /// What it holds.
    pub payload: &'a [u8],
    /// The whole of it.
    pub bytes: &'a [u8],
}

/// Starts a value: the payload is appended to what is returned, then [`seal`] completes it.
pub fn begin(kind: Kind, key: &[u8], generation: u64) -> Vec<u8> {
    let key = key.get(..MAX_KEY).unwrap_or(key);
    let mut bytes = Vec::with_capacity(HEADER + key.len() + 64);
    bytes.extend_from_slice(&MAGIC);
    bytes.push(kind as u8);
    bytes.push(u8::try_from(key.len()).unwrap_or(u8::MAX));
    bytes.extend_from_slice(&[0; 6]);
    bytes.extend_from_slice(&generation.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(key);
    bytes
}

/// Completes a value that [`begin`] started: length and checksum.
pub fn seal(mut bytes: Vec<u8>) -> Vec<u8> {
    let key = bytes.get(9).copied().map_or(0, usize::from);
    let payload = bytes.len().saturating_sub(HEADER + key);
    let length = u32::try_from(payload).unwrap_or(u32::MAX);
    if let Some(place) = bytes.get_mut(12..16) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    let sum = checksum(&bytes);
    if let Some(place) = bytes.get_mut(24..32) {
        place.copy_from_slice(&sum.to_le_bytes());
    }
    bytes
}

/// A value of `payload`, complete.
pub fn wrap(kind: Kind, key: &[u8], generation: u64, payload: &[u8]) -> Vec<u8> {
    let mut bytes = begin(kind, key, generation);
    bytes.extend_from_slice(payload);
    seal(bytes)
}

fn checksum(bytes: &[u8]) -> u64 {
    let mut hash = Xxh3Default::new();
    hash.update(bytes.get(..24).unwrap_or_default());
    hash.update(bytes.get(HEADER..).unwrap_or_default());
    hash.digest()
}

/// What the bytes at the start of `bytes` are.
#[derive(Debug, PartialEq, Eq)]
pub enum Opened<'a> {
    /// A whole value.
    Value(Envelope<'a>),
    /// Perhaps a value, of this many bytes, of which some are missing.
    Short(usize),
    /// No value, or a damaged one.
    Nothing,
}

/// Checks the value at the start of `bytes`; what follows it does not matter.
pub fn open(bytes: &[u8]) -> Opened<'_> {
    let field = |from: usize, to: usize| bytes.get(from..to);
    let (Some(magic), Some(kind), Some(length), Some(generation), Some(sum)) = (
        field(0, 8),
        field(8, 12),
        field(12, 16),
        field(16, 24),
        field(24, 32),
    ) else {
        return Opened::Short(HEADER);
    };
    let (&[kind, key, 0, 0], true) = (kind, magic == MAGIC) else {
        return Opened::Nothing;
    };
    let payload = length
        .try_into()
        .map_or(usize::MAX, |n| u32::from_le_bytes(n) as usize);
    let (Some(kind), true) = (Kind::of(kind), payload <= MAX_PAYLOAD) else {
        return Opened::Nothing;
    };
    let (body, end) = (
        HEADER + usize::from(key),
        HEADER + usize::from(key) + payload,
    );
    let (Some(whole), Some(key), Some(payload)) =
        (field(0, end), field(HEADER, body), field(body, end))
    else {
        return Opened::Short(end);
    };
    if sum != checksum(whole).to_le_bytes() {
        return Opened::Nothing;
    }
    Opened::Value(Envelope {
        kind,
        key,
        generation: generation.try_into().map_or(0, u64::from_le_bytes),
        payload,
        bytes: whole,
    })
}

/// Checks that `bytes` are one whole value and nothing else.
pub fn exactly(bytes: &[u8]) -> Option<Envelope<'_>> {
    match open(bytes) {
        Opened::Value(envelope) if envelope.bytes.len() == bytes.len() => Some(envelope),
        _ => None,
    }
}

/// The first place at or after `from` where a value may begin.
pub fn find(bytes: &[u8], from: usize) -> Option<usize> {
    let [first, ..] = MAGIC;
    let mut at = from;
    loop {
        at += bytes.get(at..)?.iter().position(|&byte| byte == first)?;
        let rest = bytes.get(at..)?;
        let seen = rest.len().min(MAGIC.len());
        if rest.get(..seen) == MAGIC.get(..seen) {
            return Some(at);
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_bytes_are_frozen() {
        let bytes = wrap(Kind::Cursor, b"cloud", 7, &[1, 2, 3]);
        assert_eq!(
            bytes,
            [
                0xf3, b'o', b'r', b'b', 0x0d, 0x0a, b'b', b'1', 3, 5, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0,
                0, 0, 0, 0, 114, 252, 151, 149, 138, 48, 179, 146, b'c', b'l', b'o', b'u', b'd', 1,
                2, 3
            ]
        );
    }

    #[test]
    fn no_flipped_bit_and_no_missing_byte_passes() {
        let whole = wrap(Kind::Schema, &[0, 0, 0, 9], 1, b"some payload");
        assert!(exactly(&whole).is_some());
        for end in 0..whole.len() {
            assert!(exactly(&whole[..end]).is_none(), "{end}");
        }
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(exactly(&bytes).is_none(), "{bit}");
        }
    }

    #[test]
    fn is_found_between_other_bytes() {
        let mut bytes = b"\xf3or \xf3\xf3".to_vec();
        let at = bytes.len();
        bytes.extend(wrap(Kind::State, b"", 1, b"x"));
        bytes.extend(b"tail");
        assert_eq!(find(&bytes, 0), Some(at));
        assert!(matches!(open(&bytes[at..]), Opened::Value(found) if found.payload == b"x"));
        assert_eq!(find(&bytes, at + 1), None);
        assert_eq!(
            find(b"ab\xf3o", 0),
            Some(2),
            "a value may begin at the end of what was read"
        );
    }
}
