//! The devices: any number of connections, each answered with 100 holding registers.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Serves until standard input ends; a byte there asks for the number of requests answered.
pub(crate) fn serve() {
    let requests = Arc::new(AtomicU64::new(0));
    let counted = requests.clone();
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap().port()).unwrap();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(answer(stream, counted.clone()));
            }
        });
    });
    let mut out = std::io::stdout();
    writeln!(out, "{}", told.recv().unwrap()).unwrap();
    let mut byte = [0];
    while std::io::stdin().read(&mut byte).is_ok_and(|read| read == 1) {
        writeln!(out, "{}", requests.load(Ordering::Relaxed)).unwrap();
    }
}

async fn answer(mut stream: tokio::net::TcpStream, requests: Arc<AtomicU64>) {
    stream.set_nodelay(true).unwrap();
    let mut request = [0u8; 12];
    let mut tick = 0u32;
    while stream.read_exact(&mut request).await.is_ok() {
        let count = requests.fetch_add(1, Ordering::Relaxed) as u32;
        tick = tick.wrapping_add(1);
        let registers = usize::from(u16::from_be_bytes([request[10], request[11]]));
        let mut reply = Vec::with_capacity(9 + registers * 2);
        reply.extend_from_slice(&request[0..4]);
        reply.extend_from_slice(&((registers * 2 + 3) as u16).to_be_bytes());
        reply.extend_from_slice(&[request[6], request[7], (registers * 2) as u8]);
        for value in 0..registers / 2 {
            let float =
                230.0 + (tick % 100) as f32 * 0.1 + value as f32 + (count % 7) as f32 * 0.01;
            reply.extend_from_slice(&float.to_bits().to_be_bytes());
        }
        if stream.write_all(&reply).await.is_err() {
            return;
        }
    }
}

/// Reads one line with a number.
pub(crate) fn read_number(from: &mut impl Read) -> u64 {
    let (mut text, mut byte) = (String::new(), [0]);
    while from.read(&mut byte).is_ok_and(|read| read == 1) && byte[0] != b'\n' {
        text.push(char::from(byte[0]));
    }
    text.trim()
        .parse()
        .expect("the device server answers with a number")
}
