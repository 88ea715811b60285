//! What a forwarder needs of a store.

use std::fmt::Display;
use std::future::Future;

use tokio::sync::watch;

use crate::reading::{Name, RangeSet};
use crate::store::{Batch, ReadError, ReadLimit, Start, Store, Wanted};

/// Durable records in sequence, and a cursor an upstream. Cheap to clone.
pub trait Source: Clone + Send + Sync + 'static {
    /// Why records could not be read.
    type Error: Display + Send;

    /// The sequence number of the last durable record; 0: there is none. A store moves it under the lock that its reads
    /// take: whoever borrows it lets go of it before the next call.
    fn head(&self) -> watch::Receiver<u64>;

    /// What the upstream has confirmed; one that is new to the store begins as `start` says.
    fn register(&self, upstream: &Name, start: Start) -> RangeSet;

    /// The records of these devices from `from` on, in sequence, up to the limit. Numbers below [`Batch::next`] that are not
    /// among them are of other devices, or do not exist any more. It may bring nothing although there is more behind.
    fn read(
        &self,
        from: u64,
        limit: ReadLimit,
        wanted: Wanted,
    ) -> impl Future<Output = Result<Batch, Self::Error>> + Send;

    /// Whether so much of what the upstream has confirmed is safe from a crash that it may be sent more.
    fn may_send(&self, upstream: &Name) -> bool;

    /// Waits until [`Self::may_send`].
    fn sendable(&self, upstream: &Name) -> impl Future<Output = ()> + Send;

    /// Moves the upstream's cursor over these. Never waits.
    fn confirm(&self, upstream: &Name, confirmed: &RangeSet);

    /// Keeps the record as a dead letter, moves the cursor over it, and has the event told.
    fn refuse(&self, upstream: &Name, seq: u64, reason: String, payload_size: u64);
}

impl Source for Store {
    type Error = ReadError;

    fn head(&self) -> watch::Receiver<u64> {
        self.head()
    }

    fn register(&self, upstream: &Name, start: Start) -> RangeSet {
        self.register(upstream, start)
    }

    async fn read(&self, from: u64, limit: ReadLimit, wanted: Wanted) -> Result<Batch, ReadError> {
        self.read_of(from, limit, wanted).await
    }

    fn may_send(&self, upstream: &Name) -> bool {
        self.may_send(upstream)
    }

    async fn sendable(&self, upstream: &Name) {
        self.sendable(upstream).await;
    }

    fn confirm(&self, upstream: &Name, confirmed: &RangeSet) {
        self.confirm(upstream, confirmed);
    }

    fn refuse(&self, upstream: &Name, seq: u64, reason: String, payload_size: u64) {
        self.refuse(upstream, seq, reason, payload_size);
    }
}
