//! What a device has taught its line: which places it refuses, how much it takes at once, and when one of them is tried
//! again; pure, time is an argument.

use std::time::Duration;

use super::modbus::known::{Hole, Known};
use super::modbus::map::Table;
use super::modbus::search::Finding;

/// What is known of a device, and what is new in it.
#[derive(Debug, Default)]
pub struct Lessons {
    known: Known,
    /// Changes whenever plans that were made with it are out of date.
    generation: u64,
    /// Not written to disk yet.
    is_new: bool,
    /// No hole is tried again before this moment (`boot_ns`).
    due_ns: u64,
    wait: Duration,
}

/// A hole is tried again after so long at first, one at a time; it doubles. An inverter has no registers of its strings
/// at night, and some devices refuse everything while they start.
const FIRST_WAIT: Duration = Duration::from_secs(60);
/// And at the latest after so long: one request in an hour harms nobody.
const MOST_WAIT: Duration = Duration::from_secs(3600);

impl Lessons {
    /// What was known when the line was last polled; the first hole is tried again at once.
    pub fn new(known: Known) -> Self {
        Self {
            generation: u64::from(known != Known::default()),
            known,
            wait: FIRST_WAIT,
            ..Self::default()
        }
    }

    /// What is known.
    pub fn known(&self) -> &Known {
        &self.known
    }

    /// Changes whenever plans that were made with it are out of date.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Notes what was found out in `table`.
    pub fn learn(&mut self, table: Table, finding: Finding, now_ns: u64) {
        match finding {
            Finding::Hole(hole) if self.known.holes.contains(&hole) => return,
            Finding::Hole(hole) => self.known.holes.push(hole),
            Finding::Limit(most) if table.is_bits() => self.known.bits_per_read = Some(most),
            Finding::Limit(most) => self.known.registers_per_read = Some(most),
        }
        self.changed();
        self.wait = FIRST_WAIT;
        self.due_ns = now_ns.saturating_add(nanoseconds(self.wait));
    }

    /// The hole to try again now, if any: one of those that `matters` names.
    pub fn due(&self, now_ns: u64, matters: impl Fn(&Hole) -> bool) -> Option<Hole> {
        let mut holes = self.known.holes.iter();
        let hole = holes.find(|hole| hole.count > 0 && matters(hole))?;
        (now_ns >= self.due_ns).then_some(*hole)
    }

    /// Notes that `hole` was tried again. Where one has closed the others are tried soon.
    pub fn tried(&mut self, hole: Hole, answered: bool, now_ns: u64) {
        self.known.holes.retain(|other| *other != hole);
        if answered {
            self.wait = FIRST_WAIT;
            self.due_ns = now_ns;
            self.changed();
        } else {
            self.known.holes.push(hole);
            self.due_ns = now_ns.saturating_add(nanoseconds(self.wait));
            self.wait = (self.wait * 2).min(MOST_WAIT);
        }
    }

    /// Notes how long the device takes to answer. Worth a write to the disk only where it is no longer about the same.
    pub fn measured(&mut self, time: Duration) {
        let before = self.known.answer_time;
        if before.is_none_or(|before| before.abs_diff(time) > before / 2) {
            self.known.answer_time = Some(time);
            self.is_new = true;
        }
    }

    /// Everything is tried again.
    pub fn forget(&mut self) {
        self.known = Known {
            answer_time: self.known.answer_time,
            ..Known::default()
        };
        self.changed();
    }

    /// What is to be written to disk, once after each change.
    pub fn take_new(&mut self) -> Option<Known> {
        std::mem::take(&mut self.is_new).then(|| self.known.clone())
    }

    fn changed(&mut self) {
        self.generation += 1;
        self.is_new = true;
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn hole(address: u16) -> Hole {
        Hole {
            table: Table::InputRegister,
            address,
            count: 1,
            exception: 2,
        }
    }

    #[test]
    fn holes_are_tried_again_in_turn_and_ever_less_often() {
        let mut lessons = Lessons::new(Known::default());
        for address in 0..2 {
            lessons.learn(Table::InputRegister, Finding::Hole(hole(address)), 0);
        }
        assert_eq!(lessons.generation(), 2);
        let mut tries = Vec::new();
        for second in 0..10 * 3600 {
            let now = second * SECOND;
            if let Some(hole) = lessons.due(now, |_| true) {
                tries.push((second, hole.address));
                lessons.tried(hole, false, now);
            }
        }
        assert_eq!(tries[..4], [(60, 0), (120, 1), (240, 0), (480, 1)]);
        assert!((12..16).contains(&tries.len()), "{}", tries.len());
        assert_eq!(lessons.generation(), 2, "nothing new");
    }

    #[test]
    fn an_answer_time_is_kept_where_it_is_another() {
        let mut lessons = Lessons::new(Known::default());
        let ms = Duration::from_millis;
        lessons.measured(ms(10));
        assert!(lessons.take_new().is_some());
        lessons.measured(ms(14));
        assert_eq!(lessons.take_new(), None);
        lessons.measured(ms(16));
        lessons.forget();
        let kept = lessons.take_new().unwrap();
        assert_eq!(kept.answer_time, Some(ms(16)));
    }

    #[test]
    fn where_one_has_closed_the_others_are_tried_at_once() {
        let mut lessons = Lessons::new(Known {
            holes: (0..3).map(hole).collect(),
            ..Known::default()
        });
        while let Some(hole) = lessons.due(7, |_| true) {
            lessons.tried(hole, true, 7);
        }
        assert_eq!(lessons.known(), &Known::default());
        assert_eq!(lessons.take_new(), Some(Known::default()));
        assert_eq!(lessons.take_new(), None);
    }
}
