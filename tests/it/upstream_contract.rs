//! What every kind of upstream must do. A new kind implements [`Peer`] and joins the list at the end.

mod amqp;
mod forwarding;
pub(crate) mod mqtt;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use forebay::reading::StreamId;
use forebay::upstream::Connection;
use forebay::upstream::error::{UpstreamError, Verdict};
use forebay::upstream::message::{Address, Answer, Assurance, Incoming, Message, Properties};
use forebay::upstream::settings::UpstreamSettings;
use futures_util::FutureExt;
use tempfile::NamedTempFile;
use tokio::time::{Instant, timeout};

use crate::harness::tamper::Protocol;

/// Bound of each single wait on a loaded machine.
pub(crate) const BOUND: Duration = Duration::from_secs(60);

/// What a guarded broker wants.
pub(crate) const PASSWORD: &str = "guest";

/// A real broker and a consumer of all that it takes.
pub(crate) trait Peer: Sized {
    /// What it speaks: a proxy that knows it puts acknowledgements into another order and closes connections over messages.
    const PROTOCOL: Protocol;
    /// Whether it keeps messages for later subscribers, and tells in our place that our connection broke. A kind that has
    /// neither has no state of the gateway to tell.
    const TELLS_STATE: bool;
    /// Starts it, or a part of it that is this test's alone, and subscribes.
    async fn start() -> Self;
    /// Where it listens.
    fn port(&self) -> u16;
    /// To connect to it by way of this port, with a window of `inflight`.
    fn settings_by(&self, port: u16, inflight: u16) -> UpstreamSettings;
    /// The same without a way round.
    fn settings(&self, inflight: u16) -> UpstreamSettings {
        self.settings_by(self.port(), inflight)
    }
    /// One that wants a password, [`PASSWORD`], and settings that read it from this file.
    async fn guarded(file: &Path) -> (Self, UpstreamSettings);
    /// One that takes messages of up to 2,000 bytes.
    async fn small() -> Self;
    /// Where messages reach the consumer.
    fn address(&self) -> Address;
    /// The bodies that arrived, in order, once there are so many.
    async fn arrived(&self, count: usize) -> Vec<Bytes>;
    /// Ends it at once; its connections break.
    fn kill(&mut self);
    /// Stops answering; its connections stay open.
    fn freeze(&mut self);
}

/// The `n`-th test message; its body is the number.
pub(crate) fn message(address: &Address, n: u64) -> Message {
    Message {
        token: n,
        address: address.clone(),
        payload: n.to_string().into(),
        retain: false,
        content_type: "application/json",
        expires_in: None,
        properties: Some(Properties {
            stream: StreamId(7),
            seq: n,
            device_seq: n,
            part: None,
            historical: false,
            timestamp_ms: 0,
        }),
    }
}

pub(crate) async fn open(settings: &UpstreamSettings) -> Connection {
    let opened = timeout(BOUND, Connection::open(settings, 0, None)).await;
    opened.expect("no connection in time").unwrap()
}

pub(crate) async fn next(connection: &mut Connection) -> Result<Incoming, UpstreamError> {
    let incoming = timeout(BOUND, connection.next()).await;
    incoming.expect("nothing came in in time")
}

pub(crate) async fn answer(connection: &mut Connection) -> (u64, Answer) {
    match next(connection).await.unwrap() {
        Incoming::Answer(token, answer) => (token, answer),
        other => panic!("{other:?}"),
    }
}

async fn every_message_is_answered_under_its_token_and_arrives_in_order<P: Peer>() {
    let peer = P::start().await;
    let address = peer.address();
    for inflight in [1_u16, 7] {
        let mut connection = open(&peer.settings(inflight)).await;
        assert_eq!(connection.assurance(), Assurance::Broker);
        let (mut out, mut sent) = (0, 0);
        let mut answers = BTreeMap::new();
        while answers.len() < 50 {
            while out < inflight && sent < 50 {
                connection.submit(message(&address, sent)).unwrap();
                (out, sent) = (out + 1, sent + 1);
            }
            let (token, answer) = answer(&mut connection).await;
            assert_eq!(answer, Answer::Confirmed);
            assert!(
                answers.insert(token, answer).is_none(),
                "{token} answered twice"
            );
            out -= 1;
        }
        assert_eq!(
            answers.into_keys().collect::<Vec<_>>(),
            (0..50).collect::<Vec<_>>()
        );
        connection.close().await;
    }
    let expected: Vec<_> = (0..50_u64).chain(0..50).map(|n| n.to_string()).collect();
    assert_eq!(peer.arrived(100).await, expected);
}

