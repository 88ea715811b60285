//! What durability costs: records that the store makes durable in a second, what it writes for them and what CPU time it takes,
//! against floors that get the same bytes, as many a sync: a preallocated file, fjall with an item a record, SQLite.
//!
//! `scripts/bench store [--runs 5] [--records 100000]`; the floor of SQLite needs python3. Every figure is of a process of its
//! own: bytes written are `write_bytes` of `/proc/self/io`, which counts each page that is to go to the device, and not
//! what the file system writes beside; CPU time is that of `/proc/self/stat`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]
#![allow(
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss
)]

mod figures;
mod floors;
mod plant;
#[path = "../shared/mod.rs"]
mod shared;
mod subject;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use figures::Figures;
use shared::Arguments;

/// Of the subject where it waits for every record, so that each has a commit of its own.
const LONE: &str = "lone";
/// A lone record takes a sync: fewer are enough.
const LONE_SHARE: usize = 100;

fn main() {
    let arguments = Arguments::new();
    if let Some([role, path, number]) = arguments.role() {
        let path = Path::new(path);
        let figures = match role.as_str() {
            "forebay" => subject::run(path, number),
            "file" => floors::file(path, number.parse().unwrap()),
            "fjall" => floors::one_item_a_record(path, number.parse().unwrap()),
            role => panic!("{role}"),
        };
        return println!("{}", serde_json::to_string(&figures).unwrap());
    }
    let (runs, records) = (
        arguments.value("--runs", 5),
        arguments.value("--records", 100_000),
    );
    for (title, rounded) in [
        ("f32, all bits in use", false),
        ("f32 of one decimal", true),
    ] {
        println!(
            "\n{} devices, {} values ({title}), {} bytes a record; {runs} interleaved runs, median (least to most)",
            plant::DEVICES,
            plant::VALUES,
            plant::BYTES
        );
        for window in [LONE, "0", "10", "100", "1000"] {
            let records = if window == LONE {
                records / LONE_SHARE
            } else {
                records
            };
            compare(window, runs, &plant::records(records, rounded));
        }
    }
}

/// A window's runs, the floors with as many records a sync as the store had.
fn compare(window: &str, runs: usize, records: &[u8]) {
    let mut rows: [(&str, Vec<Figures>); 4] =
        ["forebay", "file", "fjall", "sqlite"].map(|name| (name, Vec::new()));
    for _ in 0..runs {
        let mut batch = String::new();
        for (role, found) in &mut rows {
            let dir = tempfile::tempdir().unwrap();
            std::fs::write(dir.path().join("records"), records).unwrap();
            let number = if *role == "forebay" { window } else { &batch };
            if let Some(figures) = one_run(role, dir.path(), number) {
                if *role == "forebay" {
                    batch = figures.batch().to_string();
                }
                found.push(figures);
            }
        }
    }
    let title = match window {
        LONE => "one record a commit".to_owned(),
        window => format!(
            "commit window {:?}",
            Duration::from_millis(window.parse().unwrap())
        ),
    };
    Figures::print(&title, &rows);
}

/// `None`: what it needs is not there.
fn one_run(role: &str, dir: &Path, number: &str) -> Option<Figures> {
    let mut command = match role {
        "sqlite" => {
            let mut python = Command::new("python3");
            python.args(["-c", floors::SQLITE]).arg(dir).arg(number);
            python
        }
        role => {
            let mut this = Command::new(std::env::current_exe().unwrap());
            this.args(["role", role]).arg(dir).arg(number);
            this
        }
    };
    let output = command.output().ok()?;
    if !output.status.success() {
        eprintln!("{role}: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(serde_json::from_slice(&output.stdout).unwrap())
}
