//! RabbitMQ: the one that all tests share, and one's own to stop, freeze and starve.

use forebay::forward::route::Template;
use forebay::forward::settings::ForwarderSettings;
use forebay::upstream::settings::{AmqpSettings, UpstreamSettings};

use super::{ACK_TIMEOUT, Fault, Peer, WINDOW, all_cases, run_all};
use crate::forward::memory;
use crate::harness::proxy::Proxy;
use crate::harness::rabbitmq::{Consumer, RabbitMq};
use crate::upstream::amqp;

/// An exchange, a queue, and its consumers, one after the other.
struct Broker {
    rabbitmq: RabbitMq,
    proxy: Proxy,
    consumers: Vec<Consumer>,
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
}

impl Peer for Broker {
    async fn start(fault: Fault) -> Self {
        let starved = matches!(fault, Fault::MemoryAlarm | Fault::DiskAlarm);
        let own = starved || matches!(fault, Fault::Stopped | Fault::Killed | Fault::Frozen);
        let rabbitmq = if own {
            RabbitMq::own()
        } else {
            RabbitMq::shared()
        };
        let mut broker = Self {
            proxy: Proxy::to(rabbitmq.port()).await,
            rabbitmq,
            consumers: Vec::new(),
        };
        broker.topology().await;
        broker
    }

    fn proxy(&self) -> &Proxy {
        &self.proxy
    }

    fn settings(&self) -> ForwarderSettings {
        let upstream = UpstreamSettings::Amqp(AmqpSettings {
            inflight: WINDOW,
            ack_timeout: ACK_TIMEOUT,
            ..amqp::settings(self.proxy.port(), self.rabbitmq.vhost())
        });
        let mut settings = memory::settings(upstream);
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
            Fault::QueueDeleted => client.delete_queue("all").await,
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

const OPERATOR: [Fault; 3] = [
    Fault::QueueDeleted,
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
    run_all::<Broker>(&OPERATOR, 1).await;
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
