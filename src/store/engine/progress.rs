//! Signs that work which may rightly take long gets on, so that only a disk that hangs is taken for one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

use super::{Blocks, Engine, EngineError, Keyed, Kind, Write};

/// Learns of each step of an opening: a piece of a file that was read, a block that was read or written, a call of the
/// database that returned. An error is a step, too: the disk has answered.
///
/// What is between two steps takes less than a minute on any disk that works. The longest is the database's own opening,
/// which replays up to 64 MiB of journal.
#[derive(Clone, Copy)]
pub struct Progress<'a>(&'a (dyn Fn() + Sync));

impl<'a> Progress<'a> {
    /// Of work that nobody watches.
    pub const UNWATCHED: Progress<'static> = Progress(&|| ());

    /// Calls `step` with each step.
    pub fn new(step: &'a (dyn Fn() + Sync)) -> Self {
        Self(step)
    }

    /// Tells of a step.
    pub(in crate::store) fn step(self) {
        (self.0)();
    }

    /// Opens a file to be read; whatever is read from it then is a step.
    pub(super) fn open(self, path: &Path) -> io::Result<WatchedFile<'a>> {
        let opened = File::open(path);
        self.step();
        opened.map(|file| WatchedFile {
            file,
            progress: self,
        })
    }
}

/// A file of which each piece that is read is a step.
pub(super) struct WatchedFile<'a> {
    pub(super) file: File,
    progress: Progress<'a>,
}

impl Read for WatchedFile<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer);
        self.progress.step();
        read
    }
}

impl Seek for WatchedFile<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// An engine of which each call, and each block that is read, is a step.
pub(in crate::store) struct Watched<'a> {
    engine: &'a dyn Engine,
    progress: Progress<'a>,
}

impl<'a> Watched<'a> {
    pub(in crate::store) fn new(engine: &'a dyn Engine, progress: Progress<'a>) -> Self {
        Self { engine, progress }
    }

    fn step<T>(&self, done: T) -> T {
        self.progress.step();
        done
    }
}

impl Engine for Watched<'_> {
    fn append(&self, batch: Vec<Write>, durable: bool) -> Result<(), EngineError> {
        self.step(self.engine.append(batch, durable))
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.step(self.engine.sync())
    }

    fn blocks(&self, from: u64) -> Blocks<'_> {
        let blocks = self.engine.blocks(from);
        Box::new(blocks.inspect(|_| self.progress.step()))
    }

    fn last_block(&self) -> Result<Option<(u64, Vec<u8>)>, EngineError> {
        self.step(self.engine.last_block())
    }

    fn values(&self, kind: Kind) -> Result<Vec<Keyed>, EngineError> {
        self.step(self.engine.values(kind))
    }

    fn bytes_from(&self, key: u64) -> Result<u64, EngineError> {
        self.step(self.engine.bytes_from(key))
    }

    fn can_drop_below(&self, key: u64) -> Result<bool, EngineError> {
        self.step(self.engine.can_drop_below(key))
    }

    fn drop_below(&self, key: u64) -> Result<(), EngineError> {
        self.step(self.engine.drop_below(key))
    }

    fn shrink(&self) -> Result<(), EngineError> {
        self.step(self.engine.shrink())
    }

    fn unflushed(&self) -> u64 {
        self.engine.unflushed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::{preflight, salvage};
    use super::*;

    /// Steps that `work` makes.
    fn steps(work: impl FnOnce(Progress<'_>)) -> usize {
        let steps = AtomicUsize::new(0);
        let step = || {
            steps.fetch_add(1, Ordering::Relaxed);
        };
        work(Progress::new(&step));
        steps.into_inner()
    }

    #[test]
    fn whatever_reads_a_file_through_tells_of_each_piece() {
        const LENGTH: usize = 8 << 20;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("keyspaces")).unwrap();
        std::fs::write(dir.path().join("version"), b"FJL\x03").unwrap();
        let journal = dir.path().join("0.jnl");
        // A tag that is none, and no batch behind it: a torn end, which is looked through.
        std::fs::write(&journal, vec![7; LENGTH]).unwrap();
        let checked = steps(|progress| {
            let torn = preflight::torn(dir.path(), progress).unwrap();
            assert_eq!(torn, [(journal.clone(), 0)]);
        });
        assert!(checked >= LENGTH >> 17, "{checked}");
        let scanned = steps(|progress| {
            salvage::scan(&journal, progress, |_, _| Ok::<(), io::Error>(())).unwrap();
        });
        assert!(scanned > LENGTH >> 22, "{scanned}");
    }

    #[test]
    fn a_file_that_cannot_be_opened_is_a_step() {
        let missing = Path::new("/nowhere/at/all");
        assert_eq!(
            steps(|progress| assert!(progress.open(missing).is_err())),
            1
        );
    }
}
