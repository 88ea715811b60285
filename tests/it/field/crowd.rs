//! 32 devices on one line of 19200 baud, some of them dead: what the others get of it, and what a poller that asks one
//! after the other would make of it.

use std::time::Duration;

use forebay::field::modbus::client::{Client, Manner};
use forebay::field::modbus::frame::ReadRequest;
use forebay::field::modbus::map::{DeviceMap, Table};
use forebay::field::modbus::wire::Bus;
use forebay::field::settings::{BusSettings, LineSettings, SerialSettings, Transport};
use forebay::field::status::Counters;
use forebay::reading::EventName;
use forebay::simulator::device::{Behaviour, SimulatedDevice};
use tokio::time::Instant;

use super::emulated::emulated;
use super::rig::*;

const DEVICES: u8 = 32;
const EVERY: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_millis(300);
const ANSWER: Duration = Duration::from_millis(5);
const REGISTERS: u16 = 20;
/// After this the dead ones are found out.
const SETTLED: Duration = Duration::from_secs(60);

fn transport() -> Transport {
    Transport::ModbusRtu(SerialSettings {
        port: "unused".into(),
        bus: BusSettings::default(),
        rs485: None,
    })
}

fn devices(dead: u8) -> Vec<SimulatedDevice> {
    let make = |unit| {
        let device = device(unit, REGISTERS);
        device.behave(Behaviour {
            silent: unit <= dead,
            ..Behaviour::default()
        });
        device
    };
    (1..=DEVICES).map(make).collect()
}

fn settings(every: Duration) -> LineSettings {
    let map = DeviceMap {
        points: (0..REGISTERS).map(point).collect(),
        ..DeviceMap::default()
    };
    let devices = (1..=DEVICES).map(|unit| device_settings(unit, map.clone(), every));
    line(transport(), TIMEOUT, devices.collect())
}

/// The lowest rate of a live device, as a share of what it was set to.
fn lowest(line: &Running, before: &[usize], dead: u8, time: Duration) -> f64 {
    let due = time.as_secs_f64() / EVERY.as_secs_f64();
    let rates = (dead + 1..=DEVICES).map(|unit| {
        let scans = good_scans(&line.outbox, &format!("d{unit}")) - before[usize::from(unit) - 1];
        f64::from(u32::try_from(scans).unwrap()) / due
    });
    rates.fold(f64::INFINITY, f64::min)
}

fn counts(line: &Running) -> Vec<usize> {
    let count = |unit: u8| good_scans(&line.outbox, &format!("d{unit}"));
    (1..=DEVICES).map(count).collect()
}

/// Asks the devices in turn, with one repetition, and waits for the next tick: the rate of each live one.
async fn naive(dead: u8, time: Duration) -> f64 {
    let transport = transport();
    let opener = emulated(&transport, ANSWER, devices(dead));
    let mut client = Client::new(opener, Bus::of(&transport), Duration::ZERO);
    let manner = Manner {
        timeout: TIMEOUT,
        retries: 1,
        delay: Duration::ZERO,
        lenient: false,
        offline: false,
    };
    let counters = Counters::default();
    let (began, mut rounds) = (Instant::now(), 0_u32);
    while began.elapsed() < time {
        let next = Instant::now() + EVERY;
        for unit in 1..=DEVICES {
            let request = ReadRequest::new(unit, Table::HoldingRegister, 0, REGISTERS).unwrap();
            let answer = client.read(request, &manner, &counters).await;
            assert_eq!(answer.is_ok(), unit > dead);
        }
        rounds += 1;
        tokio::time::sleep_until(next).await;
    }
    f64::from(rounds) / (time.as_secs_f64() / EVERY.as_secs_f64())
}

#[tokio::test(start_paused = true)]
async fn the_live_ones_of_32_keep_95_percent_of_their_rate_whoever_is_dead() {
    let time = Duration::from_secs(share(3600, 300));
    for dead in [0, 1, 8, 16] {
        let simulated = devices(dead);
        let opener = emulated(&transport(), ANSWER, simulated.clone());
        let line = run_over(opener, settings(EVERY));
        tokio::time::sleep(SETTLED).await;
        let before = counts(&line);
        tokio::time::sleep(time).await;
        let rate = lowest(&line, &before, dead, time);
        let naive = naive(dead, time).await;
        assert!(rate >= 0.95, "{rate} with {dead} dead");
        let mut back = Duration::ZERO;
        if let Some(revived) = simulated.first().filter(|_| dead > 0) {
            assert!(
                naive < 0.95 || dead == 1,
                "nothing to win: {naive} with {dead} dead"
            );
            revived.behave(Behaviour::default());
            let began = Instant::now();
            let is_back = async {
                while !line.status.devices[0].online.get() {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            let bound = Duration::from_secs(130);
            assert!(tokio::time::timeout(bound, is_back).await.is_ok());
            back = began.elapsed();
        }
        assert!(!line.outbox.events().contains(&EventName::Overload));
        println!(
            "{dead:2} of 32 dead: the slowest live one has {:.1} % of its rate, with a naive poller {:.1} %; back after {back:.1?}",
            rate * 100.0,
            naive * 100.0
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_line_is_told_and_shared_evenly() {
    // 41 ms each of 1.3 s for 32: at every second no more than about 3 of 4 ticks.
    let every = Duration::from_secs(1);
    let opener = emulated(&transport(), ANSWER, devices(0));
    let line = run_over(opener, settings(every));
    tokio::time::sleep(SETTLED).await;
    let before = counts(&line);
    let time = Duration::from_secs(share(3600, 300));
    tokio::time::sleep(time).await;
    let rates: Vec<f64> = counts(&line)
        .iter()
        .zip(&before)
        .map(|(after, before)| (after - before) as f64 / time.as_secs_f64())
        .collect();
    let (least, most) = rates
        .iter()
        .fold((f64::INFINITY, 0.0_f64), |(a, b), &rate| {
            (a.min(rate), b.max(rate))
        });
    println!("{:.1} to {:.1} % of the rate", least * 100.0, most * 100.0);
    assert!(
        least > 0.6 && most < 0.9 && most - least < 0.08,
        "{least} {most}"
    );
    assert_eq!(line.outbox.events(), [EventName::Overload]);
}
