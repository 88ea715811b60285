//! The engine on disk. This file and its folder alone name fjall; how it is driven, and why, stands at each place.

mod errors;
mod look;
mod making;
mod one_by_one;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fjall::config::{BlockSizePolicy, CompressionPolicy, FilterPolicy};
use fjall::{
    AbstractTree, CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode,
};

use super::folders::{DAMAGED, LIVE, is_changed, mark_changed, quarantine, settled};
use super::memory::number;
use super::{
    Blocks, Engine, EngineError, Keyed, Kind, Opening, Progress, Write, preflight, salvage,
};
use crate::store::envelope;
use errors::{guarded, is_of_the_disk};

/// Options of a keyspace are fixed when it is made, so the name carries their version.
const BLOCKS: &str = "blocks.v1";
const NOTES: &str = "notes.v1";
/// A memtable becomes a table when it has grown to this.
const MEMTABLE: u64 = 4 << 20;
/// The notes are few; their memtable must turn over before the journal has grown by much, or it pins the journals.
const NOTES_JOURNAL: u64 = 24 << 20;
/// How long a flush in progress may hold up the writer before the engine is given up.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);

/// An open fjall database.
pub struct FjallEngine {
    db: Database,
    blocks: Keyspace,
    notes: Keyspace,
    /// Bytes put since the notes last turned over.
    since_notes: AtomicU64,
}

impl FjallEngine {
    /// Opens the engine in `dir`, or makes one; mends or rebuilds it where it is damaged. `progress` learns that it gets on.
    ///
    /// The caller holds a lock on `dir`.
    ///
    /// # Errors
    /// [`EngineError::Disk`] where the disk cannot be read or written. Damage is no error: it is told in [`Opening`].
    pub fn open(dir: &Path, progress: Progress<'_>) -> Result<(Self, Opening), EngineError> {
        let live = dir.join(LIVE);
        if !live.exists() && !dir.join(DAMAGED).exists() {
            let engine = Self::create(dir, progress)?;
            return Ok((
                engine,
                Opening {
                    new: true,
                    ..Opening::default()
                },
            ));
        }
        if dir.join(DAMAGED).exists() && !live.exists() {
            let why = "an earlier rebuild was interrupted".to_owned();
            return Self::rebuild(dir, why, progress);
        }
        match preflight::check(&live, progress, || mark_changed(dir))
            .and_then(|cut| Ok((Self::open_live(&live, progress)?, cut)))
        {
            Ok((engine, mut cut)) => {
                // What moved a cursor may not have been saved with it: an older one only repeats.
                cut.saved.retain(|(kind, _), _| *kind != Kind::Cursor);
                engine.put_back(&cut.saved)?;
                let quarantine = quarantine(dir)?;
                // An earlier run may have cut something, and ended before that was noted.
                let cut = if is_changed(dir) { cut.bytes.max(1) } else { 0 };
                Ok((
                    engine,
                    Opening {
                        cut,
                        quarantine,
                        ..Opening::default()
                    },
                ))
            }
            Err(EngineError::Disk(error)) if is_of_the_disk(&error) => Err(error.into()),
            Err(EngineError::Locked(path)) => Err(EngineError::Locked(path)),
            Err(error) => Self::rebuild(dir, error.to_string(), progress),
        }
    }

    /// To be called once what [`Opening`] tells is noted in the engine: until then every opening tells it again.
    ///
    /// # Errors
    /// [`EngineError::Disk`].
    pub fn settle(dir: &Path) -> Result<(), EngineError> {
        Ok(settled(dir)?)
    }

    fn open_live(path: &Path, progress: Progress<'_>) -> Result<Self, EngineError> {
        progress.step();
        let opened = guarded(|| {
            let db = Database::builder(path)
                .cache_size(2 << 20)
                .max_cached_files(Some(64))
                // With more than one, the first spins while another compacts.
                .worker_threads(1)
                .max_journaling_size(64 << 20)
                // A failed decompression is taken for the end of the journal; blocks come compressed anyway.
                .journal_compression(CompressionType::None)
                .open()?;
            let blocks = db.keyspace(BLOCKS, || {
                options().data_block_size_policy(BlockSizePolicy::all(16 << 10))
            })?;
            let notes = db.keyspace(NOTES, options)?;
            Ok(Self {
                db,
                blocks,
                notes,
                since_notes: AtomicU64::new(0),
            })
        });
        progress.step();
        opened
    }

    /// Puts values that were found back; newer ones that are there stay.
    fn put_back(&self, saved: &salvage::Saved) -> Result<(), EngineError> {
        let mut batch = Vec::new();
        for ((kind, key), (generation, value)) in saved {
            let known = guarded(|| Ok(self.keyspace(*kind).get(place(*kind, key))?))?;
            if known.is_none_or(|known| {
                envelope::exactly(&known).is_none_or(|known| known.generation < *generation)
            }) {
                batch.push(Write {
                    kind: *kind,
                    key: key.clone(),
                    value: Some(value.clone()),
                });
            }
        }
        if batch.is_empty() {
            Ok(())
        } else {
            self.append(batch, true)
        }
    }

