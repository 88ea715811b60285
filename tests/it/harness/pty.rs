//! A serial cable: two pseudo terminals that socat ties together, and a converter that puts one of them on the network.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, free_port, until};

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

/// A converter from TCP to a serial port: it passes bytes on.
pub struct Converter {
    /// The TCP port.
    pub port: u16,
    _socat: Process,
    _dir: TempDir,
}

impl Converter {
    /// A converter before the serial port `terminal`, for one connection after the other; it listens soon.
    pub fn before(terminal: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let port = free_port();
        let mut command = Command::new("socat");
        command.arg(format!(
            "TCP-LISTEN:{port},bind=127.0.0.1,reuseaddr,nodelay,fork"
        ));
        command.arg(format!("{},raw,echo=0", terminal.display()));
        let socat = Process::spawn(&mut command, &dir.path().join("log"));
        Self {
            port,
            _socat: socat,
            _dir: dir,
        }
    }
}
