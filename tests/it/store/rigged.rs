//! An engine in memory that fails on order, as a disk does, and forgets on a power cut what was not synced.

mod orders;

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use forebay::store::engine::{
    Blocks, Engine, EngineError, Keyed, Kind, Medium, MemoryEngine, Opening, Write, one_by_one,
};

use orders::Orders;
pub(super) use orders::{How, Op};

pub(super) const ENOSPC: i32 = 28;
pub(super) const EIO: i32 = 5;
pub(super) const EROFS: i32 = 30;

#[derive(Clone)]
enum Change {
    Append(Vec<Write>),
    Drop(u64),
}

#[derive(Default)]
struct Rig {
    /// What is there as long as the power is.
    live: MemoryEngine,
    /// What a power cut leaves.
    disk: MemoryEngine,
    unsynced: Vec<Change>,
    orders: Orders,
    /// How many have come to a place where they hang, and how many of those may pass.
    came: u32,
    may_pass: u32,
    /// Bytes of blocks after which a table would be written; 0: never.
    table: u64,
    unflushed: u64,
    free: Option<(u64, u64)>,
    /// What every append takes.
    pace: Duration,
    /// Something is torn, or was rebuilt, and nobody has taken note of it.
    changed: bool,
    /// How many blocks each batch had that had some.
    batches: Vec<usize>,
}

/// The medium; a clone shares it.
#[derive(Clone, Default)]
pub(super) struct Rigged(Arc<Mutex<Rig>>);

fn apply(engine: &MemoryEngine, change: &Change) {
    match change {
        Change::Append(batch) => engine.append(batch.clone(), true).unwrap(),
        Change::Drop(key) => engine.drop_below(*key).unwrap(),
    }
}

pub(super) fn copy(engine: &MemoryEngine) -> MemoryEngine {
    let copy = MemoryEngine::new();
    let put = |kind, (key, value): Keyed| Write {
        kind,
        key,
        value: Some(value),
    };
    let blocks = engine.blocks(0).map(Result::unwrap);
    let mut batch: Vec<Write> = blocks
        .map(|(seq, value)| put(Kind::Block, (seq.to_be_bytes().to_vec(), value)))
        .collect();
    for kind in Kind::ALL {
        if kind != Kind::Block {
            let values = engine.values(kind).unwrap().into_iter();
            batch.extend(values.map(|value| put(kind, value)));
        }
    }
    copy.append(batch, true).unwrap();
    copy
}

impl Rigged {
    /// One that behaves as if it wrote a table after `table` bytes of blocks.
    pub(super) fn with_tables(table: u64) -> Self {
        let rigged = Self::default();
        rigged.rig().table = table;
        rigged
    }

    fn rig(&self) -> MutexGuard<'_, Rig> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Orders that the next `op` goes wrong.
    pub(super) fn order(&self, op: Op, how: How) {
        self.order_after(op, 0, 1, how);
    }

    /// Orders that `times` of `op` go wrong after `after` that do not.
    pub(super) fn order_after(&self, op: Op, after: u32, times: u32, how: How) {
        self.rig().orders.add(op, after, times, how);
    }

    /// Calls all orders off; whether any was left.
    pub(super) fn heal(&self) -> bool {
        !std::mem::take(&mut self.rig().orders).is_empty()
    }

    /// The power goes: of what was not synced, the first `kept` changes stay.
    pub(super) fn power_cut(&self, kept: usize) {
        let mut rig = self.rig();
        let unsynced = std::mem::take(&mut rig.unsynced);
        unsynced
            .iter()
            .take(kept)
            .for_each(|change| apply(&rig.disk, change));
        rig.live = copy(&rig.disk);
    }

    /// What is there, to look at or to damage while nothing has it open.
    pub(super) fn engine(&self) -> MemoryEngine {
        self.rig().live.clone()
    }

