//! The engine below the store: small and fast to open after anything, and what is intact survives damage.

pub(crate) mod damage;
mod one_by_one;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use forebay::store::engine::fjall::FjallEngine;
use forebay::store::engine::{Engine, EngineError, Kind, MemoryEngine, Progress, Write};
use forebay::store::envelope;

const BLOCK: usize = 20_000;
/// How many blocks wait to be confirmed: 20 MB.
const BACKLOG: u64 = 1000;
const CHILD: &str = "FOREBAY_TEST_ENGINE_DIR";
/// How long anything that must happen may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn block(seq: u64) -> Write {
    let mut payload = vec![0u8; BLOCK];
    let mut random = fastrand::Rng::with_seed(seq);
    random.fill(&mut payload);
    put(Kind::Block, &seq.to_be_bytes(), &payload, seq)
}

fn put(kind: Kind, key: &[u8], payload: &[u8], generation: u64) -> Write {
    Write {
        kind,
        key: key.to_vec(),
        value: Some(envelope::wrap(kind, key, generation, payload)),
    }
}

fn all(engine: &dyn Engine, from: u64) -> Vec<u64> {
    let blocks = engine.blocks(from).map(Result::unwrap);
    let blocks = blocks.filter(|(seq, _)| *seq >= from);
    let check = |(seq, value)| {
        assert_eq!(Some(value), block(seq).value, "block {seq}");
        seq
    };
    blocks.map(check).collect()
}

/// What both forms do.
fn suite(engine: &dyn Engine) -> Result<(), EngineError> {
    assert!(engine.blocks(0).next().is_none() && engine.last_block()?.is_none());
    for seq in 1..=500u64 {
        let cursor = put(Kind::Cursor, b"cloud", &seq.to_le_bytes(), seq);
        engine.append(vec![block(seq * 10), cursor], seq % 50 == 0)?;
    }
    let expected: Vec<u64> = (1..=500).map(|seq| seq * 10).collect();
    assert_eq!(all(engine, 0), expected);
    let keys = |from| -> Result<Vec<u64>, EngineError> {
        let blocks = engine.blocks(from).take(3);
        blocks.map(|block| Ok(block?.0)).collect()
    };
    assert_eq!(
        keys(1234)?,
        [1230, 1240, 1250],
        "the block that covers it, and the next"
    );
    assert_eq!(keys(1230)?, [1230, 1240, 1250]);
    assert_eq!(keys(0)?, [10, 20, 30], "nothing is below");
    assert_eq!(keys(9999)?, [5000], "the last one covers all that follows");
    assert_eq!(engine.last_block()?.map(|(key, _)| key), Some(5000));
    let cursors = engine.values(Kind::Cursor)?;
    let [(name, value)] = &cursors[..] else {
        panic!("{cursors:?}")
    };
    assert_eq!(name, b"cloud");
    assert_eq!(
        envelope::exactly(value).unwrap().payload,
        500u64.to_le_bytes()
    );

    // The newest table stays: on a loaded machine the next one may still be getting written.
    let start = Instant::now();
    while !engine.can_drop_below(3000)? {
        assert!(start.elapsed() < PATIENCE, "no table can go");
        std::thread::sleep(Duration::from_millis(1));
    }
    engine.drop_below(3000)?;
    engine.shrink()?;
    let left = all(engine, 0);
    assert!(
        left.ends_with(&expected[299..]),
        "nothing at or above the bound goes"
    );
    assert!(left.len() < 500, "something below it went");
    engine.append(
        vec![Write {
            kind: Kind::Cursor,
            key: b"cloud".to_vec(),
            value: None,
        }],
        true,
    )?;
    assert!(engine.values(Kind::Cursor)?.is_empty());
    engine.drop_below(u64::MAX)?;
    engine.append(vec![block(5010)], true)?;
    assert_eq!(engine.last_block()?.map(|(key, _)| key), Some(5010));
    engine.sync()
}

#[test]
fn memory_and_disk_do_the_same() {
    suite(&MemoryEngine::new()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    suite(
        &FjallEngine::open(dir.path(), Progress::UNWATCHED)
            .unwrap()
            .0,
    )
    .unwrap();
    let (engine, opening) = FjallEngine::open(dir.path(), Progress::UNWATCHED).unwrap();
    assert!(
        !opening.new && opening.cut == 0 && opening.rebuilt.is_none(),
        "{opening:?}"
    );
    assert_eq!(engine.last_block().unwrap().unwrap().0, 5010);
}

/// Runs in a process of its own, which gets killed: appends blocks, drops confirmed ones, says how far it is.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let start = Instant::now();
    let (engine, opening) = FjallEngine::open(Path::new(&dir), Progress::UNWATCHED).unwrap();
    let mut out = std::io::stdout();
    writeln!(
        out,
        "\nopen {} {}",
        start.elapsed().as_micros(),
        opening.rebuilt.is_some()
    )
    .unwrap();
    let mut seq = engine.last_block().unwrap().map_or(0, |(key, _)| key);
    loop {
        let mut batch = vec![block(seq + 1)];
        batch.push(put(
            Kind::Cursor,
            b"cloud",
            &seq.saturating_sub(BACKLOG).to_le_bytes(),
            seq,
        ));
        engine.append(batch, seq % 10 == 0).unwrap();
        seq += 1;
        if seq % 200 == 0 {
            engine.drop_below(seq.saturating_sub(BACKLOG)).unwrap();
        }
        if seq % 100 == 0 {
            writeln!(out, "done {seq}").unwrap();
            out.flush().unwrap();
        }
        if dir_asks_for_rest(&dir) {
            engine.drop_below(seq).unwrap();
            engine.shrink().unwrap();
            writeln!(out, "resting {seq}").unwrap();
            loop {
                std::thread::park();
            }
        }
    }
}

