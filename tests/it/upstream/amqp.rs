//! AMQP 0-9-1 against RabbitMQ.

use std::time::Duration;

use bytes::Bytes;
use forebay::reading::StreamId;
use forebay::upstream::amqp::Connection;
use forebay::upstream::error::UpstreamError;
use forebay::upstream::message::{Address, Answer, Incoming, Message, Properties};
use forebay::upstream::settings::{AmqpSettings, Declare, Endpoint, Unroutable};
use lapin::types::AMQPValue;
use tokio::time::{Instant, sleep, timeout};

use crate::harness::rabbitmq::RabbitMq;

/// Longest that an answer may take on a loaded machine.
pub(super) const BOUND: Duration = Duration::from_secs(60);

pub(crate) fn settings(port: u16, vhost: &str) -> AmqpSettings {
    AmqpSettings {
        endpoints: vec![Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            tls: None,
        }],
        vhost: vhost.to_owned(),
        login: None,
        external: false,
        declare: Declare::default(),
        unroutable: Unroutable::Wait,
        inflight: 100,
        keep_alive: Duration::from_secs(30),
        ack_timeout: BOUND,
    }
}

pub(crate) fn of(broker: &RabbitMq) -> AmqpSettings {
    settings(broker.port(), broker.vhost())
}

/// A record to a queue, by the broker's default exchange.
pub(super) fn message(token: u64, queue: &str) -> Message {
    Message {
        token,
        address: Address {
            exchange: "".into(),
            key: queue.into(),
        },
        payload: Bytes::from(format!("payload {token}")),
        retain: false,
        content_type: "application/json",
        expires_in: None,
        properties: Some(Properties {
            stream: StreamId(0x5f3a_9c1e),
            seq: 1000 + token,
            device_seq: token,
            part: None,
            historical: token.is_multiple_of(2),
            timestamp_ms: 1_700_000_000_123,
        }),
    }
}

pub(super) async fn next(connection: &mut Connection) -> Result<Incoming, UpstreamError> {
    timeout(BOUND, connection.next())
        .await
        .expect("nothing came in")
}

pub(super) async fn answer(connection: &mut Connection) -> (u64, Answer) {
    match next(connection).await {
        Ok(Incoming::Answer(token, answer)) => (token, answer),
        other => panic!("no answer: {other:?}"),
    }
}

