//! What the devices of a line get of it, and when.

use std::time::Duration;

use forebay::reading::Quality;
use forebay::simulator::device::Behaviour;

use super::rig::*;

const EVERY: Duration = Duration::from_millis(100);

#[tokio::test(start_paused = true)]
async fn a_contiguous_map_of_100_registers_costs_one_request_a_cycle() {
    let simulated = device(1, 100);
    let map = forebay::field::modbus::map::DeviceMap {
        points: (0..100).map(point).collect(),
        ..Default::default()
    };
    let settings = line(tcp(1), EVERY, vec![device_settings(1, map, EVERY)]);
    let line = run_in_memory(settings, vec![simulated.clone()]);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let scans = line.outbox.scans_of("d1").len();
    assert!((600..=601).contains(&scans), "{scans}");
    assert_eq!(simulated.requests(), scans as u64);
}

#[tokio::test(start_paused = true)]
async fn dead_devices_leave_the_live_ones_95_percent_of_their_rate() {
    for dead in [1, 2, 4] {
        for transport in [tcp(1), rtu(std::path::Path::new("unused"))] {
            let units: Vec<u8> = (1..=8).collect();
            let devices: Vec<_> = units.iter().map(|&unit| device(unit, 10)).collect();
            for device in &devices[..dead] {
                device.behave(Behaviour {
                    silent: true,
                    ..Behaviour::default()
                });
            }
            let settings = units
                .iter()
                .map(|&unit| device_settings(unit, alone([0]), EVERY));
            let settings = line(transport, Duration::from_millis(300), settings.collect());
            let line = run_in_memory(settings, devices.clone());
            // The first seconds find out who is dead.
            tokio::time::sleep(Duration::from_secs(5)).await;
            let before: Vec<_> = units
                .iter()
                .map(|unit| good_scans(&line.outbox, &format!("d{unit}")))
                .collect();
            tokio::time::sleep(Duration::from_secs(120)).await;
            for (place, unit) in units.iter().enumerate().skip(dead) {
                let scans = good_scans(&line.outbox, &format!("d{unit}")) - before[place];
                assert!(
                    scans >= 1140,
                    "{scans} of 1200 scans of d{unit} with {dead} dead"
                );
            }
            let dead_scans = line.outbox.scans_of("d1").len();
            assert!(dead_scans >= 1140, "null readings go on: {dead_scans}");
            // One that comes back is found by a probe.
            devices[0].behave(Behaviour::default());
            tokio::time::timeout(Duration::from_secs(100), async {
                while !line.status.devices[0].online.get() {
                    tokio::time::sleep(EVERY).await;
                }
            })
            .await
            .unwrap();
            line.outbox.wait_for("d1", Quality::Good).await;
            assert_no_wrong_value(&line.outbox, units);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn scans_are_on_the_grid_and_a_stall_makes_no_bunch() {
    let simulated = device(1, 10);
    let settings = line(
        tcp(1),
        Duration::from_secs(2),
        vec![device_settings(1, alone([0]), EVERY)],
    );
    let line = run_in_memory(settings, vec![simulated.clone()]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    simulated.script([Behaviour {
        late: Duration::from_millis(1234),
        ..Behaviour::default()
    }]);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let stamps: Vec<_> = line
        .outbox
        .scans_of("d1")
        .iter()
        .map(|(stamp, _)| stamp.wall_ns)
        .collect();
    let after_grid = |stamp: &i64| stamp.rem_euclid(100_000_000);
    let off: Vec<_> = stamps
        .iter()
        .filter(|stamp| after_grid(stamp) > 5_000_000)
        .collect();
    // The one that was late has the midpoint of its read.
    assert_eq!(off.len(), 1, "{off:?}");
    let gaps: Vec<_> = stamps.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(
        gaps.iter().all(|&gap| gap >= 90_000_000),
        "a bunch: {gaps:?}"
    );
    assert!((188..=189).contains(&stamps.len()), "{}", stamps.len());
}
