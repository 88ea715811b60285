use std::net::Ipv4Addr;

use futures_util::SinkExt;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{
    Codec, Connect, LastWill, Packet, PubAck, Publish, Subscribe, SubscribeReasonCode,
};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::codec::Framed;

use super::*;

const BOUND: Duration = Duration::from_secs(10);

struct Client(Framed<TcpStream, Codec>);

impl Client {
    async fn connect(control: &Control, connect: Connect) -> Self {
        let stream = TcpStream::connect(control.address()).await.unwrap();
        let codec = Codec {
            max_incoming_size: 10_000,
            max_outgoing_size: 10_000,
        };
        let mut client = Self(Framed::new(stream, codec));
        client.send(Packet::Connect(connect)).await;
        assert!(matches!(client.next().await, Some(Packet::ConnAck(_))));
        client
    }

    async fn send(&mut self, packet: Packet) {
        self.0.send(packet).await.unwrap();
    }

    async fn next(&mut self) -> Option<Packet> {
        timeout(BOUND, self.0.next()).await.unwrap()?.ok()
    }

    async fn publish(&mut self, id: u16, topic: &str, retain: bool) {
        let mut publish = Publish::new(topic, QoS::AtLeastOnce, topic);
        publish.pkid = id;
        publish.retain = retain;
        self.send(Packet::Publish(publish)).await;
    }

    async fn subscribe(&mut self, filter: &str) {
        let mut subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
        subscribe.pkid = 1;
        self.send(Packet::Subscribe(subscribe)).await;
        let Some(Packet::SubAck(ack)) = self.next().await else {
            panic!("no SUBACK");
        };
        let granted = SubscribeReasonCode::Success(QoS::AtLeastOnce);
        assert_eq!(ack.return_codes, [granted]);
    }

    async fn received(&mut self) -> (String, bool) {
        match self.next().await {
            Some(Packet::Publish(publish)) => (publish.topic, publish.retain),
            other => panic!("no message: {other:?}"),
        }
    }
}

async fn start() -> (Control, mpsc::Receiver<Arrival>, JoinHandle<()>) {
    let (broker, control, arrivals) = Broker::bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
    let running = tokio::spawn(broker.run(CancellationToken::new()));
    (control, arrivals, running)
}

#[tokio::test]
async fn messages_reach_subscribers_now_and_retained_ones_later() {
    let (control, mut arrivals, running) = start().await;
    let mut subscriber = Client::connect(&control, Connect::new("s")).await;
    subscriber.subscribe("plant/+/a/#").await;
    let mut publisher = Client::connect(&control, Connect::new("p")).await;
    for (id, topic, retain) in [
        (7, "plant/1/a", true),
        (8, "plant/1/b", true),
        (9, "plant/2/a/x", false),
    ] {
        publisher.publish(id, topic, retain).await;
        assert_eq!(
            publisher.next().await,
            Some(Packet::PubAck(PubAck::new(id)))
        );
        let arrival = arrivals.recv().await.unwrap();
        assert_eq!((arrival.topic.as_str(), arrival.retain), (topic, retain));
        assert_eq!(
            (arrival.client_id.as_str(), &arrival.payload[..]),
            ("p", topic.as_bytes())
        );
    }
    assert_eq!(subscriber.received().await, ("plant/1/a".to_owned(), false));
    assert_eq!(
        subscriber.received().await,
        ("plant/2/a/x".to_owned(), false)
    );
    let mut late = Client::connect(&control, Connect::new("late")).await;
    late.subscribe("#").await;
    assert_eq!(late.received().await, ("plant/1/a".to_owned(), true));
    assert_eq!(late.received().await, ("plant/1/b".to_owned(), true));
    drop(control);
    timeout(BOUND, running).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_outage_comes_and_goes() {
    let (control, _arrivals, _running) = start().await;
    let mut client = Client::connect(&control, Connect::new("c")).await;
    control.link(Link::Silent);
    client.send(Packet::PingReq).await;
    let quiet = timeout(Duration::from_millis(200), client.0.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
    control.link(Link::Up);
    assert_eq!(client.next().await, Some(Packet::PingResp));
    control.link(Link::Refused);
    assert_eq!(client.next().await, None);
    assert!(TcpStream::connect(control.address()).await.is_err());
    control.link(Link::Up);
    let again = async {
        while TcpStream::connect(control.address()).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(BOUND, again).await.unwrap();
    Client::connect(&control, Connect::new("c")).await;
}

#[tokio::test]
async fn acknowledgements_come_late_reversed_or_never() {
    let (control, _arrivals, _running) = start().await;
    let mut client = Client::connect(&control, Connect::new("c")).await;
    let mut burst = async |ids: std::ops::RangeInclusive<u16>, acks| {
        control.acks(acks);
        for id in ids {
            client.publish(id, "t", false).await;
        }
        client.send(Packet::PingReq).await;
        let mut acknowledged = Vec::new();
        while let Some(packet) = client.next().await {
            match packet {
                Packet::PubAck(ack) => acknowledged.push(ack.pkid),
                _ if acks == Acks::Never || !acknowledged.is_empty() => return acknowledged,
                _ => client.send(Packet::PingReq).await,
            }
        }
        panic!("cut off");
    };
    assert_eq!(burst(1..=3, Acks::Reversed(3)).await, [3, 2, 1]);
    assert_eq!(burst(4..=5, Acks::Reversed(3)).await, [5, 4]);
    assert_eq!(
        burst(6..=6, Acks::After(Duration::from_millis(50))).await,
        [6]
    );
    assert_eq!(burst(7..=8, Acks::Never).await, [0u16; 0]);
}

#[tokio::test]
async fn who_breaks_off_leaves_a_will() {
    let (control, mut arrivals, _running) = start().await;
    let mut connect = Connect::new("c");
    connect.last_will = Some(LastWill::new("will", "gone", QoS::AtLeastOnce, true));
    let mut client = Client::connect(&control, connect.clone()).await;
    client.send(Packet::Disconnect).await;
    assert_eq!(client.next().await, None);
    drop(Client::connect(&control, connect).await);
    let arrival = timeout(BOUND, arrivals.recv()).await.unwrap().unwrap();
    assert_eq!(
        (arrival.topic.as_str(), &arrival.payload[..], arrival.retain),
        ("will", &b"gone"[..], true)
    );
    assert!(arrivals.try_recv().is_err());
}
