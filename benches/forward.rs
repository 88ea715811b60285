//! How fast a backlog drains to an MQTT broker, against the client library alone: the same bytes, the same window, the same
//! broker, in turns. `cargo bench --bench forward` needs mosquitto and prints floor, forebay and their ratio.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    dead_code,
    unreachable_pub,
    missing_docs,
    unused_imports
)]

#[path = "../tests/it/harness"]
mod harness {
    pub(crate) mod collected;
    pub(crate) mod mosquitto;
    pub(crate) mod process;
    pub(crate) mod subscriber;
}
#[path = "../tests/it/forward/memory.rs"]
mod memory;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use forebay::payload::{Codec, Part};
use forebay::reading::{Clock, ClockSource, Reading, Schema, SchemaPoint, SystemClock, Value};
use forebay::upstream::settings::{Endpoint, MqttSettings, MqttVersion, Qos, UpstreamSettings};
use harness::mosquitto::Mosquitto;
use memory::{Forwarder, Memory, name, schema, settings};
use rumqttc::{AsyncClient, Event, MqttOptions, NetworkOptions, Packet, QoS};

const RECORDS: u64 = 100_000;
const VALUES: usize = 50;
const ROUNDS: usize = 5;

/// What a run took.
#[derive(Clone, Copy)]
struct Cost {
    wall: f64,
    cpu: f64,
}

fn main() {
    let rounds = if std::env::args().any(|argument| argument == "--bench") {
        ROUNDS
    } else {
        1
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let broker = Mosquitto::start();
        let store = backlog();
        let messages = encoded(&store).await;
        println!(
            "{RECORDS} records of {VALUES} values, {} bytes each",
            messages[0].len()
        );
        for window in [100, 1_000] {
            let (mut floor, mut ours) = (Vec::new(), Vec::new());
            for _ in 0..rounds {
                floor.push(raw(&broker, window, &messages).await);
                ours.push(drain(&broker, window, &store).await);
            }
            report(window, floor, ours);
        }
    });
}

fn backlog() -> Memory {
    let mut wide = Schema::clone(&schema("meter-3"));
    wide.points = (0..VALUES)
        .map(|n| SchemaPoint {
            name: name(&format!("voltage_{n}")),
            ..wide.points[0].clone()
        })
        .collect();
    let (wide, store) = (Arc::new(wide), Memory::new());
    for n in 0..RECORDS {
        let readings = (0..VALUES).map(|point| {
            Some(Reading::good(Value::F64(
                (n * 50 + point as u64) as f64 / 10.0,
            )))
        });
        store.add(forebay::reading::Body::Scan(forebay::reading::Scan {
            schema: Arc::clone(&wide),
            readings: readings.collect(),
            full: false,
        }));
    }
    store
}

/// The same bytes for the floor, made beforehand.
async fn encoded(store: &Memory) -> Vec<Bytes> {
    use forebay::forward::Source;
    use forebay::store::{ReadLimit, Wanted};
    let limit = ReadLimit {
        records: usize::MAX,
        bytes: usize::MAX,
    };
    let records = store.read(1, limit, Wanted::all()).await.unwrap().records;
    let start = Cost::begin();
    let mut codec = Codec::new(settings(upstream(1, 1)).payload, "hall-2");
    let messages: Vec<_> = records
        .iter()
        .map(|record| codec.encode(record, Part::WHOLE, false))
        .collect();
    let cost = start.end();
    println!(
        "encoding alone: {:.2} µs a message",
        cost.cpu * 1e6 / RECORDS as f64
    );
    messages
}

fn upstream(port: u16, window: u16) -> UpstreamSettings {
    UpstreamSettings::Mqtt(MqttSettings {
        endpoints: vec![Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            tls: None,
        }],
        version: MqttVersion::V3,
        client_id: "forebay".to_owned(),
        login: None,
        qos: Qos::AtLeastOnce,
        inflight: window,
        keep_alive: Duration::from_secs(30),
        ack_timeout: Duration::from_secs(30),
    })
}

async fn drain(broker: &Mosquitto, window: u16, store: &Memory) -> Cost {
    store.forget();
    let start = Cost::begin();
    let forwarder = Forwarder::start(settings(upstream(broker.port(), window)), store);
    store.drained().await;
    let cost = start.end();
    forwarder.stop().await;
    cost
}

/// As the library's users do it: a window of publishes, one poll after the other.
async fn raw(broker: &Mosquitto, window: u16, messages: &[Bytes]) -> Cost {
    let mut options = MqttOptions::new("raw", "127.0.0.1", broker.port());
    options
        .set_inflight(window)
        .set_max_packet_size(1 << 20, 1 << 20);
    let (client, mut events) = AsyncClient::new(options, window.into());
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(true);
    events.set_network_options(network);
    let start = Cost::begin();
    let (mut next, mut out, mut done) = (0, 0, 0);
    while done < messages.len() {
        while out < window && next < messages.len() {
            let message = messages[next].clone();
            client
                .publish_bytes("t/hall-2/meter-3/default", QoS::AtLeastOnce, false, message)
                .await
                .unwrap();
            (next, out) = (next + 1, out + 1);
        }
        if let Event::Incoming(Packet::PubAck(_)) = events.poll().await.unwrap() {
            (out, done) = (out - 1, done + 1);
        }
    }
    start.end()
}

struct Begin {
    wall: Instant,
    cpu: f64,
}

impl Cost {
    fn begin() -> Begin {
        Begin {
            wall: Instant::now(),
            cpu: cpu(),
        }
    }
}

impl Begin {
    fn end(self) -> Cost {
        Cost {
            wall: self.wall.elapsed().as_secs_f64(),
            cpu: cpu() - self.cpu,
        }
    }
}

/// CPU time of this process so far, in seconds.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn report(window: u16, floor: Vec<Cost>, ours: Vec<Cost>) {
    let median = |costs: &[Cost], what: fn(&Cost) -> f64| {
        let mut all: Vec<f64> = costs.iter().map(what).collect();
        all.sort_by(f64::total_cmp);
        (all[all.len() / 2], all[0], all[all.len() - 1])
    };
    let line = |who: &str, costs: &[Cost]| {
        let (wall, least, most) = median(costs, |cost| cost.wall);
        let (cpu, ..) = median(costs, |cost| cost.cpu);
        let count = RECORDS as f64;
        println!(
            "window {window:>5} {who:>8}: {:>7.0} records/s ({:.0} to {:.0}), {:.2} µs CPU each",
            count / wall,
            count / most,
            count / least,
            cpu * 1e6 / count
        );
        wall
    };
    let ratio = line("rumqttc", &floor) / line("forebay", &ours);
    println!("window {window:>5}    ratio: {ratio:.2}");
}
