//! `forebay verify`, as a user runs it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::process::{Process, until};

/// How long a start or an end may take on a loaded machine.
const BOUND: Duration = Duration::from_secs(40);

/// A running `forebay verify --json`.
pub struct Verifier {
    process: Process,
    folder: TempDir,
}

impl Verifier {
    /// Starts it, and waits until it is subscribed.
    pub fn start(arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_forebay"));
        command.args(["verify", "--json"]).args(arguments);
        let mut process = Process::spawn(&mut command, &folder.path().join("log"));
        let log = folder.path().join("log");
        let subscribed = until(BOUND, || {
            let text = std::fs::read_to_string(&log).unwrap_or_default();
            assert!(process.ended().is_none(), "{text}");
            text.contains(": subscribed").then_some(())
        });
        subscribed.expect("verify does not subscribe");
        Self { process, folder }
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// Waits until it ends by itself; its exit code and its result.
    pub fn ended(mut self, bound: Duration) -> (Option<i32>, Value) {
        let status = until(bound, || self.process.ended());
        let status = status.expect("verify does not end");
        (status.code(), self.result())
    }

    /// Interrupts it as with Ctrl-C; its exit code and its result.
    pub fn interrupt(mut self) -> (Option<i32>, Value) {
        self.process.interrupt();
        self.ended(BOUND)
    }

    fn result(&self) -> Value {
        let text = std::fs::read_to_string(self.log()).unwrap();
        let line = text.lines().find(|line| line.starts_with('{'));
        serde_json::from_str(line.unwrap_or_else(|| panic!("no result: {text}"))).unwrap()
    }
}
