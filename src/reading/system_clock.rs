//! The clocks of the operating system. The crates used here have no safe form of `adjtimex`.
#![allow(unsafe_code)]

use super::{BootId, ClockSource, Stamp};

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    boot: BootId,
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
            synced: clock_is_synchronised(),
        }
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
