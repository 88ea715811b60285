//! A folder of the engine that the disk does not list, for good: what is in the others is delivered, and the hole is told.
//!
//! The disk's answer is put into the kernel's mouth by strace, in a process of its own.

use std::path::{Path, PathBuf};
use std::process::Command;

use forebay::reading::{Clock, EventName, RangeSet, SystemClock};
use forebay::store::settings::Start;
use forebay::store::{self, Inlet};

use super::bad_sector::{all, fill, largest};
use super::sample::{Running, name, settings, told};

const CHILD: &str = "FOREBAY_TEST_UNLISTED";

/// How often the folder is tried: once by the engine, five times before it is taken for lost, and as often again where it has
/// been moved to. Then its path is that of the one in its place.
const TRIES: u32 = 11;

/// Runs `child` as one to whom the first tries to list these folders fail.
fn run_child(step: &str, dir: &Path, folders: &[PathBuf], tries: u32) -> String {
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", "trace=getdents64"]);
    strace.args([
        "-e",
        &format!("inject=getdents64:error=EIO:when=1..{tries}"),
    ]);
    for folder in folders {
        strace.arg("-P").arg(folder);
    }
    let output = strace
        .arg("--")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "store::unlisted::child", "--nocapture"])
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
        let error = opened.err().expect("the folder is not listed");
        assert!(error.to_string().contains("os error 5"), "{error}");
        assert!(!dir.join("engine.damaged").exists() && !dir.join("quarantine").exists());
        let store = Running::open(&settings);
        assert!(store.records_from(1, 1).await[0].seq == 1);
        assert_eq!(store.stop().trouble, None);
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
    let store = Running::open(&settings(dir));
    store.store.register(&name("cloud"), Start::Oldest);
    fill(&store, 240).await;
    let old = store.stop();
    let table = largest(dir, "/tables/");
    let tables = table.parent().unwrap().to_owned();
    let moved = dir
        .join("engine.damaged")
        .join(tables.strip_prefix(dir.join("engine")).unwrap());

    run_child("once", dir, std::slice::from_ref(&tables), 1);
    let said = run_child("for good", dir, &[tables, moved], TRIES);
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
