//! Receives what is published, and notes how old each reading is on arrival.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rumqttc::{AsyncClient, Event, MqttOptions, Packet, QoS};

#[derive(Default)]
struct Seen {
    messages: u64,
    latencies: Vec<Duration>,
}

pub(crate) struct Subscriber {
    seen: Arc<Mutex<Seen>>,
}

impl Subscriber {
    pub(crate) fn start(port: u16) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
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

    pub(crate) fn reset(&self) {
        *self.seen.lock().unwrap() = Seen::default();
    }

    pub(crate) fn take(&self) -> (u64, Vec<Duration>) {
        let seen = std::mem::take(&mut *self.seen.lock().unwrap());
        (seen.messages, seen.latencies)
    }
}

fn note(seen: &Mutex<Seen>, payload: &[u8]) {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    let text = std::str::from_utf8(payload).unwrap();
    let mut seen = seen.lock().unwrap();
    seen.messages += 1;
    let key = "\"time\":\"";
    if let Some(at) = text.find(key) {
        let rest = &text[at + key.len()..];
        let time: jiff::Timestamp = rest[..rest.find('"').unwrap()].parse().unwrap();
        let then = Duration::from_nanos(time.as_nanosecond() as u64);
        seen.latencies.push(now.saturating_sub(then));
    }
}
