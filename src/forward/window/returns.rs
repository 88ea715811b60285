//! How often records came back because nobody takes them. Pure.

use std::collections::BTreeMap;

/// Counts across connections.
#[derive(Debug)]
pub(super) struct Returns {
    /// So often, and a record is refused for good; `None`: never.
    most: Option<u32>,
    /// By record and part.
    counts: BTreeMap<(u64, u32), u32>,
    /// Most that are counted; more cannot be out and repeated.
    bound: usize,
}

impl Returns {
    pub(super) fn new(most: Option<u32>, bound: usize) -> Self {
        Self {
            most,
            counts: BTreeMap::new(),
            bound,
        }
    }

    /// Whether returns make dead letters at all.
    pub(super) fn are_counted(&self) -> bool {
        self.most.is_some()
    }

    /// A part of the record came back. `Some`: so often that it is refused.
    pub(super) fn came_back(&mut self, seq: u64, part: u32) -> Option<u32> {
        let most = self.most?;
        let count = self.counts.entry((seq, part)).or_default();
        *count += 1;
        if *count >= most {
            return Some(most);
        }
        if self.counts.len() > self.bound {
            // The newest will count from one again.
            self.counts.pop_last();
        }
        None
    }

    /// The record is dealt with.
    pub(super) fn settled(&mut self, seq: u64) {
        if self.counts.is_empty() {
            return;
        }
        let parts = self.counts.range((seq, 0)..=(seq, u32::MAX));
        let parts: Vec<_> = parts.map(|(key, _)| *key).collect();
        for part in parts {
            self.counts.remove(&part);
        }
    }
}
