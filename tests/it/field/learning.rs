//! Registers that a map names and a device has not, and reads that are too long for it.

use std::path::Path;
use std::time::Duration;

use forebay::field::LineRequest;
use forebay::field::learned::LearnedFile;
use forebay::field::modbus::known::{Hole, Known};
use forebay::field::modbus::map::{DeviceMap, Limits, Table};
use forebay::field::settings::{LineSettings, Transport};
use forebay::reading::{Body, EventName, Observation, Quality, Scan};
use forebay::simulator::device::{Behaviour, SimulatedDevice};
use serde_json::json;

use super::rig::*;
use crate::harness::modbus::ModbusServer;

const EVERY: Duration = Duration::from_millis(500);
const TIMEOUT: Duration = Duration::from_secs(1);
const POINTS: u16 = 500;

fn map() -> DeviceMap {
    DeviceMap {
        points: (0..POINTS).map(point).collect(),
        ..DeviceMap::default()
    }
}

/// 40 of the 500: lone ones, pairs, and runs of up to five.
fn holes() -> Vec<u16> {
    let lone = (0..20).map(|n| 7 + 23 * n);
    let pairs = [31, 32, 101, 102, 250, 251];
    let runs = [(400, 5), (480, 5), (300, 4)];
    let runs = runs.iter().flat_map(|&(at, len)| at..at + len);
    let mut all: Vec<u16> = lone.chain(pairs).chain(runs).collect();
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 40);
    all
}

fn scan(observation: &Observation) -> Option<&Scan> {
    match &observation.body {
        Body::Scan(scan) => Some(scan),
        _ => None,
    }
}

/// Holes are null with their exception, everything else is good.
fn assert_only_holes_are_missing(scan: &Scan) {
    let holes = holes();
    for (address, reading) in (0..POINTS).zip(&scan.readings) {
        let quality = reading.as_ref().unwrap().quality();
        let expected = if holes.contains(&address) {
            Quality::Exception(2)
        } else {
            Quality::Good
        };
        assert_eq!(quality, expected, "p{address}");
    }
}

/// What reads of 500 registers without the holes need at the least: a read ends before a hole, and after 125.
fn fewest_requests() -> u64 {
    let mut requests = 0;
    let mut first = 0;
    for hole in holes().into_iter().chain([POINTS]) {
        requests += u64::from((hole - first).div_ceil(125));
        first = hole + 1;
    }
    requests
}

fn settings(transport: Transport) -> LineSettings {
    line(transport, TIMEOUT, vec![device_settings(1, map(), EVERY)])
}

async fn scans(line: &Running, count: usize) -> Vec<Scan> {
    let taken = |seen: &[Observation]| {
        let scans: Vec<Scan> = seen.iter().filter_map(scan).cloned().collect();
        (scans.len() >= count).then_some(scans)
    };
    line.outbox.wait(0, taken).await
}

/// Learns in the first scan what a device refuses, and has it again after a restart.
async fn holes_cost_their_own_points_only(settings: LineSettings, folder: &Path) {
    let line = run_learning(settings.clone(), folder);
    let first = &scans(&line, 1).await[0];
    let learning = line.status.devices[0].counters.requests.get();
    assert_only_holes_are_missing(first);
    // 500 points are 4 reads; a hole among n points may take log2(n) + 1 more, and one where the plan is cut.
    let cuts = fewest_requests();
    let most = cuts + 40 * (7 + 1);
    assert!(learning <= most, "{learning} requests of {most}");

    let before = line.status.devices[0].counters.requests.get();
    let seen = scans(&line, 6).await.len() - 1;
    let after = line.status.devices[0].counters.requests.get() - before;
    // The one that may be on its way, and a hole that is tried again.
    let planned = cuts * seen as u64;
    assert!(
        (planned..=planned + cuts + 1).contains(&after),
        "{after} of {planned}"
    );
    for scan in scans(&line, 6).await {
        assert_only_holes_are_missing(&scan);
    }
    assert_eq!(line.outbox.events(), [EventName::PointUnreadable], "once");
    let device = &settings.devices[0];
    let file = LearnedFile::new(folder, device);
    let written = async {
        while file.load().holes.len() < 40 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), written)
        .await
        .unwrap();
    drop(line);

    let line = run_learning(settings, folder);
    assert_only_holes_are_missing(&scans(&line, 1).await[0]);
    let requests = line.status.devices[0].counters.requests.get();
    assert!(requests <= cuts + 1, "{requests} after a restart");
    assert_eq!(line.outbox.events(), [], "told before");
}

#[tokio::test]
async fn forty_holes_among_five_hundred_points_cost_their_own_points_only() {
    let simulated = SimulatedDevice::new(1);
    for address in (0..POINTS).filter(|address| !holes().contains(address)) {
        simulated.set(Table::HoldingRegister, address, &[word_at(1, address)]);
    }
    let (port, _server) = serve(0, vec![simulated]).await;
    let folder = tempfile::tempdir().unwrap();
    holes_cost_their_own_points_only(settings(tcp(port)), folder.path()).await;
}

