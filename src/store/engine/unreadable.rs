//! A place in the engine's files that the disk does not read, while the rest of it can be read and written.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use super::folders::LIVE;
use super::salvage;

/// How often a place is tried before it is taken for lost. A drive has tried for seconds by itself before it says so.
pub(in crate::store) const TRIES: u32 = 5;
/// Between two tries: a bus or a controller that was reset has come back by then.
const PAUSE: Duration = Duration::from_secs(2);
/// All tries together take so long at least; scans that come meanwhile wait in memory.
pub(in crate::store) const PATIENCE: Duration = Duration::from_secs(8);

/// Bytes that are read at once.
const WINDOW: usize = 1 << 20;

/// Which place in the files of the engine in `dir` cannot be read in any of [`TRIES`], where others can: a disk that reads
/// nothing is away as a whole, and comes back or not. Takes [`PATIENCE`], and as long as the disk takes to read the files.
pub(in crate::store) fn lasting(dir: &Path) -> Option<String> {
    let files = salvage::files(&dir.join(LIVE)).ok()?;
    let (file, at) = files.iter().find_map(|file| Some((file, bad(file)?)))?;
    for _ in 1..TRIES {
        std::thread::sleep(PAUSE);
        read_at(file, at).err()?;
    }
    let others = files.iter().any(|file| matches!(read_at(file, 0), Ok(1..)));
    others.then(|| format!("{} cannot be read at byte {at}", file.display()))
}

/// The first place in a file that cannot be read.
fn bad(path: &Path) -> Option<u64> {
    let (mut at, mut window) = (0, Vec::with_capacity(WINDOW));
    let Ok(mut file) = File::open(path) else {
        return Some(0);
    };
    loop {
        window.clear();
        match file.by_ref().take(WINDOW as u64).read_to_end(&mut window) {
            Ok(0) => return None,
            Ok(read) => at += read as u64,
            Err(_) => return Some(at + window.len() as u64),
        }
    }
}

/// Reads a byte; how many there were.
fn read_at(path: &Path, at: u64) -> io::Result<usize> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(at))?;
    file.read(&mut [0])
}
