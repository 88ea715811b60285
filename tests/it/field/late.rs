//! Late answers are never taken for the answers to other requests.

use std::time::Duration;

use forebay::field::settings::Transport;
use forebay::reading::Quality;
use forebay::simulator::device::Behaviour;
use proptest::prelude::*;

use super::rig::*;

const EVERY: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_millis(100);

fn transports() -> [Transport; 3] {
    [tcp(1), rtu(std::path::Path::new("unused")), rtu_over_tcp(1)]
}

fn late(ms: u64) -> Behaviour {
    Behaviour {
        late: Duration::from_millis(ms),
        ..Behaviour::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_answer_of_the_same_length_is_not_another_registers_value() {
    for transport in transports() {
        for lateness in [101, 150, 190, 210, 260, 500] {
            let simulated = device(1, 40);
            // Requests of one register each: every answer could be that of any other.
            let settings = line(
                transport.clone(),
                TIMEOUT,
                vec![device_settings(1, alone(0..8), EVERY)],
            );
            let line = run_in_memory(settings, vec![simulated.clone()]);
            line.outbox.wait_for("d1", Quality::Good).await;
            for answers in [1, 2, 3, 7] {
                simulated.script(vec![late(lateness); answers]);
                for _ in 0..3 {
                    line.outbox.wait_for("d1", Quality::Good).await;
                }
            }
            assert!(assert_no_wrong_value(&line.outbox, [1]) > 50);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_device_that_is_always_late_gives_no_wrong_value_and_does_not_stop_the_others() {
    for transport in transports() {
        let (slow, fast) = (device(1, 40), device(2, 40));
        slow.behave(late(130));
        let devices = vec![
            device_settings(1, alone(0..4), EVERY),
            device_settings(2, alone(0..4), EVERY),
        ];
        let line = run_in_memory(line(transport, TIMEOUT, devices), vec![slow.clone(), fast]);
        for _ in 0..200 {
            line.outbox.wait_for("d2", Quality::Good).await;
        }
        slow.behave(Behaviour::default());
        line.outbox.wait_for("d1", Quality::Good).await;
        assert!(assert_no_wrong_value(&line.outbox, [1, 2]) > 800);
    }
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    let delay = prop_oneof![3 => Just(0_u64), 1 => 1..90_u64, 2 => 90..420_u64];
    let torn = prop_oneof![4 => Just(None), 1 => (1..130_u64).prop_map(Some)];
    let noise = prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec(any::<u8>(), 1..12)];
    let odd = (0..12_u8, 0..12_u8, 0..12_u8, 0..16_u8, 0..16_u8);
    (delay, torn, noise, odd).prop_map(|(delay, torn, noise, odd)| Behaviour {
        silent: odd.0 == 0,
        deaf_to: None,
        most: None,
        short: (odd.3 == 1).then_some(1),
        late: Duration::from_millis(delay),
        exception: (odd.1 == 0).then_some(6),
        wrong_bit: odd.2 == 0,
        noise,
        twice: odd.3 == 0,
        torn: torn.map(Duration::from_millis),
        reset: odd.4 == 0,
        character: Duration::ZERO,
    })
}

/// On TCP a wrong bit is a wrong value that nothing could notice: the checksum of TCP itself sees to that.
fn on(transport: &Transport, behaviour: Behaviour) -> Behaviour {
    Behaviour {
        wrong_bit: behaviour.wrong_bit && transport.bus().is_some(),
        ..behaviour
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: share(1500, 150).try_into().unwrap(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_line_does_no_value_is_another_requests(
        first in prop::collection::vec(behaviour(), 1..60),
        second in prop::collection::vec(behaviour(), 1..60),
        kind in 0..3_usize,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        let transport = transports()[kind].clone();
        runtime.block_on(async {
            let devices = [device(1, 40), device(2, 40)];
            for (device, script) in devices.iter().zip([first, second]) {
                device.script(script.into_iter().map(|behaviour| on(&transport, behaviour)));
            }
            let settings = vec![
                device_settings(1, alone(0..4), EVERY),
                device_settings(2, alone(10..14), EVERY),
            ];
            let line = run_in_memory(line(transport, TIMEOUT, settings), devices.to_vec());
            tokio::time::sleep(Duration::from_secs(30)).await;
            // It is over: without help everything is good again.
            for (device, unit) in devices.iter().zip([1, 2]) {
                device.behave(Behaviour::default());
                line.outbox.wait_for(&format!("d{unit}"), Quality::Good).await;
            }
            assert!(assert_no_wrong_value(&line.outbox, [1, 2]) >= 8);
        });
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_comes_twice_and_late_does_not_clear_the_way_for_what_is_behind_it() {
    let exc = |late: u64| Behaviour {
        exception: Some(6),
        late: Duration::from_millis(late),
        ..Behaviour::default()
    };
    let silent = || Behaviour {
        silent: true,
        ..Behaviour::default()
    };
    let transport = rtu(std::path::Path::new("unused"));
    let devices = [device(1, 40), device(2, 40)];
    devices[0].script([
        exc(0),
        silent(),
        silent(),
        Behaviour {
            reset: true,
            ..Behaviour::default()
        },
        exc(0),
        Behaviour {
            twice: true,
            ..exc(204)
        },
        Behaviour {
            twice: true,
            late: Duration::from_millis(306),
            ..Behaviour::default()
        },
        silent(),
    ]);
    devices[1].script([silent()]);
    let settings = vec![
        device_settings(1, alone(0..4), EVERY),
        device_settings(2, alone(10..14), EVERY),
    ];
    let line = run_in_memory(line(transport, TIMEOUT, settings), devices.to_vec());
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_no_wrong_value(&line.outbox, [1, 2]);
}
