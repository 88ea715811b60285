//! The floor of MQTT: what there is room for in one write, then what answers there are in one read.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

/// Both protocol versions, by what differs in CONNECT and behind it.
const CONNECT_3: &[u8] = b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06socket";
const CONNECT_5: &[u8] = b"\x10\x13\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x06socket";

/// A connection.
pub(crate) struct Socket {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Socket {
    /// Over MQTT 3.1.1.
    pub(crate) fn connect(port: u16) -> Self {
        Self::open(port, CONNECT_3)
    }

    /// Over MQTT 5: each message begins with its properties, as [`properties`] makes them. The broker is one that takes
    /// as many messages at once as are sent.
    pub(crate) fn connect_5(port: u16) -> Self {
        Self::open(port, CONNECT_5)
    }

    fn open(port: u16, connect: &[u8]) -> Self {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.set_nodelay(true).unwrap();
        let read = Vec::new();
        let mut socket = Self { stream, read };
        socket.stream.write_all(connect).unwrap();
        while socket.packets() == 0 {
            socket.receive();
        }
        socket
    }

    /// Publishes `count` messages with quality of service 1, those of `messages` in turn, and at most `inflight` of them
    /// unanswered. The broker has acknowledged all by the end.
    pub(crate) fn publish(
        &mut self,
        topic: &str,
        inflight: u16,
        count: usize,
        messages: &[impl AsRef<[u8]>],
    ) {
        let (mut next, mut out) = (0, 0);
        let mut write = Vec::new();
        while out > 0 || next < count {
            write.clear();
            while out < usize::from(inflight) && next < count {
                let id = (next % usize::from(u16::MAX)) as u16 + 1;
                put(
                    &mut write,
                    topic,
                    id,
                    messages[next % messages.len()].as_ref(),
                );
                (next, out) = (next + 1, out + 1);
            }
            self.stream.write_all(&write).unwrap();
            self.receive();
            out -= self.packets();
        }
    }

    fn receive(&mut self) {
        let before = self.read.len();
        self.read.resize(before + (64 << 10), 0);
        let length = self.stream.read(&mut self.read[before..]).unwrap();
        assert!(length > 0, "the broker has closed");
        self.read.truncate(before + length);
    }

    /// How many packets have come whole; each has less than 128 bytes. A part of one counts when the rest has come.
    fn packets(&mut self) -> usize {
        let (mut packets, mut end) = (0, 0);
        while let Some(length) = self.read.get(end + 1) {
            let next = end + 2 + usize::from(*length);
            if next > self.read.len() {
                break;
            }
            (packets, end) = (packets + 1, next);
        }
        self.read.drain(..end);
        packets
    }
}

/// A PUBLISH with quality of service 1 (MQTT 3.1.1, 3.3; in MQTT 5 a message begins with its properties).
pub(crate) fn put(to: &mut Vec<u8>, topic: &str, id: u16, message: &[u8]) {
    let mut length = 2 + topic.len() + 2 + message.len();
    to.push(0x32);
    while length > 127 {
        to.push((length % 128) as u8 | 0x80);
        length /= 128;
    }
    to.push(length as u8);
    to.extend_from_slice(&(topic.len() as u16).to_be_bytes());
    to.extend_from_slice(topic.as_bytes());
    to.extend_from_slice(&id.to_be_bytes());
    to.extend_from_slice(message);
}

/// The properties of a PUBLISH, less than 128 bytes: a content type and pairs of the user (MQTT 5.0, 3.3.2.3).
pub(crate) fn properties(content_type: &str, pairs: &[(String, String)]) -> Vec<u8> {
    let mut all = vec![0x03];
    let text = |all: &mut Vec<u8>, text: &str| {
        all.extend_from_slice(&(text.len() as u16).to_be_bytes());
        all.extend_from_slice(text.as_bytes());
    };
    text(&mut all, content_type);
    for (name, value) in pairs {
        all.push(0x26);
        text(&mut all, name);
        text(&mut all, value);
    }
    assert!(all.len() < 128);
    all.insert(0, all.len() as u8);
    all
}
