//! One client's connection, from its CONNECT to its end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use rumqttc::mqttbytes::v4::{
    Codec, ConnAck, Connect, ConnectReturnCode, Packet, PubAck, Publish, SubAck, Subscribe,
    SubscribeReasonCode, UnsubAck,
};
use rumqttc::mqttbytes::{QoS, valid_topic};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::Framed;

use super::topics::Topics;
use super::{Acks, Arrival, Manners, lock};

/// Largest packet, either way.
const PACKET: usize = 4 * 1024 * 1024;
/// Messages that wait for a subscriber to read; one that is further behind is disconnected.
const QUEUE: usize = 1000;
/// Between the connection and its CONNECT.
const GREETING: Duration = Duration::from_secs(10);
/// Longest that acknowledgements are gathered to be reversed; a smaller window would wait for ever.
const GATHER: Duration = Duration::from_millis(200);
/// Most acknowledgements held back: all packet ids there are.
const HELD: usize = 65_535;

/// A client's connection.
pub(super) struct Session {
    number: u64,
    manners: watch::Receiver<Manners>,
    tap: mpsc::Sender<Arrival>,
    topics: Arc<Mutex<Topics>>,
}

/// Why it ended; anything but `Left` publishes the will.
#[derive(Debug, PartialEq, Eq)]
enum SessionEnd {
    Left,
    Broken,
}

/// Acknowledgements to send, at the earliest then.
#[derive(Default)]
struct Held {
    ids: Vec<(u16, Instant)>,
}

struct Served {
    client: Framed<TcpStream, Codec>,
    id: String,
    queue: mpsc::Receiver<Publish>,
    held: Held,
    packet_id: u16,
    silence: Duration,
}

impl Session {
    pub(super) fn new(
        number: u64,
        manners: watch::Receiver<Manners>,
        tap: mpsc::Sender<Arrival>,
        topics: Arc<Mutex<Topics>>,
    ) -> Self {
        Self {
            number,
            manners,
            tap,
            topics,
        }
    }

    /// Serves the client until it leaves.
    pub(super) async fn run(self, client: TcpStream) {
        let codec = Codec {
            max_incoming_size: PACKET,
            max_outgoing_size: PACKET,
        };
        let mut client = Framed::new(client, codec);
        let Ok(Some(Ok(Packet::Connect(connect)))) = timeout(GREETING, client.next()).await else {
            return;
        };
        let granted = ConnAck::new(ConnectReturnCode::Success, false);
        if client.send(Packet::ConnAck(granted)).await.is_err() {
            return;
        }
        let id = self.name(&connect);
        let (sender, queue) = mpsc::channel(QUEUE);
        lock(&self.topics).join(&id, self.number, sender);
        let served = Served {
            client,
            id: id.clone(),
            queue,
            held: Held::default(),
            packet_id: 0,
            silence: Duration::from_secs(connect.keep_alive.into()) * 3 / 2,
        };
        let end = self.serve(served).await;
        lock(&self.topics).leave(&id, self.number);
        if let (SessionEnd::Broken, Some(will)) = (end, connect.last_will) {
            let mut publish = Publish::from_bytes(will.topic, will.qos, will.message);
            publish.retain = will.retain;
            self.publish(&id, publish).await;
        }
    }

    fn name(&self, connect: &Connect) -> String {
        if connect.client_id.is_empty() {
            format!("client-{}", self.number)
        } else {
            connect.client_id.clone()
        }
    }

    async fn serve(&self, mut served: Served) -> SessionEnd {
        let mut heard = Instant::now();
        loop {
            let silent = heard + served.silence;
            let due = served.held.due();
            tokio::select! {
                packet = served.client.next() => {
                    heard = Instant::now();
                    match packet {
                        Some(Ok(Packet::Disconnect)) => return SessionEnd::Left,
                        Some(Ok(packet)) => if self.take(packet, &mut served).await.is_none() {
                            return SessionEnd::Broken;
                        },
                        Some(Err(_)) | None => return SessionEnd::Broken,
                    }
                }
                publish = served.queue.recv() => {
                    let Some(publish) = publish else { return SessionEnd::Broken };
                    if served.deliver(publish).await.is_none() { return SessionEnd::Broken }
                }
                () = sleep_until(due.unwrap_or(silent)), if due.is_some() => {
                    if served.acknowledge().await.is_none() { return SessionEnd::Broken }
                }
                () = sleep_until(silent), if !served.silence.is_zero() => return SessionEnd::Broken,
            }
        }
    }

