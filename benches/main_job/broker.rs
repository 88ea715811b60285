//! The broker after an outage, and what else differs by its kind: the gateway's upstream, who listens, the floor.

use std::path::Path;
use std::time::{Duration, Instant};

use lapin::ExchangeKind;
use tokio::runtime::Runtime;

use crate::harness::rabbitmq::RabbitMq;
use crate::shared::confirms::Confirms;
use crate::shared::socket::Socket;
use crate::subscriber::Subscriber;
use crate::{Process, free_port, mqtt_upstream, start_mosquitto};

/// As the gateway's default.
const INFLIGHT: u16 = 100;
/// Of a message with 50 values.
const SIZE: usize = 830;
/// The exchange, and the queue that takes all of it.
const EXCHANGE: &str = "bench";

pub(crate) enum Broker {
    Mosquitto { _process: Process, port: u16 },
    RabbitMq { broker: RabbitMq, runtime: Runtime },
}

impl Broker {
    /// A broker with room for everything; `kind`: `mqtt` or `amqp`.
    pub(crate) fn start(kind: &str, dir: &Path) -> Self {
        if kind == "mqtt" {
            let port = free_port();
            let _process = start_mosquitto(dir, port);
            return Self::Mosquitto { _process, port };
        }
        assert!(kind == "amqp", "--kind mqtt or --kind amqp");
        let (broker, runtime) = (RabbitMq::shared(), Runtime::new().unwrap());
        runtime.block_on(async {
            let client = broker.client().await;
            client.exchange(EXCHANGE, ExchangeKind::Topic).await;
            client.queue(EXCHANGE).await;
            client.bind(EXCHANGE, EXCHANGE, "#").await;
        });
        Self::RabbitMq { broker, runtime }
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Mosquitto { port, .. } => *port,
            Self::RabbitMq { broker, .. } => broker.port(),
        }
    }

    /// The gateway's table for it, reached by way of `port`.
    pub(crate) fn upstream(&self, port: u16) -> String {
        match self {
            Self::Mosquitto { .. } => mqtt_upstream(port),
            Self::RabbitMq { broker, .. } => format!(
                "[upstream.local]\nkind = \"amqp\"\nurl = \"amqp://127.0.0.1:{port}/{}\"\nexchange = \"{EXCHANGE}\"\n",
                broker.vhost()
            ),
        }
    }

    pub(crate) fn subscribe(&self) -> Subscriber {
        match self {
            Self::Mosquitto { port, .. } => Subscriber::start(*port),
            Self::RabbitMq { broker, .. } => {
                Subscriber::at_queue(broker.port(), broker.vhost(), EXCHANGE)
            }
        }
    }

    /// How long it takes to publish `count` messages of the same size, with nothing but that to do.
    pub(crate) fn floor(&self, count: usize) -> Duration {
        let messages = [[b' '; SIZE]];
        let start = Instant::now();
        match self {
            Self::Mosquitto { port, .. } => Socket::connect(*port).publish(
                "forebay/bench/floor/default",
                INFLIGHT,
                count,
                &messages,
            ),
            Self::RabbitMq { broker, runtime } => runtime.block_on(async {
                let mut confirms = Confirms::connect(broker.port(), broker.vhost()).await;
                let place = (EXCHANGE, "forebay.bench.floor.default");
                confirms.publish(place, INFLIGHT, count, &messages).await;
                confirms.close().await;
            }),
        }
        start.elapsed()
    }
}
