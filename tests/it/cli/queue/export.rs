//! export: what goes out, in a file that a second run goes on with.

use std::fs;
use std::path::Path;

use forebay::reading::Outlet;
use serde_json::Value;

use super::plant::{config, done, queue, refused, scan, session, used};

/// The numbers of the records in a file, each line of which must be a message.
fn numbers(path: &Path) -> Vec<u64> {
    let text = fs::read_to_string(path).unwrap();
    let message = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    text.lines()
        .map(|line| message(line)["seq"].as_u64().unwrap())
        .collect()
}

#[test]
fn an_export_goes_on_where_it_was_broken_off() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state/store");
    let file = config(folder.path());
    let clock = used(&dir);
    let path = folder.path().join("all.ndjson");
    let output = path.display().to_string();
    let export = ["export", "-c", &file, "--output", &output];
    let said = done(&[&export[..], &["--to", "9"]].concat());
    assert!(said.starts_with("9 records, 1 to 9, "), "{said}");
    assert_eq!(numbers(&path), (1..=9).collect::<Vec<_>>());
    // Broken off within the last line, as when the disk was full.
    let text = fs::read(&path).unwrap();
    fs::write(&path, &text[..text.len() - 20]).unwrap();
    let said = done(&export);
    assert!(said.starts_with("5 records, 9 to 13, "), "{said}");
    assert_eq!(numbers(&path), (1..=13).collect::<Vec<_>>());
    assert!(done(&export).starts_with("nothing to write to "));
    session(&dir, &clock, |_, inlet| {
        inlet.put(scan(&clock, "meter-1", 1.0))
    });
    done(&export);
    assert_eq!(numbers(&path), (1..=15).collect::<Vec<_>>());
}

#[test]
fn what_is_exported_can_be_chosen() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state/store");
    let file = config(folder.path());
    used(&dir);
    let seqs = |arguments: &[&str]| {
        let text = done(&[&["export", "-c", &file], arguments].concat());
        let seq = |line: &str| {
            serde_json::from_str::<Value>(line).unwrap()["seq"]
                .as_u64()
                .unwrap()
        };
        text.lines().map(seq).collect::<Vec<_>>()
    };
    assert_eq!(seqs(&["--upstream", "cloud"]), [10, 11, 12, 13]);
    assert_eq!(seqs(&["--upstream", "old", "--to", "6"]), [5, 6]);
    assert_eq!(
        seqs(&["--device", "meter-2", "--from", "4"]),
        [5, 7, 9, 11, 13]
    );
    assert_eq!(seqs(&["--device", "meter-2,x*", "--to", "5"]), [3, 5]);
    assert_eq!(seqs(&["--since", "1h"]), [0u64; 0]);
    assert_eq!(seqs(&["--until", "1h"]).len(), 13);
    let first: Value =
        serde_json::from_str(done(&["export", "-c", &file, "--from", "5", "--to", "5"]).trim())
            .unwrap();
    let time = first["time"].as_str().unwrap();
    assert_eq!(seqs(&["--since", time, "--to", "6"]), [5, 6]);
    assert_eq!(first["gateway"], "hall-2");
    assert_eq!(first["device"], "meter-2");
    let (code, said) = refused(&["export", "-c", &file, "--upstream", "nobody"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("does not know an upstream `nobody`") && said.contains("cloud, old"),
        "{said}"
    );
    assert_eq!(
        refused(&["export", "-c", &file, "--since", "yesterday"]).0,
        2
    );
}

#[test]
fn a_file_that_is_no_export_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    used(&dir);
    let path = folder.path().join("notes.txt");
    fs::write(&path, "shopping list\nmilk\n").unwrap();
    let place = dir.display().to_string();
    let output = path.display().to_string();
    let (code, said) = refused(&["export", "--dir", &place, "--output", &output]);
    assert_eq!(code, 1);
    assert!(
        said.contains("has something else in it than records"),
        "{said}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "shopping list\nmilk\n");
}

#[test]
fn what_was_written_is_said_as_json_too() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("store");
    used(&dir);
    let place = dir.display().to_string();
    let path = folder.path().join("all.ndjson");
    let output = path.display().to_string();
    let said = done(&["export", "--json", "--dir", &place, "--output", &output]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["records"], 13);
    assert_eq!(said["bytes"], fs::metadata(&path).unwrap().len());
    let run = queue(&["export", "--json", "--dir", &place]);
    assert_eq!(
        run.stdout,
        fs::read(&path).unwrap(),
        "messages alone on standard output"
    );
    assert!(
        String::from_utf8(run.stderr)
            .unwrap()
            .contains("\"records\":13")
    );
}
