//! A TCP proxy that misbehaves as told: black hole, cut, half close, slow line, cut in the middle of a window.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// A proxy on a loopback port. It ends when dropped.
pub struct Proxy {
    port: u16,
    manners: watch::Sender<Manners>,
    /// Bytes from clients that pass before all connections are cut.
    left: Arc<AtomicI64>,
    task: JoinHandle<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Manners {
    paused: bool,
    refused: bool,
    half_closed: bool,
    bytes_per_second: Option<u32>,
    /// What comes from the server takes so long.
    lag: Duration,
    /// Connections of an older number are cut.
    cuts: u64,
}

impl Proxy {
    /// In front of this loopback port.
    pub async fn to(target: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (manners, told) = watch::channel(Manners::default());
        let left = Arc::new(AtomicI64::new(i64::MAX));
        let budget = Arc::clone(&left);
        let task = tokio::spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                if told.borrow().refused {
                    reset(&client);
                    continue;
                }
                let link = Link {
                    manners: told.clone(),
                    left: Arc::clone(&budget),
                };
                links.spawn(link.carry(client, target));
                while links.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            manners,
            left,
            task,
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Nothing passes any more, in either direction; connections stay open, new ones too.
    pub fn pause(&self) {
        self.manners.send_modify(|manners| manners.paused = true);
    }

    /// Everything passes again.
    pub fn resume(&self) {
        self.manners.send_modify(|manners| manners.paused = false);
    }

    /// Resets all connections.
    pub fn cut(&self) {
        self.manners.send_modify(|manners| manners.cuts += 1);
    }

    /// New connections are reset, or no longer.
    pub fn refuse(&self, refused: bool) {
        self.manners
            .send_modify(|manners| manners.refused = refused);
    }

    /// Clients see the end of the stream, but may go on sending.
    pub fn half_close(&self) {
        self.manners
            .send_modify(|manners| manners.half_closed = true);
    }

    /// At most so fast, each direction of each connection; `None`: as fast as it goes.
    pub fn rate(&self, bytes_per_second: Option<u32>) {
        self.manners
            .send_modify(|manners| manners.bytes_per_second = bytes_per_second);
    }

    /// What comes from the server passes so much later.
    pub fn lag(&self, lag: Duration) {
        self.manners.send_modify(|manners| manners.lag = lag);
    }

    /// Resets all connections once so many further bytes have come from clients; those bytes still pass.
    pub fn cut_after(&self, bytes: i64) {
        self.left.store(bytes, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Link {
    manners: watch::Receiver<Manners>,
    left: Arc<AtomicI64>,
}

impl Link {
    async fn carry(self, mut client: TcpStream, target: u16) {
        let Ok(mut server) = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await else {
            reset(&client);
            return;
        };
        let mut manners = self.manners.clone();
        let cuts = manners.borrow().cuts;
        let cut = {
            let (from_client, to_client) = client.split();
            let (from_server, to_server) = server.split();
            // Where one direction breaks, the other is of no use any more.
            let both = async {
                tokio::try_join!(
                    self.pump(from_client, to_server, true),
                    self.pump(from_server, to_client, false)
                )
            };
            tokio::select! {
                carried = both => carried.is_err(),
                _ = manners.wait_for(|manners| manners.cuts != cuts) => true,
                () = self.spent() => true,
            }
        };
        if cut {
            reset(&client);
            reset(&server);
        }
    }

    /// One direction, to its end.
    async fn pump(
        &self,
        mut from: ReadHalf<'_>,
        mut to: WriteHalf<'_>,
        upwards: bool,
    ) -> std::io::Result<()> {
        let mut manners = self.manners.clone();
        let mut buffer = [0; 4096];
        loop {
            let read = tokio::select! {
                read = from.read(&mut buffer) => read,
                _ = manners.wait_for(|manners| manners.half_closed && !upwards) => Ok(0),
            };
            let count = read?;
            if manners.wait_for(|manners| !manners.paused).await.is_err() {
                return Err(ErrorKind::Interrupted.into());
            }
            if count == 0 {
                return to.shutdown().await;
            }
            let (rate, lag) = {
                let manners = manners.borrow();
                (manners.bytes_per_second, manners.lag)
            };
            if !upwards {
                sleep(lag).await;
            }
            if let Some(rate) = rate {
                sleep(Duration::from_secs_f64(count as f64 / f64::from(rate))).await;
            }
            to.write_all(&buffer[..count]).await?;
            if upwards {
                self.left.fetch_sub(count as i64, Ordering::SeqCst);
            }
        }
    }

    /// When the bytes of `cut_after` have passed.
    async fn spent(&self) {
        while self.left.load(Ordering::SeqCst) > 0 {
            sleep(Duration::from_millis(1)).await;
        }
        self.left.store(i64::MAX, Ordering::SeqCst);
    }
}

/// Makes the close that follows a reset.
fn reset(stream: &TcpStream) {
    rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO)).unwrap();
}

#[tokio::test]
async fn it_passes_pauses_and_cuts() {
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let proxy = Proxy::to(server.local_addr().unwrap().port()).await;
    let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, proxy.port()))
        .await
        .unwrap();
    let (mut peer, _) = server.accept().await.unwrap();
    client.write_all(b"one").await.unwrap();
    let mut buffer = [0; 3];
    peer.read_exact(&mut buffer).await.unwrap();
    proxy.pause();
    client.write_all(b"two").await.unwrap();
    let nothing = tokio::time::timeout(Duration::from_millis(100), peer.read_exact(&mut buffer));
    assert!(nothing.await.is_err());
    proxy.resume();
    peer.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"two");
    proxy.half_close();
    assert_eq!(client.read(&mut buffer).await.unwrap(), 0);
    proxy.cut_after(3);
    client.write_all(b"end").await.unwrap();
    peer.read_exact(&mut buffer).await.unwrap();
    let error = peer.read(&mut buffer).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}
