//! A restart on a drained store: small, fast, nothing replayed.

use std::time::{Duration, Instant};

use serde_json::json;

use super::rig::*;
use crate::harness::gateway::Gateway;
use crate::harness::modbus::ModbusServer;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs pymodbus, mosquitto"]
async fn a_restart_on_a_drained_store_is_small_and_fast_and_repeats_nothing() {
    let server = ModbusServer::tcp(0, &json!({"1": {"holding": {"0": [7, 8, 9]}}}));
    let mut map = String::from("title = \"many\"\nsource = \"made for the tests\"\n[points]\n");
    for point in 0..100 {
        map += &format!("p{point} = {{ holding = {point}, type = \"u16\" }}\n");
    }
    let broker = mosquitto();
    let subscriber = broker.subscribe("forebay/#").await;
    let line = tcp_device("press", server.port, "many", "10ms");
    let mut gateway = Gateway::new(
        &format!("{line}{}", mqtt_upstream(broker.port(), "5")),
        &[("many", &map)],
    );
    gateway.start();
    let many = share(20_000, 1_000) as usize;
    subscriber.wait_for(BOUND * 5, |all| all.len() > many).await;
    stop(&mut gateway);
    let messages = all_of(&subscriber).await;
    let before = messages.len();

    let start = Instant::now();
    gateway.launch();
    let messages = subscriber
        .wait_for(BOUND, |all| all.len() > before + 10)
        .await;
    let took = start.elapsed();
    let rss = gateway.rss_kib();
    let disk = gateway.disk();
    stop(&mut gateway);
    // Generous, as tests do not measure: replaying the journal of what was delivered takes longer and more.
    assert!(
        took < Duration::from_secs(20),
        "{took:?} until the first records"
    );
    assert!(rss < 64 << 10, "{rss} KiB");
    assert!(disk < 128 << 20, "{disk} bytes on disk");
    let ledger = ledger_of(&messages);
    assert_eq!(ledger.duplicates(), 0, "delivered records came again");
    ledger.assert_complete();
    assert_eq!(ledger.events("gateway-started")[1]["detail"]["clean"], true);
}
