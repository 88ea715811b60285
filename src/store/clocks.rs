//! When the wall clock of each boot could be trusted: what gives a record its true time that was read before that.
//!
//! Within a boot, wall time less boot time changes only where the clock is set: both are slewed alike. So a single trusted
//! moment tells the true time of everything that was read before it.
//!
//! The payload: version (1 byte, now 1); number of boots (varint), the latest last; of each its id (16 bytes), the `seq`
//! behind its last record (`u64`; all ones: the boot lasts), number of moments (varint), of each boot time (`u64`, ns) and wall
//! time less boot time (`i64`, ns).

use super::bytes::{Bytes, put_varint};
use super::engine::{Kind, Write};
use super::envelope;
use crate::reading::{BootId, Stamp};

const VERSION: u8 = 1;
/// Its key: there is one.
const KEY: &[u8] = b"boots";
/// Most boots: a machine that boots every minute for a day. Beyond, the records of the oldest go out as not synchronised.
const MOST_BOOTS: usize = 1440;
/// Most moments of a boot; beyond, records take the next one, which differs by what the clock was set in between.
const MOST_MOMENTS: usize = 16;
/// Offsets that differ by less are one: the two clocks are read one after the other.
const SAME_NS: u64 = 10_000_000;

/// A moment at which the wall clock could be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Moment {
    boot_ns: u64,
    offset_ns: i64,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Boot {
    id: BootId,
    /// The `seq` behind its last record; `u64::MAX`: it lasts.
    end: u64,
    /// In order.
    moments: Vec<Moment>,
}

/// What is known of the clocks of the boots that records are of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Clocks {
    boots: Vec<Boot>,
    generation: u64,
    changed: bool,
}

impl Clocks {
    /// Whether nothing is known.
    pub(super) fn is_empty(&self) -> bool {
        self.boots.is_empty()
    }

    /// Reads them from disk.
    pub(super) fn found(payload: &[u8], generation: u64) -> Option<Self> {
        let mut bytes = Bytes(payload);
        if bytes.u8()? != VERSION {
            return None;
        }
        let mut boots = Vec::with_capacity(bytes.count(25)?);
        for _ in 0..boots.capacity() {
            let (id, end) = (BootId(u128::from_le_bytes(bytes.array()?)), bytes.u64()?);
            let mut moments = Vec::with_capacity(bytes.count(16)?);
            for _ in 0..moments.capacity() {
                moments.push(Moment {
                    boot_ns: bytes.u64()?,
                    offset_ns: bytes.i64()?,
                });
            }
            boots.push(Boot { id, end, moments });
        }
        Some(Self {
            boots,
            generation,
            changed: false,
        })
    }

    /// Notes a moment at which the wall clock could be trusted; whether that is news for records read before.
    pub(super) fn trust(&mut self, stamp: Stamp) -> bool {
        if !stamp.synced {
            return false;
        }
        let moment = Moment {
            boot_ns: stamp.boot_ns,
            offset_ns: stamp.offset_ns(),
        };
        let mut boot = match self.boots.iter().position(|boot| boot.id == stamp.boot) {
            Some(place) => self.boots.remove(place),
            None => Boot {
                id: stamp.boot,
                end: u64::MAX,
                moments: Vec::new(),
            },
        };
        boot.end = u64::MAX;
        boot.add(moment);
        self.boots.push(boot);
        if self.boots.len() > MOST_BOOTS {
            self.boots.remove(0);
        }
        self.changed = true;
        true
    }

    /// When that was, as far as it is known by now: what could not be trusted is told by the next trusted moment of its boot.
    pub(super) fn truth(&self, stamp: Stamp) -> Stamp {
        if stamp.synced {
            return stamp;
        }
        let boot = self.boots.iter().find(|boot| boot.id == stamp.boot);
        let after = |moment: &&Moment| moment.boot_ns >= stamp.boot_ns;
        match boot.and_then(|boot| boot.moments.iter().find(after)) {
            None => stamp,
            Some(moment) => Stamp {
                wall_ns: moment.offset_ns.saturating_add_unsigned(stamp.boot_ns),
                synced: true,
                ..stamp
            },
        }
    }

    /// The earliest time that it may be at `now` by any clock that was trusted in this boot: one of them may have been
    /// wrong. `None`: it cannot be known.
    pub(super) fn earliest(&self, now: Stamp) -> Option<i64> {
        let known = self.boots.iter().filter(|boot| boot.id == now.boot);
        let offsets = known.flat_map(|boot| boot.moments.iter().map(|moment| moment.offset_ns));
        let least = offsets.fold(now.offset_ns(), i64::min);
        now.synced
            .then(|| least.saturating_add_unsigned(now.boot_ns))
    }

    /// Notes that boots other than `present` have ended: there is no record of theirs from `end` on.
    pub(super) fn ended(&mut self, present: BootId, end: u64) {
        let others = self.boots.iter_mut().filter(|boot| boot.id != present);
        for boot in others.filter(|boot| boot.end == u64::MAX) {
            boot.end = end;
            self.changed = true;
        }
    }

    /// Forgets the boots that only records below `floor` are of.
    pub(super) fn forget_below(&mut self, floor: u64) {
        let before = self.boots.len();
        self.boots.retain(|boot| boot.end > floor);
        self.changed |= self.boots.len() != before;
    }