/// Why it cannot be opened; takes a bounded time.
pub(super) async fn refusal(settings: &AmqpSettings) -> UpstreamError {
    let opened = timeout(BOUND, Connection::open(settings, 0)).await;
    match opened.expect("opening has no bound") {
        Ok(_) => panic!("it opened"),
        Err(error) => error,
    }
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_window_of_records_is_confirmed_in_order_and_carries_its_place() {
    let broker = RabbitMq::shared();
    let client = broker.client().await;
    client.queue("q").await;
    let mut connection = Connection::open(&of(&broker), 0).await.unwrap();
    let (mut sent, mut confirmed) = (0, 0);
    while confirmed < 1000 {
        while sent < confirmed + 100 && sent < 1000 {
            connection.submit(message(sent, "q")).unwrap();
            sent += 1;
        }
        assert_eq!(
            answer(&mut connection).await,
            (confirmed, Answer::Confirmed)
        );
        confirmed += 1;
    }
    connection.close().await;
    let consumer = client.consume("q").await;
    let all = consumer.wait_for(BOUND, |all| all.len() >= 1000).await;
    for (token, one) in all.iter().enumerate() {
        assert_eq!(one.payload, format!("payload {token}").as_bytes());
    }
    let one = &all[7];
    assert_eq!(one.message_id.as_deref(), Some("5f3a9c1e-1007"));
    assert_eq!(one.content_type.as_deref(), Some("application/json"));
    assert_eq!(
        (one.delivery_mode, one.timestamp),
        (Some(2), Some(1_700_000_000))
    );
    let numbers = ["seq", "device_seq", "timestamp_in_ms"].map(|name| one.number(name));
    assert_eq!(numbers, [Some(1007), Some(7), Some(1_700_000_000_123)]);
    let headers = one.headers.inner();
    assert_eq!(headers.get("historical"), Some(&AMQPValue::Boolean(false)));
    assert_eq!(
        headers.get("stream"),
        Some(&AMQPValue::LongString("5f3a9c1e".into()))
    );
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn what_no_queue_takes_waits_until_one_does() {
    let broker = RabbitMq::shared();
    let mut connection = Connection::open(&of(&broker), 0).await.unwrap();
    connection.submit(message(1, "later")).unwrap();
    let (token, retry) = answer(&mut connection).await;
    assert_eq!(token, 1);
    assert!(
        matches!(&retry, Answer::Returned(why) if why.contains("\"later\": 312 NO_ROUTE")),
        "{retry:?}"
    );
    broker.client().await.queue("later").await;
    connection.submit(message(1, "later")).unwrap();
    assert_eq!(answer(&mut connection).await, (1, Answer::Confirmed));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn each_of_many_in_flight_gets_its_own_answer() {
    let broker = RabbitMq::shared();
    let client = broker.client().await;
    client.queue("classic").await;
    client
        .queue_with(
            "quorum",
            &[("x-queue-type", AMQPValue::LongString("quorum".into()))],
        )
        .await;
    let queue = |token: u64| match token * 7 % 10 {
        0..=3 => "classic",
        4..=5 => "quorum",
        _ => "none",
    };
    let mut connection = Connection::open(&of(&broker), 0).await.unwrap();
    for round in 0..20 {
        let tokens = round * 100..(round + 1) * 100;
        for token in tokens.clone() {
            connection.submit(message(token, queue(token))).unwrap();
        }
        for token in tokens {
            let (answered, answer) = answer(&mut connection).await;
            assert_eq!(answered, token);
            let returned = matches!(&answer, Answer::Returned(_));
            assert_eq!(returned, queue(token) == "none", "{token}: {answer:?}");
            assert!(returned || answer == Answer::Confirmed);
        }
    }
    let consumer = client.consume("quorum").await;
    consumer.wait_for(BOUND, |all| all.len() == 400).await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn what_a_full_queue_rejects_is_sent_again() {
    let broker = RabbitMq::shared();
    let client = broker.client().await;
    let arguments = [
        ("x-max-length", AMQPValue::LongInt(2)),
        ("x-overflow", AMQPValue::LongString("reject-publish".into())),
    ];
    client.queue_with("small", &arguments).await;
    let mut connection = Connection::open(&of(&broker), 0).await.unwrap();
    let mut answers = Vec::new();
    for token in 0..5 {
        connection.submit(message(token, "small")).unwrap();
        answers.push(answer(&mut connection).await.1);
    }
    assert_eq!(answers[..2], [Answer::Confirmed, Answer::Confirmed]);
    assert!(
        matches!(&answers[4], Answer::Retry(why) if why.contains("nack") || why.contains("full"))
    );
    let consumer = client.consume("small").await;
    consumer.wait_for(BOUND, |all| all.len() >= 2).await;
    connection.submit(message(4, "small")).unwrap();
    assert_eq!(answer(&mut connection).await, (4, Answer::Confirmed));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_missing_exchange_ends_the_connection_and_says_so() {
    let broker = RabbitMq::shared();
    let mut connection = Connection::open(&of(&broker), 0).await.unwrap();
    // Also those submitted when the channel is closed already do not hide the reason.
    let submitting = async {
        for token in 0.. {
            let mut message = message(token, "key");
            message.address.exchange = "nowhere".into();
            connection.submit(message).unwrap();
            tokio::select! {
                biased;
                incoming = connection.next() => return incoming.unwrap_err(),
                () = sleep(Duration::from_micros(100)) => {}
            }
        }
        unreachable!("an endless loop")
    };
    let error = timeout(BOUND, submitting).await.unwrap();
    let text = error.to_string();
    assert!(matches!(error, UpstreamError::Closed(_)), "{text}");
    assert!(
        text.contains("no exchange 'nowhere'") && text.contains("create it"),
        "{text}"
    );
}

#[tokio::test]
async fn a_broker_that_is_not_there_or_says_nothing_takes_a_bounded_time() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = settings(listener.local_addr().unwrap().port(), "/");
    let start = Instant::now();
    let opening = timeout(Duration::from_secs(2), Connection::open(&silent, 0));
    assert!(opening.await.is_err(), "it answered");
    drop(listener);
    let error = refusal(&silent).await;
    assert!(matches!(error, UpstreamError::Unreachable(_)), "{error}");
    assert!(start.elapsed() < BOUND);
}
