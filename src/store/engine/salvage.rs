//! Looks through files for our own values, whoever wrapped them in what.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::Kind;
use crate::store::envelope::{self, Envelope, Opened};

/// Values by kind and key, the newest generation of each, in their envelopes.
pub(super) type Saved = BTreeMap<(Kind, Vec<u8>), (u64, Vec<u8>)>;

/// How much of a file is looked at in one go.
const WINDOW: usize = 4 << 20;

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

/// Every file below `dir` that may hold values, journals last: the newest come last.
pub(super) fn files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let (mut files, mut folders) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                files.push(entry.path());
            }
        }
    }
    files.sort_by_key(|path| {
        (
            path.extension().is_some_and(|end| end == "jnl"),
            path.clone(),
        )
    });
    Ok(files)
}

/// Calls `found` with every intact value in the file at `path`. What cannot be read is passed over.
///
/// # Errors
/// Those of `found`.
pub(super) fn scan<E>(
    path: &Path,
    mut found: impl FnMut(&Envelope<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let Ok(mut file) = File::open(path) else {
        return Ok(());
    };
    let (mut at, mut want, mut window) = (0u64, WINDOW, Vec::new());
    loop {
        let Some(end) = read_window(&mut file, at, want, &mut window) else {
            at += 4096;
            continue;
        };
        let (mut place, mut short) = (0, None);
        while let Some(start) = envelope::find(&window, place) {
            match envelope::open(window.get(start..).unwrap_or_default()) {
                Opened::Value(envelope) => {
                    found(&envelope)?;
                    place = start + envelope.bytes.len();
                }
                // At the end of the file it stays short for ever.
                Opened::Short(length) if !end => {
                    short = Some((start, length));
                    break;
                }
                _ => place = start + 1,
            }
        }
        match short {
            _ if end => return Ok(()),
            Some((start, length)) => {
                at += start as u64;
                want = length.max(WINDOW);
            }
            None => {
                at += window.len() as u64;
                want = WINDOW;
            }
        }
    }
}

/// Fills `window` with up to `want` bytes from `at`; whether the file ends there. `None`: these bytes cannot be read.
fn read_window(file: &mut File, at: u64, want: usize, window: &mut Vec<u8>) -> Option<bool> {
    window.clear();
    let length = file.metadata().map(|meta| meta.len()).unwrap_or(0);
    if at >= length {
        return Some(true);
    }
    file.seek(SeekFrom::Start(at)).ok()?;
    match file.take(want as u64).read_to_end(window) {
        Ok(_) => Some(at + window.len() as u64 >= length),
        // A bad sector: what was read before it still counts.
        Err(_) if !window.is_empty() => Some(false),
        Err(_) => None,
    }
}
