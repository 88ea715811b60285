//! How much time a device takes on its line, at the least: an estimate for the check, from frame lengths alone. Pure.

use std::time::Duration;

use crate::field::modbus::cost::ReadCost;
use crate::field::modbus::known::Known;
use crate::field::modbus::plan::plan;
use crate::field::settings::{DeviceSettings, Transport};
use crate::reading::Name;

/// What a scan class of a device costs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Cost {
    pub(super) class: Name,
    pub(super) requests: usize,
    pub(super) time: Duration,
    pub(super) period: Duration,
}

impl Cost {
    /// Share of the line's time.
    pub(super) fn load(&self) -> f64 {
        self.time.as_secs_f64() / self.period.as_secs_f64()
    }
}

/// The costs of the classes of a device that have a period, the device answering at once.
pub(super) fn costs(transport: &Transport, device: &DeviceSettings) -> Vec<Cost> {
    let planned = ReadCost::typical(transport, device.delay);
    let least = ReadCost::least(transport, device.delay);
    let cost = |(class, period): (&Name, &Option<Duration>)| {
        let period = (*period)?;
        let plan = plan(&device.map, class, &planned, &Known::default());
        Some(Cost {
            class: class.clone(),
            requests: plan.blocks.len(),
            time: least.of_plan(&plan),
            period,
        })
    };
    device.scans.iter().filter_map(cost).collect()
}
