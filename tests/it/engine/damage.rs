//! Damage to any file of an engine costs only what it hit.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use forebay::store::engine::fjall::FjallEngine;
use forebay::store::engine::{Engine, EngineError, Kind, Opening, Progress};

use super::{block, put};

/// A store with a file of every kind: tables, sealed and active journal, and 600 blocks that wait.
fn sample(dir: &Path) {
    let (engine, _) = FjallEngine::open(dir, Progress::UNWATCHED).unwrap();
    engine
        .append(
            vec![put(Kind::Schema, &7u32.to_be_bytes(), b"a schema", 1)],
            true,
        )
        .unwrap();
    for seq in 1..=600u64 {
        let cursor = put(Kind::Cursor, b"cloud", &seq.to_le_bytes(), seq);
        engine.append(vec![block(seq), cursor], false).unwrap();
    }
    engine.shrink().unwrap();
    engine.append(vec![block(601)], true).unwrap();
}

pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

pub(crate) fn files(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.path().is_dir() {
            files(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Damage {
    Cut,
    ZeroedPage,
    FlippedBit,
    Missing,
}

/// Damages `path` somewhere in what it holds; `false`: there is nothing to damage.
fn damage(path: &Path, kind: Damage, random: &mut fastrand::Rng) -> bool {
    let content = fs::read(path).unwrap();
    let used = content
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |last| last + 1);
    let file = OpenOptions::new().write(true).open(path).unwrap();
    if used == 0 {
        return false;
    }
    let at = random.usize(..used);
    match kind {
        Damage::Cut => file.set_len(at as u64).unwrap(),
        Damage::ZeroedPage => {
            let page = at / 4096 * 4096;
            file.write_all_at(&vec![0; 4096.min(used - page)], page as u64)
                .unwrap();
        }
        Damage::FlippedBit => file
            .write_all_at(&[content[at] ^ 1 << random.u8(..8)], at as u64)
            .unwrap(),
        Damage::Missing => fs::remove_file(path).unwrap(),
    }
    true
}

#[test]
fn damage_to_any_file_costs_only_what_it_hit() {
    let rounds = if std::env::var_os("FOREBAY_LONG").is_some() {
        60
    } else {
        1
    };
    let (sound, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    sample(sound.path());
    let mut paths = Vec::new();
    files(sound.path(), &mut paths);
    paths.sort();
    let mut random = fastrand::Rng::with_seed(20);
    let mut outcomes = std::collections::BTreeMap::<String, usize>::new();
    for round in 0..rounds {
        for path in &paths {
            for kind in [
                Damage::Cut,
                Damage::ZeroedPage,
                Damage::FlippedBit,
                Damage::Missing,
            ] {
                let name = path.strip_prefix(sound.path()).unwrap();
                let work = dir.path().join("work");
                copy(sound.path(), &work);
                if !damage(&work.join(name), kind, &mut random) {
                    continue;
                }
                let what = format!("round {round}: {kind:?} in {}", name.display());
                let (found, opening) = open_and_read(&work, &what);
                let lost = lost_at_most(name, kind);
                let missing = (1..=601u64)
                    .filter(|seq| found.binary_search(seq).is_err())
                    .count();
                assert!(
                    missing <= lost,
                    "{what}: {missing} blocks lost, at most {lost} were hit; {opening:?}"
                );
                let outcome = if opening.rebuilt.is_some() {
                    "rebuilt"
                } else if opening.cut > 0 {
                    "cut"
                } else {
                    "opened"
                };
                *outcomes.entry(format!("{kind:?} {outcome}")).or_default() += 1;
                fs::remove_dir_all(&work).unwrap();
            }
        }
    }
    println!("damage: {outcomes:?}");
}

/// Opens an engine and reads all its blocks, with a rebuild where that meets damage.
fn open_and_read(dir: &Path, what: &str) -> (Vec<u64>, Opening) {
    let (engine, opening) = FjallEngine::open(dir, Progress::UNWATCHED)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    match try_all(&engine) {
        Ok(found) => (found, opening),
        Err(EngineError::Damaged(why)) => {
            drop(engine);
            let (engine, opening) = FjallEngine::rebuild(dir, why, Progress::UNWATCHED).unwrap();
            (
                try_all(&engine).unwrap_or_else(|error| panic!("{what}: {error}")),
                opening,
            )
        }
        Err(error) => panic!("{what}: {error}"),
    }
}

fn try_all(engine: &dyn Engine) -> Result<Vec<u64>, EngineError> {
    engine.blocks(0).map(|block| Ok(block?.0)).collect()
}

/// A cut may take all blocks of the file behind it; a page or a bit hits two blocks at the most.
fn lost_at_most(name: &Path, kind: Damage) -> usize {
    let holds_blocks = name.extension().is_some_and(|end| end == "jnl")
        || name.components().any(|part| part.as_os_str() == "tables");
    match kind {
        _ if !holds_blocks => 0,
        Damage::Cut | Damage::Missing => 601,
        Damage::ZeroedPage | Damage::FlippedBit => 2,
    }
}

#[test]
fn a_rebuild_tells_of_each_block_that_it_puts() {
    const BLOCKS: u64 = 300;
    let dir = tempfile::tempdir().unwrap();
    let (engine, _) = FjallEngine::open(dir.path(), Progress::UNWATCHED).unwrap();
    engine
        .append((1..=BLOCKS).map(block).collect(), true)
        .unwrap();
    drop(engine);
    let steps = AtomicU64::new(0);
    let step = || {
        steps.fetch_add(1, Ordering::Relaxed);
    };
    let why = "for a test".to_owned();
    let (engine, _) = FjallEngine::rebuild(dir.path(), why, Progress::new(&step)).unwrap();
    assert_eq!(engine.last_block().unwrap().unwrap().0, BLOCKS);
    let steps = steps.load(Ordering::Relaxed);
    assert!(steps >= BLOCKS, "{steps}");
}
