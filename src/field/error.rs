//! Why something could not be read.

use crate::reading::Quality;

/// Why a request got no values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// Nothing came back in time.
    #[error("no answer")]
    Timeout,
    /// Something came back, but no valid answer: noise, a wrong checksum, a wrong length.
    #[error("no valid answer")]
    Garbled,
    /// A whole answer with fewer places than were asked for.
    #[error("the answer is too short")]
    Short,
    /// The device (or the gateway before it) refused with this exception code.
    #[error("exception {0}")]
    Exception(u8),
    /// The line could not be opened, or it broke.
    #[error("no connection: {0}")]
    NoConnection(String),
}

/// What an error says about the rest of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The device is there; only what was asked for cannot be had.
    Refused,
    /// The device is not there.
    Silent,
    /// The line is not there: the session is over.
    Broken,
}

impl FieldError {
    /// What the readings get that are missing for it.
    pub fn quality(&self) -> Quality {
        match self {
            Self::Timeout => Quality::Timeout,
            Self::Garbled | Self::Short => Quality::Crc,
            Self::Exception(code) => Quality::Exception(*code),
            Self::NoConnection(_) => Quality::NoConnection,
        }
    }

    /// Why, for people, without the words that every such error begins with.
    pub fn cause(&self) -> String {
        match self {
            Self::NoConnection(cause) => cause.clone(),
            other => other.to_string(),
        }
    }

    /// Whether it can be asked for less, and the exception code that said so: an illegal address or quantity
    /// (Application Protocol V1.1b3, 7: 02 and 03), or without a code a short answer.
    pub fn lesson(&self) -> Option<Option<u8>> {
        match self {
            Self::Exception(code @ (2 | 3)) => Some(Some(*code)),
            Self::Short => Some(None),
            _ => None,
        }
    }

    /// What it says about the rest of the line.
    pub fn verdict(&self) -> Verdict {
        match self {
            // A gateway says that it cannot reach the device (Application Protocol V1.1b3, 7: 0A and 0B).
            Self::Timeout | Self::Garbled | Self::Exception(0x0A | 0x0B) => Verdict::Silent,
            Self::Exception(_) | Self::Short => Verdict::Refused,
            Self::NoConnection(_) => Verdict::Broken,
        }
    }
}
