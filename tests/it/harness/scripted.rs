//! An MQTT 5 broker that answers as a script says: late, never, out of order, with failure codes, or by closing.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnectReturnCode, Packet, PubAck, PubAckReason, Publish,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What to do about a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reply {
    /// Acknowledge it with this reason.
    Ack(PubAckReason),
    /// Acknowledge it behind the next one that is acknowledged.
    Later,
    /// Say nothing.
    Never,
    /// Close the connection.
    Close,
    /// Acknowledge it with this reason, and close the connection.
    AckAndClose(PubAckReason),
}

type Script = Box<dyn FnMut(&str) -> Reply + Send>;

/// The broker. Its script is asked with the payload of each message.
pub struct Scripted {
    port: u16,
    arrivals: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Scripted {
    /// Listens on a free loopback port; one connection at a time.
    pub async fn start(script: impl FnMut(&str) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let arrivals = Arc::new(Mutex::default());
        let mut server = Server {
            script: Box::new(script),
            arrivals: Arc::clone(&arrivals),
        };
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                server.serve(stream).await;
            }
        });
        Self {
            port,
            arrivals,
            task,
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The payloads that came, in order; a `-` stands for each connection.
    pub fn arrivals(&self) -> Vec<String> {
        self.arrivals.lock().unwrap().clone()
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Server {
    script: Script,
    arrivals: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Until either side closes.
    async fn serve(&mut self, mut stream: TcpStream) {
        let (mut input, mut late) = (BytesMut::new(), Vec::new());
        self.arrivals.lock().unwrap().push("-".to_owned());
        while matches!(stream.read_buf(&mut input).await, Ok(1..)) {
            let (mut output, mut stays) = (BytesMut::new(), true);
            while let (true, Ok(packet)) = (stays, Packet::read(&mut input, None)) {
                stays = self.answer(packet, &mut late, &mut output);
            }
            if stream.write_all(&output).await.is_err() {
                return;
            }
            if !stays {
                // Closed with bytes unread, the link would be reset, and what was just written lost with it.
                let _ = stream.shutdown().await;
                while matches!(stream.read_buf(&mut input).await, Ok(1..)) {}
                return;
            }
        }
    }

    /// Whether the connection stays.
    fn answer(&mut self, packet: Packet, late: &mut Vec<u16>, output: &mut BytesMut) -> bool {
        let mut write = |packet: Packet| packet.write(output, None).unwrap();
        match packet {
            Packet::Connect(..) => {
                write(Packet::ConnAck(ConnAck {
                    session_present: false,
                    code: ConnectReturnCode::Success,
                    properties: None,
                }));
            }
            Packet::Publish(Publish { pkid, payload, .. }) => {
                let payload = String::from_utf8(payload.to_vec()).unwrap();
                let reply = (self.script)(&payload);
                self.arrivals.lock().unwrap().push(payload);
                match reply {
                    Reply::Never => {}
                    Reply::Later => late.push(pkid),
                    Reply::Close => return false,
                    Reply::Ack(reason) | Reply::AckAndClose(reason) => {
                        let ack = |pkid, reason| {
                            Packet::PubAck(PubAck {
                                pkid,
                                reason,
                                properties: None,
                            })
                        };
                        write(ack(pkid, reason));
                        for pkid in late.drain(..) {
                            write(ack(pkid, PubAckReason::Success));
                        }
                        return matches!(reply, Reply::Ack(_));
                    }
                }
            }
            Packet::PingReq(_) => {
                write(Packet::PingResp(rumqttc::v5::mqttbytes::v5::PingResp));
            }
            Packet::Disconnect(_) => return false,
            other => panic!("{other:?}"),
        }
        true
    }
}
