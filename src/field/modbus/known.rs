//! What was found out about a device beyond its map; pure.

use std::time::Duration;

use super::map::{DeviceMap, Table};

/// What a device cannot read although its map says so, and how much of it at once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// Places that are not read.
    pub holes: Vec<Hole>,
    /// Most registers of one read, where that is less than the map says.
    pub registers_per_read: Option<u16>,
    /// Most bits of one read, where that is less than the map says.
    pub bits_per_read: Option<u16>,
    /// How long it takes to answer, the silence before its answer included: half of its answers took no longer.
    pub answer_time: Option<Duration>,
}

/// Places that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hole {
    /// Their table.
    pub table: Table,
    /// The first of them.
    pub address: u16,
    /// How many. 0: what is before `address` and what is behind can be read, but not together.
    pub count: u16,
    /// The exception code that the device refused them with.
    pub exception: u8,
}

impl Hole {
    /// Whether a read of the places `first..end` of `table` runs into it.
    pub fn is_hit(&self, table: Table, first: u32, end: u32) -> bool {
        let (from, to) = (
            u32::from(self.address),
            u32::from(self.address) + u32::from(self.count),
        );
        let inside = if from == to { first < from } else { first < to };
        self.table == table && inside && from < end
    }
}

impl Known {
    /// The hole that a read of the places `first..end` of `table` runs into.
    pub fn hole(&self, table: Table, first: u32, end: u32) -> Option<&Hole> {
        self.holes
            .iter()
            .find(|hole| hole.is_hit(table, first, end))
    }

    /// Most places of `table` in one read.
    pub fn limit(&self, map: &DeviceMap, table: Table) -> u16 {
        let (of_map, own) = if table.is_bits() {
            (map.limits.bits_per_read, self.bits_per_read)
        } else {
            (map.limits.registers_per_read, self.registers_per_read)
        };
        own.map_or(of_map, |own| own.min(of_map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hole_is_hit_by_what_touches_it() {
        let hole = |count| Hole {
            table: Table::Coil,
            address: 10,
            count,
            exception: 2,
        };
        let hit = |count, first, end| hole(count).is_hit(Table::Coil, first, end);
        assert!(hit(2, 0, 11) && hit(2, 11, 12) && hit(2, 0, 20));
        assert!(!hit(2, 0, 10) && !hit(2, 12, 13));
        assert!(hit(0, 9, 11));
        assert!(!hit(0, 0, 10) && !hit(0, 10, 20));
        assert!(!hole(2).is_hit(Table::DiscreteInput, 0, 20));
    }
}
