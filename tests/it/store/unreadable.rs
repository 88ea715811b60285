//! What cannot be read once, or may not be read at all, is no damage. A folder of the engine that the disk never lists is: what
//! is in the others is delivered, and the hole is told.
//!
//! The disk's answer is put into the kernel's mouth by strace, in a process of its own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use forebay::reading::{Clock, EventName, RangeSet, SystemClock};
use forebay::store::settings::Start;
use forebay::store::{self, Inlet, StoreStatus};

use super::bad_sector::{all, fill, largest};
use super::sample::{Running, name, settings, told};

const CHILD: &str = "FOREBAY_TEST_UNREADABLE";

/// How often the folder is tried: once by the engine, five times before it is taken for lost, and as often again where it has
/// been moved to. Then its path is that of the one in its place.
const TRIES: u32 = 11;

/// Fills a store of which its upstream has nothing yet.
async fn filled(dir: &Path, count: usize) -> StoreStatus {
    let store = Running::open(&settings(dir));
    store.store.register(&name("cloud"), Start::Oldest);
    fill(&store, count).await;
    store.stop()
}

/// Runs `child` as one whose first calls about these paths fail.
fn run_child(step: &str, dir: &Path, paths: &[PathBuf], call: &str, tries: u32) -> String {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null"]);
    strace.args(["-e", &format!("inject={call}:when=1..{tries}")]);
    for path in paths {
        strace.arg("-P").arg(path);
    }
    let output = strace
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "store::unreadable::child", "--nocapture"])
        .env(CHILD, format!("{step}:{}", dir.display()))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let also = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{step}: {said}{also}");
    said
}

#[tokio::test]
async fn child() {
    let Ok(text) = std::env::var(CHILD) else {
        return;
    };
    let (step, dir) = text.split_once(':').unwrap();
    let (dir, settings) = (Path::new(dir), settings(Path::new(dir)));
    if step == "once" {
        let clock = Clock::new(SystemClock::new());
        let opened = store::open(&settings, clock.clone(), &Inlet::new(clock));
        let error = opened.err().expect("something cannot be read");
        assert!(error.to_string().contains("os error"), "{error}");
        assert!(!dir.join("engine.damaged").exists() && !dir.join("quarantine").exists());
        let store = Running::open(&settings);
        assert!(store.records_from(1, 1).await[0].seq == 1);
        assert_eq!(store.stop().trouble, None);
        return;
    }
    if step == "for others" {
        let clock = Clock::new(SystemClock::new());
        let opened = store::open(&settings, clock.clone(), &Inlet::new(clock));
        let error = opened.err().expect("a table may not be read");
        assert!(error.to_string().contains("may not be read"), "{error}");
        return;
    }
    let store = Running::open(&settings);
    let (found, hole) = all(&store).await;
    let there: RangeSet = found.iter().map(|r| (r.seq, r.seq)).collect();
    let of_new = found.iter().find(|record| record.stream != found[0].stream);
    let new = of_new.expect("a new stream begins");
    for seq in 1..new.seq {
        assert_ne!(there.contains(seq), hole.contains(seq), "{seq}: {hole:?}");
    }
    let reason = told(new, EventName::GatewayStarted, "reason");
    let reason = format!("{reason:?}");
    assert!(reason.contains("tables cannot be listed"), "{reason}");
    fill(&store, 2).await;
    assert_eq!(store.stop().trouble, None);
    println!("\nfound {}", found.len());
}

#[tokio::test]
#[ignore = "needs strace"]
async fn a_folder_that_is_never_listed_is_rebuilt_around() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let old = filled(dir, 240).await;
    let table = largest(dir, "/tables/");
    let tables = table.parent().unwrap().to_owned();
    let moved = dir
        .join("engine.damaged")
        .join(tables.strip_prefix(dir.join("engine")).unwrap());

    let list = "getdents64:error=EIO";
    run_child("once", dir, std::slice::from_ref(&tables), list, 1);
    let said = run_child("for good", dir, &[tables, moved], list, TRIES);
    let found = said.lines().find_map(|line| line.strip_prefix("found "));
    let found: u64 = found.unwrap().parse().unwrap();
    assert!(
        found > old.last / 2,
        "{found} of {}: the journal has them",
        old.last
    );
    let aside = dir.join("quarantine/1");
    assert!(
        table
            .strip_prefix(dir.join("engine"))
            .is_ok_and(|table| aside.join(table).exists())
    );
}

#[tokio::test]
#[ignore = "needs strace"]
async fn what_cannot_be_read_once_or_may_not_be_is_no_damage() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let old = filled(dir, 5).await;
    let mut paths = Vec::new();
    crate::engine::damage::files(&dir.join("engine"), &mut paths);
    paths.retain(|path| fs::metadata(path).unwrap().len() > 0);
    assert!(paths.len() > 5, "{paths:?}");
    for path in paths {
        for error in ["EIO", "EACCES"] {
            let call = format!("openat:error={error}");
            println!("{}: {error}", path.display());
            run_child("once", dir, std::slice::from_ref(&path), &call, 1);
        }
    }
    let store = Running::open(&settings(dir));
    assert_eq!(store.stop().stream, old.stream);
}

#[tokio::test]
#[ignore = "needs strace"]
async fn a_rebuild_waits_for_what_may_not_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let old = filled(dir, 240).await;
    let table = largest(dir, "/tables/");
    let keyspace = table.ancestors().nth(2).unwrap();
    fs::write(keyspace.join("current"), "damaged").unwrap();
    let moved = dir.join("engine.damaged");
    let moved = moved.join(table.strip_prefix(dir.join("engine")).unwrap());

    let call = "openat:error=EACCES";
    for _ in 0..2 {
        run_child("for others", dir, std::slice::from_ref(&moved), call, 99);
        assert!(moved.exists());
    }
    let store = Running::open(&settings(dir));
    let (found, _) = all(&store).await;
    let there: RangeSet = found.iter().map(|r| (r.seq, r.seq)).collect();
    assert_eq!(there.first_missing(1), old.last + 1);
    store.stop();
}
