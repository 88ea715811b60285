//! The daemon itself, as a user runs it: a configuration folder and a process.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;

use super::process::Process;

/// How long an orderly stop may take: the sum of the daemon's own bounds, and a loaded machine.
const STOP: Duration = Duration::from_secs(30);

/// A configuration folder with the state beside it, and the daemon on it.
pub struct Gateway {
    process: Option<Process>,
    folder: TempDir,
}

impl Gateway {
    /// Writes `forebay.toml` and the maps, does not start yet. Relative paths are from the folder; the state is in
    /// `state`.
    pub fn new(config: &str, maps: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let gateway = "[gateway]\nid = \"hall-2\"\nstate_dir = \"state\"\nmaps = [\".\"]\n";
        std::fs::write(
            folder.path().join("forebay.toml"),
            format!("{gateway}{config}"),
        )
        .unwrap();
        for (name, text) in maps {
            std::fs::write(folder.path().join(format!("{name}.toml")), text).unwrap();
        }
        Self {
            process: None,
            folder,
        }
    }

    /// Starts the daemon; panics where `forebay check` finds an error.
    pub fn start(&mut self) {
        let check = self.command("check").output().unwrap();
        assert!(
            check.status.success(),
            "{}",
            String::from_utf8_lossy(&check.stdout)
        );
        self.launch();
    }

    /// Starts the daemon without asking `check` first.
    pub fn launch(&mut self) {
        let mut command = self.command("run");
        command.env("FOREBAY_LOG", "info");
        self.process = Some(Process::spawn(&mut command, &self.log_path()));
    }

    /// Whether this process may give a daemon host names of its own. An ordinary user may not everywhere.
    pub fn may_name_hosts() -> bool {
        let tried = in_mounts("mount --bind /etc/hosts /etc/hosts").output();
        let output = tried.unwrap_or_else(|error| panic!("unshare: {error} (run scripts/setup)"));
        output.status.success()
    }

    /// What host names mean to the daemon from now on, as in `/etc/hosts`; nobody else is asked. To be called before the
    /// start for the first time: the daemon then sees this in place of the machine's own.
    pub fn name_hosts(&mut self, hosts: &str) {
        std::fs::write(self.folder.path().join("nsswitch.conf"), "hosts: files\n").unwrap();
        // In place: the file that the daemon sees is this one, by whatever name.
        std::fs::write(self.folder.path().join("hosts"), hosts).unwrap();
    }

    /// The daemon's command, where needed in a mount namespace of its own, with our files over the machine's.
    fn command(&self, name: &str) -> Command {
        let daemon = env!("CARGO_BIN_EXE_forebay");
        let mut command = if self.folder.path().join("hosts").exists() {
            let mut command = in_mounts(
                "for file in hosts nsswitch.conf; do mount --bind \"$0/$file\" \"/etc/$file\" || exit; done; exec \"$@\"",
            );
            command.arg(self.folder.path()).arg(daemon);
            command
        } else {
            Command::new(daemon)
        };
        command
            .arg(name)
            .arg("--config")
            .arg(self.folder.path().join("forebay.toml"));
        command.env_remove("NOTIFY_SOCKET");
        command
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    /// The configuration folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// All log lines of all runs.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Process id.
    pub fn id(&self) -> u32 {
        self.process.as_ref().unwrap().id()
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        self.process.take().unwrap().stop(STOP)
    }

    /// Bytes that the state folder takes on disk.
    pub fn disk(&self) -> u64 {
        allocated(&self.folder.path().join("state"))
    }

    /// Resident memory in KiB.
    pub fn rss_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("-- log of forebay\n{}", self.log());
        }
    }
}

/// A shell with mounts of its own.
fn in_mounts(script: &str) -> Command {
    let mut command = Command::new("unshare");
    if !rustix::process::getuid().is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "sh", "-c", script]);
    command
}

fn allocated(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let Ok(metadata) = path.symlink_metadata() else {
        return 0;
    };
    let below = std::fs::read_dir(path).into_iter().flatten().flatten();
    metadata.blocks() * 512 + below.map(|entry| allocated(&entry.path())).sum::<u64>()
}
