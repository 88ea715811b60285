//! When which scan class is due; pure, time is an argument.

use std::time::Duration;

use crate::reading::Stamp;

/// The scan classes of a line and when each is due next.
#[derive(Debug, Default)]
pub struct Schedule {
    entries: Vec<Entry>,
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

#[derive(Debug)]
struct Entry {
    device: usize,
    class: usize,
    /// `None`: only when it is asked for.
    period_ns: Option<u64>,
    due_ns: Option<u64>,
}

const DAY_NS: u64 = 86_400_000_000_000;

impl Schedule {
    /// Adds a class that is due at once, and then with its period; `None`: only when [`Schedule::at_once`] says so.
    pub fn add(&mut self, device: usize, class: usize, period: Option<Duration>, now: Stamp) {
        let period_ns =
            period.map(|period| u64::try_from(period.as_nanos()).unwrap_or(u64::MAX).max(1));
        self.entries.push(Entry {
            device,
            class,
            period_ns,
            due_ns: Some(now.boot_ns),
        });
    }

    /// The class that is due longest, or when the next one will be.
    pub fn next(&self, now: Stamp) -> Next {
        let due = self.entries.iter().filter_map(|e| Some((e.due_ns?, e)));
        match due.min_by_key(|&(due, _)| due) {
            None => Next::Nothing,
            Some((due, entry)) if due <= now.boot_ns => Next::Now(entry.device, entry.class),
            Some((due, _)) => Next::At(due),
        }
    }

    /// Notes that a class was served, and finds its next tick: the first after `now`, so that ticks that were missed are
    /// skipped; on the wall clock's grid where the period divides a day, else whole periods after the tick before.
    pub fn served(&mut self, device: usize, class: usize, now: Stamp) {
        let mut entries = self.entries.iter_mut();
        let Some(entry) = entries.find(|e| e.device == device && e.class == class) else {
            return;
        };
        let (Some(period), Some(due)) = (entry.period_ns, entry.due_ns) else {
            entry.due_ns = None;
            return;
        };
        let due = if DAY_NS.is_multiple_of(period) {
            // At least half a period after the last tick: a clock that is being adjusted makes no tick twice.
            let after = now.boot_ns.max(due.saturating_add(period / 2));
            let offset = i128::from(now.wall_ns) - i128::from(now.boot_ns);
            let past = (i128::from(after) + offset).rem_euclid(i128::from(period));
            let past = u64::try_from(past).unwrap_or(0);
            after.saturating_add(period - past)
        } else {
            let missed = now.boot_ns.saturating_sub(due) / period;
            due.saturating_add(period.saturating_mul(missed + 1))
        };
        entry.due_ns = Some(due);
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
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn at(ms: u64) -> Stamp {
        Stamp {
            // The wall clock is 300 ms past a full second when the machine has run for 0 ms.
            wall_ns: 1_700_000_000_300_000_000 + i64::try_from(ms * MS).unwrap(),
            boot_ns: ms * MS,
            ..Stamp::default()
        }
    }

    fn schedule(periods_ms: &[u64]) -> Schedule {
        let mut schedule = Schedule::default();
        for (class, &period) in periods_ms.iter().enumerate() {
            schedule.add(0, class, Some(Duration::from_millis(period)), at(0));
        }
        schedule
    }

    #[test]
    fn ticks_are_on_the_wall_clock_and_do_not_drift() {
        let mut schedule = schedule(&[1000]);
        assert_eq!(schedule.next(at(0)), Next::Now(0, 0));
        schedule.served(0, 0, at(40));
        for second in 0..1000 {
            let tick = 700 + 1000 * second;
            assert_eq!(schedule.next(at(tick - 1)), Next::At(tick * MS));
            assert_eq!(schedule.next(at(tick)), Next::Now(0, 0));
            // Whenever it is served within its period, the next tick is on the grid.
            schedule.served(0, 0, at(tick + 37 * second % 1000));
        }
    }

    #[test]
    fn missed_ticks_are_skipped() {
        let mut schedule = schedule(&[100]);
        schedule.served(0, 0, at(5));
        assert_eq!(schedule.next(at(5)), Next::At(100 * MS));
        schedule.served(0, 0, at(12_345));
        assert_eq!(schedule.next(at(12_345)), Next::At(12_400 * MS));
    }

    #[test]
    fn periods_that_divide_no_day_keep_their_distance() {
        let mut schedule = schedule(&[7_000_000]);
        schedule.served(0, 0, at(3));
        assert_eq!(schedule.next(at(3)), Next::At(7_000_000 * MS));
        schedule.served(0, 0, at(14_000_001));
        assert_eq!(schedule.next(at(14_000_001)), Next::At(21_000_000 * MS));
    }

    #[test]
    fn a_clock_that_steps_moves_the_grid_by_less_than_a_period() {
        let mut schedule = schedule(&[1000]);
        schedule.served(0, 0, at(0));
        for step_ms in [-86_400_123, -250, 250, 3_600_017] {
            let mut now = at(700);
            now.wall_ns += step_ms * i64::try_from(MS).unwrap();
            schedule.entries[0].due_ns = Some(now.boot_ns);
            schedule.served(0, 0, now);
            let Next::At(due) = schedule.next(now) else {
                panic!("due at once")
            };
            let wait = due - now.boot_ns;
            assert!((500 * MS..=1500 * MS).contains(&wait), "{step_ms}: {wait}");
        }
    }

    #[test]
    fn the_longest_due_is_first_and_once_is_only_on_demand() {
        let mut schedule = schedule(&[100, 1000]);
        schedule.add(1, 0, None, at(0));
        for class in 0..2 {
            assert_eq!(schedule.next(at(0)), Next::Now(0, class));
            schedule.served(0, class, at(0));
        }
        assert_eq!(schedule.next(at(0)), Next::Now(1, 0));
        schedule.served(1, 0, at(0));
        assert_eq!(schedule.next(at(0)), Next::At(100 * MS));
        schedule.at_once(1, at(50));
        assert_eq!(schedule.next(at(2000)), Next::Now(1, 0));
        schedule.served(1, 0, at(2000));
        assert_eq!(schedule.next(at(2000)), Next::Now(0, 0));
    }
}
