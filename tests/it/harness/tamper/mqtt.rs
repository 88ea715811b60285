//! MQTT 3.1.1 and 5: PUBLISH and PUBACK of quality of service 1; all else passes as it is.

use std::collections::HashSet;

use bytes::{Bytes, BytesMut};

use super::{Dialect, Out, Treatment};

const CONNECT: u8 = 1;
const PUBLISH: u8 = 3;
const PUBACK: u8 = 4;
const QUOTA_EXCEEDED: u8 = 0x97;

#[derive(Default)]
pub(super) struct Link {
    /// Version 5, where acknowledgements have reason codes.
    has_codes: bool,
    /// Packet ids whose acknowledgements are to wait.
    later: HashSet<[u8; 2]>,
    /// Acknowledgements that wait for the next one.
    waiting: Vec<Bytes>,
}

/// The next packet as it came, and its bytes behind the fixed header (MQTT 5.0, 2.1), once it is complete.
fn packet(input: &mut BytesMut) -> Option<(Bytes, Bytes)> {
    let (mut length, mut at) = (0, 1);
    loop {
        let byte = *input.get(at)?;
        length |= usize::from(byte & 0x7F) << (7 * (at - 1));
        at += 1;
        if byte < 0x80 {
            break;
        }
    }
    (input.len() >= at + length).then(|| {
        let whole = input.split_to(at + length).freeze();
        let body = whole.slice(at..);
        (whole, body)
    })
}

impl Link {
    /// Packet id and payload of a PUBLISH of quality of service 1 (3.3).
    fn message(&self, body: &Bytes) -> ([u8; 2], Bytes) {
        let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
        let id = [body[2 + topic], body[3 + topic]];
        let mut at = 4 + topic;
        if self.has_codes {
            let (mut length, mut shift) = (0, 0);
            loop {
                let byte = body[at];
                length |= usize::from(byte & 0x7F) << shift;
                (at, shift) = (at + 1, shift + 7);
                if byte < 0x80 {
                    break;
                }
            }
            at += length;
        }
        (id, body.slice(at..))
    }
}

impl Dialect for Link {
    fn upwards(
        &mut self,
        input: &mut BytesMut,
        treat: &mut dyn FnMut(&[u8]) -> Treatment,
        out: &mut Out,
    ) {
        while let Some((whole, body)) = packet(input) {
            let (kind, qos) = (whole[0] >> 4, whole[0] >> 1 & 3);
            if kind == CONNECT {
                // Behind the protocol's name (3.1.2.2).
                self.has_codes = body[6] == 5;
            }
            if kind != PUBLISH || qos != 1 {
                out.to_server.extend_from_slice(&whole);
                continue;
            }
            let (id, payload) = self.message(&body);
            match treat(&payload) {
                Treatment::Pass => out.to_server.extend_from_slice(&whole),
                Treatment::AckLater => {
                    self.later.insert(id);
                    out.to_server.extend_from_slice(&whole);
                }
                Treatment::Swallow => {}
                Treatment::Refuse if self.has_codes => {
                    let refusal = [PUBACK << 4, 3, id[0], id[1], QUOTA_EXCEEDED];
                    out.to_client.extend_from_slice(&refusal);
                }
                Treatment::Refuse | Treatment::Close => {
                    out.close = true;
                    return;
                }
            }
        }
    }

    fn downwards(&mut self, input: &mut BytesMut, out: &mut Out) {
        while let Some((whole, body)) = packet(input) {
            let is_ack = whole[0] >> 4 == PUBACK;
            if is_ack && self.later.remove(&[body[0], body[1]]) {
                self.waiting.push(whole);
                continue;
            }
            out.to_client.extend_from_slice(&whole);
            if is_ack {
                let waiting = self.waiting.drain(..);
                waiting.for_each(|ack| out.to_client.extend_from_slice(&ack));
            }
        }
    }
}

#[test]
fn an_acknowledgement_waits_for_the_next_and_a_refusal_has_its_code() {
    let mut link = Link::default();
    let mut out = Out::default();
    let connect = b"\x10\x10\x00\x04MQTT\x05\x02\x00\x1e\x00\x00\x03cli";
    link.upwards(
        &mut BytesMut::from(&connect[..]),
        &mut |_| Treatment::Pass,
        &mut out,
    );
    let publish = |id: u8| [0x32, 8, 0, 1, b't', 0, id, 1, 0, b'x'].to_vec();
    let mut treatments = [Treatment::AckLater, Treatment::Pass, Treatment::Refuse].into_iter();
    for id in 1..=3 {
        // A property of one byte stands before the payload: what is behind it counts.
        let mut treat = |payload: &[u8]| {
            assert_eq!(payload, b"x");
            treatments.next().unwrap()
        };
        let bytes = publish(id);
        link.upwards(&mut BytesMut::from(&bytes[..5]), &mut treat, &mut out);
        link.upwards(&mut BytesMut::from(&bytes[..]), &mut treat, &mut out);
    }
    assert_eq!(&out.to_client[..], [0x40, 3, 0, 3, QUOTA_EXCEEDED]);
    assert_eq!(out.to_server.len(), connect.len() + 2 * publish(1).len());
    let mut out = Out::default();
    let acks = [0x40, 2, 0, 1, 0x40, 2, 0, 2];
    link.downwards(&mut BytesMut::from(&acks[..]), &mut out);
    assert_eq!(&out.to_client[..], [0x40, 2, 0, 2, 0x40, 2, 0, 1]);
}
