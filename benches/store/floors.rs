//! The floors: the same bytes, as many records a sync, by the plainest means.

use std::fs::File;
use std::io::{Seek, Write};
use std::path::Path;

use fjall::{Database, KeyspaceCreateOptions, PersistMode};

use crate::figures::{Figures, Start};
use crate::plant::BYTES;

/// Appends to a file whose blocks are there already.
pub(crate) fn file(dir: &Path, batch: usize) -> Figures {
    let records = std::fs::read(dir.join("records")).unwrap();
    let mut file = File::create(dir.join("file")).unwrap();
    file.write_all(&vec![0; records.len()]).unwrap();
    file.sync_all().unwrap();
    file.rewind().unwrap();
    // Pages that stay in memory are counted by whole folios, however little of one is written.
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    let (start, mut syncs) = (Start::now(), 0);
    for bytes in records.chunks(batch * BYTES) {
        file.write_all(bytes).unwrap();
        file.sync_data().unwrap();
        syncs += 1;
    }
    start.end(records.len() / BYTES, syncs, start.elapsed())
}

/// fjall as it comes, an item a record. Its memtable becomes a table at 64 MiB, far behind the end of what is timed; the store's
/// do at 4 MiB, so that it writes tables beside what is timed.
pub(crate) fn one_item_a_record(dir: &Path, batch: usize) -> Figures {
    let records = std::fs::read(dir.join("records")).unwrap();
    let db = Database::builder(dir.join("db")).open().unwrap();
    let log = db.keyspace("log", KeyspaceCreateOptions::default).unwrap();
    let (start, mut syncs, mut seq) = (Start::now(), 0, 0u64);
    for bytes in records.chunks(batch * BYTES) {
        let mut writes = db.batch().durability(Some(PersistMode::SyncData));
        for record in bytes.chunks(BYTES) {
            seq += 1;
            writes.insert(&log, seq.to_be_bytes(), record);
        }
        writes.commit().unwrap();
        syncs += 1;
    }
    let elapsed = start.elapsed();
    // Otherwise the half that is written later would not be counted.
    log.rotate_memtable_and_wait().unwrap();
    start.end(records.len() / BYTES, syncs, elapsed)
}

/// SQLite by Python's module: write-ahead log, a sync a transaction, a row a record. Prints as [`Figures`] does.
pub(crate) const SQLITE: &str = r#"
import json, resource, sqlite3, sys, time
folder, batch = sys.argv[1], int(sys.argv[2])
data = open(folder + "/records", "rb").read()
rows = [(n, data[n * 200:n * 200 + 200]) for n in range(len(data) // 200)]
db = sqlite3.connect(folder + "/db", isolation_level=None)
db.execute("pragma journal_mode = wal")
db.execute("pragma synchronous = full")
db.execute("create table log (seq integer primary key, record blob)")
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
def written():
    return int(next(line.split()[1] for line in open("/proc/self/io") if line.startswith("write_bytes")))
start, before, wrote, syncs = time.monotonic(), cpu(), written(), 0
for first in range(0, len(rows), batch):
    db.execute("begin")
    db.executemany("insert into log values (?, ?)", rows[first:first + batch])
    db.execute("commit")
    syncs += 1
elapsed = time.monotonic() - start
db.execute("pragma wal_checkpoint(truncate)")
print(json.dumps({"records": len(rows), "syncs": syncs, "seconds": elapsed, "cpu": cpu() - before, "written": written() - wrote}))
"#;