    /// `None`: the client is to be cut off.
    async fn take(&self, packet: Packet, served: &mut Served) -> Option<()> {
        match packet {
            Packet::Publish(publish) => {
                let (qos, id) = (publish.qos, publish.pkid);
                if qos == QoS::ExactlyOnce || !valid_topic(&publish.topic) {
                    return None;
                }
                self.publish(&served.id, publish).await;
                if qos == QoS::AtLeastOnce {
                    let acks = self.manners.borrow().acks;
                    served.held.take(id, acks)?;
                    if served.held.due().is_some_and(|due| due <= Instant::now()) {
                        served.acknowledge().await?;
                    }
                }
                Some(())
            }
            Packet::Subscribe(subscribe) => {
                let codes = self.subscribe(&served.id, &subscribe);
                served
                    .send(Packet::SubAck(SubAck::new(subscribe.pkid, codes)))
                    .await
            }
            Packet::Unsubscribe(unsubscribe) => {
                for filter in &unsubscribe.topics {
                    lock(&self.topics).unsubscribe(&served.id, filter);
                }
                served
                    .send(Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)))
                    .await
            }
            Packet::PingReq => served.send(Packet::PingResp).await,
            Packet::PubAck(_) => Some(()),
            _ => None,
        }
    }

    fn subscribe(&self, id: &str, subscribe: &Subscribe) -> Vec<SubscribeReasonCode> {
        let mut topics = lock(&self.topics);
        let codes = subscribe.filters.iter().map(|filter| {
            let qos = match filter.qos {
                QoS::AtMostOnce => QoS::AtMostOnce,
                QoS::AtLeastOnce | QoS::ExactlyOnce => QoS::AtLeastOnce,
            };
            if topics.subscribe(id, &filter.path, qos) {
                SubscribeReasonCode::Success(qos)
            } else {
                SubscribeReasonCode::Failure
            }
        });
        codes.collect()
    }

    async fn publish(&self, client_id: &str, publish: Publish) {
        lock(&self.topics).publish(&publish);
        let arrival = Arrival {
            client_id: client_id.to_owned(),
            topic: publish.topic,
            payload: publish.payload,
            retain: publish.retain,
        };
        // Nobody looks: that is allowed.
        let _ = self.tap.send(arrival).await;
    }
}

impl Served {
    async fn send(&mut self, packet: Packet) -> Option<()> {
        self.client.send(packet).await.ok()
    }

    async fn deliver(&mut self, mut publish: Publish) -> Option<()> {
        publish.dup = false;
        publish.pkid = 0;
        if publish.qos != QoS::AtMostOnce {
            self.packet_id = self.packet_id.checked_add(1).unwrap_or(1);
            publish.pkid = self.packet_id;
        }
        self.send(Packet::Publish(publish)).await
    }

    async fn acknowledge(&mut self) -> Option<()> {
        for id in self.held.ready(Instant::now()) {
            self.client
                .feed(Packet::PubAck(PubAck::new(id)))
                .await
                .ok()?;
        }
        self.client.flush().await.ok()
    }
}

impl Held {
    /// `None`: the client has more out than there are packet ids.
    fn take(&mut self, id: u16, acks: Acks) -> Option<()> {
        let now = Instant::now();
        match acks {
            Acks::Never => return Some(()),
            Acks::AtOnce => self.ids.push((id, now)),
            Acks::After(delay) => self.ids.push((id, now + delay)),
            Acks::Reversed(count) => {
                // The oldest stands last: all go when it is due.
                let due = self.ids.last().map_or(now + GATHER, |(_, at)| *at);
                self.ids.insert(0, (id, due));
                if self.ids.len() >= count {
                    self.ids.iter_mut().for_each(|(_, at)| *at = now);
                }
            }
        }
        (self.ids.len() <= HELD).then_some(())
    }

    fn due(&self) -> Option<Instant> {
        self.ids.iter().map(|(_, at)| *at).min()
    }

    /// Takes out those that are due.
    fn ready(&mut self, now: Instant) -> Vec<u16> {
        let (ready, later) = self.ids.drain(..).partition(|(_, at)| *at <= now);
        self.ids = later;
        let ready: Vec<(u16, Instant)> = ready;
        ready.into_iter().map(|(id, _)| id).collect()
    }
}
