//! What is on its way, and what its answer means.

use std::sync::Arc;

use crate::payload::Part;

/// What a message carries.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::forward) enum Parcel {
    /// A record.
    Record(Letter),
    /// A record that describes a device: scans wait for the answer.
    Description(Letter),
    /// The copy of a description, which is no record; scans wait for the answer.
    Copy,
    /// The state of the gateway, which is no record.
    Status,
}

/// A record on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::forward) struct Letter {
    pub(in crate::forward) seq: u64,
    /// Which of its messages.
    pub(in crate::forward) part: Part,
    /// Bytes of its payload.
    pub(in crate::forward) size: u64,
    /// Topic or routing key.
    pub(in crate::forward) key: Arc<str>,
}

/// A record that the broker does not take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::forward) struct Refusal {
    pub(in crate::forward) letter: Letter,
    pub(in crate::forward) reason: String,
}

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::forward) enum Outcome {
    /// The cursor has moved over this record.
    Confirmed(u64),
    /// The same, on the word of the connection only.
    Sent(u64),
    /// The cursor has moved over this record, which is a dead letter.
    Refused(Refusal),
    /// Its lane submits nothing more before [`super::Window::rewind`], for this reason.
    Halted(String),
    /// The same; and what was to be sent again is no record, so that the lane will not repeat it by itself.
    CopyHalted(String),
    /// What is no record was refused for this reason, and is not repeated on this connection.
    CopyRefused(String),
    /// Kept for [`super::Window::condemned`] or [`super::Window::stopped`].
    Aside,
    /// Of no record, of one that waits for the answers to its other parts, or of a token that is not out.
    Nothing,
}

impl Parcel {
    pub(super) fn describes(&self) -> bool {
        matches!(self, Self::Description(_) | Self::Copy)
    }

    pub(super) fn letter(&self) -> Option<&Letter> {
        match self {
            Self::Record(letter) | Self::Description(letter) => Some(letter),
            Self::Copy | Self::Status => None,
        }
    }

    pub(super) fn into_letter(self) -> Option<Letter> {
        match self {
            Self::Record(letter) | Self::Description(letter) => Some(letter),
            Self::Copy | Self::Status => None,
        }
    }
}
