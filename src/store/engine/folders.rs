//! The folders of an engine on disk, and how one takes the place of another so that an end at any instant is resumed.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The engine in use.
pub(super) const LIVE: &str = "engine";
/// One that is being made: a power cut meanwhile would leave it unable to open.
pub(super) const NEW: &str = "engine.new";
/// One whose values are being moved into a new one.
pub(super) const DAMAGED: &str = "engine.damaged";
/// There while something was cut or rebuilt and nobody has taken note of it yet.
const CHANGED: &str = "engine.changed";
/// For people, in the folder of a damaged engine: why it was given up, and what was taken over.
const REPORT: &str = "report.txt";

/// Moves what is left of a damaged engine aside. It stands beside a live one only once that one is whole.
pub(super) fn quarantine(dir: &Path) -> io::Result<Option<PathBuf>> {
    let damaged = dir.join(DAMAGED);
    if !damaged.exists() {
        return Ok(None);
    }
    let folder = dir.join("quarantine");
    fs::create_dir_all(&folder)?;
    let taken = (1u32..)
        .map(|n| folder.join(n.to_string()))
        .find(|path| !path.exists());
    let target = taken.unwrap_or_else(|| folder.join("0"));
    fs::rename(&damaged, &target)?;
    sync_folder(&folder)?;
    sync_folder(dir)?;
    Ok(Some(target))
}

/// Adds a line to what is told of a damaged engine in its own folder. The store does without where that cannot be written.
pub(super) fn report(damaged: &Path, line: &str) {
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .open(damaged.join(REPORT));
    let written = file.and_then(|mut file| writeln!(file, "{line}"));
    if let Err(error) = written {
        log::warn!(
            "the report in {} cannot be written: {error}",
            damaged.display()
        );
    }
}

/// Whether a damaged engine has a report already.
pub(super) fn is_reported(damaged: &Path) -> bool {
    damaged.join(REPORT).exists()
}

/// Notes that something is about to be cut or rebuilt.
pub(super) fn mark_changed(dir: &Path) -> io::Result<()> {
    File::create(dir.join(CHANGED))?.sync_all()?;
    sync_folder(dir)
}

/// Makes names in a folder durable.
pub(super) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Whether something was cut or rebuilt, and nobody has taken note of it.
pub(super) fn is_changed(dir: &Path) -> bool {
    dir.join(CHANGED).exists()
}

/// Notes that it was taken note of.
pub(super) fn settled(dir: &Path) -> io::Result<()> {
    match fs::remove_file(dir.join(CHANGED)) {
        Ok(()) => sync_folder(dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}