    /// A block is gone, the one at `which` of those that are there, and the next opening finds damage and rebuilds. What was
    /// in it: from this `seq` to below that.
    pub(super) fn lose_block(&self, which: usize) -> Range<u64> {
        let engine = self.engine();
        let blocks: Vec<_> = engine.blocks(0).map(Result::unwrap).collect();
        let key = |n: usize| blocks.get(n).map(|(key, _)| *key);
        let end = key(which + 1).unwrap_or(u64::MAX);
        if let Some((key, _)) = blocks.get(which) {
            let gone = Write {
                kind: Kind::Block,
                key: key.to_be_bytes().to_vec(),
                value: None,
            };
            engine.append(vec![gone.clone()], true).unwrap();
            // Also after a power cut, and after a sync of what was written before.
            let mut rig = self.rig();
            for change in &mut rig.unsynced {
                if let Change::Append(batch) = change {
                    batch.retain(|write| write.kind != Kind::Block || write.key != gone.key);
                }
            }
            rig.disk.append(vec![gone], true).unwrap();
        }
        self.order(Op::Open, How::Damaged);
        key(which).unwrap_or(end)..end
    }

    /// Bytes of blocks that are in no table yet.
    pub(super) fn unflushed(&self) -> u64 {
        self.rig().unflushed
    }

    /// Sets how many bytes are free, of how many.
    pub(super) fn set_free(&self, free: Option<(u64, u64)>) {
        self.rig().free = free;
    }

    /// Sets how long every append takes, however it ends.
    pub(super) fn set_pace(&self, pace: Duration) {
        self.rig().pace = pace;
    }

    /// How many blocks there were in each batch that had some and went well.
    pub(super) fn batches(&self) -> Vec<usize> {
        self.rig().batches.clone()
    }

    /// How many have come so far to a place where they hang.
    pub(super) fn came(&self) -> u32 {
        self.rig().came
    }

    /// Lets so many more pass of those that hang, or will.
    pub(super) fn let_pass(&self, count: u32) {
        let mut rig = self.rig();
        rig.may_pass = rig.may_pass.saturating_add(count);
    }

