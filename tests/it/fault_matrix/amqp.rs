//! RabbitMQ: the one that all tests share, and one's own to stop, freeze and starve.

use std::time::Duration;

use forebay::forward::route::Template;
use forebay::forward::settings::ForwarderSettings;
use forebay::upstream::settings::{AmqpSettings, UpstreamSettings};
use lapin::types::AMQPValue;

use super::tls::Tls;
use super::{Fault, Peer, WINDOW, all_cases, run_all};
use crate::forward::memory::{self, BOUND};
use crate::harness::proxy::Proxy;
use crate::harness::rabbitmq::{Consumed, Consumer, RabbitMq};
use crate::harness::tamper::Protocol;
use crate::upstream::amqp;

/// An exchange, a queue, and its consumers, one after the other.
struct Broker {
    rabbitmq: RabbitMq,
    proxy: Proxy,
    consumers: Vec<Consumer>,
    tls: Option<Tls>,
}

impl Broker {
    /// What the operator set up, or sets up again.
    async fn topology(&mut self) {
        let client = self.rabbitmq.client().await;
        client
            .exchange("telemetry", lapin::ExchangeKind::Topic)
            .await;
        client.queue("all").await;
        client.bind("all", "telemetry", "#").await;
        self.consumers.push(client.consume("all").await);
    }

    /// Nothing gets to the broker any more, and all that it has confirmed has got to the consumer. It confirms also what
    /// was on its way into a queue that is deleted.
    async fn hand_on(&self) {
        self.proxy.refuse(true);
        self.proxy.cut();
        let client = self.rabbitmq.client().await;
        client.publish("telemetry", "last", b"last").await;
        let came = |all: &[Consumed]| all.iter().any(|one| one.payload == b"last");
        let consumer = self.consumers.last().unwrap();
        consumer.wait_for(BOUND, came).await;
    }

    fn tls(&self) -> &Tls {
        self.tls.as_ref().unwrap()
    }
}

impl Peer for Broker {
    const PROTOCOL: Protocol = Protocol::Amqp;

    async fn start(fault: Fault) -> Self {
        let starved = matches!(fault, Fault::MemoryAlarm | Fault::DiskAlarm);
        let own = starved || matches!(fault, Fault::Stopped | Fault::Killed | Fault::Frozen);
        let rabbitmq = if own {
            RabbitMq::own()
        } else {
            RabbitMq::shared()
        };
        let tls = fault.is_of_tls().then(Tls::new);
        let port = match &tls {
            Some(tls) => rabbitmq.listen_tls(&tls.certs, &tls.served),
            None => rabbitmq.port(),
        };
        let mut broker = Self {
            proxy: Proxy::to(port).await,
            rabbitmq,
            consumers: Vec::new(),
            tls,
        };
        broker.topology().await;
        broker
    }

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn settings(&self, port: u16, ack_timeout: Duration) -> ForwarderSettings {
        let mut settings = AmqpSettings {
            inflight: WINDOW,
            ack_timeout,
            ..amqp::settings(port, self.rabbitmq.vhost())
        };
        for endpoint in &mut settings.endpoints {
            endpoint.tls = self.tls.as_ref().map(Tls::settings);
        }
        let mut settings = memory::settings(UpstreamSettings::Amqp(settings));
        settings.routes.exchange = Template::parse("telemetry").unwrap();
        settings
    }

    fn arrived(&self) -> Vec<Vec<u8>> {
        let all = self.consumers.iter().flat_map(Consumer::received);
        all.map(|message| message.payload).collect()
    }

    async fn harm(&mut self, fault: Fault) {
        let client = self.rabbitmq.client().await;
        match fault {
            Fault::QueueFull => {
                let arguments = [
                    ("x-max-length", AMQPValue::LongInt(1)),
                    ("x-overflow", AMQPValue::LongString("reject-publish".into())),
                ];
                client.queue_with("full", &arguments).await;
                client.bind("full", "telemetry", "#").await;
            }
            Fault::WrongAuthority => {
                self.tls().trust_another();
                self.proxy.cut();
            }
            Fault::Expired => {
                self.tls().serve_expired();
                self.rabbitmq.forget_certificates();
                self.proxy.cut();
            }
            Fault::QueueDeleted => {
                self.hand_on().await;
                client.delete_queue("all").await;
                self.proxy.refuse(false);
            }
            Fault::ExchangeDeleted => client.delete_exchange("telemetry").await,
            Fault::Forbidden => {
                self.rabbitmq.permit("^$");
                // What is connected was asked before.
                self.proxy.cut();
            }
            Fault::Stopped => self.rabbitmq.stop(),
            Fault::Killed => self.rabbitmq.kill(),
            Fault::Frozen => self.rabbitmq.freeze(),
            Fault::MemoryAlarm => self.rabbitmq.raise_alarm(),
            Fault::DiskAlarm => self.rabbitmq.raise_disk_alarm(),
            other => panic!("{other:?}"),
        }
    }

    async fn mend(&mut self, fault: Fault) {
        match fault {
            Fault::QueueFull => self.rabbitmq.client().await.delete_queue("full").await,
            Fault::WrongAuthority => self.tls().trust_the_right_one(),
            Fault::Expired => {
                self.tls().serve_valid();
                self.rabbitmq.forget_certificates();
            }
            Fault::QueueDeleted => self.topology().await,
            Fault::ExchangeDeleted => {
                let client = self.rabbitmq.client().await;
                client
                    .exchange("telemetry", lapin::ExchangeKind::Topic)
                    .await;
                client.bind("all", "telemetry", "#").await;
            }
            Fault::Forbidden => self.rabbitmq.permit(".*"),
            Fault::Stopped => {
                self.rabbitmq.start();
                self.topology().await;
            }
            Fault::Killed => {
                self.rabbitmq.restart();
                self.topology().await;
            }
            Fault::Frozen => self.rabbitmq.thaw(),
            Fault::MemoryAlarm => self.rabbitmq.clear_alarm(),
            Fault::DiskAlarm => self.rabbitmq.clear_disk_alarm(),
            other => panic!("{other:?}"),
        }
    }
}

const OPERATOR: [Fault; 4] = [
    Fault::QueueDeleted,
    Fault::QueueFull,
    Fault::ExchangeDeleted,
    Fault::Forbidden,
];
const BROKER: [Fault; 5] = [
    Fault::Stopped,
    Fault::Killed,
    Fault::Frozen,
    Fault::MemoryAlarm,
    Fault::DiskAlarm,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn over_amqp_no_fault_loses_or_misplaces_a_record() {
    run_all::<Broker>(&Fault::LINK, 0).await;
    run_all::<Broker>(&Fault::ANSWERS, 1).await;
    run_all::<Broker>(&OPERATOR, 1).await;
    run_all::<Broker>(&Fault::TLS, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs rabbitmq"]
async fn over_amqp_no_misfortune_of_the_broker_loses_or_misplaces_a_record() {
    // Each starts a broker of its own.
    let faults = if all_cases() {
        &BROKER[..]
    } else {
        &BROKER[3..4]
    };
    run_all::<Broker>(faults, 0).await;
}
