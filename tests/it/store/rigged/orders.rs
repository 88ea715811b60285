//! What is to go wrong, and when.

/// What a fault is waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Op {
    /// An append with a block in it.
    Block,
    /// An append without one.
    Notes,
    Sync,
    Read,
    Drop,
    Open,
}

/// What happens then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum How {
    /// Nothing of it is done.
    Fails(i32),
    /// It is done, and reported as failed.
    Lies(i32),
    /// What is there is not what was written.
    Damaged,
    /// Of a batch only what has its bit here gets onto the disk, and it is found there, behind a journal that was cut.
    Torn(u8),
    /// It waits until the test lets it pass, then goes well.
    Hangs,
    Panics,
    PanicsAfter,
}

struct Fault {
    op: Op,
    /// How many go well before.
    after: u32,
    times: u32,
    how: How,
}

/// The faults that are to come.
#[derive(Default)]
pub(super) struct Orders(Vec<Fault>);

impl Orders {
    /// Adds that `times` of `op` go wrong after `after` that do not.
    pub(super) fn add(&mut self, op: Op, after: u32, times: u32, how: How) {
        self.0.push(Fault {
            op,
            after,
            times,
            how,
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is to happen to the `op` that comes now.
    pub(super) fn next(&mut self, op: Op) -> Option<How> {
        let fault = self.0.iter_mut().find(|fault| fault.op == op)?;
        if let Some(after) = fault.after.checked_sub(1) {
            fault.after = after;
            return None;
        }
        let how = fault.how;
        fault.times = fault.times.saturating_sub(1);
        self.0.retain(|fault| fault.times > 0 || fault.after > 0);
        Some(how)
    }
}
