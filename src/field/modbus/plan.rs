//! Block reads: which requests read the points of a scan class, so that the line is busy for the least time. Planned
//! once for each device and class, and again when something was found out about the device; pure.

mod groups;

use std::time::Duration;

use self::groups::{Rules, Run, group, keep_outermost};
use super::cost::ReadCost;
use super::known::Known;
use super::map::{DeviceMap, Point, Scale, Table};
use crate::reading::Name;

/// A run of places in one table, read with one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The table.
    pub table: Table,
    /// Address of the first place on the wire, from 0.
    pub address: u16,
    /// How many places; within the limits of the map unless a single point is wider.
    pub count: u16,
}

impl Block {
    /// Bytes of data in the answer.
    pub fn bytes(&self) -> u32 {
        bytes(self.table, self.count.into())
    }

    /// The address behind its last place.
    pub fn end(&self) -> u32 {
        u32::from(self.address) + u32::from(self.count)
    }

    /// The places `first..end`; `None`: they are not in the table.
    pub fn new(table: Table, (first, end): (u32, u32)) -> Option<Self> {
        Some(Self {
            table,
            address: first.try_into().ok()?,
            count: end.checked_sub(first)?.try_into().ok()?,
        })
    }
}

fn bytes(table: Table, places: u32) -> u32 {
    if table.is_bits() {
        places.div_ceil(8)
    } else {
        places * 2
    }
}

/// A point and where its places are found in what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Index of the point in the map.
    pub point: usize,
    /// Where it is read.
    pub place: Place,
    /// Index of its scale factor in [`ScanPlan::points`]; always lower than its own.
    pub factor: Option<usize>,
}

/// Where a point is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In a block.
    Read {
        /// Index of the block in the plan.
        block: usize,
        /// Its first place within the block.
        offset: usize,
    },
    /// Nowhere: the device is known to refuse it with this exception code.
    Refused(u8),
}

/// How the points of one scan class are read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanPlan {
    /// The requests, by table and address.
    pub blocks: Vec<Block>,
    /// All points that are read, scale factors before the points they scale.
    pub points: Vec<Placed>,
    /// The points that are sent, as indices into `points`, in the order of the map.
    pub sent: Vec<usize>,
}

/// Plans the block reads of `class`, for the least bus time at `cost`: neighbours in one table are read together where
/// no more than the map's gap lies between them, its limits and what is `known` of the device allow it, and two reads
/// would take longer. A point is never split. A scale factor is read in the request of its point where both fit, whatever
/// lies between, else in the same scan.
pub fn plan(map: &DeviceMap, class: &Name, cost: &ReadCost, known: &Known) -> ScanPlan {
    let mut chosen = Chosen::new(map);
    for (index, point) in map.points.iter().enumerate() {
        if point.send && point.scan == *class {
            let place = chosen.take(index);
            chosen.sent.extend(place);
        }
    }
    let blocks = reads(map, &chosen.points, |_| true, cost, known);
    place(map, blocks, chosen, known)
}

impl ScanPlan {
    /// The reads for those of its points that `is_missing` names by their place in [`ScanPlan::points`], after more was
    /// found out about the device.
    pub fn rest(
        &self,
        map: &DeviceMap,
        is_missing: impl Fn(usize) -> bool,
        cost: &ReadCost,
        known: &Known,
    ) -> Vec<Block> {
        let points: Vec<_> = self.points.iter().map(|p| (p.point, p.factor)).collect();
        reads(map, &points, is_missing, cost, known)
    }
}

/// The places of the points of `map` that lie within `block`, those within others left out: what the block can be split
/// into.
pub fn parts(map: &DeviceMap, points: &[Placed], block: &Block) -> Vec<(u32, u32)> {
    let inside = |placed: &Placed| {
        let point = map.points.get(placed.point)?;
        let (first, end) = run_of(point);
        let inside = u32::from(block.address) <= first && end <= block.end();
        (point.table == block.table && inside).then_some((first, end))
    };
    let mut runs: Vec<Run> = points.iter().filter_map(inside).collect();
    keep_outermost(&mut runs);
    runs
}

