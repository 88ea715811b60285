//! AMQP 0-9-1: a queue in the RabbitMQ that all tests share, behind a proxy that stands for the broker's misfortunes.

use std::path::Path;

use bytes::Bytes;
use forebay::upstream::message::Address;
use forebay::upstream::settings::{AmqpSettings, Login, Secret, UpstreamSettings};

use super::{BOUND, Peer};
use crate::harness::proxy::Proxy;
use crate::harness::rabbitmq::{Consumer, RabbitMq};
use crate::harness::tamper::Protocol;
use crate::upstream::amqp::settings;

/// A queue of its own.
pub(crate) struct Queue {
    rabbitmq: RabbitMq,
    proxy: Proxy,
    consumer: Consumer,
}

impl Queue {
    async fn at(rabbitmq: RabbitMq) -> Self {
        let proxy = Proxy::to(rabbitmq.port()).await;
        let client = rabbitmq.client().await;
        client.queue("telemetry").await;
        let consumer = client.consume("telemetry").await;
        Self {
            rabbitmq,
            proxy,
            consumer,
        }
    }
}

impl Peer for Queue {
    const PROTOCOL: Protocol = Protocol::Amqp;
    const TELLS_STATE: bool = false;

    async fn start() -> Self {
        Self::at(RabbitMq::shared()).await
    }

    async fn small() -> Self {
        let rabbitmq = RabbitMq::own();
        rabbitmq.eval("persistent_term:put(max_message_size, 2000), application:set_env(rabbit, max_message_size, 2000).");
        Self::at(rabbitmq).await
    }

    fn port(&self) -> u16 {
        self.proxy.port()
    }

    fn settings_by(&self, port: u16, inflight: u16) -> UpstreamSettings {
        UpstreamSettings::Amqp(AmqpSettings {
            inflight,
            ..settings(port, self.rabbitmq.vhost())
        })
    }

    async fn guarded(file: &Path) -> (Self, UpstreamSettings) {
        let queue = Self::start().await;
        let settings = UpstreamSettings::Amqp(AmqpSettings {
            login: Some(Login {
                username: "guest".to_owned(),
                password: Some(Secret::File(file.to_owned())),
            }),
            ..settings(queue.port(), queue.rabbitmq.vhost())
        });
        (queue, settings)
    }

    fn address(&self) -> Address {
        Address {
            exchange: "".into(),
            key: "telemetry".into(),
        }
    }

    async fn arrived(&self, count: usize) -> Vec<Bytes> {
        let all = self
            .consumer
            .wait_for(BOUND, |all| all.len() >= count)
            .await;
        all.into_iter().map(|one| one.payload.into()).collect()
    }

    fn kill(&mut self) {
        self.proxy.refuse(true);
        self.proxy.cut();
    }

    fn freeze(&mut self) {
        self.proxy.pause();
    }
}
