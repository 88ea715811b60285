use super::*;
use crate::field::modbus::known::Hole;
use crate::field::modbus::map::{Limits, Quirks, RawType};
use crate::field::settings::{BusSettings, Transport};
use crate::reading::Decimal;

fn point(called: &str, table: Table, address: u16, raw: RawType) -> Point {
    let name = |text| Name::new(text).unwrap();
    Point::plain(name(called), name("default"), (table, address), raw)
}

fn map(points: Vec<Point>) -> DeviceMap {
    DeviceMap {
        points,
        ..DeviceMap::default()
    }
}

/// The cost on a bus of 9600 baud with a device that answers at once: as much as that of 10 registers.
fn cost() -> ReadCost {
    let bus = BusSettings {
        baud_rate: 9600,
        ..BusSettings::default()
    };
    let transport = Transport::ModbusRtuOverTcp {
        host: String::new(),
        port: 502,
        bus,
    };
    ReadCost::least(&transport, Duration::ZERO)
}

fn planned(map: &DeviceMap, known: &Known) -> ScanPlan {
    plan(map, &Name::new("default").unwrap(), &cost(), known)
}

fn blocks(map: &DeviceMap) -> Vec<(Table, u16, u16)> {
    planned(map, &Known::default())
        .blocks
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
    let plan = planned(&map, &Known::default());
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
    let plan = planned(&map, &Known::default());
    assert_eq!(plan.points.len(), 1);
    assert_eq!(plan.points[0].factor, None);
}

#[test]
fn what_costs_more_time_than_a_request_is_not_read_over() {
    let two = |gap: u16| {
        let points = vec![
            point("a", Holding, 0, RawType::U16),
            point("b", Holding, 1 + gap, RawType::U16),
        ];
        let mut map = map(points);
        map.limits.gap = 100;
        blocks(&map).len()
    };
    // 13 characters of frames and twice 3.5 of silence are as long as 10 registers.
    assert_eq!(two(9), 1);
    assert_eq!(two(11), 2);
}

#[test]
fn holes_are_read_around_and_their_points_not_at_all() {
    let points = (0..20_u16)
        .map(|n| point(&format!("p{n}"), Holding, 2 * n, RawType::U16))
        .collect();
    let hole = |address, count| Hole {
        table: Holding,
        address,
        count,
        exception: 2,
    };
    let known = Known {
        holes: vec![hole(10, 1), hole(21, 1), hole(30, 0)],
        ..Known::default()
    };
    let plan = planned(&map(points), &known);
    let blocks: Vec<_> = plan.blocks.iter().map(|b| (b.address, b.count)).collect();
    assert_eq!(blocks, [(0, 9), (12, 9), (22, 7), (30, 9)]);
    assert_eq!(plan.points[5].place, Place::Refused(2));
    assert_eq!(
        plan.points[6].place,
        Place::Read {
            block: 1,
            offset: 0
        }
    );
    assert_eq!(plan.sent.len(), 20);
}

#[test]
fn a_smaller_limit_that_was_found_out_is_kept() {
    let points = (0..50_u16)
        .map(|n| point(&format!("p{n}"), Holding, n, RawType::U16))
        .collect();
    let known = Known {
        registers_per_read: Some(20),
        ..Known::default()
    };
    let plan = planned(&map(points), &known);
    let counts: Vec<_> = plan.blocks.iter().map(|block| block.count).collect();
    assert_eq!(counts.len(), 3);
    assert!(counts.iter().all(|&count| count <= 20));
}

#[test]
fn a_factor_far_from_its_points_is_read_with_them_over_what_lies_between() {
    let mut points = vec![
        point("a", Holding, 0, RawType::U16),
        point("between", Holding, 40, RawType::U16),
        point("sf", Holding, 80, RawType::I16),
    ];
    points[0].transform.scale = Some(Scale::Power10(2));
    assert_eq!(blocks(&map(points)), [(Holding, 0, 81)]);
}
