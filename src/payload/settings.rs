//! What messages look like.

/// The codec and its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadSettings {
    /// The codec.
    pub codec: CodecKind,
    /// Integers beyond 2^53 as text.
    pub integers_as_text: bool,
}

/// The codecs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodecKind {
    /// One JSON object a record.
    Json,
}