#[tokio::test]
#[ignore = "needs pymodbus"]
async fn forty_holes_in_a_server_of_others_cost_their_own_points_only() {
    let server = ModbusServer::tcp(0, &json!({"1": {"holes": {"holding": holes()}}}));
    let folder = tempfile::tempdir().unwrap();
    holes_cost_their_own_points_only(settings(tcp(server.port)), folder.path()).await;
}

#[tokio::test(start_paused = true)]
async fn a_device_that_takes_less_at_once_is_asked_for_less() {
    let refuses = Behaviour {
        most: Some(37),
        ..Behaviour::default()
    };
    let shortens = Behaviour {
        short: Some(37),
        ..Behaviour::default()
    };
    for behaviour in [refuses, shortens] {
        for transport in [tcp(1), rtu(Path::new("unused")), rtu_over_tcp(1)] {
            let simulated = device(1, POINTS);
            simulated.behave(behaviour.clone());
            let line = run_in_memory(settings(transport.clone()), vec![simulated.clone()]);
            let counted = |count| scans(&line, count);
            counted(2).await;
            let before = simulated.requests();
            let all = counted(12).await;
            for scan in &all {
                let good = |r: &Option<forebay::reading::Reading>| {
                    r.as_ref().is_some_and(|r| r.quality() == Quality::Good)
                };
                assert!(
                    scan.readings.iter().all(good),
                    "{behaviour:?} {transport:?}"
                );
            }
            assert_eq!(
                simulated.requests() - before,
                10 * u64::from(POINTS.div_ceil(37))
            );
            assert_eq!(line.outbox.events(), []);
            assert_no_wrong_value(&line.outbox, [1]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_that_cannot_be_read_over_costs_no_point() {
    let simulated = SimulatedDevice::new(1);
    let addresses: Vec<u16> = (0..40).map(|n| 3 * n).collect();
    for &address in &addresses {
        simulated.set(Table::HoldingRegister, address, &[word_at(1, address)]);
        if address % 2 == 0 {
            simulated.set(Table::HoldingRegister, address + 1, &[0, 0]);
        }
    }
    let map = DeviceMap {
        points: addresses.iter().map(|&address| point(address)).collect(),
        limits: Limits {
            gap: 8,
            ..Limits::default()
        },
        ..DeviceMap::default()
    };
    let settings = line(tcp(1), TIMEOUT, vec![device_settings(1, map, EVERY)]);
    let line = run_in_memory(settings, vec![simulated.clone()]);
    line.outbox.wait_for("d1", Quality::Good).await;
    assert_eq!(good_scans(&line.outbox, "d1"), 1, "the first is good");
    let before = simulated.requests();
    let count = scans(&line, 1).await.len();
    let more = scans(&line, count + 10).await.len() - count;
    assert_eq!(simulated.requests() - before, 20 * more as u64);
    assert_eq!(line.outbox.events(), []);
}

#[tokio::test(start_paused = true)]
async fn a_hole_that_has_closed_is_found_and_one_can_ask_for_it() {
    let simulated = device(1, 20);
    let missing = |simulated: &SimulatedDevice| {
        for address in [30, 32] {
            simulated.set(Table::HoldingRegister, address, &[word_at(1, address)]);
        }
    };
    let map = DeviceMap {
        points: (0..20).chain([30, 32]).map(point).collect(),
        ..DeviceMap::default()
    };
    for on_demand in [false, true] {
        let simulated = if on_demand {
            device(1, 20)
        } else {
            simulated.clone()
        };
        let settings = line(
            tcp(1),
            TIMEOUT,
            vec![device_settings(1, map.clone(), EVERY)],
        );
        let line = run_in_memory(settings, vec![simulated.clone()]);
        scans(&line, 3).await;
        missing(&simulated);
        let from = scans(&line, 4).await.len();
        if on_demand {
            let (answer, answered) = tokio::sync::oneshot::channel();
            let device = name("d1");
            let request = LineRequest::TryAgain { device, answer };
            line.inbox.send(request).await.unwrap();
            assert!(answered.await.unwrap());
        }
        line.outbox.wait_for("d1", Quality::Good).await;
        let waited = scans(&line, 1).await.len() - from;
        assert_eq!(waited < 10, on_demand, "{waited} scans");
        assert_no_wrong_value(&line.outbox, [1]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_map_without_a_single_right_register_is_learned_in_one_scan() {
    let simulated = SimulatedDevice::new(1);
    let line = run_in_memory(settings(tcp(1)), vec![simulated.clone()]);
    scans(&line, 1).await;
    assert!(simulated.requests() < 1200, "{}", simulated.requests());
    let before = simulated.requests();
    scans(&line, 10).await;
    assert!(
        simulated.requests() <= before + 1,
        "nothing is asked in vain"
    );
    assert_eq!(line.outbox.events(), [EventName::PointUnreadable]);
}

#[test]
fn what_is_kept_is_of_one_map_and_device() {
    let folder = tempfile::tempdir().unwrap();
    let known = Known {
        holes: vec![Hole {
            table: Table::Coil,
            address: 3,
            count: 1,
            exception: 2,
        }],
        ..Known::default()
    };
    let file = |unit| LearnedFile::new(folder.path(), &device_settings(unit, map(), EVERY));
    file(1).save(&known).unwrap();
    assert_eq!(file(1).load(), known);
    assert_eq!(file(2).load(), Known::default());
}
