//! mosquitto, in both versions of the protocol.

use std::path::PathBuf;

use forebay::forward::settings::ForwarderSettings;
use forebay::upstream::settings::{MqttSettings, MqttVersion, TlsSettings, UpstreamSettings};

use super::{ACK_TIMEOUT, Fault, Peer, WINDOW, run_all};
use crate::forward::memory;
use crate::harness::certs::{Certs, Identity};
use crate::harness::mosquitto::{Mosquitto, MosquittoSettings, MosquittoTls};
use crate::harness::proxy::Proxy;
use crate::harness::subscriber::Subscriber;
use crate::upstream_contract::mqtt;

/// A mosquitto and its subscriber.
struct Broker<const VERSION: u8> {
    mosquitto: Mosquitto,
    proxy: Proxy,
    subscriber: Subscriber,
    /// What came to the subscriber of a session that the broker has forgotten.
    before: Vec<Vec<u8>>,
    tls: Option<Tls>,
}

/// The certificates of a broker with TLS.
struct Tls {
    certs: Certs,
    /// The files that the broker and the gateway read.
    served: Identity,
    trusted: PathBuf,
    others: Certs,
}

impl Tls {
    fn new() -> Self {
        let (certs, others) = (Certs::new(), Certs::new());
        let served = certs.client("served");
        let trusted = certs.ca().with_file_name("trusted.pem");
        let tls = Self {
            certs,
            served,
            trusted,
            others,
        };
        tls.trust(&tls.certs);
        tls.serve(&tls.certs.server());
        tls
    }

    fn trust(&self, certs: &Certs) {
        std::fs::copy(certs.ca(), &self.trusted).unwrap();
    }

    fn serve(&self, identity: &Identity) {
        std::fs::copy(&identity.cert, &self.served.cert).unwrap();
        std::fs::copy(&identity.key, &self.served.key).unwrap();
    }
}

impl<const VERSION: u8> Peer for Broker<VERSION> {
    async fn start(fault: Fault) -> Self {
        let tls = matches!(fault, Fault::WrongAuthority | Fault::Expired).then(Tls::new);
        let mosquitto = Mosquitto::start_with(&MosquittoSettings {
            tls: tls.as_ref().map(|tls| MosquittoTls {
                ca: tls.certs.ca(),
                cert: tls.served.cert.clone(),
                key: tls.served.key.clone(),
                client_certificate: false,
            }),
            ..MosquittoSettings::default()
        });
        Self {
            proxy: Proxy::to(mosquitto.port()).await,
            subscriber: mosquitto.subscribe("t/#").await,
            before: Vec::new(),
            mosquitto,
            tls,
        }
    }

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn settings(&self) -> ForwarderSettings {
        let version = if VERSION == 3 {
            MqttVersion::V3
        } else {
            MqttVersion::V5
        };
        let mut settings = MqttSettings {
            inflight: WINDOW,
            ack_timeout: ACK_TIMEOUT,
            ..mqtt::settings(self.proxy.port(), version)
        };
        for endpoint in &mut settings.endpoints {
            endpoint.tls = self.tls.as_ref().map(|tls| TlsSettings {
                ca: Some(tls.trusted.clone()),
                identity: None,
            });
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
            Fault::Killed => self.mosquitto.kill(),
            Fault::Frozen => self.mosquitto.freeze(),
            Fault::WrongAuthority => {
                let tls = self.tls.as_ref().unwrap();
                tls.trust(&tls.others);
                self.proxy.cut();
            }
            Fault::Expired => {
                let tls = self.tls.as_ref().unwrap();
                tls.serve(&tls.certs.expired_server());
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
                self.proxy.refuse(true);
                self.mosquitto.restart();
                self.before = self.arrived();
                self.subscriber = self.mosquitto.subscribe("t/#").await;
                self.proxy.refuse(false);
            }
            Fault::Frozen => self.mosquitto.thaw(),
            Fault::WrongAuthority => {
                let tls = self.tls.as_ref().unwrap();
                tls.trust(&tls.certs);
            }
            Fault::Expired => {
                let tls = self.tls.as_ref().unwrap();
                tls.serve(&tls.certs.server());
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
    run_all::<Broker<3>>(&BROKER, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs mosquitto"]
async fn over_mqtt_5_no_fault_loses_or_misplaces_a_record() {
    run_all::<Broker<5>>(&Fault::LINK, 1).await;
    run_all::<Broker<5>>(&BROKER, 0).await;
    run_all::<Broker<5>>(&[Fault::WrongAuthority, Fault::Expired], 0).await;
}
