//! The floor: the same reads, the same bytes on disk and to the broker, by code that only moves bytes.

use std::io::{Seek, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::shared::socket::put;
use crate::{Load, REGISTERS, VALUES};

/// A message as long as forebay's own for 50 values; its time is where the subscriber looks for it.
fn message(device: usize, seq: u64, time_us: u128) -> Vec<u8> {
    let (seconds, micros) = (time_us / 1_000_000, time_us % 1_000_000);
    let stamp = jiff::Timestamp::new(seconds as i64, (micros * 1000) as i32).unwrap();
    let mut text = format!(
        "{{\"v\":1,\"gateway\":\"bench\",\"device\":\"d{device}\",\"scan\":\"default\",\"stream\":\"5f3a9c1e\",\
         \"seq\":{seq},\"device_seq\":{seq},\"time\":\"{stamp:.6}\",\"map\":\"9c1e42aa\",\"values\":{{"
    );
    for value in 0..VALUES {
        text += &format!("\"v{value}\":23{value}.1,");
    }
    text.pop();
    text += "}}";
    text.into_bytes()
}

/// Polls, writes, publishes until it is killed.
pub(crate) fn run(modbus_port: &str, mqtt_port: u16, load: Load, file: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let address = format!("127.0.0.1:{modbus_port}");
    let file = file.to_owned();
    runtime.block_on(async move {
        let (scans, received) = mpsc::channel(load.devices * 4);
        for device in 0..load.devices {
            tokio::spawn(poll(address.clone(), device, load.period, scans.clone()));
        }
        publish(received, mqtt_port, &file).await;
    });
}

async fn poll(
    address: String,
    device: usize,
    period: Duration,
    scans: mpsc::Sender<(usize, u128)>,
) {
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut ticks = tokio::time::interval(period);
    let mut reply = vec![0u8; 9 + usize::from(REGISTERS) * 2];
    let count = REGISTERS.to_be_bytes();
    loop {
        ticks.tick().await;
        stream
            .write_all(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 0, count[0], count[1]])
            .await
            .unwrap();
        stream.read_exact(&mut reply).await.unwrap();
        scans.send((device, now_us())).await.unwrap();
    }
}

fn now_us() -> u128 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap()
        .as_micros()
}

/// Appends what gathered in a window, syncs, publishes; a template message is patched, not printed, a message.
async fn publish(mut scans: mpsc::Receiver<(usize, u128)>, mqtt_port: u16, path: &Path) {
    let mut file = std::fs::File::options()
        .create(true)
        .truncate(true)
        .write(true)
        .open(path)
        .unwrap();
    file.set_len(256 << 20).unwrap();
    let mut broker = tokio::net::TcpStream::connect(("127.0.0.1", mqtt_port))
        .await
        .unwrap();
    broker.set_nodelay(true).unwrap();
    broker
        .write_all(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x3c\x00\x05floor")
        .await
        .unwrap();
    broker.read_exact(&mut [0; 4]).await.unwrap();
    let (mut reader, mut writer) = broker.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await });
    let mut packet_id = 0u16;
    let mut seq = 0u64;
    let mut batch = Vec::new();
    let mut last = Instant::now();
    loop {
        let Some(first) = scans.recv().await else {
            return;
        };
        batch.push(first);
        // The first after a pause does not wait for the window.
        tokio::time::sleep_until(last + Duration::from_millis(100)).await;
        last = Instant::now();
        while let Ok(scan) = scans.try_recv() {
            batch.push(scan);
        }
        let mut packets = Vec::new();
        for (device, time) in batch.drain(..) {
            seq += 1;
            packet_id = packet_id.checked_add(1).unwrap_or(1);
            let (topic, body) = (
                format!("forebay/bench/d{device}/default"),
                message(device, seq, time),
            );
            put(&mut packets, &topic, packet_id, &body);
        }
        file.write_all(&packets).unwrap();
        if file.stream_position().unwrap() > 200 << 20 {
            file.rewind().unwrap();
        }
        file.sync_data().unwrap();
        writer.write_all(&packets).await.unwrap();
    }
}
