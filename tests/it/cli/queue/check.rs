//! `forebay check` on a gateway whose store knows more than its configuration.

use std::fs;

use forebay::store::inspect::Inspection;

use super::plant::{config, used};

/// What `forebay check` prints.
fn check(arguments: &[&str]) -> String {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_forebay"));
    let output = command.arg("check").args(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "warnings are no errors");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn check_warns_of_an_upstream_that_only_the_store_knows() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("state/store");
    let file = config(folder.path());
    assert!(!check(&["-c", &file]).contains("store"), "no store yet");
    assert!(!dir.exists(), "and none is made");
    used(&dir);
    let text = check(&["-c", &file]);
    let warning = format!(
        "{file}: warning: the store in {} knows an upstream `old` that is not configured, and keeps 5 records for it alone\n  \
         mend: add [upstream.old] again, or let it go with the daemon stopped: forebay queue forget old\n",
        dir.display()
    );
    assert!(text.contains(&warning), "{text}");
    assert!(
        !text.contains("`cloud` that") && text.contains("1 warning"),
        "{text}"
    );
    let json: serde_json::Value = serde_json::from_str(&check(&["--json", "-c", &file])).unwrap();
    assert_eq!(json[0]["severity"], "warning", "{json}");

    let held = Inspection::open(&dir).unwrap();
    assert!(
        !check(&["-c", &file]).contains("upstream `old`"),
        "somebody has it: not looked at"
    );
    drop(held);
    fs::write(dir.join("format"), forebay::store::format_line(9)).unwrap();
    assert!(
        !check(&["-c", &file]).contains("upstream `old`"),
        "a later version's: not looked at"
    );
}
