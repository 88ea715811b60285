//! Looks through files for our own values, whoever wrapped them in what.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Kind;
use super::progress::Progress;
use crate::store::envelope::{self, Envelope, Opened};

/// Values by kind and key, the newest generation of each, in their envelopes.
pub(super) type Saved = BTreeMap<(Kind, Vec<u8>), (u64, Vec<u8>)>;

/// How much of a file is looked at in one go.
const WINDOW: usize = 4 << 20;
/// What a disk cannot read goes by units of this, at least.
const SECTOR: u64 = 4096;

/// Keeps `found` unless a newer one is known.
pub(super) fn keep(saved: &mut Saved, found: &Envelope<'_>) {
    let entry = saved.entry((found.kind, found.key.to_vec())).or_default();
    if entry.1.is_empty() || found.generation >= entry.0 {
        *entry = (found.generation, found.bytes.to_vec());
    }
}

/// Keeps every intact value in `bytes`.
pub(super) fn collect(bytes: &[u8], saved: &mut Saved) {
    let mut at = 0;
    while let Some(start) = envelope::find(bytes, at) {
        at = match envelope::open(bytes.get(start..).unwrap_or_default()) {
            Opened::Value(found) => {
                keep(saved, &found);
                start + found.bytes.len()
            }
            _ => start + 1,
        };
    }
}

/// What is below a folder.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// Every file that may hold values, journals last: the newest come last.
    pub(super) files: Vec<PathBuf>,
    /// Folders that cannot be listed, or not to their ends, and why.
    pub(super) unlisted: Vec<(PathBuf, io::Error)>,
}

/// Lists what is below `dir`.
///
/// # Errors
/// `dir` itself cannot be listed.
pub(super) fn list(dir: &Path, progress: Progress<'_>) -> io::Result<Listed> {
    let (mut listed, mut folders) = (Listed::default(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        let done = list_one(&folder, &mut listed.files, &mut folders);
        progress.step();
        if let Err(error) = done {
            if folder == dir {
                return Err(error);
            }
            listed.unlisted.push((folder, error));
        }
    }
    listed.files.sort_by_key(|path| {
        (
            path.extension().is_some_and(|end| end == "jnl"),
            path.clone(),
        )
    });
    Ok(listed)
}

/// Adds the files and folders right below `folder`, up to where it can be listed.
fn list_one(folder: &Path, files: &mut Vec<PathBuf>, folders: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            folders.push(entry.path());
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

/// Calls `found` with every intact value in the file at `path` and where it stands. What cannot be read is passed over.
///
/// # Errors
/// Those of `found`.
pub(super) fn scan<E>(
    path: &Path,
    progress: Progress<'_>,
    found: impl FnMut(u64, &Envelope<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let Ok(file) = progress.open(path) else {
        return Ok(());
    };
    let length = file.file.metadata().map_or(0, |meta| meta.len());
    scan_through(file, length, found)
}

/// As [`scan`], of the first `length` bytes of `file`. Each round gets on, or looks at a longer window once.
fn scan_through<E>(
    mut file: impl Read + Seek,
    length: u64,
    mut found: impl FnMut(u64, &Envelope<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let (mut at, mut want, mut window) = (0u64, WINDOW, Vec::new());
    while at < length {
        read_window(&mut file, at, want, &mut window);
        let reached = at + window.len() as u64;
        // Behind the window is what cannot be read, or the end: a value that reaches there is not whole.
        let cut = reached < length && window.len() < want;
        let whole = cut || reached >= length;
        let (mut place, mut short) = (0, None);
        while let Some(start) = envelope::find(&window, place) {
            match envelope::open(window.get(start..).unwrap_or_default()) {
                Opened::Value(envelope) => {
                    found(at + start as u64, &envelope)?;
                    place = start + envelope.bytes.len();
                }
                Opened::Short(length) if !whole => {
                    short = Some((start, length));
                    break;
                }
                _ => place = start + 1,
            }
        }
        (at, want) = match short {
            Some((start, length)) => (at + start as u64, length.max(WINDOW)),
            None if cut => ((reached / SECTOR + 1) * SECTOR, WINDOW),
            None => (reached, WINDOW),
        };
    }
    Ok(())
}

/// Fills `window` with up to `want` bytes from `at`: fewer where the file ends, or cannot be read.
fn read_window(file: &mut (impl Read + Seek), at: u64, want: usize, window: &mut Vec<u8>) {
    window.clear();
    if file.seek(SeekFrom::Start(at)).is_ok() {
        // What was read before a bad sector counts, and the error shows by what is missing.
        let _ = file.take(want as u64).read_to_end(window);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::ops::Range;

    use super::*;

    /// Bytes of which some cannot be read, as on a disk with bad sectors.
    struct Bad {
        bytes: Vec<u8>,
        at: usize,
        bad: Range<usize>,
    }

    impl Read for Bad {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.bad.contains(&self.at) {
                return Err(io::ErrorKind::Other.into());
            }
            let good = if self.at < self.bad.start {
                self.bad.start.min(self.bytes.len())
            } else {
                self.bytes.len()
            };
            let read = buffer.len().min(good - self.at);
            buffer[..read].copy_from_slice(&self.bytes[self.at..self.at + read]);
            self.at += read;
            Ok(read)
        }
    }

    impl Seek for Bad {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            let SeekFrom::Start(at) = to else {
                return Err(io::ErrorKind::Unsupported.into());
            };
            self.at = usize::try_from(at).unwrap();
            Ok(at)
        }
    }

    /// The keys found in values of `sizes` one behind the other, of which the bytes `bad` cannot be read.
    fn found(sizes: &[usize], bad: Range<usize>) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (key, &size) in sizes.iter().enumerate() {
            let key = [u8::try_from(key).unwrap()];
            bytes.extend(envelope::wrap(Kind::Cursor, &key, 1, &vec![7; size]));
        }
        let (length, mut keys) = (bytes.len() as u64, Vec::new());
        let file = Bad { bytes, at: 0, bad };
        let Ok(()) = scan_through(file, length, |_, value| {
            keys.push(value.key[0]);
            Ok::<(), Infallible>(())
        });
        keys
    }

    #[test]
    fn a_value_that_reaches_into_a_bad_sector_is_passed_over() {
        let whole = 0..0;
        assert_eq!(found(&[20_000, 9_000, 5], whole), [0, 1, 2]);
        assert_eq!(found(&[20_000, 9_000, 5], 4_096..8_192), [1, 2]);
        assert_eq!(found(&[100, 20_000, 9_000, 5], 4_096..8_192), [0, 2, 3]);
        assert_eq!(found(&[100, 200, 300], 0..100_000), [0u8; 0]);
        assert_eq!(found(&[100, 200, 5_000], 4_096..100_000), [0, 1]);
    }

    #[test]
    fn a_value_across_two_windows_is_found() {
        let sizes = [WINDOW - 1_000, 5_000, MAX, MAX, 10];
        assert_eq!(found(&sizes, 0..0), [0, 1, 2, 3, 4]);
        let behind = WINDOW + 2 * MAX;
        assert_eq!(
            found(&sizes, behind - 9_000..behind),
            [0, 1, 2, 4],
            "a large value at the start of its window reaches into what cannot be read"
        );
    }

    const MAX: usize = envelope::MAX_PAYLOAD;
}
