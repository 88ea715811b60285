//! kill -9 at any instant, with the broker there and away.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::rig::*;
use crate::harness::gateway::Gateway;
use crate::harness::modbus::ModbusServer;

const WINDOW: u64 = 50;
/// Confirmations that need not be on disk yet when the process dies.
const UNWRITTEN: u64 = 500;

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
    let most = kills * (WINDOW + UNWRITTEN);
    assert!(
        ledger.duplicates() <= most,
        "{} records came twice, {most} at most",
        ledger.duplicates()
    );
}
