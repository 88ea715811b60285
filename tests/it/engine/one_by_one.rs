//! Blocks come from the disk one by one, as they are asked for.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use forebay::store::engine::fjall::FjallEngine;
use forebay::store::engine::{Engine, EngineError, Kind, MemoryEngine, Progress, Write};

use super::damage::files;
use super::{block, put};

/// 12 MB in blocks 10 apart: the first ones are in a table when the last are appended.
fn fill(engine: &dyn Engine) {
    for seq in 1..=600u64 {
        engine.append(vec![block(seq * 10)], false).unwrap();
    }
}

fn removal(seq: u64) -> Write {
    Write {
        value: None,
        ..block(seq)
    }
}

fn keys(engine: &dyn Engine, from: u64) -> Vec<u64> {
    let blocks = engine.blocks(from).take(3);
    blocks.map(|block| block.unwrap().0).collect()
}

/// Changes a byte of a block in the table that it is in.
fn damage(dir: &Path, seq: u64) {
    let value = block(seq).value.unwrap();
    let mut paths = Vec::new();
    files(dir, &mut paths);
    paths.retain(|path| path.components().any(|part| part.as_os_str() == "tables"));
    let found = paths.iter().find_map(|path| {
        let content = fs::read(path).unwrap();
        let at = content
            .windows(value.len())
            .position(|part| part == value)?;
        Some((path, at))
    });
    let (path, at) = found.expect("it is in a table");
    let file = OpenOptions::new().write(true).open(path).unwrap();
    let middle = value.len() / 2;
    file.write_all_at(&[!value[middle]], (at + middle) as u64)
        .unwrap();
}

#[test]
fn damage_is_met_where_it_is_read_and_nothing_comes_behind_it() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = FjallEngine::open(dir.path(), Progress::UNWATCHED).unwrap();
    fill(&engine);
    engine.sync().unwrap();
    drop(engine);
    damage(dir.path(), 1000);
    let (engine, opening) = FjallEngine::open(dir.path(), Progress::UNWATCHED).unwrap();
    assert!(opening.rebuilt.is_none(), "{opening:?}");
    let mut blocks = engine.blocks(990);
    let (key, value) = blocks.next().unwrap().unwrap();
    assert_eq!((key, Some(value)), (990, block(990).value));
    assert!(matches!(blocks.next(), Some(Err(EngineError::Damaged(_)))));
    assert!(blocks.next().is_none());
    assert_eq!(keys(&engine, 1010), [1010, 1020, 1030]);
}

#[test]
fn what_was_taken_out_or_put_between_is_seen_from_wherever_one_reads() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, _) = FjallEngine::open(dir.path(), Progress::UNWATCHED).unwrap();
    for engine in [&disk as &dyn Engine, &MemoryEngine::new()] {
        fill(engine);
        assert_eq!(keys(engine, 1004), [1000, 1010, 1020]);
        engine
            .append(vec![removal(1000), removal(990), block(1015)], true)
            .unwrap();
        for from in [980, 989, 990, 1000, 1004, 1009] {
            assert_eq!(keys(engine, from), [980, 1010, 1015], "from {from}");
        }
        assert_eq!(keys(engine, 1019), [1015, 1020, 1030]);
        engine
            .append(vec![removal(1015), block(990)], true)
            .unwrap();
        assert_eq!(keys(engine, 1009), [990, 1010, 1020]);
        assert_eq!(keys(engine, 1019), [1010, 1020, 1030]);
        engine.append(vec![removal(10)], true).unwrap();
        assert_eq!(keys(engine, 15), [20, 30, 40], "nothing is below");
        assert_eq!(keys(engine, u64::MAX), [6000]);
        let last = engine.last_block().unwrap().unwrap();
        assert_eq!((last.0, Some(last.1)), (6000, block(6000).value));
    }
    let newer = put(Kind::Block, &2000u64.to_be_bytes(), b"written anew", 2);
    disk.append(vec![newer.clone()], true).unwrap();
    for from in [2000, 2009] {
        let (key, value) = disk.blocks(from).next().unwrap().unwrap();
        assert_eq!((key, Some(value)), (2000, newer.value.clone()));
    }
}

#[test]
fn who_goes_through_the_blocks_sees_each_that_stays_whatever_comes_and_goes_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (disk, _) = FjallEngine::open(dir.path(), Progress::UNWATCHED).unwrap();
    for engine in [&disk as &dyn Engine, &MemoryEngine::new()] {
        fill(engine);
        let mut seen = Vec::new();
        let mut blocks = engine.blocks(0);
        for n in 0..600u64 {
            let (key, _) = blocks.next().unwrap().unwrap();
            seen.push(key);
            if n % 100 == 0 {
                // Tables are written of these, and those of the oldest go.
                for seq in 1..=200 {
                    engine
                        .append(vec![block(10_000 + n * 10 + seq)], false)
                        .unwrap();
                }
                engine.drop_below(key).unwrap();
            }
        }
        assert_eq!(seen, (1..=600).map(|seq| seq * 10).collect::<Vec<_>>());
    }
}
