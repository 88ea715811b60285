//! Looks at fjall's files before fjall does, mends what can be mended, and says when it must not open them.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::xxh3_128;

use super::EngineError;
use super::journal::{self, Rest};
use super::progress::Progress;
use super::salvage;
use crate::store::envelope::MAX_PAYLOAD;

/// Most bytes of a torn batch that are looked through: of texts a hundred thousand readings may take half as much.
const MOST_TORN: u64 = 8 * MAX_PAYLOAD as u64;

/// What was cut off the journals, and saved from it.
#[derive(Debug, Default)]
pub(super) struct Cut {
    /// Bytes cut off; 0: the journals were whole.
    pub(super) bytes: u64,
    /// Intact values in what was cut off, as they stood: `(kind and key, value)`.
    pub(super) saved: salvage::Saved,
}

/// Checks the database in `dir` and cuts torn ends off its journals, after `before_cut`.
///
/// # Errors
/// [`EngineError::Damaged`] where fjall would refuse, lose or invent something; nothing was changed then.
pub(super) fn check(
    dir: &Path,
    progress: Progress<'_>,
    before_cut: impl Fn() -> io::Result<()>,
) -> Result<Cut, EngineError> {
    let torn = torn(dir, progress)?;
    let mut cut = Cut::default();
    if !torn.is_empty() {
        before_cut()?;
    }
    for (path, whole) in torn {
        cut_tail(&path, progress, whole, &mut cut)?;
    }
    Ok(cut)
}

/// Checks the database in `dir` and changes nothing: the journals with a torn end, and up to where each is whole.
///
/// # Errors
/// As [`check`].
pub(super) fn torn(dir: &Path, progress: Progress<'_>) -> Result<Vec<(PathBuf, u64)>, EngineError> {
    let marker = fs::read(dir.join("version"))?;
    if marker != *b"FJL\x03" {
        return Err(EngineError::Damaged("the marker `version`".to_owned()));
    }
    for keyspace in fs::read_dir(dir.join("keyspaces"))? {
        let keyspace = keyspace?.path();
        if keyspace.is_dir() {
            check_version(&keyspace)?;
        }
    }
    let mut torn = Vec::new();
    for path in journals(dir)? {
        let found = journal::verify(&path, progress)?;
        match found.rest {
            Rest::Empty => (),
            Rest::Torn => torn.push((path, found.whole)),
            Rest::Broken => {
                return Err(EngineError::Damaged(format!(
                    "{} has a damaged batch",
                    path.display()
                )));
            }
        }
    }
    Ok(torn)
}

/// The journals of a database, oldest first.
fn journals(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        let number = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .and_then(|stem| stem.parse::<u64>().ok());
        if let (Some(number), true) = (number, path.extension().is_some_and(|end| end == "jnl")) {
            found.push((number, path));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, path)| path).collect())
}

/// Checks the list of tables of a keyspace against the checksum that stands beside its number. fjall does not, and
/// deletes every table that a damaged list does not name.
fn check_version(keyspace: &Path) -> Result<(), EngineError> {
    let damaged = |what: &str| EngineError::Damaged(format!("{}: {what}", keyspace.display()));
    let current = match fs::read(keyspace.join("current")) {
        Ok(current) => current,
        // A keyspace whose making was interrupted; it holds nothing.
        Err(error) if error.kind() == io::ErrorKind::NotFound && no_tables(keyspace)? => {
            return Ok(());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged("`current` is missing"));
        }
        Err(error) => return Err(error.into()),
    };
    let parts = (current.get(..8), current.get(8..24), current.get(24..));
    let (Some(number), Some(sum), Some([0])) = parts else {
        return Err(damaged("`current`"));
    };
    let number = number.try_into().map_or(u64::MAX, u64::from_le_bytes);
    let version = match fs::read(keyspace.join(format!("v{number}"))) {
        Ok(version) => version,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(damaged("its list of tables is missing"));
        }
        Err(error) => return Err(error.into()),
    };
    if xxh3_128(&version).to_le_bytes() != sum {
        return Err(damaged("its list of tables"));
    }
    Ok(())
}

fn no_tables(keyspace: &Path) -> io::Result<bool> {
    match fs::read_dir(keyspace.join("tables")) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn cut_tail(
    path: &Path,
    progress: Progress<'_>,
    whole: u64,
    cut: &mut Cut,
) -> Result<(), EngineError> {
    let mut tail = Vec::new();
    let mut file = progress.open(path)?;
    file.seek(SeekFrom::Start(whole))?;
    // A batch is a few blocks and its notes; more than this cannot be one that was torn.
    file.take(MOST_TORN).read_to_end(&mut tail)?;
    while tail.last() == Some(&0) {
        tail.pop();
    }
    salvage::collect(&tail, &mut cut.saved);
    cut.bytes = cut.bytes.saturating_add(tail.len() as u64);
    let file = OpenOptions::new().write(true).open(path)?;
    file.set_len(whole)?;
    file.sync_all()?;
    Ok(())
}
