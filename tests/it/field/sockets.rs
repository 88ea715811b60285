//! One socket per endpoint, however many devices are behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use forebay::field::LineRequest;
use forebay::field::modbus::frame::ReadRequest;
use forebay::field::modbus::map::{DeviceMap, Table};
use forebay::reading::{EventName, Quality};
use forebay::simulator::device::{Behaviour, SimulatedDevice, serve_mbap};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::rig::*;

const EVERY: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_millis(200);
const UNITS: std::ops::RangeInclusive<u8> = 1..=4;

/// A gateway that counts the connections it takes.
async fn gateway(devices: Vec<SimulatedDevice>) -> (u16, Arc<AtomicUsize>, JoinSet<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let taken = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&taken);
    let mut server = JoinSet::new();
    server.spawn(async move {
        let mut open = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            count.fetch_add(1, Ordering::Relaxed);
            let devices = devices.clone();
            open.spawn(async move {
                let _ = serve_mbap(stream, devices).await;
            });
        }
    });
    (port, taken, server)
}

fn devices() -> Vec<SimulatedDevice> {
    UNITS.map(|unit| device(unit, 10)).collect()
}

fn poll(port: u16) -> Running {
    let map = DeviceMap {
        points: (0..10).map(point).collect(),
        ..DeviceMap::default()
    };
    let devices = UNITS.map(|unit| device_settings(unit, map.clone(), EVERY));
    run(line(tcp(port), TIMEOUT, devices.collect()))
}

/// How many connections to `port` this machine has open from the client's side.
fn open_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let remote = format!(":{port:04X}");
    let rows = table.lines().skip(1).map(|row| row.split_whitespace());
    let established = rows.filter(|row| {
        let mut row = row.clone().skip(2);
        row.next().is_some_and(|at| at.ends_with(&remote)) && row.next() == Some("01")
    });
    established.count()
}

#[tokio::test]
async fn all_units_of_a_gateway_and_reads_on_demand_share_one_socket() {
    let (port, taken, _server) = gateway(devices()).await;
    let line = poll(port);
    for _ in 0..10 {
        for unit in UNITS {
            line.outbox
                .wait_for(&format!("d{unit}"), Quality::Good)
                .await;
            let (answer, answered) = oneshot::channel();
            let request = ReadRequest::new(unit, Table::InputRegister, 3, 2).unwrap();
            line.inbox
                .send(LineRequest::Read { request, answer })
                .await
                .unwrap();
            answered.await.unwrap().unwrap();
        }
    }
    assert_eq!(taken.load(Ordering::Relaxed), 1);
    assert_eq!(line.outbox.events(), []);
}

#[tokio::test]
async fn a_socket_is_closed_before_the_next_is_opened() {
    let devices = devices();
    let (port, taken, _server) = gateway(devices.clone()).await;
    let line = poll(port);
    line.outbox.wait_for("d4", Quality::Good).await;
    let bad = [
        Behaviour {
            silent: true,
            ..Behaviour::default()
        },
        Behaviour {
            reset: true,
            ..Behaviour::default()
        },
    ];
    for _ in 0..3 {
        for behaviour in &bad {
            devices[0].script([behaviour.clone()]);
            let before = taken.load(Ordering::Relaxed);
            while taken.load(Ordering::Relaxed) == before {
                line.outbox.wait_for("d4", Quality::Good).await;
                assert!(open_to(port) <= 1);
            }
            line.outbox.wait_for("d1", Quality::Good).await;
            assert!(open_to(port) <= 1);
        }
    }
    let away = line.outbox.events().contains(&EventName::LineDown);
    assert!(!away, "the second attempt mends it");
    assert_no_wrong_value(&line.outbox, UNITS);
}
