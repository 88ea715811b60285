//! A backlog of millions: memory, opening and reading do not grow with it, and the disk gets its space back.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use forebay::reading::{Body, Observation, Outlet, RangeSet, Reading, Schema, Value};
use forebay::store::settings::Start;
use forebay::store::{ReadLimit, Store};

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use crate::harness::gateway::Gateway;

use super::sample::{Running, name, scan, scan_of, settings};

const CHILD: &str = "FOREBAY_TEST_BACKLOG_DIR";
const POINTS: usize = 10;
/// Most scans that are put and not durable: more than a commit takes, below what the inlet holds.
const OUT: u64 = 8_000;
const HUNDRED: ReadLimit = ReadLimit {
    records: 100,
    bytes: usize::MAX,
};
const AHEAD: ReadLimit = ReadLimit {
    records: 512,
    bytes: 1 << 20,
};
/// Far more than it takes: what is asserted is that the space comes back.
const PATIENCE: Duration = Duration::from_secs(120);

fn records() -> u64 {
    let long = std::env::var_os("FOREBAY_LONG").is_some();
    if long { 10_000_000 } else { 200_000 }
}

/// Runs in a process of its own, whose memory is only the store's: one of the steps below.
#[tokio::test]
async fn child() {
    let Ok(dir) = std::env::var(CHILD) else {
        return;
    };
    let (step, dir) = dir.split_once(':').unwrap();
    let mut settings = settings(Path::new(dir));
    settings.max_size = 8 << 30;
    // A commit waits for all that it may take: then blocks are of one size, wherever they are, and so is the work of a read.
    settings.commit_window = Duration::from_secs(1);
    let start = Instant::now();
    let store = Running::open(&settings);
    let opened = start.elapsed();
    let last = *store.store.head().borrow();
    match step {
        "fill" => fill(&store).await,
        "look" => look(&store.store, Path::new(dir), last).await,
        "drain" => drain(&store.store, Path::new(dir), last).await,
        _ => {}
    }
    let rss = kibibytes("VmHWM") >> 10;
    println!("\nsaid {step}: opened in {opened:?}, RSS {rss} MiB at most");
    store.stop();
    assert!(rss <= 64, "RSS {rss} MiB");
}

async fn fill(store: &Running) {
    store.store.register(&name("cloud"), Start::Oldest);
    let schemas: Vec<_> = (0..50).map(schema).collect();
    let (mut head, start) = (store.store.head(), Instant::now());
    let (mut put, all) = (0, records());
    while *head.borrow_and_update() <= all {
        while put < all && put < *head.borrow() + OUT {
            store.inlet.put(noisy(&schemas[put as usize % 50], put));
            put += 1;
        }
        head.changed().await.unwrap();
    }
    println!("\nsaid {all} records committed in {:?}", start.elapsed());
}

/// A scan whose values cannot be guessed from those before.
fn noisy(schema: &Arc<Schema>, n: u64) -> Observation {
    let mut observation = scan_of(schema, n);
    if let Body::Scan(scan) = &mut observation.body {
        for reading in &mut scan.readings {
            let value = 1_000_000 + i64::from(fastrand::u16(..));
            *reading = Some(Reading::good(Value::Int(value)));
        }
    }
    observation
}

fn schema(n: usize) -> Arc<Schema> {
    match scan(&format!("press-{n}"), 0, POINTS).body {
        Body::Scan(scan) => scan.schema,
        _ => unreachable!(),
    }
}

/// How long the next hundred records take, at the first, in the middle and at the last.
///
/// Each round reads at every place, so that none has a warmer machine than the others: a block that the kernel has to fetch
/// from the disk, one behind it, which it may have fetched along, and what follows in that one, which is decoded by then.
async fn look(store: &Store, dir: &Path, last: u64) {
    /// More than a block's records.
    const APART: u64 = 2_100;
    const ROUNDS: u64 = 21;
    const READS: [&str; 3] = ["from the disk", "of the next block", "of the same block"];
    let places = [2, last / 2, last - 2 * APART * (ROUNDS + 1)];
    let mut times = [const { [const { Vec::new() }; 3] }; 3];
    // The first round finds files that are not open and memory that was never touched.
    for round in 0..=ROUNDS {
        for (place, times) in places.iter().zip(&mut times) {
            let from = place + 2 * APART * round;
            forget(dir);
            let reads = [from, from + APART, from + APART + 100];
            for (from, times) in reads.into_iter().zip(times) {
                let time = next_hundred(store, from).await;
                times.extend((round > 0).then_some(time));
            }
        }
    }
    for (which, title) in READS.into_iter().enumerate() {
        let of_places = times.each_mut().map(|times| {
            times[which].sort();
            let (median, most) = (times[which].len() / 2, times[which].last().unwrap());
            format!("{:?} ({most:?} at most)", times[which][median])
        });
        let of_places = of_places.join(", ");
        println!("\nsaid next 100 records {title}, at the first, middle, last: {of_places}");
    }
}

