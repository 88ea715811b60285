//! The store under test, the process it lives in, and the disk below it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use forebay::reading::{Body, Clock, EventName, Outlet, Reading, Record, SystemClock, Value};
use forebay::store::engine::Engine;
use forebay::store::settings::{Start, StoreSettings, WhenFull};
use forebay::store::{self, Inlet, ReadLimit, Store, Writer};

use super::Step;
use super::queue::{Queue, UPSTREAMS};
use crate::store::rigged::{How, Op, Rigged};
use crate::store::sample::{description, event, name, scan, settings};
use crate::store::stepping::Stepped;

/// A scan of so many readings fills a block, so that what follows it in a commit goes into another.
const FULL: usize = 20_000;

/// How a process ends.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) enum End {
    Stop,
    Kill,
    /// Of what was not synced so many changes stay.
    PowerCut(usize),
    /// Killed, and then a block is gone, which one by this.
    Damage(u8),
}

pub(super) enum Medium {
    Memory(Rigged),
    Disk(tempfile::TempDir),
}

pub(super) struct World {
    medium: Medium,
    settings: StoreSettings,
    inlet: Inlet,
    store: Store,
    /// `None` only between two lives.
    writer: Option<Writer>,
    titles: u32,
}

fn inlet() -> Inlet {
    Inlet::new(Clock::new(SystemClock::new()))
}

fn open(medium: &Medium, settings: &StoreSettings, inlet: &Inlet) -> (Store, Writer) {
    let (store, writer) = match medium {
        Medium::Memory(rigged) => {
            let Stepped { store, writer, .. } = Stepped::open_with(rigged.clone(), settings, inlet);
            (store, writer)
        }
        Medium::Disk(_) => store::open(settings, Clock::new(SystemClock::new()), inlet).unwrap(),
    };
    for upstream in UPSTREAMS {
        store.register(&name(upstream), Start::Oldest);
    }
    (store, writer)
}

impl World {
    pub(super) fn open(medium: Medium, when_full: WhenFull) -> Self {
        let (dir, max_size) = match &medium {
            Medium::Memory(_) => (Path::new("/nowhere"), 8_000),
            // Always too large: at the start of each life the oldest goes.
            Medium::Disk(dir) => (dir.path(), 1),
        };
        let settings = StoreSettings {
            max_size,
            when_full,
            commit_window: std::time::Duration::ZERO,
            ..settings(dir)
        };
        let inlet = inlet();
        let (store, writer) = open(&medium, &settings, &inlet);
        Self {
            medium,
            settings,
            inlet,
            store,
            writer: Some(writer),
            titles: 0,
        }
    }

    pub(super) async fn go(&mut self, step: &Step, queue: &mut Queue) {
        match step {
            Step::Put { device, what } => self.put(*device, *what, queue),
            Step::Turn => self.turn(queue).await,
            Step::Take {
                upstream,
                count,
                gap,
                refused,
            } => self.take(*upstream, *count, *gap, *refused, queue).await,
            Step::Order { op, after, how } => {
                if let Medium::Memory(rigged) = &self.medium {
                    let how = match (op, how) {
                        // Only the writer's own panics are of interest.
                        (Op::Read, How::Panics | How::PanicsAfter) => How::Damaged,
                        _ => *how,
                    };
                    rigged.order_after(*op, *after, 1, how);
                }
            }
            Step::Restart(end) => self.restart(*end, queue).await,
        }
    }

    fn put(&mut self, device: u8, what: u8, queue: &mut Queue) {
        let title = format!("d{device}");
        self.inlet.put(match what {
            0 | 1 => event(&title, EventName::DeviceOnline),
            2 | 3 => {
                self.titles += 1;
                description(&title, &self.titles.to_string())
            }
            _ => {
                let mut observation = scan(&title, 0, 12);
                if let Body::Scan(scan) = &mut observation.body {
                    let number = queue.number(device);
                    scan.readings[0] = Some(Reading::good(Value::Int(number)));
                    if what == 15 {
                        scan.readings.resize(FULL, None);
                    }
                }
                observation
            }
        });
    }

