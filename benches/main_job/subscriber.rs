//! Receives what is published, and notes how old each reading is on arrival.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use futures_util::StreamExt;
use lapin::options::BasicConsumeOptions;
use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

use crate::shared::confirms::uri;

/// A message that came, and how old its reading was then.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) age: Duration,
}

pub(crate) struct Subscriber {
    seen: Arc<Mutex<Vec<Arrival>>>,
}

impl Subscriber {
    pub(crate) fn start(port: u16) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = seen.clone();
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let mut options = MqttOptions::new("subscriber", "127.0.0.1", port);
                options.set_max_packet_size(1 << 20, 1 << 20);
                let (client, mut events) = AsyncClient::new(options, 100);
                client
                    .subscribe("forebay/bench/+/default", QoS::AtMostOnce)
                    .await
                    .unwrap();
                // Ends with the broker.
                while let Ok(event) = events.poll().await {
                    match event {
                        Event::Incoming(Packet::SubAck(_)) => tell.send(()).unwrap(),
                        Event::Incoming(Packet::Publish(publish)) => {
                            note(&shared, &publish.payload)
                        }
                        _ => {}
                    }
                }
            });
        });
        told.recv_timeout(Duration::from_secs(10))
            .expect("subscribed");
        Self { seen }
    }

    /// As [`Self::start`], at an AMQP queue.
    pub(crate) fn at_queue(port: u16, vhost: &str, queue: &'static str) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = seen.clone();
        let (uri, (tell, told)) = (uri(port, vhost), std::sync::mpsc::channel());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let connection = lapin::Connection::connect(&uri, Default::default());
                let connection = connection.await.unwrap();
                let channel = connection.create_channel().await.unwrap();
                let options = BasicConsumeOptions {
                    no_ack: true,
                    ..Default::default()
                };
                let mut deliveries = channel
                    .basic_consume(queue.into(), "".into(), options, Default::default())
                    .await
                    .unwrap();
                tell.send(()).unwrap();
                // Ends with the broker.
                while let Some(Ok(delivery)) = deliveries.next().await {
                    if delivery.routing_key.as_str().ends_with(".default") {
                        note(&shared, &delivery.data);
                    }
                }
            });
        });
        told.recv_timeout(Duration::from_secs(10))
            .expect("consuming");
        Self { seen }
    }

    pub(crate) fn reset(&self) {
        self.seen.lock().unwrap().clear();
    }

    /// All that came since the last reset.
    pub(crate) fn take(&self) -> Vec<Arrival> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn note(seen: &Mutex<Vec<Arrival>>, payload: &[u8]) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let text = std::str::from_utf8(payload).unwrap();
    let key = "\"time\":\"";
    // What is no message of forebay's or of the floor's has none.
    let age = text.find(key).map_or(Duration::MAX, |at| {
        let rest = &text[at + key.len()..];
        let time: jiff::Timestamp = rest[..rest.find('"').unwrap()].parse().unwrap();
        now.saturating_sub(Duration::from_nanos(time.as_nanosecond() as u64))
    });
    let at = Instant::now();
    seen.lock().unwrap().push(Arrival { at, age });
}
