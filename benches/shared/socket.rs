//! The floor of MQTT: what there is room for in one write, then what answers there are in one read.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};

/// A connection over MQTT 3.1.1.
pub(crate) struct Socket(TcpStream);

impl Socket {
    pub(crate) fn connect(port: u16) -> Self {
        let mut broker = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        broker.set_nodelay(true).unwrap();
        broker
            .write_all(b"\x10\x12\x00\x04MQTT\x04\x02\x00\x3c\x00\x06socket")
            .unwrap();
        broker.read_exact(&mut [0; 4]).unwrap();
        Self(broker)
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
        let (mut next, mut out, mut acks) = (0, 0, 0);
        let (mut write, mut read) = (Vec::new(), vec![0; 64 << 10]);
        while acks < count * 4 {
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
            self.0.write_all(&write).unwrap();
            let length = self.0.read(&mut read).unwrap();
            assert!(length > 0, "the broker has closed");
            // An acknowledgement has four bytes; a part of one counts when the rest has come.
            let before = acks / 4;
            acks += length;
            out -= acks / 4 - before;
        }
    }
}

/// A PUBLISH with quality of service 1 (MQTT 3.1.1, 3.3).
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
