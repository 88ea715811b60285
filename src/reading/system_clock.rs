//! The clocks of the operating system. The crates used here have no safe form of `adjtimex`.
#![allow(unsafe_code)]

use std::sync::{Mutex, TryLockError};

use super::{BootId, ClockSource, Stamp};

/// So long what the kernel said of the wall clock serves for further stamps: asking it takes ten times as long as reading both
/// clocks.
const SERVES_NS: u64 = 100_000_000;
/// A clock that moved by more in that time was set, which can make it unsynchronised: the kernel slews by 50 µs at the most.
const STEP_NS: u64 = 1_000_000;

/// The machine's clocks.
///
/// Whether the wall clock is synchronised is asked again after 100 ms, and at once where it was set. Until then a stamp can
/// say that it is not, although it is by now: the true time of such a stamp follows from the boot's, as that of any
/// before. Or that it is, although the kernel no longer says so: the clock has moved on steadily from when it did.
#[derive(Debug)]
pub struct SystemClock {
    boot: BootId,
    said: Mutex<Option<Said>>,
}

impl SystemClock {
    /// Reads the boot id once; where `/proc` has none (no Linux, a strict sandbox) a random one serves, which only
    /// means that times of an earlier run are not repaired.
    pub fn new() -> Self {
        let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let parsed =
            id.and_then(|text| u128::from_str_radix(&text.trim().replace('-', ""), 16).ok());
        Self {
            boot: BootId(parsed.unwrap_or_else(|| fastrand::u128(..))),
            said: Mutex::new(None),
        }
    }

    /// The present moment, with nothing said of its trust.
    fn read(&self) -> Stamp {
        let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let nanoseconds = |time: rustix::time::Timespec| {
            time.tv_sec
                .saturating_mul(1_000_000_000)
                .saturating_add(time.tv_nsec)
        };
        Stamp {
            wall_ns: nanoseconds(wall),
            boot_ns: nanoseconds(boot).try_into().unwrap_or(0),
            boot: self.boot,
            synced: false,
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl ClockSource for SystemClock {
    fn now(&self) -> Stamp {
        let now = self.read();
        // Nobody waits for another who asks.
        let synced = match self.said.try_lock() {
            Ok(mut said) => Said::serve(&mut said, now, clock_is_synchronised),
            Err(TryLockError::Poisoned(_) | TryLockError::WouldBlock) => clock_is_synchronised(),
        };
        Stamp { synced, ..now }
    }

    fn now_for_sure(&self) -> Stamp {
        Stamp {
            synced: clock_is_synchronised(),
            ..self.read()
        }
    }
}

/// What the kernel said of the wall clock.
#[derive(Debug, Clone, Copy)]
struct Said {
    when: Stamp,
    synced: bool,
}

impl Said {
    /// Whether the clock is synchronised `now`: as it was said, or as it is asked and remembered.
    fn serve(said: &mut Option<Self>, now: Stamp, ask: impl FnOnce() -> bool) -> bool {
        match said {
            Some(said) if said.holds(now) => said.synced,
            _ => {
                let synced = ask();
                *said = Some(Self { when: now, synced });
                synced
            }
        }
    }

    fn holds(self, now: Stamp) -> bool {
        let age = now.boot_ns.checked_sub(self.when.boot_ns);
        let moved = now.offset_ns().saturating_sub(self.when.offset_ns());
        age.is_some_and(|age| age < SERVES_NS) && moved.unsigned_abs() <= STEP_NS
    }
}

/// Whether the kernel holds the wall clock for synchronised: an NTP client or radio clock disciplines it.
pub fn clock_is_synchronised() -> bool {
    // SAFETY: `timex` is plain integers, all-zero is valid, and `modes = 0` makes the call read-only. The kernel writes
    // within the struct whose address it is given.
    let (state, status) = unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        (libc::adjtimex(&raw mut timex), timex.status)
    };
    state >= 0 && state != libc::TIME_ERROR && status & libc::STA_UNSYNC == 0
}

/// Sets the wall clock a nanosecond ahead, where this process may; whether it did. What the kernel says of its trust stays.
#[cfg(test)]
pub(crate) fn set_by_a_nanosecond() -> bool {
    // SAFETY: as above. With `ADJ_SETOFFSET` the time of the first call is a difference; the second one puts back what the
    // first has made of the rest.
    unsafe {
        let mut timex: libc::timex = std::mem::zeroed();
        if libc::adjtimex(&raw mut timex) < 0 {
            return false;
        }
        let mut step: libc::timex = std::mem::zeroed();
        step.modes = libc::ADJ_SETOFFSET | libc::ADJ_NANO;
        step.time.tv_usec = 1;
        timex.modes = libc::ADJ_STATUS | libc::ADJ_MAXERROR | libc::ADJ_ESTERROR;
        libc::adjtimex(&raw mut step) >= 0 && libc::adjtimex(&raw mut timex) >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    /// What is served at each moment (ms of wall clock, ms since boot) while the kernel says yes and no in turn.
    fn served(moments: &[(i64, u64)]) -> Vec<bool> {
        let (mut said, mut next) = (None, false);
        let moments = moments.iter().map(|&(wall, boot)| Stamp {
            wall_ns: wall * 1_000_000,
            boot_ns: boot * MS,
            ..Stamp::default()
        });
        let served = moments.map(|now| {
            Said::serve(&mut said, now, || {
                next = !next;
                next
            })
        });
        served.collect()
    }

    #[test]
    fn what_the_kernel_said_serves_for_a_moment() {
        let steady = [
            (900, 500),
            (901, 501),
            (999, 599),
            (1_000, 600),
            (1_099, 699),
        ];
        assert_eq!(served(&steady), [true, true, true, false, false]);
    }

    #[test]
    fn a_clock_that_was_set_is_asked_about_at_once() {
        assert_eq!(served(&[(900, 500), (903, 501)]), [true, false], "forward");
        assert_eq!(served(&[(900, 500), (899, 501)]), [true, false], "back");
    }

    #[test]
    fn what_was_said_later_than_a_reading_is_not_taken_for_it() {
        assert_eq!(served(&[(900, 500), (899, 499)]), [true, false]);
    }

    #[test]
    fn both_ways_of_reading_tell_the_same_time() {
        let clock = SystemClock::new();
        let moments = [clock.now(), clock.now_for_sure(), clock.now()];
        assert!(moments.is_sorted_by_key(|moment| moment.boot_ns));
        assert!(
            moments
                .iter()
                .all(|moment| moment.boot == clock.boot && moment.boot_ns > 0)
        );
    }
}
