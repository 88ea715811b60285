//! MQTT, and what only it has.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use forebay::forward::route::Template;
use forebay::upstream::Connection;
use forebay::upstream::error::{UpstreamError, Verdict};
use forebay::upstream::message::{Address, Answer, Assurance};
use forebay::upstream::settings::{
    Endpoint, Login, MqttSettings, MqttVersion, Qos, Secret, TlsSettings, UpstreamSettings,
};

use super::{BOUND, PASSWORD, Peer, answer, message, open};
use crate::forward::memory::{self, Forwarder, Memory};
use crate::harness::certs::Certs;
use crate::harness::mosquitto::{Mosquitto, MosquittoSettings, MosquittoTls};
use crate::harness::subscriber::Subscriber;
use crate::harness::tamper::Protocol;

pub(crate) type V3 = Broker<3>;
pub(crate) type V5 = Broker<5>;

/// A mosquitto, spoken to in one version of the protocol.
pub(crate) struct Broker<const VERSION: u8> {
    mosquitto: Mosquitto,
    subscriber: Subscriber,
}

/// For a mosquitto on this port, with a window of 10.
pub(crate) fn settings(port: u16, version: MqttVersion) -> MqttSettings {
    MqttSettings {
        endpoints: vec![Endpoint {
            host: "127.0.0.1".to_owned(),
            port,
            tls: None,
        }],
        version,
        client_id: "hall-2-cloud".to_owned(),
        login: None,
        qos: Qos::AtLeastOnce,
        inflight: 10,
        keep_alive: Duration::from_secs(30),
        ack_timeout: Duration::from_secs(30),
    }
}

pub(crate) fn topic(key: &str) -> Address {
    Address {
        exchange: Arc::from(""),
        key: Arc::from(key),
    }
}

impl<const VERSION: u8> Broker<VERSION> {
    const SPOKEN: MqttVersion = if VERSION == 3 {
        MqttVersion::V3
    } else {
        MqttVersion::V5
    };

    async fn start_with(settings: &MosquittoSettings) -> Self {
        let mosquitto = Mosquitto::start_with(settings);
        let subscriber = mosquitto.subscribe("t/#").await;
        Self {
            mosquitto,
            subscriber,
        }
    }

    fn mqtt(&self) -> MqttSettings {
        settings(self.mosquitto.port(), Self::SPOKEN)
    }
}

impl<const VERSION: u8> Peer for Broker<VERSION> {
    const PROTOCOL: Protocol = Protocol::Mqtt;
    const TELLS_STATE: bool = true;

    async fn start() -> Self {
        Self::start_with(&MosquittoSettings::default()).await
    }

    fn port(&self) -> u16 {
        self.mosquitto.port()
    }

    fn settings_by(&self, port: u16, inflight: u16) -> UpstreamSettings {
        UpstreamSettings::Mqtt(MqttSettings {
            inflight,
            ..settings(port, Self::SPOKEN)
        })
    }

    async fn guarded(file: &Path) -> (Self, UpstreamSettings) {
        let users = vec![("forebay".to_owned(), PASSWORD.to_owned())];
        let broker = Self::start_with(&MosquittoSettings {
            users,
            ..Default::default()
        })
        .await;
        let settings = UpstreamSettings::Mqtt(MqttSettings {
            login: Some(Login {
                username: "forebay".to_owned(),
                password: Some(Secret::File(file.to_owned())),
            }),
            ..broker.mqtt()
        });
        (broker, settings)
    }

    async fn small() -> Self {
        Self::start_with(&MosquittoSettings {
            general: vec!["max_packet_size 2000".to_owned()],
            ..Default::default()
        })
        .await
    }

    fn address(&self) -> Address {
        topic("t/1")
    }

    async fn arrived(&self, count: usize) -> Vec<Bytes> {
        let all = self
            .subscriber
            .wait_for(BOUND, |all| all.len() >= count)
            .await;
        all.into_iter().map(|received| received.payload).collect()
    }

    fn kill(&mut self) {
        self.mosquitto.kill();
    }

    fn freeze(&mut self) {
        self.mosquitto.freeze();
    }
}

