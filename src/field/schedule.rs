//! When which scan class is due, and what is left out where a line cannot serve them all; pure, time is an argument.
//!
//! Of the classes that are due the one with the earliest deadline is served, the end of its period. A line that needs more
//! than its time could not keep any order: then every class leaves out the same share of its ticks, so that a fast class
//! does not starve a slow one, nor the other way round. What is read stays on the clock's grid: nothing drifts.

use std::time::Duration;

use crate::reading::Stamp;

/// The scan classes of a line and when each is due next.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: Vec<Entry>,
    overload: Overload,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// This class (device, class) is due.
    Now(usize, usize),
    /// Nothing before this moment (`boot_ns`).
    At(u64),
    /// Nothing at all.
    Nothing,
}

/// What serving a class took of the line's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Took {
    /// This, as it will again.
    Time(Duration),
    /// Nothing that says how long it takes as a rule: it failed, or was read in another way than planned.
    Unknown,
    /// Nothing: its device is not asked.
    Nothing,
}

/// A class that takes time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Share {
    /// The device.
    pub device: usize,
    /// Its class.
    pub class: usize,
    /// The time of one scan.
    pub cost: Duration,
    /// The period.
    pub period: Duration,
}

impl Share {
    /// The share of the line's time; 1.0 is all of it.
    pub fn load(&self) -> f64 {
        self.cost.as_secs_f64() / self.period.as_secs_f64()
    }
}

#[derive(Debug)]
struct Entry {
    device: usize,
    class: usize,
    /// `None`: only when it is asked for.
    period_ns: Option<u64>,
    due_ns: Option<u64>,
    /// What a scan takes.
    cost_ns: f64,
    /// Whether its device is asked at all.
    is_asked: bool,
    /// Ticks that it may still take while the line is overloaded.
    credit: f64,
}

/// Whether ticks are left out.
#[derive(Debug, Default)]
struct Overload {
    is_on: bool,
    /// Since when it is the other way round.
    since_ns: Option<u64>,
    is_news: bool,
}

const DAY_NS: u64 = 86_400_000_000_000;

/// The deadline of a class without a period: it is not urgent, but it must have its turn.
const ONCE_NS: u64 = 10_000_000_000;

/// A line is overloaded when it has been for so long: one scan that took long is no overload.
const PATIENCE_NS: u64 = 5_000_000_000;

/// It is no longer overloaded below this load: the estimate wavers.
const RELIEF: f64 = 0.95;

/// How much of the line's time is given out while it is overloaded: what is late at a tick has room to catch up.
const GIVEN: f64 = 0.98;

/// The golden section: its multiples spread evenly over the unit, however many there are.
const GOLDEN: f64 = 0.618_033_988_75;

/// How much a new measurement counts against all earlier ones.
const NEWEST: f64 = 0.25;

impl Schedule {
    /// Adds a class that is due at once, and then with its period; `None`: only when [`Schedule::at_once`] says so.
    /// `cost`: the bus time of a scan by the plan.
    pub fn add(
        &mut self,
        (device, class): (usize, usize),
        period: Option<Duration>,
        cost: Duration,
        now: Stamp,
    ) {
        self.entries.push(Entry {
            device,
            class,
            period_ns: period.map(|period| nanoseconds(period).max(1)),
            due_ns: Some(now.boot_ns),
            cost_ns: cost.as_secs_f64() * 1e9,
            is_asked: true,
            credit: 1.0,
        });
    }

    /// Of the classes that are due the one with the earliest deadline, or when the next one will be.
    pub fn next(&self, now: Stamp) -> Next {
        let due = self.entries.iter().filter_map(|e| Some((e.due_ns?, e)));
        let ready = due.clone().filter(|&(due, _)| due <= now.boot_ns);
        let deadline =
            |(due, entry): &(u64, &Entry)| due.saturating_add(entry.period_ns.unwrap_or(ONCE_NS));
        // Of two that are equally urgent, the one that was left out more.
        let urgency = |a: &(u64, &Entry), b: &(u64, &Entry)| {
            let left_out = b.1.credit.total_cmp(&a.1.credit);
            deadline(a).cmp(&deadline(b)).then(left_out)
        };
        match ready.min_by(urgency) {
            Some((_, entry)) => Next::Now(entry.device, entry.class),
            None => match due.map(|(due, _)| due).min() {
                Some(due) => Next::At(due),
                None => Next::Nothing,
            },
        }
    }

