//! When something was read, and whether the clock could be trusted then.

use std::fmt;

/// Which boot of the machine: the kernel's random boot id.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct BootId(pub u128);

impl fmt::Debug for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A moment: wall time, and what is needed to repair it once the clock becomes trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stamp {
    /// Nanoseconds since 1970-01-01T00:00:00Z, as the wall clock said.
    pub wall_ns: i64,
    /// `CLOCK_BOOTTIME` in nanoseconds: rises steadily within one boot, through suspend and clock steps.
    pub boot_ns: u64,
    /// The boot that `boot_ns` belongs to.
    pub boot: BootId,
    /// Whether the kernel said that the wall clock was synchronised (`adjtimex`).
    pub synced: bool,
}

impl Stamp {
    /// Wall time less boot time, in nanoseconds: the same throughout a boot, unless the clock is set.
    pub fn offset_ns(self) -> i64 {
        let boot = i64::try_from(self.boot_ns).unwrap_or(i64::MAX);
        self.wall_ns.saturating_sub(boot)
    }

    /// The moment halfway between `self` and `later`: a scan's time is the midpoint of its reads.
    ///
    /// The trust is that of `self`; a wall clock that stepped in between cannot bend it, as the distance is taken
    /// on the monotonic clock.
    pub fn midpoint(self, later: Self) -> Self {
        let half = later.boot_ns.saturating_sub(self.boot_ns) / 2;
        Self {
            wall_ns: self.wall_ns.saturating_add_unsigned(half),
            boot_ns: self.boot_ns.saturating_add(half),
            ..self
        }
    }
}