fn dir_asks_for_rest(dir: &str) -> bool {
    Path::new(dir).join("rest").exists()
}

struct Running {
    process: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
    opened_in: Duration,
}

impl Running {
    fn start(dir: &Path) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "engine::child", "--nocapture"])
            .env(CHILD, dir)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let open = lines
            .by_ref()
            .map(Result::unwrap)
            .find(|line| line.starts_with("open "))
            .expect("it opens");
        let micros = open.split(' ').nth(1).unwrap().parse().unwrap();
        Self {
            process,
            lines,
            opened_in: Duration::from_micros(micros),
        }
    }

    fn until(&mut self, word: &str, at_least: u64) -> u64 {
        for line in self.lines.by_ref().map(Result::unwrap) {
            if let Some(number) = line.strip_prefix(word) {
                let number = number.trim().parse().unwrap();
                if number >= at_least {
                    return number;
                }
            }
        }
        panic!("the child ended before {word} {at_least}");
    }

    fn kibibytes(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn switches(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.process.id())).unwrap();
        tasks
            .map(|task| fs::read_to_string(task.unwrap().path().join("status")).unwrap())
            .map(|status| {
                let line = status
                    .lines()
                    .find(|line| line.starts_with("voluntary"))
                    .unwrap();
                line.split_whitespace()
                    .nth(1)
                    .unwrap()
                    .parse::<u64>()
                    .unwrap()
            })
            .sum()
    }

    /// In two seconds, once what was going on has come to its end.
    fn wakeups_at_rest(&self) -> u64 {
        let mut least = u64::MAX;
        for _ in 0..5 {
            let before = self.switches();
            std::thread::sleep(Duration::from_secs(2));
            least = least.min(self.switches() - before);
            if least == 0 {
                break;
            }
        }
        least
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn allocated(dir: &Path) -> u64 {
    let mut bytes = 0;
    for entry in fs::read_dir(dir).unwrap().flatten() {
        // Tables come and go while this looks.
        let Ok(meta) = entry.metadata() else { continue };
        bytes += if meta.is_dir() {
            allocated(&entry.path())
        } else {
            meta.blocks() * 512
        };
    }
    bytes
}

#[test]
fn is_small_and_fast_to_open_after_each_kill() {
    let long = std::env::var_os("FOREBAY_LONG").is_some();
    let total = if long { 1_000_000_000 } else { 150_000_000u64 } / BLOCK as u64;
    let (step, dir) = (50_000_000 / BLOCK as u64, tempfile::tempdir().unwrap());
    let (mut seen, mut rss, mut disk, mut opens) = (0, 0, 0, Vec::new());
    while seen < total {
        let mut child = Running::start(dir.path());
        opens.push(child.opened_in);
        let next = seen + step;
        while seen < next {
            seen = child.until("done", seen + 1);
            rss = rss.max(child.kibibytes("VmRSS"));
            if seen.is_multiple_of(500) {
                disk = disk.max(allocated(dir.path()));
            }
        }
        child.kill();
    }
    let start = Instant::now();
    let (engine, opening) = FjallEngine::open(dir.path(), Progress::UNWATCHED).unwrap();
    opens.push(start.elapsed());
    assert!(opening.rebuilt.is_none(), "{opening:?}");
    let left = all(&engine, seen - BACKLOG + 1);
    assert!(
        left.len() as u64 >= BACKLOG && left.is_sorted_by(|a, b| a + 1 == *b),
        "no hole: {} blocks",
        left.len()
    );
    drop(engine);

    File::create(dir.path().join("rest")).unwrap();
    let mut child = Running::start(dir.path());
    child.until("resting", 0);
    let drained = allocated(dir.path());
    let wakeups = child.wakeups_at_rest();
    let (rss_drained, anon) = (child.kibibytes("VmRSS"), child.kibibytes("RssAnon"));
    child.kill();
    opens.sort();
    let (median, slowest) = (opens[opens.len() / 2], opens[opens.len() - 1]);
    println!(
        "engine: {} MB, {} kills; open {:?} median, {:?} at most; RSS {rss} KiB at most, {rss_drained} drained (anonymous {anon}); \
         disk {} MiB at most, {} drained; {wakeups} wake-ups in 2 s at rest",
        seen * BLOCK as u64 / 1_000_000,
        opens.len() - 1,
        median,
        slowest,
        disk >> 20,
        drained >> 20
    );
    assert!(rss <= 30 << 10, "RSS {rss} KiB");
    // Not of how fast it is, which a busy machine decides: only that an opening does not go through all there is.
    assert!(median <= Duration::from_secs(5), "{opens:?}");
    assert!(disk <= BACKLOG * BLOCK as u64 + (128 << 20), "{disk}");
    assert!(wakeups == 0, "{wakeups}");
}
