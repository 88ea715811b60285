//! A serial cable: two pseudo terminals that socat ties together.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, until};

/// The cable; it is cut when this is dropped.
pub struct Cable {
    dir: TempDir,
    _socat: Process,
}

impl Cable {
    /// Lays a cable.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let end = |name: &str| format!("pty,raw,echo=0,link={}", dir.path().join(name).display());
        let mut command = Command::new("socat");
        command.args([end("here"), end("there")]);
        let socat = Process::spawn(&mut command, &dir.path().join("log"));
        let this = Self { dir, _socat: socat };
        let laid = || (this.here().exists() && this.there().exists()).then_some(());
        until(Duration::from_secs(10), laid).expect("socat made no terminals");
        this
    }

    /// The end of the line under test.
    pub fn here(&self) -> PathBuf {
        self.dir.path().join("here")
    }

    /// The end of the devices.
    pub fn there(&self) -> PathBuf {
        self.dir.path().join("there")
    }
}