    fn hang(&self) {
        self.rig().came += 1;
        loop {
            let mut rig = self.rig();
            if let Some(left) = rig.may_pass.checked_sub(1) {
                rig.may_pass = left;
                return;
            }
            drop(rig);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn fault(&self, op: Op) -> Option<How> {
        self.rig().orders.next(op)
    }
}

impl Medium for Rigged {
    fn open(&self, rebuild: Option<String>) -> Result<(Arc<dyn Engine>, Opening), EngineError> {
        let damaged = match self.fault(Op::Open) {
            Some(How::Fails(code) | How::Lies(code)) => {
                return Err(io::Error::from_raw_os_error(code).into());
            }
            Some(How::Damaged) => Some("on order".to_owned()),
            Some(How::Hangs) => {
                self.hang();
                None
            }
            _ => None,
        };
        let open = Open {
            rigged: self.clone(),
            stopped: AtomicBool::new(false),
        };
        let rebuilt = rebuild.or(damaged);
        let mut rig = self.rig();
        // As on disk: a rebuild tells itself, and each opening behind it, until it is settled, that something was cut.
        let cut = rig.changed && rebuilt.is_none();
        rig.changed |= rebuilt.is_some();
        let opening = Opening {
            cut: if cut { 7 } else { 0 },
            rebuilt,
            ..Opening::default()
        };
        Ok((Arc::new(open), opening))
    }

    fn settle(&self) {
        self.rig().changed = false;
    }

    fn used(&self) -> u64 {
        Medium::used(&self.rig().live)
    }

    fn free(&self) -> Option<(u64, u64)> {
        self.rig().free
    }
}

/// It once open. As on disk, after an error nothing can be written until it is opened anew.
struct Open {
    rigged: Rigged,
    stopped: AtomicBool,
}

impl Open {
    fn does<T>(
        &self,
        op: Op,
        writes: bool,
        work: impl FnOnce(&mut Rig) -> T,
    ) -> Result<T, EngineError> {
        if writes && self.stopped.load(Ordering::SeqCst) {
            return Err(EngineError::Stopped("an earlier error".to_owned()));
        }
        self.suffers(self.rigged.fault(op), writes, work)
    }

    fn suffers<T>(
        &self,
        fault: Option<How>,
        writes: bool,
        work: impl FnOnce(&mut Rig) -> T,
    ) -> Result<T, EngineError> {
        let fails = |code| {
            self.stopped.store(writes, Ordering::SeqCst);
            Err(io::Error::from_raw_os_error(code).into())
        };
        match fault {
            None => Ok(work(&mut self.rigged.rig())),
            Some(How::Hangs) => {
                self.rigged.hang();
                Ok(work(&mut self.rigged.rig()))
            }
            Some(How::Fails(code)) => fails(code),
            // Only a batch can be torn.
            Some(How::Torn(_)) => fails(EIO),
            Some(How::Lies(code)) => {
                work(&mut self.rigged.rig());
                fails(code)
            }
            Some(How::Damaged) => Err(EngineError::Damaged("on order".to_owned())),
            Some(How::Panics) => panic!("on order"),
            Some(How::PanicsAfter) => {
                work(&mut self.rigged.rig());
                panic!("on order");
            }
        }
    }
}

impl Engine for Open {
    fn append(&self, batch: Vec<Write>, durable: bool) -> Result<(), EngineError> {
        let blocks = batch.iter().filter(|write| write.kind == Kind::Block);
        let sizes = blocks.map(|write| write.value.as_ref().map_or(0, Vec::len) as u64);
        let sizes: Vec<u64> = sizes.collect();
        let (bytes, count): (u64, usize) = (sizes.iter().sum(), sizes.len());
        let op = if count == 0 { Op::Notes } else { Op::Block };
        let pace = self.rigged.rig().pace;
        std::thread::sleep(pace);
        let stopped = self.stopped.load(Ordering::SeqCst);
        let fault = (!stopped).then(|| self.rigged.fault(op)).flatten();
        if let Some(How::Torn(bits)) = fault {
            let kept = batch.into_iter().enumerate();
            // No cursor is put back out of a torn batch.
            let kept = kept.filter(|(_, write)| write.kind != Kind::Cursor);
            let kept = kept.filter(|(place, _)| bits >> (place % 8) & 1 == 1);
            let change = Change::Append(kept.map(|(_, write)| write).collect());
            let mut rig = self.rigged.rig();
            apply(&rig.live, &change);
            rig.unsynced.push(change);
            rig.changed = true;
            self.stopped.store(true, Ordering::SeqCst);
            return Err(io::Error::from_raw_os_error(EIO).into());
        }
        if stopped {
            return Err(EngineError::Stopped("an earlier error".to_owned()));
        }
        self.suffers(fault, true, |rig| {
            rig.unflushed += bytes;
            if count > 0 {
                rig.batches.push(count);
            }
            if rig.table > 0 && rig.unflushed > rig.table {
                rig.unflushed = 0;
            }
            let change = Change::Append(batch);
            apply(&rig.live, &change);
            rig.unsynced.push(change);
            if durable {
                rig.sync();
            }
        })
    }

    fn sync(&self) -> Result<(), EngineError> {
        self.does(Op::Sync, true, Rig::sync)
    }

    fn blocks(&self, from: u64) -> Blocks<'_> {
        let mut before = None;
        one_by_one(move || self.does(Op::Read, false, |rig| rig.live.follower(from, &mut before)))
    }

    fn last_block(&self) -> Result<Option<(u64, Vec<u8>)>, EngineError> {
        self.rigged.rig().live.last_block()
    }

    fn values(&self, kind: Kind) -> Result<Vec<Keyed>, EngineError> {
        self.rigged.rig().live.values(kind)
    }

    fn bytes_from(&self, key: u64) -> Result<u64, EngineError> {
        self.rigged.rig().live.bytes_from(key)
    }

    fn can_drop_below(&self, key: u64) -> Result<bool, EngineError> {
        self.rigged.rig().live.can_drop_below(key)
    }

    fn drop_below(&self, key: u64) -> Result<(), EngineError> {
        self.does(Op::Drop, true, |rig| {
            let change = Change::Drop(key);
            apply(&rig.live, &change);
            rig.unsynced.push(change);
        })
    }

    fn shrink(&self) -> Result<(), EngineError> {
        Ok(())
    }

    fn unflushed(&self) -> u64 {
        self.rigged.rig().unflushed
    }
}

impl Rig {
    fn sync(&mut self) {
        let unsynced = std::mem::take(&mut self.unsynced);
        unsynced.iter().for_each(|change| apply(&self.disk, change));
    }
}
