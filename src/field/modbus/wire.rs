//! Opening what carries the bytes: a TCP socket or a serial port.

mod ioctl;
mod serial;

use std::fmt::Debug;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::field::settings::Transport;

/// What carries the bytes.
pub trait Wire: AsyncRead + AsyncWrite + Unpin + Send + Debug {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Debug> Wire for T {}

/// A wire being opened.
pub type Opening = Pin<Box<dyn Future<Output = io::Result<Box<dyn Wire>>> + Send>>;

/// Opens the wire, again and again.
pub type Opener = Box<dyn FnMut() -> Opening + Send>;

/// How frames are told apart on the wire, and how long it must be silent before a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bus {
    /// How frames are told apart.
    pub framing: Framing,
    /// Silence before each request: 3.5 characters and the line's turnaround; none on TCP.
    pub silence: Duration,
    /// How long a character takes; none on TCP.
    pub character: Duration,
}

/// How frames are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// By the length in the MBAP header, and requests by its transaction id.
    Mbap,
    /// By length and CRC.
    Rtu,
}

/// A socket that does not open in this time will be tried again.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// After so long without a byte, every so often, so many times in vain: then the peer is gone. It keeps the tables of
/// firewalls fresh between seldom scans, and finds a peer that was switched off within a minute.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);

impl Bus {
    /// The bus of `transport`.
    pub fn of(transport: &Transport) -> Self {
        match transport.bus() {
            None => Self {
                framing: Framing::Mbap,
                silence: Duration::ZERO,
                character: Duration::ZERO,
            },
            Some(bus) => Self {
                framing: Framing::Rtu,
                silence: bus.silence() + bus.turnaround,
                character: bus.character(),
            },
        }
    }
}

/// The opener of `transport`.
pub fn opener(transport: &Transport) -> Opener {
    match transport.clone() {
        Transport::ModbusTcp { host, port } | Transport::ModbusRtuOverTcp { host, port, .. } => {
            Box::new(move || {
                let host = host.clone();
                Box::pin(async move { tcp(&host, port).await })
            })
        }
        Transport::ModbusRtu(settings) => Box::new(move || {
            let settings = settings.clone();
            Box::pin(async move {
                let port = serial::open(&settings)?;
                Ok(Box::new(port) as Box<dyn Wire>)
            })
        }),
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<Box<dyn Wire>> {
    let connecting = TcpStream::connect((host, port));
    let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time"))??;
    // A request is one small write that nothing follows: waiting for more would only delay it.
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(&stream, true)?;
    sockopt::set_tcp_keepidle(&stream, KEEPALIVE.0)?;
    sockopt::set_tcp_keepintvl(&stream, KEEPALIVE.1)?;
    sockopt::set_tcp_keepcnt(&stream, KEEPALIVE.2)?;
    Ok(Box::new(stream))
}