/// A forwarder polls it beside other things, and drops the future each time one of those is first.
async fn dropping_the_wait_loses_nothing<P: Peer>() {
    let peer = P::start().await;
    let address = peer.address();
    let mut connection = open(&peer.settings(100)).await;
    let mut answered = Vec::new();
    for n in 0..100 {
        connection.submit(message(&address, n)).unwrap();
        let wait = Duration::from_micros(n * 7 % 50);
        if let Some(incoming) = connection.next().now_or_never() {
            answered.push(incoming.unwrap());
        } else if let Ok(incoming) = timeout(wait, connection.next()).await {
            answered.push(incoming.unwrap());
        }
    }
    while answered.len() < 100 {
        answered.push(next(&mut connection).await.unwrap());
    }
    for n in 0..100 {
        assert!(
            answered.contains(&Incoming::Answer(n, Answer::Confirmed)),
            "{n}"
        );
    }
    let expected: Vec<_> = (0..100).map(|n: u64| n.to_string()).collect();
    assert_eq!(peer.arrived(100).await, expected);
    connection.close().await;
}

async fn a_broken_link_ends_the_connection<P: Peer>() {
    let mut peer = P::start().await;
    let address = peer.address();
    let settings = peer.settings(10);
    let mut connection = open(&settings).await;
    connection.submit(message(&address, 1)).unwrap();
    assert_eq!(answer(&mut connection).await, (1, Answer::Confirmed));
    peer.kill();
    let error = loop {
        // What the broker said before it was killed may still come in.
        if let Err(error) = next(&mut connection).await {
            break error;
        }
    };
    assert_eq!(error.verdict(), Verdict::Reconnect, "{error}");
    let start = Instant::now();
    connection.close().await;
    assert!(start.elapsed() < Duration::from_secs(10));
    let refused = timeout(BOUND, Connection::open(&settings, 0, None)).await;
    let error = refused
        .unwrap()
        .err()
        .expect("it connects to a dead broker");
    assert_eq!(error.verdict(), Verdict::Reconnect, "{error}");
}

async fn a_frozen_broker_answers_nothing_and_is_left_in_time<P: Peer>() {
    let mut peer = P::start().await;
    let address = peer.address();
    let mut connection = open(&peer.settings(10)).await;
    peer.freeze();
    connection.submit(message(&address, 1)).unwrap();
    let silence = timeout(Duration::from_millis(300), connection.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    let start = Instant::now();
    connection.close().await;
    assert!(start.elapsed() < Duration::from_secs(10));
}

async fn a_wrong_password_is_told_apart_from_a_broken_link<P: Peer>() {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), PASSWORD).unwrap();
    let (_peer, settings) = P::guarded(file.path()).await;
    open(&settings).await.close().await;
    std::fs::write(file.path(), "wrong").unwrap();
    let refused = timeout(BOUND, Connection::open(&settings, 0, None)).await;
    let error = refused.unwrap().err().expect("it takes a wrong password");
    assert!(matches!(error, UpstreamError::NotAuthorised(_)), "{error}");
    assert_eq!(error.verdict(), Verdict::Stop);
}

/// The tests above, and those of a forwarder, for one kind.
macro_rules! contract {
    ($kind:ident, $peer:ty, $needs:literal) => {
        mod $kind {
            contract!(@ $peer, $needs,
                every_message_is_answered_under_its_token_and_arrives_in_order,
                dropping_the_wait_loses_nothing,
                a_broken_link_ends_the_connection,
                a_frozen_broker_answers_nothing_and_is_left_in_time,
                a_wrong_password_is_told_apart_from_a_broken_link,
            );
            contract!(@ forwarding $peer, $needs,
                stopped_in_order_and_started_again_it_repeats_nothing,
                a_description_goes_before_the_scans_that_need_it,
                a_record_in_parts_is_repeated_where_the_link_breaks_in_it,
                what_is_too_large_is_a_dead_letter_and_the_rest_goes_on,
                what_the_connection_is_closed_over_again_and_again_is_a_dead_letter,
                where_nothing_is_allowed_it_stops_with_an_alarm_and_goes_on_when_it_is,
                a_broker_that_is_away_is_tried_again_after_pauses,
                the_gateways_state_is_told_whatever_ends_it_where_the_broker_keeps_it,
            );
        }
    };
    (@ $peer:ty, $needs:literal, $($test:ident,)*) => {
        $(
            #[tokio::test]
            #[ignore = $needs]
            async fn $test() {
                super::$test::<$peer>().await;
            }
        )*
    };
    (@ forwarding $peer:ty, $needs:literal, $($test:ident,)*) => {
        $(
            #[tokio::test]
            #[ignore = $needs]
            async fn $test() {
                super::forwarding::$test::<$peer>().await;
            }
        )*
    };
}

contract!(mqtt_3, super::mqtt::V3, "needs mosquitto");
contract!(mqtt_5, super::mqtt::V5, "needs mosquitto");
contract!(amqp_0_9_1, super::amqp::Queue, "needs rabbitmq");
