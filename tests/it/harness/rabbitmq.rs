//! A real RabbitMQ: one shared by all tests, each in a virtual host of its own, or one's own to stop and freeze.

mod client;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::certs::{Certs, Identity};
use super::process::{self, free_port, listens, until};
pub use client::{Client, Consumed, Consumer};

/// How long a start may take on a loaded machine; alone it takes 5 s.
const BOUND: Duration = Duration::from_secs(180);

/// A running broker and a virtual host in it, which user guest may use.
pub struct RabbitMq {
    folder: PathBuf,
    vhost: String,
    port: u16,
    own: Option<TempDir>,
}

impl RabbitMq {
    /// The broker that all tests share, with a new virtual host. The first test starts it; it ends by itself some
    /// time after the last, or by `scripts/rabbitmq down`.
    pub fn shared() -> Self {
        let folder = std::env::var_os("FOREBAY_RABBITMQ").map_or_else(
            || {
                let user = rustix::process::getuid().as_raw();
                std::env::temp_dir().join(format!("forebay-rabbitmq-{user}"))
            },
            PathBuf::from,
        );
        let vhost = format!("test-{:016x}", fastrand::u64(..));
        let broker = Self::up(folder, vhost, None);
        let vhost = &broker.vhost;
        broker.eval(&format!(
            r#"rabbit_vhost:add(<<"{vhost}">>, <<"test">>),
            rabbit_auth_backend_internal:set_permissions(
                <<"guest">>, <<"{vhost}">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>)."#
        ));
        broker
    }

