//! The packets of MQTT 3.1.1.

use bytes::BytesMut;
use rumqttc::mqttbytes::v4::{
    ConnAck, Connect, ConnectReturnCode, LastWill, Login, Packet, PubAck, Publish,
};
use rumqttc::mqttbytes::{Error, QoS};

use super::{Granted, Hello, Signal, reason};
use crate::upstream::error::UpstreamError;
use crate::upstream::message::{Answer, Message};

/// Says who connects.
pub(super) fn connect(hello: &Hello, out: &mut BytesMut) -> Result<usize, Error> {
    let mut connect = Connect::new(hello.client_id.clone());
    connect.keep_alive = hello.keep_alive_seconds();
    connect.clean_session = hello.clean;
    connect.login = (hello.login.as_ref()).map(|(user, password)| Login::new(user, password));
    connect.last_will = hello.will.as_ref().map(|will| {
        let (topic, qos) = (&*will.address.key, QoS::AtLeastOnce);
        LastWill::new(topic, will.payload.clone(), qos, will.retain)
    });
    connect.write(out)
}

/// The broker's consent; whether it knows the session.
pub(super) fn granted(packet: BytesMut) -> Result<(Granted, bool), UpstreamError> {
    match read(packet)? {
        Packet::ConnAck(ConnAck {
            session_present,
            code: ConnectReturnCode::Success,
        }) => Ok((Granted::default(), session_present)),
        Packet::ConnAck(refused) => Err(reason::refused_v3(refused.code)),
        other => Err(super::not_connack(&other)),
    }
}

/// A message, under a packet id with quality of service 1.
pub(super) fn publish(
    message: Message,
    id: Option<u16>,
    out: &mut BytesMut,
) -> Result<usize, Error> {
    let qos = match id {
        None => QoS::AtMostOnce,
        Some(_) => QoS::AtLeastOnce,
    };
    let mut publish = Publish::from_bytes(&*message.address.key, qos, message.payload);
    publish.pkid = id.unwrap_or_default();
    publish.retain = message.retain;
    publish.write(out)
}

/// Bytes of the packet that carries `message` (MQTT 3.1.1, 3.3).
pub(super) fn size(message: &Message, acknowledged: bool) -> usize {
    let id = if acknowledged { 2 } else { 0 };
    super::with_header(2 + message.address.key.len() + id + message.payload.len())
}

/// What a packet of the broker says to us.
pub(super) fn signal(packet: BytesMut) -> Result<Option<Signal>, UpstreamError> {
    Ok(match read(packet)? {
        Packet::PubAck(PubAck { pkid }) => Some(Signal::Answered(pkid, Answer::Confirmed)),
        _ => None,
    })
}

/// A whole packet.
pub(super) fn read(mut packet: BytesMut) -> Result<Packet, UpstreamError> {
    Packet::read(&mut packet, super::MAX_PACKET).map_err(|error| super::malformed(&error))
}
