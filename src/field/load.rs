//! What the devices of a line take of its time, request by request; pure.

use std::time::Duration;

use super::modbus::cost::ReadCost;
use super::modbus::known::Known;
use super::modbus::map::{DeviceMap, Point};
use super::modbus::plan::{Block, Place, ScanPlan, plan};
use super::settings::{DeviceSettings, Transport};
use crate::reading::Name;

/// A scan class of a device: its requests and what they take.
#[derive(Debug, Clone, PartialEq)]
pub struct ClassLoad {
    /// The scan class.
    pub class: Name,
    /// `None`: read at each connect only.
    pub period: Option<Duration>,
    /// The requests and where their points sit.
    pub plan: ScanPlan,
    /// The time of each request, in the order of the plan: with the answer time of the device where that is known, else as
    /// if it answered at once.
    pub requests: Vec<Duration>,
}

impl ClassLoad {
    /// The time of one scan.
    pub fn time(&self) -> Duration {
        self.requests.iter().sum()
    }

    /// Share of the line's time; 0 for a class without a period.
    pub fn load(&self) -> f64 {
        self.period.map_or(0.0, |period| {
            self.time().as_secs_f64() / period.as_secs_f64()
        })
    }

    /// The points of a request by address, scale factors that are not sent among them.
    pub fn points<'m>(&self, map: &'m DeviceMap, block: usize) -> Vec<&'m Point> {
        let is_inside = |place| matches!(place, Place::Read { block: at, .. } if at == block);
        let inside = self
            .plan
            .points
            .iter()
            .filter(|placed| is_inside(placed.place));
        let mut points: Vec<_> = inside
            .filter_map(|placed| map.points.get(placed.point))
            .collect();
        points.sort_by_key(|point| point.address);
        points
    }

    /// The points that are not asked for, as the device is known to refuse them, and the exception code.
    pub fn refused<'m>(&self, map: &'m DeviceMap) -> Vec<(&'m Point, u8)> {
        let refused = self
            .plan
            .points
            .iter()
            .filter_map(|placed| match placed.place {
                Place::Refused(code) => Some((map.points.get(placed.point)?, code)),
                Place::Read { .. } => None,
            });
        refused.collect()
    }
}

/// The classes of a device, planned with what is `known` of it, in the order of their names.
pub fn loads(transport: &Transport, device: &DeviceSettings, known: &Known) -> Vec<ClassLoad> {
    let measured = known
        .answer_time
        .map(|time| ReadCost::new(transport, device.delay, time));
    let typical = measured.unwrap_or_else(|| ReadCost::typical(transport, device.delay));
    let least = measured.unwrap_or_else(|| ReadCost::least(transport, device.delay));
    let classes = device.scans.iter().map(|(class, &period)| {
        let plan = plan(&device.map, class, &typical, known);
        let time = |block: &Block| least.of_block(block);
        ClassLoad {
            class: class.clone(),
            period,
            requests: plan.blocks.iter().map(time).collect(),
            plan,
        }
    });
    classes.collect()
}
