//! kill -9 at any instant, with the broker there and away, and in the middle of a backlog.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use forebay::reading::{
    Body, Clock, MapHash, Name, Observation, Outlet, Reading, Scan, Schema, SchemaPoint,
    SystemClock, Value, ValueType,
};
use forebay::store::settings::{StoreSettings, WhenFull};
use forebay::store::{self, Inlet};
use serde_json::json;
use tokio::time::sleep;

use super::rig::*;
use crate::harness::gateway::Gateway;
use crate::harness::modbus::ModbusServer;
use crate::harness::subscriber::Received;

/// What the upstreams of these tests have in flight.
const WINDOW: u64 = 50;
/// Confirmations that a kill may cost beside them, as docs/store.md has it.
const AT_RISK: u64 = 500;
/// What arrives in each life: so much that a cursor which is not written in time shows.
const LIFE: u64 = 10 * (WINDOW + AT_RISK);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs pymodbus, mosquitto"]
async fn killed_at_any_instant_it_starts_again_and_delivers_every_record() {
    let server = ModbusServer::tcp(0, &json!({"1": {"holding": {"0": [7, 8, 9]}}}));
    let map = "title = \"counter\"\nsource = \"made for the tests\"\n[points]\na = { holding = 0, type = \"u16\" }\n";
    let mut broker = mosquitto();
    let subscriber = broker.subscribe("forebay/#").await;
    let line = tcp_device("press", server.port, "counter", "20ms");
    let config = format!(
        "[store]\ncommit_window = \"20ms\"\n{line}{}",
        mqtt_upstream(broker.port(), "3.1.1")
    );
    let mut gateway = Gateway::new(&config, &[("counter", map)]);
    let kills = share(50, 10);
    let mut there = true;
    for kill in 0..kills {
        gateway.launch();
        sleep(Duration::from_millis(fastrand::u64(50..1500))).await;
        if kill % 3 == 2 {
            there = !there;
            if there {
                broker.restart()
            } else {
                broker.stop()
            }
            sleep(Duration::from_millis(fastrand::u64(0..500))).await;
        }
        gateway.kill();
    }
    if !there {
        broker.restart();
    }
    let before = subscriber.received().len();
    gateway.start();
    subscriber
        .wait_for(BOUND, |all| all.len() > before + 50)
        .await;
    live(&subscriber).await;
    stop(&mut gateway);
    let messages = all_of(&subscriber).await;
    let ledger = ledger_of(&messages);
    ledger.assert_complete();
    let starts = ledger.events("gateway-started");
    // A process that was killed before its first commit has left nothing; the later ones tell that it was not clean.
    assert!(
        starts.len() as u64 > kills / 2,
        "{} starts of {kills}",
        starts.len()
    );
    assert!(
        starts[1..]
            .iter()
            .all(|start| start["detail"]["clean"] == false),
        "{starts:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mosquitto"]
async fn a_kill_in_the_middle_of_a_backlog_repeats_no_more_than_is_promised() {
    let broker = mosquitto();
    let subscriber = broker.subscribe("forebay/#").await;
    let upstream = mqtt_upstream(broker.port(), "5");
    let mut gateway = Gateway::new(&format!("{upstream}start = \"oldest\"\n"), &[]);
    let kills = share(30, 4);
    let backlog = (kills + 1) * 2 * LIFE;
    fill(&gateway.folder().join("state/store"), backlog).await;
    for _ in 0..kills {
        let before = subscriber.received().len() as u64;
        let wanted = before + LIFE + fastrand::u64(0..LIFE / 4);
        gateway.launch();
        subscriber
            .wait_for(BOUND, |all| all.len() as u64 >= wanted)
            .await;
        gateway.kill();
    }
    gateway.start();
    subscriber
        .wait_for(BOUND, |all| {
            all.iter().rev().take(20).any(is_last_of(backlog))
        })
        .await;
    stop(&mut gateway);
    let messages = all_of(&subscriber).await;
    let ledger = ledger_of(&messages);
    ledger.assert_complete();
    assert_eq!(ledger.scans("press").len() as u64, backlog);
    let repeated = repeated(&messages);
    println!("repeated after each kill: {repeated:?}");
    assert!(repeated.len() as u64 <= kills);
    assert!(
        repeated.iter().all(|count| *count <= WINDOW + AT_RISK),
        "{repeated:?}"
    );
}

/// Puts `count` scans into the store in `dir`, with nobody there who sends them. The value of each is its number.
async fn fill(dir: &Path, count: u64) {
    // Half of what may wait in memory.
    const AT_ONCE: u64 = 10_000;
    let settings = StoreSettings {
        dir: dir.to_owned(),
        max_size: StoreSettings::LEAST_SIZE,
        max_age: None,
        keep_free: None,
        when_full: WhenFull::DropOldest,
        commit_window: Duration::ZERO,
    };
    let name = |text| Name::new(text).unwrap();
    let schema = Arc::new(Schema {
        line: name("press-line"),
        device: name("press"),
        scan: name("default"),
        labels: Vec::new(),
        map: MapHash(7),
        points: vec![SchemaPoint {
            name: name("n"),
            value_type: ValueType::Int,
            unit: None,
        }],
    });
    let clock = Clock::new(SystemClock::new());
    let inlet = Inlet::new(clock.clone());
    let (store, writer) = store::open(&settings, clock.clone(), &inlet).unwrap();
    let writer = std::thread::spawn(|| writer.run());
    for n in 1..=count {
        inlet.put(Observation {
            stamp: clock.now(),
            body: Body::Scan(Scan {
                schema: Arc::clone(&schema),
                readings: vec![Some(Reading::good(Value::Int(n.cast_signed())))],
                full: false,
            }),
        });
        if n % AT_ONCE == 0 {
            store.flushed().await;
        }
    }
    store.stop();
    writer.join().unwrap();
}

/// Whether a message is the scan of that number.
fn is_last_of(number: u64) -> impl Fn(&Received) -> bool {
    move |message| message.json()["values"]["n"] == number
}

/// How many scans came again after each kill that repeated any: all that are not above the highest one before.
fn repeated(messages: &[Received]) -> Vec<u64> {
    let (mut repeated, mut highest, mut again) = (Vec::new(), 0, false);
    for message in messages.iter().map(Received::json) {
        let (true, Some(seq)) = (message["values"].is_object(), message["seq"].as_u64()) else {
            continue;
        };
        if seq > highest {
            (highest, again) = (seq, false);
            continue;
        }
        if !std::mem::replace(&mut again, true) {
            repeated.push(0);
        }
        *repeated.last_mut().unwrap() += 1;
    }
    repeated
}
