//! What a forwarder needs of a store.

use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;

use tokio::sync::watch;

use crate::reading::{Name, RangeSet, Record};
use crate::store::{ReadError, ReadLimit, Start, Store};

/// Durable records in sequence, and a cursor an upstream. Cheap to clone.
pub trait Source: Clone + Send + Sync + 'static {
    /// Why records could not be read.
    type Error: Display + Send;

    /// The sequence number of the last durable record; 0: there is none.
    fn head(&self) -> watch::Receiver<u64>;

    /// What the upstream has confirmed; one that is new to the store begins as `start` says.
    fn register(&self, upstream: &Name, start: Start) -> RangeSet;

    /// The records from `from` on, in sequence, up to the limit. Numbers that are not among them, up to the last one
    /// read, do not exist any more.
    fn read(
        &self,
        from: u64,
        limit: ReadLimit,
    ) -> impl Future<Output = Result<Vec<Arc<Record>>, Self::Error>> + Send;

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

    async fn read(&self, from: u64, limit: ReadLimit) -> Result<Vec<Arc<Record>>, ReadError> {
        self.read(from, limit).await
    }

    fn confirm(&self, upstream: &Name, confirmed: &RangeSet) {
        self.confirm(upstream, confirmed);
    }

    fn refuse(&self, upstream: &Name, seq: u64, reason: String, payload_size: u64) {
        self.refuse(upstream, seq, reason, payload_size);
    }
}
