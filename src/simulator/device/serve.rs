//! Serving simulated devices over TCP or a serial line, down to the bytes, so that faults can be had.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

use super::{Behaviour, SimulatedDevice};
use crate::field::modbus::frame::crc16;

/// Serves `devices` over Modbus TCP until dropped; each connection reaches all of them by their unit ids.
///
/// # Errors
/// When `listener` cannot accept any more.
pub async fn serve_tcp(listener: TcpListener, devices: Vec<SimulatedDevice>) -> io::Result<()> {
    let mut connections = FuturesUnordered::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                connections.push(connection(stream, &devices));
            }
            // A connection that ends is no matter of the others.
            _ = connections.next(), if !connections.is_empty() => {}
        }
    }
}

/// Serves `devices` over Modbus RTU until the line is closed.
///
/// # Errors
/// When the line breaks.
pub async fn serve_rtu(
    line: impl AsyncRead + AsyncWrite + Unpin,
    devices: Vec<SimulatedDevice>,
) -> io::Result<()> {
    serve(line, &devices, Framing::Rtu).await.map(drop)
}

/// Serves `devices` over one Modbus TCP connection that is open already.
///
/// # Errors
/// When the connection breaks.
pub async fn serve_mbap(
    connection: impl AsyncRead + AsyncWrite + Unpin,
    devices: Vec<SimulatedDevice>,
) -> io::Result<()> {
    serve(connection, &devices, Framing::Mbap).await.map(drop)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Mbap,
    Rtu,
}

/// How serving ended.
enum ServeEnd {
    Closed,
    Reset,
}

async fn connection(mut stream: TcpStream, devices: &[SimulatedDevice]) -> io::Result<()> {
    match serve(&mut stream, devices, Framing::Mbap).await? {
        ServeEnd::Closed => Ok(()),
        // Without lingering a close is a reset.
        ServeEnd::Reset => stream.set_zero_linger(),
    }
}

async fn serve(
    mut line: impl AsyncRead + AsyncWrite + Unpin,
    devices: &[SimulatedDevice],
    framing: Framing,
) -> io::Result<ServeEnd> {
    let mut input = Vec::with_capacity(512);
    let mut output: VecDeque<(Instant, Vec<u8>)> = VecDeque::new();
    loop {
        while let Some((unit, header, pdu)) = next_request(&mut input, framing) {
            let Some(device) = devices.iter().find(|device| device.unit() == unit) else {
                continue;
            };
            let (behaviour, answer) = device.answer(&pdu);
            if behaviour.reset {
                return Ok(ServeEnd::Reset);
            }
            if !behaviour.silent {
                let frame = frame(framing, unit, header, &answer, behaviour.wrong_bit);
                queue(&mut output, &behaviour, frame);
            }
        }
        let due = output.front().map(|&(due, _)| due);
        let write = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = line.read_buf(&mut input) => if read? == 0 { return Ok(ServeEnd::Closed) },
            () = write => if let Some((_, bytes)) = output.pop_front() {
                line.write_all(&bytes).await?;
                line.flush().await?;
            },
        }
    }
}

/// Puts an answer behind those before it: a device answers in the order in which it is asked.
fn queue(output: &mut VecDeque<(Instant, Vec<u8>)>, behaviour: &Behaviour, frame: Vec<u8>) {
    let last = output.back().map(|&(due, _)| due);
    let now = Instant::now();
    // A bus carries one frame after the other: 8 characters of a request, the answer, and 3.5 of silence before each.
    let characters = u32::try_from(frame.len())
        .unwrap_or(u32::MAX)
        .saturating_add(8 + 7);
    let mut due = last.map_or(now, |last| last.max(now)) + behaviour.character * characters;
    due = due.max(now + behaviour.late);
    let again = behaviour.twice.then(|| frame.clone());
    let whole = [behaviour.noise.clone(), frame].concat();
    match behaviour.torn {
        Some(pause) => {
            let (head, tail) = whole.split_at(whole.len() / 2);
            output.push_back((due, head.to_vec()));
            due += pause;
            output.push_back((due, tail.to_vec()));
        }
        None => output.push_back((due, whole)),
    }
    output.extend(again.map(|again| (due + Duration::ZERO, again)));
}

/// Takes the next request out of `input`: unit, MBAP transaction id, function and data.
fn next_request(input: &mut Vec<u8>, framing: Framing) -> Option<(u8, [u8; 2], Vec<u8>)> {
    match framing {
        Framing::Mbap => {
            let &[t0, t1, _, _, l0, l1, ref rest @ ..] = input.as_slice() else {
                return None;
            };
            let length = usize::from(u16::from_be_bytes([l0, l1]));
            let body = rest.get(..length)?;
            let (unit, pdu) = body.split_first()?;
            let request = (*unit, [t0, t1], pdu.to_vec());
            input.drain(..6 + length);
            Some(request)
        }
        Framing::Rtu => loop {
            // Every read request has 8 bytes.
            let head = input.first_chunk::<8>()?;
            let (&body, check) = (head.first_chunk::<6>()?, head.last_chunk::<2>()?);
            if crc16(&body) == u16::from_le_bytes(*check) {
                input.drain(..8);
                let [unit, pdu @ ..] = body;
                return Some((unit, [0, 0], pdu.to_vec()));
            }
            input.remove(0);
        },
    }
}

fn frame(framing: Framing, unit: u8, transaction: [u8; 2], pdu: &[u8], wrong_bit: bool) -> Vec<u8> {
    let mut frame = match framing {
        Framing::Mbap => {
            let length = u16::try_from(pdu.len() + 1)
                .unwrap_or(u16::MAX)
                .to_be_bytes();
            [transaction.as_slice(), &[0, 0], &length, &[unit], pdu].concat()
        }
        Framing::Rtu => {
            let body = [&[unit], pdu].concat();
            let check = crc16(&body).to_le_bytes();
            [body.as_slice(), &check].concat()
        }
    };
    if wrong_bit && let Some(last) = frame.last_mut() {
        *last ^= 0x10;
    }
    frame
}
