//! The way into the store: what the field saw waits here, within a bound, until the writer takes it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::reading::{
    Body, Clock, Description, Detail, Event, EventName, Name, Observation, Outlet, Record,
};

/// Most that waits, in readings; an observation counts for eight more. About 4 MB, and what their texts take: at 25,000
/// values a second a disk may stall for 7 seconds, and a slower plant's for minutes, before anything falls out.
pub const MOST_WAITING: usize = 200_000;
/// What an observation takes beside its readings, in readings.
const OVERHEAD: usize = 8;

/// The store's entrance. It exists before the store is open; lines put into it, the writer takes out.
#[derive(Clone)]
pub struct Inlet {
    queue: Arc<Queue>,
}

impl Inlet {
    /// An empty one. `clock` dates the events that tell what fell out.
    pub fn new(clock: Clock) -> Self {
        Self {
            queue: Arc::new(Queue {
                clock,
                waiting: Mutex::default(),
                bell: Condvar::new(),
            }),
        }
    }

    pub(super) fn queue(&self) -> Arc<Queue> {
        Arc::clone(&self.queue)
    }
}

impl Outlet for Inlet {
    fn put(&self, observation: Observation) {
        self.queue.put(observation);
    }
}

/// What fell out of a device's observations.
#[derive(Debug)]
struct Overflow {
    count: u64,
    from: i64,
    to: i64,
}

#[derive(Default)]
struct Waiting {
    /// With the order of arrival: scans may fall out, the rest stays as long as there is a scan.
    scans: VecDeque<(u64, Observation)>,
    others: VecDeque<(u64, Observation)>,
    arrived: u64,
    /// Of all that waits, what was taken ahead included.
    weight: usize,
    /// Of what was taken ahead.
    ahead: usize,
    overflow: BTreeMap<Option<Name>, Overflow>,
    /// The last description of each device: a new stream begins with them.
    described: BTreeMap<Name, Arc<Description>>,
    /// What a writer that panicked had taken out.
    left: Option<Left>,
    /// The writer, or whoever builds ahead for it while it is busy, sleeps until so much waits.
    wanted: Option<usize>,
    /// Whoever sleeps is to look at what else there is to do.
    rung: bool,
}

/// What a writer that panicked leaves to the next one.
pub(super) struct Left {
    /// Numbered; perhaps on disk.
    pub(super) pending: Vec<Arc<Record>>,
    /// Not numbered yet.
    pub(super) own: VecDeque<Observation>,
}

