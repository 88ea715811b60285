//! What the broker's codes mean for us. Pure.

use rumqttc::ConnectReturnCode as V3Code;
use rumqttc::v5::StateError;
use rumqttc::v5::mqttbytes::v5::{ConnectReturnCode, DisconnectReasonCode, PubAckReason};

use crate::upstream::error::UpstreamError;
use crate::upstream::message::Answer;

/// A PUBACK's reason code (MQTT 5.0, 3.4.2.1). `text` is the broker's own explanation.
pub(super) fn answer(reason: PubAckReason, text: Option<String>) -> Answer {
    let told = |code: &str| text.map_or_else(|| code.to_owned(), |text| format!("{code}: {text}"));
    match reason {
        // No subscriber is no fault: the broker has taken it.
        PubAckReason::Success | PubAckReason::NoMatchingSubscribers => Answer::Confirmed,
        PubAckReason::UnspecifiedError => Answer::Retry(told("unspecified error (0x80)")),
        PubAckReason::ImplementationSpecificError => {
            Answer::Retry(told("implementation specific error (0x83)"))
        }
        PubAckReason::PacketIdentifierInUse => {
            Answer::Retry(told("packet identifier in use (0x91)"))
        }
        PubAckReason::QuotaExceeded => Answer::Retry(told("quota exceeded (0x97)")),
        PubAckReason::TopicNameInvalid => Answer::Refused(told("topic name invalid (0x90)")),
        PubAckReason::PayloadFormatInvalid => {
            Answer::Refused(told("payload format invalid (0x99)"))
        }
        // Whether this topic or everything is meant, only other topics' answers can tell: the forwarder compares.
        PubAckReason::NotAuthorized => Answer::Stop(told("not authorised (0x87)")),
    }
}

/// A refused CONNECT of MQTT 3.1.1 (3.2.2.3).
pub(super) fn refused_v3(code: V3Code) -> UpstreamError {
    match code {
        V3Code::BadUserNamePassword => {
            UpstreamError::NotAuthorised("bad user name or password".to_owned())
        }
        V3Code::NotAuthorized => UpstreamError::NotAuthorised("by the broker's rules".to_owned()),
        V3Code::RefusedProtocolVersion => {
            UpstreamError::Rejected("MQTT 3.1.1 is not spoken here".to_owned())
        }
        V3Code::BadClientId => UpstreamError::Rejected("client id".to_owned()),
        V3Code::Success | V3Code::ServiceUnavailable => {
            UpstreamError::Closed("service unavailable".to_owned())
        }
    }
}

/// A refused CONNECT of MQTT 5 (3.2.2.2).
pub(super) fn refused_v5(code: ConnectReturnCode) -> UpstreamError {
    use ConnectReturnCode as Code;
    match code {
        Code::BadUserNamePassword => {
            UpstreamError::NotAuthorised("bad user name or password".to_owned())
        }
        Code::NotAuthorized | Code::Banned | Code::BadAuthenticationMethod => {
            UpstreamError::NotAuthorised(format!("{code:?}"))
        }
        Code::RefusedProtocolVersion | Code::UnsupportedProtocolVersion => {
            UpstreamError::Rejected("MQTT 5 is not spoken here".to_owned())
        }
        Code::BadClientId | Code::ClientIdentifierNotValid => {
            UpstreamError::Rejected("client id".to_owned())
        }
        Code::RetainNotSupported
        | Code::QoSNotSupported
        | Code::TopicNameInvalid
        | Code::PayloadFormatInvalid => UpstreamError::Rejected(format!("{code:?}")),
        _ => UpstreamError::Closed(format!("{code:?}")),
    }
}

/// What ended a connection of MQTT 5.
pub(super) fn broken_v5(error: StateError) -> UpstreamError {
    match error {
        StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::NotAuthorized,
            reason_string,
        } => UpstreamError::NotAuthorised(reason_string.unwrap_or_default()),
        StateError::ServerDisconnect {
            reason_code,
            reason_string: None,
        } => UpstreamError::Closed(format!("{reason_code:?}")),
        StateError::ServerDisconnect {
            reason_code,
            reason_string: Some(text),
        } => UpstreamError::Closed(format!("{reason_code:?}: {text}")),
        StateError::ConnFail { reason } => refused_v5(reason),
        StateError::AwaitPingResp => {
            UpstreamError::Silent("no answer to a sign of life".to_owned())
        }
        error => UpstreamError::Connection(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_meaning() {
        use PubAckReason as Reason;
        let kind = |reason| match answer(reason, None) {
            Answer::Confirmed => "confirmed",
            Answer::Sent => "sent",
            Answer::Retry(_) | Answer::Returned(_) => "retry",
            Answer::Refused(_) => "refused",
            Answer::Stop(_) => "stop",
        };
        assert_eq!(kind(Reason::Success), "confirmed");
        assert_eq!(kind(Reason::NoMatchingSubscribers), "confirmed");
        assert_eq!(kind(Reason::UnspecifiedError), "retry");
        assert_eq!(kind(Reason::ImplementationSpecificError), "retry");
        assert_eq!(kind(Reason::QuotaExceeded), "retry");
        assert_eq!(kind(Reason::TopicNameInvalid), "refused");
        assert_eq!(kind(Reason::PayloadFormatInvalid), "refused");
        assert_eq!(kind(Reason::NotAuthorized), "stop");
        assert_eq!(
            answer(Reason::QuotaExceeded, Some("1 GB a day".to_owned())),
            Answer::Retry("quota exceeded (0x97): 1 GB a day".to_owned())
        );
    }
}
