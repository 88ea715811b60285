//! mosquitto, in both versions of the protocol.

use std::time::Duration;

use forebay::forward::settings::ForwarderSettings;
use forebay::upstream::settings::{Login, MqttSettings, MqttVersion, Secret, UpstreamSettings};
use tempfile::NamedTempFile;

use super::tls::Tls;
use super::{Fault, Peer, WINDOW, run_all};
use crate::forward::memory::{self, BOUND};
use crate::harness::mosquitto::{Mosquitto, MosquittoSettings, MosquittoTls};
use crate::harness::proxy::Proxy;
use crate::harness::subscriber::{Received, Subscriber};
use crate::harness::tamper::Protocol;
use crate::upstream_contract::mqtt;

/// A mosquitto and its subscriber.
struct Broker<const VERSION: u8> {
    mosquitto: Mosquitto,
    proxy: Proxy,
    subscriber: Subscriber,
    /// What came to the subscriber of a session that the broker has forgotten.
    before: Vec<Vec<u8>>,
    tls: Option<Tls>,
    /// What may be written to it.
    rules: NamedTempFile,
}

/// The gateway's user.
const USER: &str = "hall-2";
const PASSWORD: &str = "right";

fn user(password: &str) -> Vec<(String, String)> {
    vec![(USER.to_owned(), password.to_owned())]
}

impl<const VERSION: u8> Broker<VERSION> {
    /// Whether the user may connect, with 3.1.1: it cannot say that a message is not allowed. With 5, whether anything may
    /// be written.
    fn permit(&mut self, permitted: bool) {
        if VERSION == 3 {
            let password = if permitted { PASSWORD } else { "another" };
            return self.mosquitto.set_users(&user(password));
        }
        let access = if permitted { "write" } else { "read" };
        std::fs::write(self.rules.path(), format!("pattern {access} #\n")).unwrap();
        self.mosquitto.reload();
    }

    /// Nothing gets to the broker any more, and all that it has acknowledged has got to the subscriber.
    async fn hand_on(&self) {
        self.proxy.refuse(true);
        self.proxy.cut();
        let last = self.mosquitto.subscribe("none").await;
        last.publish("t/last", b"last", false);
        let came = |all: &[Received]| all.iter().any(|one| one.topic == "t/last");
        self.subscriber.wait_for(BOUND, came).await;
    }

    fn tls(&self) -> &Tls {
        self.tls.as_ref().unwrap()
    }
}

impl<const VERSION: u8> Peer for Broker<VERSION> {
    const PROTOCOL: Protocol = Protocol::Mqtt;

    async fn start(fault: Fault) -> Self {
        let tls = fault.is_of_tls().then(Tls::new);
        let rules = NamedTempFile::new().unwrap();
        std::fs::write(rules.path(), "pattern write #\n").unwrap();
        let mosquitto = Mosquitto::start_with(&MosquittoSettings {
            users: user(PASSWORD),
            tls: tls.as_ref().map(|tls| MosquittoTls {
                ca: tls.certs.ca(),
                cert: tls.served.cert.clone(),
                key: tls.served.key.clone(),
                client_certificate: true,
            }),
            // Without a limit of its queues, mosquitto 2.0.11 closes the connection over what is not allowed.
            general: vec!["max_queued_messages 1000000".to_owned()],
            listener: vec![format!("acl_file {}", rules.path().display())],
        });
        Self {
            proxy: Proxy::to(mosquitto.port()).await,
            subscriber: mosquitto.subscribe("t/#").await,
            before: Vec::new(),
            mosquitto,
            tls,
            rules,
        }
    }

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn settings(&self, port: u16, ack_timeout: Duration) -> ForwarderSettings {
        let version = if VERSION == 3 {
            MqttVersion::V3
        } else {
            MqttVersion::V5
        };
        let mut settings = MqttSettings {
            inflight: WINDOW,
            ack_timeout,
            login: Some(Login {
                username: USER.to_owned(),
                password: Some(Secret::Plain(PASSWORD.to_owned())),
            }),
            ..mqtt::settings(port, version)
        };
        for endpoint in &mut settings.endpoints {
            endpoint.tls = self.tls.as_ref().map(Tls::settings);
        }
        memory::settings(UpstreamSettings::Mqtt(settings))
    }

    fn arrived(&self) -> Vec<Vec<u8>> {
        let since = self.subscriber.received();
        let since = since.iter().map(|message| message.payload.to_vec());
        self.before.iter().cloned().chain(since).collect()
    }

    async fn harm(&mut self, fault: Fault) {
        match fault {
            Fault::Stopped => self.mosquitto.stop(),
            Fault::Killed => {
                self.hand_on().await;
                self.mosquitto.kill();
            }
            Fault::Frozen => self.mosquitto.freeze(),
            Fault::Forbidden => self.permit(false),
            Fault::WrongAuthority => {
                self.tls().trust_another();
                self.proxy.cut();
            }
            Fault::Expired => {
                self.tls().serve_expired();
                self.mosquitto.stop();
                self.mosquitto.restart();
            }
            other => panic!("{other:?}"),
        }
    }

    async fn mend(&mut self, fault: Fault) {
        match fault {
            Fault::Stopped => self.mosquitto.restart(),
            Fault::Killed => {
                // Nobody publishes before somebody listens: without a session nothing is kept.
                self.mosquitto.restart();
                self.before = self.arrived();
                self.subscriber = self.mosquitto.subscribe("t/#").await;
                self.proxy.refuse(false);
            }
            Fault::Frozen => self.mosquitto.thaw(),
            Fault::Forbidden => self.permit(true),
            Fault::WrongAuthority => self.tls().trust_the_right_one(),
            Fault::Expired => {
                self.tls().serve_valid();
                self.mosquitto.stop();
                self.mosquitto.restart();
            }
            other => panic!("{other:?}"),
        }
    }
}

const BROKER: [Fault; 3] = [Fault::Stopped, Fault::Killed, Fault::Frozen];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mosquitto"]
async fn over_mqtt_3_no_fault_loses_or_misplaces_a_record() {
    run_all::<Broker<3>>(&Fault::LINK, 0).await;
    run_all::<Broker<3>>(&Fault::ANSWERS, 0).await;
    run_all::<Broker<3>>(&BROKER, 1).await;
    run_all::<Broker<3>>(&Fault::TLS, 1).await;
    run_all::<Broker<3>>(&[Fault::Forbidden], 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mosquitto"]
async fn over_mqtt_5_no_fault_loses_or_misplaces_a_record() {
    run_all::<Broker<5>>(&Fault::LINK, 1).await;
    run_all::<Broker<5>>(&Fault::ANSWERS, 1).await;
    run_all::<Broker<5>>(&BROKER, 0).await;
    run_all::<Broker<5>>(&Fault::TLS, 0).await;
    run_all::<Broker<5>>(&[Fault::Forbidden], 0).await;
}