async fn next_hundred(store: &Store, from: u64) -> Duration {
    let start = Instant::now();
    let read = store.read(from, HUNDRED).await.unwrap();
    let time = start.elapsed();
    // Out of memory fewer come where a block ends.
    assert!(read[0].seq == from);
    time
}

/// Has the kernel forget what it keeps of the files, all of which is on the disk.
fn forget(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            forget(&entry.path());
        } else if let Ok(file) = fs::File::open(entry.path()) {
            rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        }
    }
}

async fn drain(store: &Store, dir: &Path, last: u64) {
    let full = allocated(dir);
    let (cloud, start) = (name("cloud"), Instant::now());
    let mut from = store.cursor(&cloud).first_missing(1);
    while from <= last {
        let read = store.read(from, AHEAD).await.unwrap();
        assert_eq!(read[0].seq, from);
        let next = read.last().unwrap().seq + 1;
        let confirmed: RangeSet = [(from, next - 1)].into_iter().collect();
        store.confirm(&cloud, &confirmed);
        from = next;
    }
    let (drained, start) = (start.elapsed(), Instant::now());
    let mut looks = tokio::time::interval(Duration::from_millis(100));
    while allocated(dir) > 128 << 20 {
        assert!(
            start.elapsed() < PATIENCE,
            "{} MiB are left",
            allocated(dir) >> 20
        );
        looks.tick().await;
    }
    println!(
        "\nsaid {} MiB drained in {drained:?}, {} MiB left after another {:?}",
        full >> 20,
        allocated(dir) >> 20,
        start.elapsed()
    );
}

/// Bytes of all files, by their blocks.
fn allocated(dir: &Path) -> u64 {
    let of = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => allocated(&entry.path()),
        Ok(meta) => meta.blocks() * 512,
        Err(_) => 0,
    };
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .map(of)
        .sum()
}

fn kibibytes(field: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A site with a device at `port`. What is in its store is for an upstream that is not configured any more.
fn site(port: u16) -> String {
    format!(
        "[store]\nmax_size = \"8GiB\"\n[line.hall]\nprotocol = \"modbus-tcp\"\naddress = \"127.0.0.1:{port}\"\n\
         timeout = \"60s\"\n\
         [device.press]\nline = \"hall\"\nevery = \"1s\"\npoints.force = {{ holding = 0, type = \"u16\" }}\n"
    )
}

/// Starts the daemon, with files that the kernel has to fetch: how long it takes to its first request at a device, which stays
/// without an answer.
async fn first_poll(gateway: &mut Gateway, device: &TcpListener) -> (Duration, TcpStream) {
    forget(gateway.folder());
    let start = Instant::now();
    gateway.launch();
    let asked = async {
        let (mut stream, _) = device.accept().await.unwrap();
        stream.read_exact(&mut [0; 12]).await.unwrap();
        (start.elapsed(), stream)
    };
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    asked.unwrap_or_else(|_| panic!("{}", gateway.log()))
}

#[tokio::test]
async fn a_long_backlog_costs_neither_memory_nor_time_and_leaves_no_space_behind() {
    let device = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut gateway = Gateway::new(&site(device.local_addr().unwrap().port()), &[]);
    let store = gateway.folder().join("state/store");
    step("fill", &store);
    step("look", &store);
    let (after_a_stop, waits) = first_poll(&mut gateway, &device).await;
    gateway.kill();
    // Only now: the daemon would connect again.
    drop(waits);
    let (after_a_kill, _waits) = first_poll(&mut gateway, &device).await;
    gateway.stop();
    println!(
        "the daemon's first poll: {after_a_stop:?} after its start, {after_a_kill:?} after that of one that was killed"
    );
    step("drain", &store);
    step("open", &store);
}

fn step(step: &str, store: &Path) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::backlog::child", "--nocapture"])
        .env(CHILD, format!("{step}:{}", store.display()))
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let said = text.lines().filter_map(|line| line.strip_prefix("said "));
    said.for_each(|line| println!("{line}"));
    assert!(output.status.success(), "{step}: {text}");
    println!("{} MiB on disk", allocated(store) >> 20);
}
