//! An MQTT 5 broker that answers as a script says: late, never, out of order, with failure codes, or by closing.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, ConnectReturnCode, Packet, PubAck, PubAckReason, Publish,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
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

/// What it consents to beside the protocol's own rules.
#[derive(Debug, Clone, Copy, Default)]
pub struct Consent {
    /// Messages that may be out.
    pub receive_maximum: Option<u16>,
    /// Seconds between signs of life.
    pub keep_alive: Option<u16>,
}

impl Consent {
    fn properties(self) -> ConnAckProperties {
        ConnAckProperties {
            session_expiry_interval: None,
            receive_max: self.receive_maximum,
            max_qos: None,
            retain_available: None,
            max_packet_size: None,
            assigned_client_identifier: None,
            topic_alias_max: None,
            reason_string: None,
            user_properties: Vec::new(),
            wildcard_subscription_available: None,
            subscription_identifiers_available: None,
            shared_subscription_available: None,
            server_keep_alive: self.keep_alive,
            response_information: None,
            server_reference: None,
            authentication_method: None,
            authentication_data: None,
        }
    }
}

type Script = Box<dyn FnMut(&str) -> Reply + Send>;

/// The broker. Its script is asked with the payload of each message.
pub struct Scripted {
    port: u16,
    arrivals: Arc<Mutex<Vec<String>>>,
    counts: watch::Receiver<Counts>,
    task: JoinHandle<()>,
}

/// What it has seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// Most messages that a client had out at once.
    pub most_out: usize,
    /// Signs of life that a client asked for.
    pub pings: usize,
}

impl Scripted {
    /// Listens on a free loopback port; one connection at a time.
    pub async fn start(script: impl FnMut(&str) -> Reply + Send + 'static) -> Self {
        Self::consenting(Consent::default(), script).await
    }

    /// As [`Self::start`], with wishes of its own.
    pub async fn consenting(
        consent: Consent,
        script: impl FnMut(&str) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let arrivals = Arc::new(Mutex::default());
        let (seen, counts) = watch::channel(Counts::default());
        let mut server = Server {
            script: Box::new(script),
            arrivals: Arc::clone(&arrivals),
            consent,
            seen,
            out: 0,
            acks: 0,
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
            counts,
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

    /// What it has seen so far, and more as it comes.
    pub fn counts(&self) -> watch::Receiver<Counts> {
        self.counts.clone()
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
    consent: Consent,
    seen: watch::Sender<Counts>,
    /// Messages that came and whose answers are not written.
    out: usize,
    /// Answers that are to be written.
    acks: usize,
}

impl Server {
    /// Until either side closes.
    async fn serve(&mut self, mut stream: TcpStream) {
        // One read takes all that a client wrote in one go.
        let (mut input, mut late) = (BytesMut::with_capacity(1 << 20), Vec::new());
        (self.out, self.acks) = (0, 0);
        self.arrivals.lock().unwrap().push("-".to_owned());
        while matches!(stream.read_buf(&mut input).await, Ok(1..)) {
            let (mut output, mut stays) = (BytesMut::new(), true);
            while let (true, Ok(packet)) = (stays, Packet::read(&mut input, None)) {
                stays = self.answer(packet, &mut late, &mut output);
            }
            if stream.write_all(&output).await.is_err() {
                return;
            }
            self.out -= std::mem::take(&mut self.acks);
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
                    properties: Some(self.consent.properties()),
                }));
            }
            Packet::Publish(Publish { pkid, payload, .. }) => {
                let payload = String::from_utf8(payload.to_vec()).unwrap();
                let reply = (self.script)(&payload);
                self.arrivals.lock().unwrap().push(payload);
                self.out += 1;
                let out = self.out;
                self.seen
                    .send_modify(|seen| seen.most_out = seen.most_out.max(out));
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
                        self.acks += 1 + late.len();
                        write(ack(pkid, reason));
                        for pkid in late.drain(..) {
                            write(ack(pkid, PubAckReason::Success));
                        }
                        return matches!(reply, Reply::Ack(_));
                    }
                }
            }
            Packet::PingReq(_) => {
                self.seen.send_modify(|seen| seen.pings += 1);
                write(Packet::PingResp(rumqttc::v5::mqttbytes::v5::PingResp));
            }
            Packet::Disconnect(_) => return false,
            other => panic!("{other:?}"),
        }
        true
    }
}
