//! AMQP 0-9-1: basic.publish and its confirms on channels that have them; all else passes as it is.
//!
//! Messages that do not get to the broker have no delivery tag there, so tags are numbered anew for the client. What the
//! broker confirms together goes to the client one by one.

use std::collections::{HashMap, VecDeque};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Dialect, Out, Treatment};

/// "AMQP" and the version, with which a client begins (4.2.2).
const GREETING: usize = 8;
const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
/// Behind type, channel and size (4.2.3).
const FRAME_END: u8 = 0xCE;
/// Class and method.
const CHANNEL_OPEN: [u16; 2] = [20, 10];
const CONFIRM_SELECT: [u16; 2] = [85, 10];
const PUBLISH: [u16; 2] = [60, 40];
const ACK: [u16; 2] = [60, 80];
const NACK: [u16; 2] = [60, 120];

#[derive(Default)]
pub(super) struct Link {
    greeted: bool,
    channels: HashMap<u16, Channel>,
}

#[derive(Default)]
struct Channel {
    confirms: bool,
    publish: Option<Publish>,
    /// The client's last delivery tag, and the broker's.
    numbered: u64,
    passed: u64,
    /// With the broker.
    out: VecDeque<Passed>,
    /// The client's tags whose acknowledgements wait for the next one.
    waiting: Vec<u64>,
}

/// A message that is not complete.
struct Publish {
    frames: BytesMut,
    body: BytesMut,
    /// Of the body, told by the header.
    size: Option<u64>,
}

struct Passed {
    at_broker: u64,
    at_client: u64,
    later: bool,
}

struct Frame {
    whole: Bytes,
    kind: u8,
    channel: u16,
    payload: Bytes,
}

/// The next frame, once it is complete.
fn frame(input: &mut BytesMut) -> Option<Frame> {
    let mut head = input.get(..7)?;
    let (kind, channel, size) = (head.get_u8(), head.get_u16(), head.get_u32() as usize);
    (input.len() >= 8 + size).then(|| {
        let whole = input.split_to(8 + size).freeze();
        assert_eq!(whole[7 + size], FRAME_END);
        let payload = whole.slice(7..7 + size);
        Frame {
            whole,
            kind,
            channel,
            payload,
        }
    })
}

impl Frame {
    fn method(&self) -> Option<[u16; 2]> {
        let mut payload = &*self.payload;
        (self.kind == METHOD).then(|| [payload.get_u16(), payload.get_u16()])
    }
}

/// A confirm of one message.
fn put_confirm(out: &mut BytesMut, channel: u16, method: [u16; 2], tag: u64) {
    out.put_u8(METHOD);
    out.put_u16(channel);
    out.put_u32(2 + 2 + 8 + 1);
    method.into_iter().for_each(|number| out.put_u16(number));
    out.put_u64(tag);
    out.put_u8(0);
    out.put_u8(FRAME_END);
}

impl Channel {
    /// Takes a frame of a message. The whole message, once it is complete.
    fn assemble(&mut self, frame: &Frame) -> Option<Publish> {
        let publish = self.publish.get_or_insert_with(|| Publish {
            frames: BytesMut::new(),
            body: BytesMut::new(),
            size: None,
        });
        publish.frames.extend_from_slice(&frame.whole);
        match frame.kind {
            // Behind class and weight (4.2.6.1).
            HEADER => publish.size = Some((&frame.payload[4..]).get_u64()),
            BODY => publish.body.extend_from_slice(&frame.payload),
            _ => {}
        }
        let complete = publish.size == Some(publish.body.len() as u64);
        complete.then(|| self.publish.take()).flatten()
    }

    fn treat(&mut self, id: u16, publish: &Publish, treatment: Treatment, out: &mut Out) {
        self.numbered += 1;
        match treatment {
            Treatment::Pass | Treatment::AckLater => {
                self.passed += 1;
                self.out.push_back(Passed {
                    at_broker: self.passed,
                    at_client: self.numbered,
                    later: treatment == Treatment::AckLater,
                });
                out.to_server.extend_from_slice(&publish.frames);
            }
            Treatment::Swallow => {}
            Treatment::Refuse => put_confirm(&mut out.to_client, id, NACK, self.numbered),
            Treatment::Close => out.close = true,
        }
    }

    fn confirmed(&mut self, id: u16, method: [u16; 2], payload: &[u8], out: &mut BytesMut) {
        let mut rest = &payload[4..];
        let (tag, multiple) = (rest.get_u64(), rest.get_u8() & 1 == 1);
        let meant = |one: &Passed| one.at_broker == tag || multiple && one.at_broker < tag;
        let (confirmed, left): (VecDeque<_>, VecDeque<_>) = self.out.drain(..).partition(meant);
        self.out = left;
        for one in confirmed {
            if one.later && method == ACK {
                self.waiting.push(one.at_client);
                continue;
            }
            put_confirm(out, id, method, one.at_client);
            for tag in self.waiting.drain(..) {
                put_confirm(out, id, ACK, tag);
            }
        }
    }
}

