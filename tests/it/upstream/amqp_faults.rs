//! AMQP 0-9-1 against a RabbitMQ that is starved, frozen, stopped or out of reach.

use std::time::Duration;

use forebay::upstream::amqp::Connection;
use forebay::upstream::error::UpstreamError;
use forebay::upstream::message::{Answer, Incoming};
use forebay::upstream::settings::AmqpSettings;
use tokio::time::{Instant, sleep, timeout};

use super::amqp::{BOUND, answer, message, next, of, refusal, settings};
use crate::harness::proxy::Proxy;
use crate::harness::rabbitmq::RabbitMq;

/// Until the first error; fails where none comes.
async fn broken(connection: &mut Connection) -> UpstreamError {
    loop {
        if let Err(error) = next(connection).await {
            return error;
        }
    }
}

/// The library's threads in this process.
fn library_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let names =
        tasks.filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("lapin")).count()
}

/// Waits until the library has no thread left; fails where one stays.
async fn no_threads() {
    let gone = async {
        while library_threads() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(BOUND, gone).await.expect("threads remain");
}

/// Raises or clears an alarm.
type Alarm = fn(&RabbitMq);

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn an_alarm_blocks_without_timeouts_and_passes() {
    let broker = RabbitMq::own();
    broker.client().await.queue("q").await;
    let alarms: [(&str, Alarm, Alarm); 2] = [
        ("memory", RabbitMq::raise_alarm, RabbitMq::clear_alarm),
        (
            "disk",
            RabbitMq::raise_disk_alarm,
            RabbitMq::clear_disk_alarm,
        ),
    ];
    for (what, raise, clear) in alarms {
        blocks_and_passes(&broker, what, raise, clear).await;
    }
}

async fn blocks_and_passes(broker: &RabbitMq, what: &str, raise: Alarm, clear: Alarm) {
    let hasty = AmqpSettings {
        ack_timeout: Duration::from_secs(1),
        ..of(broker)
    };
    let mut connection = Connection::open(&hasty, 0).await.unwrap();
    raise(broker);
    let (mut sent, mut answers) = (0, Vec::new());
    let reason = loop {
        // Only a connection that publishes is blocked, and some messages may be faster than the alarm.
        if answers.len() as u64 == sent {
            connection.submit(message(sent, "q")).unwrap();
            sent += 1;
        }
        match next(&mut connection).await.unwrap() {
            Incoming::Blocked(reason) => break reason,
            Incoming::Answer(token, answer) => answers.push((token, answer)),
            Incoming::Unblocked => panic!("it was not blocked"),
        }
    };
    assert!(reason.contains(what), "{reason}");
    let quiet = timeout(Duration::from_secs(3), async {
        loop {
            match connection.next().await.unwrap() {
                Incoming::Answer(token, answer) => answers.push((token, answer)),
                other => panic!("{other:?}"),
            }
        }
    });
    assert!(quiet.await.is_err());
    connection.submit(message(sent, "q")).unwrap();
    clear(broker);
    let mut unblocked = false;
    while answers.len() as u64 <= sent || !unblocked {
        match next(&mut connection).await.unwrap() {
            Incoming::Answer(token, answer) => answers.push((token, answer)),
            Incoming::Unblocked => unblocked = true,
            Incoming::Blocked(reason) => panic!("blocked again: {reason}"),
        }
    }
    let confirmed: Vec<_> = (0..=sent).map(|token| (token, Answer::Confirmed)).collect();
    assert_eq!(answers, confirmed);
    connection.close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_broker_that_freezes_stops_or_dies_is_noticed_and_leaves_no_thread_behind() {
    let broker = RabbitMq::own();
    broker.client().await.queue("q").await;
    let hasty = AmqpSettings {
        ack_timeout: Duration::from_secs(1),
        ..of(&broker)
    };
    let mut connection = Connection::open(&hasty, 0).await.unwrap();
    broker.freeze();
    connection.submit(message(1, "q")).unwrap();
    let error = broken(&mut connection).await;
    assert!(
        matches!(error, UpstreamError::Timeout("confirm", _)),
        "{error}"
    );
    let start = Instant::now();
    connection.close().await;
    assert!(start.elapsed() < Duration::from_secs(10));
    no_threads().await;
    broker.thaw();

    let heart = AmqpSettings {
        keep_alive: Duration::from_secs(1),
        ..of(&broker)
    };
    let mut idle = Connection::open(&heart, 0).await.unwrap();
    broker.freeze();
    let error = broken(&mut idle).await;
    assert!(error.to_string().contains("heartbeat"), "{error}");
    drop(idle);
    no_threads().await;
    broker.thaw();

    let mut idle = Connection::open(&of(&broker), 0).await.unwrap();
    broker.stop();
    broken(&mut idle).await;
    broker.start();
    let mut idle = Connection::open(&of(&broker), 0).await.unwrap();
    broker.kill();
    broken(&mut idle).await;
    drop(idle);
    no_threads().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_cut_in_the_middle_of_a_window_loses_no_confirm_that_had_arrived() {
    let broker = RabbitMq::shared();
    let client = broker.client().await;
    client.queue("q").await;
    let proxy = Proxy::to(broker.port()).await;
    let through = settings(proxy.port(), broker.vhost());
    let mut connection = Connection::open(&through, 0).await.unwrap();
    proxy.cut_after(6000);
    let (mut sent, mut confirmed) = (0, 0);
    let error = loop {
        while sent < confirmed + 100 {
            connection.submit(message(sent, "q")).unwrap();
            sent += 1;
        }
        match next(&mut connection).await {
            Ok(Incoming::Answer(token, Answer::Confirmed)) if token == confirmed => confirmed += 1,
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, UpstreamError::Connection(_)), "{error}");
    drop(connection);
    let mut again = Connection::open(&through, 0).await.unwrap();
    for token in confirmed..confirmed + 100 {
        again.submit(message(token, "q")).unwrap();
    }
    for token in confirmed..confirmed + 100 {
        assert_eq!(answer(&mut again).await, (token, Answer::Confirmed));
    }
    let consumer = client.consume("q").await;
    let last = format!("payload {}", confirmed + 99);
    let all = consumer
        .wait_for(BOUND, |all| {
            all.iter().any(|one| one.payload == last.as_bytes())
        })
        .await;
    for token in 0..confirmed + 100 {
        let payload = format!("payload {token}");
        assert!(
            all.iter().any(|one| one.payload == payload.as_bytes()),
            "{payload} is missing"
        );
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_black_hole_during_the_opening_or_a_reset_takes_a_bounded_time() {
    let broker = RabbitMq::shared();
    let proxy = Proxy::to(broker.port()).await;
    let through = settings(proxy.port(), broker.vhost());
    proxy.refuse(true);
    let error = refusal(&through).await;
    assert!(matches!(error, UpstreamError::Connection(_)), "{error}");
    proxy.refuse(false);
    proxy.pause();
    let opening = timeout(Duration::from_millis(500), Connection::open(&through, 0));
    assert!(opening.await.is_err(), "it opened");
    no_threads().await;
    proxy.resume();
    let mut connection = Connection::open(&through, 0).await.unwrap();
    proxy.half_close();
    broken(&mut connection).await;
    drop(connection);
    no_threads().await;
}
