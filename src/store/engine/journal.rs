//! Reads fjall's journals without fjall: which batches are whole, and what stands behind the last of them.
//!
//! fjall trusts the lengths in a journal before it checks them, refuses a database whose last batch has a wrong
//! checksum, and takes an invalid tag in the middle for the end. So its journals are looked through before it sees them.
//!
//! | entry | bytes |
//! |---|---|
//! | start | `1`, items `u32`, sequence `u64` |
//! | item | `2`, type `u8`, compression `u8`, keyspace `u64`, key length `u16`, length `u32`, stored length `u32`, key, value |
//! | clear | `4`, keyspace `u64` |
//! | end | `3`, XXH3 of the items `u64`, `46 4a 4c 03` |

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use rustix::fs::SeekFrom as Extent;
use xxhash_rust::xxh3::Xxh3Default;

use super::super::envelope::{HEADER, MAX_KEY, MAX_PAYLOAD};
use super::progress::{Progress, WatchedFile};

const TRAILER: [u8; 4] = *b"FJL\x03";
/// Larger than any value of ours in its envelope.
const MAX_VALUE: usize = HEADER + MAX_KEY + MAX_PAYLOAD;

/// What was found in a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// Where the last whole batch of the unbroken run from the start ends.
    pub(super) whole: u64,
    /// What stands behind it.
    pub(super) rest: Rest,
}

/// What stands behind the last whole batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// Nothing, or zeros: the journal is preallocated.
    Empty,
    /// A batch that is not whole, and none behind it that is: a torn write, or damage to the last batch.
    Torn,
    /// Whole batches behind a damaged one.
    Broken,
}

/// Looks through the journal at `path`.
pub(super) fn verify(path: &Path, progress: Progress<'_>) -> io::Result<Found> {
    let file = progress.open(path)?;
    let length = file.file.metadata()?.len();
    let mut reader = Reader {
        file: BufReader::with_capacity(1 << 17, file),
        at: 0,
        length,
    };
    let mut whole = 0;
    while reader.batch()? {
        whole = reader.at;
    }
    let rest = if !reader.data_behind(whole)? {
        Rest::Empty
    } else if reader.batch_behind(whole)? {
        Rest::Broken
    } else {
        Rest::Torn
    };
    Ok(Found { whole, rest })
}

struct Reader<'a> {
    file: BufReader<WatchedFile<'a>>,
    at: u64,
    length: u64,
}

impl Reader<'_> {
    fn seek(&mut self, at: u64) -> io::Result<()> {
        self.at = at;
        self.file.seek(SeekFrom::Start(at)).map(drop)
    }

    /// The next `N` bytes; `None` at the end.
    fn take<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        let mut bytes = [0; N];
        match self.file.read_exact(&mut bytes) {
            Ok(()) => {
                self.at += N as u64;
                Ok(Some(bytes))
            }
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Hashes the next `length` bytes; `false` where there are not as many.
    fn hash(&mut self, length: u64, hash: &mut Xxh3Default) -> io::Result<bool> {
        if length > self.length.saturating_sub(self.at) {
            return Ok(false);
        }
        let mut left = length;
        while left > 0 {
            let chunk = self.file.fill_buf()?;
            let used = chunk.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if used == 0 {
                return Ok(false);
            }
            hash.update(chunk.get(..used).unwrap_or_default());
            self.file.consume(used);
            left -= used as u64;
        }
        self.at += length;
        Ok(true)
    }

    /// Reads one batch; whether it is whole.
    fn batch(&mut self) -> io::Result<bool> {
        let Some([1, c0, c1, c2, c3, _, _, _, _, _, _, _, _]) = self.take::<13>()? else {
            return Ok(false);
        };
        let mut hash = Xxh3Default::new();
        for _ in 0..u32::from_le_bytes([c0, c1, c2, c3]) {
            if !self.item(&mut hash)? {
                return Ok(false);
            }
        }
        let Some([3, end @ ..]) = self.take::<13>()? else {
            return Ok(false);
        };
        let (sum, trailer) = end.split_at(8);
        Ok(sum == hash.digest().to_le_bytes() && trailer == TRAILER)
    }

    fn item(&mut self, hash: &mut Xxh3Default) -> io::Result<bool> {
        let Some(tag) = self.take::<1>()? else {
            return Ok(false);
        };
        hash.update(&tag);
        match tag {
            [4] => self.hash(8, hash),
            [2] => {
                let Some(head) = self.take::<20>()? else {
                    return Ok(false);
                };
                hash.update(&head);
                let [
                    _,
                    0,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    _,
                    k0,
                    k1,
                    l0,
                    l1,
                    l2,
                    l3,
                    s0,
                    s1,
                    s2,
                    s3,
                ] = head
                else {
                    return Ok(false);
                };
                let (length, stored) = (
                    u32::from_le_bytes([l0, l1, l2, l3]),
                    u32::from_le_bytes([s0, s1, s2, s3]),
                );
                if length != stored || length as usize > MAX_VALUE {
                    return Ok(false);
                }
                self.hash(
                    u64::from(u16::from_le_bytes([k0, k1])) + u64::from(length),
                    hash,
                )
            }
            _ => Ok(false),
        }
    }

    /// Whether any byte from `from` on is not zero. Holes of the sparse file are not read.
    fn data_behind(&mut self, from: u64) -> io::Result<bool> {
        let mut at = from;
        while at < self.length {
            match rustix::fs::seek(&self.file.get_ref().file, Extent::Data(at)) {
                Ok(data) => at = data,
                Err(rustix::io::Errno::NXIO) => return Ok(false),
                // A file system without holes is read through.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => (),
                Err(error) => return Err(error.into()),
            }
            self.seek(at)?;
            let chunk = self.file.fill_buf()?;
            if chunk.is_empty() {
                return Ok(false);
            }
            if chunk.iter().any(|&byte| byte != 0) {
                return Ok(true);
            }
            at += chunk.len() as u64;
        }
        Ok(false)
    }

    /// Whether a whole batch begins behind a trailer that stands somewhere behind `from`.
    fn batch_behind(&mut self, from: u64) -> io::Result<bool> {
        let mut at = from;
        let mut tail = Vec::new();
        while at < self.length {
            self.seek(at)?;
            let mut window = std::mem::take(&mut tail);
            let before = window.len() as u64;
            window.extend_from_slice(self.file.fill_buf()?);
            let read = window.len() as u64 - before;
            if read == 0 {
                return Ok(false);
            }
            let ends = window
                .windows(TRAILER.len())
                .enumerate()
                .filter(|(_, bytes)| *bytes == TRAILER);
            let ends: Vec<u64> = ends
                .map(|(place, _)| at - before + (place + TRAILER.len()) as u64)
                .collect();
            for end in ends {
                self.seek(end)?;
                if self.batch()? {
                    return Ok(true);
                }
            }
            tail = window.split_off(window.len().saturating_sub(TRAILER.len() - 1));
            at += read;
        }
        Ok(false)
    }
}
