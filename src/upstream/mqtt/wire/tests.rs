use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, PubAck, Publish};
use tokio::io::{DuplexStream, duplex};
use tokio::time::timeout;

use super::*;

const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// A wire, and the broker's end of it with a buffer of so many bytes.
fn wire(buffer: usize) -> (Wire, DuplexStream) {
    let (ours, theirs) = duplex(buffer);
    (Wire::on(Box::new(ours), KEEP_ALIVE, 1_000), theirs)
}

fn put(wire: &mut Wire, text: &[u8]) -> u64 {
    let put = wire.put(|out| {
        out.extend_from_slice(text);
        Ok::<_, mqttbytes::Error>(text.len())
    });
    put.unwrap()
}

/// Counts the writes that have an effect.
struct Counting(DuplexStream, Arc<AtomicUsize>);

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        self.1.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Drives the wire, while nothing comes in, until `other` is done.
async fn beside<T>(wire: &mut Wire, other: impl Future<Output = T>) -> T {
    tokio::select! {
        came = poll_fn(|context| wire.poll(context)) => panic!("{came:?}"),
        done = other => done,
    }
}

async fn written(broker: &mut DuplexStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    broker.read_exact(&mut bytes).await.unwrap();
    bytes
}

#[tokio::test]
async fn what_was_put_goes_in_order_however_little_the_stream_takes_at_once() {
    let (mut wire, mut broker) = wire(3);
    assert_eq!(put(&mut wire, b"abcde"), 5);
    assert_eq!(put(&mut wire, b"fg"), 7);
    assert_eq!(wire.written(), 0, "nothing goes before the wire is driven");
    let all = beside(&mut wire, written(&mut broker, 7)).await;
    assert_eq!((all.as_slice(), wire.written()), (&b"abcdefg"[..], 7));
    assert_eq!(put(&mut wire, b"h"), 8);
}

#[tokio::test]
async fn what_was_put_goes_in_one_write() {
    let (ours, mut broker) = duplex(1 << 20);
    let writes = Arc::new(AtomicUsize::new(0));
    let stream = Counting(ours, Arc::clone(&writes));
    let mut wire = Wire::on(Box::new(stream), KEEP_ALIVE, 1_000);
    for _ in 0..500 {
        put(&mut wire, &[7; 1_000]);
    }
    beside(&mut wire, written(&mut broker, 500_000)).await;
    assert_eq!(writes.load(Ordering::Relaxed), 1);
    assert_eq!(
        wire.out.capacity(),
        0,
        "a large burst gives its memory back"
    );
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_is_asked_for_when_it_is_time_and_a_silent_broker_is_given_up() {
    let (mut wire, mut broker) = wire(100);
    for _ in 0..3 {
        let asked = beside(&mut wire, written(&mut broker, 2)).await;
        assert_eq!(asked, PINGREQ);
        // Whatever comes is a sign of life.
        broker.write_all(&[0x40, 2, 0, 1]).await.unwrap();
        assert_eq!(&wire.packet().await.unwrap()[..], [0x40, 2, 0, 1]);
    }
    let start = Instant::now();
    let error = wire.packet().await.unwrap_err();
    assert!(matches!(error, UpstreamError::Silent(_)), "{error}");
    let silence = start.elapsed();
    assert!(
        silence >= 2 * KEEP_ALIVE && silence < 3 * KEEP_ALIVE,
        "{silence:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_takes_nothing_and_says_nothing_is_given_up() {
    let (mut wire, broker) = wire(10);
    put(&mut wire, &[0; 100]);
    let error = timeout(3 * KEEP_ALIVE, wire.packet()).await.unwrap();
    assert!(matches!(error, Err(UpstreamError::Silent(_))), "{error:?}");
    drop(broker);
}

#[tokio::test]
async fn what_came_before_the_end_is_found_before_the_end() {
    let (mut wire, mut broker) = wire(100);
    broker
        .write_all(&[0x40, 2, 0, 1, 0x40, 2, 0, 2])
        .await
        .unwrap();
    drop(broker);
    put(&mut wire, b"too late");
    assert_eq!(&wire.packet().await.unwrap()[..], [0x40, 2, 0, 1]);
    assert_eq!(&wire.packet().await.unwrap()[..], [0x40, 2, 0, 2]);
    let error = wire.packet().await.unwrap_err();
    assert!(error.is_a_close(), "{error}");
}

#[tokio::test]
async fn no_packet_is_longer_than_what_is_taken() {
    let (mut wire, mut broker) = wire(100);
    // 1,001 bytes are announced (MQTT 3.1.1, 2.2.3); a length of five bytes is none.
    for start in [&[0x30, 0xE9, 0x07][..], &[0x30, 0x80, 0x80, 0x80, 0x80, 1]] {
        broker.write_all(start).await.unwrap();
        let error = wire.packet().await.unwrap_err();
        assert!(matches!(error, UpstreamError::Closed(_)), "{error}");
        wire.input.clear();
    }
}

#[tokio::test]
async fn a_leave_goes_behind_what_was_put_and_waits_for_the_broker() {
    let (mut wire, mut broker) = wire(5);
    put(&mut wire, b"0123456789");
    let leave = tokio::spawn(wire.leave());
    let mut all = Vec::new();
    broker.read_to_end(&mut all).await.unwrap();
    assert_eq!(all, b"0123456789\xE0\x00");
    assert!(!leave.is_finished());
    drop(broker);
    leave.await.unwrap();
}

fn packet() -> impl Strategy<Value = Packet> {
    let publish = (
        ".{1,20}",
        prop::collection::vec(any::<u8>(), 0..400),
        1u16..,
    );
    prop_oneof![
        (1u16..).prop_map(|pkid| Packet::PubAck(PubAck::new(pkid))),
        publish.prop_map(|(topic, payload, pkid)| {
            let mut publish = Publish::new(topic, QoS::AtLeastOnce, payload);
            publish.pkid = pkid;
            Packet::Publish(publish)
        }),
        Just(Packet::PingResp),
    ]
}

proptest! {
    #[test]
    fn packets_come_whole_wherever_the_stream_is_cut(
        packets in prop::collection::vec(packet(), 1..20),
        pieces in prop::collection::vec(1usize..300, 1..40),
    ) {
        let mut stream = BytesMut::new();
        for packet in &packets {
            packet.write(&mut stream, 1_000).unwrap();
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let came = runtime.block_on(async {
            let (mut wire, mut broker) = wire(100_000);
            let mut came = Vec::new();
            let mut pieces = pieces.into_iter().cycle();
            while !stream.is_empty() {
                let piece = pieces.next().unwrap().min(stream.len());
                broker.write_all(&stream.split_to(piece)).await.unwrap();
                poll_fn(|context| wire.poll(context)).await.unwrap();
                while let Some(mut packet) = wire.take().unwrap() {
                    came.push(Packet::read(&mut packet, 1_000).unwrap());
                }
            }
            came
        });
        prop_assert_eq!(came, packets);
    }

    #[test]
    fn bytes_of_any_kind_are_packets_or_an_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (mut wire, mut broker) = wire(1_000);
            broker.write_all(&bytes).await.unwrap();
            drop(broker);
            // Within as many packets as there are bytes, it ends.
            for _ in 0..=bytes.len() {
                let Ok(packet) = wire.packet().await else { return };
                let _ = crate::upstream::mqtt::v3::signal(packet.clone());
                let _ = crate::upstream::mqtt::v5::signal(packet);
            }
            panic!("it does not end");
        });
    }
}
