//! What a forwarder does at present.

/// A forwarder's state and counts since it was started.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ForwarderStatus {
    /// The link to the broker.
    pub link: Link,
    /// Messages handed to connections, repetitions among them.
    pub submitted: u64,
    /// Records that the broker acknowledged.
    pub confirmed: u64,
    /// Records handed over where there is no acknowledgement.
    pub sent: u64,
    /// Records that the broker refused for good.
    pub refused: u64,
    /// Connections that were made.
    pub connects: u64,
    /// The oldest record that is not confirmed.
    pub oldest_unconfirmed: u64,
    /// What went wrong last.
    pub last_error: Option<String>,
}

/// The link to the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    /// No connection yet, or a broken one that is made anew.
    #[default]
    Connecting,
    /// Connected.
    Up,
    /// Connected, but the broker takes nothing for now.
    Blocked,
    /// Given up until something changes at the broker or in the configuration; tried again seldom.
    Stopped,
    /// The forwarder has ended.
    Ended,
}
