//! The packets of MQTT 5.

mod publish;

use std::time::Duration;

use bytes::BytesMut;
use rumqttc::v5::mqttbytes::v5::{
    ConnAck, ConnAckProperties, Connect, ConnectProperties, ConnectReturnCode, LastWill,
    LastWillProperties, Login, Packet,
};
use rumqttc::v5::mqttbytes::{Error, QoS};

pub(super) use self::publish::{publish, size};
use super::{Granted, Hello, Signal, reason};
use crate::upstream::error::UpstreamError;
use crate::upstream::message::Message;

/// Says who connects, and what we take.
pub(super) fn connect(hello: &Hello, out: &mut BytesMut) -> Result<usize, Error> {
    let mut properties = ConnectProperties::new();
    properties.max_packet_size = u32::try_from(super::MAX_INCOMING).ok();
    let connect = Connect {
        keep_alive: hello.keep_alive_seconds(),
        client_id: hello.client_id.clone(),
        clean_start: hello.clean,
        properties: Some(properties),
    };
    let login = (hello.login.as_ref()).map(|(user, password)| Login::new(user, password));
    connect.write(&hello.will.as_ref().map(last_will), &login, out)
}

/// The broker's consent. `acknowledged`: we want quality of service 1.
pub(super) fn granted(packet: BytesMut, acknowledged: bool) -> Result<Granted, UpstreamError> {
    let properties = match read(packet)? {
        Packet::ConnAck(ConnAck {
            code: ConnectReturnCode::Success,
            properties,
            ..
        }) => properties,
        Packet::ConnAck(refused) => return Err(reason::refused_v5(refused.code)),
        other => return Err(super::not_connack(&other)),
    };
    let Some(told) = properties else {
        return Ok(Granted::default());
    };
    if acknowledged && told.max_qos == Some(0) {
        let reason = "quality of service 0 only".to_owned();
        return Err(UpstreamError::Rejected(reason));
    }
    let seconds = |seconds: u16| Duration::from_secs(seconds.into());
    let ConnAckProperties {
        receive_max,
        max_packet_size,
        retain_available,
        server_keep_alive,
        ..
    } = told;
    Ok(Granted {
        receive_maximum: receive_max,
        max_packet_size: max_packet_size.and_then(|most| usize::try_from(most).ok()),
        retains: retain_available != Some(0),
        // Zero: it wants no signs of life. We want some of it.
        keep_alive: server_keep_alive.filter(|told| *told > 0).map(seconds),
    })
}

/// What a packet of the broker says to us.
///
/// # Errors
/// It is a DISCONNECT, or none of MQTT 5.
pub(super) fn signal(packet: BytesMut) -> Result<Option<Signal>, UpstreamError> {
    match read(packet)? {
        Packet::PubAck(ack) => {
            let text = ack
                .properties
                .and_then(|properties| properties.reason_string);
            let answer = reason::answer(ack.reason, text);
            Ok(Some(Signal::Answered(ack.pkid, answer)))
        }
        Packet::Disconnect(told) => {
            let text = told
                .properties
                .and_then(|properties| properties.reason_string);
            Err(reason::disconnected(told.reason_code, text))
        }
        _ => Ok(None),
    }
}

/// A whole packet.
fn read(mut packet: BytesMut) -> Result<Packet, UpstreamError> {
    Packet::read(&mut packet, None).map_err(|error| super::malformed(&error))
}

fn last_will(will: &Message) -> LastWill {
    let properties = LastWillProperties {
        delay_interval: None,
        payload_format_indicator: None,
        message_expiry_interval: None,
        content_type: Some(will.content_type.to_owned()),
        response_topic: None,
        correlation_data: None,
        user_properties: Vec::new(),
    };
    LastWill::new(
        &*will.address.key,
        will.payload.clone(),
        QoS::AtLeastOnce,
        will.retain,
        Some(properties),
    )
}
