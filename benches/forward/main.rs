//! How fast a backlog drains: forebay's forwarder on a store on disk, against the client libraries and a bare socket that
//! publish the same bytes with the same window, in turns.
//!
//! `scripts/bench forward [--records 1000000] [--runs 5] [--kind mqtt|mqtt-5|amqp] [--inflight N]`; needs mosquitto and RabbitMQ.
//! Each figure is of a process of its own; bytes on the wire are counted by a proxy in a run of their own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    dead_code,
    unreachable_pub,
    missing_docs,
    unused_imports
)]

mod backlog;
mod figures;
mod floors;
#[path = "../../tests/it/harness"]
mod harness {
    pub(crate) mod certs;
    pub(crate) mod collected;
    pub(crate) mod mosquitto;
    pub(crate) mod process;
    pub(crate) mod rabbitmq;
    pub(crate) mod subscriber;
}
#[path = "../../tests/it/forward/memory.rs"]
mod memory;
#[path = "../shared/mod.rs"]
mod shared;
mod subject;
mod wire;

use std::path::Path;
use std::process::Command;

use figures::Figures;
use harness::mosquitto::{Mosquitto, MosquittoSettings};
use harness::rabbitmq::RabbitMq;
use shared::Arguments;
use tempfile::TempDir;

/// Values of a record.
pub(crate) const VALUES: usize = 50;
/// Where all messages go: an MQTT topic or an AMQP queue.
pub(crate) const PLACE: &str = "hall-2/meter-3/default";
/// Records of the run in which bytes are counted, and how many are in flight.
const COUNTED: usize = 20_000;
const COUNTED_IN_FLIGHT: u16 = 100;

/// A broker to publish to.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) port: u16,
    /// Of AMQP.
    pub(crate) vhost: String,
    pub(crate) inflight: u16,
}

/// A protocol, with how many messages in flight it is measured, and who publishes; the first is the one that the others are
/// set against.
struct Kind {
    name: &'static str,
    windows: [u16; 2],
    roles: &'static [&'static str],
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "mqtt-3.1.1",
        windows: [100, 1_000],
        roles: &["rumqttc", "forebay-3.1.1", "socket"],
    },
    Kind {
        name: "mqtt-5",
        // mosquitto grants 20 where it is not told otherwise.
        windows: [20, 1_000],
        roles: &["rumqttc-5", "forebay-5", "socket-5", "socket-5-bare"],
    },
    Kind {
        name: "amqp",
        windows: [100, 1_000],
        roles: &["lapin", "forebay-amqp"],
    },
];

fn main() {
    let arguments = Arguments::new();
    if let Some([role, port, vhost, inflight, records, dir]) = arguments.role() {
        let target = Target {
            port: port.parse().unwrap(),
            vhost: vhost.clone(),
            inflight: inflight.parse().unwrap(),
        };
        let (dir, records) = (Path::new(dir), records.parse().unwrap());
        let figures = play(role, &target, records, dir);
        return println!("{}", serde_json::to_string(&figures).unwrap());
    }
    let (runs, records) = (
        arguments.value("--runs", 5),
        arguments.value("--records", 1_000_000),
    );
    let only: String = arguments.value("--kind", String::new());
    let inflight: u16 = arguments.value("--inflight", 0);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let backlog = backlog::filled(records);
    println!(
        "{records} records of {VALUES} values, {} bytes each as JSON; {runs} interleaved runs, median (least to most)",
        backlog.message_size
    );
    for kind in KINDS.iter().filter(|kind| kind.name.starts_with(&only)) {
        let windows = match inflight {
            0 => &kind.windows[..],
            _ => &[inflight],
        };
        for &inflight in windows {
            let mut rows: Vec<_> = kind.roles.iter().map(|&role| (role, Vec::new())).collect();
            for run in 0..runs {
                for (role, figures) in &mut rows {
                    figures.push(one_run(&runtime, role, inflight, records, &backlog.dir));
                }
                eprintln!(
                    "{} with {inflight} in flight: run {} of {runs} done",
                    kind.name,
                    run + 1
                );
            }
            Figures::print(&format!("{}, {inflight} in flight", kind.name), &rows);
        }
        let few = backlog::filled(COUNTED.min(records));
        println!(
            "  bytes to the broker a value, everything above TCP counted (one TCP segment more: 40 bytes and up)"
        );
        for role in kind.roles {
            let bytes = with_broker(&runtime, role, COUNTED_IN_FLIGHT, |port, vhost| {
                let counter = runtime.block_on(wire::Counter::start(port));
                let target = Target {
                    port: counter.port(),
                    vhost,
                    inflight: COUNTED_IN_FLIGHT,
                };
                apart(role, &target, few.records, &few.dir);
                runtime.block_on(counter.bytes())
            });
            println!(
                "    {role:<14} {:.2}",
                bytes as f64 / (few.records * VALUES) as f64
            );
        }
    }
}

/// Publishes `records` records of what lies in `dir`, in this process.
fn play(role: &str, target: &Target, records: usize, dir: &Path) -> Figures {
    let messages = || backlog::messages(dir);
    match role {
        "rumqttc" => floors::rumqttc(target, records, &messages()),
        "rumqttc-5" => floors::rumqttc_5(target, records, &messages()),
        "socket" => floors::socket(target, records, &messages()),
        "socket-5" => floors::socket_5(target, records, &messages(), false),
        "socket-5-bare" => floors::socket_5(target, records, &messages(), true),
        "lapin" => floors::lapin(target, records, &messages()),
        role => subject::drain(role, target, dir),
    }
}

/// As [`play`], in a process of its own, on a copy of the backlog.
fn apart(role: &str, target: &Target, records: usize, dir: &TempDir) -> Figures {
    let copy = tempfile::tempdir().unwrap();
    let copied = Command::new("cp")
        .arg("-r")
        .arg(dir.path().join("."))
        .arg(copy.path())
        .status();
    assert!(copied.unwrap().success());
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "role",
            role,
            &target.port.to_string(),
            &target.vhost,
            &target.inflight.to_string(),
        ])
        .arg(records.to_string())
        .arg(copy.path())
        .stderr(std::process::Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{role} failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn one_run(
    runtime: &tokio::runtime::Runtime,
    role: &str,
    inflight: u16,
    records: usize,
    dir: &TempDir,
) -> Figures {
    with_broker(runtime, role, inflight, |port, vhost| {
        let target = Target {
            port,
            vhost,
            inflight,
        };
        apart(role, &target, records, dir)
    })
}

/// A broker for one run: a fresh mosquitto that grants so many messages in flight, or a virtual host of RabbitMQ's with a queue
/// that keeps the newest messages only.
fn with_broker<T>(
    runtime: &tokio::runtime::Runtime,
    role: &str,
    inflight: u16,
    run: impl FnOnce(u16, String) -> T,
) -> T {
    if !matches!(role, "lapin" | "forebay-amqp") {
        let broker = Mosquitto::start_with(&MosquittoSettings {
            general: vec![format!("max_inflight_messages {inflight}")],
            ..Default::default()
        });
        return run(broker.port(), String::new());
    }
    let broker = RabbitMq::shared();
    runtime.block_on(async {
        let most = [("x-max-length", lapin::types::AMQPValue::LongInt(10_000))];
        broker.client().await.queue_with(PLACE, &most).await;
    });
    let (port, vhost) = (broker.port(), broker.vhost().to_owned());
    run(port, vhost)
}