async fn version_5(general: &[&str], listener: &[&str]) -> V5 {
    let lines = |lines: &[&str]| lines.iter().map(|&line| line.to_owned()).collect();
    let settings = MosquittoSettings {
        general: lines(general),
        listener: lines(listener),
        ..Default::default()
    };
    V5::start_with(&settings).await
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn version_5_carries_the_records_place_and_keeps_what_is_retained() {
    let broker = V5::start().await;
    let mut connection = open(&broker.settings(1)).await;
    assert!(connection.retains());
    let mut retained = message(&topic("t/device/describe"), 81_723);
    retained.retain = true;
    connection.submit(retained).unwrap();
    assert_eq!(answer(&mut connection).await, (81_723, Answer::Confirmed));
    let received = broker
        .subscriber
        .wait_for(BOUND, |all| all.len() == 1)
        .await;
    let expected = [
        ("stream", "00000007"),
        ("seq", "81723"),
        ("device_seq", "81723"),
        ("historical", "false"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(received[0].user_properties, expected);
    assert_eq!(
        received[0].content_type.as_deref(),
        Some("application/json")
    );
    let late = broker.mosquitto.subscribe("t/#").await;
    late.wait_for(BOUND, |all| all.len() == 1).await;
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn what_is_larger_than_the_broker_takes_is_refused_and_the_connection_stays() {
    let broker = version_5(&["max_packet_size 2000"], &[]).await;
    let mut connection = open(&broker.settings(10)).await;
    assert_eq!(connection.max_message_size(), Some(2_000));
    let mut large = message(&broker.address(), 1);
    large.payload = vec![b'x'; 2_000].into();
    connection.submit(large).unwrap();
    let (token, refused) = answer(&mut connection).await;
    assert!(
        token == 1 && matches!(refused, Answer::Refused(_)),
        "{refused:?}"
    );
    // To the byte: what just fits arrives.
    let mut fits = message(&broker.address(), 2);
    fits.payload = vec![b'x'; 1_800].into();
    connection.submit(fits).unwrap();
    assert_eq!(answer(&mut connection).await, (2, Answer::Confirmed));
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn what_is_no_topic_is_refused_and_the_connection_stays() {
    let broker = V3::start().await;
    let mut connection = open(&broker.settings(10)).await;
    for (n, key) in ["", "a/+/b", "a/#", "a\0b"].into_iter().enumerate() {
        connection.submit(message(&topic(key), n as u64)).unwrap();
        let (token, refused) = answer(&mut connection).await;
        assert!(
            token == n as u64 && matches!(refused, Answer::Refused(_)),
            "{refused:?}"
        );
    }
    connection.submit(message(&broker.address(), 9)).unwrap();
    assert_eq!(answer(&mut connection).await, (9, Answer::Confirmed));
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn a_topic_that_is_not_allowed_is_told_with_version_5() {
    let folder = tempfile::tempdir().unwrap();
    let rules = folder.path().join("acl");
    std::fs::write(&rules, "topic write t/allowed\n").unwrap();
    // Without a limit of its queues, mosquitto 2.0.11 closes the connection after such a refusal.
    let rules = format!("acl_file {}", rules.display());
    let broker = version_5(&["max_queued_messages 1000"], &[&rules]).await;
    let mut connection = open(&broker.settings(10)).await;
    connection
        .submit(message(&topic("t/forbidden"), 1))
        .unwrap();
    connection.submit(message(&topic("t/allowed"), 2)).unwrap();
    let (token, refused) = answer(&mut connection).await;
    assert!(
        token == 1 && matches!(refused, Answer::Stop(_)),
        "{refused:?}"
    );
    assert_eq!(answer(&mut connection).await, (2, Answer::Confirmed));
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn the_brokers_receive_maximum_holds_below_our_window() {
    let broker = version_5(&["max_inflight_messages 3"], &[]).await;
    let mut connection = open(&broker.settings(100)).await;
    for n in 0..100 {
        connection.submit(message(&broker.address(), n)).unwrap();
    }
    for n in 0..100 {
        assert_eq!(answer(&mut connection).await, (n, Answer::Confirmed));
    }
    assert_eq!(broker.arrived(100).await.len(), 100);
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn without_acknowledgements_it_says_sent() {
    for version in [MqttVersion::V3, MqttVersion::V5] {
        let broker = V5::start().await;
        let settings = MqttSettings {
            qos: Qos::AtMostOnce,
            ..settings(broker.mosquitto.port(), version)
        };
        let mut connection = open(&UpstreamSettings::Mqtt(settings)).await;
        assert_eq!(connection.assurance(), Assurance::None);
        for n in 0..5 {
            connection.submit(message(&broker.address(), n)).unwrap();
        }
        for n in 0..5 {
            assert_eq!(answer(&mut connection).await, (n, Answer::Sent));
        }
        assert_eq!(broker.arrived(5).await.len(), 5);
        connection.close().await;
    }
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn the_will_comes_when_the_link_breaks_and_not_after_a_leave() {
    for version in [MqttVersion::V3, MqttVersion::V5] {
        let broker = V5::start().await;
        let upstream = UpstreamSettings::Mqtt(settings(broker.mosquitto.port(), version));
        let will = message(&topic("t/status"), 666);
        let left = Connection::open(&upstream, 0, Some(will.clone()))
            .await
            .unwrap();
        left.close().await;
        let lost = Connection::open(&upstream, 0, Some(will)).await.unwrap();
        drop(lost);
        let all = broker.arrived(1).await;
        assert_eq!(all, ["666"], "{version:?}");
    }
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn the_gateways_state_is_there_for_who_comes_later() {
    for version in [MqttVersion::V3, MqttVersion::V5] {
        let broker = Mosquitto::start();
        let upstream = UpstreamSettings::Mqtt(settings(broker.port(), version));
        let mut settings = memory::settings(upstream);
        settings.routes.status = Some(Template::parse("s/{gateway}/{upstream}").unwrap());
        let at_once = broker.subscribe("s/#").await;
        let forwarder = Forwarder::start(settings, &Memory::new());
        at_once.wait_for(BOUND, |all| all.len() == 1).await;
        forwarder.stop().await;
        at_once.wait_for(BOUND, |all| all.len() == 2).await;
        let late = broker.subscribe("s/#").await;
        let told = late.wait_for(BOUND, |all| all.len() == 1).await;
        assert_eq!(told[0].topic, "s/hall-2/cloud", "{version:?}");
        assert_eq!(told[0].json()["status"], "offline", "{version:?}");
    }
}

#[tokio::test]
#[ignore = "needs mosquitto"]
async fn tls_proves_both_sides() {
    let certs = Certs::new();
    let server = certs.server();
    let tls = MosquittoTls {
        ca: certs.ca(),
        cert: server.cert,
        key: server.key,
        client_certificate: true,
    };
    let broker = V5::start_with(&MosquittoSettings {
        tls: Some(tls),
        ..Default::default()
    })
    .await;
    let client = certs.client("hall-2");
    let identity = Some((client.cert, client.key));
    let connect = |version, host: &str, ca, identity| {
        let mut settings = settings(broker.mosquitto.port(), version);
        settings.endpoints[0].host = host.to_owned();
        settings.endpoints[0].tls = Some(TlsSettings { ca, identity });
        async move { Connection::open(&UpstreamSettings::Mqtt(settings), 0, None).await }
    };
    for version in [MqttVersion::V3, MqttVersion::V5] {
        for host in ["127.0.0.1", "localhost"] {
            let opened = connect(version, host, Some(certs.ca()), identity.clone()).await;
            let mut connection = opened.unwrap();
            connection.submit(message(&broker.address(), 1)).unwrap();
            assert_eq!(answer(&mut connection).await, (1, Answer::Confirmed));
            connection.close().await;
        }
        let stranger = connect(version, "127.0.0.1", Some(certs.ca()), None).await;
        let error = stranger.err().expect("a client without a certificate");
        assert_eq!(error.verdict(), Verdict::Reconnect, "{error}");
        let foreign = Certs::new();
        let unknown = connect(version, "127.0.0.1", Some(foreign.ca()), identity.clone()).await;
        let error = unknown.err().expect("a server of another authority");
        assert!(matches!(error, UpstreamError::Tls(_)), "{error}");
        assert!(error.to_string().contains("certificate"), "{error}");
    }
}
