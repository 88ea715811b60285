//! Block reads: which requests read the points of a scan class. Planned once for each device and class; pure.

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

/// A point and where its places are found in what was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placed {
    /// Index of the point in the map.
    pub point: usize,
    /// Index of the block in the plan.
    pub block: usize,
    /// Its first place within the block.
    pub offset: usize,
    /// Index of its scale factor in [`ScanPlan::points`]; always lower than its own.
    pub factor: Option<usize>,
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

/// Plans the block reads of `class`: points of one table are read together where no more than the map's gap lies
/// between them and its limits allow it; a point is never split. A scale factor is read in the request of its point
/// where both fit, else in the same scan.
pub fn plan(map: &DeviceMap, class: &Name) -> ScanPlan {
    let mut chosen = Chosen::new(map);
    for (index, point) in map.points.iter().enumerate() {
        if point.send && point.scan == *class {
            let place = chosen.take(index);
            chosen.sent.extend(place);
        }
    }
    let mut blocks = Vec::new();
    for table in [
        Table::Coil,
        Table::DiscreteInput,
        Table::InputRegister,
        Table::HoldingRegister,
    ] {
        let runs = Runs::of(map, table, &chosen);
        blocks.extend(runs.blocks());
    }
    place(map, &blocks, chosen)
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

/// Runs of places `first..end` of one table, by address.
struct Runs {
    table: Table,
    runs: Vec<(u32, u32)>,
}

impl Runs {
    fn of(map: &DeviceMap, table: Table, chosen: &Chosen<'_>) -> Self {
        let (limit, gap) = if table.is_bits() {
            (map.limits.bits_per_read, u32::from(map.limits.gap) * 16)
        } else {
            (map.limits.registers_per_read, map.limits.gap.into())
        };
        let span = |index: usize| {
            let point = map.points.get(index)?;
            let first = u32::from(point.address);
            (point.table == table).then(|| (first, first + u32::from(point.raw.width())))
        };
        let mut runs: Vec<_> = chosen.points.iter().filter_map(|&(i, _)| span(i)).collect();
        runs.sort_unstable();
        runs.dedup();
        let mut this = Self { table, runs };
        if map.quirks.alone {
            return this;
        }
        let limit = u32::from(limit);
        this.join(|left, right| right.0 <= left.1 + gap && union(left, right) <= limit);
        // A map that forbids gaps forbids them for factors too.
        if gap > 0 {
            let pairs: Vec<_> = chosen
                .points
                .iter()
                .filter_map(|&(index, factor)| {
                    let (factor, _) = chosen.points.get(factor?)?;
                    Some((span(index)?, span(*factor)?))
                })
                .collect();
            let inside = |run: (u32, u32), part: (u32, u32)| run.0 <= part.0 && part.1 <= run.1;
            this.join(|left, right| {
                union(left, right) <= limit
                    && pairs.iter().any(|&(point, factor)| {
                        (inside(left, point) && inside(right, factor))
                            || (inside(left, factor) && inside(right, point))
                    })
            });
        }
        this
    }

    /// Joins neighbours that may be read together.
    fn join(&mut self, together: impl Fn((u32, u32), (u32, u32)) -> bool) {
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(self.runs.len());
        for &run in &self.runs {
            match joined.last_mut() {
                Some(last) if together(*last, run) => last.1 = last.1.max(run.1),
                _ => joined.push(run),
            }
        }
        self.runs = joined;
    }

    fn blocks(self) -> impl Iterator<Item = Block> {
        let table = self.table;
        self.runs.into_iter().filter_map(move |(first, end)| {
            Some(Block {
                table,
                address: first.try_into().ok()?,
                count: (end - first).try_into().ok()?,
            })
        })
    }
}

fn union(left: (u32, u32), right: (u32, u32)) -> u32 {
    left.1.max(right.1) - left.0.min(right.0)
}

fn place(map: &DeviceMap, blocks: &[Block], chosen: Chosen<'_>) -> ScanPlan {
    let find = |point: &Point| {
        blocks.iter().position(|block| {
            let end = u32::from(block.address) + u32::from(block.count);
            block.table == point.table
                && block.address <= point.address
                && u32::from(point.address) + u32::from(point.raw.width()) <= end
        })
    };
    let points = chosen.points.iter().filter_map(|&(index, factor)| {
        let point = map.points.get(index)?;
        let block = find(point)?;
        let first = blocks.get(block)?.address;
        Some(Placed {
            point: index,
            block,
            offset: usize::from(point.address.checked_sub(first)?),
            factor,
        })
    });
    ScanPlan {
        points: points.collect(),
        sent: chosen.sent,
        blocks: blocks.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::modbus::map::{Limits, Order, Quirks, RawType, Transform};
    use crate::reading::{Decimal, PointKind};

    fn point(name: &str, table: Table, address: u16, raw: RawType) -> Point {
        Point {
            name: Name::new(name).unwrap(),
            table,
            address,
            raw,
            order: Order::default(),
            transform: Transform::default(),
            scan: Name::new("default").unwrap(),
            send: true,
            title: None,
            unit: None,
            kind: PointKind::Gauge,
            report: None,
        }
    }

    fn map(points: Vec<Point>) -> DeviceMap {
        DeviceMap {
            points,
            ..DeviceMap::default()
        }
    }

    fn blocks(map: &DeviceMap) -> Vec<(Table, u16, u16)> {
        let plan = plan(map, &Name::new("default").unwrap());
        plan.blocks
            .iter()
            .map(|block| (block.table, block.address, block.count))
            .collect()
    }

    use Table::{Coil, DiscreteInput, HoldingRegister as Holding, InputRegister as Input};

    #[test]
    fn a_contiguous_map_of_100_registers_is_one_request() {
        let points = (0..50_u16)
            .map(|n| point(&format!("p{n}"), Holding, 100 + 2 * n, RawType::F32))
            .collect();
        assert_eq!(blocks(&map(points)), [(Holding, 100, 100)]);
    }

    #[test]
    fn gaps_are_read_over_up_to_the_limit_of_the_map() {
        let two = |distance: u16| {
            let mut map = map(vec![
                point("a", Input, 0, RawType::U16),
                point("b", Input, 1 + distance, RawType::U16),
                point("c", Coil, 0, RawType::Bool),
                point("d", Coil, 1 + 16 * distance, RawType::Bool),
            ]);
            map.limits.gap = 4;
            blocks(&map)
        };
        assert_eq!(two(4), [(Coil, 0, 66), (Input, 0, 6)]);
        assert_eq!(
            two(5),
            [(Coil, 0, 1), (Coil, 81, 1), (Input, 0, 1), (Input, 6, 1)]
        );
    }

    #[test]
    fn a_point_is_never_split() {
        let mut map = map((0..5_u16)
            .map(|n| point(&format!("p{n}"), Holding, 4 * n, RawType::F64))
            .collect());
        map.limits.registers_per_read = 10;
        assert_eq!(
            blocks(&map),
            [(Holding, 0, 8), (Holding, 8, 8), (Holding, 16, 4)]
        );
    }

    #[test]
    fn tables_and_the_last_address_keep_apart() {
        let map = map(vec![
            point("a", Holding, 65_535, RawType::U16),
            point("b", Input, 65_534, RawType::U32),
            point("c", DiscreteInput, 7, RawType::Bool),
        ]);
        assert_eq!(
            blocks(&map),
            [
                (DiscreteInput, 7, 1),
                (Input, 65_534, 2),
                (Holding, 65_535, 1)
            ]
        );
    }

    #[test]
    fn alone_reads_each_point_by_itself() {
        let mut map = map(vec![
            point("a", Holding, 0, RawType::U16),
            point("low", Holding, 1, RawType::U16),
            point("high", Holding, 1, RawType::U16),
        ]);
        map.quirks = Quirks {
            alone: true,
            ..Quirks::default()
        };
        assert_eq!(blocks(&map), [(Holding, 0, 1), (Holding, 1, 1)]);
    }

    #[test]
    fn factors_come_first_and_in_the_same_request_where_they_fit() {
        let mut points = vec![
            point("current", Holding, 10, RawType::U16),
            point("power", Holding, 11, RawType::U16),
            point("sf", Holding, 60, RawType::I16),
            point("far", Holding, 400, RawType::I16),
        ];
        points[0].transform.scale = Some(Scale::Power10(2));
        points[1].transform.scale = Some(Scale::Point(3, Decimal::ONE));
        for factor in &mut points[2..] {
            factor.send = false;
            factor.scan = Name::new("slow").unwrap();
        }
        let map = map(points);
        let plan = plan(&map, &Name::new("default").unwrap());
        assert_eq!(
            blocks(&map),
            [(Holding, 10, 51), (Holding, 400, 1)],
            "sf is 49 registers away, far beyond 125"
        );
        let order: Vec<_> = plan.points.iter().map(|p| (p.point, p.factor)).collect();
        assert_eq!(order, [(2, None), (0, Some(0)), (3, None), (1, Some(2))]);
        assert_eq!(plan.sent, [1, 3]);
    }

    #[test]
    fn a_factor_that_scales_itself_ends_without_a_factor() {
        let mut only = point("a", Holding, 0, RawType::U16);
        only.transform.scale = Some(Scale::Power10(0));
        let map = DeviceMap {
            limits: Limits::default(),
            ..map(vec![only])
        };
        let plan = plan(&map, &Name::new("default").unwrap());
        assert_eq!(plan.points.len(), 1);
        assert_eq!(plan.points[0].factor, None);
    }
}