    /// Notes that a class was served, and finds its next tick: the first after `now`, so that ticks that were missed are
    /// skipped; on the wall clock's grid where the period divides a day, else whole periods after the tick before.
    pub fn served(&mut self, device: usize, class: usize, took: Took, now: Stamp) {
        let kept = self.kept();
        let mut entries = self.entries.iter_mut();
        let Some(entry) = entries.find(|e| e.device == device && e.class == class) else {
            return;
        };
        entry.note(took);
        let (Some(period), Some(due)) = (entry.period_ns, entry.due_ns) else {
            entry.due_ns = None;
            return;
        };
        let mut next = next_tick(period, due, now);
        let passed = next.saturating_sub(due).saturating_add(period / 2) / period;
        #[allow(clippy::cast_precision_loss, reason = "a count of ticks")]
        let passed = passed as f64;
        // Those that were missed anyway count as left out. Two ticks at the most are saved up: no bunch.
        entry.credit = (entry.credit + kept * passed).min(2.0);
        while entry.credit < 1.0 {
            entry.credit += kept;
            next = next.saturating_add(period);
        }
        entry.credit -= 1.0;
        entry.due_ns = Some(next);
        self.judge(now.boot_ns);
    }

    /// Makes the classes without a period due: the line has been opened.
    pub fn opened(&mut self, now: Stamp) {
        for entry in self.entries.iter_mut().filter(|e| e.period_ns.is_none()) {
            entry.due_ns = Some(now.boot_ns);
        }
    }

    /// Makes the classes of `device` due at once: it has just come back.
    pub fn at_once(&mut self, device: usize, now: Stamp) {
        for entry in self.entries.iter_mut().filter(|e| e.device == device) {
            entry.due_ns = Some(entry.due_ns.unwrap_or(u64::MAX).min(now.boot_ns));
        }
    }

    /// The share of its time that the line needs: 1.37 is more than there is.
    pub fn load(&self) -> f64 {
        self.shares().map(|share| share.load()).sum()
    }

    /// Which share of their ticks the classes have: 1.0 unless the line is overloaded.
    pub fn kept(&self) -> f64 {
        if self.overload.is_on {
            (GIVEN / self.load()).clamp(0.01, 1.0)
        } else {
            1.0
        }
    }

    /// Whether the line is overloaded, where that has changed since it was asked last.
    pub fn news(&mut self) -> Option<bool> {
        std::mem::take(&mut self.overload.is_news).then_some(self.overload.is_on)
    }

    /// The classes that take time, the heaviest first.
    pub fn heaviest(&self) -> Vec<Share> {
        let mut shares: Vec<_> = self.shares().collect();
        shares.sort_by(|a, b| b.load().total_cmp(&a.load()));
        shares
    }

    fn shares(&self) -> impl Iterator<Item = Share> {
        let asked = self.entries.iter().filter(|entry| entry.is_asked);
        asked.filter_map(|entry| {
            Some(Share {
                device: entry.device,
                class: entry.class,
                cost: Duration::from_secs_f64(entry.cost_ns / 1e9),
                period: Duration::from_nanos(entry.period_ns?),
            })
        })
    }

    fn judge(&mut self, now_ns: u64) {
        let bound = if self.overload.is_on { RELIEF } else { 1.0 };
        if (self.load() > bound) == self.overload.is_on {
            self.overload.since_ns = None;
            return;
        }
        let since = *self.overload.since_ns.get_or_insert(now_ns);
        if now_ns.saturating_sub(since) >= PATIENCE_NS {
            self.overload = Overload {
                is_on: !self.overload.is_on,
                since_ns: None,
                is_news: true,
            };
            // Were all to leave out the same ticks, the line would idle then and be late at the others.
            let mut phase = 0.0;
            for entry in &mut self.entries {
                phase = (phase + GOLDEN) % 1.0;
                entry.credit = phase;
            }
        }
    }
}

impl Entry {
    fn note(&mut self, took: Took) {
        match took {
            Took::Time(took) => {
                let measured = took.as_secs_f64() * 1e9;
                self.cost_ns += (measured - self.cost_ns) * NEWEST;
                self.is_asked = true;
            }
            Took::Unknown => self.is_asked = true,
            Took::Nothing => self.is_asked = false,
        }
    }
}

fn next_tick(period: u64, due: u64, now: Stamp) -> u64 {
    if DAY_NS.is_multiple_of(period) {
        // At least half a period after the last tick: a clock that is being adjusted makes no tick twice.
        let after = now.boot_ns.max(due.saturating_add(period / 2));
        let offset = i128::from(now.wall_ns) - i128::from(now.boot_ns);
        let past = (i128::from(after) + offset).rem_euclid(i128::from(period));
        let past = u64::try_from(past).unwrap_or(0);
        after.saturating_add(period - past)
    } else {
        let missed = now.boot_ns.saturating_sub(due) / period;
        due.saturating_add(period.saturating_mul(missed + 1))
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