    /// One's own, for tests that stop, freeze or starve it. Costs 5 s.
    pub fn own() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self::up(folder.path().to_owned(), "/".to_owned(), Some(folder))
    }

    fn up(folder: PathBuf, vhost: String, own: Option<TempDir>) -> Self {
        script("up", &folder);
        let ports = std::fs::read_to_string(folder.join("ports")).unwrap();
        let port = ports.split_whitespace().next().unwrap().parse().unwrap();
        Self {
            folder,
            vhost,
            port,
            own,
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The virtual host of this test.
    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// Evaluates Erlang expressions in the broker, closed by a full stop, and returns what they give. What
    /// `rabbitmqctl` does takes milliseconds so, not seconds.
    pub fn eval(&self, erlang: &str) -> String {
        let ports = std::fs::read_to_string(self.folder.join("ports")).unwrap();
        let port_mapper = ports.split_whitespace().nth(2).unwrap();
        let cookie = std::fs::read_to_string(self.folder.join(".erlang.cookie")).unwrap();
        // Two at once under one name would turn each other away.
        let name = format!("test{:08x}", fastrand::u32(..));
        let mut call = Command::new("erl_call")
            .args(["-h", &name])
            .args([
                "-n",
                &format!("forebay{}@localhost", self.port),
                "-c",
                &cookie,
                "-e",
            ])
            .env("ERL_EPMD_PORT", port_mapper)
            .env("HOME", &self.folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        call.stdin
            .take()
            .unwrap()
            .write_all(format!("{erlang}\n").as_bytes())
            .unwrap();
        let output = String::from_utf8(call.wait_with_output().unwrap().stdout).unwrap();
        let value = output
            .strip_prefix("{ok, ")
            .and_then(|value| value.strip_suffix('}'));
        value
            .unwrap_or_else(|| panic!("{erlang}\n-> {output:?}"))
            .to_owned()
    }

    /// User guest may write to what fits this pattern only.
    pub fn permit(&self, pattern: &str) {
        let vhost = &self.vhost;
        self.eval(&format!(
            r#"rabbit_auth_backend_internal:set_permissions(
                <<"guest">>, <<"{vhost}">>, <<".*">>, <<"{pattern}">>, <<".*">>, <<"test">>)."#
        ));
    }

    /// Makes a user who may do anything in this virtual host, and whose password nobody knows. For `own` only.
    pub fn add_user(&self, name: &str) {
        assert!(self.own.is_some(), "users are everybody's");
        let (vhost, password) = (&self.vhost, fastrand::u64(..));
        self.eval(&format!(
            r#"rabbit_auth_backend_internal:add_user(<<"{name}">>, <<"{password:x}">>, <<"test">>),
            rabbit_auth_backend_internal:set_permissions(
                <<"{name}">>, <<"{vhost}">>, <<".*">>, <<".*">>, <<".*">>, <<"test">>)."#
        ));
    }

    /// Opens a further listener, for TLS, that wants a client certificate. Returns its port.
    pub fn listen_tls(&self, certs: &Certs, server: &Identity) -> u16 {
        let port = free_port();
        let file = |path: &Path| format!("{:?}", path.display().to_string());
        self.eval(&format!(
            r#"{{ok, _}} = application:ensure_all_started(ssl),
            rabbit_networking:start_ssl_listener({{"127.0.0.1", {port}}}, [{{cacertfile, {}}}, {{certfile, {}}},
                {{keyfile, {}}}, {{verify, verify_peer}}, {{fail_if_no_peer_cert, true}}], 1)."#,
            file(&certs.ca()),
            file(&server.cert),
            file(&server.key),
        ));
        until(BOUND, || listens(port).then_some(())).expect("no TLS listener");
        port
    }

    /// TLS listeners read their files anew when somebody connects; else they may keep them for some minutes.
    pub fn forget_certificates(&self) {
        self.eval("ssl:clear_pem_cache().");
    }

    /// Raises the memory alarm: publishing connections are blocked. For `own` only.
    pub fn raise_alarm(&self) {
        self.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.000001).");
    }

    /// Clears it.
    pub fn clear_alarm(&self) {
        self.eval("vm_memory_monitor:set_vm_memory_high_watermark(0.4).");
    }

    /// Raises the disk alarm: publishing connections are blocked. For `own` only.
    pub fn raise_disk_alarm(&self) {
        self.eval("rabbit_disk_monitor:set_disk_free_limit(1000000000000000).");
    }

    /// Clears it.
    pub fn clear_disk_alarm(&self) {
        self.eval("rabbit_disk_monitor:set_disk_free_limit(1000000).");
    }

    /// Stops taking connections and closes those it has. For `own` only.
    pub fn stop(&self) {
        self.eval("rabbit:stop().");
    }

    /// Starts again after `stop`.
    pub fn start(&self) {
        self.eval("rabbit:start().");
        until(BOUND, || listens(self.port).then_some(())).expect("it does not start again");
    }

    /// SIGKILL. For `own` only.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        until(BOUND, || (!listens(self.port)).then_some(())).expect("it still listens");
    }

    /// Starts again after `kill`, on the same port.
    pub fn restart(&self) {
        script("up", &self.folder);
    }

    /// SIGSTOP: the half-open link. For `own` only.
    pub fn freeze(&self) {
        process::freeze(self.id());
    }

    /// SIGCONT.
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.id(), signal).unwrap();
    }

    fn id(&self) -> Pid {
        assert!(self.own.is_some(), "others use it too");
        let id = std::fs::read_to_string(self.folder.join("broker.pid")).unwrap();
        Pid::from_raw(id.trim().parse().unwrap()).unwrap()
    }

    /// A connection of the test's own, as guest.
    pub async fn client(&self) -> Client {
        Client::of(self.port, &self.vhost).await
    }
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        if self.own.is_some() {
            script("down", &self.folder);
        } else if !std::thread::panicking() {
            let vhost = &self.vhost;
            self.eval(&format!(
                r#"rabbit_vhost:delete(<<"{vhost}">>, <<"test">>)."#
            ));
        }
    }
}

fn script(verb: &str, folder: &Path) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/rabbitmq");
    let output = Command::new(path).arg(verb).arg(folder).output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
