//! AMQP 0-9-1: a queue in the RabbitMQ that all tests share, behind a proxy that stands for the broker's misfortunes.

use bytes::Bytes;
use forebay::upstream::message::Address;
use forebay::upstream::settings::{AmqpSettings, Login, Secret, UpstreamSettings};

use super::{BOUND, Peer, open};
use crate::harness::proxy::Proxy;
use crate::harness::rabbitmq::{Consumer, RabbitMq};
use crate::upstream::amqp::settings;

/// A queue of its own.
pub(crate) struct Queue {
    rabbitmq: RabbitMq,
    proxy: Proxy,
    consumer: Consumer,
}

impl Queue {
    fn amqp(&self) -> AmqpSettings {
        settings(self.proxy.port(), self.rabbitmq.vhost())
    }
}

impl Peer for Queue {
    async fn start() -> Self {
        let rabbitmq = RabbitMq::shared();
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

    fn settings(&self, inflight: u16) -> UpstreamSettings {
        UpstreamSettings::Amqp(AmqpSettings {
            inflight,
            ..self.amqp()
        })
    }

    async fn wrong_password() -> (Self, UpstreamSettings) {
        let queue = Self::start().await;
        let with = |password: &str| {
            UpstreamSettings::Amqp(AmqpSettings {
                login: Some(Login {
                    username: "guest".to_owned(),
                    password: Some(Secret::Plain(password.to_owned())),
                }),
                ..queue.amqp()
            })
        };
        open(&with("guest")).await.close().await;
        let wrong = with("wrong");
        (queue, wrong)
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
