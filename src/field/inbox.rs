//! What others may ask of a line.

use tokio::sync::oneshot;

use super::error::FieldError;
use super::modbus::client::Answer;
use super::modbus::frame::ReadRequest;
use crate::reading::Name;

/// A request to the task that owns the line; it takes part in the schedule like a scan.
#[derive(Debug)]
pub enum LineRequest {
    /// Read these places and give what the device says.
    Read {
        /// What to read.
        request: ReadRequest,
        /// Where the answer goes; nobody waits for it any more if the other end is dropped.
        answer: oneshot::Sender<Result<Answer, FieldError>>,
    },
    /// Forget what was learned of a device: try again what it has refused.
    TryAgain {
        /// The device.
        device: Name,
        /// Whether the line has such a device.
        answer: oneshot::Sender<bool>,
    },
}

impl LineRequest {
    /// Answers that the line is down.
    pub(super) fn refuse(self, cause: &str) {
        match self {
            Self::Read { answer, .. } => {
                let _ = answer.send(Err(FieldError::NoConnection(cause.to_owned())));
            }
            // Dropped: whoever asked sees that nobody answered.
            Self::TryAgain { .. } => {}
        }
    }
}

/// Requests that may wait at a line; more are refused by the sender's side of the channel.
pub const INBOX: usize = 16;
