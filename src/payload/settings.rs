//! What messages look like.

/// The codec and its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadSettings {
    /// The codec.
    pub codec: CodecKind,
    /// Integers beyond 2^53 as text.
    pub integers_as_text: bool,
    /// What a message of a scan carries.
    pub message: MessageKind,
}

/// What a message of a scan carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MessageKind {
    /// All its readings.
    #[default]
    Scan,
    /// One of its readings: a scan is as many messages.
    Point,
}

/// The codecs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecKind {
    /// One JSON object a record.
    Json,
}
