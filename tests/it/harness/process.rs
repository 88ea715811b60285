//! A child process with its output in a file, ended by its own id and on drop.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How often a condition that nothing announces is looked at again.
const LOOK: Duration = Duration::from_millis(10);

/// How long a stop may take on a loaded machine.
const STOPPING: Duration = Duration::from_secs(30);

/// A peer's process.
pub struct Process {
    child: Child,
    frozen: bool,
}

impl Process {
    /// Starts it; what it prints goes to `log` (appended).
    pub fn spawn(command: &mut Command, log: &Path) -> Self {
        let log = File::options().create(true).append(true).open(log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{:?}: {error} (run scripts/setup)", command.get_program())
            });
        Self {
            child,
            frozen: false,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }

    /// SIGTERM, and waits until it has ended; SIGKILL after `bound`.
    pub fn stop(&mut self, bound: Duration) -> ExitStatus {
        self.thaw();
        self.signal(Signal::TERM);
        let ended = until(bound, || self.ended());
        ended.unwrap_or_else(|| self.kill())
    }

    /// SIGHUP, by which many read their files anew.
    pub fn reload(&mut self) {
        self.signal(Signal::HUP);
    }

    /// SIGINT, as Ctrl-C does.
    pub fn interrupt(&mut self) {
        self.signal(Signal::INT);
    }

    /// SIGKILL.
    pub fn kill(&mut self) -> ExitStatus {
        if let Some(status) = self.ended() {
            return status;
        }
        self.signal(Signal::KILL);
        self.child.wait().unwrap()
    }

    /// SIGSTOP: its sockets stay open and nobody answers.
    pub fn freeze(&mut self) {
        freeze(Pid::from_child(&self.child));
        self.frozen = true;
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        if self.frozen {
            self.signal(Signal::CONT);
            self.frozen = false;
        }
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_child(&self.child);
        kill_process(id, signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// SIGSTOP, and waits until every thread has stopped: on a loaded machine one may run for a while yet, and answer.
pub fn freeze(id: Pid) {
    kill_process(id, Signal::STOP).unwrap();
    let tasks = format!("/proc/{}/task", id.as_raw_nonzero());
    let stopped = until(STOPPING, || {
        let mut tasks = std::fs::read_dir(&tasks).ok()?.flatten();
        tasks.all(|task| has_stopped(&task.path())).then_some(())
    });
    stopped.expect("it does not stop");
}

/// Whether a thread does not run; one that has ended does not either.
fn has_stopped(task: &Path) -> bool {
    let Ok(stat) = std::fs::read_to_string(task.join("stat")) else {
        return true;
    };
    // The state stands behind the name, which is in parentheses and may have some itself (proc_pid_stat(5)).
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    matches!(state, Some('T' | 't' | 'Z' | 'X'))
}

/// A port of the loopback interface that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Whether something listens on this loopback port.
pub fn listens(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, Duration::from_secs(1)).is_ok()
}

/// Looks again and again until there is something, for at most `bound`.
pub fn until<T>(bound: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if start.elapsed() > bound {
            return None;
        }
        sleep(LOOK);
    }
}