/// The reads of those of `points` (indices in the map, with the places of their factors in this list) that are wanted and
/// not known to be refused; by table and address.
fn reads(
    map: &DeviceMap,
    points: &[(usize, Option<usize>)],
    is_wanted: impl Fn(usize) -> bool,
    cost: &ReadCost,
    known: &Known,
) -> Vec<Block> {
    let mut blocks = Vec::new();
    for table in [
        Table::Coil,
        Table::DiscreteInput,
        Table::InputRegister,
        Table::HoldingRegister,
    ] {
        let run = |place: usize| {
            let point = map.points.get(points.get(place)?.0)?;
            let (first, end) = run_of(point);
            let readable = point.table == table && known.hole(table, first, end).is_none();
            (readable && is_wanted(place)).then_some((first, end))
        };
        let runs: Vec<Run> = (0..points.len()).filter_map(run).collect();
        let factors = points.iter().enumerate();
        let pairs: Vec<_> = factors
            .filter_map(|(place, &(_, factor))| Some((run(place)?, run(factor?)?)))
            .collect();
        let grouped = if map.quirks.alone {
            each_alone(runs)
        } else {
            let bits = if table.is_bits() { 16 } else { 1 };
            let price = |places| nanoseconds(cost.of_bytes(bytes(table, places)));
            let rules = Rules {
                limit: known.limit(map, table).into(),
                gap: u32::from(map.limits.gap) * bits,
                is_refused: &|first, end| known.hole(table, first, end).is_some(),
                pairs: &pairs,
                cost: &price,
            };
            group(runs, &rules)
        };
        blocks.extend(grouped.into_iter().filter_map(|run| Block::new(table, run)));
    }
    blocks
}

fn each_alone(mut runs: Vec<Run>) -> Vec<Run> {
    runs.sort_unstable();
    runs.dedup();
    runs
}

fn run_of(point: &Point) -> Run {
    let first = u32::from(point.address);
    (first, first + u32::from(point.raw.width()))
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The points of a class and the factors they need, factors first.
struct Chosen<'a> {
    map: &'a DeviceMap,
    /// Index in the map, and the factor as an index into this list.
    points: Vec<(usize, Option<usize>)>,
    sent: Vec<usize>,
    /// The points whose factor is being looked for: a factor that is scaled by itself has none.
    open: Vec<usize>,
}

impl<'a> Chosen<'a> {
    fn new(map: &'a DeviceMap) -> Self {
        Self {
            map,
            points: Vec::new(),
            sent: Vec::new(),
            open: Vec::new(),
        }
    }

    fn take(&mut self, index: usize) -> Option<usize> {
        if let Some(place) = self.points.iter().position(|&(point, _)| point == index) {
            return Some(place);
        }
        let point = self.map.points.get(index)?;
        if self.open.contains(&index) {
            return None;
        }
        self.open.push(index);
        let factor = factor_of(point).and_then(|factor| self.take(factor));
        self.open.pop();
        self.points.push((index, factor));
        Some(self.points.len() - 1)
    }
}

fn factor_of(point: &Point) -> Option<usize> {
    match point.transform.scale {
        Some(Scale::Power10(factor) | Scale::Point(factor, _)) => Some(factor),
        _ => None,
    }
}

fn place(map: &DeviceMap, blocks: Vec<Block>, chosen: Chosen<'_>, known: &Known) -> ScanPlan {
    let find = |point: &Point| {
        let (first, end) = run_of(point);
        let holds = |block: &Block| {
            block.table == point.table && u32::from(block.address) <= first && end <= block.end()
        };
        let block = blocks.iter().position(holds)?;
        let offset = point.address.checked_sub(blocks.get(block)?.address)?;
        Some(Place::Read {
            block,
            offset: offset.into(),
        })
    };
    let refused = |point: &Point| {
        let (first, end) = run_of(point);
        let hole = known.hole(point.table, first, end);
        // What no read can hold is an illegal value for every device (Application Protocol V1.1b3, 7: 03).
        Place::Refused(hole.map_or(3, |hole| hole.exception))
    };
    let points = chosen.points.iter().filter_map(|&(index, factor)| {
        let point = map.points.get(index)?;
        Some(Placed {
            point: index,
            place: find(point).unwrap_or_else(|| refused(point)),
            factor,
        })
    });
    ScanPlan {
        points: points.collect(),
        sent: chosen.sent,
        blocks,
    }
}

#[cfg(test)]
mod tests;