impl Dialect for Link {
    fn upwards(
        &mut self,
        input: &mut BytesMut,
        treat: &mut dyn FnMut(&[u8]) -> Treatment,
        out: &mut Out,
    ) {
        if !self.greeted {
            if input.len() < GREETING {
                return;
            }
            out.to_server.extend_from_slice(&input.split_to(GREETING));
            self.greeted = true;
        }
        while let Some(frame) = frame(input) {
            let channel = self.channels.entry(frame.channel).or_default();
            match frame.method() {
                // Tags begin anew.
                Some(CHANNEL_OPEN) => *channel = Channel::default(),
                Some(CONFIRM_SELECT) => channel.confirms = true,
                _ => {}
            }
            let of_message = frame.method() == Some(PUBLISH) || channel.publish.is_some();
            if !(channel.confirms && of_message) {
                out.to_server.extend_from_slice(&frame.whole);
            } else if let Some(publish) = channel.assemble(&frame) {
                let treatment = treat(&publish.body);
                channel.treat(frame.channel, &publish, treatment, out);
                if out.close {
                    return;
                }
            }
        }
    }

    fn downwards(&mut self, input: &mut BytesMut, out: &mut Out) {
        while let Some(frame) = frame(input) {
            let channel = self.channels.entry(frame.channel).or_default();
            match frame.method() {
                Some(method @ (ACK | NACK)) if channel.confirms => {
                    channel.confirmed(frame.channel, method, &frame.payload, &mut out.to_client);
                }
                _ => out.to_client.extend_from_slice(&frame.whole),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_frame(out: &mut BytesMut, kind: u8, payload: &[u8]) {
        out.put_u8(kind);
        out.put_u16(1);
        out.put_u32(payload.len() as u32);
        out.put_slice(payload);
        out.put_u8(FRAME_END);
    }

    fn put_method(out: &mut BytesMut, [class, method]: [u16; 2], rest: &[u8]) {
        let head = [class.to_be_bytes(), method.to_be_bytes()].concat();
        put_frame(out, METHOD, &[&head, rest].concat());
    }

    fn put_message(out: &mut BytesMut, body: &[u8]) {
        put_method(out, PUBLISH, &[0; 5]);
        let size = (body.len() as u64).to_be_bytes();
        put_frame(out, HEADER, &[&[0, 60, 0, 0], &size[..], &[0, 0]].concat());
        for part in body.chunks(2) {
            put_frame(out, BODY, part);
        }
    }

    /// Method and tag of each confirm.
    fn confirms(mut bytes: BytesMut) -> Vec<([u16; 2], u64)> {
        let frames = std::iter::from_fn(|| frame(&mut bytes));
        let tag = |frame: Frame| (frame.method().unwrap(), (&frame.payload[4..]).get_u64());
        frames.map(tag).collect()
    }

    #[test]
    fn what_is_confirmed_together_is_told_apart_under_the_clients_own_tags() {
        let mut link = Link::default();
        let mut input = BytesMut::from(&b"AMQP\x00\x00\x09\x01"[..]);
        put_method(&mut input, CHANNEL_OPEN, &[0]);
        put_method(&mut input, CONFIRM_SELECT, &[0]);
        let before = input.len();
        let bodies = ["refuse", "later", "pass", "swallow", "pass"];
        for body in bodies {
            put_message(&mut input, body.as_bytes());
        }
        let mut treat = |payload: &[u8]| match payload {
            b"refuse" => Treatment::Refuse,
            b"later" => Treatment::AckLater,
            b"swallow" => Treatment::Swallow,
            _ => Treatment::Pass,
        };
        let (mut out, mut came) = (Out::default(), BytesMut::new());
        // In pieces, as a stream comes.
        for piece in input.chunks(5) {
            came.extend_from_slice(piece);
            link.upwards(&mut came, &mut treat, &mut out);
        }
        assert!(out.to_server.len() > before && !out.close);
        assert_eq!(confirms(out.to_client), [(NACK, 1)]);
        // Of the three that the broker got.
        let (mut out, mut acks) = (Out::default(), BytesMut::new());
        put_method(&mut acks, ACK, &[0, 0, 0, 0, 0, 0, 0, 2, 1]);
        put_method(&mut acks, NACK, &[0, 0, 0, 0, 0, 0, 0, 3, 0]);
        link.downwards(&mut acks, &mut out);
        let expected = [(ACK, 3), (ACK, 2), (NACK, 5)];
        assert_eq!(confirms(out.to_client), expected);
    }
}
