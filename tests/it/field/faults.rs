//! Devices that are switched off, come late into the world, break off, refuse and stammer.

use std::time::Duration;

use forebay::field::modbus::frame::ReadRequest;
use forebay::field::modbus::map::{DeviceMap, Table};
use forebay::field::{FieldError, LineRequest};
use forebay::reading::{Body, EventName, Quality};
use forebay::simulator::device::Behaviour;
use tokio::sync::oneshot;

use super::rig::*;

const EVERY: Duration = Duration::from_millis(20);
const TIMEOUT: Duration = Duration::from_millis(100);

fn serial() -> forebay::field::settings::Transport {
    rtu(std::path::Path::new("unused"))
}

fn map(addresses: impl IntoIterator<Item = u16>) -> DeviceMap {
    DeviceMap {
        points: addresses.into_iter().map(point).collect(),
        ..DeviceMap::default()
    }
}

#[tokio::test]
async fn a_device_switched_off_and_on_is_null_meanwhile_and_comes_back() {
    let simulated = device(1, 10);
    let (port, _server) = serve(0, vec![simulated.clone()]).await;
    let line = run(line(
        tcp(port),
        TIMEOUT,
        vec![device_settings(1, map(0..10), EVERY)],
    ));
    line.outbox.wait_for("d1", Quality::Good).await;
    simulated.behave(Behaviour {
        silent: true,
        ..Behaviour::default()
    });
    line.outbox.wait_for("d1", Quality::Timeout).await;
    simulated.behave(Behaviour::default());
    line.outbox.wait_for("d1", Quality::Good).await;
    assert_eq!(
        line.outbox.events(),
        [EventName::DeviceOffline, EventName::DeviceOnline]
    );
    assert!(assert_no_wrong_value(&line.outbox, [1]) >= 20);
}

#[tokio::test]
async fn a_line_that_starts_before_its_device_exists_finds_it() {
    let (port, server) = serve(0, Vec::new()).await;
    drop(server);
    let line = run(line(
        tcp(port),
        TIMEOUT,
        vec![device_settings(1, map(0..10), EVERY)],
    ));
    line.outbox.wait_for("d1", Quality::NoConnection).await;
    let (_, _server) = serve(port, vec![device(1, 10)]).await;
    line.outbox.wait_for("d1", Quality::Good).await;
    assert_eq!(
        line.outbox.events(),
        [EventName::LineDown, EventName::LineUp]
    );
    let first = &line.outbox.all()[0].body;
    assert!(
        matches!(first, Body::Description(_)),
        "before any data: {first:?}"
    );
}

#[tokio::test]
async fn a_reset_costs_no_reading_where_a_retry_is_left() {
    let simulated = device(1, 10);
    let (port, _server) = serve(0, vec![simulated.clone()]).await;
    let line = run(line(
        tcp(port),
        TIMEOUT,
        vec![device_settings(1, map(0..10), EVERY)],
    ));
    let reset = Behaviour {
        reset: true,
        ..Behaviour::default()
    };
    for _ in 0..5 {
        line.outbox.wait_for("d1", Quality::Good).await;
        simulated.script([reset.clone()]);
    }
    line.outbox.wait_for("d1", Quality::Good).await;
    assert_eq!(line.outbox.events(), []);
    let scans = line.outbox.scans_of("d1").len();
    assert_eq!(good_scans(&line.outbox, "d1"), scans);
    simulated.behave(reset);
    line.outbox.wait_for("d1", Quality::NoConnection).await;
    simulated.behave(Behaviour::default());
    line.outbox.wait_for("d1", Quality::Good).await;
    assert_no_wrong_value(&line.outbox, [1]);
}

#[tokio::test(start_paused = true)]
async fn garbage_and_wrong_checksums_are_never_values() {
    let noise: Vec<u8> = (0..40_u8).map(|n| n.wrapping_mul(37) | 3).collect();
    for (transport, bad) in [
        (
            tcp(1),
            Behaviour {
                noise: noise.clone(),
                ..Behaviour::default()
            },
        ),
        (
            serial(),
            Behaviour {
                noise,
                wrong_bit: true,
                ..Behaviour::default()
            },
        ),
        (
            serial(),
            Behaviour {
                wrong_bit: true,
                ..Behaviour::default()
            },
        ),
    ] {
        let simulated = device(1, 10);
        let settings = line(
            transport,
            TIMEOUT,
            vec![device_settings(1, map(0..10), EVERY)],
        );
        let line = run_in_memory(settings, vec![simulated.clone()]);
        line.outbox.wait_for("d1", Quality::Good).await;
        // Once: the retry mends it.
        simulated.script([bad.clone()]);
        for _ in 0..5 {
            line.outbox.wait_for("d1", Quality::Good).await;
        }
        assert_eq!(line.outbox.events(), [], "{bad:?}");
        simulated.behave(bad);
        line.outbox.wait_for("d1", Quality::Crc).await;
        simulated.behave(Behaviour::default());
        line.outbox.wait_for("d1", Quality::Good).await;
        assert_no_wrong_value(&line.outbox, [1]);
        assert!(line.status.devices[0].counters.garbled.get() >= 3);
    }
}

