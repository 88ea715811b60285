//! What the library's errors mean.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};

use crate::upstream::error::UpstreamError;
use crate::upstream::link;

/// The error of a connection or channel, in our words where ours help more.
pub(super) fn failure(error: &lapin::Error) -> UpstreamError {
    told(
        error,
        "create it at the broker, or have it declared (declare = { … })",
    )
}

/// The same for those who take messages out: they make neither exchange nor queue.
pub(super) fn failure_to_consume(error: &lapin::Error) -> UpstreamError {
    told(
        error,
        "check its name, and the virtual host (the path of the URL)",
    )
}

/// `missing`: what to do about an exchange or queue that is not there.
fn told(error: &lapin::Error, missing: &str) -> UpstreamError {
    match error.kind() {
        ErrorKind::ProtocolError(refusal) => {
            let reason = refusal.get_message().to_string();
            match refusal.kind() {
                AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => {
                    UpstreamError::NotAuthorised(reason)
                }
                AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
                    UpstreamError::Refused(reason)
                }
                AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => UpstreamError::Rejected(reason),
                AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => {
                    UpstreamError::Closed(format!("{reason}: {missing}"))
                }
                AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => UpstreamError::Closed(reason),
            }
        }
        ErrorKind::IOError(error) => link::broken(error),
        ErrorKind::MissingHeartbeatError => {
            UpstreamError::Silent("no sign of life from the broker (heartbeat)".to_owned())
        }
        _ => UpstreamError::Connection(error.to_string()),
    }
}