/// The queue between the field and the writer, and the bell that wakes the writer, or whoever builds ahead for it.
pub(super) struct Queue {
    clock: Clock,
    waiting: Mutex<Waiting>,
    bell: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, observation: Observation) {
        let mut waiting = self.lock();
        waiting.weight = waiting.weight.saturating_add(weight(&observation));
        waiting.arrived = waiting.arrived.saturating_add(1);
        if let Body::Description(description) = &observation.body {
            let device = description.device.clone();
            waiting.described.insert(device, Arc::clone(description));
        }
        let item = (waiting.arrived, observation);
        match item.1.body {
            Body::Scan(_) => waiting.scans.push_back(item),
            Body::Event(_) | Body::Description(_) => waiting.others.push_back(item),
        }
        while waiting.weight > MOST_WAITING && waiting.drop_one() {}
        if waiting.wanted.is_some_and(|least| waiting.has(least)) {
            waiting.wanted = None;
            drop(waiting);
            self.bell.notify_one();
        }
    }

    /// Wakes the writer, or whoever builds ahead for it, whatever it waits for.
    pub(super) fn ring(&self) {
        self.lock().rung = true;
        self.bell.notify_one();
    }

    /// Sleeps until [`Self::ring`], `until`, or so much is there; 1 is anything.
    pub(super) fn wait(&self, least: usize, until: Option<Instant>) {
        let mut waiting = self.lock();
        while !(waiting.rung || waiting.has(least)) {
            waiting.wanted = Some(least);
            waiting = match until.map(|until| until.saturating_duration_since(Instant::now())) {
                None => self
                    .bell
                    .wait(waiting)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(left) if left.is_zero() => break,
                Some(left) => {
                    self.bell
                        .wait_timeout(waiting, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
        waiting.wanted = None;
        waiting.rung = false;
    }

    /// Sleeps until [`Self::ring`], or so much is there behind what was taken ahead.
    pub(super) fn wait_behind(&self, least: usize) {
        let ahead = self.lock().ahead;
        self.wait(ahead.saturating_add(least), None);
    }

    /// Whether so much waits to be committed.
    pub(super) fn has(&self, least: usize) -> bool {
        self.lock().has(least)
    }

    /// Whether anything waits to be committed.
    pub(super) fn has_any(&self) -> bool {
        self.lock().has_any()
    }

    /// The last description of each device, as observed now.
    pub(super) fn described(&self) -> Vec<Observation> {
        let stamp = self.clock.now();
        let waiting = self.lock();
        let described = waiting.described.values().map(|description| Observation {
            stamp,
            body: Body::Description(Arc::clone(description)),
        });
        described.collect()
    }

    /// Keeps what a writer had taken out for the next one.
    pub(super) fn leave(&self, left: Left) {
        self.lock().left = Some(left);
    }

    /// The first `seq` of the batch that a writer which panicked had under way, and the `seq` behind its last.
    pub(super) fn failed(&self) -> Option<(u64, u64)> {
        let waiting = self.lock();
        let pending = &waiting.left.as_ref()?.pending;
        let last = pending.last()?.seq;
        Some((pending.first()?.seq, last.saturating_add(1)))
    }

    /// What the writer before left.
    pub(super) fn left(&self) -> Option<Left> {
        self.lock().left.take()
    }

    /// Takes scans, oldest first, up to about `most` readings, up to the first observation that is none. They count as
    /// waiting until the next [`Self::take`].
    /// `None`: that is the first, and nothing can be taken ahead of it.
    pub(super) fn take_ahead(&self, most: usize) -> Option<Vec<Observation>> {
        let mut waiting = self.lock();
        let (mut taken, mut left) = (Vec::new(), most);
        while left > 0
            && waiting.overflow.is_empty()
            && waiting.scan_is_first()
            && let Some((_, scan)) = waiting.scans.pop_front()
        {
            left = left.saturating_sub(weight(&scan));
            waiting.ahead = waiting.ahead.saturating_add(weight(&scan));
            taken.push(scan);
        }
        let nothing_else = waiting.overflow.is_empty() && waiting.others.is_empty();
        (nothing_else || !taken.is_empty()).then_some(taken)
    }

    /// Takes what waits, oldest first, up to about `most` readings, with an event for each device of which
    /// something fell out. What was taken ahead does not wait any more.
    pub(super) fn take(&self, most: usize) -> Vec<Observation> {
        let mut waiting = self.lock();
        waiting.weight = (waiting.weight).saturating_sub(std::mem::take(&mut waiting.ahead));
        let mut taken: Vec<Observation> = std::mem::take(&mut waiting.overflow)
            .into_iter()
            .map(|(device, lost)| Observation {
                stamp: self.clock.now(),
                body: Body::Event(told(device, &lost)),
            })
            .collect();
        let mut left = most;
        while left > 0
            && let Some(observation) = waiting.pop()
        {
            left = left.saturating_sub(weight(&observation));
            taken.push(observation);
        }
        taken
    }
}

impl Waiting {
    fn has_any(&self) -> bool {
        self.weight > 0 || !self.overflow.is_empty()
    }

    fn has(&self, least: usize) -> bool {
        self.weight >= least.max(1) || least <= 1 && self.has_any()
    }

    /// Whether the oldest of what waits is a scan.
    fn scan_is_first(&self) -> bool {
        match (self.scans.front(), self.others.front()) {
            (Some((scan, _)), Some((other, _))) => scan < other,
            (scan, _) => scan.is_some(),
        }
    }

    fn pop(&mut self) -> Option<Observation> {
        let queue = if self.scan_is_first() {
            &mut self.scans
        } else {
            &mut self.others
        };
        let (_, observation) = queue.pop_front()?;
        self.weight = self.weight.saturating_sub(weight(&observation));
        Some(observation)
    }

    /// Lets the oldest scan go; where there is none, the oldest of the rest.
    fn drop_one(&mut self) -> bool {
        let Some((_, dropped)) = self.scans.pop_front().or_else(|| self.others.pop_front()) else {
            return false;
        };
        self.weight = self.weight.saturating_sub(weight(&dropped));
        let time = dropped.stamp.wall_ns;
        let lost = self.overflow.entry(dropped.body.device().cloned());
        let lost = lost.or_insert(Overflow {
            count: 0,
            from: time,
            to: time,
        });
        lost.count += 1;
        lost.from = lost.from.min(time);
        lost.to = lost.to.max(time);
        true
    }
}

fn told(device: Option<Name>, lost: &Overflow) -> Event {
    let mut event = Event::gateway(EventName::BufferOverflow);
    event.device = device;
    event
        .with(
            "count",
            Detail::Int(lost.count.try_into().unwrap_or(i64::MAX)),
        )
        .with("time", Detail::Times(lost.from, lost.to))
}

/// How much an observation counts.
pub(super) fn weight(observation: &Observation) -> usize {
    OVERHEAD + readings(&observation.body)
}

/// How many readings, or what takes as much memory.
pub(super) fn readings(body: &Body) -> usize {
    match body {
        Body::Scan(scan) => scan.readings.len(),
        Body::Event(event) => event.detail.len() * 6,
        Body::Description(_) => 0,
    }
}

#[cfg(test)]
pub(super) mod tests;
