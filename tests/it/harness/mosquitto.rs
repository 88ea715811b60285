//! A real mosquitto on free loopback ports, in a folder of its own.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use super::process::{Process, free_port, listens, until};
use super::subscriber::Subscriber;

/// How long a start or stop may take on a loaded machine.
const BOUND: Duration = Duration::from_secs(60);

/// What a broker is set to.
#[derive(Debug, Clone, Default)]
pub struct MosquittoSettings {
    /// Users and their passwords; none: anybody may connect.
    pub users: Vec<(String, String)>,
    /// TLS, and whether a client must show a certificate.
    pub tls: Option<MosquittoTls>,
    /// Lines that stand before the listeners: `message_size_limit 1000`, `max_inflight_messages 5`, ….
    pub general: Vec<String>,
    /// Lines of the listener under test: `acl_file …`, `max_qos 0`, ….
    pub listener: Vec<String>,
}

/// TLS of the listener under test.
#[derive(Debug, Clone)]
pub struct MosquittoTls {
    /// PEM file of the authority of clients.
    pub ca: PathBuf,
    /// PEM file of the server's certificate.
    pub cert: PathBuf,
    /// PEM file of its key.
    pub key: PathBuf,
    /// Clients without a certificate are turned away.
    pub client_certificate: bool,
}

/// A running broker. It has two listeners: the one under test, with users and TLS as set, and one that always
/// takes anybody without TLS, for the test's own subscribers. Sessions and queued messages survive `stop` and
/// `start` (not `kill`): what it acknowledged, subscribers get.
pub struct Mosquitto {
    process: Option<Process>,
    port: u16,
    observer_port: u16,
    folder: TempDir,
}

impl Mosquitto {
    /// For anybody, without TLS.
    pub fn start() -> Self {
        Self::start_with(&MosquittoSettings::default())
    }

    /// As set.
    pub fn start_with(settings: &MosquittoSettings) -> Self {
        // Another process may take a port between its choice and the start: then others are tried.
        for _ in 0..5 {
            let mut broker = Self {
                process: None,
                port: free_port(),
                observer_port: free_port(),
                folder: tempfile::tempdir().unwrap(),
            };
            broker.configure(settings);
            if broker.launch() {
                return broker;
            }
            eprintln!("mosquitto did not start:\n{}", broker.log());
        }
        panic!("mosquitto does not start");
    }

    /// Port of the listener under test.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A subscriber with quality of service 1 on the other listener.
    pub async fn subscribe(&self, filter: &str) -> Subscriber {
        Subscriber::start(self.observer_port, filter).await
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    /// SIGTERM: connections are closed, sessions saved.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(BOUND);
        }
    }

    /// SIGKILL: sessions and queued messages are gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Starts again after `stop` or `kill`, on the same ports.
    pub fn restart(&mut self) {
        assert!(self.process.is_none(), "it still runs");
        let started = until(BOUND, || self.launch().then_some(()));
        assert!(
            started.is_some(),
            "mosquitto does not restart:\n{}",
            self.log()
        );
    }

    /// SIGHUP: reads its rules and passwords anew.
    pub fn reload(&mut self) {
        self.process.as_mut().unwrap().reload();
    }

    /// From now on only these users may connect; others that are connected are thrown out. For brokers with users.
    pub fn set_users(&mut self, users: &[(String, String)]) {
        write_passwords(&self.file("passwords"), users);
        self.reload();
    }

    /// SIGSTOP: the half-open link.
    pub fn freeze(&mut self) {
        self.process.as_mut().unwrap().freeze();
    }

    /// SIGCONT.
    pub fn thaw(&mut self) {
        self.process.as_mut().unwrap().thaw();
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn configure(&self, settings: &MosquittoSettings) {
        let mut text = format!(
            "user root\npersistence true\npersistence_location {}/\nautosave_interval 0\n\
             max_queued_messages 0\nper_listener_settings true\nlog_dest stderr\n",
            self.folder.path().display()
        );
        for line in &settings.general {
            writeln!(text, "{line}").unwrap();
        }
        let observer = self.observer_port;
        writeln!(text, "listener {observer} 127.0.0.1\nallow_anonymous true").unwrap();
        writeln!(text, "listener {} 127.0.0.1", self.port).unwrap();
        writeln!(text, "allow_anonymous {}", settings.users.is_empty()).unwrap();
        if !settings.users.is_empty() {
            let passwords = self.file("passwords");
            write_passwords(&passwords, &settings.users);
            writeln!(text, "password_file {}", passwords.display()).unwrap();
        }
        if let Some(tls) = &settings.tls {
            writeln!(text, "cafile {}", tls.ca.display()).unwrap();
            writeln!(text, "certfile {}", tls.cert.display()).unwrap();
            writeln!(text, "keyfile {}", tls.key.display()).unwrap();
            writeln!(text, "require_certificate {}", tls.client_certificate).unwrap();
        }
        for line in &settings.listener {
            writeln!(text, "{line}").unwrap();
        }
        std::fs::write(self.file("mosquitto.conf"), text).unwrap();
    }

    /// Whether it listens on both ports; not, when it ends at once.
    fn launch(&mut self) -> bool {
        let mut command = Command::new("mosquitto");
        // Debian has it where ordinary users do not look.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env("PATH", format!("{path}:/usr/sbin"));
        command.arg("-c").arg(self.file("mosquitto.conf"));
        let mut process = Process::spawn(&mut command, &self.file("log"));
        let up = until(BOUND, || {
            if process.ended().is_some() {
                return Some(false);
            }
            (listens(self.port) && listens(self.observer_port)).then_some(true)
        });
        let up = up == Some(true);
        if up {
            self.process = Some(process);
        }
        up
    }
}

fn write_passwords(file: &Path, users: &[(String, String)]) {
    std::fs::write(file, "").unwrap();
    for (user, password) in users {
        let output = Command::new("mosquitto_passwd")
            .arg("-b")
            .arg(file)
            .args([user, password])
            .output()
            .unwrap();
        assert!(output.status.success(), "mosquitto_passwd: {output:?}");
    }
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn what_the_broker_takes_its_subscriber_gets_also_across_a_restart() {
    let mut broker = Mosquitto::start();
    let subscriber = broker.subscribe("t/#").await;
    let publisher = broker.subscribe("none").await;
    publisher.publish("t/1", b"one", false);
    subscriber
        .wait_for(Duration::from_secs(10), |all| all.len() == 1)
        .await;
    broker.freeze();
    broker.thaw();
    broker.stop();
    broker.restart();
    publisher.publish("t/2", b"two", true);
    let all = subscriber
        .wait_for(Duration::from_secs(10), |all| all.len() == 2)
        .await;
    assert_eq!(
        (all[1].topic.as_str(), &all[1].payload[..]),
        ("t/2", &b"two"[..])
    );
    assert!(!all[0].retain && all[1].retain);
    broker.kill();
    broker.restart();
    assert!(listens(broker.port()));
}
