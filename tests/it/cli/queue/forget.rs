//! forget and dead drop: who and what goes for good, and nothing else.

use std::path::Path;

use forebay::reading::RangeSet;
use forebay::store::inspect::Inspection;
use serde_json::{Value, json};

use super::plant::{config, done, name, refused, register, session, set, used};

fn confirmed(dir: &Path, upstream: &str) -> Option<RangeSet> {
    let inspection = Inspection::open(dir).unwrap();
    inspection.confirmed(&name(upstream)).cloned()
}

#[test]
fn an_upstream_is_forgotten_when_nothing_configures_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state/store");
    let file = config(folder.path());
    let clock = used(&dir);
    let place = dir.display().to_string();
    let (code, said) = refused(&["forget", "cloud", "-c", &file, "--yes"]);
    assert_eq!(code, 1);
    assert!(
        said.contains("`cloud` is configured still") && said.contains("--force"),
        "{said}"
    );
    let (code, said) = refused(&["forget", "old", "--dir", &place, "--yes"]);
    assert_eq!(code, 1);
    assert!(said.contains("no configuration was read"), "{said}");
    let (code, said) = refused(&["forget", "nobody", "-c", &file, "--yes"]);
    assert_eq!(code, 1);
    assert!(said.contains("it knows cloud, old"), "{said}");
    let (code, said) = refused(&["forget", "old", "-c", &file]);
    assert_eq!(code, 2);
    assert!(
        said.contains("9 records will never be sent to old; 5 of them"),
        "{said}"
    );
    assert_eq!(confirmed(&dir, "old"), Some(set(1, 4)));

    let end = Inspection::open(&dir).unwrap().end();
    let said = done(&["forget", "old", "-c", &file, "--yes"]);
    assert!(
        said.starts_with("old is forgotten, and 5 records that only it waited for"),
        "{said}"
    );
    assert_eq!(confirmed(&dir, "old"), None);
    assert_eq!(confirmed(&dir, "cloud"), Some(set(1, 9)));
    assert_eq!(
        Inspection::open(&dir).unwrap().end(),
        end,
        "nothing was written to the stream"
    );
    assert!(!done(&["status", "-c", &file]).contains("old  "));
    let forced = [
        "forget", "cloud", "--dir", &place, "--force", "--yes", "--json",
    ];
    let said: Value = serde_json::from_str(&done(&forced)).unwrap();
    assert_eq!(
        (&said["forgotten"], &said["records"]),
        (&json!("cloud"), &json!(4))
    );
    session(&dir, &clock, |store, _| register(store, &["cloud"]));
    assert!(confirmed(&dir, "cloud").is_some(), "it begins anew");
}

#[test]
fn dead_letters_are_dropped_one_by_one_by_upstream_or_all() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    let place = dir.display().to_string();
    let clock = used(dir);
    session(dir, &clock, |store, _| {
        for (upstream, seq) in [("cloud", 10), ("cloud", 11), ("old", 11), ("old", 12)] {
            store.refuse(&name(upstream), seq, "no permission".to_owned(), 100);
        }
    });
    let left = || {
        let letters = Inspection::open(dir).unwrap().dead_letters().unwrap();
        let left = letters
            .iter()
            .map(|kept| (kept.letter.upstream.to_string(), kept.letter.record.seq));
        left.collect::<Vec<_>>()
    };
    assert_eq!(left().len(), 5);
    assert_eq!(
        refused(&["dead", "drop", "--dir", &place, "--yes"]).0,
        2,
        "of what?"
    );
    let (code, said) = refused(&["dead", "drop", "9", "--dir", &place]);
    assert_eq!(code, 2);
    assert!(
        said.contains("PUBACK 0x97") && said.contains("1 dead letter of these records"),
        "{said}"
    );
    assert_eq!(left().len(), 5);
    assert_eq!(
        done(&["dead", "drop", "9", "77", "--dir", &place, "--yes"]),
        "1 dead letter dropped\n"
    );
    let seqs = |pairs: &[(&str, u64)]| {
        pairs
            .iter()
            .map(|(upstream, seq)| ((*upstream).to_owned(), *seq))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        left(),
        seqs(&[("cloud", 10), ("cloud", 11), ("old", 11), ("old", 12)])
    );
    done(&[
        "dead",
        "drop",
        "11",
        "--upstream",
        "old",
        "--dir",
        &place,
        "--yes",
    ]);
    assert_eq!(left(), seqs(&[("cloud", 10), ("cloud", 11), ("old", 12)]));
    done(&[
        "dead",
        "drop",
        "--upstream",
        "cloud",
        "--dir",
        &place,
        "--yes",
    ]);
    assert_eq!(left(), seqs(&[("old", 12)]));
    let said: Value = serde_json::from_str(&done(&[
        "dead", "drop", "--all", "--json", "--dir", &place, "--yes",
    ]))
    .unwrap();
    assert_eq!(said[0]["seq"], 12);
    assert!(left().is_empty());
}