    /// Only whole tables go, and never the newest: what has been flushed is known from the tables that exist, and
    /// without any the whole journal would be replayed into memory at the next open.
    fn droppable_end(&self, key: u64) -> Result<u64, EngineError> {
        guarded(|| {
            let version = self.blocks.tree.current_version();
            let newest = version
                .iter_tables()
                .max_by_key(|table| table.get_highest_seqno());
            let newest = newest
                .map(|table| number(table.metadata.key_range.min()))
                .transpose()?;
            Ok(newest.map_or(0, |newest| newest.min(key)))
        })
    }

    fn keyspace(&self, kind: Kind) -> &Keyspace {
        if kind == Kind::Block {
            &self.blocks
        } else {
            &self.notes
        }
    }

    /// Turns memtables into tables. fjall must not do it by itself: its worker can send to its own full mailbox and
    /// hang for ever, so the limit it knows is infinite.
    fn turn_over(&self) -> Result<(), EngineError> {
        if guarded(|| Ok(self.blocks.tree.active_memtable().size()))? > MEMTABLE {
            self.rotate(&self.blocks)?;
        }
        if self.since_notes.load(Ordering::Relaxed) > NOTES_JOURNAL {
            self.since_notes.store(0, Ordering::Relaxed);
            self.rotate(&self.notes)?;
        }
        Ok(())
    }

    /// At most one table of each keyspace is being written while the next fills: that bounds the memory.
    fn rotate(&self, keyspace: &Keyspace) -> Result<(), EngineError> {
        let start = Instant::now();
        while guarded(|| Ok(keyspace.tree.sealed_memtable_count()))? > 0 {
            if start.elapsed() > FLUSH_PATIENCE
                || guarded(|| Ok(self.db.persist(PersistMode::Buffer)?)).is_err()
            {
                return Err(EngineError::Stopped(
                    "a table is not getting written".to_owned(),
                ));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        guarded(|| Ok(keyspace.rotate_memtable().map(drop)?))
    }
}

impl Engine for FjallEngine {
    fn append(&self, batch: Vec<Write>, durable: bool) -> Result<(), EngineError> {
        let mode = if durable {
            PersistMode::SyncData
        } else {
            PersistMode::Buffer
        };
        let bytes: usize = batch
            .iter()
            .map(|write| write.value.as_ref().map_or(0, Vec::len))
            .sum();
        guarded(|| {
            let mut writes = self.db.batch().durability(Some(mode));
            for write in batch {
                let (keyspace, key) = (self.keyspace(write.kind), place(write.kind, &write.key));
                match write.value {
                    Some(value) => writes.insert(keyspace, key, value),
                    None => writes.remove(keyspace, key),
                }
            }
            Ok(writes.commit()?)
        })?;
        self.since_notes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.turn_over()
    }

    fn sync(&self) -> Result<(), EngineError> {
        guarded(|| Ok(self.db.persist(PersistMode::SyncData)?))
    }

    fn blocks(&self, from: u64) -> Blocks<'_> {
        self.blocks_from(from)
    }

    fn values(&self, kind: Kind) -> Result<Vec<Keyed>, EngineError> {
        guarded(|| {
            let mut found = Vec::new();
            for guard in self.notes.prefix([kind as u8]) {
                let (key, value) = guard.into_inner()?;
                found.push((key.get(1..).unwrap_or_default().to_vec(), value.to_vec()));
            }
            Ok(found)
        })
    }

    fn bytes_from(&self, key: u64) -> Result<u64, EngineError> {
        self.about_bytes_from(key)
    }

    fn can_drop_below(&self, key: u64) -> Result<bool, EngineError> {
        let end = self.droppable_end(key)?.to_be_bytes();
        guarded(|| {
            let version = self.blocks.tree.current_version();
            Ok(version
                .iter_tables()
                .any(|table| **table.metadata.key_range.max() < end[..]))
        })
    }

    fn drop_below(&self, key: u64) -> Result<(), EngineError> {
        let end = self.droppable_end(key)?;
        guarded(|| Ok(self.blocks.tree.drop_range(..end.to_be_bytes())?))
    }

    /// The files of dropped tables go with the second turn-over of any memtable that is not empty.
    fn shrink(&self) -> Result<(), EngineError> {
        for _ in 0..2 {
            let nudge = || {
                let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
                batch.insert(&self.notes, [0], [0]);
                Ok(batch.commit()?)
            };
            guarded(nudge)?;
            self.rotate(&self.notes)?;
        }
        Ok(())
    }

    fn unflushed(&self) -> u64 {
        guarded(|| Ok(self.blocks.tree.active_memtable().size())).unwrap_or(0)
    }
}

fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default()
        .max_memtable_size(u64::MAX)
        .data_block_compression_policy(CompressionPolicy::disabled())
        .index_block_compression_policy(CompressionPolicy::disabled())
        .filter_policy(FilterPolicy::disabled())
        .expect_point_read_hits(true)
}

/// Where a value stands in its keyspace: the notes share one, told apart by their first byte.
fn place(kind: Kind, key: &[u8]) -> Vec<u8> {
    if kind == Kind::Block {
        return key.to_vec();
    }
    let mut place = Vec::with_capacity(key.len() + 1);
    place.push(kind as u8);
    place.extend_from_slice(key);
    place
}
