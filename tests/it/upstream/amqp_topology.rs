//! AMQP 0-9-1: what is declared, looked for and let expire at RabbitMQ.

use std::time::Duration;

use forebay::upstream::amqp::Connection;
use forebay::upstream::error::{UpstreamError, Verdict};
use forebay::upstream::message::Answer;
use forebay::upstream::settings::{
    Binding, Declare, DeclareQueue, ExchangeKind, QueueLimits, QueueType,
};
use tokio::time::sleep;

use super::amqp::{BOUND, answer, message, of, refusal};
use crate::harness::rabbitmq::RabbitMq;

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn exchange_queue_and_binding_are_declared_where_that_is_wanted() {
    let broker = RabbitMq::shared();
    let mut settings = of(&broker);
    let binding = Binding {
        exchange: "telemetry".to_owned(),
        key: "#".to_owned(),
    };
    settings.declare = Declare {
        passive: false,
        exchange: Some(("telemetry".to_owned(), ExchangeKind::Topic)),
        queue: Some(DeclareQueue {
            name: "telemetry".to_owned(),
            queue_type: QueueType::Quorum,
            limits: QueueLimits::default(),
            bind: Some(binding.clone()),
        }),
    };
    for _ in 0..2 {
        let mut connection = Connection::open(&settings, 0).await.unwrap();
        let mut message = message(1, "meter-3.default");
        message.address.exchange = "telemetry".into();
        connection.submit(message).unwrap();
        assert_eq!(answer(&mut connection).await, (1, Answer::Confirmed));
        connection.close().await;
    }
    // To an exchange that others declared.
    settings.declare.exchange = None;
    settings.declare.queue = Some(DeclareQueue {
        name: "second".to_owned(),
        queue_type: QueueType::Classic,
        limits: QueueLimits::default(),
        bind: Some(binding),
    });
    let mut connection = Connection::open(&settings, 0).await.unwrap();
    connection.submit(message(1, "second")).unwrap();
    assert_eq!(answer(&mut connection).await, (1, Answer::Confirmed));
    let consumer = broker.client().await.consume("second").await;
    let mut routed = message(2, "meter-3.default");
    routed.address.exchange = "telemetry".into();
    connection.submit(routed).unwrap();
    assert_eq!(answer(&mut connection).await, (2, Answer::Confirmed));
    consumer.wait_for(BOUND, |all| all.len() == 2).await;
    settings.declare.queue = Some(DeclareQueue {
        name: "telemetry".to_owned(),
        queue_type: QueueType::Classic,
        limits: QueueLimits::default(),
        bind: None,
    });
    let error = refusal(&settings).await;
    let text = error.to_string();
    assert!(matches!(error, UpstreamError::Rejected(_)), "{text}");
    assert!(
        text.contains("queue \"telemetry\": PRECONDITION_FAILED"),
        "{text}"
    );
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn what_is_only_looked_for_must_be_there_and_is_not_made() {
    let broker = RabbitMq::shared();
    let mut settings = of(&broker);
    settings.declare = Declare {
        passive: true,
        exchange: Some(("telemetry".to_owned(), ExchangeKind::Topic)),
        queue: Some(DeclareQueue {
            name: "telemetry".to_owned(),
            queue_type: QueueType::Classic,
            limits: QueueLimits::default(),
            bind: None,
        }),
    };
    let error = refusal(&settings).await;
    assert!(
        error.to_string().contains("no exchange 'telemetry'"),
        "{error}"
    );
    assert_eq!(error.verdict(), Verdict::Reconnect);
    let client = broker.client().await;
    client
        .exchange("telemetry", lapin::ExchangeKind::Topic)
        .await;
    let error = refusal(&settings).await;
    assert!(
        error.to_string().contains("no queue 'telemetry'"),
        "{error}"
    );
    client.queue("telemetry").await;
    Connection::open(&settings, 0).await.unwrap().close().await;
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_stream_takes_them_and_what_has_expired_is_gone() {
    let broker = RabbitMq::shared();
    let mut settings = of(&broker);
    settings.declare.queue = Some(DeclareQueue {
        name: "log".to_owned(),
        queue_type: QueueType::Stream,
        limits: QueueLimits::default(),
        bind: None,
    });
    broker.client().await.queue("q").await;
    let mut connection = Connection::open(&settings, 0).await.unwrap();
    connection.submit(message(1, "log")).unwrap();
    assert_eq!(answer(&mut connection).await, (1, Answer::Confirmed));
    let mut short = message(2, "q");
    short.expires_in = Some(Duration::from_millis(1));
    connection.submit(short).unwrap();
    assert_eq!(answer(&mut connection).await, (2, Answer::Confirmed));
    let mut part = message(3, "q");
    part.properties.as_mut().unwrap().part = Some((2, 5));
    part.expires_in = Some(Duration::from_secs(3_600));
    connection.submit(part).unwrap();
    assert_eq!(answer(&mut connection).await, (3, Answer::Confirmed));
    sleep(Duration::from_millis(50)).await;
    let consumer = broker.client().await.consume("q").await;
    let all = consumer.wait_for(BOUND, |all| !all.is_empty()).await;
    assert_eq!(all[0].message_id.as_deref(), Some("5f3a9c1e-1003-2"));
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_queue_that_is_full_takes_nothing_more_and_a_stream_lets_go_of_its_oldest() {
    let broker = RabbitMq::shared();
    for queue_type in [QueueType::Classic, QueueType::Quorum] {
        let name = format!("{queue_type:?}");
        let mut settings = of(&broker);
        settings.declare.queue = Some(DeclareQueue {
            name: name.clone(),
            queue_type,
            limits: QueueLimits {
                max_size: Some(50_000),
                max_age: None,
            },
            bind: None,
        });
        let mut connection = Connection::open(&settings, 0).await.unwrap();
        let large = |token| {
            let mut large = message(token, &name);
            large.payload = vec![b'x'; 20_000].into();
            large
        };
        let mut taken = 0;
        let full = loop {
            connection.submit(large(taken)).unwrap();
            match answer(&mut connection).await {
                (_, Answer::Confirmed) => taken += 1,
                (_, other) => break other,
            }
            assert!(taken < 10, "{queue_type:?} takes all");
        };
        assert!(matches!(&full, Answer::Retry(_)), "{full:?}");
        // None was dropped for another.
        let consumer = broker.client().await.consume(&name).await;
        let all = consumer
            .wait_for(BOUND, |all| all.len() as u64 >= taken)
            .await;
        let ids: Vec<_> = all
            .iter()
            .filter_map(|one| one.message_id.clone())
            .collect();
        let expected: Vec<_> = (0..taken)
            .map(|token| format!("5f3a9c1e-{}", 1000 + token))
            .collect();
        assert_eq!(ids, expected);
        connection.close().await;
    }
    let mut settings = of(&broker);
    settings.declare.queue = Some(DeclareQueue {
        name: "log".to_owned(),
        queue_type: QueueType::Stream,
        limits: QueueLimits {
            max_size: Some(1 << 30),
            max_age: Some(Duration::from_secs(7 * 86_400)),
        },
        bind: None,
    });
    for _ in 0..2 {
        let mut connection = Connection::open(&settings, 0).await.unwrap();
        connection.submit(message(1, "log")).unwrap();
        assert_eq!(answer(&mut connection).await, (1, Answer::Confirmed));
        connection.close().await;
    }
}
