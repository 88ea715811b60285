//! A proxy that counts.

use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Carries one connection to a broker.
pub(crate) struct Counter {
    port: u16,
    sent: JoinHandle<u64>,
}

impl Counter {
    pub(crate) async fn start(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = tokio::spawn(async move {
            let (client, _) = listener.accept().await.unwrap();
            let broker = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await;
            let (mut client, mut broker) = (client, broker.unwrap());
            client.set_nodelay(true).unwrap();
            broker.set_nodelay(true).unwrap();
            let (from_client, to_client) = client.split();
            let (from_broker, to_broker) = broker.split();
            let (sent, _) =
                tokio::join!(carry(from_client, to_broker), carry(from_broker, to_client));
            sent
        });
        Self { port, sent }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Bytes to the broker, once the connection has ended.
    pub(crate) async fn bytes(self) -> u64 {
        self.sent.await.unwrap()
    }
}

/// Carries until the end, and passes that on: how many bytes it were.
async fn carry(mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> u64 {
    let (mut bytes, mut sum) = (vec![0; 64 << 10], 0);
    while let Ok(length @ 1..) = from.read(&mut bytes).await {
        sum += length as u64;
        if to.write_all(&bytes[..length]).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
    sum
}