    async fn turn(&mut self, queue: &mut Queue) {
        let done = queue.done_by_now();
        let before = *self.store.head().borrow();
        let mut healthy = self.store.status().trouble.is_none();
        let mut writer = self.writer.take().unwrap();
        let turned = catch_unwind(AssertUnwindSafe(move || {
            writer.turn();
            writer
        }));
        // Else it may have found that an earlier block was written after all.
        healthy &= turned.is_ok() && self.store.status().trouble.is_none();
        match turned {
            Ok(writer) => self.writer = Some(writer),
            Err(_) => self.open_again(queue),
        }
        self.look(queue).await;
        if healthy && *self.store.head().borrow() > before {
            queue.is_sure(done);
        }
    }

    /// As the gateway does it when the writer has panicked: with the same inlet.
    fn open_again(&mut self, queue: &mut Queue) {
        if let Medium::Memory(rigged) = &self.medium {
            rigged.heal();
        }
        let (store, writer) = open(&self.medium, &self.settings, &self.inlet);
        (self.store, self.writer) = (store, Some(writer));
        self.opened(queue);
    }

    fn opened(&mut self, queue: &mut Queue) {
        queue.check_cursors(&self.store);
        for (place, upstream) in UPSTREAMS.into_iter().enumerate() {
            queue.begin(place, self.store.cursor(&name(upstream)));
        }
    }

    async fn read(&self, from: u64, records: usize) -> Vec<Arc<Record>> {
        let limit = ReadLimit {
            records,
            bytes: 1 << 20,
        };
        self.store.read(from, limit).await.unwrap_or_default()
    }

    /// Notes what was announced since.
    pub(super) async fn look(&self, queue: &mut Queue) {
        loop {
            let read = self.read(queue.last() + 1, 1000).await;
            if read.is_empty() {
                return;
            }
            read.iter().for_each(|record| queue.announce(record));
        }
    }

    async fn take(
        &self,
        upstream: usize,
        count: usize,
        gap: usize,
        refused: Option<usize>,
        queue: &mut Queue,
    ) {
        self.look(queue).await;
        let of = name(UPSTREAMS[upstream]);
        let mut confirmed = forebay::reading::RangeSet::new();
        for (place, record) in self
            .read(queue.consumers[upstream].next, count)
            .await
            .iter()
            .enumerate()
        {
            let seq = record.seq;
            queue.consumers[upstream].next = seq + 1;
            if queue.last() < seq || self.store.cursor(&of).contains(seq) {
                continue;
            }
            if refused == Some(place) {
                self.store.refuse(&of, seq, "no".to_owned(), 7);
            } else {
                queue.receive(upstream, record);
                if place % gap > 0 {
                    confirmed.insert(seq, seq);
                }
            }
            if refused == Some(place) || place % gap > 0 {
                queue.finish(upstream, seq);
            }
        }
        self.store.confirm(&of, &confirmed);
    }

    async fn restart(&mut self, end: End, queue: &mut Queue) {
        let writer = self.writer.take().unwrap();
        if let Medium::Memory(rigged) = &self.medium {
            rigged.heal();
        }
        match end {
            End::Stop => {
                writer.close();
                self.look(queue).await;
            }
            End::Kill | End::PowerCut(_) | End::Damage(_) => drop(writer),
        }
        // No handle on the engine is left.
        self.inlet = inlet();
        if let Medium::Memory(rigged) = &self.medium {
            match end {
                End::PowerCut(kept) => rigged.power_cut(kept),
                End::Damage(which) => {
                    let blocks = rigged.engine().blocks(0).count();
                    queue.damage(rigged.lose_block(usize::from(which) % blocks.max(1)));
                }
                End::Stop | End::Kill => (),
            }
        }
        let (store, writer) = open(&self.medium, &self.settings, &self.inlet);
        (self.store, self.writer) = (store, Some(writer));
        self.opened(queue);
        self.look(queue).await;
    }

    /// Stops in order, and delivers all there is to everybody.
    pub(super) async fn end(mut self, queue: &mut Queue) {
        self.settings.max_size = 1 << 30;
        for _ in 0..2 {
            self.restart(End::Stop, queue).await;
            for _ in 0..12 {
                self.turn(queue).await;
            }
        }
        for upstream in 0..UPSTREAMS.len() {
            while queue.consumers[upstream].next <= queue.last() {
                let next = queue.consumers[upstream].next;
                self.take(upstream, 1000, usize::MAX, None, queue).await;
                if queue.consumers[upstream].next == next {
                    break;
                }
            }
        }
        queue.check_complete();
    }
}
