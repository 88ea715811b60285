//! A proxy that knows the protocol, before a real broker: acknowledgements come in another order, as failures or never, or
//! the connection is closed over a message.

mod amqp;
mod mqtt;

use std::io;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Treatment {
    /// It goes to the broker, whose acknowledgement goes to the client.
    Pass,
    /// The same, but the acknowledgement goes behind the next one.
    AckLater,
    /// It does not get to the broker, and nobody ever says so.
    Swallow,
    /// It does not get to the broker, and the client is told that it was not taken for now. MQTT 3.1.1 has no word for
    /// that: the connection is closed.
    Refuse,
    /// It does not get to the broker, and the client's connection is closed.
    Close,
}

/// What is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// MQTT, in the version that the client asks for.
    Mqtt,
    /// AMQP 0-9-1.
    Amqp,
}

type Script = Box<dyn FnMut(&[u8]) -> Treatment + Send>;

/// A proxy on a loopback port. It ends when dropped.
pub struct Tamper {
    port: u16,
    script: Arc<Mutex<Script>>,
    withheld: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Tamper {
    /// In front of this loopback port. All passes for now.
    pub async fn to(target: u16, protocol: Protocol) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let script: Arc<Mutex<Script>> = Arc::new(Mutex::new(Box::new(|_| Treatment::Pass)));
        let withheld = Arc::default();
        let judge = Judge {
            script: Arc::clone(&script),
            withheld: Arc::clone(&withheld),
        };
        let task = tokio::spawn(async move {
            let mut links = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                links.spawn(carry(client, target, protocol, judge.clone()));
                while links.try_join_next().is_some() {}
            }
        });
        Self {
            port,
            script,
            withheld,
            task,
        }
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// From now on messages are treated as `script` says; it is asked with the payload of each.
    pub fn treat(&self, script: impl FnMut(&[u8]) -> Treatment + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// How often a message did not get to the broker.
    pub fn withheld(&self) -> u64 {
        self.withheld.load(Ordering::SeqCst)
    }
}

impl Drop for Tamper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone)]
struct Judge {
    script: Arc<Mutex<Script>>,
    withheld: Arc<AtomicU64>,
}

impl Judge {
    fn treat(&self, payload: &[u8]) -> Treatment {
        let treatment = (self.script.lock().unwrap())(payload);
        if !matches!(treatment, Treatment::Pass | Treatment::AckLater) {
            self.withheld.fetch_add(1, Ordering::SeqCst);
        }
        treatment
    }
}

/// What is to be written.
#[derive(Debug, Default)]
struct Out {
    to_server: BytesMut,
    to_client: BytesMut,
    close: bool,
}

/// One connection in one protocol. What is not complete yet stays in `input`.
trait Dialect: Send {
    fn upwards(
        &mut self,
        input: &mut BytesMut,
        treat: &mut dyn FnMut(&[u8]) -> Treatment,
        out: &mut Out,
    );
    fn downwards(&mut self, input: &mut BytesMut, out: &mut Out);
}

async fn carry(
    mut client: TcpStream,
    target: u16,
    protocol: Protocol,
    judge: Judge,
) -> io::Result<()> {
    let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, target)).await?;
    let mut dialect: Box<dyn Dialect> = match protocol {
        Protocol::Mqtt => Box::<mqtt::Link>::default(),
        Protocol::Amqp => Box::<amqp::Link>::default(),
    };
    let (mut up, mut down) = (BytesMut::new(), BytesMut::new());
    loop {
        let mut out = Out::default();
        let read = tokio::select! {
            read = client.read_buf(&mut up) => {
                dialect.upwards(&mut up, &mut |payload| judge.treat(payload), &mut out);
                read?
            }
            read = server.read_buf(&mut down) => {
                dialect.downwards(&mut down, &mut out);
                read?
            }
        };
        server.write_all(&out.to_server).await?;
        client.write_all(&out.to_client).await?;
        if read == 0 || out.close {
            break;
        }
    }
    drop(server);
    // Closed with bytes unread, the link would be reset, and what was just written lost with it.
    client.shutdown().await?;
    while client.read_buf(&mut up).await? > 0 {
        up.clear();
    }
    Ok(())
}
