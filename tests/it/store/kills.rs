//! kill -9 at any instant: what was announced is there, numbers go on, cursors are never ahead.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::reading::{Body, Clock, EventName, Name, Outlet, Record, StreamId, SystemClock};
use forebay::store::settings::Start;
use forebay::store::{self, Inlet, Store};

use super::sample::{LIMIT, Running, name, scan, scan_of, settings, told};
use crate::harness::share;

/// How long anything that must happen may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);
const CHILD: &str = "FOREBAY_TEST_STORE_DIR";

/// Runs in a process of its own, which gets killed: commits as fast as it can, confirms what was there at its start, and
/// says what was announced.
#[test]
fn child() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let mut settings = settings(Path::new(&dir));
    settings.commit_window = Duration::ZERO;
    let store = Running::open(&settings);
    let old = store.store.status().last;
    let cursor = store.store.register(&name("cloud"), Start::Oldest);
    let mut next = cursor.first_missing(1);
    let schemas = ["press", "oven", "lathe"].map(|device| match scan(device, 0, 40).body {
        Body::Scan(scan) => scan.schema,
        _ => unreachable!(),
    });
    let mut out = std::io::stdout();
    writeln!(out, "\nopen {old} {}", next - 1).unwrap();
    let (head, start) = (store.store.head(), Instant::now());
    for n in 0.. {
        store.inlet.put(scan_of(&schemas[n as usize % 3], n));
        if next <= old {
            store
                .store
                .confirm(&name("cloud"), &[(next, next)].into_iter().collect());
            next += 1;
        }
        if n % 8 == 0 {
            writeln!(out, "head {}", *head.borrow()).unwrap();
            out.flush().unwrap();
            std::thread::sleep(Duration::from_micros(300));
        }
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "nobody ended this"
        );
    }
}

/// Kills the child after `time` from its start, or from the first record it `announced`: the highest `seq` it announced.
fn run_and_kill(dir: &Path, time: Duration, announced: bool) -> u64 {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::kills::child", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let (first, begun) = std::sync::mpsc::channel();
    let reader = std::thread::spawn(move || {
        let heads = lines
            .map_while(Result::ok)
            .filter_map(|line| line.strip_prefix("head ")?.parse::<u64>().ok());
        let heads = heads.filter(|head| *head > 0).inspect(|_| {
            let _ = first.send(());
        });
        heads.last().unwrap_or(0)
    });
    if announced {
        begun.recv_timeout(PATIENCE).expect("it announces records");
    }
    std::thread::sleep(time);
    process.kill().unwrap();
    process.wait().unwrap();
    reader.join().unwrap()
}

/// What was seen so far, of all rounds.
#[derive(Default)]
struct Seen {
    seq: u64,
    stream: Option<StreamId>,
    device_seq: BTreeMap<Option<Name>, u64>,
    started: usize,
    streams: usize,
}

impl Seen {
    fn see(&mut self, record: &Record) {
        if Some(record.stream) == self.stream {
            assert_eq!(record.seq, self.seq + 1, "no gap within a stream");
        } else {
            assert!(record.seq > self.seq, "numbers only rise");
            self.streams += 1;
            if let Some(before) = self.stream {
                let previous = told(record, EventName::GatewayStarted, "previous");
                assert_eq!(
                    format!("{previous:?}"),
                    format!("Some(Text({:?}))", before.to_string())
                );
            }
        }
        let last = self
            .device_seq
            .entry(record.body.device().cloned())
            .or_default();
        assert_eq!(
            record.device_seq,
            *last + 1,
            "of {:?}",
            record.body.device()
        );
        *last = record.device_seq;
        self.started += usize::from(told(record, EventName::GatewayStarted, "clean").is_some());
        self.seq = record.seq;
        self.stream = Some(record.stream);
    }
}

async fn rest(store: &Store, from: u64) -> Vec<Arc<Record>> {
    let mut found: Vec<Arc<Record>> = Vec::new();
    loop {
        let next = found.last().map_or(from, |record| record.seq + 1);
        let read = store.read(next, LIMIT).await.unwrap();
        if read.is_empty() {
            return found;
        }
        found.extend(read);
    }
}

#[tokio::test]
async fn what_was_announced_survives_each_kill() {
    let rounds = share(500, 20);
    let (dir, mut seen, mut open) = (
        tempfile::tempdir().unwrap(),
        Seen::default(),
        Duration::ZERO,
    );
    let mut stream = None;
    for round in 0..rounds {
        // Every other time it is perhaps still opening the store.
        let time = Duration::from_millis(fastrand::u64(20..400));
        let announced = run_and_kill(dir.path(), time, round % 2 == 1);
        let clock = Clock::new(SystemClock::new());
        let start = Instant::now();
        let (store, writer) =
            store::open(&settings(dir.path()), clock.clone(), &Inlet::new(clock)).unwrap();
        open = open.max(start.elapsed());
        let found = rest(&store, seen.seq + 1).await;
        found.iter().for_each(|record| seen.see(record));
        stream = found.last().map_or(stream, |record| Some(record.stream));
        assert!(
            seen.seq >= announced,
            "{announced} was announced, {} is there",
            seen.seq
        );
        let cursor = store.cursor(&name("cloud"));
        // A kill in the middle of a write may tear the last batch, which nobody had been told of: then a new stream begins
        // beyond a range of numbers that every cursor passes over.
        let continues = stream == Some(store.status().stream);
        assert!(
            !continues || cursor.bounds().is_none_or(|(_, last)| last <= seen.seq),
            "{cursor:?} is ahead of {}",
            seen.seq
        );
        drop(writer);
    }
    println!(
        "kills: {rounds}, {} records, {} streams, {} starts; open {open:?} at most",
        seen.seq, seen.streams, seen.started
    );
    assert!(seen.seq >= rounds && seen.started > 0);
}
