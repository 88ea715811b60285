//! A serial bus in memory on which every character takes its time, and so does every device.

use std::time::Duration;

use forebay::field::modbus::wire::{Opener, Wire};
use forebay::field::settings::Transport;
use forebay::simulator::device::{SimulatedDevice, serve_rtu};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split};
use tokio::time::{Instant, sleep_until};

/// A bus of the speed of `transport`, on which each of `devices` answers after `answer`, the silence before it included.
pub(super) fn emulated(
    transport: &Transport,
    answer: Duration,
    devices: Vec<SimulatedDevice>,
) -> Opener {
    let character = transport.bus().unwrap().character();
    Box::new(move || {
        let (ours, theirs) = tokio::io::duplex(4096);
        let (bus, served) = tokio::io::duplex(4096);
        let (from_line, to_line) = split(theirs);
        let (from_devices, to_devices) = split(bus);
        let devices = devices.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = pace(from_line, to_devices, character, Duration::ZERO) => {}
                () = pace(from_devices, to_line, character, answer) => {}
                _ = serve_rtu(served, devices) => {}
            }
        });
        Box::pin(async move { Ok(Box::new(ours) as Box<dyn Wire>) })
    })
}

/// Passes frames on, each after `delay` and the time of its characters.
async fn pace(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    character: Duration,
    delay: Duration,
) {
    let mut frame = [0; 512];
    while let Ok(length @ 1..) = from.read(&mut frame).await {
        let characters = character * u32::try_from(length).unwrap();
        sleep_until(Instant::now() + delay + characters).await;
        if to.write_all(&frame[..length]).await.is_err() {
            return;
        }
    }
}