    /// Has them written again.
    pub(super) fn touch(&mut self) {
        self.changed = self.generation > 0 || self.changed;
    }

    /// The value to write, where it differs from what is on disk; it counts as written then.
    pub(super) fn write(&mut self) -> Option<Write> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        self.generation = self.generation.saturating_add(1);
        let mut out = envelope::begin(Kind::Clocks, KEY, self.generation);
        out.push(VERSION);
        put_varint(&mut out, self.boots.len() as u64);
        for boot in &self.boots {
            out.extend_from_slice(&boot.id.0.to_le_bytes());
            out.extend_from_slice(&boot.end.to_le_bytes());
            put_varint(&mut out, boot.moments.len() as u64);
            for moment in &boot.moments {
                out.extend_from_slice(&moment.boot_ns.to_le_bytes());
                out.extend_from_slice(&moment.offset_ns.to_le_bytes());
            }
        }
        Some(Write {
            kind: Kind::Clocks,
            key: KEY.to_vec(),
            value: Some(envelope::seal(out)),
        })
    }
}

impl Boot {
    fn add(&mut self, moment: Moment) {
        match self.moments.last_mut() {
            Some(last) if last.offset_ns.abs_diff(moment.offset_ns) < SAME_NS => {
                last.boot_ns = last.boot_ns.max(moment.boot_ns);
            }
            _ => self.moments.push(moment),
        }
        if self.moments.len() > MOST_MOMENTS {
            // The least offset stays: it says how early it may be.
            let least = self.moments.iter().map(|moment| moment.offset_ns).min();
            let place = usize::from(self.moments.first().map(|first| first.offset_ns) == least);
            self.moments.remove(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;
    const NOON: i64 = 1_800_000_000_000_000_000;

    fn at(boot: u128, boot_ns: u64, offset_ns: i64, synced: bool) -> Stamp {
        Stamp {
            wall_ns: offset_ns.saturating_add_unsigned(boot_ns),
            boot_ns,
            boot: BootId(boot),
            synced,
        }
    }

    #[test]
    fn the_next_trusted_moment_of_the_boot_tells_the_time() {
        let mut clocks = Clocks::default();
        let early = at(1, 5, 0, false);
        assert_eq!(clocks.truth(early), early);
        assert!(!clocks.trust(at(1, HOUR, 0, false)));
        assert!(clocks.trust(at(1, HOUR, NOON, true)));
        assert_eq!(clocks.truth(early), at(1, 5, NOON, true));
        // Not those after it, as the clock may have been set, nor those of another boot.
        for unknown in [at(1, HOUR + 1, 77, false), at(2, 5, 0, false)] {
            assert_eq!(clocks.truth(unknown), unknown);
        }
        let trusted = at(1, 5, 99, true);
        assert_eq!(clocks.truth(trusted), trusted);
        clocks.trust(at(1, 3 * HOUR, NOON + 500_000_000, true));
        assert_eq!(clocks.truth(early), at(1, 5, NOON, true));
        let later = at(1, 2 * HOUR, 77, false);
        assert_eq!(
            clocks.truth(later),
            at(1, 2 * HOUR, NOON + 500_000_000, true)
        );
    }

    #[test]
    fn it_is_never_later_than_any_trusted_clock_says() {
        let mut clocks = Clocks::default();
        assert_eq!(clocks.earliest(at(1, 9, NOON, false)), None);
        clocks.trust(at(1, HOUR, NOON, true));
        let year = 365 * 24 * HOUR.cast_signed();
        assert_eq!(
            clocks.earliest(at(1, HOUR, NOON + year, true)),
            Some(NOON + HOUR.cast_signed())
        );
        for step in 1..100 {
            clocks.trust(at(
                1,
                HOUR + step,
                NOON + year * (1 + step.cast_signed() % 7),
                true,
            ));
        }
        assert_eq!(clocks.boots[0].moments.len(), MOST_MOMENTS);
        assert_eq!(
            clocks.earliest(at(1, HOUR, NOON + year, true)),
            Some(NOON + HOUR.cast_signed())
        );
        assert_eq!(
            clocks.earliest(at(2, HOUR, NOON, true)),
            Some(NOON + HOUR.cast_signed())
        );
    }

    #[test]
    fn comes_back_as_it_was_written_and_keeps_its_bounds() {
        let mut clocks = Clocks::default();
        assert_eq!(clocks.write(), None);
        for boot in 0..MOST_BOOTS as u64 + 5 {
            clocks.ended(BootId(boot.into()), boot * 10);
            clocks.trust(at(boot.into(), HOUR, NOON, true));
        }
        let written = clocks.write().unwrap().value.unwrap();
        assert_eq!(clocks.write(), None);
        let value = envelope::exactly(&written).unwrap();
        assert_eq!(
            Clocks::found(value.payload, value.generation),
            Some(clocks.clone())
        );
        assert_eq!(clocks.boots.len(), MOST_BOOTS);
        clocks.forget_below(u64::MAX - 1);
        assert_eq!(clocks.boots.len(), 1, "the present boot stays");
        assert!(clocks.write().is_some());
    }
}
