//! What the broker's codes mean for us. Pure.

use rumqttc::mqttbytes::v4::ConnectReturnCode as V3Code;
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

/// A DISCONNECT of the broker (MQTT 5.0, 3.14.2.1). `text` is its own explanation.
pub(super) fn disconnected(reason: DisconnectReasonCode, text: Option<String>) -> UpstreamError {
    match (reason, text) {
        (DisconnectReasonCode::NotAuthorized, text) => {
            UpstreamError::NotAuthorised(text.unwrap_or_default())
        }
        (reason, None) => UpstreamError::Closed(format!("{reason:?}")),
        (reason, Some(text)) => UpstreamError::Closed(format!("{reason:?}: {text}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::error::Verdict;

    fn kind(answer: Answer) -> &'static str {
        match answer {
            Answer::Confirmed => "confirmed",
            Answer::Sent => "sent",
            Answer::Retry(_) | Answer::Returned(_) => "retry",
            Answer::Refused(_) => "refused",
            Answer::Stop(_) => "stop",
        }
    }

    #[test]
    fn each_code_of_an_acknowledgement_has_its_meaning() {
        use PubAckReason as Reason;
        for (reason, meaning) in [
            (Reason::Success, "confirmed"),
            (Reason::NoMatchingSubscribers, "confirmed"),
            (Reason::UnspecifiedError, "retry"),
            (Reason::ImplementationSpecificError, "retry"),
            (Reason::PacketIdentifierInUse, "retry"),
            (Reason::QuotaExceeded, "retry"),
            (Reason::TopicNameInvalid, "refused"),
            (Reason::PayloadFormatInvalid, "refused"),
            (Reason::NotAuthorized, "stop"),
        ] {
            assert_eq!(kind(answer(reason, None)), meaning, "{reason:?}");
        }
        assert_eq!(
            answer(Reason::QuotaExceeded, Some("1 GB a day".to_owned())),
            Answer::Retry("quota exceeded (0x97): 1 GB a day".to_owned())
        );
    }

    #[test]
    fn a_refused_connection_stops_or_is_tried_again() {
        use ConnectReturnCode as Code;
        let stop = |error: UpstreamError| error.verdict() == Verdict::Stop;
        for code in [
            V3Code::BadUserNamePassword,
            V3Code::NotAuthorized,
            V3Code::BadClientId,
            V3Code::RefusedProtocolVersion,
        ] {
            assert!(stop(refused_v3(code)), "{code:?}");
        }
        assert!(!stop(refused_v3(V3Code::ServiceUnavailable)));
        for code in [
            Code::BadUserNamePassword,
            Code::NotAuthorized,
            Code::Banned,
            Code::BadAuthenticationMethod,
            Code::ClientIdentifierNotValid,
            Code::UnsupportedProtocolVersion,
            Code::QoSNotSupported,
            Code::RetainNotSupported,
            Code::TopicNameInvalid,
        ] {
            assert!(stop(refused_v5(code)), "{code:?}");
        }
        for code in [
            Code::ServerUnavailable,
            Code::ServerBusy,
            Code::QuotaExceeded,
            Code::UseAnotherServer,
            Code::ConnectionRateExceeded,
            Code::UnspecifiedError,
        ] {
            assert!(!stop(refused_v5(code)), "{code:?}");
        }
    }

    #[test]
    fn a_disconnect_says_why() {
        use DisconnectReasonCode as Reason;
        let told = disconnected(Reason::NotAuthorized, Some("not here".to_owned()));
        assert_eq!(told.verdict(), Verdict::Stop);
        assert_eq!(told.to_string(), "not authorised: not here");
        for reason in [
            Reason::ServerBusy,
            Reason::ServerShuttingDown,
            Reason::SessionTakenOver,
            Reason::PacketTooLarge,
            Reason::ReceiveMaximumExceeded,
            Reason::QuotaExceeded,
        ] {
            let told = disconnected(reason, None);
            assert_eq!(told.verdict(), Verdict::Reconnect, "{reason:?}");
            assert!(told.is_a_close(), "{reason:?}");
        }
    }
}
