//! Devices that are not those their maps describe: no plausible nonsense.

use std::time::Duration;

use forebay::field::modbus::identity::Identity;
use forebay::field::modbus::map::{DeviceMap, Order, RawType, Table};
use forebay::field::settings::Transport;
use forebay::reading::{Body, Detail, EventName, Quality, Value};
use forebay::simulator::device::{Behaviour, SimulatedDevice};

use super::rig::*;

const EVERY: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_millis(100);
/// Where devices say what they are.
const AT: u16 = 89;
const MODEL: u16 = 15_240;

fn transports() -> [Transport; 2] {
    [tcp(1), rtu(std::path::Path::new("unused"))]
}

fn map() -> DeviceMap {
    DeviceMap {
        points: (0..5).map(point).collect(),
        identity: Some(Identity {
            table: Table::HoldingRegister,
            address: AT,
            raw: RawType::U16,
            order: Order::BIG,
            is: vec![Value::Int(MODEL.into()), Value::Int(15_250)],
        }),
        ..DeviceMap::default()
    }
}

fn of_model(model: u16) -> SimulatedDevice {
    let simulated = device(1, 5);
    simulated.set(Table::HoldingRegister, AT, &[model]);
    simulated
}

fn poll(transport: Transport, devices: Vec<SimulatedDevice>) -> Running {
    let units = devices.iter().map(SimulatedDevice::unit);
    let settings = units.map(|unit| {
        let map = match unit {
            1 => map(),
            _ => DeviceMap {
                identity: None,
                ..map()
            },
        };
        device_settings(unit, map, EVERY)
    });
    run_in_memory(line(transport, TIMEOUT, settings.collect()), devices)
}

/// Of each event that a device is wrong, or no longer: what it says that it is, and whether that is over.
fn told(line: &Running) -> Vec<(Option<String>, bool)> {
    let all = line.outbox.all().into_iter();
    let wrong = all.filter_map(|observation| match observation.body {
        Body::Event(event) if event.name == EventName::DeviceWrong => Some(event.detail),
        _ => None,
    });
    wrong
        .map(|detail| {
            let find = |key| detail.iter().find(|(name, _)| *name == key).map(|(_, d)| d);
            let expected = find("expected");
            assert_eq!(
                expected,
                Some(&Detail::Text("holding 89 is 15240 or 15250".into()))
            );
            let found = match find("found") {
                Some(Detail::Text(text)) => Some(text.to_string()),
                _ => None,
            };
            (found, find("over") == Some(&Detail::Bool(true)))
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_what_its_map_describes_is_asked_once() {
    for transport in transports() {
        let simulated = of_model(MODEL);
        let line = poll(transport, vec![simulated.clone()]);
        for _ in 0..20 {
            line.outbox.wait_for("d1", Quality::Good).await;
        }
        let scans = line.outbox.scans_of("d1").len();
        let requests = usize::try_from(simulated.requests()).unwrap();
        // Another scan may be under way.
        assert!(
            (scans + 1..=scans + 2).contains(&requests),
            "{scans} {requests}"
        );
        assert_eq!(line.outbox.events(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn of_another_device_no_value_is_told_until_the_right_one_is_there() {
    for transport in transports() {
        let simulated = of_model(3);
        let line = poll(transport, vec![simulated.clone()]);
        for _ in 0..20 {
            line.outbox.wait_for("d1", Quality::WrongDevice).await;
        }
        assert_eq!(told(&line), [(Some("3".to_owned()), false)]);
        assert_eq!(assert_no_wrong_value(&line.outbox, [1]), 0);
        assert_eq!(simulated.requests(), 1, "its other registers mean nothing");
        simulated.set(Table::HoldingRegister, AT, &[15_250]);
        line.outbox.wait_for("d1", Quality::Good).await;
        assert_eq!(told(&line)[1..], [(None, true)]);
        assert_eq!(line.outbox.events().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_exchanged_while_it_was_away_is_noticed() {
    for transport in transports() {
        let simulated = of_model(MODEL);
        let line = poll(transport, vec![simulated.clone()]);
        line.outbox.wait_for("d1", Quality::Good).await;
        simulated.behave(Behaviour {
            silent: true,
            ..Behaviour::default()
        });
        line.outbox.wait_for("d1", Quality::Timeout).await;
        simulated.set(Table::HoldingRegister, AT, &[4]);
        simulated.behave(Behaviour::default());
        line.outbox.wait_for("d1", Quality::WrongDevice).await;
        assert_eq!(told(&line), [(Some("4".to_owned()), false)]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_was_exchanged_while_the_line_was_down_is_noticed() {
    for transport in transports() {
        let simulated = of_model(MODEL);
        let line = poll(transport, vec![simulated.clone()]);
        line.outbox.wait_for("d1", Quality::Good).await;
        simulated.behave(Behaviour {
            reset: true,
            ..Behaviour::default()
        });
        line.outbox.wait_for("d1", Quality::NoConnection).await;
        simulated.set(Table::HoldingRegister, AT, &[4]);
        simulated.behave(Behaviour::default());
        line.outbox.wait_for("d1", Quality::WrongDevice).await;
        assert_eq!(told(&line), [(Some("4".to_owned()), false)]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_without_such_a_register_is_another_and_one_that_is_busy_is_not() {
    for transport in transports() {
        let line = poll(transport.clone(), vec![device(1, 5)]);
        line.outbox.wait_for("d1", Quality::WrongDevice).await;
        assert_eq!(told(&line), [(Some("exception 2".to_owned()), false)]);
        let simulated = of_model(MODEL);
        simulated.behave(Behaviour {
            exception: Some(6),
            ..Behaviour::default()
        });
        let line = poll(transport, vec![simulated.clone()]);
        line.outbox.wait_for("d1", Quality::Exception(6)).await;
        simulated.behave(Behaviour::default());
        line.outbox.wait_for("d1", Quality::Good).await;
        assert_eq!(told(&line), []);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_never_says_is_away_and_holds_nobody_up() {
    for transport in transports() {
        let simulated = of_model(MODEL);
        simulated.behave(Behaviour {
            deaf_to: Some(AT),
            ..Behaviour::default()
        });
        let line = poll(transport, vec![simulated.clone(), device(2, 5)]);
        line.outbox.wait_for("d1", Quality::Timeout).await;
        for _ in 0..100 {
            line.outbox.wait_for("d2", Quality::Good).await;
        }
        assert_eq!(line.outbox.events(), [EventName::DeviceOffline]);
        simulated.behave(Behaviour::default());
        line.outbox.wait_for("d1", Quality::Good).await;
        assert_eq!(told(&line), []);
    }
}