#[tokio::test(start_paused = true)]
async fn noise_before_a_right_frame_does_no_harm_on_a_serial_line() {
    let simulated = device(1, 10);
    simulated.behave(Behaviour {
        noise: vec![0, 0xFF, 1, 3, 0],
        ..Behaviour::default()
    });
    let settings = line(
        serial(),
        TIMEOUT,
        vec![device_settings(1, map(0..10), EVERY)],
    );
    let line = run_in_memory(settings, vec![simulated]);
    line.outbox.wait_for("d1", Quality::Good).await;
    assert_eq!(line.outbox.events(), []);
}

#[tokio::test(start_paused = true)]
async fn a_block_that_is_refused_costs_the_others_nothing() {
    // Registers 0 to 9 exist; 100 does not; 200 is there again.
    let simulated = device(1, 10);
    simulated.set(Table::HoldingRegister, 200, &[word_at(1, 200)]);
    let settings = line(
        tcp(1),
        TIMEOUT,
        vec![device_settings(1, map([0, 100, 200]), EVERY)],
    );
    let line = run_in_memory(settings, vec![simulated.clone()]);
    for _ in 0..3 {
        let qualities = line
            .outbox
            .wait(line.outbox.len(), |seen| match &seen.last()?.body {
                Body::Scan(scan) => Some(
                    scan.readings
                        .iter()
                        .flatten()
                        .map(|r| r.quality())
                        .collect::<Vec<_>>(),
                ),
                _ => None,
            });
        assert_eq!(
            qualities.await,
            [Quality::Good, Quality::Exception(2), Quality::Good]
        );
    }
    assert_eq!(line.outbox.events(), [EventName::PointUnreadable]);
    simulated.set(Table::HoldingRegister, 100, &[word_at(1, 100)]);
    line.outbox.wait_for("d1", Quality::Good).await;
    assert_no_wrong_value(&line.outbox, [1]);
}

#[tokio::test(start_paused = true)]
async fn a_block_that_is_passed_over_in_silence_does_not_take_the_device_away() {
    for silent in [0, 2] {
        let simulated = device(1, 10);
        let addresses: Vec<u16> = vec![0, 3, 6];
        let mut map = alone(addresses);
        map.limits.gap = 0;
        let settings = line(tcp(1), TIMEOUT, vec![device_settings(1, map, EVERY)]);
        let deaf_to = Some([0, 3, 6][silent]);
        simulated.behave(Behaviour {
            deaf_to,
            ..Behaviour::default()
        });
        let line = run_in_memory(settings, vec![simulated]);
        line.outbox
            .wait(0, |seen| {
                let good = seen.iter().rev().take(5).filter(|o| match &o.body {
                    Body::Scan(scan) => {
                        let mut q: Vec<_> = scan
                            .readings
                            .iter()
                            .flatten()
                            .map(|r| r.quality())
                            .collect();
                        q.remove(silent) == Quality::Timeout && q == [Quality::Good; 2]
                    }
                    _ => false,
                });
                (good.count() == 5).then_some(())
            })
            .await;
    }
}

#[tokio::test(start_paused = true)]
async fn reads_on_demand_take_part_in_the_schedule() {
    let simulated = device(1, 10);
    let settings = line(tcp(1), TIMEOUT, vec![device_settings(1, map(0..5), EVERY)]);
    let line = run_in_memory(settings, vec![simulated]);
    let read = async |unit, address| {
        let (answer, answered) = oneshot::channel();
        let request = ReadRequest::new(unit, Table::InputRegister, address, 2).unwrap();
        line.inbox
            .send(LineRequest::Read { request, answer })
            .await
            .unwrap();
        answered.await.unwrap()
    };
    let words = vec![word_at(1, 7), word_at(1, 8)];
    let answer = forebay::field::modbus::client::Answer::Registers(words);
    assert_eq!(read(1, 7).await, Ok(answer));
    assert_eq!(read(1, 700).await, Err(FieldError::Exception(2)));
    assert_eq!(read(9, 7).await, Err(FieldError::Timeout));
    line.outbox.wait_for("d1", Quality::Good).await;
    assert_eq!(line.outbox.events(), []);
}

#[tokio::test(start_paused = true)]
async fn a_disabled_device_is_told_once_and_never_asked() {
    let simulated = device(1, 10);
    let mut off = device_settings(1, map(0..5), EVERY);
    off.enabled = false;
    let on = device_settings(2, map(0..5), EVERY);
    let settings = line(tcp(1), TIMEOUT, vec![off, on]);
    let line = run_in_memory(settings, vec![simulated.clone(), device(2, 10)]);
    for _ in 0..10 {
        line.outbox.wait_for("d2", Quality::Good).await;
    }
    let scans = line.outbox.scans_of("d1");
    assert_eq!(scans.len(), 1);
    assert!(
        scans[0]
            .1
            .readings
            .iter()
            .flatten()
            .all(|r| r.quality() == Quality::Disabled)
    );
    assert_eq!(simulated.requests(), 0);
}
