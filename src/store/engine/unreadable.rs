//! A place in the engine's files that the disk does not read, while the rest of it can be read and written.

use std::fmt;
use std::fs;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::folders::LIVE;
use super::progress::Progress;
use super::{is_of_a_place, salvage};

/// How often a place is tried before it is taken for lost. A drive has tried for seconds by itself before it says so.
pub(in crate::store) const TRIES: u32 = 5;
/// Between two tries: a bus or a controller that was reset has come back by then.
const PAUSE: Duration = Duration::from_secs(2);
/// All tries together take so long at least; scans that come meanwhile wait in memory.
pub(in crate::store) const PATIENCE: Duration = Duration::from_secs(8);

/// Bytes that are read at once.
const WINDOW: usize = 1 << 20;

/// Which place in the files of the engine in `dir` cannot be read in any of [`TRIES`], where others can: a disk that reads
/// nothing is away as a whole, and comes back or not. Nor is it the disk where a folder may not be listed: that is for
/// people. Takes [`PATIENCE`], and as long as the disk takes to read the files.
pub(in crate::store) fn lasting(dir: &Path, progress: Progress<'_>) -> Option<String> {
    let mut listed = salvage::list(&dir.join(LIVE), progress).ok()?;
    if listed
        .unlisted
        .iter()
        .any(|(_, error)| !is_of_a_place(error))
    {
        return None;
    }
    let folder = listed.unlisted.pop().map(|(folder, _)| Bad::Folder(folder));
    let place = folder.or_else(|| listed.files.iter().find_map(|file| bad(file, progress)))?;
    if !place.stays(progress) {
        return None;
    }
    let others = (listed.files.iter()).any(|file| matches!(read_at(file, progress, 0), Ok(1..)));
    others.then(|| place.to_string())
}

/// Every file below `dir`, as [`salvage::list`] has them, without those in folders that cannot be listed in any of [`TRIES`].
///
/// # Errors
/// `dir` itself cannot be listed, or something in it may not be read: it is all there once that is mended.
pub(super) fn files(dir: &Path, progress: Progress<'_>) -> io::Result<Vec<PathBuf>> {
    let mut listed = salvage::list(dir, progress)?;
    for _ in 1..TRIES {
        if listed.unlisted.is_empty() {
            break;
        }
        std::thread::sleep(PAUSE);
        listed = salvage::list(dir, progress)?;
    }
    (listed.files.iter()).try_for_each(|file| may_be_read(file, progress))?;
    for (folder, error) in listed.unlisted {
        if !is_of_a_place(&error) {
            return Err(error);
        }
        log::error!("{}, and is passed over: {error}", Bad::Folder(folder));
    }
    Ok(listed.files)
}

/// That a file may be read, whether or not it can be.
fn may_be_read(path: &Path, progress: Progress<'_>) -> io::Result<()> {
    match progress.open(path) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let text = format!("{} may not be read: {error}", path.display());
            Err(io::Error::new(error.kind(), text))
        }
        _ => Ok(()),
    }
}

/// What cannot be read.
enum Bad {
    Byte(PathBuf, u64),
    Folder(PathBuf),
}

impl Bad {
    /// Whether it can be read in none of the further tries.
    fn stays(&self, progress: Progress<'_>) -> bool {
        let mut further = 1..TRIES;
        further.all(|_| {
            std::thread::sleep(PAUSE);
            !self.is_read(progress)
        })
    }

    fn is_read(&self, progress: Progress<'_>) -> bool {
        match self {
            Self::Byte(file, at) => read_at(file, progress, *at).is_ok(),
            Self::Folder(folder) => {
                let entries = fs::read_dir(folder);
                let read = entries.is_ok_and(|mut entries| entries.all(|entry| entry.is_ok()));
                progress.step();
                read
            }
        }
    }
}

impl fmt::Display for Bad {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Byte(file, at) => write!(f, "{} cannot be read at byte {at}", file.display()),
            Self::Folder(folder) => write!(f, "the folder {} cannot be listed", folder.display()),
        }
    }
}

/// The first place in a file that cannot be read.
fn bad(path: &Path, progress: Progress<'_>) -> Option<Bad> {
    let (mut at, mut window) = (0, Vec::with_capacity(WINDOW));
    let Ok(mut file) = progress.open(path) else {
        return Some(Bad::Byte(path.to_owned(), 0));
    };
    loop {
        window.clear();
        match file.by_ref().take(WINDOW as u64).read_to_end(&mut window) {
            Ok(0) => return None,
            Ok(read) => at += read as u64,
            Err(_) => return Some(Bad::Byte(path.to_owned(), at + window.len() as u64)),
        }
    }
}

/// Reads a byte; how many there were.
fn read_at(path: &Path, progress: Progress<'_>, at: u64) -> io::Result<usize> {
    let mut file = progress.open(path)?;
    file.seek(SeekFrom::Start(at))?;
    file.read(&mut [0])
}
